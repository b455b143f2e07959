//! Facts of a certificate, and of a token where there is one → who is acting.
//!
//! One request has one [`Caller`]. A card alone is a direct authentication in mode `normal`; an organisation's
//! certificate alone names nobody who acts, and needs a token (contract, « who calls »).
//!
//! * [`identifiers`]: the national numbers, by form and key;
//! * [`directory`]: who exercises where; [`software`]: the registry of practice software;
//! * [`pro_sante_connect`]: the professional behind an e-CPS token;
//! * [`assertion`]: the professional whom an establishment names;
//! * [`tokens`]: our own access tokens, bound to the certificate; [`scope`]: what they are for.

pub mod assertion;
pub mod directory;
pub mod identifiers;
pub mod kept;
pub mod patient_side;
pub mod pro_sante_connect;
pub mod scope;
pub mod software;
pub mod tokens;

use std::fmt;

use crate::certificate::{CardType, CertificateFacts, CertificateKind};
use crate::error::{Reason, Refusal};
use identifiers::{IdentifierChecks, Ins};
use scope::Scopes;
use software::Software;

/// Profession, TRE_G15: `10` doctor, `21` pharmacist, `40` dentist, `50` midwife, `60` nurse …
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Profession(String);

impl Profession {
    /// A doctor.
    pub const DOCTOR: &'static str = "10";
    /// A pharmacist.
    pub const PHARMACIST: &'static str = "21";

    /// The profession of this TRE_G15 code.
    pub fn new(code: impl Into<String>) -> Self {
        Self(code.into())
    }

    /// The code.
    pub fn code(&self) -> &str {
        &self.0
    }
}

/// The second value of a role: the specialities of a doctor (TRE_R01), the section of a pharmacist (TRE_G05). What card,
/// provider or directory says counts, and the caller may choose among it. Where they say nothing the caller names it: that
/// is declared and not proven, so it stands in token and trace and opens nothing.
///
/// # Errors
/// [`Reason::InvalidTokenRequest`] where it is missing or is not one of those known.
pub fn role_detail(
    profession: &Profession,
    in_training: bool,
    known: Vec<String>,
    named: Option<&str>,
) -> Result<RoleDetail, Refusal> {
    let proven = |codes| Ok(RoleDetail { proven: codes, declared: None });
    let refused =
        |why: String| Err(Refusal::new(Reason::InvalidTokenRequest, why).by("VIHF: second value of the role"));
    let form = match profession.code() {
        Profession::PHARMACIST => |code: &str| code.len() == 1 && code.bytes().all(|b| b.is_ascii_uppercase()),
        _ => |code: &str| {
            (2..=8).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        },
    };
    match named {
        Some(named) if known.iter().any(|code| code == named) => proven(vec![named.to_owned()]),
        Some(_) if !known.is_empty() => refused(format!("specialite is one of {}", known.join(", "))),
        Some(named) if form(named) => Ok(RoleDetail { proven: Vec::new(), declared: Some(named.to_owned()) }),
        Some(_) => {
            refused("specialite is a code of TRE_R01 (SM26), or of TRE_G05 (A) for a pharmacist".to_owned())
        }
        None if !known.is_empty() || in_training => proven(known),
        None => match profession.code() {
            Profession::DOCTOR => refused("a doctor names a speciality (specialite, TRE_R01)".to_owned()),
            Profession::PHARMACIST => refused("a pharmacist names a section (specialite, TRE_G05)".to_owned()),
            _ => proven(known),
        },
    }
}

/// See [`role_detail`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDetail {
    /// Said by card, provider or directory.
    pub proven: Vec<String>,
    /// Said by the caller alone.
    pub declared: Option<String>,
}

/// How the caller opened its session: TRE_R248, 1.2.250.1.213.1.1.4.248.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessMode {
    /// `normal`.
    Normal,
    /// `bris_de_glace`: the patient cannot express a will and is at immediate risk.
    BrisDeGlace,
    /// `centre_15`: medical regulation on a call.
    Centre15,
}

impl AccessMode {
    /// Every mode.
    pub const ALL: [AccessMode; 3] = [AccessMode::Normal, AccessMode::BrisDeGlace, AccessMode::Centre15];

    /// The mode of a code.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.code() == code)
    }

    /// The code of TRE_R248.
    pub const fn code(self) -> &'static str {
        match self {
            AccessMode::Normal => "normal",
            AccessMode::BrisDeGlace => "bris_de_glace",
            AccessMode::Centre15 => "centre_15",
        }
    }
}

/// How the acting person was authenticated: the VIHF's `Authentification_mode`, with the direct ways apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authentication {
    /// `DIRECTE`, with a card on this connection.
    Card,
    /// `DIRECTE`, with an e-CPS through Pro Santé Connect.
    ProSanteConnect,
    /// `INDIRECTE`: the establishment answers for the person.
    Indirect,
    /// `INDIRECTE_RENFORCEE` (AIR): with proof of how the person was authenticated.
    IndirectReinforced,
}

impl Authentication {
    /// Every way.
    pub const ALL: [Authentication; 4] = [
        Authentication::Card,
        Authentication::ProSanteConnect,
        Authentication::Indirect,
        Authentication::IndirectReinforced,
    ];

    /// As tokens and traces write it.
    pub const fn code(self) -> &'static str {
        match self {
            Authentication::Card => "DIRECTE",
            Authentication::ProSanteConnect => "DIRECTE_PSC",
            Authentication::Indirect => "INDIRECTE",
            Authentication::IndirectReinforced => "INDIRECTE_RENFORCEE",
        }
    }

    /// The way of a code.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }
}

/// What a CPA is for. No sheet has a row for either: nothing of a record is open to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CpaProfile {
    /// Support agent.
    Support,
    /// The host's doctor: a CPA that carries the profession of a doctor.
    HostDoctor,
}

/// A person who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A professional: CPS, CPF, e-CPS, or named by an establishment.
    Professional {
        /// PS_IdNat, `8` and the RPPS for most.
        id: String,
        /// The profession, or the future one of a professional in training.
        profession: Profession,
        /// The second value of the role: TRE_R01 codes of a doctor, the TRE_G05 section of a pharmacist.
        specialities: Vec<String>,
        /// CPF.
        in_training: bool,
    },
    /// CPE: staff of a practice or establishment.
    Staff {
        /// PS_IdNat of the card, `3<FINESS>/…` for most.
        id: String,
        /// Struct_IdNat.
        structure: String,
    },
    /// Staff whom an establishment names: no professional.
    NamedStaff {
        /// Struct_IdNat, `/`, and the identifier that the establishment gives.
        id: String,
        /// TRE_A00, TRE_R94 or TRE_R85: code, `^`, OID.
        role: String,
    },
    /// CPA: authorised staff, no row in the functional-rights sheet.
    AuthorisedStaff {
        /// PS_IdNat of the card.
        id: String,
        /// What the card is for.
        profile: CpaProfile,
    },
}

/// What a token adds to the identity of who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The token's own identifier, for traces; never the token.
    pub id: String,
    /// What it is for.
    pub scopes: Scopes,
    /// The one record that it opens, where the mode wants one.
    pub record: Option<Ins>,
    /// Why the record is opened in an emergency, in the professional's words.
    pub motif: Option<String>,
    /// Secret connection: the representatives of a minor learn nothing of it.
    pub secret: bool,
    /// Good for one request (AIR).
    pub single_use: bool,
    /// Until when, seconds since the epoch.
    pub expires_at: i64,
}

/// The caller of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// How that is known.
    pub authentication: Authentication,
    /// How the record is opened.
    pub mode: AccessMode,
    /// For whom, Struct_IdNat: on the card of staff, in the token of others; a professional's own card names none.
    pub structure: Option<String>,
    /// Structures for which the caller might act, as the directory has it: where none is named, those of its activities; and
    /// the legal entities of all of them. Whom the patient blocked there is blocked; nobody is authorised by them.
    pub might_act_for: Vec<String>,
    /// The structure's name, where it is known.
    pub structure_name: Option<String>,
    /// Family and given name, where they are known.
    pub name: Option<String>,
    /// Sector of activity, TRE_R02.
    pub sector: Option<String>,
    /// The second value of the role that nobody but the caller says.
    pub declared_role: Option<String>,
    /// How and when an establishment authenticated the person (EX_AIR-050).
    pub proof: Option<String>,
    /// The software, where it names itself.
    pub software: Option<Software>,
    /// What the token says, where there is one.
    pub session: Option<Session>,
}

impl Caller {
    /// Who acts by card and of whom nothing more is known.
    pub fn by_card(actor: Actor) -> Self {
        let structure = match &actor {
            Actor::Staff { structure, .. } => Some(structure.clone()),
            _ => None,
        };
        Self {
            actor,
            authentication: Authentication::Card,
            mode: AccessMode::Normal,
            structure,
            might_act_for: Vec::new(),
            structure_name: None,
            name: None,
            sector: None,
            declared_role: None,
            proof: None,
            software: None,
            session: None,
        }
    }

    /// The caller that a certificate alone makes.
    ///
    /// # Errors
    /// [`Reason::TokenRequired`] for an organisation; [`Reason::UnsuitableCertificate`] for a card that lacks what its
    /// kind must carry or has an identifier of a wrong form.
    pub fn of_certificate(facts: &CertificateFacts, checks: IdentifierChecks) -> Result<Self, Refusal> {
        let unsuitable = |diagnostics: &'static str| Refusal::new(Reason::UnsuitableCertificate, diagnostics);
        let id = facts.subject.common_name.clone();
        let staff_id = || {
            if checks.is_staff_id(&id) {
                Ok(id.clone())
            } else {
                Err(unsuitable("the common name is not a PS_IdNat of staff (3<FINESS>/…, 5<SIRET>/…)"))
            }
        };
        let actor = match facts.kind {
            CertificateKind::OrganisationClient => {
                if !facts.subject.structure.as_deref().is_some_and(|id| checks.is_structure_id(id)) {
                    return Err(unsuitable("the certificate's structure (OU) is not a Struct_IdNat"));
                }
                return Err(Refusal::new(
                    Reason::TokenRequired,
                    "an organisation certificate alone does not say who acts: present an access token",
                ));
            }
            CertificateKind::OrganisationSeal => {
                return Err(unsuitable("a seal connects nobody"));
            }
            CertificateKind::Card(card @ (CardType::Cps | CardType::Cpf)) => {
                if !checks.is_professional_id(&id) {
                    return Err(unsuitable("the common name is not a PS_IdNat of a professional"));
                }
                let in_training = card == CardType::Cpf;
                let profession = match card {
                    CardType::Cpf => facts.profession.as_ref().or(facts.future_profession.as_ref()),
                    _ => facts.profession.as_ref(),
                }
                .ok_or_else(|| unsuitable("the card carries no profession (1.2.250.1.71.1.2.7)"))?;
                if profession == Profession::DOCTOR && facts.specialities.is_empty() && !in_training {
                    return Err(unsuitable("a doctor's card carries a speciality (1.2.250.1.71.4.2.5)")
                        .by("CNDA 0.1-110: the second value of a doctor's role"));
                }
                Actor::Professional {
                    id,
                    profession: Profession::new(profession),
                    specialities: facts.specialities.clone(),
                    in_training,
                }
            }
            CertificateKind::Card(CardType::Cpe) => {
                let structure = facts
                    .subject
                    .structure
                    .clone()
                    .filter(|structure| checks.is_structure_id(structure))
                    .ok_or_else(|| unsuitable("the card names no structure (OU, Struct_IdNat)"))?;
                Actor::Staff { id: staff_id()?, structure }
            }
            CertificateKind::Card(CardType::Cpa) => {
                let doctor = facts.profession.as_deref() == Some(Profession::DOCTOR);
                let profile = if doctor { CpaProfile::HostDoctor } else { CpaProfile::Support };
                Actor::AuthorisedStaff { id: staff_id()?, profile }
            }
        };
        Ok(Self {
            structure_name: facts.subject.organisation.clone(),
            name: Some(name_of(facts)),
            ..Self::by_card(actor)
        })
    }

    /// The national identifier of who acts, PS_IdNat; of staff whom an establishment names, the establishment's own.
    pub fn id(&self) -> &str {
        match &self.actor {
            Actor::Professional { id, .. }
            | Actor::Staff { id, .. }
            | Actor::NamedStaff { id, .. }
            | Actor::AuthorisedStaff { id, .. } => id,
        }
    }

    /// Every second value of the role, proven or merely declared: what restricts counts either way.
    pub fn said_specialities(&self) -> impl Iterator<Item = &str> {
        let proven = match &self.actor {
            Actor::Professional { specialities, .. } => specialities.as_slice(),
            _ => &[],
        };
        proven.iter().chain(&self.declared_role).map(String::as_str)
    }

    /// The way of authentication, for traces: with the proof where there is one (EX_AIR-050, EX_AIR-070).
    pub fn authentication_label(&self) -> String {
        match &self.proof {
            Some(proof) => format!("{} ({proof})", self.authentication.code()),
            None => self.authentication.code().to_owned(),
        }
    }

    /// Profession or role and its second value, for traces. `None`: the card says none.
    pub fn role_label(&self) -> Option<String> {
        match &self.actor {
            Actor::Professional { profession, specialities, .. } => {
                let details = specialities.iter().chain(&self.declared_role);
                let parts = std::iter::once(profession.code()).chain(details.map(String::as_str));
                Some(parts.collect::<Vec<_>>().join(" "))
            }
            Actor::NamedStaff { role, .. } => Some(role.clone()),
            Actor::Staff { .. } | Actor::AuthorisedStaff { .. } => None,
        }
    }

    /// The structure to which an act is attributed, where it is not the person (notes 4 and 9 of the sheets).
    pub fn accountable_structure(&self) -> Option<&str> {
        let by_structure = matches!(self.actor, Actor::Staff { .. } | Actor::NamedStaff { .. })
            || self.authentication == Authentication::Indirect;
        self.structure.as_deref().filter(|_| by_structure)
    }
}

/// Family and given name; of an unnamed card the structure's name and the card's number, without special characters
/// (PDT-INF-617).
fn name_of(facts: &CertificateFacts) -> String {
    let subject = &facts.subject;
    match (&subject.family_name, &subject.given_name) {
        (Some(family), Some(given)) => format!("{family} {given}"),
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (None, None) => {
            let structure = subject.organisation.as_deref().unwrap_or_default();
            let keep = |c: char| if c.is_alphanumeric() || matches!(c, '/' | ' ') { c } else { '-' };
            format!("{structure} {}", subject.common_name).trim().chars().map(keep).collect()
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let card = match &self.actor {
            Actor::Professional { in_training: false, .. } => "CPS",
            Actor::Professional { in_training: true, .. } => "CPF",
            Actor::Staff { .. } => "CPE",
            Actor::NamedStaff { .. } => "staff",
            Actor::AuthorisedStaff { profile: CpaProfile::Support, .. } => "CPA",
            Actor::AuthorisedStaff { profile: CpaProfile::HostDoctor, .. } => "CPA doctor",
        };
        match (self.authentication, &self.actor) {
            (Authentication::Card, _) => formatter.write_str(card),
            (Authentication::ProSanteConnect, _) => formatter.write_str("e-CPS"),
            (_, Actor::Professional { .. }) => formatter.write_str("PS"),
            _ => formatter.write_str(card),
        }
    }
}

#[cfg(test)]
mod tests;
