//! Patients: found without INS, and what they decide about their own record.

use diesel::prelude::*;

use super::criteria::beginning;
use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::records::{RecordKey, whole_record};
use super::schema::{authorisation, record, trace};
use super::unavailable;
use super::writer::Transaction;
use crate::error::Failure;
use crate::fhir::patient::RecordSummary;
use crate::rights::{ClosureGrant, IdentitySearchGrant, PatientSideGrant};

/// What TD0.5 asks for. Each that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct IdentityCriteria {
    /// The birth name as it is compared, whole.
    pub family_exact: Option<String>,
    /// How the birth name begins.
    pub family_prefix: Option<String>,
    /// ISO date.
    pub birth_date: Option<String>,
    /// `male`, `female`, `unknown`.
    pub gender: Option<String>,
}

/// The switches that a patient sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    /// R1111-47.
    pub opposed_to_feeding: Option<bool>,
    /// L1111-17 I.
    pub opposed_to_bris_de_glace: Option<bool>,
    /// L1111-17 I.
    pub opposed_to_centre_15: Option<bool>,
    /// Opt-in.
    pub masked_open_in_emergencies: Option<bool>,
    /// Every document is masked, those to come included.
    pub all_masked: Option<bool>,
}

/// A record's state, to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewState {
    /// Open, or open again.
    Open,
    /// Closed.
    Closed {
        /// Code.
        reason: String,
    },
}

/// A line of the history of accesses, as the patient's side reads it.
#[derive(Clone, Debug, Queryable, Selectable)]
#[diesel(table_name = trace)]
pub struct AccessLine {
    /// Its place: where the next page begins.
    pub sequence: i64,
    /// Microseconds.
    pub at: i64,
    /// Name of the operation.
    pub operation: String,
    /// `CPS`, `CPE` …
    pub caller_kind: String,
    /// PS_IdNat or Struct_IdNat.
    pub caller_id: String,
    /// Struct_IdNat.
    pub caller_structure: Option<String>,
    /// `normal`, `bris_de_glace`, `centre_15`.
    pub mode: String,
    /// Why the record was opened in an emergency.
    pub motif: Option<String>,
    /// `granted`, `refused`, `hidden`.
    pub outcome: String,
    /// Documents concerned.
    pub objects: String,
}

impl Reader<'_> {
    /// TD0.5: open records of patients who neither opposed regulation nor blocked the caller; one more than the limit where
    /// there are more.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn find_patients(
        &mut self,
        grant: &IdentitySearchGrant,
        criteria: &IdentityCriteria,
    ) -> Result<Vec<RecordSummary>, Failure> {
        let blocked = authorisation::table
            .filter(authorisation::record_id.eq(record::id))
            .filter(authorisation::holder.eq_any(grant.holders()))
            .filter(authorisation::blocked.eq(true));
        let mut query = record::table
            .filter(record::open.eq(true))
            .filter(record::erased_at.is_null())
            .filter(record::opposed_to_centre_15.eq(false))
            .filter(diesel::dsl::not(diesel::dsl::exists(blocked)))
            .into_boxed();
        if let Some(family) = &criteria.family_exact {
            query = query.filter(record::family_key.eq(family));
        }
        if let Some(prefix) = &criteria.family_prefix {
            query = query.filter(record::family_key.like(beginning(prefix)).escape('\\'));
        }
        if let Some(birth_date) = &criteria.birth_date {
            query = query.filter(record::birth_date.eq(birth_date));
        }
        if let Some(gender) = &criteria.gender {
            query = query.filter(record::gender.eq(gender));
        }
        let ids: Vec<String> = query
            .order(record::id)
            .limit(i64::from(*grant.limit()) + 1)
            .select(record::id)
            .load(self.connection)
            .map_err(unavailable)?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(whole_record(self.connection, &RecordKey::Id(id)).map_err(unavailable)?);
        }
        Ok(found)
    }

    /// The last accesses to a record before one of them, newest first; for representatives without those of secret connections (R1111-50).
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn accesses(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        for_representative: bool,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AccessLine>, Failure> {
        let mut query = trace::table.filter(trace::record_id.eq(record_id)).into_boxed();
        if for_representative {
            query = query.filter(trace::secret.eq(false));
        }
        if let Some(before) = before {
            query = query.filter(trace::sequence.lt(before));
        }
        query
            .order(trace::sequence.desc())
            .limit(limit)
            .select(AccessLine::as_select())
            .load(self.connection)
            .map_err(unavailable)
    }
}

impl Transaction<'_> {
    /// Our record, whole, inside the transaction.
    ///
    /// # Errors
    /// The database's.
    pub fn whole_record(
        &mut self,
        _: &PatientSideGrant,
        key: &RecordKey,
    ) -> QueryResult<Option<RecordSummary>> {
        whole_record(self.connection, key)
    }

    /// The next version of a record, if it stands at this one: whoever changes it holds it from here on.
    ///
    /// # Errors
    /// The database's.
    pub fn next_version(&mut self, _: &PatientSideGrant, record_id: &str, version: i64) -> QueryResult<bool> {
        let changed = diesel::update(record::table)
            .filter(record::id.eq(record_id))
            .filter(record::version.eq(version))
            .filter(record::erased_at.is_null())
            .set(record::version.eq(version + 1))
            .execute(self.connection)?;
        Ok(changed == 1)
    }

    /// Sets what the patient decided.
    ///
    /// # Errors
    /// The database's.
    pub fn set_switches(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        switches: Switches,
    ) -> QueryResult<()> {
        let connection = &mut *self.connection;
        macro_rules! set {
            ($($column:ident),+) => {$(
                if let Some(value) = switches.$column {
                    diesel::update(record::table)
                        .filter(record::id.eq(record_id))
                        .set(record::$column.eq(value))
                        .execute(connection)?;
                }
            )+};
        }
        set!(
            opposed_to_feeding,
            opposed_to_bris_de_glace,
            opposed_to_centre_15,
            masked_open_in_emergencies,
            all_masked
        );
        Ok(())
    }

    /// Keeps what the patient wants to be told.
    ///
    /// # Errors
    /// The database's.
    pub fn set_notifications(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        preferences: &str,
    ) -> QueryResult<()> {
        diesel::update(record::table)
            .filter(record::id.eq(record_id))
            .set(record::notifications.eq(preferences))
            .execute(self.connection)?;
        Ok(())
    }

    /// Opens, closes or opens again, for the patient.
    ///
    /// # Errors
    /// The database's.
    pub fn set_state(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        state: &NewState,
        now: i64,
    ) -> QueryResult<()> {
        set_state(self.connection, record_id, state, now)
    }

    /// TD1.4: closes, by a professional at the patient's request.
    ///
    /// # Errors
    /// The database's.
    pub fn close(&mut self, grant: &ClosureGrant, reason: &str, now: i64) -> QueryResult<()> {
        let state = NewState::Closed { reason: reason.to_owned() };
        set_state(self.connection, grant.record_id(), &state, now)?;
        diesel::update(record::table)
            .filter(record::id.eq(grant.record_id()))
            .set(record::version.eq(record::version + 1))
            .execute(self.connection)?;
        Ok(())
    }

    /// The record that was just closed, as TD0.2 tells of it.
    ///
    /// # Errors
    /// The database's.
    pub fn closed_record(&mut self, grant: &ClosureGrant) -> QueryResult<RecordSummary> {
        let key = RecordKey::Id(grant.record_id().to_owned());
        whole_record(self.connection, &key)?.ok_or(diesel::result::Error::NotFound)
    }
}

fn set_state(
    connection: &mut DatabaseConnection,
    record_id: &str,
    state: &NewState,
    now: i64,
) -> QueryResult<()> {
    let (open, closed_at, reason) = match state {
        NewState::Open => (true, None, None),
        NewState::Closed { reason } => (false, Some(now), Some(reason.as_str())),
    };
    diesel::update(record::table)
        .filter(record::id.eq(record_id))
        .set((record::open.eq(open), record::closed_at.eq(closed_at), record::closing_reason.eq(reason)))
        .execute(connection)?;
    Ok(())
}
