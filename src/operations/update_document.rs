//! TD3.3a to d: labels, archive, deletion (`PATCH /DocumentReference`).

use super::{Budget, Call, Operation, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::patch::{Patch, Touched};
use crate::identity::scope::Transaction as Scope;
use crate::rights::{DocumentAction, UpdateGrant, VACCINATION_NOTE};
use crate::store::{
    DocumentKey, DocumentSummary, Hold, KeptDocument, RecordKey, Step, StoreError, Transaction, UpdatedDocument,
};

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::new("TD3.3 update document", Scope::Update, Budget::Feed);

/// A document after its update, as far as the caller may know it.
#[derive(Clone, Debug)]
pub enum Updated {
    /// Who sees it, or saw it before it masked it: the whole.
    Seen(UpdatedDocument),
    /// Its author, who may change it and not read it.
    Known(DocumentSummary),
}

/// Whether the caller's column lets it update at all: asked before anything is read or looked up. What a PATCH changes is known
/// only against the document; every column has the deletion.
///
/// # Errors
/// [`Reason::NoFunctionalRight`].
pub fn permitted_at_all(call: &Call) -> Result<(), Refusal> {
    call.services.tables.decide_updating_at_all(&call.caller, &[DocumentAction::Delete]).granted()
}

/// Updates. A refusal inside the result has its trace already. `if_match`: the version that the caller means.
///
/// # Errors
/// [`Reason::NotFound`] for the unknown and the hidden alike, [`Reason::NotTheAuthor`], [`Reason::NoFunctionalRight`],
/// [`Reason::ElementNotUpdatable`], [`Reason::UpdateNotAllowed`], [`Reason::VersionConflict`], or the store's.
pub async fn run(
    call: &Call,
    key: DocumentKey,
    patch: Patch,
    if_match: Option<i64>,
) -> Result<Traced<Result<Updated, Refusal>>, Failure> {
    permitted_at_all(call)?;
    if let DocumentKey::Id(id) = &key {
        super::must_be_an_id(id)?;
    }
    let (committing, at) = (call.clone(), call.at()?);
    call.services
        .store
        .writer()
        .commit(move |transaction| {
            let call = &committing;
            let result = update(call, transaction, &key, &patch, if_match, at)?;
            Ok(match result {
                Ok(Done { updated, id, rule, record_id }) => {
                    let ids = std::slice::from_ref(&id);
                    let trace = call.trace.granted(200, &rule, Some(&record_id), ids);
                    Step { value: Ok(updated), trace, keep: true }
                }
                Err(refusal) => {
                    let trace = call.trace.failed(&refusal.clone().into(), refusal.reason.status());
                    Step { value: Err(refusal), trace, keep: false }
                }
            })
        })
        .await
}

struct Done {
    updated: Updated,
    id: String,
    rule: String,
    record_id: String,
}

fn update(
    call: &Call,
    transaction: &mut Transaction<'_>,
    key: &DocumentKey,
    patch: &Patch,
    if_match: Option<i64>,
    at: jiff::Timestamp,
) -> Result<Result<Done, Refusal>, StoreError> {
    let unknown = || Refusal::new(Reason::NotFound, "no such resource").by("no such identifier");
    let now = call.now();
    // The record is held first, and by everybody in this order. Where there is no document, that of a decoy is looked up: the unknown
    // takes the time of the hidden.
    let record_id = transaction.record_of_document(key)?.unwrap_or_default();
    let facts = transaction.record_facts(&RecordKey::Id(record_id), &call.caller, now, Hold::Alone)?;
    let found = transaction.document(key, now)?;
    let tables = &call.services.tables;
    let (Some(document), Some(record)) = (found, facts) else {
        drop(tables.decide_scope(&call.caller, &super::decoy(), at).granted());
        return Ok(Err(unknown()));
    };
    let about = |refusal: Refusal| refusal.concerning(&record.id, Some(&document.facts.id));
    let decide = |actions: &[DocumentAction]| {
        tables.decide_update(&call.caller, &record, &document.facts, actions, at).granted().map_err(about)
    };
    // What may be known of at all, before anything is said of what would change.
    if let Err(refusal) = decide(&[]) {
        return Ok(Err(refusal));
    }
    let scope = tables.decide_scope(&call.caller, &record, at).granted();
    let scope = scope.ok().filter(|scope| scope.admit(&document.facts).granted().is_ok());
    // Who does not see the document learns nothing of its state by what a patch would change: its elements are decided on first.
    if scope.is_none()
        && let Err(refusal) = kinds(patch.touches())
            .into_iter()
            .try_for_each(|any| tables.decide_kind(&call.caller, &record, &document.facts, any, at).granted())
    {
        return Ok(Err(about(refusal)));
    }
    // A kept text that cannot be read is a fault of ours, with its cause, and no refusal.
    let kept = document.to_compare(now).map_err(|fault| StoreError::SerializationError(Box::new(fault)))?;
    let actions = match actions(&document, &kept, patch, if_match) {
        Ok(actions) => actions,
        Err(refusal) => return Ok(Err(about(refusal))),
    };
    let grant: UpdateGrant = match decide(&actions) {
        Ok(grant) => grant,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // Nothing to change: the document stands as it was asked for.
    if !actions.is_empty() {
        transaction.update(&grant, now)?;
        if actions.contains(&DocumentAction::Delete) && document.facts.type_code == VACCINATION_NOTE {
            super::feed::renew_vaccination_history(call, transaction, &grant.vaccination_history())?;
        }
    }
    let id = document.facts.id.clone();
    let seen = match &scope {
        Some(scope) => transaction.shown(scope, &id, now)?,
        None => None,
    };
    let updated = match seen {
        Some(document) => Updated::Seen(document),
        None => Updated::Known(transaction.reference(&grant)?),
    };
    Ok(Ok(Done { updated, id, rule: grant.rule().to_owned(), record_id: record.id }))
}

/// For each element that a patch touches, what may be done to it: who may do none of it is refused, whatever the state.
fn kinds(touched: Touched) -> Vec<&'static [DocumentAction]> {
    use DocumentAction::{Archive, Delete, Mask, ShowToPatient, Unarchive, Unmask};
    let each: [(bool, &[DocumentAction]); 3] = [
        (touched.labels, &[Mask, Unmask, ShowToPatient]),
        (touched.archive, &[Archive, Unarchive]),
        (touched.status, &[Delete]),
    ];
    each.into_iter().filter(|(touched, _)| *touched).map(|(_, any)| any).collect()
}

fn actions(
    document: &KeptDocument,
    kept: &serde_json::Value,
    patch: &Patch,
    if_match: Option<i64>,
) -> Result<Vec<DocumentAction>, Refusal> {
    if if_match.is_some_and(|version| version != document.version()) {
        return Err(Refusal::new(
            Reason::VersionConflict,
            "If-Match names another version than the current one",
        )
        .by("If-Match"));
    }
    let facts = &document.facts;
    patch.actions(kept, facts.labels, facts.status)
}
