//! TD0.5: a patient without INS, for medical regulation alone.

use super::{Budget, Call, Operation, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::patient::RecordSummary;
use crate::identity::scope::Transaction;
use crate::store::IdentityCriteria;

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::new("TD0.5 find patient", Transaction::FindPatient, Budget::Search);

/// Finds patients by their traits.
///
/// # Errors
/// [`Reason::NoFunctionalRight`] outside `centre_15`, [`Reason::TooManyHits`] without any of them, or the store's.
pub async fn run(call: &Call, criteria: IdentityCriteria) -> Result<Traced<Vec<RecordSummary>>, Failure> {
    let grant = call.services.tables.decide_identity_search(&call.caller).granted()?;
    let rule = grant.rule().to_owned();
    let limit = *grant.limit();
    let found = call.services.store.read(move |reader| reader.find_patients(&grant, &criteria)).await?;
    if found.len() > limit as usize {
        let why = format!("more than {limit} patients: name, date of birth or both must tell more");
        return Err(Refusal::new(Reason::TooManyHits, why).by("TD0.5: CNDA 0.5-500").into());
    }
    // Whose records a search without INS touched stands in the trace, one object each.
    let ids: Vec<String> = found.iter().map(|record| record.id.clone()).collect();
    let trace = call.trace.granted(200, &rule, None, &ids);
    call.services.store.writer().record(trace, found).await
}
