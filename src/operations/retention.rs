//! The end of records: ten years after they were closed, documents, key and traits are erased, and then what their traces say.

use std::sync::Arc;

use crate::audit::TraceContext;
use crate::audit::checkpoint::Signer;
use crate::audit::erased::signed_rule;
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
    /// Records that could not be erased: the log says why.
    pub failed: u64,
}

/// How many records are looked for at once.
const PAGE: i64 = 200;

/// What erases: store, time, and the key that signs what is said of it.
#[derive(Clone, Copy, Debug)]
pub struct Retention<'a> {
    /// The store.
    pub store: &'a Store,
    /// Time and identifiers.
    pub environment: &'a Environment,
    /// The key of the checkpoints.
    pub signer: &'a Arc<Signer>,
}

impl Retention<'_> {
    /// What is kept no longer.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn due(&self) -> Result<RetentionReport, Failure> {
        let mut due = RetentionReport::default();
        self.each(async |_, record| {
            due.records += u64::from(!record.erased);
            due.traces_of += 1;
            Ok(())
        })
        .await?;
        Ok(due)
    }

    /// Erases what is due, record by record, each in a commit of its own with its trace: interrupted, it is gone on with. Run on
    /// two nodes at once, each record is erased by one of them. `progress` is told after each record. Where more are due than `most` nothing is
    /// erased: a clock that jumped makes thousands of them.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: what was erased until then is erased. More are due than may be.
    pub async fn run(
        &self,
        due: &RetentionReport,
        most: u64,
        mut progress: impl FnMut(),
    ) -> Result<RetentionReport, Failure> {
        if due.traces_of > most {
            let why =
                format!("{} records are due, {most} at most are erased: is the clock right?", due.traces_of);
            return Err(Failure::unavailable(why));
        }
        let mut report = RetentionReport::default();
        self.each(async |this, record| {
            // One that cannot be erased holds up no other.
            if let Err(failure) = this.end(&record, &mut report).await {
                tracing::error!(record = record.id, %failure, "a record is not erased");
                report.failed += 1;
            }
            progress();
            Ok(())
        })
        .await?;
        self.store.forget_log().await;
        Ok(report)
    }

    async fn each<F>(&self, mut act: F) -> Result<(), Failure>
    where
        F: AsyncFnMut(&Self, ClosedRecord) -> Result<(), Failure>,
    {
        let Some(before) = ten_years_before(self.now()) else { return Ok(()) };
        let mut behind = (i64::MIN, String::new());
        loop {
            let from = behind.clone();
            let page = self.store.read(move |reader| reader.closed_before(before, &from, PAGE)).await?;
            let Some(last) = page.last() else { return Ok(()) };
            behind = (last.closed_at.unwrap_or(i64::MAX), last.id.clone());
            for record in page {
                act(self, record).await?;
            }
        }
    }

    /// One record.
    async fn end(&self, record: &ClosedRecord, report: &mut RetentionReport) -> Result<(), Failure> {
        if !record.erased
            && let Some(erased) = self.erase(record.id.clone()).await?
        {
            report.records += 1;
            report.documents += u64::try_from(erased.documents).unwrap_or_default();
            remove_bodies(self.store, erased.bodies).await;
        }
        if let Some(traces) = self.erase_traces(record.id.clone()).await? {
            report.traces_of += 1;
            report.traces += traces;
        }
        Ok(())
    }

    async fn erase(&self, id: String) -> Result<Option<Erased>, Failure> {
        let (now, signer) = (self.now(), Arc::clone(self.signer));
        let trace = self.trace(now, ERASE);
        let unit = move |transaction: &mut Transaction<'_>| -> Result<Option<Step<Erased>>, StoreError> {
            // Decided where it is committed: the patient may have had the record opened again, another node may have been faster.
            let record = transaction.closed_record_of(&id)?.filter(|record| !record.erased);
            let grant = record.and_then(|record| decide_retention(&record, now).granted().ok());
            let Some(grant) = grant else { return Ok(None) };
            must_be_out_of_use(transaction, &id, now)?;
            let erased = transaction.erase(&grant, &trace.request_id, now)?;
            let said = format!("{}; {}", grant.rule(), erased.told());
            let rule = signed_rule(&signer, ERASE, (&id, &trace.request_id), now, &said);
            let entry = trace.granted(200, &rule, Some(&id), &[]);
            Ok(Some(Step { value: erased, trace: entry, keep: true }))
        };
        Ok(self.store.writer().commit_if(unit).await?.map(Traced::into_inner))
    }

    async fn erase_traces(&self, id: String) -> Result<Option<u64>, Failure> {
        let (now, signer) = (self.now(), Arc::clone(self.signer));
        let trace = self.trace(now, ERASE_TRACES);
        let unit = move |transaction: &mut Transaction<'_>| -> Result<Option<Step<u64>>, StoreError> {
            let record = transaction.closed_record_of(&id)?;
            let grant = record.and_then(|record| decide_trace_retention(&record, now).granted().ok());
            let Some(grant) = grant else { return Ok(None) };
            must_be_out_of_use(transaction, &id, now)?;
            let erased = transaction.erase_traces(&grant, &trace.request_id, now)?;
            let Some(erased) = erased else { return Ok(None) };
            let said = format!("{}; {}", grant.rule(), erased.told());
            let rule = signed_rule(&signer, ERASE_TRACES, (&id, &trace.request_id), now, &said);
            let entry = trace.granted(200, &rule, Some(&id), &[]);
            Ok(Some(Step { value: erased.count, trace: entry, keep: true }))
        };
        Ok(self.store.writer().commit_if(unit).await?.map(Traced::into_inner))
    }

    fn now(&self) -> i64 {
        self.environment.now().as_microsecond()
    }

    fn trace(&self, now: i64, operation: &'static str) -> TraceContext {
        TraceContext::of_server(now, self.environment.next_id(), operation)
    }
}

/// What was fed or read less than ten years ago was not closed when its row says.
fn must_be_out_of_use(transaction: &mut Transaction<'_>, id: &str, now: i64) -> Result<(), StoreError> {
    let used = match ten_years_before(now) {
        Some(since) => transaction.used_since(id, since)?,
        None => true,
    };
    match used {
        true => Err(StoreError::QueryBuilderError(
            "the record was read or fed less than ten years ago: when it was closed is not what its row says"
                .into(),
        )),
        false => Ok(()),
    }
}

const ERASE: &str = ERASING[1];
const ERASE_TRACES: &str = ERASING[2];

/// Removes bodies that no row names and nothing opens. What stays is the sweep's.
pub(super) async fn remove_bodies(store: &Store, bodies: Vec<String>) {
    for key in bodies {
        if let Err(error) = store.bodies().remove(&key).await {
            tracing::warn!(%error, "the body of an erased document stays until the sweep");
        }
    }
}
