//! Documents: search and read. `submissions` has the feed.

use anyhow::Result as AnyResult;
use diesel::dsl::exists;
use diesel::prelude::*;

use super::bodies::BodyStore;
use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::schema::{document, readable_type};
use super::unavailable;
use crate::error::Failure;
use crate::fhir::bundle::SearchEntry;
use crate::rights::{
    DocumentFacts, DocumentStatus, HabilitationMatrix, Labels, MaskedDocuments, ReadGrant, Scope,
};

/// What a search asks for beyond the record. Lists are alternatives; an empty list asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct SearchCriteria {
    /// `status`.
    pub statuses: Vec<String>,
    /// `type`.
    pub types: Vec<String>,
    /// `category`.
    pub classes: Vec<String>,
    /// `format`.
    pub formats: Vec<String>,
    /// `facility`.
    pub facilities: Vec<String>,
    /// `setting`.
    pub settings: Vec<String>,
    /// `identifier`, unique ids.
    pub unique_ids: Vec<String>,
    /// `_id`.
    pub ids: Vec<String>,
    /// `date`.
    pub date: DateRange,
    /// `creation`.
    pub creation: DateRange,
}

/// A range of instants, microseconds. Several bounds of one search make one range: a query does not grow with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DateRange {
    /// Inclusive.
    pub from: Option<i64>,
    /// Exclusive.
    pub until: Option<i64>,
}

impl DateRange {
    /// What both ranges hold.
    pub fn and(self, other: DateRange) -> DateRange {
        DateRange {
            from: self.from.max(other.from),
            until: match (self.until, other.until) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            },
        }
    }
}

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

/// A document of the store. Its facts serve a decision; the rest opens with the grant.
#[derive(Debug)]
pub struct KeptDocument {
    /// What a decision needs.
    pub facts: DocumentFacts,
    body_key: String,
    sha256: String,
    size: i64,
    content_type: String,
    resource: String,
    link: i32,
    version: i64,
    binary_id: String,
}

/// A document opened by a grant.
#[derive(Debug)]
pub struct OpenedDocument {
    /// Where the body lies.
    pub body_key: String,
    /// Its digest, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// Media type.
    pub content_type: String,
    /// The DocumentReference as kept, and where its link begins.
    pub resource: String,
    /// See [`SearchEntry::link`].
    pub link: Option<usize>,
    /// `meta.versionId`.
    pub version: i64,
    /// `Binary.id`.
    pub binary_id: String,
}

impl KeptDocument {
    /// Opens it with the grant that a decision made for it; `None` when the grant is for another document.
    pub fn open(self, grant: &ReadGrant) -> Option<OpenedDocument> {
        (grant.document_id() == self.facts.id).then(|| OpenedDocument {
            link: usize::try_from(self.link).ok(),
            body_key: self.body_key,
            size: u64::try_from(self.size).unwrap_or_default(),
            sha256: self.sha256,
            content_type: self.content_type,
            resource: self.resource,
            version: self.version,
            binary_id: self.binary_id,
        })
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = document)]
struct FactsRow {
    id: String,
    record_id: String,
    type_code: String,
    status: String,
    masked: bool,
    invisible_to_patient: bool,
    invisible_to_representatives: bool,
    archived: bool,
    author_id: String,
    author_structure: Option<String>,
}

impl From<FactsRow> for DocumentFacts {
    fn from(row: FactsRow) -> Self {
        Self {
            id: row.id,
            record_id: row.record_id,
            type_code: row.type_code,
            // A status that this program does not know is not shown.
            status: DocumentStatus::of_code(&row.status).unwrap_or(DocumentStatus::EnteredInError),
            labels: Labels {
                masked: row.masked,
                invisible_to_patient: row.invisible_to_patient,
                invisible_to_representatives: row.invisible_to_representatives,
            },
            archived: row.archived,
            author_id: row.author_id,
            author_structure: row.author_structure,
        }
    }
}

type Backend = <DatabaseConnection as diesel::Connection>::Backend;

/// The predicate of [`Scope`] in SQL: a part of the query, never a filter behind it. `Scope::admit` says the same for
/// one document; a test compares the two.
fn visible<'a>(scope: &'a Scope) -> document::BoxedQuery<'a, Backend> {
    // Looked up for each document: a list would be made anew, a hundred types long, for each query.
    let readable = readable_type::table
        .filter(readable_type::set_id.eq(&scope.readable().id))
        .filter(readable_type::type_code.eq(document::type_code));
    let mut query = document::table
        .filter(document::record_id.eq(scope.record_id()))
        .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
        .filter(exists(readable))
        .into_boxed();
    query = match scope.masked() {
        MaskedDocuments::All => query,
        MaskedDocuments::Own => {
            query.filter(document::masked.eq(false).or(document::author_id.eq(scope.caller_id())))
        }
        MaskedDocuments::None => query.filter(document::masked.eq(false)),
    };
    if !scope.hidden() {
        query = query
            .filter(document::invisible_to_patient.eq(false))
            .filter(document::invisible_to_representatives.eq(false));
    }
    if !scope.archived() {
        query = query.filter(document::archived.eq(false));
    }
    if !scope.superseded() {
        query = query.filter(document::status.ne(DocumentStatus::Superseded.code()));
    }
    query
}

fn matching<'a>(scope: &'a Scope, criteria: &'a SearchCriteria) -> document::BoxedQuery<'a, Backend> {
    let mut query = visible(scope);
    macro_rules! any_of {
        ($($column:ident: $values:ident),+) => {$(
            match &criteria.$values[..] {
                [] => {}
                [one] => query = query.filter(document::$column.eq(one)),
                several => query = query.filter(document::$column.eq_any(several)),
            }
        )+};
    }
    any_of!(
        status: statuses, type_code: types, class_code: classes, format_code: formats,
        facility_code: facilities, setting_code: settings, unique_id: unique_ids, id: ids
    );
    if let Some(from) = criteria.date.from {
        query = query.filter(document::date.ge(from));
    }
    if let Some(until) = criteria.date.until {
        query = query.filter(document::date.lt(until));
    }
    if let Some(from) = criteria.creation.from {
        query = query.filter(document::creation.ge(from));
    }
    if let Some(until) = criteria.creation.until {
        query = query.filter(document::creation.lt(until));
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
    ) -> Result<SearchPage, Failure> {
        let mut rows: Vec<(i64, String, i32, String)> = Vec::new();
        if page.size > 0 {
            let mut query = matching(scope, criteria);
            if let Some(after) = &page.after {
                query = query.filter(
                    document::date
                        .lt(after.date)
                        .or(document::date.eq(after.date).and(document::id.lt(&after.id))),
                );
            }
            rows = query
                .order((document::date.desc(), document::id.desc()))
                .limit(i64::try_from(page.size).unwrap_or(i64::MAX - 1) + 1)
                .select((document::date, document::id, document::link, document::resource))
                .load(self.connection)
                .map_err(unavailable)?;
        }
        let more = page.size > 0 && rows.len() > page.size;
        rows.truncate(page.size);
        let total = if page.after.is_none() && !more && page.size > 0 {
            rows.len() as u64
        } else {
            let total: i64 =
                matching(scope, criteria).count().get_result(self.connection).map_err(unavailable)?;
            u64::try_from(total).unwrap_or_default()
        };
        let next = match rows.last() {
            Some((date, id, ..)) if more => Some(PageCursor { date: *date, id: id.clone() }),
            _ => None,
        };
        let ids = rows.iter().map(|(_, id, ..)| id.clone()).collect();
        let entries = rows
            .into_iter()
            .map(|(_, id, link, resource)| SearchEntry {
                path: format!("DocumentReference/{id}"),
                link: usize::try_from(link).ok(),
                resource,
            })
            .collect();
        Ok(SearchPage { entries, ids, total, next })
    }

    /// A document by the id of its Binary.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn document_of_binary(&mut self, binary_id: &str) -> Result<Option<KeptDocument>, Failure> {
        self.kept(document::table.filter(document::binary_id.eq(binary_id)).into_boxed())
    }

    /// A document by its id.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn document(&mut self, id: &str) -> Result<Option<KeptDocument>, Failure> {
        self.kept(document::table.filter(document::id.eq(id)).into_boxed())
    }

    /// A document by its unique id.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn document_of_unique_id(&mut self, unique_id: &str) -> Result<Option<KeptDocument>, Failure> {
        self.kept(document::table.filter(document::unique_id.eq(unique_id)).into_boxed())
    }

    fn kept(&mut self, query: document::BoxedQuery<'_, Backend>) -> Result<Option<KeptDocument>, Failure> {
        type Row = (FactsRow, String, String, i64, String, String, i32, i64, String);
        let row: Option<Row> = query
            .select((
                FactsRow::as_select(),
                document::body_key,
                document::sha256,
                document::size,
                document::content_type,
                document::resource,
                document::link,
                document::version,
                document::binary_id,
            ))
            .first(self.connection)
            .optional()
            .map_err(unavailable)?;
        Ok(row.map(|(facts, body_key, sha256, size, content_type, resource, link, version, binary_id)| {
            KeptDocument {
                facts: facts.into(),
                body_key,
                sha256,
                size,
                content_type,
                resource,
                link,
                version,
                binary_id,
            }
        }))
    }

    /// Those of the bodies that no row names. The id of its Binary stands in a body's key, and is what the index has.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn not_named(&mut self, keys: Vec<String>) -> Result<Vec<String>, Failure> {
        let binaries: Vec<&str> = keys.iter().filter_map(|key| BodyStore::binary_of(key)).collect();
        let named: Vec<String> = document::table
            .filter(document::binary_id.eq_any(&binaries))
            .select(document::body_key)
            .load(self.connection)
            .map_err(unavailable)?;
        let named: std::collections::HashSet<String> = named.into_iter().collect();
        Ok(keys.into_iter().filter(|key| !named.contains(key)).collect())
    }
}

/// Keeps the sets of types that the matrix can grant. Sets are named by their digest and never change.
pub(super) fn register_readable_types(
    connection: &mut DatabaseConnection,
    matrix: &HabilitationMatrix,
) -> AnyResult<()> {
    connection.begin()?;
    for set in matrix.sets() {
        for type_code in &set.types {
            let row = (readable_type::set_id.eq(&set.id), readable_type::type_code.eq(type_code));
            match connection {
                DatabaseConnection::Sqlite(sqlite) => {
                    diesel::insert_or_ignore_into(readable_type::table).values(row).execute(sqlite)?;
                }
                DatabaseConnection::Postgres(postgres) => {
                    diesel::insert_into(readable_type::table)
                        .values(row)
                        .on_conflict_do_nothing()
                        .execute(postgres)?;
                }
            }
        }
    }
    connection.commit()?;
    Ok(())
}
