//! What can go wrong with a call, in the domain's own words.
//!
//! A [`Failure`] is one of two things: a [`Refusal`], which is an answer to the caller and carries the rule that
//! decided, or [`Failure::Unavailable`], where the server could not do its work. `api::respond` is the one place that
//! turns either into an HTTP answer; the `cause` goes to the log and never to the caller.

pub mod catalogue;

use std::borrow::Cow;

use thiserror::Error;

/// The ways in which a call ends without its result.
#[derive(Debug, Error)]
pub enum Failure {
    /// The caller asked for something it may not have, or in a way that cannot be understood.
    #[error(transparent)]
    Refused(#[from] Box<Refusal>),
    /// Store, body store or queue cannot serve now. Nothing was done.
    #[error("unavailable: {cause}")]
    Unavailable {
        /// For the log.
        cause: String,
    },
    /// A fault of ours.
    #[error("internal: {cause}")]
    Internal {
        /// For the log.
        cause: String,
    },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Failure::Refused(Box::new(refusal))
    }
}

impl Failure {
    /// A fault of ours, with its cause for the log.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Failure::Internal { cause: cause.to_string() }
    }

    /// Something the server depends on is not there, with its cause for the log.
    pub fn unavailable(cause: impl std::fmt::Display) -> Self {
        Failure::Unavailable { cause: cause.to_string() }
    }
}

/// A refusal: what is told to the caller, and what the trace keeps.
#[derive(Clone, Debug, Error)]
#[error("{reason:?}: {}", issues.first().map_or("", |issue| &issue.diagnostics))]
pub struct Refusal {
    /// Why, in the terms of the catalogue below.
    pub reason: Reason,
    /// The rule that decided, for the trace: a cell, an article, a requirement.
    pub rule: Cow<'static, str>,
    /// One or more findings. Never empty.
    pub issues: Vec<Issue>,
    /// The record and the object that it was about, for the trace alone.
    pub concerns: Option<Box<Concerned>>,
    /// Who was recognised, where the connection alone did not tell.
    pub caller: Recognised,
    /// When it is worth trying again, seconds.
    pub retry_after: Option<u64>,
    /// Bytes of the whole, where a part was asked for that it does not have.
    pub whole: Option<u64>,
}

/// What a refused request was about. It goes into the trace and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concerned {
    /// Our identifier of the record.
    pub record_id: String,
    /// Identifier of the object, where one was found.
    pub object: Option<String>,
}

/// Who was recognised only while the request was served: it goes into the trace and nowhere else.
pub type Recognised = Option<Box<crate::identity::Caller>>;

/// One finding of a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// English, for the integrator.
    pub diagnostics: Cow<'static, str>,
    /// The FHIRPath of the element at fault, where there is one.
    pub expression: Option<String>,
}

impl Issue {
    /// A finding about an element.
    pub fn at(expression: impl Into<String>, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self { diagnostics: diagnostics.into(), expression: Some(expression.into()) }
    }
}

impl Refusal {
    /// A refusal with one finding that concerns no element in particular.
    pub fn new(reason: Reason, diagnostics: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            rule: Cow::Borrowed(reason.default_rule()),
            issues: vec![Issue { diagnostics: diagnostics.into(), expression: None }],
            concerns: None,
            caller: None,
            retry_after: None,
            whole: None,
        }
    }

    /// A refusal with one finding about an element, named by its FHIRPath.
    pub fn at(
        reason: Reason,
        expression: impl Into<String>,
        diagnostics: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            reason,
            rule: Cow::Borrowed(reason.default_rule()),
            issues: vec![Issue::at(expression, diagnostics)],
            concerns: None,
            caller: None,
            retry_after: None,
            whole: None,
        }
    }

    /// A refusal with several findings; `None` when there is none.
    pub fn of(reason: Reason, issues: Vec<Issue>) -> Option<Self> {
        (!issues.is_empty()).then(|| Self {
            reason,
            rule: Cow::Borrowed(reason.default_rule()),
            issues,
            concerns: None,
            caller: None,
            retry_after: None,
            whole: None,
        })
    }

    /// Says what it was about, for the trace.
    pub fn concerning(mut self, record_id: &str, object: Option<&str>) -> Self {
        self.concerns =
            Some(Box::new(Concerned { record_id: record_id.to_owned(), object: object.map(str::to_owned) }));
        self
    }

    /// The same, of a caller who was recognised while the request was served.
    #[must_use]
    pub fn of_caller(mut self, caller: &crate::identity::Caller) -> Self {
        self.caller = Some(Box::new(caller.clone()));
        self
    }

    /// Names the rule that decided.
    pub fn by(mut self, rule: impl Into<Cow<'static, str>>) -> Self {
        self.rule = rule.into();
        self
    }
}

/// The catalogue of refusals: each has a status, a FHIR issue code, a code of the DMP or of IHE where one is known,
/// and a French sentence for the health professional. Sources: `contract.md` (statuses), IHE ITI TF-3 table
/// 4.2.4.1-2 (XDS codes), CDT_DMP_20251127 (DMP codes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The body is not JSON, not FHIR, or names a key twice.
    MalformedBody,
    /// The body did not arrive within its time.
    BodyTooSlow,
    /// The body is larger than the server takes.
    BodyTooLarge,
    /// A search lacks what it must carry.
    MissingSearchParameter,
    /// A search parameter has no meaning.
    InvalidSearchParameter,
    /// The INS has a wrong form or key.
    InvalidIns,
    /// The certificate is none with which one connects.
    UnsuitableCertificate,
    /// The certificate has been revoked.
    CertificateRevoked,
    /// The certificate has expired while the connection stood.
    CertificateExpired,
    /// No fresh revocation list covers the certificate.
    RevocationUnknown,
    /// An organisation certificate needs a token that names the acting professional.
    TokenRequired,
    /// The access token is not one of ours, or was altered.
    TokenInvalid,
    /// The access token has expired.
    TokenExpired,
    /// The access token or the assertion was good for one use, and was used.
    TokenSpent,
    /// The access token is bound to another certificate.
    TokenNotBound,
    /// The access token is not for this transaction.
    InsufficientScope,
    /// The access token opens another record.
    OtherRecord,
    /// The mode of access is not open to this caller.
    WrongMode,
    /// The structure is not the caller's.
    StructureNotLinked,
    /// The professional is not in the national directory.
    UnknownProfessional,
    /// This kind of certificate has no such grant, or no client of Pro Santé Connect is registered for it.
    UnknownClient,
    /// The software is not one that may be used.
    SoftwareRefused,
    /// The token request lacks something, or says what cannot be read.
    InvalidTokenRequest,
    /// The grant type is not one of ours.
    UnsupportedGrant,
    /// None of the scopes asked for can be granted.
    InvalidScope,
    /// Assertion or subject token do not count.
    InvalidGrant,
    /// An assertion was signed with something else than a valid seal of the organisation.
    InvalidSeal,
    /// Too many requests of this kind.
    BudgetSpent,
    /// The functional-rights sheet has no `yes` for this caller.
    NoFunctionalRight,
    /// The caller has not declared the patient's authorisation.
    NoAuthorisation,
    /// The authorisation is over.
    AuthorisationExpired,
    /// The patient has blocked the professional.
    Blocked,
    /// The patient is opposed to feeding.
    OpposedToFeeding,
    /// A secret connection to the record of somebody who is of age.
    SecretForMinors,
    /// The document is another author's.
    NotTheAuthor,
    /// The record is attached to Mon espace santé, where its holder closes it.
    AttachedToMonEspaceSante,
    /// A search without INS found too many patients.
    TooManyHits,
    /// FHIR allows the update, the DMP does not.
    UpdateNotAllowed,
    /// A PATCH of an element that never changes.
    ElementNotUpdatable,
    /// There is a record for this patient already.
    RecordExists,
    /// `If-Match` names another version, or there is none where one is wanted.
    VersionConflict,
    /// Unknown, or not to be seen: the same answer.
    NotFound,
    /// No record for this INS.
    UnknownRecord,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// None of the formats that the caller accepts can be given.
    NotAcceptable,
    /// The document has no such range of bytes.
    RangeNotSatisfiable,
    /// The unique id belongs to other bytes.
    UniqueIdTaken,
    /// The record has a note of this vaccination already.
    VaccinationKnown,
    /// The record is closed.
    RecordClosed,
    /// A professional may not deposit documents of this type.
    TypeNotForProfessionals,
    /// The metadata break a rule of the DMP.
    InvalidMetadata,
    /// Hash or size do not belong to the bytes.
    HashMismatch,
    /// The document is not what its metadata say.
    ContentMismatch,
    /// The document itself cannot be accepted (not XML, a DTD, a script).
    InvalidContent,
    /// The transaction holds an entry that the feed does not know.
    UnsupportedEntry,
    /// A Subscription asks for what is not done here.
    SubscriptionRefused,
}

/// What the catalogue says of one reason.
struct Entry {
    status: u16,
    issue_code: &'static str,
    code: Option<&'static str>,
    french: &'static str,
}

impl Reason {
    /// Every reason, for the error catalogue and its tests.
    pub const ALL: [Reason; 56] = [
        Reason::MalformedBody,
        Reason::BodyTooSlow,
        Reason::BodyTooLarge,
        Reason::MissingSearchParameter,
        Reason::InvalidSearchParameter,
        Reason::InvalidIns,
        Reason::UnsuitableCertificate,
        Reason::CertificateRevoked,
        Reason::CertificateExpired,
        Reason::RevocationUnknown,
        Reason::TokenRequired,
        Reason::TokenInvalid,
        Reason::TokenExpired,
        Reason::TokenSpent,
        Reason::TokenNotBound,
        Reason::InsufficientScope,
        Reason::OtherRecord,
        Reason::WrongMode,
        Reason::StructureNotLinked,
        Reason::UnknownProfessional,
        Reason::UnknownClient,
        Reason::SoftwareRefused,
        Reason::InvalidTokenRequest,
        Reason::UnsupportedGrant,
        Reason::InvalidScope,
        Reason::InvalidGrant,
        Reason::InvalidSeal,
        Reason::BudgetSpent,
        Reason::NoFunctionalRight,
        Reason::NoAuthorisation,
        Reason::AuthorisationExpired,
        Reason::Blocked,
        Reason::OpposedToFeeding,
        Reason::SecretForMinors,
        Reason::NotTheAuthor,
        Reason::AttachedToMonEspaceSante,
        Reason::TooManyHits,
        Reason::UpdateNotAllowed,
        Reason::ElementNotUpdatable,
        Reason::RecordExists,
        Reason::VersionConflict,
        Reason::NotFound,
        Reason::UnknownRecord,
        Reason::MethodNotAllowed,
        Reason::NotAcceptable,
        Reason::RangeNotSatisfiable,
        Reason::UniqueIdTaken,
        Reason::VaccinationKnown,
        Reason::RecordClosed,
        Reason::TypeNotForProfessionals,
        Reason::InvalidMetadata,
        Reason::HashMismatch,
        Reason::ContentMismatch,
        Reason::InvalidContent,
        Reason::UnsupportedEntry,
        Reason::SubscriptionRefused,
    ];

    #[rustfmt::skip]
    const fn entry(self) -> Entry {
        const FORBIDDEN: Option<&str> = Some("DMPAccessForbidden");
        const CERTIFICATE: Option<&str> = Some("DMPInvalidCertificate");
        const METADATA: Option<&str> = Some("XDSRegistryMetadataError");
        const fn entry(status: u16, issue_code: &'static str, code: Option<&'static str>, french: &'static str) -> Entry {
            Entry { status, issue_code, code, french }
        }
        match self {
            Reason::MalformedBody => entry(400, "structure", None, "La requête envoyée par votre logiciel est illisible."),
            Reason::BodyTooSlow => entry(408, "timeout", None, "La requête de votre logiciel n'est pas arrivée à temps. Réessayez."),
            Reason::BodyTooLarge => entry(413, "too-long", None, "Le document est trop volumineux."),
            Reason::MissingSearchParameter => entry(400, "required", None, "La recherche est incomplète."),
            Reason::InvalidSearchParameter => entry(400, "value", None, "Un critère de la recherche n'est pas valable."),
            Reason::InvalidIns => entry(400, "value", Some("DMPInvalidResourceId"), "Le matricule INS est incorrect."),
            Reason::UnsuitableCertificate => entry(401, "login", CERTIFICATE, "Ce certificat ne permet pas d'accéder au DMP."),
            Reason::CertificateRevoked => entry(401, "login", CERTIFICATE, "Votre carte ou votre certificat a été révoqué."),
            Reason::CertificateExpired => entry(401, "expired", CERTIFICATE, "Votre carte ou votre certificat a expiré."),
            Reason::RevocationUnknown => entry(401, "login", CERTIFICATE, "La validité de votre carte ou de votre certificat ne peut pas être vérifiée pour le moment."),
            Reason::TokenRequired => entry(401, "login", None, "L'identité du professionnel qui agit doit être indiquée."),
            Reason::TokenInvalid => entry(401, "login", None, "La session de votre logiciel n'est pas valable. Reconnectez-vous."),
            Reason::TokenExpired => entry(401, "expired", None, "La session de votre logiciel a expiré. Reconnectez-vous."),
            Reason::TokenSpent => entry(401, "login", None, "Cette autorisation à usage unique a déjà servi. Reconnectez-vous."),
            Reason::TokenNotBound => entry(401, "login", None, "La session de votre logiciel a été ouverte avec un autre certificat."),
            Reason::InsufficientScope => entry(403, "forbidden", FORBIDDEN, "La session de votre logiciel n'a pas été ouverte pour cette action."),
            Reason::OtherRecord => entry(403, "forbidden", FORBIDDEN, "La session a été ouverte pour un autre patient."),
            Reason::WrongMode => entry(403, "forbidden", FORBIDDEN, "Ce mode d'accès ne vous est pas ouvert."),
            Reason::StructureNotLinked => entry(403, "forbidden", FORBIDDEN, "Le professionnel et la structure ne sont pas liés."),
            Reason::UnknownProfessional => entry(403, "forbidden", FORBIDDEN, "Ce professionnel n'est pas connu de l'annuaire national."),
            Reason::UnknownClient => entry(403, "forbidden", FORBIDDEN, "Votre logiciel n'est pas déclaré pour ce mode de connexion."),
            Reason::SoftwareRefused => entry(403, "forbidden", FORBIDDEN, "Votre logiciel n'est pas autorisé à accéder au DMP."),
            Reason::InvalidTokenRequest => entry(400, "required", None, "La demande de connexion de votre logiciel est incomplète."),
            Reason::UnsupportedGrant => entry(400, "not-supported", None, "Ce mode de connexion n'est pas proposé."),
            Reason::InvalidScope => entry(400, "value", None, "La demande de connexion ne correspond à aucune action possible."),
            Reason::InvalidGrant => entry(400, "login", None, "L'identité du professionnel n'a pas pu être vérifiée. Reconnectez-vous."),
            Reason::InvalidSeal => entry(400, "login", CERTIFICATE, "L'attestation de votre établissement n'est pas signée avec un certificat de signature valable."),
            Reason::BudgetSpent => entry(429, "throttled", Some("DMPAccessDeniedByExcededThreshold"), "Trop de demandes en peu de temps. Réessayez dans un instant."),
            Reason::NoFunctionalRight => entry(403, "forbidden", FORBIDDEN, "Votre profil ne permet pas cette action sur le DMP."),
            Reason::NoAuthorisation => entry(403, "forbidden", FORBIDDEN, "Le patient ne vous a pas autorisé à accéder à son DMP."),
            Reason::AuthorisationExpired => entry(403, "forbidden", FORBIDDEN, "L'autorisation donnée par le patient a expiré."),
            Reason::Blocked => entry(403, "forbidden", FORBIDDEN, "Le patient a bloqué votre accès à son DMP."),
            Reason::OpposedToFeeding => entry(403, "forbidden", FORBIDDEN, "Le patient s'est opposé à l'alimentation de son DMP."),
            Reason::SecretForMinors => entry(403, "forbidden", FORBIDDEN, "La connexion secrète est réservée au DMP d'un patient mineur."),
            Reason::NotTheAuthor => entry(403, "forbidden", FORBIDDEN, "Seul l'auteur de ce document peut faire cette action."),
            Reason::AttachedToMonEspaceSante => entry(403, "forbidden", FORBIDDEN, "Ce DMP est rattaché à Mon espace santé : son titulaire le ferme lui-même."),
            Reason::TooManyHits => entry(422, "too-costly", Some("AE"), "Trop de patients correspondent à la recherche. Précisez-la."),
            Reason::UpdateNotAllowed => entry(422, "business-rule", METADATA, "Cette modification n'est pas permise par les règles du DMP."),
            Reason::ElementNotUpdatable => entry(405, "not-supported", None, "Cet élément du document ne peut pas être modifié."),
            Reason::RecordExists => entry(409, "duplicate", None, "Ce patient a déjà un DMP."),
            Reason::VersionConflict => entry(412, "conflict", None, "L'élément a été modifié entre-temps. Relisez-le et recommencez."),
            Reason::NotFound => entry(404, "not-found", None, "L'élément demandé n'existe pas."),
            Reason::UnknownRecord => entry(404, "not-found", Some("XDSUnknownPatientId"), "Ce patient n'a pas de DMP."),
            Reason::MethodNotAllowed => entry(405, "not-supported", None, "Cette action n'est pas proposée."),
            Reason::NotAcceptable => entry(406, "not-supported", None, "Le format demandé n'est pas proposé."),
            Reason::RangeNotSatisfiable => entry(416, "value", None, "La partie demandée du document n'existe pas."),
            Reason::UniqueIdTaken => entry(409, "duplicate", Some("XDSDuplicateUniqueIdInRegistry"), "Un autre document porte déjà cet identifiant."),
            Reason::VaccinationKnown => entry(422, "business-rule", Some("DMPFragmentCVAError"), "Cette vaccination figure déjà dans le DMP du patient."),
            Reason::RecordClosed => entry(422, "business-rule", None, "Le DMP de ce patient est fermé."),
            Reason::TypeNotForProfessionals => entry(422, "business-rule", METADATA, "Un professionnel ne peut pas déposer ce type de document."),
            Reason::InvalidMetadata => entry(422, "business-rule", METADATA, "La description du document ne respecte pas les règles du DMP."),
            Reason::HashMismatch => entry(422, "business-rule", Some("XDSNonIdenticalHash"), "Le document a été altéré pendant l'envoi."),
            Reason::ContentMismatch => entry(422, "business-rule", METADATA, "Le document ne correspond pas à sa description."),
            Reason::InvalidContent => entry(422, "business-rule", Some("XDSRepositoryMetadataError"), "Le contenu du document n'est pas recevable."),
            Reason::UnsupportedEntry => entry(422, "not-supported", None, "L'envoi contient un élément que le DMP ne connaît pas."),
            Reason::SubscriptionRefused => entry(422, "not-supported", None, "Cet abonnement n'est pas possible."),
        }
    }

    /// HTTP status.
    pub const fn status(self) -> u16 {
        self.entry().status
    }

    /// `OperationOutcome.issue.code`.
    pub const fn issue_code(self) -> &'static str {
        self.entry().issue_code
    }

    /// `OperationOutcome.issue.details.coding.code`, a code of the DMP or of IHE.
    pub const fn code(self) -> Option<&'static str> {
        self.entry().code
    }

    /// `OperationOutcome.issue.details.text`, for the health professional.
    pub const fn french(self) -> &'static str {
        self.entry().french
    }

    /// The rule written into the trace where no finer one is named.
    const fn default_rule(self) -> &'static str {
        match self {
            Reason::UnsuitableCertificate | Reason::TokenRequired => "contract: one actor per request",
            Reason::CertificateRevoked | Reason::CertificateExpired | Reason::RevocationUnknown => {
                "EX_AIR-080: valid and not revoked"
            }
            Reason::NotFound => "contract: what may not be seen does not exist",
            Reason::TokenInvalid | Reason::TokenExpired | Reason::TokenNotBound => {
                "RFC 9068, RFC 8705: access token"
            }
            Reason::TokenSpent => "EX_AIR-040: single use",
            Reason::InsufficientScope => "IUA: scope of the transaction",
            Reason::OtherRecord => "contract: the token opens one record alone",
            Reason::BudgetSpent => "EX_3.1-2035: threshold",
            _ => "contract: statuses",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_speaks_to_professionals_and_stays_within_the_contract() {
        // The contract's statuses, with 408, 413 and 416 (docs/decisions/0011).
        const STATUSES: [u16; 13] = [400, 401, 403, 404, 405, 406, 408, 409, 412, 413, 416, 422, 429];
        for reason in Reason::ALL {
            assert!(STATUSES.contains(&reason.status()), "{reason:?}");
            assert!(reason.french().ends_with('.'), "{reason:?}");
            assert_eq!(reason.status() == 403, reason.code() == Some("DMPAccessForbidden"), "{reason:?}");
        }
        let distinct: std::collections::HashSet<Reason> = Reason::ALL.into_iter().collect();
        assert_eq!(distinct.len(), Reason::ALL.len());
    }
}
