//! What the vaccination notes of a record say, and the history that the server makes of them: in the commit of the note, bytes and all.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use diesel::prelude::*;

use super::bodies::BodyStore;
use super::documents::FactsRow;
use super::engine::DatabaseConnection;
use super::keys::{in_database, made_or_kept, sealing};
use super::records::{RecordKey, whole_record};
use super::schema::{document, vaccination};
use super::small_bodies;
use super::submissions::{NewSubmission, insert_set, supersede};
use super::terms::insert_terms;
use super::updates::{change, cover_older};
use super::writer::Transaction;
use crate::error::Failure;
use crate::fhir::patient::RecordSummary;
use crate::rights::{DocumentAction, DocumentStatus, HistoryGrant, Labels, VACCINATION_HISTORY};
use crate::sealing::{Opener, SealingError, SealingKey, Segments, Vault, seal};

/// Who feeds what the server itself makes, in place of a professional's identifier.
pub const SERVER: &str = "DMP";

/// What a vaccination note says.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = vaccination, treat_none_as_default_value = false)]
pub struct NewVaccination {
    /// The note.
    pub document_id: String,
    /// The record.
    pub record_id: String,
    /// CIS code of the vaccine; empty where it is not known.
    pub vaccine: String,
    /// YYYYMMDD; empty where it is not known.
    pub day: String,
    /// All of it, as JSON; sealed where it is kept ([`NewVaccination::sealed`]).
    pub facts: String,
}

impl NewVaccination {
    /// As it is kept: what the note says is sealed as the note is.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn sealed(mut self, key: &SealingKey) -> Result<Self, Failure> {
        let sealed = seal(key, &facts_name(&self.document_id), self.facts.as_bytes()).map_err(sealing)?;
        self.facts = BASE64.encode(sealed);
        Ok(self)
    }
}

fn facts_name(document_id: &str) -> String {
    format!("vaccination/{document_id}")
}

/// What a note says; kept as it is where the note itself was fed before there were keys.
fn opened(key: &SealingKey, document_id: &str, body_key: &str, facts: String) -> QueryResult<String> {
    if facts.starts_with('{') && !BodyStore::is_sealed(body_key) {
        return Ok(facts);
    }
    let altered = || in_database(SealingError::NotOpened("what a vaccination note says"));
    let sealed = BASE64.decode(facts).map_err(|_| altered())?;
    let size = Segments::plain_of(sealed.len() as u64).ok_or_else(altered)?;
    let opened = Opener::open_all(key, &facts_name(document_id), sealed, size).map_err(in_database)?;
    String::from_utf8(opened).map_err(|_| altered())
}

/// What a history is made of.
#[derive(Clone, Debug)]
pub struct KeptVaccinations {
    /// The patient.
    pub patient: RecordSummary,
    /// What the current notes say, the oldest vaccination first; why not, where one of them cannot be opened.
    pub facts: Result<Vec<String>, String>,
    /// The history as it stands.
    pub current: Option<HistoryVersion>,
    /// How many histories there were, this one included.
    pub versions: usize,
    /// What was hidden of the last one, whatever became of it.
    hidden: (Labels, Option<i64>),
}

/// What is told instead where bytes are not right any more. That a key is missing here, or the database away, is nobody's fault but this server's: it is
/// an error, and nothing that is known ends by it.
fn opened_all(
    connection: &mut DatabaseConnection,
    grant: &HistoryGrant,
    vault: &Vault,
    facts: Vec<(String, String, String)>,
) -> QueryResult<Result<Vec<String>, String>> {
    let kept = made_or_kept(connection, vault, grant.record_id())?;
    let key = match vault.open(grant.record_id(), &kept) {
        Ok(key) => key,
        Err(error @ SealingError::NotOpened(_)) => return Ok(Err(error.to_string())),
        Err(error) => return Err(in_database(error)),
    };
    let open = |(document_id, body_key, facts): (String, String, String)| {
        opened(&key, &document_id, &body_key, facts).map_err(|error| format!("the note {document_id}: {error}"))
    };
    Ok(facts.into_iter().map(open).collect())
}

/// A history that the server made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryVersion {
    /// `DocumentReference.id`.
    pub id: String,
    /// `masterIdentifier`.
    pub unique_id: String,
    /// Of what it was made: digests, with spaces between.
    pub made_of: String,
    version: i64,
}

/// Keeps what a note says; `false` where a current note of the record has the same vaccine on the same day (DMPFragmentCVAError).
pub(super) fn keep(
    connection: &mut DatabaseConnection,
    record_id: &str,
    new: &NewVaccination,
) -> QueryResult<bool> {
    if !new.vaccine.is_empty() && !new.day.is_empty() {
        let same = vaccination::table
            .inner_join(document::table.on(document::id.eq(vaccination::document_id)))
            .filter(vaccination::record_id.eq(record_id))
            .filter(vaccination::vaccine.eq(&new.vaccine))
            .filter(vaccination::day.eq(&new.day))
            .filter(document::status.eq(DocumentStatus::Current.code()))
            .count()
            .get_result::<i64>(connection)?;
        if same > 0 {
            return Ok(false);
        }
    }
    diesel::insert_into(vaccination::table).values(new).execute(connection)?;
    Ok(true)
}

impl Transaction<'_> {
    /// What the history of a record is made of; `None`: the record never had a note that says a vaccination.
    ///
    /// # Errors
    /// The database's.
    pub fn vaccinations(
        &mut self,
        grant: &HistoryGrant,
        vault: &Vault,
        now: i64,
    ) -> QueryResult<Option<KeptVaccinations>> {
        let of_record = vaccination::table.filter(vaccination::record_id.eq(grant.record_id()));
        if of_record.count().get_result::<i64>(self.connection)? == 0 {
            return Ok(None);
        }
        let facts: Vec<(String, String, String)> = of_record
            .inner_join(document::table.on(document::id.eq(vaccination::document_id)))
            .filter(document::status.eq(DocumentStatus::Current.code()))
            // A note is N and nothing else; what is hidden all the same is in no history.
            .filter(document::masked.eq(false))
            .filter(document::invisible_to_patient.eq(false))
            .filter(document::invisible_to_representatives.eq(false))
            .order((vaccination::day.asc(), vaccination::document_id.asc()))
            .select((vaccination::document_id, document::body_key, vaccination::facts))
            .load(self.connection)?;
        let facts = opened_all(self.connection, grant, vault, facts)?;
        let key = RecordKey::Id(grant.record_id().to_owned());
        let patient = whole_record(self.connection, &key)?.ok_or(diesel::result::Error::NotFound)?;
        let made = document::table
            .filter(document::record_id.eq(grant.record_id()))
            .filter(document::type_code.eq(VACCINATION_HISTORY))
            .filter(document::author_id.eq(SERVER));
        let versions = made.count().get_result::<i64>(self.connection)?;
        let current: Option<(String, String, String, i64)> = made
            .filter(document::status.eq(DocumentStatus::Current.code()))
            .select((document::id, document::unique_id, document::fed_as, document::version))
            .first(self.connection)
            .optional()?;
        let last: Option<(FactsRow, Option<i64>)> = made
            .order((document::created_at.desc(), document::version.desc()))
            .select((FactsRow::as_select(), document::visible_from))
            .first(self.connection)
            .optional()?;
        let hidden = last
            .map_or((Labels::default(), None), |(facts, visible_from)| (facts.at(now).labels, visible_from));
        let current =
            current.map(|(id, unique_id, made_of, version)| HistoryVersion { id, unique_id, made_of, version });
        let versions = usize::try_from(versions).unwrap_or_default();
        Ok(Some(KeptVaccinations { patient, facts, current, versions, hidden }))
    }

    /// Puts a history in the place of the one that stands, if any: what somebody hid of the last one stays hidden.
    ///
    /// # Errors
    /// The database's; a text that cannot be read, which would be a fault of ours.
    pub fn renew_history(
        &mut self,
        grant: &HistoryGrant,
        mut submission: NewSubmission,
        bytes: &[u8],
        key: &SealingKey,
        kept: &KeptVaccinations,
        replaced: Option<&HistoryVersion>,
    ) -> QueryResult<()> {
        let now = submission.created_at;
        insert_set(self.connection, &submission, grant.record_id(), SERVER)?;
        for new in &mut submission.documents {
            debug_assert_eq!(grant.record_id(), new.record_id);
            let (labels, visible_from) = kept.hidden;
            new.keep_labels(labels, visible_from)
                .map_err(|failure| diesel::result::Error::SerializationError(Box::new(failure)))?;
            new.replaces_id = replaced.map(|replaced| replaced.id.clone());
            if let Some(replaced) = replaced {
                supersede(self.connection, &replaced.id, replaced.version, now)?;
            }
            diesel::insert_into(document::table).values(&*new).execute(self.connection)?;
            cover_older(self.connection, &new.id, now)?;
            let named = (grant.record_id(), new.binary_id.as_str(), new.body_key.as_str());
            small_bodies::keep_made(self.connection, named, bytes, key)?;
        }
        insert_terms(self.connection, &submission.terms)
    }

    /// Takes a history away, and those that it replaced: no note is left that it could tell of, or they tell of one that is not there any more.
    ///
    /// # Errors
    /// The database's.
    pub fn end_history(&mut self, _: &HistoryGrant, current: &HistoryVersion, now: i64) -> QueryResult<()> {
        change(self.connection, &current.id, current.version, &[DocumentAction::Delete], now)
    }
}
