//! ITI-67: pages of what a scope holds.

use std::collections::HashSet;

use diesel::prelude::*;

use super::criteria::{SearchCriteria, narrowed};
use super::documents::{Backend, seen, shown, visible};
use super::readers::Reader;
use super::schema::document;
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
#[derive(Queryable, Selectable)]
#[diesel(table_name = document)]
pub(super) struct PageRow {
    date: i64,
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

impl PageRow {
    fn shown(&self, now: i64, names_hidden: bool) -> Result<(String, Option<usize>), Failure> {
        let over = self.invisible_to_patient && self.visible_from.is_some_and(|from| from <= now);
        shown(&self.resource, usize::try_from(self.link).ok(), &self.binary_id, over, names_hidden)
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
            let mut query = matching(scope, criteria, replaced, now);
            if let Some(after) = &page.after {
                let same = document::date.eq(after.date);
                query = match page.ascending {
                    true => {
                        query.filter(document::date.gt(after.date).or(same.and(document::id.gt(&after.id))))
                    }
                    false => {
                        query.filter(document::date.lt(after.date).or(same.and(document::id.lt(&after.id))))
                    }
                };
            }
            query = match page.ascending {
                true => query.order((document::date.asc(), document::id.asc())),
                false => query.order((document::date.desc(), document::id.desc())),
            };
            rows = query
                .limit(i64::try_from(page.size).unwrap_or(i64::MAX - 1) + 1)
                .select(PageRow::as_select())
                .load(self.connection)
                .map_err(unavailable)?;
        }
        let more = page.size > 0 && rows.len() > page.size;
        rows.truncate(page.size);
        let total = if page.after.is_none() && !more && page.size > 0 {
            rows.len() as u64
        } else {
            let total: i64 = matching(scope, criteria, replaced, now)
                .count()
                .get_result(self.connection)
                .map_err(unavailable)?;
            u64::try_from(total).unwrap_or_default()
        };
        let next = match rows.last() {
            Some(last) if more => Some(PageCursor { date: last.date, id: last.id.clone() }),
            _ => None,
        };
        let ids = rows.iter().map(|row| row.id.clone()).collect();
        let entries = self.entries(scope, rows, now)?;
        Ok(SearchPage { entries, ids, total, next })
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
        let replaced: Vec<&str> = rows.iter().filter_map(|row| row.replaces_id.as_deref()).collect();
        let seen = seen(self.connection, scope, &replaced, now).map_err(unavailable)?;
        rows.into_iter()
            .map(|row| {
                let names_hidden = row.replaces_id.as_ref().is_some_and(|id| !seen.contains(id));
                let (resource, link) = row.shown(now, names_hidden)?;
                Ok(SearchEntry { path: format!("DocumentReference/{}", row.id), link, resource })
            })
            .collect()
    }
}
