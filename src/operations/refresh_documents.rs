//! `$actualiser`: what became of a record since software looked last, in one call.

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::Failure;
use crate::identity::scope::Transaction;
use crate::store::{Changes, Known, told_until};

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::new("TD3.1 refresh documents", Transaction::Find, Budget::Search);

/// Looks. A record that does not exist has nothing new, and what was known of it is gone.
///
/// # Errors
/// [`NoAuthorisation`](crate::error::Reason::NoAuthorisation) and its kin, [`InvalidIns`](crate::error::Reason::InvalidIns), or the store's.
pub async fn run(
    call: &Call,
    patient: PatientKey,
    since: Option<i64>,
    known: Vec<Known>,
) -> Result<Traced<Changes>, Failure> {
    call.services.tables.decide_searching_at_all(&call.caller, false).granted()?;
    call.must_be_of_the_session(&patient)?;
    let looking = call.clone();
    let (changes, record_id, rule) = call
        .services
        .store
        .read(move |reader| {
            let call = &looking;
            let Some(record) = call.searched_record(reader, &patient)? else {
                let gone = known.into_iter().map(|known| known.id).collect();
                let changes = Changes { gone, as_of: told_until(call.now()), ..Changes::default() };
                return Ok((changes, None, "no such record".to_owned()));
            };
            let decision = call.services.tables.decide_scope(&call.caller, &record, call.at()?);
            let scope = decision.granted().map_err(|refusal| refusal.concerning(&record.id, None))?;
            let changes = reader.changes(&scope, since, &known, call.now())?;
            let rule = scope.rule().to_owned();
            Ok((changes, Some(record.id), rule))
        })
        .await?;
    let trace = call.trace.granted(200, &rule, record_id.as_deref(), &changes.ids());
    call.services.store.writer().record(trace, changes).await
}
