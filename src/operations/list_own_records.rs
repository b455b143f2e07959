//! TD0.4: the records that one may read: by the date of the authorisation, or by that of the last document.

use super::{Budget, Call, Operation, Traced};
use crate::error::Failure;
use crate::identity::AccessMode;
use crate::identity::scope::Transaction;
use crate::rights::{ListOf, OwnRecordsGrant};
use crate::store::{ListedRecord, Reader, RecordKey};

/// The operation's name in traces.
pub const OPERATION: Operation =
    Operation::new("TD0.4 list authorised records", Transaction::ListRecords, Budget::Search);

/// Authorisations that are looked through for one list, at most: more than any professional holds.
const MOST: i64 = 20_000;

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Whose: PS_IdNat or Struct_IdNat; the caller's where nobody is named.
    pub actor: Option<String>,
    /// Authorisations since then, microseconds.
    pub authorised_since: Option<i64>,
    /// With a document fed or changed since then, as far as the caller may know.
    pub documents_since: Option<i64>,
    /// Lines on a page.
    pub count: usize,
    /// Lines on the pages before.
    pub offset: usize,
}

/// One page of the list.
#[derive(Debug)]
pub struct OwnRecords {
    /// The lines.
    pub records: Vec<ListedRecord>,
    /// On all pages.
    pub total: usize,
    /// Whether another page follows.
    pub more: bool,
}

/// Lists them.
///
/// # Errors
/// [`crate::error::Reason::NoFunctionalRight`], [`crate::error::Reason::OtherRecord`], or the store's.
pub async fn run(call: &Call, asked: Asked) -> Result<Traced<OwnRecords>, Failure> {
    let grant = {
        let directory = call.services.sessions.directory.load();
        let same_structure = |id: &str| {
            call.caller.structure.as_deref().is_some_and(|structure| directory.works_in(id, structure))
        };
        let of = match &asked.actor {
            Some(id) if id != call.caller.id() => ListOf::Other { id, same_structure: same_structure(id) },
            _ => ListOf::Caller,
        };
        let dated = asked.authorised_since.is_some();
        call.services.tables.decide_own_records(&call.caller, of, dated).granted()?
    };
    let rule = grant.rule().to_owned();
    let reading = call.clone();
    let own = call.services.store.read(move |reader| list(&reading, reader, &grant, &asked)).await?;
    let ids: Vec<String> = own.records.iter().map(|record| record.consent.record_id.clone()).collect();
    let trace = call.trace.granted(200, &rule, None, &ids);
    call.services.store.writer().record(trace, own).await
}

fn list(
    call: &Call,
    reader: &mut Reader<'_>,
    grant: &OwnRecordsGrant,
    asked: &Asked,
) -> Result<OwnRecords, Failure> {
    let since = asked.authorised_since.unwrap_or(i64::MIN);
    let mut records = reader.own_records(grant, since, asked.documents_since, call.now(), MOST)?;
    if let Some(since) = asked.documents_since {
        let mut changed = Vec::new();
        for record in records {
            if has_news(call, reader, &record, since)? {
                changed.push(record);
            }
        }
        records = changed;
    }
    let total = records.len();
    let more = total > asked.offset.saturating_add(asked.count);
    let records = records.into_iter().skip(asked.offset).take(asked.count).collect();
    Ok(OwnRecords { records, total, more })
}

/// Whether the caller would see something new in a record. What it may not see makes no record appear.
fn has_news(call: &Call, reader: &mut Reader<'_>, record: &ListedRecord, since: i64) -> Result<bool, Failure> {
    let key = RecordKey::Id(record.consent.record_id.clone());
    let Some(facts) = reader.record_facts(&key, &call.caller, call.now())? else { return Ok(false) };
    // The list tells of what is read with the authorisation that it lists, whatever the mode of the moment.
    let caller = crate::identity::Caller { mode: AccessMode::Normal, ..call.caller.as_ref().clone() };
    match call.services.tables.decide_scope(&caller, &facts, call.at()?).granted() {
        Ok(scope) => reader.has_changed_since(&scope, since, call.now()),
        Err(_) => Ok(false),
    }
}
