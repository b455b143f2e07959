//! What changed in a record, as far as a scope lets it be known.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;

use super::documents::visible;
use super::readers::Reader;
use super::schema::document;
use super::search::PageRow;
use super::unavailable;
use crate::error::Failure;
use crate::fhir::bundle::SearchEntry;
use crate::rights::{DocumentStatus, Scope};

/// A document that software holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// `DocumentReference.id`.
    pub id: String,
    /// `meta.versionId`, where it says so.
    pub version: Option<i64>,
}

/// What became of a record.
#[derive(Debug, Default)]
pub struct Changes {
    /// Documents that were not known, or were fed since then.
    pub new: Vec<SearchEntry>,
    /// Documents whose labels or archive changed.
    pub changed: Vec<SearchEntry>,
    /// Documents that another has replaced, and which, where that one may be seen.
    pub replaced: Vec<(String, Option<String>)>,
    /// Documents that were known and are not there for the caller: deleted, masked, or never there.
    pub gone: Vec<String>,
    /// There is more: ask again from `as_of` on.
    pub more: bool,
    /// Since when to ask the next time, microseconds: [`told_until`] this call.
    pub as_of: i64,
}

impl Changes {
    /// The documents that are told of, for the trace.
    pub fn ids(&self) -> Vec<String> {
        let of = |entry: &SearchEntry| entry.path.trim_start_matches("DocumentReference/").to_owned();
        let shown = self.new.iter().chain(&self.changed).map(of);
        shown.chain(self.replaced.iter().map(|(id, _)| id.clone())).collect()
    }
}

/// Documents in one answer, at most.
const MOST: usize = 500;

/// How long a document may be on its way, microseconds: it bears the instant at which its request began, and is there once the body has
/// arrived (30 s, unless configured longer), was taken apart, and the writer came to it.
const UNDER_WAY: i64 = 10 * 60 * 1_000_000;

/// Until when all is told that bears an earlier instant. What is younger is told again the next time, rather than one of them never.
pub fn told_until(now: i64) -> i64 {
    now - UNDER_WAY
}

impl Reader<'_> {
    /// What changed since an instant, or beyond what is known.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn changes(
        &mut self,
        scope: &Scope,
        since: Option<i64>,
        known: &[Known],
        now: i64,
    ) -> Result<Changes, Failure> {
        let versions: HashMap<&str, Option<i64>> =
            known.iter().map(|known| (known.id.as_str(), known.version)).collect();
        let ids: Vec<&str> = versions.keys().copied().collect();
        let held: Vec<PageRow> = visible(scope, now)
            .filter(document::id.eq_any(&ids))
            .order((document::updated_at, document::id))
            .select(PageRow::as_select())
            .load(self.connection)
            .map_err(unavailable)?;
        let there: HashSet<String> = held.iter().map(|row| row.id.clone()).collect();
        let mut query = visible(scope, now).filter(document::id.ne_all(&ids));
        if let Some(since) = since {
            query = query.filter(document::updated_at.ge(since));
        }
        let mut others: Vec<PageRow> = query
            .order((document::updated_at, document::id))
            .limit(i64::try_from(MOST + 1).unwrap_or(i64::MAX))
            .select(PageRow::as_select())
            .load(self.connection)
            .map_err(unavailable)?;
        let more = others.len() > MOST;
        others.truncate(MOST);
        let until = told_until(now);
        let as_of = others.last().filter(|_| more).map_or(until, |last| last.updated_at.min(until));

        let mut changes = Changes { more, as_of, ..Changes::default() };
        let (mut new, mut changed, mut replaced) = (Vec::new(), Vec::new(), Vec::new());
        for row in held {
            let is_replaced = row.status == DocumentStatus::Superseded.code();
            // A version that software holds is compared; without one the instant counts; without either, that it is replaced is news.
            let is_news = match (versions.get(row.id.as_str()).copied().flatten(), since) {
                (Some(version), _) => version != row.version,
                (None, Some(since)) => row.updated_at >= since,
                (None, None) => is_replaced,
            };
            match is_replaced {
                _ if !is_news => {}
                true => replaced.push(row.id),
                false => changed.push(row),
            }
        }
        for row in others {
            let fed_since = since.is_none_or(|since| row.created_at >= since);
            match (row.status == DocumentStatus::Superseded.code(), fed_since) {
                // What was not known and is replaced already is no news.
                (true, true) => {}
                (true, false) => replaced.push(row.id),
                (false, true) => new.push(row),
                (false, false) => changed.push(row),
            }
        }
        changes.gone =
            known.iter().filter(|known| !there.contains(&known.id)).map(|known| known.id.clone()).collect();
        let successors: HashMap<String, String> = visible(scope, now)
            .filter(document::replaces_id.eq_any(&replaced).assume_not_null())
            .select((document::replaces_id.assume_not_null(), document::id))
            .load::<(String, String)>(self.connection)
            .map_err(unavailable)?
            .into_iter()
            .collect();
        changes.replaced = replaced
            .into_iter()
            .map(|id| {
                let successor = successors.get(&id).cloned();
                (id, successor)
            })
            .collect();
        changes.new = self.entries(scope, new, now)?;
        changes.changed = self.entries(scope, changed, now)?;
        Ok(changes)
    }
}
