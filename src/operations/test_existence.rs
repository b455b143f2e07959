//! TD0.2: does a record exist for this INS, and is it open.

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::Failure;
use crate::fhir::patient::RecordSummary;
use crate::identity::scope::Transaction;

/// The operation's name in traces.
pub const OPERATION: Operation =
    Operation::new("TD0.2 test existence", Transaction::TestExistence, Budget::Search);

/// Tests whether a record exists. `None`: there is none.
///
/// # Errors
/// [`crate::error::Reason::InvalidIns`], [`crate::error::Reason::NoFunctionalRight`], or the store's.
pub async fn run(call: &Call, patient: PatientKey) -> Result<Traced<Option<RecordSummary>>, Failure> {
    let grant = call.services.tables.decide_existence(&call.caller, patient.ins()).granted()?;
    let key = patient.key.clone();
    let rule = grant.rule().to_owned();
    let found = call.services.store.read(move |reader| reader.record_summary(&grant, &key)).await?;
    if found.is_none() && patient.has_wrong_key() {
        return Err(patient.unknown().into());
    }
    let trace = call.trace.granted(200, &rule, found.as_ref().map(|record| record.id.as_str()), &[]);
    call.services.store.writer().record(trace, found).await
}
