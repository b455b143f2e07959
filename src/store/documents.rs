//! Documents: which may be seen, and reading them. `search` has the pages, `submissions` the feed.

use std::collections::HashSet;

use anyhow::Result as AnyResult;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::bodies::BodyStore;
use super::criteria::{SearchCriteria, narrowed};
use super::engine::DatabaseConnection;
use super::keys::KeyRow;
use super::readers::Reader;
use super::schema::{document, readable_type, record_key};
use super::unavailable;
use crate::error::Failure;
use crate::fhir::document_reference;
use crate::rights::{
    DocumentFacts, DocumentStatus, HabilitationMatrix, Labels, MaskedDocuments, Own, PatientSideGrant,
    ReadGrant, References, Scope, Sight,
};
use crate::sealing::WrappedKey;

/// Who fed a document that the patient deposited himself, in place of a professional's identifier.
pub const PATIENT: &str = "patient";

/// A document of the store. Its facts serve a decision; the rest opens with the grant.
#[derive(Debug)]
pub struct KeptDocument {
    /// What a decision needs.
    pub facts: DocumentFacts,
    content: ContentRow,
    sealed_by: Option<WrappedKey>,
    visible_from: Option<i64>,
}

#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = document)]
struct ContentRow {
    body_key: String,
    sha256: String,
    size: i64,
    content_type: String,
    resource: String,
    link: i32,
    version: i64,
    binary_id: String,
    replaces_id: Option<String>,
}

/// What a look-up tells of one's own document: that it is there, and under which id.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = document)]
pub struct DocumentSummary {
    /// `DocumentReference.id`.
    pub id: String,
    /// `meta.versionId`.
    pub version: i64,
    /// `current`, `superseded`.
    pub status: String,
    /// `masterIdentifier`.
    pub unique_id: String,
    /// Microseconds.
    pub updated_at: i64,
}

/// A document as the patient's side lists it.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = document)]
pub struct PatientDocument {
    /// `DocumentReference.id`.
    pub id: String,
    /// JDV_J66.
    pub type_code: String,
    /// `current`, `superseded`.
    pub status: String,
    /// `MASQUE_PS`, on it or on the version that replaced it.
    pub masked: bool,
    /// `INVISIBLE_REPRESENTANTS_LEGAUX`.
    pub invisible_to_representatives: bool,
    /// Archived.
    pub archived: bool,
    /// Who fed it; [`PATIENT`] for the patient himself.
    pub author_id: String,
    /// Microseconds.
    pub created_at: i64,
}

/// A document opened by a grant.
#[derive(Clone, Debug)]
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
    /// See [`crate::fhir::bundle::SearchEntry::link`].
    pub link: Option<usize>,
    /// `meta.versionId`.
    pub version: i64,
    /// `Binary.id`.
    pub binary_id: String,
    pub(super) record_id: String,
    /// The record's key, as it is kept.
    pub(super) sealed_by: Option<WrappedKey>,
    replaces_id: Option<String>,
    visible_from: Option<i64>,
}

impl KeptDocument {
    /// Opens it with the grant that a decision made for it; `None` when the grant is for another document.
    pub fn open(self, grant: &ReadGrant) -> Option<OpenedDocument> {
        (grant.document_id() == self.facts.id).then(|| self.opened())
    }

    /// The document as it stands towards who may see it, for what a PATCH would change of it. It leaves the server with a grant alone.
    ///
    /// # Errors
    /// [`Failure::Internal`]: the kept text cannot be read.
    pub fn to_compare(&self, now: i64) -> Result<serde_json::Value, Failure> {
        let content = &self.content;
        let over = self.visible_from.is_some_and(|from| from <= now);
        let (text, _) =
            shown(&content.resource, usize::try_from(content.link).ok(), &content.binary_id, over, false)?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::internal(format!("document {}: {error}", self.facts.id)))
    }

    /// `meta.versionId`.
    pub fn version(&self) -> i64 {
        self.content.version
    }

    /// When its announcement is over (R1111-53), microseconds, where it is one.
    pub fn announced_until(&self) -> Option<i64> {
        self.visible_from
    }

    fn opened(self) -> OpenedDocument {
        let content = self.content;
        OpenedDocument {
            link: usize::try_from(content.link).ok(),
            body_key: content.body_key,
            size: u64::try_from(content.size).unwrap_or_default(),
            sha256: content.sha256,
            content_type: content.content_type,
            resource: content.resource,
            version: content.version,
            binary_id: content.binary_id,
            record_id: self.facts.record_id,
            sealed_by: self.sealed_by,
            replaces_id: content.replaces_id,
            visible_from: self.visible_from,
        }
    }
}

impl OpenedDocument {
    /// The same document in an older version.
    pub(super) fn as_it_was(&self, resource: String, link: Option<usize>, version: i64) -> Self {
        Self { resource, link, version, ..self.clone() }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = document)]
pub(super) struct FactsRow {
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
    visible_from: Option<i64>,
    version: i64,
}

impl FactsRow {
    /// The facts at an instant: `INVISIBLE_PATIENT` ends by itself (R1111-53).
    pub(super) fn at(self, now: i64) -> DocumentFacts {
        let row = self;
        DocumentFacts {
            id: row.id,
            record_id: row.record_id,
            type_code: row.type_code,
            // A status that this program does not know is not shown.
            status: DocumentStatus::of_code(&row.status).unwrap_or(DocumentStatus::EnteredInError),
            labels: Labels {
                masked: row.masked,
                invisible_to_patient: row.invisible_to_patient
                    && row.visible_from.is_none_or(|from| now < from),
                invisible_to_representatives: row.invisible_to_representatives,
            },
            archived: row.archived,
            by_patient: row.author_id == PATIENT,
            author_id: row.author_id,
            author_structure: row.author_structure,
            version: row.version,
        }
    }
}

pub(super) type Backend = <DatabaseConnection as diesel::Connection>::Backend;

/// The predicate of [`Scope`] in SQL: a part of the query, never a filter behind it. `Scope::admit` says the same for
/// one document; a test compares the two.
pub(super) fn visible<'a>(scope: &'a Scope, now: i64) -> document::BoxedQuery<'a, Backend> {
    let sight = scope.sight();
    let documents = document::table.filter(document::record_id.eq(scope.record_id())).into_boxed();
    let conditions = asked_by(sight).into_iter().map(|asked| asked.condition(sight, now));
    seen_by(documents, sight, conditions)
}

/// Of these documents, those of the types that a sight opens, under these conditions.
pub(super) fn seen_by<'a>(
    documents: document::BoxedQuery<'a, Backend>,
    sight: &'a Sight,
    conditions: impl IntoIterator<Item = Condition<'a>>,
) -> document::BoxedQuery<'a, Backend> {
    // Looked up for each document: a list would be made anew, a hundred types long, for each query.
    let readable = readable_type::table
        .filter(readable_type::set_id.eq(&sight.readable().id))
        .filter(readable_type::type_code.eq(document::type_code));
    conditions.into_iter().fold(documents.filter(exists(readable)), |query, condition| query.filter(condition))
}

/// A condition on a document, in SQL.
pub(super) type Condition<'a> = Box<dyn BoxableExpression<document::table, Backend, SqlType = Bool> + 'a>;

/// What a sight may ask of a document beside its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    NotDeleted,
    Own,
    OwnIfMasked,
    NotMasked,
    /// What no document is.
    Nothing,
    ShownToPatient,
    ShownToRepresentatives,
    NotArchived,
    NotSuperseded,
}

/// What this one asks.
pub(super) fn asked_by(sight: &Sight) -> Vec<Asked> {
    let masked = match (sight.masked(), sight.all_masked()) {
        (MaskedDocuments::All, _) => None,
        (MaskedDocuments::Own, true) => Some(Asked::Own),
        (MaskedDocuments::Own, false) => Some(Asked::OwnIfMasked),
        (MaskedDocuments::None, true) => Some(Asked::Nothing),
        (MaskedDocuments::None, false) => Some(Asked::NotMasked),
    };
    let asked = [
        (!sight.deleted()).then_some(Asked::NotDeleted),
        masked,
        (!sight.hidden()).then_some(Asked::ShownToPatient),
        (!sight.hidden()).then_some(Asked::ShownToRepresentatives),
        (!sight.archived()).then_some(Asked::NotArchived),
        (!sight.superseded()).then_some(Asked::NotSuperseded),
    ];
    asked.into_iter().flatten().collect()
}

impl Asked {
    /// In SQL.
    pub(super) fn condition(self, sight: &Sight, now: i64) -> Condition<'_> {
        let own = document::author_id.eq(sight.caller_id());
        match self {
            Asked::NotDeleted => Box::new(document::status.ne(DocumentStatus::EnteredInError.code())),
            Asked::Own => Box::new(own),
            Asked::OwnIfMasked => Box::new(document::masked.eq(false).or(own)),
            Asked::NotMasked => Box::new(document::masked.eq(false)),
            Asked::Nothing => Box::new(document::masked.ne(document::masked)),
            Asked::ShownToPatient => {
                let over =
                    document::visible_from.is_not_null().and(document::visible_from.le(now).assume_not_null());
                Box::new(document::invisible_to_patient.eq(false).or(over))
            }
            Asked::ShownToRepresentatives => Box::new(document::invisible_to_representatives.eq(false)),
            Asked::NotArchived => Box::new(document::archived.eq(false)),
            Asked::NotSuperseded => Box::new(document::status.ne(DocumentStatus::Superseded.code())),
        }
    }
}

/// One's own documents, deleted ones apart: the predicate of [`References`] in SQL.
fn own<'a>(references: &'a References) -> document::BoxedQuery<'a, Backend> {
    let query = document::table
        .filter(document::record_id.eq(references.record_id()))
        .filter(document::status.ne(DocumentStatus::EnteredInError.code()));
    match references.own() {
        Own::Person(id) => query.filter(document::author_id.eq(id)).into_boxed(),
        Own::Structure(id) => query
            .filter(document::author_structure.eq(id).or(document::author_id.eq(id)).assume_not_null())
            .into_boxed(),
    }
}

impl Reader<'_> {
    /// TD3.1b: the references of one's own documents under these identifiers.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn look_up(
        &mut self,
        references: &References,
        criteria: &SearchCriteria,
        now: i64,
    ) -> Result<Vec<DocumentSummary>, Failure> {
        let query = narrowed(own(references), criteria, now)
            .order((document::date.desc(), document::id.desc()))
            .limit(100)
            .select(DocumentSummary::as_select());
        query.load(self.connection).map_err(unavailable)
    }

    /// Whether the scope holds a document that was fed or changed since then.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn has_changed_since(&mut self, scope: &Scope, since: i64, now: i64) -> Result<bool, Failure> {
        let changed = visible(scope, now).filter(document::updated_at.ge(since)).select(document::id).limit(1);
        Ok(!changed.load::<String>(self.connection).map_err(unavailable)?.is_empty())
    }

    /// The text of a document as the scope lets it be seen.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn shown(
        &mut self,
        scope: &Scope,
        document: OpenedDocument,
        now: i64,
    ) -> Result<OpenedDocument, Failure> {
        let replaced: Vec<&str> = document.replaces_id.as_deref().into_iter().collect();
        let seen = seen(self.connection, scope, &replaced, now).map_err(unavailable)?;
        let over = document.visible_from.is_some_and(|from| from <= now);
        let (resource, link) =
            shown(&document.resource, document.link, &document.binary_id, over, seen.len() < replaced.len())?;
        Ok(OpenedDocument { resource, link, ..document })
    }

    /// The documents of a record, for the patient's side: without those hidden from the reader.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn documents_of_patient(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        for_representative: bool,
        now: i64,
    ) -> Result<Vec<PatientDocument>, Failure> {
        let hidden = document::invisible_to_patient
            .eq(true)
            .and(document::visible_from.is_null().or(document::visible_from.gt(now)).assume_not_null());
        let mut query = document::table
            .filter(document::record_id.eq(record_id))
            .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
            .filter(diesel::dsl::not(hidden))
            .into_boxed();
        if for_representative {
            query = query.filter(document::invisible_to_representatives.eq(false));
        }
        query
            .order((document::date.desc(), document::id.desc()))
            .select(PatientDocument::as_select())
            .load(self.connection)
            .map_err(unavailable)
    }

    /// A document by the id of its Binary.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn document_of_binary(&mut self, binary_id: &str, now: i64) -> Result<Option<KeptDocument>, Failure> {
        self.kept(now, document::table.filter(document::binary_id.eq(binary_id)).into_boxed())
    }

    /// A document by its id.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn document(&mut self, id: &str, now: i64) -> Result<Option<KeptDocument>, Failure> {
        self.kept(now, document::table.filter(document::id.eq(id)).into_boxed())
    }

    /// A document by its unique id.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn document_of_unique_id(
        &mut self,
        unique_id: &str,
        now: i64,
    ) -> Result<Option<KeptDocument>, Failure> {
        self.kept(now, document::table.filter(document::unique_id.eq(unique_id)).into_boxed())
    }

    fn kept(
        &mut self,
        now: i64,
        query: document::BoxedQuery<'_, Backend>,
    ) -> Result<Option<KeptDocument>, Failure> {
        kept(self.connection, query, now).map_err(unavailable)
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
        let named: HashSet<String> = named.into_iter().collect();
        Ok(keys.into_iter().filter(|key| !named.contains(key)).collect())
    }
}

pub(super) fn summary(connection: &mut DatabaseConnection, id: &str) -> QueryResult<DocumentSummary> {
    document::table.filter(document::id.eq(id)).select(DocumentSummary::as_select()).first(connection)
}

pub(super) fn kept(
    connection: &mut DatabaseConnection,
    query: document::BoxedQuery<'_, Backend>,
    now: i64,
) -> QueryResult<Option<KeptDocument>> {
    // With the record's key, which opens the body: no round trip of its own.
    let row: Option<(FactsRow, ContentRow, Option<KeyRow>)> = query
        .left_join(record_key::table.on(record_key::record_id.eq(document::record_id)))
        .select((FactsRow::as_select(), ContentRow::as_select(), Option::<KeyRow>::as_select()))
        .first(connection)
        .optional()?;
    Ok(row.map(|(facts, content, key)| {
        // What is over is over: the text is shown without it.
        let visible_from = facts.visible_from.filter(|_| facts.invisible_to_patient);
        KeptDocument { facts: facts.at(now), content, sealed_by: key.map(WrappedKey::from), visible_from }
    }))
}

/// Which of these documents the scope holds: a document does not name a replaced one that may not be seen.
pub(super) fn seen(
    connection: &mut DatabaseConnection,
    scope: &Scope,
    ids: &[&str],
    now: i64,
) -> QueryResult<HashSet<String>> {
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let seen = visible(scope, now).filter(document::id.eq_any(ids)).select(document::id);
    Ok(seen.load::<String>(connection)?.into_iter().collect())
}

/// The text as it is shown: an announcement that is over shows no more, nor does a relation to what may not be seen.
pub(super) fn shown(
    resource: &str,
    link: Option<usize>,
    binary_id: &str,
    announcement_over: bool,
    names_hidden: bool,
) -> Result<(String, Option<usize>), Failure> {
    if !announcement_over && !names_hidden {
        return Ok((resource.to_owned(), link));
    }
    document_reference::shown(resource, binary_id, announcement_over, names_hidden).map_err(Failure::internal)
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
