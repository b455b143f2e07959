//! What has ended by itself, and is not noted yet.

use diesel::prelude::*;

use super::documents::FactsRow;
use super::readers::Reader;
use super::records::{Hold, RecordKey, hold_record};
use super::schema::{authorisation, document, record};
use super::unavailable;
use super::updates::change;
use super::writer::Transaction;
use crate::error::Failure;
use crate::rights::{AuthorisationEnd, DocumentAction, DocumentFacts, DocumentStatus, EndedLabel, LabelEnd};

/// A document of which a label has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndingDocument {
    /// What a decision needs.
    pub facts: DocumentFacts,
    /// The end of its announcement, microseconds.
    pub announced_until: Option<i64>,
    /// When its patient was born.
    pub birth_date: Option<jiff::civil::Date>,
}

/// An authorisation that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = authorisation)]
pub struct EndingAuthorisation {
    /// The record.
    pub record_id: String,
    /// Who held it.
    pub holder: String,
    /// The Consent.
    pub consent_id: String,
    /// Blocked, not authorised.
    pub blocked: bool,
    /// Its term, microseconds.
    pub until: i64,
    /// Declared in a secret connection.
    pub secret: bool,
}

impl Reader<'_> {
    /// Documents whose announcement is over, so many at most: their ids and their records'.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn announcements_over(
        &mut self,
        now: i64,
        (most, behind): (i64, i64),
    ) -> Result<Vec<(String, String)>, Failure> {
        document::table
            .filter(document::visible_from.le(now))
            .filter(document::invisible_to_patient.eq(true))
            .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
            .order((document::visible_from.asc(), document::id.asc()))
            .limit(most)
            .offset(behind)
            .select((document::id, document::record_id))
            .load(self.connection)
            .map_err(unavailable)
    }

    /// Documents hidden from representatives, of patients born on a day or before it.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn hidden_of_adults(
        &mut self,
        born: &str,
        (most, behind): (i64, i64),
    ) -> Result<Vec<(String, String)>, Failure> {
        document::table
            .inner_join(record::table.on(record::id.eq(document::record_id)))
            // As it stands in the index, which SQLite uses for nothing else.
            .filter(document::invisible_to_representatives)
            .filter(document::status.ne(DocumentStatus::EnteredInError.code()))
            .filter(record::birth_date.ne(""))
            .filter(record::birth_date.le(born))
            .order((document::record_id.asc(), document::id.asc()))
            .limit(most)
            .offset(behind)
            .select((document::id, document::record_id))
            .load(self.connection)
            .map_err(unavailable)
    }

    /// Authorisations whose term is over.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn authorisations_over(
        &mut self,
        now: i64,
        (most, behind): (i64, i64),
    ) -> Result<Vec<EndingAuthorisation>, Failure> {
        authorisation::table
            .filter(authorisation::ended_at.is_null())
            .filter(authorisation::until.le(now))
            .filter(authorisation::blocked.eq(false))
            .order((authorisation::until.asc(), authorisation::record_id.asc(), authorisation::holder.asc()))
            .limit(most)
            .offset(behind)
            .select(EndingAuthorisation::as_select())
            .load(self.connection)
            .map_err(unavailable)
    }
}

impl Transaction<'_> {
    /// A document of a record, held alone, as it stands towards the end of its labels.
    ///
    /// # Errors
    /// The database's.
    pub fn ending_document(
        &mut self,
        record_id: &str,
        document_id: &str,
        now: i64,
    ) -> QueryResult<Option<EndingDocument>> {
        hold_record(self.connection, &RecordKey::Id(record_id.to_owned()), Hold::Alone)?;
        let row: Option<(FactsRow, bool, Option<i64>, String)> = document::table
            .inner_join(record::table.on(record::id.eq(document::record_id)))
            .filter(document::id.eq(document_id))
            .filter(document::record_id.eq(record_id))
            .select((
                FactsRow::as_select(),
                document::invisible_to_patient,
                document::visible_from,
                record::birth_date,
            ))
            .first(self.connection)
            .optional()?;
        Ok(row.map(|(facts, announced, until, born)| EndingDocument {
            facts: facts.at(now),
            announced_until: until.filter(|_| announced),
            birth_date: born.parse().ok(),
        }))
    }

    /// Takes from a document the label that has ended: a version of its own, as if somebody had done it.
    ///
    /// # Errors
    /// The database's; another version than the one that was decided on is a reason to try again.
    pub fn end_label(&mut self, end: &LabelEnd, now: i64) -> QueryResult<()> {
        let (id, version) = end.document();
        let action = match end.label() {
            EndedLabel::FromPatient => DocumentAction::ShowToPatient,
            EndedLabel::FromRepresentatives => DocumentAction::ShowToRepresentatives,
        };
        change(self.connection, id, version, &[action], now)
    }

    /// An authorisation that has ended and is not noted yet, held with its record.
    ///
    /// # Errors
    /// The database's.
    pub fn ending_authorisation(
        &mut self,
        record_id: &str,
        holder: &str,
    ) -> QueryResult<Option<EndingAuthorisation>> {
        hold_record(self.connection, &RecordKey::Id(record_id.to_owned()), Hold::Alone)?;
        authorisation::table
            .find((record_id, holder))
            .filter(authorisation::ended_at.is_null())
            .select(EndingAuthorisation::as_select())
            .first(self.connection)
            .optional()
    }

    /// Notes that an authorisation has ended.
    ///
    /// # Errors
    /// The database's.
    pub fn note_authorisation_end(
        &mut self,
        end: &AuthorisationEnd,
        ending: &EndingAuthorisation,
        now: i64,
    ) -> QueryResult<()> {
        diesel::update(authorisation::table.find((&ending.record_id, &ending.holder)))
            .filter(authorisation::consent_id.eq(end.consent_id()))
            .set(authorisation::ended_at.eq(now))
            .execute(self.connection)?;
        Ok(())
    }
}
