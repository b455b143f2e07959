//! Time, randomness and identifiers, passed in so that a test can hold them still.

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

/// Tells the time. The server has one; tests have their own.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present instant, UTC.
    fn now(&self) -> Timestamp;
}

/// Makes the identifiers of new resources and requests.
pub trait Identifiers: Send + Sync + std::fmt::Debug {
    /// A fresh identifier. Version 4: it tells nothing about the time or the order of creation, and
    /// spreads evenly over the ranges of a distributed database.
    fn next(&self) -> Uuid;
}

/// What a running server takes from outside itself.
#[derive(Clone, Debug)]
pub struct Environment {
    clock: Arc<dyn Clock>,
    identifiers: Arc<dyn Identifiers>,
}

impl Environment {
    /// An environment of the given parts.
    pub fn new(clock: Arc<dyn Clock>, identifiers: Arc<dyn Identifiers>) -> Self {
        Self { clock, identifiers }
    }

    /// The machine's clock and its random number generator.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(RandomIdentifiers))
    }

    /// The present instant.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A fresh identifier in its hyphenated lower-case form.
    pub fn next_id(&self) -> String {
        self.identifiers.next().hyphenated().to_string()
    }

    /// A number that nobody can foretell: the last 62 bits of a fresh identifier.
    pub fn draw(&self) -> u64 {
        self.identifiers.next().as_u64_pair().1 & (u64::MAX >> 2)
    }

    /// The clock alone.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
}

#[derive(Debug)]
struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[derive(Debug)]
struct RandomIdentifiers;

impl Identifiers for RandomIdentifiers {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws identifiers")]
    fn next(&self) -> Uuid {
        Uuid::new_v4()
    }
}
