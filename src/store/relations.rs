//! What the patient made of professionals: authorised, blocked, médecin traitant, with equal rights.

use std::collections::HashSet;

use diesel::prelude::*;

use super::engine::DatabaseConnection;
use super::readers::Reader;
use super::records::RecordRow;
use super::schema::{authorisation, medecin_traitant, record};
use super::unavailable;
use super::writer::Transaction;
use crate::error::Failure;
use crate::fhir::consent::HeldConsent;
use crate::fhir::patient::RecordSummary;
use crate::rights::{
    Basis, DeclarationGrant, GiveUpGrant, OwnRecordsGrant, PatientSideGrant, ProfessionalsGrant, Relation,
    RevocationGrant,
};

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
    /// See [`basis_code`].
    pub basis: &'static str,
    /// The holder's name, where it is known.
    pub name: Option<String>,
    /// The holder's profession, TRE_G15, where it is known.
    pub profession: Option<String>,
    /// Who declared it.
    pub declared_by: String,
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
const fn relation_code(relation: Relation) -> Option<&'static str> {
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

    /// As [`Reader::professionals`], for the patient's side.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn professionals_of_patient(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
    ) -> Result<Vec<HeldConsent>, Failure> {
        professionals(self.connection, record_id).map_err(unavailable)
    }

    /// TD0.4: open records on which one of these holds an authorisation in force that began since then; one row a record,
    /// newest authorisation first.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn own_records(
        &mut self,
        grant: &OwnRecordsGrant,
        since: i64,
        now: i64,
        limit: i64,
    ) -> Result<Vec<ListedRecord>, Failure> {
        // A blocking of any of them outweighs what another holds.
        let blocked: HashSet<String> = authorisation::table
            .filter(authorisation::holder.eq_any(grant.holders()))
            .filter(authorisation::blocked.eq(true))
            .select(authorisation::record_id)
            .load(self.connection)
            .map_err(unavailable)?
            .into_iter()
            .collect();
        let query = authorisation::table
            .inner_join(record::table)
            .filter(authorisation::holder.eq_any(grant.holders()))
            .filter(authorisation::since.ge(since))
            .filter(authorisation::until.gt(now))
            .filter(record::open.eq(true))
            .filter(record::erased_at.is_null());
        let rows: Vec<(AuthorisationRow, RecordRow)> = query
            .order((authorisation::since.desc(), authorisation::consent_id.desc()))
            .limit(limit)
            .select((AuthorisationRow::as_select(), RecordRow::as_select()))
            .load(self.connection)
            .map_err(unavailable)?;
        let listed = |(row, patient): (AuthorisationRow, RecordRow)| ListedRecord {
            consent: row.into(),
            patient: patient.into(),
        };
        let rows = rows.into_iter().filter(|(row, _)| !blocked.contains(&row.record_id));
        Ok(rows.map(listed).collect())
    }
}

fn professionals(connection: &mut DatabaseConnection, record_id: &str) -> QueryResult<Vec<HeldConsent>> {
    let rows: Vec<AuthorisationRow> = authorisation::table
        .filter(authorisation::record_id.eq(record_id))
        .order((authorisation::since.desc(), authorisation::holder.asc()))
        .select(AuthorisationRow::as_select())
        .load(connection)?;
    type Treating = (String, String, i64, String, Option<String>);
    let treating: Vec<Treating> = medecin_traitant::table
        .filter(medecin_traitant::record_id.eq(record_id))
        .order((medecin_traitant::since.desc(), medecin_traitant::professional_id.asc()))
        .select((
            medecin_traitant::professional_id,
            medecin_traitant::kind,
            medecin_traitant::since,
            medecin_traitant::consent_id,
            medecin_traitant::name,
        ))
        .load(connection)?;
    let treating = treating.into_iter().map(|(holder, kind, since, id, name)| HeldConsent {
        id,
        record_id: record_id.to_owned(),
        is_structure: false,
        holder,
        name,
        profession: None,
        role: Some(if kind == "medecin_traitant" { "MEDECIN_TRAITANT" } else { "DROITS_EQUIVALENTS" }),
        denied: false,
        care_team: false,
        since,
        until: None,
    });
    Ok(treating.chain(rows.into_iter().map(HeldConsent::from)).collect())
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

    /// R1111-46: the members of the care team that the caller declared with its own authorisation. Who is blocked stays so.
    ///
    /// # Errors
    /// The database's.
    pub fn authorise_team(&mut self, grant: &DeclarationGrant, new: &[NewAuthorisation]) -> QueryResult<()> {
        for member in new {
            debug_assert_eq!(grant.record_id(), member.record_id);
            self.keep_unless_blocked(member)?;
        }
        Ok(())
    }

    fn keep_unless_blocked(&mut self, new: &NewAuthorisation) -> QueryResult<bool> {
        let held = || {
            authorisation::table
                .filter(authorisation::record_id.eq(&new.record_id))
                .filter(authorisation::holder.eq(&new.holder))
        };
        let blocked: Option<bool> = held().select(authorisation::blocked).first(self.connection).optional()?;
        match blocked {
            Some(true) => return Ok(false),
            Some(false) => {
                diesel::update(authorisation::table)
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
                    ))
                    .execute(self.connection)?;
            }
            None => {
                diesel::insert_into(authorisation::table).values(new).execute(self.connection)?;
            }
        }
        Ok(true)
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
    /// anything.
    ///
    /// # Errors
    /// The database's.
    pub fn forget_professional(
        &mut self,
        _: &PatientSideGrant,
        record_id: &str,
        professional: &str,
    ) -> QueryResult<bool> {
        let standing = diesel::delete(authorisation::table)
            .filter(authorisation::record_id.eq(record_id))
            .filter(authorisation::holder.eq(professional))
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
