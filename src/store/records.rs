//! Records, authorisations, médecins traitants.

use diesel::prelude::*;

use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::schema::{authorisation, medecin_traitant, record};
use super::unavailable;
use super::writer::Transaction;
use crate::error::Failure;
use crate::fhir::patient::RecordSummary;
use crate::identity::Caller;
use crate::identity::identifiers::Ins;
use crate::rights::{Authorisation, DeclarationGrant, ExistenceGrant, RecordFacts, RecordState, SessionGrant};

/// How a record is named.
#[derive(Clone, Debug)]
pub enum RecordKey {
    /// By the patient's INS.
    Ins(Ins),
    /// By our identifier.
    Id(String),
}

/// A record to be created. The sandbox and the patient's side make records; professionals do not.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = record)]
pub struct NewRecord {
    /// Our identifier.
    pub id: String,
    /// System of the INS.
    pub ins_system: String,
    /// Value of the INS.
    pub ins_value: String,
    /// Birth name.
    pub family_name: String,
    /// First given name.
    pub given_name: String,
    /// ISO date.
    pub birth_date: String,
    /// In use.
    pub open: bool,
    /// When closed, microseconds.
    pub closed_at: Option<i64>,
    /// Code.
    pub closing_reason: Option<String>,
    /// Attached to Mon espace santé.
    pub mon_espace_sante: bool,
    /// R1111-47.
    pub opposed_to_feeding: bool,
    /// L1111-17 I.
    pub opposed_to_bris_de_glace: bool,
    /// L1111-17 I.
    pub opposed_to_centre_15: bool,
    /// Opt-in.
    pub masked_open_in_emergencies: bool,
    /// Microseconds.
    pub created_at: i64,
}

/// An authorisation to be kept.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = authorisation)]
pub struct NewAuthorisation {
    /// The record.
    pub record_id: String,
    /// PS_IdNat or Struct_IdNat.
    pub holder: String,
    /// Blocked by the patient.
    pub blocked: bool,
    /// Microseconds.
    pub since: i64,
    /// Microseconds.
    pub until: i64,
    /// `Consent.id`.
    pub consent_id: String,
    /// The Consent, as text.
    pub consent: String,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = record)]
struct RecordRow {
    id: String,
    ins_system: String,
    ins_value: String,
    open: bool,
    closed_at: Option<i64>,
    closing_reason: Option<String>,
    mon_espace_sante: bool,
    opposed_to_feeding: bool,
    opposed_to_bris_de_glace: bool,
    opposed_to_centre_15: bool,
    masked_open_in_emergencies: bool,
}

impl Reader<'_> {
    /// A record as it stands towards a caller: what a decision needs, and nothing of its content.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn record_facts(
        &mut self,
        key: &RecordKey,
        caller: &Caller,
        now: i64,
    ) -> Result<Option<RecordFacts>, Failure> {
        record_facts(self.connection, key, caller, now).map_err(unavailable)
    }

    /// Our identifier of the record that a session opens, for its trace. Nothing of it is answered.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn record_of_session(&mut self, _: &SessionGrant, ins: &Ins) -> Result<Option<String>, Failure> {
        record::table
            .filter(record::ins_system.eq(ins.system()))
            .filter(record::ins_value.eq(ins.value()))
            .select(record::id)
            .first(self.connection)
            .optional()
            .map_err(unavailable)
    }

    /// TD0.2: what may be told of a record's existence.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn record_summary(
        &mut self,
        _grant: &ExistenceGrant,
        key: &RecordKey,
    ) -> Result<Option<RecordSummary>, Failure> {
        let query = record::table.select(RecordRow::as_select());
        let query = match key {
            RecordKey::Ins(ins) => query
                .filter(record::ins_system.eq(ins.system()))
                .filter(record::ins_value.eq(ins.value()))
                .into_boxed(),
            RecordKey::Id(id) => query.filter(record::id.eq(id)).into_boxed(),
        };
        let row = query.first(self.connection).optional().map_err(unavailable)?;
        Ok(row.map(|row| RecordSummary {
            id: row.id,
            ins_system: row.ins_system,
            ins_value: row.ins_value,
            open: row.open,
            closed_at: row.closed_at,
            closing_reason: row.closing_reason,
            mon_espace_sante: row.mon_espace_sante,
        }))
    }

    /// The INS of a record that the caller may feed, for the DocumentReference that is kept.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn ins_of(&mut self, grant: &crate::rights::FeedGrant) -> Result<(String, String), Failure> {
        record::table
            .filter(record::id.eq(grant.record_id()))
            .select((record::ins_system, record::ins_value))
            .first(self.connection)
            .map_err(unavailable)
    }
}

fn record_facts(
    connection: &mut DatabaseConnection,
    key: &RecordKey,
    caller: &Caller,
    now: i64,
) -> QueryResult<Option<RecordFacts>> {
    let me = caller.id();
    let structure = caller.structure.as_deref().unwrap_or(me);
    let query = record::table
        .left_join(
            authorisation::table.on(authorisation::record_id
                .eq(record::id)
                .and(authorisation::holder.eq(me).or(authorisation::holder.eq(structure)))),
        )
        .left_join(
            medecin_traitant::table
                .on(medecin_traitant::record_id.eq(record::id).and(medecin_traitant::professional_id.eq(me))),
        )
        .select((
            RecordRow::as_select(),
            (authorisation::blocked, authorisation::until).nullable(),
            medecin_traitant::since.nullable(),
        ));
    type Row = (RecordRow, Option<(bool, i64)>, Option<i64>);
    let query = match key {
        RecordKey::Ins(ins) => query
            .filter(record::ins_system.eq(ins.system()))
            .filter(record::ins_value.eq(ins.value()))
            .into_boxed(),
        RecordKey::Id(id) => query.filter(record::id.eq(id)).into_boxed(),
    };
    let rows: Vec<Row> = query.load(connection)?;
    let mut standing = Authorisation::None;
    for (_, authorisation, _) in &rows {
        standing = match (standing, authorisation) {
            // A blocking outweighs what the structure or an older declaration would give.
            (Authorisation::Blocked, _) | (_, Some((true, _))) => Authorisation::Blocked,
            (_, Some((false, until))) if *until > now => Authorisation::Valid,
            (Authorisation::None, Some((false, _))) => Authorisation::Expired,
            (standing, _) => standing,
        };
    }
    Ok(rows.into_iter().next().map(|(row, _, treating)| RecordFacts {
        id: row.id,
        state: if row.open { RecordState::Open } else { RecordState::Closed },
        opposed_to_feeding: row.opposed_to_feeding,
        opposed_to_bris_de_glace: row.opposed_to_bris_de_glace,
        opposed_to_centre_15: row.opposed_to_centre_15,
        masked_open_in_emergencies: row.masked_open_in_emergencies,
        authorisation: standing,
        is_medecin_traitant: treating.is_some(),
        outside_the_session: caller
            .session
            .as_ref()
            .and_then(|session| session.record.as_ref())
            .is_some_and(|only| only.system() != row.ins_system || only.value() != row.ins_value),
    }))
}

impl Transaction<'_> {
    /// As [`Reader::record_facts`], inside the transaction: what was decided on is looked at again where it is committed.
    ///
    /// # Errors
    /// The database's.
    pub fn record_facts(
        &mut self,
        key: &RecordKey,
        caller: &Caller,
        now: i64,
    ) -> QueryResult<Option<RecordFacts>> {
        record_facts(self.connection, key, caller, now)
    }

    /// TD0.3: keeps an authorisation, in place of an earlier one of the same holder. A blocking by the patient is never
    /// replaced: then nothing is written and the answer is `false`.
    ///
    /// # Errors
    /// The database's.
    pub fn authorise(&mut self, grant: &DeclarationGrant, new: &NewAuthorisation) -> QueryResult<bool> {
        debug_assert_eq!(grant.record_id(), new.record_id);
        let held = authorisation::table
            .filter(authorisation::record_id.eq(grant.record_id()))
            .filter(authorisation::holder.eq(grant.holder()));
        let blocked: Option<bool> = held.select(authorisation::blocked).first(self.connection).optional()?;
        match blocked {
            Some(true) => return Ok(false),
            Some(false) => {
                diesel::update(authorisation::table)
                    .filter(authorisation::record_id.eq(grant.record_id()))
                    .filter(authorisation::holder.eq(grant.holder()))
                    .set((
                        authorisation::since.eq(new.since),
                        authorisation::until.eq(new.until),
                        authorisation::consent_id.eq(&new.consent_id),
                        authorisation::consent.eq(&new.consent),
                    ))
                    .execute(self.connection)?;
            }
            None => {
                diesel::insert_into(authorisation::table).values(new).execute(self.connection)?;
            }
        }
        Ok(true)
    }

    /// Creates a record unless one exists for this INS; tells whether it did.
    ///
    /// # Errors
    /// The database's.
    pub fn create_record(&mut self, new: &NewRecord) -> QueryResult<bool> {
        let exists: i64 = record::table
            .filter(record::ins_system.eq(&new.ins_system))
            .filter(record::ins_value.eq(&new.ins_value))
            .count()
            .get_result(self.connection)?;
        if exists == 0 {
            diesel::insert_into(record::table).values(new).execute(self.connection)?;
        }
        Ok(exists == 0)
    }

    /// What the patient decided about one holder: authorised until an instant, or blocked.
    ///
    /// # Errors
    /// The database's.
    pub fn set_standing(&mut self, new: &NewAuthorisation) -> QueryResult<()> {
        diesel::delete(authorisation::table)
            .filter(authorisation::record_id.eq(&new.record_id))
            .filter(authorisation::holder.eq(&new.holder))
            .execute(self.connection)?;
        diesel::insert_into(authorisation::table).values(new).execute(self.connection)?;
        Ok(())
    }

    /// Names a médecin traitant.
    ///
    /// # Errors
    /// The database's.
    pub fn name_medecin_traitant(&mut self, record: &str, professional: &str, since: i64) -> QueryResult<()> {
        diesel::insert_into(medecin_traitant::table)
            .values((
                medecin_traitant::record_id.eq(record),
                medecin_traitant::professional_id.eq(professional),
                medecin_traitant::since.eq(since),
            ))
            .execute(self.connection)?;
        Ok(())
    }
}
