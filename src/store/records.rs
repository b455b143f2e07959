//! Records: what decides, what may be told of a patient, and their making. `relations` has authorisations.

use diesel::prelude::*;
use diesel::query_builder::QueryFragment;
use diesel::query_dsl::methods::LoadQuery;

use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::schema::{authorisation, medecin_traitant, record};
use super::unavailable;
use super::writer::Transaction;
use crate::error::Failure;
use crate::fhir::patient::RecordSummary;
use crate::identity::Caller;
use crate::identity::identifiers::Ins;
use crate::rights::{
    AdministrativeGrant, Authorisation, Basis, ExistenceGrant, PatientSideGrant, RecordFacts, RecordState,
    Relation, SessionGrant,
};

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
#[diesel(table_name = record, treat_none_as_default_value = false)]
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
    /// Every document is masked.
    pub all_masked: bool,
    /// Microseconds.
    pub created_at: i64,
    /// `male`, `female` or `unknown`.
    pub gender: String,
    /// See [`family_key`].
    pub family_key: String,
    /// FHIR elements of Patient: telecom, address, contact. A JSON object.
    pub administrative: String,
}

/// A family name as it is compared: capitals, without accents, hyphens or apostrophes.
pub fn family_key(name: &str) -> String {
    let plain = |c: char| match c {
        'à'..='å' | 'À'..='Å' => Some('A'),
        'ç' | 'Ç' => Some('C'),
        'è'..='ë' | 'È'..='Ë' => Some('E'),
        'ì'..='ï' | 'Ì'..='Ï' => Some('I'),
        'ñ' | 'Ñ' => Some('N'),
        'ò'..='ö' | 'Ò'..='Ö' => Some('O'),
        'ù'..='ü' | 'Ù'..='Ü' => Some('U'),
        'ý' | 'ÿ' | 'Ý' => Some('Y'),
        '-' | '\'' | '’' => Some(' '),
        other => other.to_uppercase().next(),
    };
    name.trim().chars().filter_map(plain).collect()
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = record)]
pub(super) struct RecordRow {
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
    all_masked: bool,
    family_name: String,
    given_name: String,
    birth_date: String,
    gender: String,
    administrative: String,
    version: i64,
}

/// What decides, and nothing that is told.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = record)]
pub(super) struct StandingRow {
    id: String,
    ins_system: String,
    ins_value: String,
    open: bool,
    mon_espace_sante: bool,
    opposed_to_feeding: bool,
    opposed_to_bris_de_glace: bool,
    opposed_to_centre_15: bool,
    masked_open_in_emergencies: bool,
    all_masked: bool,
    birth_date: String,
}

impl From<RecordRow> for RecordSummary {
    fn from(row: RecordRow) -> Self {
        Self {
            id: row.id,
            ins_system: row.ins_system,
            ins_value: row.ins_value,
            open: row.open,
            closed_at: row.closed_at,
            closing_reason: row.closing_reason,
            mon_espace_sante: row.mon_espace_sante,
            family_name: row.family_name,
            given_name: row.given_name,
            birth_date: row.birth_date,
            gender: row.gender,
            administrative: row.administrative,
            opposed_to_feeding: row.opposed_to_feeding,
            opposed_to_bris_de_glace: row.opposed_to_bris_de_glace,
            opposed_to_centre_15: row.opposed_to_centre_15,
            masked_open_in_emergencies: row.masked_open_in_emergencies,
            all_masked: row.all_masked,
            version: row.version,
        }
    }
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
        #[cfg(feature = "fault-injection")]
        if crate::faults::second_old_facts() {
            return remembered(key, caller, now, || record_facts(self.connection, key, caller, now));
        }
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
        whole_record(self.connection, key).map_err(unavailable)
    }

    /// TD1.3a: who the patient is.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn administrative(&mut self, grant: &AdministrativeGrant) -> Result<RecordSummary, Failure> {
        let row = record::table.filter(record::id.eq(grant.record_id())).select(RecordRow::as_select());
        Ok(row.first(self.connection).map_err(unavailable)?.into())
    }

    /// A record, for the patient's side.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn whole_record(
        &mut self,
        _grant: &PatientSideGrant,
        key: &RecordKey,
    ) -> Result<Option<RecordSummary>, Failure> {
        whole_record(self.connection, key).map_err(unavailable)
    }
}

/// The control of the test of new enemies: a cache of one second.
#[cfg(feature = "fault-injection")]
fn remembered(
    key: &RecordKey,
    caller: &Caller,
    now: i64,
    look: impl FnOnce() -> QueryResult<Option<RecordFacts>>,
) -> Result<Option<RecordFacts>, Failure> {
    type Kept = std::collections::HashMap<String, (i64, Option<RecordFacts>)>;
    static KEPT: std::sync::Mutex<Option<Kept>> = std::sync::Mutex::new(None);
    let name = match key {
        RecordKey::Ins(ins) => format!("{}|{} {}", ins.system(), ins.value(), caller.id()),
        RecordKey::Id(id) => format!("{id} {}", caller.id()),
    };
    let mut kept = KEPT.lock().map_err(Failure::internal)?;
    let kept = kept.get_or_insert_default();
    if let Some((at, facts)) = kept.get(&name)
        && now - at < 1_000_000
    {
        return Ok(facts.clone());
    }
    let facts = look().map_err(unavailable)?;
    kept.insert(name, (now, facts.clone()));
    Ok(facts)
}

/// A record, an authorisation that counts for or against the caller, and what the patient made of the caller; a line for each such
/// authorisation, one without any.
pub(super) type Standing = (StandingRow, Option<(bool, i64, String, String)>, Option<String>);

/// So many structures for which one might act are asked about with the rest: a fixed number, so that the statement is prepared once.
const ASKED_AT_ONCE: usize = 3;

/// Whether [`standing_of`] says all that decides.
pub(super) fn asks_at_once(caller: &Caller) -> bool {
    caller.might_act_for.len() <= ASKED_AT_ONCE
}

pub(super) fn standing_of<'a>(
    key: &'a RecordKey,
    caller: &'a Caller,
) -> impl LoadQuery<'a, DatabaseConnection, Standing>
+ QueryFragment<<DatabaseConnection as diesel::Connection>::Backend>
+ 'a {
    let me = caller.id();
    let structure = caller.structure.as_deref().unwrap_or(me);
    let might = |place: usize| caller.might_act_for.get(place).map_or(me, String::as_str);
    let [first, second, third]: [&str; ASKED_AT_ONCE] = std::array::from_fn(might);
    let one_of_them = authorisation::holder
        .eq(me)
        .or(authorisation::holder.eq(structure))
        .or(authorisation::holder.eq(first))
        .or(authorisation::holder.eq(second))
        .or(authorisation::holder.eq(third));
    let query = record::table
        .left_join(authorisation::table.on(authorisation::record_id.eq(record::id).and(one_of_them)))
        .left_join(
            medecin_traitant::table
                .on(medecin_traitant::record_id.eq(record::id).and(medecin_traitant::professional_id.eq(me))),
        )
        .select((
            StandingRow::as_select(),
            (authorisation::blocked, authorisation::until, authorisation::holder, authorisation::basis)
                .nullable(),
            medecin_traitant::kind.nullable(),
        ))
        .filter(record::erased_at.is_null());
    match key {
        RecordKey::Ins(ins) => query
            .filter(record::ins_system.eq(ins.system()))
            .filter(record::ins_value.eq(ins.value()))
            .into_boxed(),
        RecordKey::Id(id) => query.filter(record::id.eq(id)).into_boxed(),
    }
}

fn record_facts(
    connection: &mut DatabaseConnection,
    key: &RecordKey,
    caller: &Caller,
    now: i64,
) -> QueryResult<Option<RecordFacts>> {
    let rows = standing_of(key, caller).load(connection)?;
    let mut facts = facts_of(rows, caller, now);
    if let Some(facts) = &mut facts
        && !asks_at_once(caller)
        && blocks_any(connection, &facts.id, &caller.might_act_for)?
    {
        facts.authorisation = Authorisation::Blocked;
    }
    Ok(facts)
}

/// What the lines say together.
pub(super) fn facts_of(rows: Vec<Standing>, caller: &Caller, now: i64) -> Option<RecordFacts> {
    let me = caller.id();
    let structure = caller.structure.as_deref().unwrap_or(me);
    let (mut standing, mut basis) = (Authorisation::None, Basis::Person);
    for (_, authorisation, _) in &rows {
        let Some((blocked, until, holder, kind)) = authorisation else { continue };
        standing = match standing {
            // A blocking outweighs what the structure or an older declaration would give.
            _ if *blocked => Authorisation::Blocked,
            // Where one might act without saying so, one is blocked, and not authorised.
            standing if holder != me && holder != structure => standing,
            Authorisation::None | Authorisation::Expired if *until > now => {
                basis = match kind.as_str() {
                    "care_team" => Basis::CareTeam,
                    _ if holder == me => Basis::Person,
                    _ => Basis::Structure,
                };
                Authorisation::Valid
            }
            Authorisation::None => Authorisation::Expired,
            standing => standing,
        };
    }
    rows.into_iter().next().map(|(row, _, relation)| RecordFacts {
        id: row.id,
        state: if row.open { RecordState::Open } else { RecordState::Closed },
        opposed_to_feeding: row.opposed_to_feeding,
        opposed_to_bris_de_glace: row.opposed_to_bris_de_glace,
        opposed_to_centre_15: row.opposed_to_centre_15,
        masked_open_in_emergencies: row.masked_open_in_emergencies,
        all_masked: row.all_masked,
        authorisation: standing,
        basis,
        relation: match relation.as_deref() {
            Some("medecin_traitant") => Relation::MedecinTraitant,
            Some("equal_rights") => Relation::EqualRights,
            // What this program does not know gives nothing.
            _ => Relation::None,
        },
        birth_date: row.birth_date.parse().ok(),
        attached: row.mon_espace_sante,
        outside_the_session: caller
            .session
            .as_ref()
            .and_then(|session| session.record.as_ref())
            .is_some_and(|only| only.system() != row.ins_system || only.value() != row.ins_value),
    })
}

/// Whether one of these is blocked from a record.
fn blocks_any(connection: &mut DatabaseConnection, record_id: &str, holders: &[String]) -> QueryResult<bool> {
    let blocked = authorisation::table
        .filter(authorisation::record_id.eq(record_id))
        .filter(authorisation::holder.eq_any(holders))
        .filter(authorisation::blocked.eq(true))
        .select(authorisation::holder)
        .limit(1);
    Ok(!blocked.load::<String>(connection)?.is_empty())
}

pub(super) fn whole_record(
    connection: &mut DatabaseConnection,
    key: &RecordKey,
) -> QueryResult<Option<RecordSummary>> {
    let query = record::table.filter(record::erased_at.is_null()).select(RecordRow::as_select());
    let query = match key {
        RecordKey::Ins(ins) => query
            .filter(record::ins_system.eq(ins.system()))
            .filter(record::ins_value.eq(ins.value()))
            .into_boxed(),
        RecordKey::Id(id) => query.filter(record::id.eq(id)).into_boxed(),
    };
    Ok(query.first(connection).optional()?.map(RecordSummary::from))
}

/// How a transaction holds a record. What the patient changes holds it alone, so that nothing is committed on a decision that he has
/// overtaken, on whichever node. SQLite has one writer, which holds everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Together with others who do not change what decisions go by: feeds, declarations.
    Shared,
    /// Alone.
    Alone,
}

pub(super) fn hold_record(connection: &mut DatabaseConnection, key: &RecordKey, hold: Hold) -> QueryResult<()> {
    let DatabaseConnection::Postgres(postgres) = connection else { return Ok(()) };
    match (key, hold) {
        (RecordKey::Id(id), Hold::Shared) => {
            record::table.filter(record::id.eq(id)).select(record::id).for_share().load::<String>(postgres)?
        }
        (RecordKey::Id(id), Hold::Alone) => {
            record::table.filter(record::id.eq(id)).select(record::id).for_update().load::<String>(postgres)?
        }
        (RecordKey::Ins(ins), hold) => {
            let named = record::table
                .filter(record::ins_system.eq(ins.system()))
                .filter(record::ins_value.eq(ins.value()))
                .select(record::id);
            match hold {
                Hold::Shared => named.for_share().load::<String>(postgres)?,
                Hold::Alone => named.for_update().load::<String>(postgres)?,
            }
        }
    };
    Ok(())
}

/// Fills the names as they are compared, where a migration left them empty.
pub(super) fn fill_family_keys(connection: &mut DatabaseConnection) -> QueryResult<()> {
    loop {
        let rows: Vec<(String, String)> = record::table
            .filter(record::family_key.eq(""))
            .filter(record::family_name.ne(""))
            .select((record::id, record::family_name))
            .limit(1_000)
            .load(connection)?;
        if rows.is_empty() {
            return Ok(());
        }
        for (id, name) in rows {
            // A name of which nothing is left to compare by is compared by itself.
            let key = Some(family_key(&name)).filter(|key| !key.is_empty()).unwrap_or(name);
            diesel::update(record::table.filter(record::id.eq(id)))
                .set(record::family_key.eq(key))
                .execute(connection)?;
        }
    }
}

impl Transaction<'_> {
    /// As [`Reader::record_facts`], inside the transaction: what was decided on is looked at again where it is committed, and stays
    /// as it is seen until then.
    ///
    /// # Errors
    /// The database's.
    pub fn record_facts(
        &mut self,
        key: &RecordKey,
        caller: &Caller,
        now: i64,
        hold: Hold,
    ) -> QueryResult<Option<RecordFacts>> {
        hold_record(self.connection, key, hold)?;
        record_facts(self.connection, key, caller, now)
    }

    /// Creates a record unless one exists for this INS; tells whether it did. The patient's side makes records,
    /// professionals do not.
    ///
    /// # Errors
    /// The database's.
    pub fn create_record(&mut self, _: &PatientSideGrant, new: &NewRecord) -> QueryResult<bool> {
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
}
