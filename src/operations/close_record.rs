//! TD1.4: a professional closes a record at the patient's request.

use super::{Budget, Call, Operation, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::patient::RecordSummary;
use crate::identity::scope::Transaction;
use crate::store::{Hold, RecordKey, Step};

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::new("TD1.4 close record", Transaction::Close, Budget::Feed);

/// The reason that is kept: it is the patient who wants it.
const REASON: &str = "DEMANDE_PATIENT";

/// Closes a record. A refusal inside the result has its trace already.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::NoFunctionalRight`], [`Reason::NoAuthorisation`], [`Reason::AttachedToMonEspaceSante`],
/// [`Reason::RecordClosed`], or the store's.
pub async fn run(call: &Call, id: String) -> Result<Traced<Result<RecordSummary, Refusal>>, Failure> {
    call.services.tables.decide_closing_at_all(&call.caller).granted()?;
    super::must_be_an_id(&id)?;
    let (committing, at) = (call.clone(), call.at()?);
    call.services
        .store
        .writer()
        .commit(move |transaction| {
            let call = &committing;
            let key = RecordKey::Id(id.clone());
            let refused = |refusal: Refusal| {
                let trace = call.trace.failed(&refusal.clone().into(), refusal.reason.status());
                Step { value: Err(refusal), trace, keep: false }
            };
            let Some(facts) = transaction.record_facts(&key, &call.caller, call.now(), Hold::Alone)? else {
                let unknown = Refusal::new(Reason::NotFound, "no such resource").by("no such identifier");
                return Ok(refused(unknown));
            };
            let decided = call.services.tables.decide_closure(&call.caller, &facts, at).granted();
            let grant = match decided {
                Ok(grant) => grant,
                Err(refusal) => return Ok(refused(refusal.concerning(&facts.id, None))),
            };
            transaction.close(&grant, REASON, call.now())?;
            let record = transaction.closed_record(&grant)?;
            let trace = call.trace.granted(200, grant.rule(), Some(grant.record_id()), &[]);
            Ok(Step { value: Ok(record), trace, keep: true })
        })
        .await
}
