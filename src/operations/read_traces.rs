//! ITI-81: who did what, as far as the caller may know it.

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::identity::scope::Transaction;
use crate::rights::RecordFacts;
use crate::store::{TraceCriteria, TracePage};

/// The operation's name in traces.
pub const OPERATION: Operation =
    Operation::new("read traces", Transaction::ReadTraces, Budget::Search).evenly();

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// The record, for the links of pages; `None`: no record was named, or there is none.
    pub record_id: Option<String>,
    /// The page.
    pub page: TracePage,
}

/// Reads a page of traces: of a record, or one's own on all of them. A record that does not exist is an empty answer.
///
/// # Errors
/// [`crate::error::Reason::NoFunctionalRight`], [`crate::error::Reason::OtherRecord`], or the store's.
pub async fn run(
    call: &Call,
    patient: Option<PatientKey>,
    criteria: TraceCriteria,
) -> Result<Traced<Found>, Failure> {
    call.services.tables.decide_traces_at_all(&call.caller).granted()?;
    if let Some(patient) = &patient {
        call.must_be_of_the_session(patient)?;
    }
    let reading = call.clone();
    let (found, rule) = call
        .services
        .store
        .read(move |reader| {
            let call = &reading;
            let tables = &call.services.tables;
            let (grant, record) = match &patient {
                // A session that opens one record says nothing of others, not even what one did there oneself.
                None if call.caller.session.as_ref().is_some_and(|session| session.record.is_some()) => {
                    let why = "the session opens one record: name it in entity.identifier";
                    return Err(Refusal::new(Reason::OtherRecord, why).into());
                }
                None => (tables.decide_own_traces(&call.caller).granted()?, None),
                Some(patient) => {
                    let Some(record) = call.searched_record(reader, patient)? else {
                        let page = TracePage { rows: Vec::new(), total: 0, next: None };
                        return Ok((Found { record_id: None, page }, "no such record".to_owned()));
                    };
                    let decision = tables.decide_traces(&call.caller, &record, call.at()?);
                    let grant = decision.granted().map_err(|refusal| refusal.concerning(&record.id, None))?;
                    (grant, Some(record))
                }
            };
            let record_id = record.as_ref().map(|record: &RecordFacts| record.id.clone());
            let mut page = reader.traces(&grant, &criteria)?;
            if let Some(record) = record {
                // Of a document that the caller may not see, nothing is told, whoever fed or read it.
                let scope = tables.decide_scope(&call.caller, &record, call.at()?).granted().ok();
                reader.leave_out_hidden(scope.as_ref(), &mut page.rows, call.now())?;
            }
            Ok((Found { record_id, page }, grant.rule().to_owned()))
        })
        .await?;
    let trace = call.trace.granted(200, &rule, found.record_id.as_deref(), &[]);
    call.services.store.writer().record(trace, found).await
}
