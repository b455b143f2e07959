//! The end of records: ten years after they were closed, documents, key and traits are erased, and then what their traces say.

use crate::audit::TraceContext;
use crate::environment::Environment;
use crate::error::Failure;
use crate::rights::{ClosedRecord, decide_retention, decide_trace_retention, ten_years_before};
use crate::store::{ERASING, Erased, Step, Store, StoreError, Traced, Transaction};

/// What a run did, or would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionReport {
    /// Records erased.
    pub records: u64,
    /// Documents of them.
    pub documents: u64,
    /// Records whose traces were erased.
    pub traces_of: u64,
    /// Traces erased.
    pub traces: u64,
}

/// How many records are looked for at once.
const PAGE: i64 = 200;

/// Erases what is kept no longer, record by record, each in a commit of its own with its trace: interrupted, it is gone on with. Run on two
/// nodes at once, each record is erased by one of them. `progress` is told after each record. Dry, it says what it would do.
///
/// # Errors
/// [`Failure::Unavailable`]: what was erased until then is erased.
pub async fn run(
    store: &Store,
    environment: &Environment,
    dry: bool,
    mut progress: impl FnMut(&RetentionReport),
) -> Result<RetentionReport, Failure> {
    let mut report = RetentionReport::default();
    let Some(before) = ten_years_before(now(environment)) else { return Ok(report) };
    let mut behind = (i64::MIN, String::new());
    loop {
        let from = behind.clone();
        let page = store.read(move |reader| reader.closed_before(before, &from, PAGE)).await?;
        let Some(last) = page.last() else { return Ok(report) };
        behind = (last.closed_at.unwrap_or(i64::MAX), last.id.clone());
        for record in page {
            if dry {
                report.records += u64::from(!record.erased);
                report.traces_of += 1;
            } else {
                end(store, environment, &record, &mut report).await?;
            }
            progress(&report);
        }
    }
}

/// One record.
async fn end(
    store: &Store,
    environment: &Environment,
    record: &ClosedRecord,
    report: &mut RetentionReport,
) -> Result<(), Failure> {
    if !record.erased
        && let Some(erased) = erase(store, environment, record.id.clone()).await?
    {
        report.records += 1;
        report.documents += u64::try_from(erased.documents).unwrap_or_default();
        remove_bodies(store, erased.bodies).await;
    }
    if let Some(traces) = erase_traces(store, environment, record.id.clone()).await? {
        report.traces_of += 1;
        report.traces += traces;
    }
    Ok(())
}

async fn erase(store: &Store, environment: &Environment, id: String) -> Result<Option<Erased>, Failure> {
    let now = now(environment);
    let trace = trace(environment, now, ERASE);
    let unit = move |transaction: &mut Transaction<'_>| -> Result<Option<Step<Erased>>, StoreError> {
        // Decided where it is committed: the patient may have had the record opened again, another node may have been faster.
        let grant = transaction.closed_record_of(&id)?.filter(|record| !record.erased);
        let grant = grant.and_then(|record| decide_retention(&record, now).granted().ok());
        let Some(grant) = grant else { return Ok(None) };
        let erased = transaction.erase(&grant, &trace.request_id, now)?;
        let rule = format!("{}; {}", grant.rule(), erased.told());
        let entry = trace.granted(200, &rule, Some(&id), &[]);
        Ok(Some(Step { value: erased, trace: entry, keep: true }))
    };
    Ok(store.writer().commit_if(unit).await?.map(Traced::into_inner))
}

async fn erase_traces(store: &Store, environment: &Environment, id: String) -> Result<Option<u64>, Failure> {
    let now = now(environment);
    let trace = trace(environment, now, ERASE_TRACES);
    let unit = move |transaction: &mut Transaction<'_>| -> Result<Option<Step<u64>>, StoreError> {
        let record = transaction.closed_record_of(&id)?;
        let grant = record.and_then(|record| decide_trace_retention(&record, now).granted().ok());
        let Some(grant) = grant else { return Ok(None) };
        let Some(erased) = transaction.erase_traces(&grant, &trace.request_id, now)? else { return Ok(None) };
        let rule = format!("{}; {}", grant.rule(), erased.told());
        let entry = trace.granted(200, &rule, Some(&id), &[]);
        Ok(Some(Step { value: erased.count, trace: entry, keep: true }))
    };
    Ok(store.writer().commit_if(unit).await?.map(Traced::into_inner))
}

const ERASE: &str = ERASING[1];
const ERASE_TRACES: &str = ERASING[2];

fn now(environment: &Environment) -> i64 {
    environment.now().as_microsecond()
}

fn trace(environment: &Environment, now: i64, operation: &'static str) -> TraceContext {
    TraceContext::of_server(now, environment.next_id(), operation)
}

/// Removes bodies that no row names and nothing opens. What stays is the sweep's.
pub(super) async fn remove_bodies(store: &Store, bodies: Vec<String>) {
    for key in bodies {
        if let Err(error) = store.bodies().remove(&key).await {
            tracing::warn!(%error, "the body of an erased document stays until the sweep");
        }
    }
}
