//! Submission sets and folders: found and read as far as their documents may be seen.
//!
//! One is there for a caller if a document of it is, and names those that are. That is a part of the query.

use std::collections::HashMap;

use diesel::dsl::exists;
use diesel::prelude::*;

use super::criteria::{DateRange, TermTest, beginning, terms_of};
use super::documents::{Backend, FactsRow, visible};
use super::folders::{FOLDER, filed};
use super::readers::Reader;
use super::schema::{document, search_term, submission_set};
use super::search::{Page, PageCursor, SearchPage};
use super::unavailable;
use crate::error::Failure;
use crate::fhir::bundle::SearchEntry;
use crate::fhir::submission_set::with_entries;
use crate::rights::{DocumentFacts, ReadGrant, Scope};

/// What a search of submission sets asks for beyond the record.
#[derive(Clone, Debug, Default)]
pub struct SubmissionSetCriteria {
    /// `_id`.
    pub ids: Vec<Vec<String>>,
    /// `date`.
    pub date: DateRange,
    /// `identifier`, `designationType`, `sourceId`, `source`, `authorOrg`: each of these.
    pub terms: Vec<TermTest>,
    /// `code`: submission sets.
    pub sets: bool,
    /// `code`: folders.
    pub folders: bool,
    /// Asks for what is not: a status that none has.
    pub nothing: bool,
    /// `_include=List:item`.
    pub with_documents: bool,
}

/// A page of submission sets.
#[derive(Debug)]
pub struct SubmissionSetPage {
    /// The sets.
    pub page: SearchPage,
    /// Their documents, where they were asked for.
    pub included: Vec<SearchEntry>,
}

/// A submission set that was found, whoever may see of it.
#[derive(Debug)]
pub struct KeptSubmissionSet {
    /// Its record.
    pub record_id: String,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Its documents, in the order in which they were fed or filed: what a decision is about.
    pub documents: Vec<DocumentFacts>,
    resource: String,
}

impl KeptSubmissionSet {
    /// The List, with those of its documents for which a decision made a grant; `None` without any.
    ///
    /// # Errors
    /// [`Failure::Internal`]: the kept text cannot be read.
    pub fn open(self, grants: &[ReadGrant]) -> Result<Option<String>, Failure> {
        let granted = |id: &str| grants.iter().any(|grant| grant.document_id() == id);
        let seen: Vec<&str> =
            self.documents.iter().map(|facts| facts.id.as_str()).filter(|id| granted(id)).collect();
        if seen.is_empty() {
            return Ok(None);
        }
        with_entries(&self.resource, &seen).map(Some).map_err(Failure::internal)
    }
}

fn matching<'a>(
    scope: &'a Scope,
    of_seen: &'a [String],
    criteria: &'a SubmissionSetCriteria,
) -> submission_set::BoxedQuery<'a, Backend> {
    let mut query = submission_set::table
        .filter(submission_set::record_id.eq(scope.record_id()))
        .filter(submission_set::id.eq_any(of_seen))
        .into_boxed();
    if criteria.nothing {
        query = query.filter(submission_set::id.ne(submission_set::id));
    }
    for alternatives in &criteria.ids {
        query = query.filter(submission_set::id.eq_any(alternatives));
    }
    if let Some(from) = criteria.date.from {
        query = query.filter(submission_set::date.ge(from));
    }
    if let Some(until) = criteria.date.until {
        query = query.filter(submission_set::date.lt(until));
    }
    for test in &criteria.terms {
        query = query.filter(exists(terms_of!(test, submission_set::id)));
    }
    query
}

impl Reader<'_> {
    /// ITI-66: what the scope holds and the criteria ask for, newest first.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn submission_sets(
        &mut self,
        scope: &Scope,
        criteria: &SubmissionSetCriteria,
        page: &Page,
        now: i64,
    ) -> Result<SubmissionSetPage, Failure> {
        // Looked up first: diesel cannot put the predicate, whose shape is the scope's, into another query for both engines.
        let mut of_seen: Vec<String> = Vec::new();
        if criteria.sets {
            of_seen = visible(scope, now)
                .select(document::submission_set_id)
                .distinct()
                .load(self.connection)
                .map_err(unavailable)?;
        }
        let folders = if criteria.folders { self.folders(scope, now)? } else { HashMap::new() };
        of_seen.extend(folders.keys().cloned());
        let mut rows: Vec<(i64, String, String)> = Vec::new();
        if page.size > 0 {
            let mut query = matching(scope, &of_seen, criteria);
            if let Some(after) = &page.after {
                let same = submission_set::date.eq(after.date);
                query = query
                    .filter(submission_set::date.lt(after.date).or(same.and(submission_set::id.lt(&after.id))));
            }
            rows = query
                .order((submission_set::date.desc(), submission_set::id.desc()))
                .limit(i64::try_from(page.size).unwrap_or(i64::MAX - 1) + 1)
                .select((submission_set::date, submission_set::id, submission_set::resource))
                .load(self.connection)
                .map_err(unavailable)?;
        }
        let more = page.size > 0 && rows.len() > page.size;
        rows.truncate(page.size);
        let total = if page.after.is_none() && !more && page.size > 0 {
            rows.len() as u64
        } else {
            let total: i64 =
                matching(scope, &of_seen, criteria).count().get_result(self.connection).map_err(unavailable)?;
            u64::try_from(total).unwrap_or_default()
        };
        let next = rows.last().filter(|_| more).map(|(date, id, _)| PageCursor { date: *date, id: id.clone() });
        let ids: Vec<String> = rows.iter().map(|(_, id, _)| id.clone()).collect();
        let mut documents = self.documents_of(scope, &ids, now)?;
        documents.extend(folders);
        let entries = rows
            .iter()
            .map(|(_, id, resource)| {
                let seen: Vec<&str> = documents.get(id).into_iter().flatten().map(String::as_str).collect();
                let resource = with_entries(resource, &seen).map_err(Failure::internal)?;
                Ok(SearchEntry { path: format!("List/{id}"), resource, link: None })
            })
            .collect::<Result<_, Failure>>()?;
        let mut included = Vec::new();
        if criteria.with_documents {
            let named: Vec<&String> = ids.iter().filter_map(|id| documents.get(id)).flatten().collect();
            included = self.seen_documents(scope, &named, now)?;
        }
        Ok(SubmissionSetPage { page: SearchPage { entries, ids, total, next }, included })
    }

    /// Of each of these submission sets, the documents that the scope holds, in the order in which they were fed.
    fn documents_of(
        &mut self,
        scope: &Scope,
        ids: &[String],
        now: i64,
    ) -> Result<HashMap<String, Vec<String>>, Failure> {
        let rows: Vec<(String, String)> = visible(scope, now)
            .filter(document::submission_set_id.eq_any(ids))
            .order((document::submission_set_id, document::position, document::id))
            .select((document::submission_set_id, document::id))
            .load(self.connection)
            .map_err(unavailable)?;
        let mut documents: HashMap<String, Vec<String>> = HashMap::new();
        for (set, id) in rows {
            documents.entry(set).or_default().push(id);
        }
        Ok(documents)
    }

    /// A submission set, before it is decided what of it may be seen. One that is not there takes the time of one that is.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn submission_set(&mut self, id: &str, now: i64) -> Result<Option<KeptSubmissionSet>, Failure> {
        let set: Option<(String, String, String)> = submission_set::table
            .filter(submission_set::id.eq(id))
            .select((submission_set::record_id, submission_set::resource, submission_set::kind))
            .first(self.connection)
            .optional()
            .map_err(unavailable)?;
        let is_folder = set.as_ref().is_some_and(|(_, _, kind)| kind == FOLDER);
        let filed = filed(self.connection, id).map_err(unavailable)?;
        let rows: Vec<FactsRow> = document::table
            .filter(document::submission_set_id.eq(id).or(document::id.eq_any(&filed)))
            .order((document::position, document::id))
            .select(FactsRow::as_select())
            .load(self.connection)
            .map_err(unavailable)?;
        let mut documents: Vec<DocumentFacts> = rows.into_iter().map(|row| row.at(now)).collect();
        let places: HashMap<&str, usize> =
            filed.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
        documents.sort_by_key(|facts| places.get(facts.id.as_str()).copied());
        Ok(set.map(|(record_id, resource, _)| KeptSubmissionSet { record_id, is_folder, documents, resource }))
    }
}
