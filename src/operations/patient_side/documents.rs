//! The patient's view of his documents, and what he changes of them.

use super::{Operation, Outcome, PatientCall, PatientReader, Traced, operation, unknown};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::patient::RecordSummary;
use crate::rights::{DocumentAction, VACCINATION_NOTE};
use crate::store::{DocumentKey, PatientDocument, RecordKey};

/// List.
pub const LIST: Operation = operation("MES list documents");
/// Change one.
pub const CHANGE: Operation = operation("MES change document");

/// A change of one document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Masked from professionals.
    pub masked: Option<bool>,
    /// Archived; the patient's own documents alone (note *).
    pub archived: Option<bool>,
    /// Deleted; the patient's own documents alone (note *).
    pub deleted: bool,
}

/// Lists what the reader may see: without announcements that are not over, and for a representative without what is hidden from
/// them.
///
/// # Errors
/// [`Reason::NotFound`], or the store's.
pub async fn list(
    call: &PatientCall,
    id: String,
    reader: PatientReader,
) -> Result<Traced<Vec<PatientDocument>>, Failure> {
    let grant = call.grant();
    let (rule, now) = (grant.rule().to_owned(), call.now());
    let (key, asking) = (RecordKey::Id(id.clone()), call.clone());
    let documents = call
        .services
        .store
        .read(move |store| {
            let record = store.whole_record(&grant, &key)?.ok_or_else(unknown)?;
            asking.admit(reader, &record)?;
            store.documents_of_patient(&grant, &record.id, reader == PatientReader::Representative, now)
        })
        .await?;
    let ids: Vec<String> = documents.iter().map(|document| document.id.clone()).collect();
    let trace = call.trace.granted(200, &rule, Some(&id), &ids);
    call.services.store.writer().record(trace, documents).await
}

/// Changes one document.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::VersionConflict`], [`Reason::NotTheAuthor`] for what a professional deposited (R1111-51), or the
/// store's.
pub async fn change(
    call: &PatientCall,
    id: String,
    if_match: Option<i64>,
    document: String,
    change: Change,
    reader: PatientReader,
) -> Result<Traced<Result<RecordSummary, Refusal>>, Failure> {
    let (now, asking) = (call.now(), call.clone());
    call.change(id.clone(), if_match, move |transaction, grant, record| {
        if let Err(refusal) = asking.admit(reader, record) {
            return Ok(Outcome::Refused(refusal));
        }
        let no_document =
            || Outcome::Refused(Refusal::new(Reason::NotFound, "no such document").by("no such identifier"));
        // Before its announcement the patient does not know of it (R1111-53).
        let facts = match transaction.document(&DocumentKey::Id(document.clone()), now)? {
            Some(kept) if kept.facts.record_id == id => kept.facts,
            _ => return Ok(no_document()),
        };
        let hidden = facts.labels.invisible_to_patient
            || (reader == PatientReader::Representative && facts.labels.invisible_to_representatives);
        if hidden {
            return Ok(no_document());
        }
        if (change.archived.is_some() || change.deleted) && !facts.by_patient {
            let why = "what a professional deposited is taken back by its author, for a legitimate reason";
            return Ok(Outcome::Refused(Refusal::new(Reason::NotTheAuthor, why).by("R1111-51")));
        }
        if change.masked == Some(true) && facts.type_code == VACCINATION_NOTE {
            let why = "a vaccination note is N and nothing else";
            return Ok(Outcome::Refused(Refusal::new(Reason::UpdateNotAllowed, why).by("EX_2.1-2005")));
        }
        if let Some(masked) = change.masked
            && transaction.mask_for_patient(grant, &id, &document, masked, now)?.is_none()
        {
            return Ok(no_document());
        }
        let mut actions = Vec::new();
        match change.archived {
            Some(true) => actions.push(DocumentAction::Archive),
            Some(false) => actions.push(DocumentAction::Unarchive),
            None => {}
        }
        if change.deleted {
            actions.push(DocumentAction::Delete);
        }
        if !actions.is_empty()
            && transaction.change_own_of_patient(grant, &id, &document, &actions, now)?.is_none()
        {
            return Ok(no_document());
        }
        Ok(Outcome::Done(vec![document.clone()]))
    })
    .await
}
