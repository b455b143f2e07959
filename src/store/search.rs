//! ITI-67: pages of what a scope holds.

use std::collections::HashSet;

use diesel::prelude::*;

use super::criteria::{SearchCriteria, narrowed};
use super::documents::{Backend, seen, shown, visible};
use super::readers::Reader;
use super::schema::document;
use super::supposed::SupposedPage;
use super::unavailable;
use crate::error::Failure;
use crate::fhir::bundle::SearchEntry;
use crate::rights::Scope;

/// Where a page begins: after the document of this date and id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageCursor {
    /// Microseconds.
    pub date: i64,
    /// `DocumentReference.id`.
    pub id: String,
}

/// How much is asked for.
#[derive(Clone, Debug)]
pub struct Page {
    /// Documents on the page; 0 asks for the total alone.
    pub size: usize,
    /// The last document of the page before.
    pub after: Option<PageCursor>,
    /// The oldest first.
    pub ascending: bool,
}

impl Page {
    /// Rows that are asked for: one more than the page has tells that there is another.
    pub(super) fn most(&self) -> i64 {
        match self.size {
            0 => 0,
            size => i64::try_from(size).unwrap_or(i64::MAX - 1) + 1,
        }
    }

    /// Whether it is likely to be followed by another, or is one that does not say how many there are.
    pub(super) fn is_short(&self) -> bool {
        self.size < 50 || self.needs_count(0)
    }

    /// Whether so many rows leave open how many there are on all pages.
    pub(super) fn needs_count(&self, rows: usize) -> bool {
        self.size == 0 || self.after.is_some() || rows > self.size
    }
}

/// One page of what the caller may see.
#[derive(Debug)]
pub struct SearchPage {
    /// Documents, newest first.
    pub entries: Vec<SearchEntry>,
    /// Their identifiers, for the trace.
    pub ids: Vec<String>,
    /// How many there are on all pages.
    pub total: u64,
    /// Where the next page begins, when there is one.
    pub next: Option<PageCursor>,
}

/// One document of a page.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = document)]
pub(super) struct PageRow {
    pub(super) date: i64,
    pub(super) id: String,
    link: i32,
    resource: String,
    binary_id: String,
    replaces_id: Option<String>,
    invisible_to_patient: bool,
    visible_from: Option<i64>,
    pub(super) status: String,
    pub(super) version: i64,
    pub(super) created_at: i64,
    pub(super) updated_at: i64,
}

/// A document of a page, and whether it replaced one that is not seen.
#[derive(Debug)]
pub(super) struct FoundRow {
    pub(super) row: PageRow,
    pub(super) names_hidden: bool,
}

impl FoundRow {
    fn entry(&self, now: i64) -> Result<SearchEntry, Failure> {
        let row = &self.row;
        let over = row.invisible_to_patient && row.visible_from.is_some_and(|from| from <= now);
        let link = usize::try_from(row.link).ok();
        let (resource, link) = shown(&row.resource, link, &row.binary_id, over, self.names_hidden)?;
        Ok(SearchEntry { path: format!("DocumentReference/{}", row.id), link, resource })
    }
}

impl SearchPage {
    /// `rows`: in order, one more than the page has where there is another; `total`: how many there are, where the rows leave it open.
    fn of(mut rows: Vec<FoundRow>, total: Option<i64>, page: &Page, now: i64) -> Result<Self, Failure> {
        let more = page.size > 0 && rows.len() > page.size;
        rows.truncate(page.size);
        let total = total.map_or(rows.len() as u64, |total| u64::try_from(total).unwrap_or_default());
        let place = |found: &FoundRow| PageCursor { date: found.row.date, id: found.row.id.clone() };
        let next = rows.last().filter(|_| more).map(place);
        let ids = rows.iter().map(|found| found.row.id.clone()).collect();
        let entries = rows.iter().map(|found| found.entry(now)).collect::<Result<_, Failure>>()?;
        Ok(Self { entries, ids, total, next })
    }
}

/// Those behind the cursor, in the page's order.
pub(super) fn ordered<'a>(
    query: document::BoxedQuery<'a, Backend>,
    page: &'a Page,
) -> document::BoxedQuery<'a, Backend> {
    let query = match &page.after {
        None => query,
        Some(after) => {
            let same = document::date.eq(after.date);
            match page.ascending {
                true => query.filter(document::date.gt(after.date).or(same.and(document::id.gt(&after.id)))),
                false => query.filter(document::date.lt(after.date).or(same.and(document::id.lt(&after.id)))),
            }
        }
    };
    match page.ascending {
        true => query.order((document::date.asc(), document::id.asc())),
        false => query.order((document::date.desc(), document::id.desc())),
    }
}

/// `replaced`: of the documents that are to be replaced, those that may be seen, where the search names any.
fn matching<'a>(
    scope: &'a Scope,
    criteria: &'a SearchCriteria,
    replaced: Option<&'a HashSet<String>>,
    now: i64,
) -> document::BoxedQuery<'a, Backend> {
    let mut query = narrowed(visible(scope, now), criteria, now);
    if let Some(replaced) = replaced {
        query = query.filter(document::replaces_id.eq_any(replaced).assume_not_null());
    }
    query
}

impl Reader<'_> {
    /// ITI-67: what the scope holds and the criteria ask for, newest first.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn search(
        &mut self,
        scope: &Scope,
        criteria: &SearchCriteria,
        page: &Page,
        now: i64,
    ) -> Result<SearchPage, Failure> {
        // What replaced a document that may not be seen is not found by it.
        let named: Vec<&str> = criteria.replaced.iter().map(String::as_str).collect();
        let seen = seen(self.connection, scope, &named, now).map_err(unavailable)?;
        let replaced = (!named.is_empty()).then_some(&seen);
        let mut rows: Vec<PageRow> = Vec::new();
        if page.size > 0 {
            rows = ordered(matching(scope, criteria, replaced, now), page)
                .limit(page.most())
                .select(PageRow::as_select())
                .load(self.connection)
                .map_err(unavailable)?;
        }
        let mut total = None;
        if page.needs_count(rows.len()) {
            total = Some(self.count(matching(scope, criteria, replaced, now))?);
        }
        let rows = self.with_relations(scope, rows, now)?;
        SearchPage::of(rows, total, page, now)
    }

    /// The page of a search whose record was looked up by [`Reader::facts_and_page`]: what that brought, where the decision is as it
    /// supposed.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn search_as_supposed(
        &mut self,
        scope: &Scope,
        supposed: Option<SupposedPage>,
        criteria: &SearchCriteria,
        page: &Page,
        now: i64,
    ) -> Result<SearchPage, Failure> {
        match supposed.and_then(|supposed| supposed.opened(scope)) {
            Some((rows, mut total)) => {
                if total.is_none() && page.needs_count(rows.len()) {
                    total = Some(self.count(matching(scope, criteria, None, now))?);
                }
                SearchPage::of(rows, total, page, now)
            }
            None => self.search(scope, criteria, page, now),
        }
    }

    fn count(&mut self, query: document::BoxedQuery<'_, Backend>) -> Result<i64, Failure> {
        query.count().get_result(self.connection).map_err(unavailable)
    }

    /// Those of these documents that the scope holds, newest first.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub(super) fn seen_documents(
        &mut self,
        scope: &Scope,
        ids: &[&String],
        now: i64,
    ) -> Result<Vec<SearchEntry>, Failure> {
        let rows: Vec<PageRow> = visible(scope, now)
            .filter(document::id.eq_any(ids))
            .order((document::date.desc(), document::id.desc()))
            .select(PageRow::as_select())
            .load(self.connection)
            .map_err(unavailable)?;
        self.entries(scope, rows, now)
    }

    /// The rows as they are shown: without a relation to what may not be seen.
    pub(super) fn entries(
        &mut self,
        scope: &Scope,
        rows: Vec<PageRow>,
        now: i64,
    ) -> Result<Vec<SearchEntry>, Failure> {
        let rows = self.with_relations(scope, rows, now)?;
        rows.iter().map(|found| found.entry(now)).collect()
    }

    fn with_relations(
        &mut self,
        scope: &Scope,
        rows: Vec<PageRow>,
        now: i64,
    ) -> Result<Vec<FoundRow>, Failure> {
        let replaced: Vec<&str> = rows.iter().filter_map(|row| row.replaces_id.as_deref()).collect();
        let seen = seen(self.connection, scope, &replaced, now).map_err(unavailable)?;
        let found = |row: PageRow| {
            let names_hidden = row.replaces_id.as_ref().is_some_and(|id| !seen.contains(id));
            FoundRow { row, names_hidden }
        };
        Ok(rows.into_iter().map(found).collect())
    }
}
