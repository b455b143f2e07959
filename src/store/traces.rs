//! Traces as they are read by people: a page of a person's, or of a record's.

use std::collections::HashSet;

use diesel::prelude::*;

use super::criteria::DateRange;
use super::documents::Backend;
use super::engine::DatabaseConnection;
use super::journal::TraceRow;
use super::readers::Reader;
use super::schema::trace;
use super::search::PageCursor;
use super::unavailable;
use crate::error::Failure;
use crate::fhir::audit_event::about_documents;
use crate::rights::{Scope, TracesGrant, TracesOf};

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
    }
    // What was hidden is on no record that one could name: not one's own look-ups, nor those of others.
    if grant.record_id().is_some() {
        query = query.filter(trace::outcome.ne(HIDDEN));
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
            // The first says to the index where to begin.
            query = query.filter(trace::at.le(after.date)).filter(trace::at.lt(after.date).or(same));
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

impl TraceRow {
    /// How many traces of these people there are in a period: from the first instant to before the second, microseconds.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn count_of(
        connection: &mut DatabaseConnection,
        callers: &[String],
        from: i64,
        until: i64,
    ) -> QueryResult<i64> {
        trace::table
            .filter(trace::caller_id.eq_any(callers))
            .filter(trace::at.ge(from))
            .filter(trace::at.lt(until))
            .count()
            .get_result(connection)
    }

    /// The place of the last trace among all; 0: there is none.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn last_sequence(connection: &mut DatabaseConnection) -> QueryResult<i64> {
        let last = trace::table.order(trace::sequence.desc()).select(trace::sequence).first(connection);
        Ok(last.optional()?.unwrap_or_default())
    }

    /// Of the traces behind one of them, so many in the order of their commits: those of whoever acted for one structure in a period, and where the next ones begin;
    /// none, at the end. No index leads to them: whoever exports a structure's traces goes through all, a piece at a time.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_structure(
        connection: &mut DatabaseConnection,
        structure: &str,
        (from, until): (i64, i64),
        behind: i64,
        so_many: i64,
    ) -> QueryResult<(Vec<Self>, Option<i64>)> {
        let first: Option<i64> = trace::table
            .filter(trace::sequence.gt(behind))
            .order(trace::sequence.asc())
            .select(trace::sequence)
            .first(connection)
            .optional()?;
        let Some(first) = first else { return Ok((Vec::new(), None)) };
        let end = first.saturating_add(so_many);
        let rows = trace::table
            .filter(trace::sequence.ge(first))
            .filter(trace::sequence.lt(end))
            .filter(trace::caller_structure.eq(structure).assume_not_null().or(trace::caller_id.eq(structure)))
            .filter(trace::at.ge(from))
            .filter(trace::at.lt(until))
            .order(trace::sequence.asc())
            .select(TraceRow::as_select())
            .load(connection)?;
        Ok((rows, Some(end - 1)))
    }

    /// Traces of one person in a period, the oldest first, behind one of them, so many at most.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_caller(
        connection: &mut DatabaseConnection,
        caller: &str,
        (from, until): (i64, i64),
        after: Option<(i64, String)>,
        most: i64,
    ) -> QueryResult<Vec<Self>> {
        let mut query = trace::table
            .filter(trace::caller_id.eq(caller))
            .filter(trace::at.ge(from))
            .filter(trace::at.lt(until))
            .into_boxed();
        if let Some((at, request_id)) = after {
            query = query.filter(trace::at.ge(at));
            query = query.filter(trace::at.gt(at).or(trace::request_id.gt(request_id)));
        }
        query
            .order((trace::at.asc(), trace::request_id.asc()))
            .limit(most)
            .select(TraceRow::as_select())
            .load(connection)
    }
}

impl Reader<'_> {
    /// Leaves out of traces what they say of documents that a scope does not hold: of all of them without one.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn leave_out_hidden(
        &mut self,
        scope: Option<&Scope>,
        rows: &mut [TraceRow],
        now: i64,
    ) -> Result<(), Failure> {
        let named: Vec<&str> = rows
            .iter()
            .filter(|row| about_documents(&row.operation))
            .flat_map(|row| row.objects.split(' '))
            .filter(|object| !object.is_empty())
            .collect();
        let mut seen = HashSet::new();
        // Some at a time: an engine takes so many values at once.
        for (scope, named) in
            scope.into_iter().flat_map(|scope| named.chunks(500).map(move |named| (scope, named)))
        {
            seen.extend(super::documents::seen(self.connection, scope, named, now).map_err(unavailable)?);
        }
        for row in rows.iter_mut() {
            if about_documents(&row.operation) {
                let told: Vec<&str> = row.objects.split(' ').filter(|object| seen.contains(*object)).collect();
                row.objects = told.join(" ");
            }
        }
        Ok(())
    }
}

/// What was hidden is told as what does not exist.
fn as_unknown(row: &mut TraceRow) {
    row.record_id = None;
    row.objects = String::new();
}
