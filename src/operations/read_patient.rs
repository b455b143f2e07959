//! TD1.3a: who the patient is: identity, contacts, representatives, oppositions to emergency access.

use super::{Budget, Call, Operation, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::patient::RecordSummary;
use crate::identity::scope::Transaction;
use crate::store::RecordKey;

/// The operation's name in traces.
pub const OPERATION: Operation =
    Operation::new("TD1.3a read administrative data", Transaction::ReadPatient, Budget::Read);

/// Reads the administrative data of a record.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::NoFunctionalRight`], [`Reason::RecordClosed`], [`Reason::Blocked`], or the store's.
pub async fn run(call: &Call, id: String) -> Result<Traced<RecordSummary>, Failure> {
    call.services.tables.decide_administrative_at_all(&call.caller).granted()?;
    super::must_be_an_id(&id)?;
    let reading = call.clone();
    let (record, rule) = call
        .services
        .store
        .read(move |reader| {
            let call = &reading;
            let unknown = || Refusal::new(Reason::NotFound, "no such resource").by("no such identifier");
            let facts =
                reader.record_facts(&RecordKey::Id(id), &call.caller, call.now())?.ok_or_else(unknown)?;
            let decision = call.services.tables.decide_administrative(&call.caller, &facts, call.at()?);
            let grant = decision.granted().map_err(|refusal| refusal.concerning(&facts.id, None))?;
            Ok((reader.administrative(&grant)?, grant.rule().to_owned()))
        })
        .await?;
    let trace = call.trace.granted(200, &rule, Some(&record.id), &[]);
    call.services.store.writer().record(trace, record).await
}
