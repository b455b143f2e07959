//! Block and unblock a professional, name the médecin traitant and professionals with equal rights.

use super::{Operation, Outcome, PatientCall, PatientReader, Traced, operation};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::patient::RecordSummary;
use crate::rights::{Basis, Relation};
use crate::store::{NewAuthorisation, basis_code};

/// Say what a professional is.
pub const SET: Operation = operation("MES set professional");
/// Take it back.
pub const FORGET: Operation = operation("MES forget professional");

/// What the patient makes of a professional or a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Neither reads nor feeds.
    Blocked,
    /// May read, for as long as an authorisation lasts.
    Authorised,
    /// Médecin traitant; there may be several.
    MedecinTraitant,
    /// With equal rights (R1111-54).
    EqualRights,
}

/// Says what a professional is to the patient.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::VersionConflict`], [`Reason::InvalidMetadata`] for an identifier of a wrong form, or the
/// store's.
pub async fn set(
    call: &PatientCall,
    id: String,
    if_match: Option<i64>,
    professional: String,
    standing: Standing,
) -> Result<Traced<Result<RecordSummary, Refusal>>, Failure> {
    let checks = call.services.sessions.checks;
    let is_person = checks.is_professional_id(&professional) || checks.is_staff_id(&professional);
    let is_structure = !is_person && checks.is_structure_id(&professional);
    let treats = matches!(standing, Standing::MedecinTraitant | Standing::EqualRights);
    if !(checks.is_professional_id(&professional) || (!treats && (is_person || is_structure))) {
        let why = "a professional is named by PS_IdNat; whom one blocks or authorises, by Struct_IdNat as well";
        return Err(Refusal::at(Reason::InvalidMetadata, "professionnel", why).by("identifiers").into());
    }
    let now = call.now();
    let consent_id = call.services.environment.next_id();
    let until = match standing {
        Standing::Blocked => i64::MAX,
        _ => now.saturating_add(call.services.authorisation_duration),
    };
    call.change(id.clone(), if_match, move |transaction, grant, _| {
        match standing {
            Standing::Blocked | Standing::Authorised => {
                // Whoever is blocked is médecin traitant no more: the relation would outlive the blocking.
                transaction.forget_professional(grant, &id, &professional, false)?;
                let new = NewAuthorisation {
                    record_id: id.clone(),
                    holder: professional.clone(),
                    blocked: standing == Standing::Blocked,
                    since: now,
                    until,
                    consent_id: consent_id.clone(),
                    consent: String::new(),
                    basis: basis_code(if is_structure { Basis::Structure } else { Basis::Person }),
                    name: None,
                    profession: None,
                    declared_by: String::new(),
                    secret: false,
                };
                transaction.set_standing(grant, &new)?;
            }
            Standing::MedecinTraitant | Standing::EqualRights => {
                let relation = match standing {
                    Standing::MedecinTraitant => Relation::MedecinTraitant,
                    _ => Relation::EqualRights,
                };
                transaction.name_professional(grant, &id, &professional, relation, &consent_id, now)?;
            }
        }
        Ok(Outcome::Done(vec![consent_id.clone()]))
    })
    .await
}

/// Takes back whatever the patient made of a professional, as far as the reader knows of it.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::VersionConflict`], or the store's.
pub async fn forget(
    call: &PatientCall,
    id: String,
    if_match: Option<i64>,
    professional: String,
    reader: PatientReader,
) -> Result<Traced<Result<RecordSummary, Refusal>>, Failure> {
    let (for_representative, asking) = (reader == PatientReader::Representative, call.clone());
    call.change(id.clone(), if_match, move |transaction, grant, record| {
        if let Err(refusal) = asking.admit(reader, record) {
            return Ok(Outcome::Refused(refusal));
        }
        Ok(match transaction.forget_professional(grant, &id, &professional, for_representative)? {
            true => Outcome::Done(Vec::new()),
            false => Outcome::Refused(
                Refusal::new(Reason::NotFound, "nothing was said of this professional").by("no such relation"),
            ),
        })
    })
    .await
}
