//! TD0.2: does a record exist for this INS, is it open, and how does it stand towards the caller.

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::Failure;
use crate::fhir::patient::RecordSummary;
use crate::identity::scope::Transaction;
use crate::rights::{Authorisation, Relation};

/// The operation's name in traces.
pub const OPERATION: Operation =
    Operation::new("TD0.2 test existence", Transaction::TestExistence, Budget::Search);

/// A record, and how it stands towards the caller.
#[derive(Debug)]
pub struct Existing {
    /// The record.
    pub record: RecordSummary,
    /// How it stands towards the caller.
    pub authorisation: Authorisation,
    /// What the patient made of the caller.
    pub relation: Relation,
}

/// Tests whether a record exists. `None`: there is none.
///
/// # Errors
/// [`crate::error::Reason::InvalidIns`], [`crate::error::Reason::NoFunctionalRight`], or the store's.
pub async fn run(call: &Call, patient: PatientKey) -> Result<Traced<Option<Existing>>, Failure> {
    let grant = call.services.tables.decide_existence(&call.caller, patient.ins()).granted()?;
    let key = patient.key.clone();
    let rule = grant.rule().to_owned();
    let reading = call.clone();
    let found = call
        .services
        .store
        .read(move |reader| {
            let Some(record) = reader.record_summary(&grant, &key)? else { return Ok(None) };
            let facts = reader.record_facts(&key, &reading.caller, reading.now())?;
            Ok(facts.map(|facts| Existing {
                record,
                authorisation: reading.services.tables.standing(&reading.caller, &facts),
                relation: facts.relation,
            }))
        })
        .await?;
    if found.is_none() && patient.has_wrong_key() {
        return Err(patient.unknown().into());
    }
    let trace = call.trace.granted(200, &rule, found.as_ref().map(|found| found.record.id.as_str()), &[]);
    call.services.store.writer().record(trace, found).await
}

/// A provisional number (NIA): no record is ever opened on one, so that there is nothing to look up.
///
/// # Errors
/// [`crate::error::Reason::NoFunctionalRight`], or the store's.
pub async fn provisional(call: &Call) -> Result<Traced<()>, Failure> {
    let grant = call.services.tables.decide_existence(&call.caller, None).granted()?;
    let trace = call.trace.granted(200, grant.rule(), None, &[]);
    call.services.store.writer().record(trace, ()).await
}
