//! Budgets: how often a caller may call, each kind of call for itself.
//!
//! They are keyed by who was authenticated (person, structure, and the software whose organisation certificate it is; the
//! certificate alone where nobody acts), never by address. What a client merely says of itself, a name or a homologation id,
//! is no part of the key: it would be a fresh budget for the typing. The
//! people whom an establishment names are counted apart from the same people in person, and all together on the
//! establishment's certificate. Searches, reads, feeds and tokens have budgets of their own, so that searching never holds up
//! feeding (EX_3.1-2035). Each node counts for itself, unless the configuration says that nodes share: then the counts stand
//! in the database.
//!
//! A refusal that is paid from no budget (a token that does not count, a revoked card on an open connection, a spent budget)
//! is a durable trace all the same. So many a minute of one certificate are answered at once; the others wait for their turn.

use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::digest;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::error::{Failure, Reason, Refusal};
use crate::identity::{Authentication, Caller};
use crate::operations::Budget;
use crate::store::Store;

/// What one caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Calls a minute, in the long run.
    pub per_minute: NonZeroU32,
    /// Calls at once.
    pub burst: NonZeroU32,
}

impl Allowance {
    /// So many a minute, so many at once; at least one of each.
    pub const fn new(per_minute: u32, burst: u32) -> Self {
        const fn at_least_one(number: u32) -> NonZeroU32 {
            match NonZeroU32::new(number) {
                Some(number) => number,
                None => NonZeroU32::MIN,
            }
        }
        Self { per_minute: at_least_one(per_minute), burst: at_least_one(burst) }
    }
}

impl Allowance {
    /// So many times as much.
    const fn times(self, times: u32) -> Self {
        Self::new(self.per_minute.get().saturating_mul(times), self.burst.get().saturating_mul(times))
    }
}

/// The budgets of each caller.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    /// Searches.
    pub search: Allowance,
    /// Reads.
    pub read: Allowance,
    /// Feeds.
    pub feed: Allowance,
    /// Tokens.
    pub token: Allowance,
    /// Counted over all nodes, in the database.
    pub shared: bool,
}

impl Default for Budgets {
    /// A professional at work does not come near; a program that enumerates does.
    fn default() -> Self {
        Self {
            search: Allowance::new(120, 60),
            read: Allowance::new(600, 200),
            feed: Allowance::new(600, 200),
            token: Allowance::new(120, 60),
            shared: false,
        }
    }
}

type Key = [u8; 16];

/// Counts, and refuses what is too much.
#[derive(Debug)]
pub struct Limits {
    budgets: Budgets,
    local: [DefaultKeyedRateLimiter<Key>; 4],
    establishments: [DefaultKeyedRateLimiter<Key>; 4],
    refusals: DefaultKeyedRateLimiter<Key>,
    refusals_of_establishments: DefaultKeyedRateLimiter<Key>,
}

/// An establishment has as many people at work at one time.
const ESTABLISHMENT: u32 = 50;
/// Refusals of one certificate that are answered at once.
const REFUSALS: Allowance = Allowance::new(120, 120);
/// A refusal waits so long at most.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Callers counted apart, at most. Beyond, those of one certificate are counted together.
const MAXIMUM_CALLERS: usize = 100_000;
/// How long a shared window is, seconds.
const WINDOW: i64 = 60;

impl Limits {
    /// Limits of these budgets.
    pub fn new(budgets: Budgets) -> Self {
        fn limiter(Allowance { per_minute, burst }: Allowance) -> DefaultKeyedRateLimiter<Key> {
            RateLimiter::keyed(Quota::per_minute(per_minute).allow_burst(burst))
        }
        Self {
            budgets,
            local: Budget::ALL.map(|budget| limiter(budgets.of(budget))),
            establishments: Budget::ALL.map(|budget| limiter(budgets.of(budget).times(ESTABLISHMENT))),
            refusals: limiter(REFUSALS),
            refusals_of_establishments: limiter(REFUSALS.times(ESTABLISHMENT)),
        }
    }

    /// Takes one call from a budget of a caller.
    ///
    /// # Errors
    /// [`Reason::BudgetSpent`]; the store's, when nodes share.
    pub async fn take(&self, store: &Store, budget: Budget, who: &Who<'_>, now: i64) -> Result<(), Failure> {
        let allowance = self.budgets.of(budget);
        // The person first: who has spent his own takes nothing of his colleagues'.
        if who.caller.is_some() || !who.organisation {
            self.take_one(store, &self.local, (budget, allowance), self.key(budget, who), now).await?;
        }
        if who.organisation {
            let all = allowance.times(ESTABLISHMENT);
            self.take_one(store, &self.establishments, (budget, all), who.of_certificate(), now).await?;
        }
        Ok(())
    }

    async fn take_one(
        &self,
        store: &Store,
        limiters: &[DefaultKeyedRateLimiter<Key>; 4],
        (budget, allowance): (Budget, Allowance),
        key: Key,
        now: i64,
    ) -> Result<(), Failure> {
        let Some(limiter) = limiters.get(budget as usize) else { return Ok(()) };
        // Shared or not, what is too much for one node need not be counted over all.
        limiter.check_key(&key).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            spent(budget, wait)
        })?;
        if self.budgets.shared {
            return take_shared(store, (budget, allowance), key, now).await;
        }
        Ok(())
    }

    fn key(&self, budget: Budget, who: &Who<'_>) -> Key {
        let known = self.local.get(budget as usize).map_or(0, DefaultKeyedRateLimiter::len);
        if known < MAXIMUM_CALLERS { who.key() } else { who.of_certificate() }
    }

    /// Waits until a refusal of this certificate may be answered.
    pub async fn hold_refusal(&self, certificate: &[u8; 32], organisation: bool) {
        let key = Who { certificate, caller: None, organisation }.of_certificate();
        let limiter = if organisation { &self.refusals_of_establishments } else { &self.refusals };
        let begun = DefaultClock::default().now();
        while let Err(until) = limiter.check_key(&key) {
            let now = DefaultClock::default().now();
            if now.duration_since(begun) >= LONGEST_WAIT {
                return;
            }
            // Not all at the same instant.
            let wait = until.wait_time_from(now).max(Duration::from_millis(50));
            tokio::time::sleep(wait.min(Duration::from_secs(1))).await;
        }
    }

    /// Forgets callers who have their whole budget again. To be called from time to time: governor forgets nobody.
    pub fn forget_idle(&self) {
        for limiter in self
            .local
            .iter()
            .chain(&self.establishments)
            .chain([&self.refusals, &self.refusals_of_establishments])
        {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }

    /// Callers that are remembered, over all budgets.
    pub fn remembered(&self) -> usize {
        self.local.iter().map(DefaultKeyedRateLimiter::len).sum()
    }
}

/// A whole minute's calls in a window, burst included: coarser than the count of one node.
async fn take_shared(
    store: &Store,
    (budget, allowance): (Budget, Allowance),
    key: Key,
    now: i64,
) -> Result<(), Failure> {
    let since = now - now.rem_euclid(WINDOW);
    let key = format!("{}/{}/{}", budget.name(), allowance.per_minute, crate::store::hex(&key));
    let counted = store.count(key, since).await?;
    if counted > i64::from(allowance.per_minute.get()) {
        let wait = u64::try_from(since + WINDOW - now).unwrap_or_default();
        return Err(spent(budget, Duration::from_secs(wait)).into());
    }
    Ok(())
}

impl Budgets {
    /// The allowance of one budget.
    pub const fn of(&self, budget: Budget) -> Allowance {
        match budget {
            Budget::Search => self.search,
            Budget::Read => self.read,
            Budget::Feed => self.feed,
            Budget::Token => self.token,
        }
    }
}

/// Who is counted.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// SHA-256 of the certificate.
    pub certificate: &'a [u8; 32],
    /// Who acts, where that is known.
    pub caller: Option<&'a Caller>,
    /// The certificate is an organisation's.
    pub organisation: bool,
}

impl Who<'_> {
    fn key(&self) -> Key {
        let Some(caller) = self.caller else { return self.of_certificate() };
        let structure = caller.structure.as_deref().unwrap_or_default();
        // Whom an establishment names does not spend what the person has in person.
        let way = match caller.authentication {
            Authentication::Card | Authentication::ProSanteConnect => "in person",
            Authentication::Indirect | Authentication::IndirectReinforced => "named",
        };
        // The software is the one that its certificate proves, and not the one that it says it is.
        let software: &[u8] = if self.organisation { self.certificate } else { &[] };
        hashed(&[caller.id().as_bytes(), structure.as_bytes(), way.as_bytes(), software])
    }

    fn of_certificate(&self) -> Key {
        hashed(&[self.certificate])
    }
}

fn hashed(parts: &[&[u8]]) -> Key {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
        context.update(&[0]);
    }
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    key
}

fn spent(budget: Budget, wait: Duration) -> Refusal {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let mut refusal = Refusal::new(
        Reason::BudgetSpent,
        format!("the {} budget of this caller is spent: try again in {} s", budget.name(), seconds.max(1)),
    );
    refusal.retry_after = Some(seconds.max(1));
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Actor, Profession};

    fn doctor(id: &str) -> Caller {
        Caller::by_card(Actor::Professional {
            id: id.to_owned(),
            profession: Profession::new(Profession::DOCTOR),
            specialities: Vec::new(),
            in_training: false,
        })
    }

    #[test]
    fn memory_is_bounded_by_callers_and_the_idle_are_forgotten() {
        // So many a minute that a budget is whole again at once.
        let allowance = Allowance::new(u32::MAX, 1_000_000);
        let budgets =
            Budgets { search: allowance, read: allowance, feed: allowance, token: allowance, shared: false };
        let limits = Limits::new(budgets);
        let limiter = &limits.local[Budget::Search as usize];
        for number in 0..1000 {
            let caller = doctor(&format!("8{number}"));
            let who = Who { certificate: &[1; 32], caller: Some(&caller), organisation: false };
            assert!(limiter.check_key(&who.key()).is_ok());
        }
        assert_eq!(limits.remembered(), 1000);
        std::thread::sleep(Duration::from_millis(20));
        limits.forget_idle();
        assert_eq!(limits.remembered(), 0);
    }

    #[test]
    fn callers_are_told_apart_by_person_and_structure() {
        let (one, two) = ([1; 32], [2; 32]);
        let key = |certificate: &[u8; 32], caller: Option<&Caller>| {
            Who { certificate, caller, organisation: false }.key()
        };
        let first = doctor("810100000016");
        assert_eq!(key(&one, Some(&first)), key(&two, Some(&first)), "one person with two cards");
        assert_ne!(key(&one, Some(&first)), key(&one, Some(&doctor("810100000024"))));
        let elsewhere = Caller { structure: Some("1750000101".into()), ..first.clone() };
        assert_ne!(key(&one, Some(&first)), key(&one, Some(&elsewhere)));
        assert_ne!(key(&one, None), key(&two, None));
        let software = crate::identity::software::Software { registered: true, ..Default::default() };
        let typed = Caller { software: Some(software), ..first.clone() };
        assert_eq!(key(&one, Some(&first)), key(&one, Some(&typed)), "what is merely said is no new budget");
        let over = |certificate| Who { certificate, caller: Some(&first), organisation: true }.key();
        assert_ne!(over(&one), over(&two), "two products of one professional");
        let named = Caller { authentication: Authentication::Indirect, ..first.clone() };
        assert_ne!(key(&one, Some(&first)), key(&one, Some(&named)), "an establishment spends nobody's own");
    }
}
