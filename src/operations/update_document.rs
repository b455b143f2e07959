//! TD3.3a to d: labels, archive, deletion (`PATCH /DocumentReference`).

use super::{Budget, Call, Operation, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::patch::Patch;
use crate::identity::scope::Transaction as Scope;
use crate::rights::{DocumentAction, UpdateGrant};
use crate::store::{KeptDocument, RecordKey, Step, StoreError, Transaction, UpdatedDocument};

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::new("TD3.3 update document", Scope::Update, Budget::Feed);

/// How a document is named.
#[derive(Clone, Debug)]
pub enum DocumentKey {
    /// `DocumentReference.id`.
    Id(String),
    /// `masterIdentifier`.
    UniqueId(String),
}

/// A document after its update.
#[derive(Clone, Debug)]
pub struct Updated {
    /// `DocumentReference.id`.
    pub id: String,
    /// Its new version. The caller sees the whole of it.
    pub document: UpdatedDocument,
    /// Whether the caller saw it before: if not, the answer is cut down to the reference.
    pub seen: bool,
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
    let (committing, at) = (call.clone(), call.at()?);
    call.services
        .store
        .writer()
        .commit(move |transaction| {
            let call = &committing;
            let result = update(call, transaction, &key, &patch, if_match, at)?;
            Ok(match result {
                Ok((updated, rule, record_id)) => {
                    let ids = std::slice::from_ref(&updated.id);
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

fn update(
    call: &Call,
    transaction: &mut Transaction<'_>,
    key: &DocumentKey,
    patch: &Patch,
    if_match: Option<i64>,
    at: jiff::Timestamp,
) -> Result<Result<(Updated, String, String), Refusal>, StoreError> {
    let unknown = || Refusal::new(Reason::NotFound, "no such resource").by("no such identifier");
    let found = match key {
        DocumentKey::Id(id) => transaction.document(id, call.now())?,
        DocumentKey::UniqueId(unique_id) => transaction.document_of_unique_id(unique_id, call.now())?,
    };
    // A decoy's record is looked up where there is no document: the unknown takes the time of the hidden.
    let record_id = found.as_ref().map_or("", |document| &document.facts.record_id).to_owned();
    let facts = transaction.record_facts(&RecordKey::Id(record_id), &call.caller, call.now())?;
    let (Some(document), Some(record)) = (found, facts) else { return Ok(Err(unknown())) };
    let about = |refusal: Refusal| refusal.concerning(&record.id, Some(&document.facts.id));
    let tables = &call.services.tables;
    // What may be known of at all, before anything is said of what would change.
    if let Err(refusal) = tables.decide_update(&call.caller, &record, &document.facts, &[], at).granted() {
        return Ok(Err(about(refusal)));
    }
    let actions = match actions(&document, patch, if_match) {
        Ok(actions) => actions,
        Err(refusal) => return Ok(Err(about(refusal))),
    };
    let grant: UpdateGrant =
        match tables.decide_update(&call.caller, &record, &document.facts, &actions, at).granted() {
            Ok(grant) => grant,
            Err(refusal) => return Ok(Err(about(refusal))),
        };
    let scope = tables.decide_scope(&call.caller, &record, at).granted();
    let seen = scope.is_ok_and(|scope| scope.admit(&document.facts).granted().is_ok());
    let id = document.facts.id.clone();
    let rule = grant.rule().to_owned();
    // Nothing to change: the document stands as it was asked for.
    let document = match actions.is_empty() {
        true => match document.unchanged(&grant) {
            Some(unchanged) => unchanged,
            None => return Ok(Err(unknown())),
        },
        false => transaction.update(&grant, call.now())?,
    };
    Ok(Ok((Updated { id, document, seen }, rule, record.id)))
}

fn actions(
    document: &KeptDocument,
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
    patch.actions(document.text_to_compare(), facts.labels, facts.archived, facts.status)
}
