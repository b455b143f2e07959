//! TD0.3: the professional declares that the patient authorised it (`Consent`).

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::codes::system;
use crate::fhir::consent::{self, Consent};
use crate::identity::scope::Transaction;
use crate::identity::{Actor, Caller};
use crate::rights::{Basis, DeclarationGrant};
use crate::store::{Hold, NewAuthorisation, RecordKey, Step, basis_code};

/// The operation's name in traces.
pub const OPERATION: Operation =
    Operation::new("TD0.3 declare authorisation", Transaction::Declare, Budget::Feed);

/// A declaration that was kept.
#[derive(Debug)]
pub struct Declared {
    /// `Consent.id`.
    pub id: String,
    /// The Consent as kept.
    pub resource: String,
}

/// Whether the caller's column lets it declare at all: asked before anything is read or looked up.
///
/// # Errors
/// [`Reason::NoFunctionalRight`].
pub fn permitted_at_all(call: &Call) -> Result<(), Refusal> {
    call.services.tables.decide_declaring_at_all(&call.caller).granted()
}

/// Keeps a declaration. A refusal inside the result has its trace already.
///
/// # Errors
/// [`Reason::UnknownRecord`], [`Reason::NoFunctionalRight`], [`Reason::Blocked`], [`Reason::RecordClosed`],
/// [`Reason::InvalidMetadata`] for a Consent that says something else, or the store's.
pub async fn run(call: &Call, body: String) -> Result<Traced<Result<Declared, Refusal>>, Failure> {
    permitted_at_all(call)?;
    let now = call.now();
    let latest = now.saturating_add(call.services.authorisation_duration);
    let (patient, until, team) = {
        let consent = Consent::read(&body)?;
        let team = match consent.care_team()? {
            Some(members) => care_team(&members, call)?,
            None => {
                actor_is_the_caller(&consent, call)?;
                Vec::new()
            }
        };
        let patient = PatientKey::of_reference(&consent.patient()?, "Consent.patient")?;
        (patient, consent.until(now, latest)?, team)
    };
    let reading = call.clone();
    let grant = call
        .services
        .store
        .read(move |reader| {
            let record = reading.record(reader, &patient)?;
            let tables = &reading.services.tables;
            let decision = tables.decide_declaration(&reading.caller, &record, &team, reading.at()?);
            Ok(decision.granted().map_err(|refusal| refusal.concerning(&record.id, None))?)
        })
        .await?;

    let id = call.services.environment.next_id();
    let resource = consent::accepted(&body, &id, grant.record_id(), &actor_of(&grant, call), now, until)?;
    let new = NewAuthorisation {
        record_id: grant.record_id().to_owned(),
        holder: grant.holder().to_owned(),
        blocked: false,
        since: now,
        until,
        consent_id: id.clone(),
        consent: resource.clone(),
        basis: basis_code(match grant.holder() == call.caller.id() {
            true => Basis::Person,
            false => Basis::Structure,
        }),
        name: match grant.holder() == call.caller.id() {
            true => call.caller.name.clone(),
            false => call.caller.structure_name.clone(),
        },
        profession: profession(&call.caller),
        declared_by: grant.holder().to_owned(),
        secret: call.caller.session.as_ref().is_some_and(|session| session.secret),
    };
    let as_member = NewAuthorisation { basis: basis_code(Basis::CareTeam), ..new.clone() };
    let at = call.at()?;
    let declared = Declared { id: id.clone(), resource };
    let committing = call.clone();
    let traced = call
        .services
        .store
        .writer()
        .commit(move |transaction| {
            let trace = &committing.trace;
            let about = |refusal: Refusal| refusal.concerning(grant.record_id(), None);
            // The patient may have closed or blocked since the decision: it is made again where it counts.
            let key = RecordKey::Id(grant.record_id().to_owned());
            // A team's members may be blocked or authorised by another at the same time: alone, then.
            let hold = if grant.team().is_empty() { Hold::Shared } else { Hold::Alone };
            let decided = match transaction.record_facts(&key, &committing.caller, trace.at, hold)? {
                Some(record) => {
                    let tables = &committing.services.tables;
                    tables.decide_declaration(&committing.caller, &record, grant.team(), at).granted()
                }
                None => Err(Refusal::new(Reason::UnknownRecord, "the record is gone")),
            };
            let decided = match decided {
                Ok(_) if transaction.authorise(&grant, &new)? => {
                    transaction.authorise_team(&grant, &as_member, trace.at)?;
                    Ok(())
                }
                Ok(_) => Err(Refusal::new(Reason::Blocked, "the patient has blocked the professional")),
                Err(refusal) => Err(refusal),
            };
            Ok(match decided {
                Ok(()) => {
                    let objects = std::slice::from_ref(&new.consent_id);
                    let trace = trace.granted(201, grant.rule(), Some(grant.record_id()), objects);
                    Step { value: Ok(()), trace, keep: true }
                }
                Err(refusal) => {
                    let refusal = about(refusal);
                    let trace = trace.failed(&refusal.clone().into(), refusal.reason.status());
                    Step { value: Err(refusal), trace, keep: false }
                }
            })
        })
        .await?;
    Ok(traced.map(|kept: Result<(), Refusal>| kept.map(|()| declared)))
}

/// Whom a declaration without an actor names: system and identifier.
fn actor_of<'a>(grant: &'a DeclarationGrant, call: &Call) -> (&'static str, &'a str) {
    match grant.holder() == call.caller.id() {
        true => (system::PROFESSIONAL, grant.holder()),
        false => (system::STRUCTURE, grant.holder()),
    }
}

/// TRE_G15, of a professional.
fn profession(caller: &Caller) -> Option<String> {
    match &caller.actor {
        Actor::Professional { profession, .. } => Some(profession.code().to_owned()),
        _ => None,
    }
}

/// R1111-46, L1110-12: the patient's consent to one member of the care team is deemed given to the team that he declares. The caller
/// is one of it, as a person or by the structure for which he acts.
fn care_team(members: &[(String, String)], call: &Call) -> Result<Vec<String>, Refusal> {
    const EXPRESSION: &str = "Consent.contained.participant.member";
    let own = |id: &str| id == call.caller.id() || call.caller.structure.as_deref() == Some(id);
    if !members.iter().any(|(_, id)| own(id)) {
        let why = "the caller is a member of the care team that it declares";
        return Err(Refusal::at(Reason::InvalidMetadata, EXPRESSION, why).by("R1111-46: care team"));
    }
    let checks = call.services.sessions.checks;
    let mut team = Vec::new();
    for (member_system, id) in members {
        let known = match member_system.as_str() {
            system::PROFESSIONAL => checks.is_professional_id(id) || checks.is_staff_id(id),
            system::STRUCTURE => checks.is_structure_id(id),
            _ => false,
        };
        if !known {
            let why = "a member is named by PS_IdNat or Struct_IdNat";
            return Err(Refusal::at(Reason::InvalidMetadata, EXPRESSION, why).by("R1111-46: care team"));
        }
        team.push(id.clone());
    }
    Ok(team)
}

/// TD0.3 declares for oneself; no actor means the caller. To declare for somebody else is no right of anybody's.
fn actor_is_the_caller(consent: &Consent<'_>, call: &Call) -> Result<(), Refusal> {
    const EXPRESSION: &str = "Consent.provision.actor.reference";
    let other = "TD0.3 declares the caller's own authorisation: name no actor, or the caller by identifier";
    if consent.has_unreadable_actor() {
        return Err(Refusal::at(Reason::InvalidMetadata, EXPRESSION, other));
    }
    let Some(actor) = consent.actor() else { return Ok(()) };
    let own = match actor.system() {
        system::PROFESSIONAL => actor.value() == call.caller.id(),
        // A professional declares for himself, staff for the structure (note 1).
        system::STRUCTURE => call.caller.accountable_structure() == Some(actor.value()),
        _ => false,
    };
    if own {
        return Ok(());
    }
    let why = "TD0.3 declares the caller's own authorisation, not another's";
    Err(Refusal::at(Reason::NoFunctionalRight, EXPRESSION, why).by("TD0.3: for oneself only"))
}
