//! Traces as they are read by people: a page of a person's, or of a record's.

use diesel::prelude::*;

use super::criteria::DateRange;
use super::documents::{Backend, PageCursor};
use super::journal::TraceRow;
use super::readers::Reader;
use super::schema::trace;
use super::unavailable;
use crate::error::Failure;
use crate::rights::{TracesGrant, TracesOf};

/// Which traces.
#[derive(Clone, Debug, Default)]
pub struct TraceCriteria {
    /// When they were written.
    pub at: DateRange,
    /// By this person alone: PS_IdNat.
    pub professional: Option<String>,
    /// How many, at most; 0 asks for the total alone.
    pub size: usize,
    /// Behind this one: when it was written, and its request.
    pub after: Option<PageCursor>,
}

/// A page of traces.
#[derive(Debug)]
pub struct TracePage {
    /// The newest first.
    pub rows: Vec<TraceRow>,
    /// On all pages.
    pub total: u64,
    /// Where the next page begins, when there is one.
    pub next: Option<PageCursor>,
}

/// How a trace tells that something was not to be seen.
const HIDDEN: &str = "hidden";

fn matching<'a>(grant: &'a TracesGrant, criteria: &'a TraceCriteria) -> trace::BoxedQuery<'a, Backend> {
    let mut query = trace::table.into_boxed();
    if let TracesOf::Caller(id) = grant.of() {
        query = query.filter(trace::caller_id.eq(id));
        // What was hidden from him is on no record that he could name.
        if grant.record_id().is_some() {
            query = query.filter(trace::outcome.ne(HIDDEN));
        }
    }
    if let Some(record_id) = grant.record_id() {
        query = query.filter(trace::record_id.eq(record_id));
    }
    if let Some(professional) = &criteria.professional {
        query = query.filter(trace::caller_id.eq(professional));
    }
    if let Some(from) = criteria.at.from {
        query = query.filter(trace::at.ge(from));
    }
    if let Some(until) = criteria.at.until {
        query = query.filter(trace::at.lt(until));
    }
    query
}

impl Reader<'_> {
    /// ITI-81: what the grant holds and the criteria ask for, the newest first.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn traces(&mut self, grant: &TracesGrant, criteria: &TraceCriteria) -> Result<TracePage, Failure> {
        let total: i64 = matching(grant, criteria).count().get_result(self.connection).map_err(unavailable)?;
        let total = u64::try_from(total).unwrap_or_default();
        if criteria.size == 0 {
            return Ok(TracePage { rows: Vec::new(), total, next: None });
        }
        let mut query = matching(grant, criteria);
        if let Some(after) = &criteria.after {
            let same = trace::at.eq(after.date).and(trace::request_id.lt(&after.id));
            query = query.filter(trace::at.lt(after.date).or(same));
        }
        let most = i64::try_from(criteria.size).unwrap_or(i64::MAX).saturating_add(1);
        let mut rows: Vec<TraceRow> = query
            .order((trace::at.desc(), trace::request_id.desc()))
            .limit(most)
            .select(TraceRow::as_select())
            .load(self.connection)
            .map_err(unavailable)?;
        let more = rows.len() > criteria.size;
        rows.truncate(criteria.size);
        if matches!(grant.of(), TracesOf::Caller(_)) {
            rows.iter_mut().filter(|row| row.outcome == HIDDEN).for_each(as_unknown);
        }
        let next = rows.last().filter(|_| more);
        let next = next.map(|row| PageCursor { date: row.at, id: row.request_id.clone() });
        Ok(TracePage { rows, total, next })
    }
}

/// What was hidden is told as what does not exist.
fn as_unknown(row: &mut TraceRow) {
    row.record_id = None;
    row.objects = String::new();
}
