//! What the patient made of professionals: authorised, blocked, médecin traitant, with equal rights.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;

use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::records::RecordRow;
use super::schema::{authorisation, document, medecin_traitant, record, trace};
use super::unavailable;
use super::writer::Transaction;
use crate::error::Failure;
use crate::fhir::consent::HeldConsent;
use crate::fhir::patient::RecordSummary;
use crate::rights::{
    Basis, DeclarationGrant, GiveUpGrant, OwnRecordsGrant, PatientSideGrant, ProfessionalsGrant, Relation,
    RevocationGrant,
};

diesel::alias!(authorisation as blocked_authorisation: BlockedAuthorisation);

/// An authorisation to be kept.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = authorisation, treat_none_as_default_value = false)]
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
    /// See [`basis_code`].
    pub basis: &'static str,
    /// The holder's name, where it is known.
    pub name: Option<String>,
    /// The holder's profession, TRE_G15, where it is known.
    pub profession: Option<String>,
    /// Who declared it.
    pub declared_by: String,
    /// In a secret connection: not told to the representatives (R1111-50).
    pub secret: bool,
}

/// As the database writes a basis.
pub const fn basis_code(basis: Basis) -> &'static str {
    match basis {
        Basis::Person => "person",
        Basis::Structure => "structure",
        Basis::CareTeam => "care_team",
    }
}

/// As the database writes a relation. `None` for no relation.
pub(super) const fn relation_code(relation: Relation) -> Option<&'static str> {
    match relation {
        Relation::None => None,
        Relation::MedecinTraitant => Some("medecin_traitant"),
        Relation::EqualRights => Some("equal_rights"),
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = authorisation)]
struct AuthorisationRow {
    record_id: String,
    holder: String,
    blocked: bool,
    since: i64,
    until: i64,
    consent_id: String,
    basis: String,
    name: Option<String>,
    profession: Option<String>,
    secret: bool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = medecin_traitant)]
struct TreatingRow {
    record_id: String,
    professional_id: String,
    since: i64,
    kind: String,
    consent_id: String,
    name: Option<String>,
}

impl From<TreatingRow> for HeldConsent {
    fn from(row: TreatingRow) -> Self {
        Self {
            id: row.consent_id,
            record_id: row.record_id,
            is_structure: false,
            holder: row.professional_id,
            name: row.name,
            profession: None,
            role: Some(if row.kind == "medecin_traitant" { "MEDECIN_TRAITANT" } else { "DROITS_EQUIVALENTS" }),
            denied: false,
            care_team: false,
            since: row.since,
            until: None,
            secret: false,
            last_action: None,
        }
    }
}

impl From<AuthorisationRow> for HeldConsent {
    fn from(row: AuthorisationRow) -> Self {
        Self {
            id: row.consent_id,
            record_id: row.record_id,
            is_structure: match row.basis.as_str() {
                "structure" => true,
                // A team has persons (PS_IdNat 8…, or with a slash) and structures.
                "care_team" => !row.holder.starts_with('8') && !row.holder.contains('/'),
                _ => false,
            },
            holder: row.holder,
            name: row.name,
            profession: row.profession,
            role: None,
            denied: row.blocked,
            care_team: row.basis == "care_team",
            since: row.since,
            until: Some(row.until),
            secret: row.secret,
            last_action: None,
        }
    }
}

/// One record of a list (TD0.4).
#[derive(Clone, Debug)]
pub struct ListedRecord {
    /// The authorisation.
    pub consent: HeldConsent,
    /// Whose record it is.
    pub patient: RecordSummary,
}

impl Reader<'_> {
    /// TD1.6: who is authorised, blocked, médecin traitant or with equal rights, newest first.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn professionals(&mut self, grant: &ProfessionalsGrant) -> Result<Vec<HeldConsent>, Failure> {
        professionals(self.connection, grant.record_id()).map_err(unavailable)
    }

    /// As [`Reader::professionals`], for the patient's side; to a representative without what was declared in secret (R1111-50).
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn professionals_of_patient(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        for_representative: bool,
    ) -> Result<Vec<HeldConsent>, Failure> {
        let held = professionals(self.connection, record_id).map_err(unavailable)?;
        Ok(held.into_iter().filter(|one| !(for_representative && one.secret)).collect())
    }

    /// When each of these last did something with a record that was granted, microseconds; secret connections apart.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn last_actions(
        &mut self,
        grant: &ProfessionalsGrant,
        holders: &[&str],
    ) -> Result<HashMap<String, i64>, Failure> {
        let last: Vec<(String, Option<i64>)> = trace::table
            .filter(trace::record_id.eq(grant.record_id()))
            .filter(trace::caller_id.eq_any(holders))
            .filter(trace::outcome.eq("granted"))
            .filter(trace::secret.eq(false))
            .group_by(trace::caller_id)
            .select((trace::caller_id, diesel::dsl::max(trace::at)))
            .load(self.connection)
            .map_err(unavailable)?;
        Ok(last.into_iter().filter_map(|(holder, at)| Some((holder, at?))).collect())
    }

    /// TD0.4: open records on which one of these holds an authorisation in force that began since then, or is médecin traitant as far
    /// as the grant says, and from which nobody of the grant is blocked; with a document fed or changed since `news_since`, if that is
    /// asked. One line a record, newest first.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn own_records(
        &mut self,
        grant: &OwnRecordsGrant,
        since: i64,
        news_since: Option<i64>,
        now: i64,
        limit: i64,
    ) -> Result<Vec<ListedRecord>, Failure> {
        let authorised = authorised_records(self.connection, grant, since, news_since, now, limit);
        let mut listed = authorised.map_err(unavailable)?;
        if !grant.treating().is_empty() {
            let treated = treated_records(self.connection, grant, since, news_since, limit);
            listed.extend(treated.map_err(unavailable)?);
        }
        listed.sort_by(|one, other| {
            (other.consent.since, &other.consent.id).cmp(&(one.consent.since, &one.consent.id))
        });
        let mut seen = HashSet::new();
        listed.retain(|record| seen.insert(record.consent.record_id.clone()));
        Ok(listed)
    }
}

/// Records that exist, are open, from which none of these is blocked, and which have something new: a part of the queries of TD0.4.
macro_rules! open_to {
    ($query:expr, $grant:expr, $news_since:expr) => {{
        let blocked = blocked_authorisation
            .filter(blocked_authorisation.field(authorisation::record_id).eq(record::id))
            .filter(blocked_authorisation.field(authorisation::holder).eq_any($grant.not_blocked()))
            .filter(blocked_authorisation.field(authorisation::blocked).eq(true));
        let mut query = $query
            .filter(record::open.eq(true))
            .filter(record::erased_at.is_null())
            .filter(diesel::dsl::not(diesel::dsl::exists(blocked)))
            .into_boxed();
        if let Some(since) = $news_since {
            // Whatever it is: which of it the caller may see is asked record by record.
            let news = document::table
                .filter(document::record_id.eq(record::id))
                .filter(document::updated_at.ge(since));
            query = query.filter(diesel::dsl::exists(news));
        }
        query
    }};
}

fn authorised_records(
    connection: &mut DatabaseConnection,
    grant: &OwnRecordsGrant,
    since: i64,
    news_since: Option<i64>,
    now: i64,
    limit: i64,
) -> QueryResult<Vec<ListedRecord>> {
    let held = authorisation::table
        .inner_join(record::table)
        .filter(authorisation::holder.eq_any(grant.holders()))
        .filter(authorisation::blocked.eq(false))
        .filter(authorisation::since.ge(since))
        .filter(authorisation::until.gt(now));
    let rows: Vec<(AuthorisationRow, RecordRow)> = open_to!(held, grant, news_since)
        .order((authorisation::since.desc(), authorisation::consent_id.desc()))
        .limit(limit)
        .select((AuthorisationRow::as_select(), RecordRow::as_select()))
        .load(connection)?;
    let listed = |(row, patient): (AuthorisationRow, RecordRow)| ListedRecord {
        consent: row.into(),
        patient: patient.into(),
    };
    Ok(rows.into_iter().map(listed).collect())
}

fn treated_records(
    connection: &mut DatabaseConnection,
    grant: &OwnRecordsGrant,
    since: i64,
    news_since: Option<i64>,
    limit: i64,
) -> QueryResult<Vec<ListedRecord>> {
    let kinds: Vec<&str> = grant.treating().iter().filter_map(|relation| relation_code(*relation)).collect();
    let held = medecin_traitant::table
        .inner_join(record::table)
        .filter(medecin_traitant::professional_id.eq_any(grant.holders()))
        .filter(medecin_traitant::kind.eq_any(kinds))
        .filter(medecin_traitant::since.ge(since));
    let rows: Vec<(TreatingRow, RecordRow)> = open_to!(held, grant, news_since)
        .order((medecin_traitant::since.desc(), medecin_traitant::consent_id.desc()))
        .limit(limit)
        .select((TreatingRow::as_select(), RecordRow::as_select()))
        .load(connection)?;
    let listed = |(row, patient): (TreatingRow, RecordRow)| ListedRecord {
        consent: row.into(),
        patient: patient.into(),
    };
    Ok(rows.into_iter().map(listed).collect())
}

fn professionals(connection: &mut DatabaseConnection, record_id: &str) -> QueryResult<Vec<HeldConsent>> {
    let rows: Vec<AuthorisationRow> = authorisation::table
        .filter(authorisation::record_id.eq(record_id))
        .order((authorisation::since.desc(), authorisation::holder.asc()))
        .select(AuthorisationRow::as_select())
        .load(connection)?;
    let treating: Vec<TreatingRow> = medecin_traitant::table
        .filter(medecin_traitant::record_id.eq(record_id))
        .order((medecin_traitant::since.desc(), medecin_traitant::professional_id.asc()))
        .select(TreatingRow::as_select())
        .load(connection)?;
    Ok(treating.into_iter().map(HeldConsent::from).chain(rows.into_iter().map(HeldConsent::from)).collect())
}

impl Transaction<'_> {
    /// The record that a Consent is about, and whether it is the one that names a médecin traitant.
    ///
    /// # Errors
    /// The database's.
    pub fn record_of_consent(&mut self, consent_id: &str) -> QueryResult<Option<(String, bool)>> {
        let authorised: Option<String> = authorisation::table
            .filter(authorisation::consent_id.eq(consent_id))
            .select(authorisation::record_id)
            .first(self.connection)
            .optional()?;
        if let Some(record_id) = authorised {
            return Ok(Some((record_id, false)));
        }
        let treating: Option<String> = medecin_traitant::table
            .filter(medecin_traitant::consent_id.eq(consent_id))
            .select(medecin_traitant::record_id)
            .first(self.connection)
            .optional()?;
        Ok(treating.map(|record_id| (record_id, true)))
    }

    /// TD0.3: keeps an authorisation, in place of an earlier one of the same holder. A blocking by the patient is never
    /// replaced: then nothing is written and the answer is `false`.
    ///
    /// # Errors
    /// The database's.
    pub fn authorise(&mut self, grant: &DeclarationGrant, new: &NewAuthorisation) -> QueryResult<bool> {
        debug_assert_eq!(grant.record_id(), new.record_id);
        debug_assert_eq!(grant.holder(), new.holder);
        self.keep_unless_blocked(new)
    }

    /// R1111-46: the members of the care team that the caller declared with its own authorisation, each like `as_member` of the grant's
    /// team. Who is blocked stays so; what a member holds by himself, or by somebody else's declaration, is not touched while it is in
    /// force.
    ///
    /// # Errors
    /// The database's.
    pub fn authorise_team(
        &mut self,
        grant: &DeclarationGrant,
        as_member: &NewAuthorisation,
        now: i64,
    ) -> QueryResult<()> {
        for member in grant.team() {
            let new =
                NewAuthorisation { holder: member.clone(), name: None, profession: None, ..as_member.clone() };
            let held: Option<(bool, i64, String, String)> = authorisation::table
                .filter(authorisation::record_id.eq(grant.record_id()))
                .filter(authorisation::holder.eq(member))
                .select((
                    authorisation::blocked,
                    authorisation::until,
                    authorisation::basis,
                    authorisation::declared_by,
                ))
                .first(self.connection)
                .optional()?;
            let ours = |basis: &str, by: &str| basis == basis_code(Basis::CareTeam) && by == new.declared_by;
            match held {
                Some((true, ..)) => {}
                Some((_, until, basis, by)) if until > now && !ours(&basis, &by) => {}
                held => drop(self.keep(&new, held.map(|(blocked, ..)| blocked))?),
            }
        }
        Ok(())
    }

    fn keep_unless_blocked(&mut self, new: &NewAuthorisation) -> QueryResult<bool> {
        let held: Option<bool> = authorisation::table
            .filter(authorisation::record_id.eq(&new.record_id))
            .filter(authorisation::holder.eq(&new.holder))
            .select(authorisation::blocked)
            .first(self.connection)
            .optional()?;
        self.keep(new, held)
    }

    /// `blocked`: how it stands now; none, if nothing is held.
    fn keep(&mut self, new: &NewAuthorisation, blocked: Option<bool>) -> QueryResult<bool> {
        let changed = match blocked {
            Some(true) => 0,
            Some(false) => diesel::update(authorisation::table)
                .filter(authorisation::record_id.eq(&new.record_id))
                .filter(authorisation::holder.eq(&new.holder))
                .filter(authorisation::blocked.eq(false))
                .set((
                    authorisation::since.eq(new.since),
                    authorisation::until.eq(new.until),
                    authorisation::consent_id.eq(&new.consent_id),
                    authorisation::consent.eq(&new.consent),
                    authorisation::basis.eq(new.basis),
                    authorisation::name.eq(&new.name),
                    authorisation::profession.eq(&new.profession),
                    authorisation::declared_by.eq(&new.declared_by),
                    authorisation::secret.eq(new.secret),
                    authorisation::ended_at.eq(None::<i64>),
                ))
                .execute(self.connection)?,
            None => diesel::insert_into(authorisation::table).values(new).execute(self.connection)?,
        };
        Ok(changed > 0)
    }

    /// TD0.3: takes back what the grant's holders hold under a Consent; the team that was declared with it goes with it when
    /// its declarer takes it back. Tells whether anything went. A blocking stays.
    ///
    /// # Errors
    /// The database's.
    pub fn revoke(&mut self, grant: &RevocationGrant, consent_id: &str) -> QueryResult<bool> {
        let of_team =
            authorisation::basis.eq("care_team").and(authorisation::declared_by.eq_any(grant.holders()));
        let gone = diesel::delete(authorisation::table)
            .filter(authorisation::record_id.eq(grant.record_id()))
            .filter(authorisation::consent_id.eq(consent_id))
            .filter(authorisation::blocked.eq(false))
            .filter(authorisation::holder.eq_any(grant.holders()).or(of_team))
            .execute(self.connection)?;
        Ok(gone > 0)
    }

    /// TD0.3: the caller is médecin traitant no more. Tells whether it was, under this Consent.
    ///
    /// # Errors
    /// The database's.
    pub fn give_up(&mut self, grant: &GiveUpGrant, consent_id: &str) -> QueryResult<bool> {
        let gone = diesel::delete(medecin_traitant::table)
            .filter(medecin_traitant::record_id.eq(grant.record_id()))
            .filter(medecin_traitant::professional_id.eq(grant.professional()))
            .filter(medecin_traitant::consent_id.eq(consent_id))
            .execute(self.connection)?;
        Ok(gone > 0)
    }

    /// What the patient decided about one holder: authorised until an instant, or blocked.
    ///
    /// # Errors
    /// The database's.
    pub fn set_standing(&mut self, _: &PatientSideGrant, new: &NewAuthorisation) -> QueryResult<()> {
        diesel::delete(authorisation::table)
            .filter(authorisation::record_id.eq(&new.record_id))
            .filter(authorisation::holder.eq(&new.holder))
            .execute(self.connection)?;
        diesel::insert_into(authorisation::table).values(new).execute(self.connection)?;
        Ok(())
    }

    /// The patient takes back whatever he made of a professional: authorised, blocked, médecin traitant. Tells whether there was
    /// anything, as far as who asks may know of it.
    ///
    /// # Errors
    /// The database's.
    pub fn forget_professional(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        professional: &str,
        for_representative: bool,
    ) -> QueryResult<bool> {
        let standing = diesel::delete(authorisation::table)
            .filter(authorisation::record_id.eq(record_id))
            .filter(authorisation::holder.eq(professional))
            .filter(authorisation::secret.eq(false).or(authorisation::secret.eq(!for_representative)))
            .execute(self.connection)?;
        let treating = diesel::delete(medecin_traitant::table)
            .filter(medecin_traitant::record_id.eq(record_id))
            .filter(medecin_traitant::professional_id.eq(professional))
            .execute(self.connection)?;
        Ok(standing + treating > 0)
    }

    /// Names a médecin traitant, or a professional with equal rights. There may be several of both. Whoever was blocked is not
    /// any more.
    ///
    /// # Errors
    /// The database's.
    pub fn name_professional(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        professional: &str,
        relation: Relation,
        consent_id: &str,
        since: i64,
    ) -> QueryResult<()> {
        let Some(kind) = relation_code(relation) else { return Ok(()) };
        diesel::delete(authorisation::table)
            .filter(authorisation::record_id.eq(record_id))
            .filter(authorisation::holder.eq(professional))
            .filter(authorisation::blocked.eq(true))
            .execute(self.connection)?;
        diesel::delete(medecin_traitant::table)
            .filter(medecin_traitant::record_id.eq(record_id))
            .filter(medecin_traitant::professional_id.eq(professional))
            .execute(self.connection)?;
        diesel::insert_into(medecin_traitant::table)
            .values((
                medecin_traitant::record_id.eq(record_id),
                medecin_traitant::professional_id.eq(professional),
                medecin_traitant::since.eq(since),
                medecin_traitant::kind.eq(kind),
                medecin_traitant::consent_id.eq(consent_id),
            ))
            .execute(self.connection)?;
        Ok(())
    }
}
