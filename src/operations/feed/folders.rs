//! Folders of a feed: made, or added to (ITI-65). Who may read a document may file it; a folder that may not be seen is not there.
//!
//! An update adds documents and does nothing else, as XDS has it; what else it would change is refused.

use serde_json::Value;
use uuid::Uuid;

use super::draft::{Draft, DraftFolder};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::elements::{Reference, instant};
use crate::fhir::submission_set::accepted;
use crate::identity::scope;
use crate::operations::Call;
use crate::rights::{ReadGrant, RecordFacts, Scope};
use crate::store::{DocumentKey, FolderChange, FolderKind, NewSubmission, Reader, StoreError, Transaction};

/// What the feed does with its folders.
///
/// # Errors
/// [`Reason::InvalidMetadata`]: a folder or a document that is not there for the caller.
pub(super) fn changes(
    call: &Call,
    draft: &Draft<'_>,
    record: &RecordFacts,
    submission: &NewSubmission,
    reader: &mut Reader<'_>,
) -> Result<Vec<FolderChange>, Failure> {
    if draft.folders.is_empty() {
        return Ok(Vec::new());
    }
    // Without a right to read there is nothing that is held: what the feed brings may be filed all the same.
    // A token for feeding alone asks nothing of what is there.
    let may_ask = call.scopes.is_none_or(|scopes| {
        scopes.hold(scope::Transaction::Find) && scopes.hold(scope::Transaction::FindLists)
    });
    let read = call.services.tables.decide_scope(&call.caller, record, call.at()?);
    let scope = read.granted().ok().filter(|_| may_ask);
    let mut changes = Vec::new();
    for (position, folder) in draft.folders.iter().enumerate() {
        let (mut fed, mut held) = (Vec::new(), Vec::new());
        for (place, entry) in folder.list.entry.iter().enumerate() {
            let literal = entry.item.literal();
            let is_fed = |document: &super::draft::DraftDocument<'_>| {
                !literal.is_empty() && document.full_url == literal
            };
            if let Some(document) = draft.documents.iter().position(is_fed) {
                fed.extend(submission.documents.get(document).map(|new| new.id.clone()));
                continue;
            }
            let grant = match &scope {
                Some(scope) => read_grant(call, scope, &entry.item, reader)?,
                None => None,
            };
            held.push(grant.ok_or_else(|| {
                let diagnostics =
                    "neither a document of the transaction nor one of the record that may be seen";
                Refusal::at(Reason::InvalidMetadata, folder.at(&format!("entry[{place}].item")), diagnostics)
            })?);
        }
        let (id, kind) = match &folder.update_of {
            None => {
                let id = id_of(&submission.id, position);
                let resource = accepted(folder.text, &id, &record.id, &[], call.now())?;
                let date = folder.list.date.as_ref().and_then(|date| instant(&date.0).ok());
                (id, FolderKind::New { resource, date: date.unwrap_or_else(|| call.now()) })
            }
            Some(id) => {
                (id.clone(), FolderKind::Added { seen: added_to(call, folder, id, scope.as_ref(), reader)? })
            }
        };
        changes.push(FolderChange { id, kind, fed, held });
    }
    Ok(changes)
}

/// The id of a folder that a submission makes: of the submission and its place in it, so that the same feed again is answered as the
/// first time.
pub(super) fn id_of(submission_id: &str, position: usize) -> String {
    let name = format!("urn:uuid:{submission_id} folder {position}");
    Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).hyphenated().to_string()
}

/// Why a folder may no longer be what it was prepared as: a document that was to be filed, or by which the folder was seen, may not be
/// seen any more (decision 0021).
pub(super) fn filed_otherwise(
    call: &Call,
    record: &RecordFacts,
    submission: &NewSubmission,
    at: jiff::Timestamp,
    transaction: &mut Transaction<'_>,
) -> Result<Option<Refusal>, StoreError> {
    if submission.folders.iter().all(|change| change.grants().next().is_none()) {
        return Ok(None);
    }
    let scope = call.services.tables.decide_scope(&call.caller, record, at).granted().ok();
    for grant in submission.folders.iter().flat_map(FolderChange::grants) {
        let key = DocumentKey::Id(grant.document_id().to_owned());
        let kept = transaction.document(&key, call.now())?;
        let still =
            kept.zip(scope.as_ref()).is_some_and(|(kept, scope)| scope.admit(&kept.facts).granted().is_ok());
        if !still {
            let diagnostics = "rights on what is filed have changed meanwhile";
            let refusal = Refusal::new(Reason::InvalidMetadata, diagnostics);
            return Ok(Some(refusal.concerning(&record.id, Some(grant.document_id()))));
        }
    }
    Ok(None)
}

/// What the trace says of a folder: which, and what that was there already was filed in it, by which rule.
pub(super) fn told(change: &FolderChange) -> String {
    let held: Vec<String> =
        change.held.iter().map(|grant| format!("{} ({})", grant.document_id(), grant.rule())).collect();
    format!(
        "folder {}: {} fed, {}",
        change.id,
        change.fed.len(),
        if held.is_empty() { "none held".into() } else { held.join(", ") }
    )
}

fn read_grant(
    call: &Call,
    scope: &Scope,
    item: &Reference<'_>,
    reader: &mut Reader<'_>,
) -> Result<Option<ReadGrant>, Failure> {
    let kept = super::look_up(item, reader, call.now())?;
    Ok(kept.and_then(|kept| scope.admit(&kept.facts).granted().ok()))
}

/// The right to read a document of the folder: without one the folder is not there.
fn added_to(
    call: &Call,
    folder: &DraftFolder<'_>,
    id: &str,
    scope: Option<&Scope>,
    reader: &mut Reader<'_>,
) -> Result<ReadGrant, Failure> {
    let unknown = || {
        Refusal::at(Reason::InvalidMetadata, folder.at("id"), "the folder to be updated is not known")
            .by("a folder is there for who may see a document of it")
    };
    let kept = reader.submission_set(id, call.now())?.filter(|kept| kept.is_folder).ok_or_else(unknown)?;
    let scope = scope.filter(|scope| scope.record_id() == kept.record_id).ok_or_else(unknown)?;
    let mut grants = kept.documents.iter().filter_map(|facts| scope.admit(facts).granted().ok());
    let seen = grants.next().ok_or_else(unknown)?;
    let grants: Vec<ReadGrant> = std::iter::once(seen.clone()).chain(grants).collect();
    let shown = kept.open(&grants)?.ok_or_else(unknown)?;
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(Failure::internal);
    let (held, sent) = (read(&shown)?, read(folder.text)?);
    for element in ["title", "identifier", "status", "mode"] {
        if sent.get(element).is_some() && sent.get(element) != held.get(element) {
            let diagnostics = "an update of a folder adds documents, and changes nothing else";
            return Err(Refusal::at(Reason::InvalidMetadata, folder.at(element), diagnostics).into());
        }
    }
    Ok(seen)
}
