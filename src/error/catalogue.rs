//! The error catalogue: beside what a client is told, when it is told so and what to do.
//!
//! `docs/errors.md` and `openapi/errors.json` are made of it (`habilis openapi`); the portal shows it.

use serde_json::json;

use super::Reason;

impl Reason {
    /// When it is answered, and what the integrator does about it.
    #[rustfmt::skip]
    pub const fn explained(self) -> (&'static str, &'static str) {
        match self {
            Reason::MalformedBody => ("The body is not JSON or XML, not FHIR R4, or reads in two ways (a key twice, a DTD).", "Send what the diagnostics ask for; the expression or path names the element."),
            Reason::BodyTooSlow => ("The body did not arrive within its time.", "Send again; nothing was done."),
            Reason::BodyTooLarge => ("The body is larger than the server takes.", "Send documents one by one, or smaller."),
            Reason::MissingSearchParameter => ("A search lacks patient, status, code or what else it must carry.", "Add the parameter that the expression names."),
            Reason::InvalidSearchParameter => ("A parameter has no meaning, or is refused because of `handling=strict`.", "Correct or leave out the parameter that the expression names; follow page links as they are."),
            Reason::InvalidIns => ("The INS has a wrong form, system or key.", "Obtain the INS by the INSi service; do not retry."),
            Reason::UnsuitableCertificate => ("The certificate is none with which one connects: a seal, a server certificate, a card that lacks what its kind carries.", "Connect with a card or with an AUTH_CLI certificate of IGC-Santé."),
            Reason::CertificateRevoked => ("The certificate stands on a revocation list.", "Replace the card or certificate."),
            Reason::CertificateExpired => ("The certificate has expired while the connection stood.", "Replace the card or certificate, connect again."),
            Reason::RevocationUnknown => ("No fresh revocation list covers the certificate.", "Try later; the operator is told by `/health/ready`."),
            Reason::TokenRequired => ("An organisation certificate alone does not say who acts.", "Ask for a token: token-exchange (e-CPS) or jwt-bearer (assertion)."),
            Reason::TokenInvalid => ("The access token is not one of this server, or was altered.", "Open a session anew."),
            Reason::TokenExpired => ("The access token has expired.", "Open a session anew."),
            Reason::TokenSpent => ("A token or an assertion that is good once was used before.", "Make a new assertion (new `jti`), or open a session anew."),
            Reason::TokenNotBound => ("The token was opened over another certificate.", "Use the connection with which it was opened."),
            Reason::InsufficientScope => ("The session was not opened for this transaction.", "Open a session whose `scope` holds the transaction."),
            Reason::OtherRecord => ("The session opens another record alone.", "Open a session for this patient."),
            Reason::WrongMode => ("Emergency modes, secret connection or patient's side are not open to this caller.", "Use mode normal, or let somebody act to whom the mode is open."),
            Reason::StructureNotLinked => ("Professional and structure, or certificate and structure, do not belong together in the directory.", "Name a structure in which the professional exercises; correct the directory."),
            Reason::UnknownProfessional => ("The national directory does not know this professional in this profession.", "Correct the identity, or the directory."),
            Reason::UnknownClient => ("This certificate has no such grant, or no client of Pro Santé Connect is registered for it.", "Register the certificate's subject, or use its own grant."),
            Reason::SoftwareRefused => ("The software is suspended, not homologated, or not one that may be used.", "Name the homologated product and version; ask the operator."),
            Reason::InvalidTokenRequest => ("The token request lacks a parameter, or says what cannot be read.", "Add what the diagnostics name."),
            Reason::UnsupportedGrant => ("The grant type is not one of this server's.", "Use one that `/.well-known/smart-configuration` lists."),
            Reason::InvalidScope => ("None of the scopes asked for can be granted.", "Ask for scopes that the diagnostics list."),
            Reason::InvalidGrant => ("Assertion or subject token do not count.", "Make a new one as the diagnostics say; log in again at Pro Santé Connect."),
            Reason::InvalidSeal => ("The assertion is not signed with a valid seal of the connection's own organisation.", "Sign with the SIGN certificate of the organisation that connects."),
            Reason::BudgetSpent => ("Too many requests of this kind.", "Wait as long as `Retry-After` says; feeding has a budget of its own."),
            Reason::NoFunctionalRight => ("The functional-rights sheet has no yes for this caller, action and mode.", "Nothing to be done by the software; the trace names the cell."),
            Reason::NoAuthorisation => ("The caller has not declared the patient's authorisation.", "With the patient's consent: `POST /Consent` (TD0.3)."),
            Reason::AuthorisationExpired => ("The authorisation is over.", "With the patient's consent: declare it anew (TD0.3)."),
            Reason::Blocked => ("The patient has blocked the professional or the structure.", "Only the patient can change it, in Mon espace santé."),
            Reason::OpposedToFeeding => ("The patient is opposed to feeding.", "Do not feed; what was fed may still be deleted."),
            Reason::SecretForMinors => ("A secret connection to the record of somebody who is of age.", "Open a session without `connexion_secrete`."),
            Reason::NotTheAuthor => ("Somebody else is the document's author.", "Let the author, or his structure, do it."),
            Reason::AttachedToMonEspaceSante => ("The record is attached to Mon espace santé, where its holder closes it.", "Tell the patient."),
            Reason::TooManyHits => ("A search without INS found too many patients.", "Add traits."),
            Reason::UpdateNotAllowed => ("FHIR allows the update, the DMP does not.", "Correct it as the diagnostics say: labels that exclude each other, one-way visibility, status."),
            Reason::ElementNotUpdatable => ("A PATCH of something other than status, securityLabel and isArchived.", "Replace the document by a new version."),
            Reason::RecordExists => ("There is a record for this patient already.", "Use it."),
            Reason::VersionConflict => ("`If-Match` names another version, or there is none where one is wanted.", "Read again, decide again."),
            Reason::NotFound => ("Unknown, or not to be seen: nobody is told which.", "Treat it as not there."),
            Reason::UnknownRecord => ("No record for this INS.", "The patient has no DMP; TD0.2 tells."),
            Reason::MethodNotAllowed => ("The path exists, the method does not.", "See the OpenAPI description."),
            Reason::NotAcceptable => ("None of the formats accepted can be given.", "Accept `application/fhir+json`, `application/fhir+xml`, or the document's own type."),
            Reason::RangeNotSatisfiable => ("`Range` begins behind the end of the document.", "`Content-Range` tells its size; ask for what it has."),
            Reason::UniqueIdTaken => ("The unique id belongs to other bytes, another record, or a part of another submission.", "Draw a new unique id; the same feed byte for byte is answered as the first time."),
            Reason::VaccinationKnown => ("The record has a current note of this vaccine (CIS code) on this day.", "Replace that note, or do not feed."),
            Reason::RecordClosed => ("The record is closed.", "Do not feed; the patient may open it again."),
            Reason::TypeNotForProfessionals => ("A professional may not deposit documents of this type (EX_2.1-1010).", "Do not send it."),
            Reason::InvalidMetadata => ("The metadata break a rule of the DMP or of the profile.", "Correct each element that an issue names."),
            Reason::HashMismatch => ("Hash or size are not those of the bytes received.", "Compute SHA-1 (base64) and size of the very bytes that are sent."),
            Reason::ContentMismatch => ("Document and metadata contradict each other: patient, unique id, type, media type.", "Correct what the expression names."),
            Reason::InvalidContent => ("The document itself is not acceptable: not XML, a DTD, a script, an outside resource, an unknown media type.", "Correct the document."),
            Reason::UnsupportedEntry => ("The transaction holds an entry that ITI-65 does not know here.", "Send List, DocumentReference, Binary and PATCH entries alone."),
            Reason::SubscriptionRefused => ("A Subscription names a topic, a filter, a channel, an end or a receiver that is not offered.", "Correct the element that the expression names; have the receiver's host put on the operator's list."),
        }
    }
}

/// What is answered where it is not the client's affair: status, code, when, what to do.
const FAILURES: [(u16, &str, &str, &str); 2] = [
    (
        503,
        "transient",
        "Traces cannot be written, the store does not answer, or a queue is full.",
        "Wait as long as `Retry-After` says, then send the same again: nothing was done, or it is answered as the first time.",
    ),
    (500, "exception", "A fault of the server's own.", "Report it with the `X-Request-Id`."),
];

/// The catalogue as a page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Errors\n\n\
         Made by `habilis openapi` from the code; `openapi/errors.json` has the same as data. A refusal is an OperationOutcome: `issue.code`,\n\
         `issue.details.coding.code`, a French sentence for the health professional, English diagnostics, and `issue.expression` where an element\n\
         is at fault. The trace has the name of the first column.\n\n\
         | name | status | issue.code | code | told to the professional | when | what to do |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for reason in Reason::ALL {
        let (when, remedy) = reason.explained();
        let code = reason.code().map_or(String::new(), |code| format!("`{code}`"));
        page.push_str(&format!(
            "| {reason:?} | {} | {} | {code} | {} | {when} | {remedy} |\n",
            reason.status(),
            reason.issue_code(),
            reason.french(),
        ));
    }
    for (status, issue_code, when, remedy) in FAILURES {
        page.push_str(&format!("| | {status} | {issue_code} | | | {when} | {remedy} |\n"));
    }
    page
}

/// The catalogue as data, JSON, a newline at the end.
///
/// # Errors
/// It cannot be serialised, which would be a fault of ours.
pub fn to_json() -> Result<String, serde_json::Error> {
    let reasons = Reason::ALL.into_iter().map(|reason| {
        let (when, remedy) = reason.explained();
        json!({
            "name": format!("{reason:?}"),
            "status": reason.status(),
            "issueCode": reason.issue_code(),
            "code": reason.code(),
            "french": reason.french(),
            "when": when,
            "remedy": remedy,
        })
    });
    let failures = FAILURES.into_iter().map(|(status, issue_code, when, remedy)| {
        json!({ "status": status, "issueCode": issue_code, "when": when, "remedy": remedy })
    });
    Ok(serde_json::to_string_pretty(&reasons.chain(failures).collect::<Vec<_>>())? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checked-in page and data are those of the program, and each reason says something of its own.
    #[test]
    fn the_checked_in_catalogue_is_not_stale() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(read("docs/errors.md") == markdown(), "stale: run « cargo run -- openapi »");
        assert!(read("openapi/errors.json") == to_json().unwrap(), "stale: run « cargo run -- openapi »");
        let mut said = std::collections::HashSet::new();
        for reason in Reason::ALL {
            let (when, remedy) = reason.explained();
            assert!(when.ends_with('.') && remedy.ends_with('.') && !when.contains('|'), "{reason:?}");
            assert!(said.insert(when), "{reason:?}");
        }
    }

    /// Each reason is given somewhere in the code, and somewhere in the tests of the suite or beside the code.
    #[test]
    fn every_reason_is_given() {
        fn texts(folder: &std::path::Path, found: &mut Vec<(bool, String)>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    texts(&path, found);
                } else if path.extension().is_some_and(|extension| extension == "rs")
                    && !path.ends_with("catalogue.rs")
                {
                    let own = path.ends_with("src/error.rs");
                    found.push((own, std::fs::read_to_string(path).unwrap()));
                }
            }
        }
        let mut found = Vec::new();
        texts(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        for reason in Reason::ALL {
            let name = format!("Reason::{reason:?}");
            let given = found.iter().any(|(own, text)| {
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                !own && code.match_indices(&name).any(|(at, _)| {
                    !code[at + name.len()..].starts_with(|c: char| c.is_ascii_alphanumeric())
                        && !code[..at].ends_with("[`")
                        && !code[..at].ends_with("error::")
                })
            });
            assert!(given, "{name} is given nowhere");
        }
    }
}
