//! Submissions: what a feed keeps, whole or not at all, and what was fed before.

use diesel::prelude::*;

use super::criteria::NewTerm;
use super::engine::DatabaseConnection;
use super::folders::FolderChange;
use super::readers::Reader;
use super::schema::{document, submission_set};
use super::small_bodies::{self, SmallBody};
use super::terms::insert_terms;
use super::unavailable;
use super::updates::cover_older;
use super::vaccinations::{self, NewVaccination};
use super::writer::Transaction;
use crate::error::Failure;
use crate::fhir::document_reference;
use crate::rights::{DocumentStatus, FeedGrant, Labels, ReplaceGrant, one_month_after};

/// A document to be kept. Its body is in the body store already, or comes with it.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = document, treat_none_as_default_value = false)]
pub struct NewDocument {
    /// The record.
    pub record_id: String,
    /// `DocumentReference.date`, microseconds.
    pub date: i64,
    /// `DocumentReference.id`.
    pub id: String,
    /// `masterIdentifier`.
    pub unique_id: String,
    /// `Binary.id`.
    pub binary_id: String,
    /// `List.id`.
    pub submission_set_id: String,
    /// Its place among the documents of the submission.
    pub position: i32,
    /// 1.
    pub version: i64,
    /// `current`.
    pub status: &'static str,
    /// JDV_J66.
    pub type_code: String,
    /// JDV_J57.
    pub class_code: String,
    /// JDV_J60.
    pub format_code: String,
    /// JDV_J61.
    pub facility_code: String,
    /// JDV_J62.
    pub setting_code: String,
    /// `attachment.creation`, microseconds.
    pub creation: i64,
    /// `MASQUE_PS`.
    pub masked: bool,
    /// `INVISIBLE_PATIENT`.
    pub invisible_to_patient: bool,
    /// `INVISIBLE_REPRESENTANTS_LEGAUX`.
    pub invisible_to_representatives: bool,
    /// Archived.
    pub archived: bool,
    /// PS_IdNat of who fed it.
    pub author_id: String,
    /// Struct_IdNat for which it was fed.
    pub author_structure: Option<String>,
    /// Microseconds.
    pub created_at: i64,
    /// Digest of the body, hexadecimal.
    pub sha256: String,
    /// Bytes.
    pub size: i64,
    /// Media type.
    pub content_type: String,
    /// Where the body lies.
    pub body_key: String,
    /// What of the first feed must be the same for its answer to be given again, beside the bytes: a digest of
    /// what rights and searches go by and of what else the feed did.
    pub fed_as: String,
    /// Where the attachment's link begins in the text.
    pub link: i32,
    /// The DocumentReference as text.
    pub resource: String,
    /// When `INVISIBLE_PATIENT` ends, microseconds.
    pub visible_from: Option<i64>,
    /// The document that it replaces.
    pub replaces_id: Option<String>,
    /// Microseconds.
    pub updated_at: i64,
    /// Where `attachment.creation` ends, exclusive: a date without a time is a day.
    pub creation_end: i64,
    /// `context.period`, microseconds; the end is exclusive.
    pub period_start: Option<i64>,
    /// See `period_start`.
    pub period_end: Option<i64>,
}

/// A submission to be kept, whole or not at all.
#[derive(Clone, Debug)]
pub struct NewSubmission {
    /// `List.id`.
    pub id: String,
    /// The List as text.
    pub resource: String,
    /// Microseconds.
    pub created_at: i64,
    /// `List.date`, microseconds.
    pub date: i64,
    /// Documents, in the order received.
    pub documents: Vec<NewDocument>,
    /// What it does with folders.
    pub folders: Vec<FolderChange>,
    /// What the Lists and the documents are found by.
    pub terms: Vec<NewTerm>,
    /// What the vaccination notes among the documents say.
    pub vaccinations: Vec<NewVaccination>,
    /// Sealed, those of the bodies that lie in the database.
    pub bodies: Vec<SmallBody>,
}

/// A document that was fed before.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = document)]
pub struct FedDocument {
    /// The record.
    pub record_id: String,
    /// `masterIdentifier`.
    pub unique_id: String,
    /// `DocumentReference.id`.
    pub id: String,
    /// `Binary.id`.
    pub binary_id: String,
    /// `List.id`.
    pub submission_set_id: String,
    /// Digest of the body.
    pub sha256: String,
    /// Who fed it.
    pub author_id: String,
    /// Microseconds.
    pub created_at: i64,
    /// See [`NewDocument::fed_as`].
    pub fed_as: String,
    /// Where the link begins in the text.
    pub link: i32,
    /// The DocumentReference as text.
    pub resource: String,
    /// `meta.versionId`.
    pub version: i64,
    /// `current`, `superseded`, `entered-in-error`.
    pub status: String,
}

/// What a submission came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// Kept.
    Stored,
    /// All of it was fed before, byte for byte: the first answer stands.
    Replayed(Vec<FedDocument>),
    /// A unique id belongs to other bytes, another record, or a part of another submission.
    UniqueIdTaken(String),
    /// The document to be replaced has been replaced meanwhile.
    ReplacedMeanwhile(String),
    /// The document of this id is a note of a vaccination of which the record has a note already.
    VaccinationKnown(String),
}

impl Reader<'_> {
    /// Documents that were fed under any of these unique ids.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn fed_before(&mut self, unique_ids: &[&str]) -> Result<Vec<FedDocument>, Failure> {
        fed_before(self.connection, unique_ids).map_err(unavailable)
    }
}

fn fed_before(connection: &mut DatabaseConnection, unique_ids: &[&str]) -> QueryResult<Vec<FedDocument>> {
    let mut fed = Vec::new();
    for unique_id in unique_ids {
        let found: Option<FedDocument> = document::table
            .filter(document::unique_id.eq(unique_id))
            .select(FedDocument::as_select())
            .first(connection)
            .optional()?;
        fed.extend(found);
    }
    Ok(fed)
}

impl NewDocument {
    /// Its labels, those that it took over included.
    pub fn labels(&self) -> Labels {
        Labels {
            masked: self.masked,
            invisible_to_patient: self.invisible_to_patient,
            invisible_to_representatives: self.invisible_to_representatives,
        }
    }

    /// Takes over what stays of the document that it replaces: the labels that the grant keeps, and the end of its announcement
    /// (R1111-53: one month after the deposit, which a replacement does not begin anew).
    ///
    /// # Errors
    /// The text cannot be read, which would be a fault of ours.
    pub fn take_over(&mut self, grant: &ReplaceGrant, announced_until: Option<i64>) -> Result<(), Failure> {
        self.replaces_id = Some(grant.document_id().to_owned());
        self.keep_labels(*grant.keeps(), announced_until)
    }

    /// Takes over labels, and the end of an announcement.
    ///
    /// # Errors
    /// As [`NewDocument::take_over`].
    pub(super) fn keep_labels(&mut self, keeps: Labels, announced_until: Option<i64>) -> Result<(), Failure> {
        if keeps != Labels::default() {
            let labelled = document_reference::labelled(&self.resource, &self.binary_id, keeps);
            let (text, link) = labelled.map_err(Failure::internal)?;
            self.resource = text;
            self.link = link.and_then(|link| i32::try_from(link).ok()).unwrap_or(-1);
            let labels = self.labels().and(keeps);
            self.masked = labels.masked;
            self.invisible_to_patient = labels.invisible_to_patient;
            self.invisible_to_representatives = labels.invisible_to_representatives;
        }
        if self.invisible_to_patient {
            let mine = self.visible_from.unwrap_or_else(|| one_month_after(self.created_at));
            // An announcement that was over already is not the older one going on.
            let older = announced_until.filter(|until| *until > self.created_at);
            self.visible_from = Some(older.map_or(mine, |older| mine.min(older)));
        }
        Ok(())
    }
}

impl NewSubmission {
    /// Whether what was fed before under these unique ids is this same submission: then its first answer stands.
    pub fn compare(&self, fed: Vec<FedDocument>) -> Option<Submitted> {
        let first = fed.first()?.clone();
        // What was deleted since is not there to be fed again: nothing would be stored, and a 201 would say that it is.
        let stands = fed.iter().all(|old| old.status != DocumentStatus::EnteredInError.code());
        let same = stands
            && fed.len() == self.documents.len()
            && self.documents.iter().zip(&fed).all(|(new, old)| {
                new.unique_id == old.unique_id
                    && new.sha256 == old.sha256
                    && new.record_id == old.record_id
                    && new.author_id == old.author_id
                    && new.fed_as == old.fed_as
                    && old.submission_set_id == first.submission_set_id
            });
        Some(if same { Submitted::Replayed(fed) } else { Submitted::UniqueIdTaken(first.unique_id) })
    }
}

impl Transaction<'_> {
    /// Keeps a submission, whole. What it replaces becomes superseded in the same commit.
    ///
    /// # Errors
    /// The database's.
    pub fn submit(
        &mut self,
        grant: &FeedGrant,
        replaced: &[ReplaceGrant],
        submission: &NewSubmission,
    ) -> QueryResult<Submitted> {
        let unique_ids: Vec<&str> = submission.documents.iter().map(|new| new.unique_id.as_str()).collect();
        if let Some(known) = submission.compare(fed_before(self.connection, &unique_ids)?) {
            return Ok(known);
        }
        for replaced in replaced {
            let (id, version) = (replaced.document_id(), *replaced.version());
            if !supersede(self.connection, id, version, submission.created_at)? {
                return Ok(Submitted::ReplacedMeanwhile(replaced.document_id().to_owned()));
            }
        }
        insert_set(self.connection, submission, grant.record_id(), grant.author_id())?;
        for new in &submission.documents {
            debug_assert_eq!(grant.record_id(), new.record_id);
            diesel::insert_into(document::table).values(new).execute(self.connection)?;
            if new.replaces_id.is_some() {
                // Masking the current version covers those that it replaced.
                cover_older(self.connection, &new.id, submission.created_at)?;
            }
        }
        for body in &submission.bodies {
            small_bodies::keep(self.connection, body)?;
        }
        for new in &submission.vaccinations {
            if !vaccinations::keep(self.connection, grant.record_id(), new)? {
                return Ok(Submitted::VaccinationKnown(new.document_id.clone()));
            }
        }
        super::folders::keep(self.connection, grant, &submission.folders, submission.created_at)?;
        insert_terms(self.connection, &submission.terms)?;
        Ok(Submitted::Stored)
    }
}

/// The row of the submission itself.
pub(super) fn insert_set(
    connection: &mut DatabaseConnection,
    submission: &NewSubmission,
    record_id: &str,
    author_id: &str,
) -> QueryResult<()> {
    diesel::insert_into(submission_set::table)
        .values((
            submission_set::id.eq(&submission.id),
            submission_set::record_id.eq(record_id),
            submission_set::author_id.eq(author_id),
            submission_set::created_at.eq(submission.created_at),
            submission_set::resource.eq(&submission.resource),
            submission_set::date.eq(submission.date),
        ))
        .execute(connection)?;
    Ok(())
}

/// Makes a document superseded; `false` where it is not the current one of this version any more: whatever of it changed since the
/// decision would have to be decided anew.
pub(super) fn supersede(
    connection: &mut DatabaseConnection,
    id: &str,
    version: i64,
    now: i64,
) -> QueryResult<bool> {
    let current = document::table
        .filter(document::id.eq(id))
        .filter(document::version.eq(version))
        .filter(document::status.eq(DocumentStatus::Current.code()));
    let held: Option<(String, String)> =
        current.select((document::resource, document::binary_id)).first(connection).optional()?;
    let Some((resource, binary_id)) = held else { return Ok(false) };
    super::versions::keep(connection, id)?;
    let text = document_reference::superseded(&resource, version + 1, now)
        .map_err(|refusal| diesel::result::Error::SerializationError(Box::new(refusal)))?;
    let link = document_reference::link_position(&text, &binary_id)
        .and_then(|position| i32::try_from(position).ok())
        .unwrap_or(-1);
    let changed = diesel::update(document::table)
        .filter(document::id.eq(id))
        .filter(document::version.eq(version))
        .set((
            document::status.eq(DocumentStatus::Superseded.code()),
            document::version.eq(version + 1),
            document::link.eq(link),
            document::resource.eq(text),
            document::updated_at.eq(now),
        ))
        .execute(connection)?;
    Ok(changed == 1)
}
