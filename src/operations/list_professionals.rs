//! TD1.6: who is authorised on a record, who is blocked, who is médecin traitant.

use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::Failure;
use crate::fhir::consent::HeldConsent;
use crate::identity::scope::Transaction;

/// The operation's name in traces.
pub const OPERATION: Operation =
    Operation::new("TD1.6 list professionals", Transaction::ListProfessionals, Budget::Search);

/// Which entries are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// `status`: in force or not.
    pub active: Option<bool>,
    /// `provision-type`: blocked or not.
    pub denied: Option<bool>,
}

/// Lists them. A record that does not exist is an empty list: TD0.2 tells the same.
///
/// # Errors
/// [`crate::error::Reason::NoFunctionalRight`], [`crate::error::Reason::Blocked`], [`crate::error::Reason::NoAuthorisation`] and
/// its kin, or the store's.
pub async fn run(
    call: &Call,
    patient: PatientKey,
    filter: Filter,
) -> Result<Traced<Vec<HeldConsent>>, Failure> {
    call.services.tables.decide_professionals_at_all(&call.caller).granted()?;
    call.must_be_of_the_session(&patient)?;
    let reading = call.clone();
    let (held, record_id, rule) = call
        .services
        .store
        .read(move |reader| {
            let call = &reading;
            let Some(facts) = call.searched_record(reader, &patient)? else {
                return Ok((Vec::new(), None, "no such record".to_owned()));
            };
            let decision = call.services.tables.decide_professionals(&call.caller, &facts, call.at()?);
            let grant = decision.granted().map_err(|refusal| refusal.concerning(&facts.id, None))?;
            let mut held = reader.professionals(&grant)?;
            let directory = call.services.sessions.directory.load();
            let holders: Vec<&str> = held.iter().map(|one| one.holder.as_str()).collect();
            let last = reader.last_actions(&grant, &holders)?;
            for one in &mut held {
                one.last_action = last.get(&one.holder).copied();
                // Whom the patient or a colleague named: the directory knows more of him.
                if one.is_structure && one.name.is_none() {
                    one.name = directory.structure_name(&one.holder).map(str::to_owned);
                }
                if !one.is_structure && one.profession.is_none() {
                    one.profession = directory.profession(&one.holder);
                }
            }
            held.retain(|one| {
                filter.active.is_none_or(|active| one.is_active(call.now()) == active)
                    && filter.denied.is_none_or(|denied| one.denied == denied)
            });
            Ok((held, Some(facts.id), grant.rule().to_owned()))
        })
        .await?;
    let trace = call.trace.granted(200, &rule, record_id.as_deref(), &[]);
    call.services.store.writer().record(trace, held).await
}
