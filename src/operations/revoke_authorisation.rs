//! TD0.3: an authorisation taken back, or the status of médecin traitant given up (`PATCH /Consent/{id}`).

use super::{Budget, Call, Operation, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::identity::scope::Transaction as Scope;
use crate::rights::RecordFacts;
use crate::store::{Hold, RecordKey, Step, StoreError, Transaction};

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::new("TD0.3 revoke authorisation", Scope::Declare, Budget::Feed);

/// Whether the caller's column lets it revoke at all: asked before anything is read or looked up.
///
/// # Errors
/// [`Reason::NoFunctionalRight`].
pub fn permitted_at_all(call: &Call) -> Result<(), Refusal> {
    call.services.tables.decide_revoking_at_all(&call.caller).granted()
}

/// The one version of a Consent that stands: what changes it takes it back.
const VERSION: i64 = 1;

/// Revokes. A refusal inside the result has its trace already. What the caller does not hold is not there. `if_match`: the version that
/// the caller means.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::NoFunctionalRight`], [`Reason::VersionConflict`], or the store's.
pub async fn run(
    call: &Call,
    id: String,
    if_match: Option<i64>,
) -> Result<Traced<Result<Revoked, Refusal>>, Failure> {
    permitted_at_all(call)?;
    super::must_be_an_id(&id)?;
    let (committing, at) = (call.clone(), call.at()?);
    call.services
        .store
        .writer()
        .commit(move |transaction| {
            let call = &committing;
            let (record_id, mut decided) = revoke(call, transaction, &id, at)?;
            // Only of what was one's own to take back is told which version it has.
            if decided.is_ok() && if_match.is_some_and(|version| version != VERSION) {
                let why = "If-Match names another version than the current one";
                decided = Err(Refusal::new(Reason::VersionConflict, why).by("If-Match"));
            }
            Ok(match decided {
                Ok((rule, record_id)) => {
                    let trace = call.trace.granted(200, &rule, Some(&record_id), std::slice::from_ref(&id));
                    Step { value: Ok(Revoked { id: id.clone(), record_id }), trace, keep: true }
                }
                Err(refusal) => {
                    let refusal = match &record_id {
                        Some(record_id) => refusal.concerning(record_id, Some(&id)),
                        None => refusal,
                    };
                    let trace = call.trace.failed(&refusal.clone().into(), refusal.reason.status());
                    Step { value: Err(refusal), trace, keep: false }
                }
            })
        })
        .await
}

/// What was taken back.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// `Consent.id`.
    pub id: String,
    /// The record.
    pub record_id: String,
}

type Outcome = (Option<String>, Result<(String, String), Refusal>);

fn revoke(
    call: &Call,
    transaction: &mut Transaction<'_>,
    id: &str,
    at: jiff::Timestamp,
) -> Result<Outcome, StoreError> {
    let unknown = |rule: &'static str| Refusal::new(Reason::NotFound, "no such resource").by(rule);
    let found = transaction.record_of_consent(id)?;
    let (record_id, names_treating) = found.unwrap_or_default();
    let key = RecordKey::Id(record_id.clone());
    let Some(facts) = transaction.record_facts(&key, &call.caller, call.now(), Hold::Shared)? else {
        // The unknown takes the time of the hidden: it is decided on a record that is nobody's, and nothing of it is taken back.
        drop(taken_back(call, transaction, &super::decoy(), id, false, at)?);
        return Ok((None, Err(unknown("no such identifier"))));
    };
    let decided = taken_back(call, transaction, &facts, id, names_treating, at)?;
    Ok((Some(record_id), decided))
}

fn taken_back(
    call: &Call,
    transaction: &mut Transaction<'_>,
    facts: &RecordFacts,
    id: &str,
    names_treating: bool,
    at: jiff::Timestamp,
) -> Result<Result<(String, String), Refusal>, StoreError> {
    // Named by its identifier: whether somebody else's Consent exists is not told.
    let not_ones_own =
        || Refusal::new(Reason::NotFound, "no such resource").by("TD0.3: one's own authorisation");
    let tables = &call.services.tables;
    let (gone, rule) = if names_treating {
        match tables.decide_giving_up(&call.caller, facts, at).granted_or_unknown() {
            Ok(grant) => (transaction.give_up(&grant, id)?, grant.rule().to_owned()),
            Err(refusal) => return Ok(Err(refusal)),
        }
    } else {
        match tables.decide_revocation(&call.caller, facts, at).granted_or_unknown() {
            Ok(grant) => (transaction.revoke(&grant, id)?, grant.rule().to_owned()),
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
    Ok(if gone { Ok((rule, facts.id.clone())) } else { Err(not_ones_own()) })
}
