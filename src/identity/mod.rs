//! Facts of a certificate → who is acting.
//!
//! One request has one [`Caller`]. A card is a direct authentication in mode `normal`; an organisation certificate
//! alone names nobody who acts, and needs a token (contract, « who calls »).

pub mod identifiers;

use std::fmt;

use crate::certificate::{CardType, CertificateFacts, CertificateKind};
use crate::error::{Reason, Refusal};

/// Profession, TRE_G15: `10` doctor, `21` pharmacist, `40` dentist, `50` midwife, `60` nurse …
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Profession(String);

impl Profession {
    /// A doctor.
    pub const DOCTOR: &'static str = "10";

    /// The profession of this TRE_G15 code.
    pub fn new(code: impl Into<String>) -> Self {
        Self(code.into())
    }

    /// The code.
    pub fn code(&self) -> &str {
        &self.0
    }
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
    /// The code of TRE_R248.
    pub const fn code(self) -> &'static str {
        match self {
            AccessMode::Normal => "normal",
            AccessMode::BrisDeGlace => "bris_de_glace",
            AccessMode::Centre15 => "centre_15",
        }
    }
}

/// A person who acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actor {
    /// CPS or CPF: a professional in person.
    Professional {
        /// PS_IdNat, `8` and the RPPS for most.
        id: String,
        /// The profession, or the future one of a professional in training.
        profession: Profession,
        /// TRE_R01 codes.
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
    /// CPA: authorised staff, no row in the functional-rights sheet.
    AuthorisedStaff {
        /// PS_IdNat of the card.
        id: String,
    },
}

/// The caller of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// How.
    pub mode: AccessMode,
    /// For whom, Struct_IdNat: on the card of staff; a professional's own card names none.
    pub structure: Option<String>,
    /// The structure's name, where the certificate has it.
    pub structure_name: Option<String>,
    /// Family and given name, where the certificate has them.
    pub name: Option<String>,
}

impl Caller {
    /// The caller that a certificate alone makes.
    ///
    /// # Errors
    /// [`Reason::TokenRequired`] for an organisation; [`Reason::UnsuitableCertificate`] for a card that lacks what its
    /// kind must carry or has an identifier of a wrong form.
    pub fn of_certificate(facts: &CertificateFacts) -> Result<Self, Refusal> {
        let unsuitable = |diagnostics: &'static str| Refusal::new(Reason::UnsuitableCertificate, diagnostics);
        let id = facts.subject.common_name.clone();
        let actor = match facts.kind {
            CertificateKind::OrganisationClient => {
                return Err(Refusal::new(
                    Reason::TokenRequired,
                    "an organisation certificate alone does not say who acts: present an access token",
                ));
            }
            CertificateKind::Card(card @ (CardType::Cps | CardType::Cpf)) => {
                if !identifiers::is_professional_id(&id) {
                    return Err(unsuitable("the common name is not a PS_IdNat of a professional"));
                }
                let profession = match card {
                    CardType::Cpf => facts.profession.as_ref().or(facts.future_profession.as_ref()),
                    _ => facts.profession.as_ref(),
                }
                .ok_or_else(|| unsuitable("the card carries no profession (1.2.250.1.71.1.2.7)"))?;
                Actor::Professional {
                    id,
                    profession: Profession::new(profession),
                    specialities: facts.specialities.clone(),
                    in_training: card == CardType::Cpf,
                }
            }
            CertificateKind::Card(CardType::Cpe) => {
                let structure = facts
                    .subject
                    .structure
                    .clone()
                    .filter(|structure| identifiers::is_structure_id(structure))
                    .ok_or_else(|| unsuitable("the card names no structure (OU, Struct_IdNat)"))?;
                Actor::Staff { id, structure }
            }
            CertificateKind::Card(CardType::Cpa) => Actor::AuthorisedStaff { id },
        };
        let name = match (&facts.subject.family_name, &facts.subject.given_name) {
            (Some(family), Some(given)) => Some(format!("{family} {given}")),
            (Some(only), None) | (None, Some(only)) => Some(only.clone()),
            (None, None) => None,
        };
        Ok(Self {
            structure: match &actor {
                Actor::Staff { structure, .. } => Some(structure.clone()),
                _ => None,
            },
            structure_name: facts.subject.organisation.clone(),
            actor,
            mode: AccessMode::Normal,
            name,
        })
    }

    /// The national identifier of who acts, PS_IdNat.
    pub fn id(&self) -> &str {
        match &self.actor {
            Actor::Professional { id, .. } | Actor::Staff { id, .. } | Actor::AuthorisedStaff { id } => id,
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Actor::Professional { in_training: false, .. } => "CPS",
            Actor::Professional { in_training: true, .. } => "CPF",
            Actor::Staff { .. } => "CPE",
            Actor::AuthorisedStaff { .. } => "CPA",
        })
    }
}
