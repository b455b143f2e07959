//! Folders: Lists that documents are filed in. A folder is there for who may see a document of it, and names those alone.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;

use super::documents::visible;
use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::schema::{document, folder_entry, submission_set};
use super::unavailable;
use crate::error::Failure;
use crate::rights::{FeedGrant, ReadGrant, Scope};

/// `List.code` of a folder.
pub const FOLDER: &str = "folder";

/// What a transaction does with a folder.
#[derive(Clone, Debug)]
pub struct FolderChange {
    /// `List.id`.
    pub id: String,
    /// What becomes of it.
    pub kind: FolderKind,
    /// Documents of the same transaction that go into it.
    pub fed: Vec<String>,
    /// Documents that are there already, each with the right to read it: who may not read does not file.
    pub held: Vec<ReadGrant>,
}

/// Made, or added to.
#[derive(Clone, Debug)]
pub enum FolderKind {
    /// Made: the List as text, and its date, microseconds.
    New {
        /// The text.
        resource: String,
        /// `List.date`.
        date: i64,
    },
    /// Added to, by who may read a document of it.
    Added {
        /// That document.
        seen: ReadGrant,
    },
}

impl FolderChange {
    /// The documents that are held, and the one by which a folder is seen: each with its right.
    pub fn grants(&self) -> impl Iterator<Item = &ReadGrant> {
        let seen = match &self.kind {
            FolderKind::New { .. } => None,
            FolderKind::Added { seen } => Some(seen),
        };
        self.held.iter().chain(seen)
    }

    fn documents(&self) -> impl Iterator<Item = &str> {
        self.fed.iter().map(String::as_str).chain(self.held.iter().map(ReadGrant::document_id))
    }
}

/// Keeps what a transaction does with its folders.
pub(super) fn keep(
    connection: &mut DatabaseConnection,
    grant: &FeedGrant,
    changes: &[FolderChange],
    now: i64,
) -> QueryResult<()> {
    for change in changes {
        match &change.kind {
            FolderKind::New { resource, date } => {
                diesel::insert_into(submission_set::table)
                    .values((
                        submission_set::id.eq(&change.id),
                        submission_set::record_id.eq(grant.record_id()),
                        submission_set::author_id.eq(grant.author_id()),
                        submission_set::created_at.eq(now),
                        submission_set::resource.eq(resource),
                        submission_set::date.eq(date),
                        submission_set::kind.eq(FOLDER),
                    ))
                    .execute(connection)?;
            }
            FolderKind::Added { .. } => {
                // The List stays as it was made: a version or a date of its own would tell of what was filed and may not be seen.
                let of_record: i64 = submission_set::table
                    .filter(submission_set::id.eq(&change.id))
                    .filter(submission_set::record_id.eq(grant.record_id()))
                    .filter(submission_set::kind.eq(FOLDER))
                    .count()
                    .get_result(connection)?;
                if of_record != 1 {
                    return Err(diesel::result::Error::NotFound);
                }
            }
        }
        let held: Vec<String> = folder_entry::table
            .filter(folder_entry::folder_id.eq(&change.id))
            .order(folder_entry::position)
            .select(folder_entry::document_id)
            .load(connection)?;
        let mut position = i32::try_from(held.len()).unwrap_or(i32::MAX);
        let mut filed: HashSet<String> = held.into_iter().collect();
        for id in change.documents() {
            if !filed.insert(id.to_owned()) {
                continue;
            }
            diesel::insert_into(folder_entry::table)
                .values((
                    folder_entry::folder_id.eq(&change.id),
                    folder_entry::document_id.eq(id),
                    folder_entry::position.eq(position),
                ))
                .execute(connection)?;
            position = position.saturating_add(1);
        }
    }
    Ok(())
}

/// Identifiers in one statement, at most: an engine binds so many values at once.
const AT_ONCE: usize = 500;

impl Reader<'_> {
    /// Of each folder of the record, the documents that the scope holds, in the order in which they were filed. A folder of which
    /// nothing may be seen is not among them.
    pub(super) fn folders(&mut self, scope: &Scope, now: i64) -> Result<HashMap<String, Vec<String>>, Failure> {
        let filed: Vec<(String, String)> = folder_entry::table
            .inner_join(submission_set::table.on(submission_set::id.eq(folder_entry::folder_id)))
            .filter(submission_set::record_id.eq(scope.record_id()))
            .order((folder_entry::folder_id, folder_entry::position))
            .select((folder_entry::folder_id, folder_entry::document_id))
            .load(self.connection)
            .map_err(unavailable)?;
        let mut seen = HashSet::new();
        for some in filed.chunks(AT_ONCE) {
            let ids: Vec<&String> = some.iter().map(|(_, id)| id).collect();
            let found: Vec<String> = visible(scope, now)
                .filter(document::id.eq_any(ids))
                .select(document::id)
                .load(self.connection)
                .map_err(unavailable)?;
            seen.extend(found);
        }
        let mut folders: HashMap<String, Vec<String>> = HashMap::new();
        for (folder, id) in filed.into_iter().filter(|(_, id)| seen.contains(id)) {
            folders.entry(folder).or_default().push(id);
        }
        Ok(folders)
    }
}

/// The documents that are filed in a folder, in order.
pub(super) fn filed(connection: &mut DatabaseConnection, folder_id: &str) -> QueryResult<Vec<String>> {
    folder_entry::table
        .filter(folder_entry::folder_id.eq(folder_id))
        .order(folder_entry::position)
        .select(folder_entry::document_id)
        .load(connection)
}
