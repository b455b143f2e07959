//! TD3.2, ITI-68: the bytes of a document, or its DocumentReference.

use bytes::Bytes;

use super::{Budget, Call, Operation, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::identity::scope::Transaction;
use crate::store::{KeptDocument, OpenedDocument, Reader, RecordKey};

/// The name of reading bytes in traces.
pub const RETRIEVE: Operation = Operation::new("TD3.2 retrieve", Transaction::Retrieve, Budget::Read);
/// The name of reading metadata in traces.
pub const READ: Operation = Operation::new("TD3.1 read metadata", Transaction::Find, Budget::Read);

/// A body with its media type.
#[derive(Debug)]
pub struct Body {
    /// `Binary.id`.
    pub binary_id: String,
    /// As declared by who fed it.
    pub content_type: String,
    /// As received.
    pub bytes: Bytes,
}

/// Reads the bytes of a Binary. `acceptable` is asked, once the caller may see it, whether its media type will do.
///
/// # Errors
/// [`Reason::NotFound`] for the unknown and the hidden alike, [`Reason::NoFunctionalRight`], [`Reason::NotAcceptable`],
/// or the store's.
pub async fn retrieve(
    call: &Call,
    binary_id: String,
    acceptable: impl Fn(&str) -> bool,
) -> Result<Traced<Body>, Failure> {
    let (document, id, record_id, rule) =
        open(call, &binary_id.clone(), move |reader, now| reader.document_of_binary(&binary_id, now)).await?;
    if !acceptable(&document.content_type) {
        let diagnostics = format!("the document is {}", document.content_type);
        return Err(Refusal::new(Reason::NotAcceptable, diagnostics).concerning(&record_id, Some(&id)).into());
    }
    let bytes = call.services.store.bodies().get(&document.body_key, &document.sha256, document.size).await?;
    let trace = call.trace.granted(200, &rule, Some(&record_id), &[id]);
    let body = Body { binary_id: document.binary_id, content_type: document.content_type, bytes };
    call.services.store.writer().record(trace, body).await
}

/// Reads a DocumentReference.
///
/// # Errors
/// As [`retrieve`].
pub async fn read(call: &Call, id: String) -> Result<Traced<OpenedDocument>, Failure> {
    let (document, id, record_id, rule) =
        open(call, &id.clone(), move |reader, now| reader.document(&id, now)).await?;
    let trace = call.trace.granted(200, &rule, Some(&record_id), &[id]);
    call.services.store.writer().record(trace, document).await
}

async fn open<F>(call: &Call, id: &str, look_up: F) -> Result<(OpenedDocument, String, String, String), Failure>
where
    F: FnOnce(&mut Reader<'_>, i64) -> Result<Option<KeptDocument>, Failure> + Send + 'static,
{
    call.services.tables.decide_reading_at_all(&call.caller).granted()?;
    super::must_be_an_id(id)?;
    let reading = call.clone();
    call.services
        .store
        .read(move |reader| {
            let call = &reading;
            let unknown = || Refusal::new(Reason::NotFound, "no such resource").by("no such identifier");
            let document = look_up(reader, call.now())?;
            // The unknown takes the time of the hidden: a record is looked up and decided on all the same.
            let record_id = document.as_ref().map_or("", |document| &document.facts.record_id).to_owned();
            let record = reader.record_facts(&RecordKey::Id(record_id), &call.caller, call.now())?;
            let at = call.at()?;
            let (Some(document), Some(record)) = (document, record) else {
                drop(call.services.tables.decide_scope(&call.caller, &super::decoy(), at).granted());
                return Err(unknown().into());
            };
            let about = |refusal: Refusal| refusal.concerning(&record.id, Some(&document.facts.id));
            let scope = call.services.tables.decide_scope(&call.caller, &record, at);
            let scope = scope.granted_or_unknown().map_err(about)?;
            let grant = scope.admit(&document.facts).granted().map_err(about)?;
            let id = document.facts.id.clone();
            let opened =
                document.open(&grant).ok_or_else(|| Failure::internal("a grant for another document"))?;
            let opened = reader.shown(&scope, opened, call.now())?;
            Ok((opened, id, record.id, grant.rule().to_owned()))
        })
        .await
}
