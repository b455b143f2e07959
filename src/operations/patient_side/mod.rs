//! What the patient decides, through the SI Mon espace santé: private to it, under `/mes/v1`.
//!
//! Every change names the version of the record that it means (`If-Match`), is one commit with its trace, and counts for the very
//! next request of a professional, on every node: nothing of a record is held in memory.

pub mod documents;
pub mod professionals;
pub mod records;

use std::sync::Arc;

use super::{Operation, Services, Traced};
use crate::audit::TraceContext;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::patient::RecordSummary;
use crate::identity::patient_side::PatientSide;
use crate::rights::PatientSideGrant;
use crate::store::{RecordKey, Step, StoreError, Transaction};

/// Who reads on the patient's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatientReader {
    /// The holder of the record.
    Holder,
    /// A legal representative of a minor.
    Representative,
}

/// A request that speaks for the patient.
#[derive(Clone, Debug)]
pub struct PatientCall {
    /// The SI Mon espace santé.
    pub side: PatientSide,
    /// The beginning of the trace.
    pub trace: TraceContext,
    /// What every operation works with.
    pub services: Arc<Services>,
}

impl PatientCall {
    fn now(&self) -> i64 {
        self.trace.at
    }

    fn grant(&self) -> PatientSideGrant {
        self.services.tables.decide_patient_side(&self.side)
    }

    /// Who reads as a representative is one of a minor: who is of age has none, from that day on (R1111-50).
    fn admit(&self, reader: PatientReader, record: &RecordSummary) -> Result<(), Refusal> {
        let minor = || {
            let now = jiff::Timestamp::from_microsecond(self.now()).ok();
            let parameters = &self.services.tables.parameters;
            now.is_some_and(|now| parameters.is_minor(record.birth_date.parse().ok(), now))
        };
        match reader {
            PatientReader::Representative if !minor() => {
                let why = "the holder of the record is of age: nobody reads it as a representative";
                Err(Refusal::new(Reason::WrongMode, why).by("R1111-50: of minors").concerning(&record.id, None))
            }
            _ => Ok(()),
        }
    }

    /// One change of a record at the version that the caller means; the record after it.
    async fn change<F>(
        &self,
        id: String,
        if_match: Option<i64>,
        change: F,
    ) -> Result<Traced<Result<RecordSummary, Refusal>>, Failure>
    where
        F: FnMut(&mut Transaction<'_>, &PatientSideGrant, &RecordSummary) -> Result<Outcome, StoreError>
            + Send
            + 'static,
    {
        let changed = self.change_with(id, if_match, change).await?;
        Ok(changed.map(|changed| changed.map(|(record, _)| record)))
    }

    /// The same, with what else the change gave.
    async fn change_with<T, F>(
        &self,
        id: String,
        if_match: Option<i64>,
        mut change: F,
    ) -> Result<Traced<Result<(RecordSummary, Option<T>), Refusal>>, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>, &PatientSideGrant, &RecordSummary) -> Result<Outcome<T>, StoreError>
            + Send
            + 'static,
    {
        let call = self.clone();
        let work = move |transaction: &mut Transaction<'_>| {
            let grant = call.grant();
            let refused = |refusal: Refusal| {
                let trace = call.trace.failed(&refusal.clone().into(), refusal.reason.status());
                Step { value: Err(refusal), trace, keep: false }
            };
            let key = RecordKey::Id(id.clone());
            let Some(record) = transaction.whole_record(&grant, &key)? else {
                return Ok(refused(unknown()));
            };
            let Some(version) = if_match else {
                return Ok(refused(no_version().concerning(&record.id, None)));
            };
            // Taken first: of two changes at once, one is refused.
            if !transaction.next_version(&grant, &id, version)? {
                return Ok(refused(other_version().concerning(&record.id, None)));
            }
            let (rule, objects, given) = match change(transaction, &grant, &record)? {
                Outcome::Done(objects) => (grant.rule().to_owned(), objects, None),
                Outcome::With(rule, given) => (rule, Vec::new(), Some(given)),
                Outcome::Refused(refusal) => return Ok(refused(refusal.concerning(&record.id, None))),
            };
            let after = transaction.whole_record(&grant, &key)?.unwrap_or(record);
            let trace = call.trace.granted(200, &rule, Some(&id), &objects);
            Ok(Step { value: Ok((after, given)), trace, keep: true })
        };
        self.services.store.writer().commit(work).await
    }
}

/// What a change came to: the objects that it touched, or why it was not made.
enum Outcome<T = ()> {
    Done(Vec<String>),
    /// By a rule that says more, and with what else is to be done behind the commit.
    With(String, T),
    Refused(Refusal),
}

fn unknown() -> Refusal {
    Refusal::new(Reason::NotFound, "no such record").by("no such identifier")
}

fn no_version() -> Refusal {
    Refusal::new(Reason::VersionConflict, "a change carries If-Match with the record's version (ETag)")
        .by("optimistic locking")
}

fn other_version() -> Refusal {
    Refusal::new(Reason::VersionConflict, "the record is at another version than If-Match says")
        .by("optimistic locking")
}

/// An operation of the patient's side: no scope, and no budget of a professional.
const fn operation(name: &'static str) -> Operation {
    Operation::without_scope(name, super::Budget::Feed)
}
