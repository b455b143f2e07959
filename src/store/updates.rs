//! The life of a document after its feed: labels, archive, deletion, for professionals and for the patient.
//!
//! Whoever changes a document holds its record alone ([`Hold::Alone`](super::Hold)): labels cover other versions, and are decided on.

use diesel::prelude::*;
use diesel::result::DatabaseErrorKind;

use super::documents::{Backend, DocumentSummary, FactsRow, KeptDocument};
use super::engine::DatabaseConnection;
use super::schema::document;
use super::writer::Transaction;
use crate::fhir::document_reference::{self, DocumentReference, NextVersion};
use crate::rights::{
    DocumentAction, DocumentFacts, DocumentStatus, Labels, PatientSideGrant, Scope, UpdateGrant,
    one_month_after,
};

/// What a document looks like to who may see it.
#[derive(Clone, Debug)]
pub struct UpdatedDocument {
    /// `meta.versionId`.
    pub version: i64,
    /// The DocumentReference, and where its link begins.
    pub resource: String,
    /// See [`crate::fhir::bundle::SearchEntry::link`].
    pub link: Option<usize>,
}

/// How a document is named.
#[derive(Clone, Debug)]
pub enum DocumentKey {
    /// `DocumentReference.id`.
    Id(String),
    /// `masterIdentifier`.
    UniqueId(String),
}

struct Row {
    facts: DocumentFacts,
    version: i64,
    resource: String,
    binary_id: String,
    replaces_id: Option<String>,
    /// The labels of the document itself: `facts` has those that count.
    labels: Labels,
    visible_from: Option<i64>,
}

impl Transaction<'_> {
    /// The record of a document: what has to be held before the document is looked at.
    ///
    /// # Errors
    /// The database's.
    pub fn record_of_document(&mut self, key: &DocumentKey) -> QueryResult<Option<String>> {
        named(key).select(document::record_id).first(self.connection).optional()
    }

    /// A document, inside the transaction: what was decided on is looked at again where it is committed.
    ///
    /// # Errors
    /// The database's.
    pub fn document(&mut self, key: &DocumentKey, now: i64) -> QueryResult<Option<KeptDocument>> {
        super::documents::kept(self.connection, named(key), now)
    }

    /// Changes a document as the grant says. A deletion takes the versions that it replaced with it.
    ///
    /// # Errors
    /// The database's; another version than the one that was decided on is a reason to try again.
    pub fn update(&mut self, grant: &UpdateGrant, now: i64) -> QueryResult<()> {
        change(self.connection, grant.document_id(), *grant.version(), grant.actions(), now)
    }

    /// A document as the scope lets it be seen: what a read would give.
    ///
    /// # Errors
    /// The database's.
    pub fn shown(&mut self, scope: &Scope, id: &str, now: i64) -> QueryResult<Option<UpdatedDocument>> {
        type Columns = (i64, i32, String, String, Option<String>, bool, Option<i64>);
        let row: Option<Columns> = document::table
            .filter(document::id.eq(id))
            .filter(document::record_id.eq(scope.record_id()))
            .select((
                document::version,
                document::link,
                document::resource,
                document::binary_id,
                document::replaces_id,
                document::invisible_to_patient,
                document::visible_from,
            ))
            .first(self.connection)
            .optional()?;
        let Some((version, link, resource, binary_id, replaces_id, invisible, visible_from)) = row else {
            return Ok(None);
        };
        let replaced: Vec<&str> = replaces_id.as_deref().into_iter().collect();
        let seen = super::documents::seen(self.connection, scope, &replaced, now)?;
        let over = invisible && visible_from.is_some_and(|from| from <= now);
        let link = usize::try_from(link).ok();
        let names_hidden = seen.len() < replaced.len();
        let (resource, link) = super::documents::shown(&resource, link, &binary_id, over, names_hidden)
            .map_err(|failure| diesel::result::Error::SerializationError(Box::new(failure)))?;
        Ok(Some(UpdatedDocument { version, resource, link }))
    }

    /// What a look-up tells of a document: that it is there, under which id, in which version.
    ///
    /// # Errors
    /// The database's.
    pub fn reference(&mut self, grant: &UpdateGrant) -> QueryResult<DocumentSummary> {
        super::documents::summary(self.connection, grant.document_id())
    }

    /// The patient masks a document, or makes it readable again. `None`: there is no such document in his record.
    ///
    /// # Errors
    /// The database's.
    pub fn mask_for_patient(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        document_id: &str,
        masked: bool,
        now: i64,
    ) -> QueryResult<Option<()>> {
        let actions = [if masked { DocumentAction::Mask } else { DocumentAction::Unmask }];
        self.change_for_patient(record_id, document_id, &actions, now)
    }

    /// The patient archives or deletes what he deposited himself (note *).
    ///
    /// # Errors
    /// The database's.
    pub fn change_own_of_patient(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        document_id: &str,
        actions: &[DocumentAction],
        now: i64,
    ) -> QueryResult<Option<()>> {
        self.change_for_patient(record_id, document_id, actions, now)
    }

    fn change_for_patient(
        &mut self,
        record_id: &str,
        document_id: &str,
        actions: &[DocumentAction],
        now: i64,
    ) -> QueryResult<Option<()>> {
        let version: Option<i64> = document::table
            .filter(document::id.eq(document_id))
            .filter(document::record_id.eq(record_id))
            .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
            .select(document::version)
            .first(self.connection)
            .optional()?;
        let Some(version) = version else { return Ok(None) };
        change(self.connection, document_id, version, actions, now).map(Some)
    }
}

fn named(key: &DocumentKey) -> document::BoxedQuery<'_, Backend> {
    match key {
        DocumentKey::Id(id) => document::table.filter(document::id.eq(id)).into_boxed(),
        DocumentKey::UniqueId(unique_id) => {
            document::table.filter(document::unique_id.eq(unique_id)).into_boxed()
        }
    }
}

fn row(connection: &mut DatabaseConnection, id: &str, now: i64) -> QueryResult<Row> {
    type Columns = (FactsRow, i64, String, String, Option<String>, Option<i64>);
    let (facts, version, resource, binary_id, replaces_id, visible_from): Columns = document::table
        .filter(document::id.eq(id))
        .select((
            FactsRow::as_select(),
            document::version,
            document::resource,
            document::binary_id,
            document::replaces_id,
            document::visible_from,
        ))
        .first(connection)?;
    let facts = facts.at(now);
    let labels = Labels { masked: masked_by_itself(&resource), ..facts.labels };
    Ok(Row { facts, version, resource, binary_id, replaces_id, labels, visible_from })
}

/// Whether the document itself carries `MASQUE_PS`. A kept text that cannot be read counts as masked.
fn masked_by_itself(resource: &str) -> bool {
    let labels = DocumentReference::read(resource).ok().and_then(|read| read.labels().ok());
    labels.is_none_or(|labels| labels.masked)
}

pub(super) fn change(
    connection: &mut DatabaseConnection,
    id: &str,
    version: i64,
    actions: &[DocumentAction],
    now: i64,
) -> QueryResult<()> {
    let before = row(connection, id, now)?;
    if before.version != version {
        return Err(another_version());
    }
    super::versions::keep(connection, id)?;
    let labels = before.labels.after(actions);
    let (mut archived, mut status) = (before.facts.archived, before.facts.status);
    let mut visible_from = before.visible_from;
    for action in actions {
        match action {
            DocumentAction::HideFromPatient => visible_from = Some(one_month_after(now)),
            DocumentAction::ShowToPatient => visible_from = None,
            DocumentAction::Archive => archived = true,
            DocumentAction::Unarchive => archived = false,
            DocumentAction::Delete => status = DocumentStatus::EnteredInError,
            _ => {}
        }
    }
    let version = before.version + 1;
    let next = NextVersion { version, last_updated: now, status, labels, archived };
    let (text, link) = document_reference::next_version(&before.resource, &before.binary_id, &next)
        .map_err(|refusal| diesel::result::Error::SerializationError(Box::new(refusal)))?;
    let changed = diesel::update(document::table)
        .filter(document::id.eq(id))
        .filter(document::version.eq(before.version))
        .set((
            document::status.eq(status.code()),
            document::version.eq(version),
            document::masked.eq(labels.masked),
            document::invisible_to_patient.eq(labels.invisible_to_patient),
            document::invisible_to_representatives.eq(labels.invisible_to_representatives),
            document::archived.eq(archived),
            document::visible_from.eq(visible_from),
            document::updated_at.eq(now),
            document::link.eq(link.and_then(|link| i32::try_from(link).ok()).unwrap_or(-1)),
            document::resource.eq(&text),
        ))
        .execute(connection)?;
    if changed != 1 {
        return Err(another_version());
    }
    if status == DocumentStatus::EnteredInError {
        delete_older(connection, before.replaces_id, now)
    } else {
        // A version that was itself replaced stays covered by its successor.
        cover_itself(connection, id, now)?;
        cover_older(connection, id, now)
    }
}

/// Somebody else changed the document since it was looked at: the unit is tried again, and decided anew.
fn another_version() -> diesel::result::Error {
    let why = "the document is at another version than the one that was decided on".to_owned();
    diesel::result::Error::DatabaseError(DatabaseErrorKind::SerializationFailure, Box::new(why))
}

/// Versions replaced, back to the first: a chain of documents holds so many at most. Far beyond any real one.
const LONGEST_CHAIN: usize = 10_000;

/// A document is masked by its own label, or by that of the version that replaced it.
fn cover_itself(connection: &mut DatabaseConnection, id: &str, now: i64) -> QueryResult<()> {
    let covered: Option<bool> = document::table
        .filter(document::replaces_id.eq(id))
        .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
        .select(document::masked)
        .first(connection)
        .optional()?;
    if covered == Some(true) {
        set_masked(connection, id, true, now)?;
    }
    Ok(())
}

/// Whether a document is masked; where that changes, it is news to whoever follows it.
fn set_masked(connection: &mut DatabaseConnection, id: &str, masked: bool, now: i64) -> QueryResult<()> {
    diesel::update(document::table.filter(document::id.eq(id)).filter(document::masked.ne(masked)))
        .set((document::masked.eq(masked), document::updated_at.eq(now)))
        .execute(connection)?;
    Ok(())
}

/// Hands on to the versions that a document replaced whether it is masked.
pub(super) fn cover_older(connection: &mut DatabaseConnection, id: &str, now: i64) -> QueryResult<()> {
    let masked_and_older = |connection: &mut DatabaseConnection, id: &str| {
        let columns = (document::masked, document::replaces_id);
        document::table.filter(document::id.eq(id)).select(columns).first::<(bool, Option<String>)>(connection)
    };
    let (mut masked, mut older) = masked_and_older(connection, id)?;
    for _ in 0..LONGEST_CHAIN {
        let Some(id) = older else { return Ok(()) };
        let resource: String =
            document::table.filter(document::id.eq(&id)).select(document::resource).first(connection)?;
        masked = masked || masked_by_itself(&resource);
        set_masked(connection, &id, masked, now)?;
        (masked, older) = masked_and_older(connection, &id)?;
    }
    Ok(())
}

/// A deletion takes the replaced versions with it.
fn delete_older(
    connection: &mut DatabaseConnection,
    mut replaced: Option<String>,
    now: i64,
) -> QueryResult<()> {
    for _ in 0..LONGEST_CHAIN {
        let Some(id) = replaced else { return Ok(()) };
        let before = row(connection, &id, now)?;
        super::versions::keep(connection, &id)?;
        let next = NextVersion {
            version: before.version + 1,
            last_updated: now,
            status: DocumentStatus::EnteredInError,
            labels: before.labels,
            archived: before.facts.archived,
        };
        let (text, link) = document_reference::next_version(&before.resource, &before.binary_id, &next)
            .map_err(|refusal| diesel::result::Error::SerializationError(Box::new(refusal)))?;
        diesel::update(document::table.filter(document::id.eq(&id)))
            .set((
                document::status.eq(DocumentStatus::EnteredInError.code()),
                document::version.eq(before.version + 1),
                document::updated_at.eq(now),
                document::link.eq(link.and_then(|link| i32::try_from(link).ok()).unwrap_or(-1)),
                document::resource.eq(text),
            ))
            .execute(connection)?;
        replaced = before.replaces_id;
    }
    Ok(())
}
