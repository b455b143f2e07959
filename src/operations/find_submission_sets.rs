//! ITI-66: which submission sets of a record are there for the caller, and one of them.

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::identity::scope::Transaction;
use crate::rights::ReadGrant;
use crate::store::{Page, RecordKey, SearchPage, SubmissionSetCriteria, SubmissionSetPage};

/// The name of searching in traces.
pub const SEARCH: Operation =
    Operation::new("TD3.1 find submission sets", Transaction::FindLists, Budget::Search);
/// The name of reading one in traces.
pub const READ: Operation =
    Operation::new("TD3.1 read submission set", Transaction::FindLists, Budget::Read).evenly();

/// What the caller may see of what it asked for.
#[derive(Debug)]
pub struct Found {
    /// The record, for the links of pages; `None` when there is no record.
    pub record_id: Option<String>,
    /// The page.
    pub found: SubmissionSetPage,
}

/// Searches. A record that does not exist is an empty answer: TD0.2 tells the same.
///
/// # Errors
/// [`Reason::NoAuthorisation`] and its kin, [`Reason::InvalidIns`], or the store's.
pub async fn run(
    call: &Call,
    patient: PatientKey,
    criteria: SubmissionSetCriteria,
    page: Page,
) -> Result<Traced<Found>, Failure> {
    call.services.tables.decide_searching_at_all(&call.caller, false).granted()?;
    call.must_be_of_the_session(&patient)?;
    let searching = call.clone();
    let (found, rule) = call
        .services
        .store
        .read(move |reader| {
            let call = &searching;
            let Some(record) = call.searched_record(reader, &patient)? else {
                let page = SearchPage { entries: Vec::new(), ids: Vec::new(), total: 0, next: None };
                let found = SubmissionSetPage { page, included: Vec::new() };
                return Ok((Found { record_id: None, found }, "no such record".to_owned()));
            };
            let decision = call.services.tables.decide_scope(&call.caller, &record, call.at()?);
            let scope = decision.granted().map_err(|refusal| refusal.concerning(&record.id, None))?;
            let found = reader.submission_sets(&scope, &criteria, &page, call.now())?;
            let rule = scope.rule().to_owned();
            Ok((Found { record_id: Some(record.id), found }, rule))
        })
        .await?;
    let trace = call.trace.granted(200, &rule, found.record_id.as_deref(), &found.found.page.ids);
    call.services.store.writer().record(trace, found).await
}

/// Reads one: the List as it is shown. One of which no document may be seen is none.
///
/// # Errors
/// [`Reason::NotFound`] for the unknown and the hidden alike, [`Reason::NoFunctionalRight`], or the store's.
pub async fn read(call: &Call, id: String) -> Result<Traced<String>, Failure> {
    call.services.tables.decide_searching_at_all(&call.caller, false).granted()?;
    super::must_be_an_id(&id)?;
    let (reading, wanted) = (call.clone(), id.clone());
    let (text, record_id, rule) = call
        .services
        .store
        .read(move |reader| {
            let call = &reading;
            let unknown = || Refusal::new(Reason::NotFound, "no such resource").by("no such identifier");
            // The unknown takes the time of the hidden: a record is looked up and decided on all the same.
            let set = reader.submission_set(&wanted, call.now())?;
            let record_id = set.as_ref().map_or("", |set| &set.record_id).to_owned();
            let record = reader.record_facts(&RecordKey::Id(record_id), &call.caller, call.now())?;
            let at = call.at()?;
            let (Some(set), Some(record)) = (set, record) else {
                drop(call.services.tables.decide_scope(&call.caller, &super::decoy(), at).granted());
                return Err(unknown().into());
            };
            let scope = call.services.tables.decide_scope(&call.caller, &record, at);
            let scope = scope.granted_or_unknown().map_err(|refusal| refusal.concerning(&record.id, None))?;
            let grants: Vec<ReadGrant> =
                set.documents.iter().filter_map(|facts| scope.admit(facts).granted().ok()).collect();
            let shown = set.open(&grants)?;
            let text = shown.ok_or_else(|| unknown().concerning(&record.id, Some(&wanted)))?;
            Ok((text, record.id, scope.rule().to_owned()))
        })
        .await?;
    let trace = call.trace.granted(200, &rule, Some(&record_id), &[id]);
    call.services.store.writer().record(trace, text).await
}
