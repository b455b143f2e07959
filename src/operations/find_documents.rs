//! TD3.1, ITI-67: which documents of a record are there for the caller; TD3.1b: the reference of one's own document.

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::{Failure, Refusal};
use crate::identity::scope::Transaction;
use crate::rights::RecordFacts;
use crate::store::{DocumentSummary, Page, Reader, SearchCriteria, SearchPage};

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::new("TD3.1 find documents", Transaction::Find, Budget::Search);
/// The name of looking up one reference.
pub const LOOK_UP: Operation = Operation::new("TD3.1b look up reference", Transaction::LookUp, Budget::Search);

/// What the caller may see of what it asked for.
#[derive(Debug)]
pub struct Found {
    /// The record, for the links of pages; `None` when there is no record.
    pub record_id: Option<String>,
    /// The page.
    pub page: Hits,
}

/// Whole documents, or references of one's own.
#[derive(Debug)]
pub enum Hits {
    /// TD3.1a.
    Documents(SearchPage),
    /// TD3.1b, without reading right: cut down.
    References(Vec<DocumentSummary>),
}

impl Hits {
    fn ids(&self) -> Vec<String> {
        match self {
            Hits::Documents(page) => page.ids.clone(),
            Hits::References(found) => found.iter().map(|one| one.id.clone()).collect(),
        }
    }
}

/// Searches. A record that does not exist is an empty answer: TD0.2 tells the same. Who may not list may look up the references of
/// its own documents, named by `identifier` (TD3.1b).
///
/// # Errors
/// [`crate::error::Reason::NoAuthorisation`] and its kin, [`crate::error::Reason::InvalidIns`], or the store's.
pub async fn run(
    call: &Call,
    patient: PatientKey,
    criteria: SearchCriteria,
    page: Page,
) -> Result<Traced<Found>, Failure> {
    let by_reference = !criteria.identifiers.is_empty();
    let call = &match call.turn_to(OPERATION) {
        Err(_) if by_reference => call.turn_to(LOOK_UP)?,
        turned => turned?,
    };
    call.services.tables.decide_searching_at_all(&call.caller, by_reference).granted()?;
    call.must_be_of_the_session(&patient)?;
    let searching = call.clone();
    let (found, rule) = call
        .services
        .store
        .read(move |reader| {
            let call = &searching;
            // With the page that the caller would see if nothing is out of the ordinary: one visit to the database.
            let suppositions = match call.trace.operation == OPERATION.name && reader.pays_each_statement() {
                true => call.services.tables.suppose(&call.caller, call.at()?),
                false => Vec::new(),
            };
            let (record, supposed) = call.searched_page(reader, &patient, &suppositions, &criteria, &page)?;
            let Some(record) = record else {
                let empty = SearchPage { entries: Vec::new(), ids: Vec::new(), total: 0, next: None };
                let found = Found { record_id: None, page: Hits::Documents(empty) };
                return Ok((found, "no such record".to_owned()));
            };
            let decision = call.services.tables.decide_scope(&call.caller, &record, call.at()?);
            let (page, rule) = match decision.granted() {
                Ok(scope) if call.trace.operation == OPERATION.name => {
                    let page = reader.search_as_supposed(&scope, supposed, &criteria, &page, call.now())?;
                    (Hits::Documents(page), scope.rule().to_owned())
                }
                refused if by_reference => look_up(call, reader, &record, &criteria, refused.err())?,
                refused => {
                    let refusal = refused.err().unwrap_or_else(for_look_ups_alone);
                    return Err(refusal.concerning(&record.id, None).into());
                }
            };
            Ok((Found { record_id: Some(record.id), page }, rule))
        })
        .await?;
    let trace = call.trace.granted(200, &rule, found.record_id.as_deref(), &found.page.ids());
    call.services.store.writer().record(trace, found).await
}

/// A token for look-ups alone, and a search that names no identifier: `turn_to` has refused it already.
fn for_look_ups_alone() -> Refusal {
    Refusal::new(crate::error::Reason::InsufficientScope, "the access token is for look-ups alone")
}

/// Without reading right: one's own, by its identifier. What refused the reading is the answer where a look-up is not
/// allowed either.
fn look_up(
    call: &Call,
    reader: &mut Reader<'_>,
    record: &RecordFacts,
    criteria: &SearchCriteria,
    refused: Option<Refusal>,
) -> Result<(Hits, String), Failure> {
    let decision = call.services.tables.decide_references(&call.caller, record, call.at()?);
    let references =
        decision.granted().map_err(|refusal| refused.unwrap_or(refusal).concerning(&record.id, None))?;
    if criteria.asks_for_more_than_references() {
        let why = "without reading right a look-up goes by identifier and status alone";
        let refusal = Refusal::at(crate::error::Reason::InvalidSearchParameter, "identifier", why);
        return Err(refusal.by(references.rule().to_owned()).concerning(&record.id, None).into());
    }
    let named: usize = criteria.identifiers.iter().map(Vec::len).sum();
    if *references.one() && named != 1 {
        let why = "note (5): one reference a look-up, named by its identifier";
        let refusal = Refusal::at(crate::error::Reason::InvalidSearchParameter, "identifier", why);
        return Err(refusal.by(references.rule().to_owned()).concerning(&record.id, None).into());
    }
    let found = reader.look_up(&references, criteria, call.now())?;
    Ok((Hits::References(found), references.rule().to_owned()))
}
