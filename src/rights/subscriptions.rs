//! Who may follow a record (contract: notices, `Subscription`). No cell of the sheets names it: who may search a record may be told that there is
//! something to search for, and no more. So what is told is decided on as each search is, when it is told.

use jiff::Timestamp;

use super::decision::{Decision, Tables};
use super::facts::RecordFacts;
use super::scope::scope;
use crate::error::{Reason, Refusal};
use crate::identity::Caller;
use crate::identity::kept::KeptCaller;

/// May follow one record.
#[derive(Clone, Debug)]
pub struct SubscriptionGrant {
    record_id: String,
    follower: KeptCaller,
    caller_id: String,
    rule: String,
}

/// May read and change one's own subscriptions.
#[derive(Clone, Debug)]
pub struct OwnSubscriptionsGrant {
    caller_id: String,
}

impl SubscriptionGrant {
    /// The record.
    pub fn record_id(&self) -> &str {
        &self.record_id
    }

    /// Its holder's own subscriptions.
    pub fn own(&self) -> OwnSubscriptionsGrant {
        OwnSubscriptionsGrant { caller_id: self.caller_id.clone() }
    }

    /// Who follows it.
    pub fn follower(&self) -> &KeptCaller {
        &self.follower
    }

    /// PS_IdNat.
    pub fn caller_id(&self) -> &str {
        &self.caller_id
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl OwnSubscriptionsGrant {
    /// PS_IdNat.
    pub fn caller_id(&self) -> &str {
        &self.caller_id
    }

    /// The rule that decided.
    pub fn rule(&self) -> &'static str {
        "contract: one's own subscriptions"
    }
}

impl Tables {
    /// Whether the caller has subscriptions at all: a professional who acts directly, in the mode that is none of an emergency, in a session
    /// that is neither secret nor for one record.
    pub fn decide_own_subscriptions(&self, caller: &Caller) -> Decision<OwnSubscriptionsGrant> {
        if let Err(refusal) = self.decide_searching_at_all(caller, false).granted() {
            return Decision::Refuse(refusal);
        }
        match KeptCaller::of(caller) {
            Some(_) => Decision::Permit(OwnSubscriptionsGrant { caller_id: caller.id().to_owned() }),
            None => Decision::Refuse(
                Refusal::new(
                    Reason::WrongMode,
                    "a record is followed in the normal mode, with a card or an e-CPS",
                )
                .by("contract: Subscription, direct authentication"),
            ),
        }
    }

    /// Whether the caller may follow a record: as he may search it.
    pub fn decide_subscription(
        &self,
        caller: &Caller,
        record: &RecordFacts,
        now: Timestamp,
    ) -> Decision<SubscriptionGrant> {
        let own = match self.decide_own_subscriptions(caller).granted() {
            Ok(own) => own,
            Err(refusal) => return Decision::Refuse(refusal),
        };
        let Some(follower) = KeptCaller::of(caller) else {
            return Decision::Refuse(Refusal::new(Reason::WrongMode, "nobody who follows records"));
        };
        let caller_id = own.caller_id;
        scope(&self.towards(caller, record, now))
            .map(|scope| SubscriptionGrant {
                record_id: record.id.clone(),
                follower,
                caller_id,
                rule: format!("{}; contract: Subscription", scope.rule()),
            })
            .into()
    }
}
