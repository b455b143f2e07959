//! TD3.1, ITI-67: which documents of a record are there for the caller.

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::Failure;
use crate::identity::scope::Transaction;
use crate::store::{Page, SearchCriteria, SearchPage};

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::new("TD3.1 find documents", Transaction::Find, Budget::Search);

/// What the caller may see of what it asked for.
#[derive(Debug)]
pub struct Found {
    /// The record, for the links of pages; `None` when there is no record.
    pub record_id: Option<String>,
    /// The page.
    pub page: SearchPage,
}

/// Searches. A record that does not exist is an empty answer: TD0.2 tells the same.
///
/// # Errors
/// [`crate::error::Reason::NoAuthorisation`] and its kin, [`crate::error::Reason::InvalidIns`], or the store's.
pub async fn run(
    call: &Call,
    patient: PatientKey,
    criteria: SearchCriteria,
    page: Page,
) -> Result<Traced<Found>, Failure> {
    call.services.tables.decide_searching_at_all(&call.caller).granted()?;
    call.must_be_of_the_session(&patient)?;
    let searching = call.clone();
    let (found, rule) = call
        .services
        .store
        .read(move |reader| {
            let call = &searching;
            let Some(record) = reader.record_facts(&patient.key, &call.caller, call.now())? else {
                if patient.has_wrong_key() {
                    return Err(patient.unknown().into());
                }
                let empty = SearchPage { entries: Vec::new(), ids: Vec::new(), total: 0, next: None };
                return Ok((Found { record_id: None, page: empty }, "no such record".to_owned()));
            };
            let at = jiff::Timestamp::from_microsecond(call.now()).map_err(Failure::internal)?;
            let decision = call.services.tables.decide_scope(&call.caller, &record, at);
            let scope = decision.granted().map_err(|refusal| refusal.concerning(&record.id, None))?;
            let page = reader.search(&scope, &criteria, &page)?;
            Ok((Found { record_id: Some(record.id), page }, scope.rule().to_owned()))
        })
        .await?;
    let trace = call.trace.granted(200, &rule, found.record_id.as_deref(), &found.page.ids);
    call.services.store.writer().record(trace, found).await
}
