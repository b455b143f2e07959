//! The life of a document after its feed: labels, archive, deletion, for professionals and for the patient.

use diesel::prelude::*;

use super::documents::{FactsRow, KeptDocument};
use super::engine::DatabaseConnection;
use super::schema::document;
use super::writer::Transaction;
use crate::fhir::document_reference::{self, DocumentReference, NextVersion};
use crate::rights::{DocumentAction, DocumentFacts, DocumentStatus, Labels, PatientSideGrant, UpdateGrant};

/// What a document looks like after a change.
#[derive(Clone, Debug)]
pub struct UpdatedDocument {
    /// `meta.versionId`.
    pub version: i64,
    /// The DocumentReference, and where its link begins.
    pub resource: String,
    /// See [`crate::fhir::bundle::SearchEntry::link`].
    pub link: Option<usize>,
}

struct Row {
    facts: DocumentFacts,
    version: i64,
    resource: String,
    binary_id: String,
    replaces_id: Option<String>,
    /// The labels of the document itself: `facts` has those that count.
    labels: Labels,
}

impl Transaction<'_> {
    /// A document by its id, inside the transaction: what was decided on is looked at again where it is committed.
    ///
    /// # Errors
    /// The database's.
    pub fn document(&mut self, id: &str, now: i64) -> QueryResult<Option<KeptDocument>> {
        super::documents::kept(self.connection, document::table.filter(document::id.eq(id)).into_boxed(), now)
    }

    /// As [`Transaction::document`], by its unique id.
    ///
    /// # Errors
    /// The database's.
    pub fn document_of_unique_id(&mut self, unique_id: &str, now: i64) -> QueryResult<Option<KeptDocument>> {
        let query = document::table.filter(document::unique_id.eq(unique_id)).into_boxed();
        super::documents::kept(self.connection, query, now)
    }

    /// Changes a document as the grant says. A deletion takes the versions that it replaced with it.
    ///
    /// # Errors
    /// The database's.
    pub fn update(&mut self, grant: &UpdateGrant, now: i64) -> QueryResult<UpdatedDocument> {
        change(self.connection, grant.document_id(), grant.actions(), now)
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
    ) -> QueryResult<Option<UpdatedDocument>> {
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
    ) -> QueryResult<Option<UpdatedDocument>> {
        self.change_for_patient(record_id, document_id, actions, now)
    }

    fn change_for_patient(
        &mut self,
        record_id: &str,
        document_id: &str,
        actions: &[DocumentAction],
        now: i64,
    ) -> QueryResult<Option<UpdatedDocument>> {
        let found: i64 = document::table
            .filter(document::id.eq(document_id))
            .filter(document::record_id.eq(record_id))
            .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
            .count()
            .get_result(self.connection)?;
        if found == 0 {
            return Ok(None);
        }
        change(self.connection, document_id, actions, now).map(Some)
    }
}

fn row(connection: &mut DatabaseConnection, id: &str, now: i64) -> QueryResult<Row> {
    type Columns = (FactsRow, i64, String, String, Option<String>);
    let (facts, version, resource, binary_id, replaces_id): Columns = document::table
        .filter(document::id.eq(id))
        .select((
            FactsRow::as_select(),
            document::version,
            document::resource,
            document::binary_id,
            document::replaces_id,
        ))
        .first(connection)?;
    let facts = facts.at(now);
    let labels = Labels { masked: masked_by_itself(&resource), ..facts.labels };
    Ok(Row { facts, version, resource, binary_id, replaces_id, labels })
}

/// Whether the document itself carries `MASQUE_PS`. A kept text that cannot be read counts as masked.
fn masked_by_itself(resource: &str) -> bool {
    let labels = DocumentReference::read(resource).ok().and_then(|read| read.labels().ok());
    labels.is_none_or(|labels| labels.masked)
}

fn change(
    connection: &mut DatabaseConnection,
    id: &str,
    actions: &[DocumentAction],
    now: i64,
) -> QueryResult<UpdatedDocument> {
    let before = row(connection, id, now)?;
    let mut labels = before.labels;
    let (mut archived, mut status) = (before.facts.archived, before.facts.status);
    for action in actions {
        match action {
            DocumentAction::Mask => labels.masked = true,
            DocumentAction::Unmask => labels.masked = false,
            DocumentAction::ShowToPatient => labels.invisible_to_patient = false,
            DocumentAction::ShowToRepresentatives => labels.invisible_to_representatives = false,
            // With the parameter that lifts the one-way rule, what is hidden again is hidden from the patient.
            DocumentAction::HideAgain => labels.invisible_to_patient = true,
            DocumentAction::Archive => archived = true,
            DocumentAction::Unarchive => archived = false,
            DocumentAction::Delete => status = DocumentStatus::EnteredInError,
        }
    }
    let version = before.version + 1;
    let next = NextVersion { version, last_updated: now, status, labels, archived };
    let (text, link) = document_reference::next_version(&before.resource, &before.binary_id, &next)
        .map_err(|refusal| diesel::result::Error::SerializationError(Box::new(refusal)))?;
    diesel::update(document::table.filter(document::id.eq(id)).filter(document::version.eq(before.version)))
        .set((
            document::status.eq(status.code()),
            document::version.eq(version),
            document::masked.eq(labels.masked),
            document::invisible_to_patient.eq(labels.invisible_to_patient),
            document::invisible_to_representatives.eq(labels.invisible_to_representatives),
            document::archived.eq(archived),
            document::updated_at.eq(now),
            document::link.eq(link.and_then(|link| i32::try_from(link).ok()).unwrap_or(-1)),
            document::resource.eq(&text),
        ))
        .execute(connection)?;
    if status == DocumentStatus::EnteredInError {
        delete_older(connection, before.replaces_id, now)?;
    } else {
        // A version that was itself replaced stays covered by its successor.
        cover_itself(connection, id)?;
        cover_older(connection, id)?;
    }
    Ok(UpdatedDocument { version, resource: text, link })
}

/// Versions replaced, back to the first: a chain of documents holds so many at most. Far beyond any real one.
const LONGEST_CHAIN: usize = 10_000;

/// A document is masked by its own label, or by that of the version that replaced it.
fn cover_itself(connection: &mut DatabaseConnection, id: &str) -> QueryResult<()> {
    let covered: Option<bool> = document::table
        .filter(document::replaces_id.eq(id))
        .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
        .select(document::masked)
        .first(connection)
        .optional()?;
    if covered == Some(true) {
        diesel::update(document::table.filter(document::id.eq(id)))
            .set(document::masked.eq(true))
            .execute(connection)?;
    }
    Ok(())
}

/// Hands on to the versions that a document replaced whether it is masked.
pub(super) fn cover_older(connection: &mut DatabaseConnection, id: &str) -> QueryResult<()> {
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
        diesel::update(document::table.filter(document::id.eq(&id)))
            .set(document::masked.eq(masked))
            .execute(connection)?;
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
