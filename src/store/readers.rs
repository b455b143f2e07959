//! Reads: a bounded number of connections, one closure in one hop off the event loop.

mod permits;

use anyhow::Result;
use diesel::connection::SimpleConnection;
use diesel::r2d2::{self, ManageConnection};

use super::engine::{DatabaseConnection, DatabaseUrl};
use super::lane::{self, Lane};
use super::{StoreLimits, unavailable};
use crate::error::Failure;
use permits::Permits;

/// One connection, lent for one unit of work. The queries are in `records` and `documents`.
pub struct Reader<'a> {
    pub(super) connection: &'a mut DatabaseConnection,
}

impl Reader<'_> {
    /// Whether each statement is a round trip.
    pub fn pays_each_statement(&self) -> bool {
        matches!(self.connection, DatabaseConnection::Postgres(_))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub fn ping(&mut self) -> Result<(), Failure> {
        self.connection.batch_execute("SELECT 1").map_err(unavailable)
    }
}

/// Reads from a database without serving it: nothing is migrated or written.
///
/// # Errors
/// It cannot be reached, belongs to another version of the program, or what the closure says.
pub fn look<T>(url: &DatabaseUrl, work: impl FnOnce(&mut Reader<'_>) -> Result<T, Failure>) -> Result<T> {
    let mut connection = DatabaseConnection::open_for_reading(url)?;
    super::engine::must_be_of_this_version(&mut connection)?;
    work(&mut Reader { connection: &mut connection }).map_err(|failure| anyhow::anyhow!("{failure}"))
}

#[derive(Clone, Debug)]
pub(super) struct Readers {
    pool: r2d2::Pool<Manager>,
    permits: Permits,
    /// For emergencies alone: connections that nothing else takes, whether or not it asks for leave.
    emergencies: r2d2::Pool<Manager>,
    patience: std::time::Duration,
    /// SQLite answers from memory in less time than the way to another thread and back takes (measured: 0.1 ms against
    /// 0.3 ms of processor time for a query), so its reads stay on the worker's thread.
    at_once: bool,
}

impl Readers {
    pub(super) fn open(url: &DatabaseUrl, limits: &StoreLimits) -> Result<Self> {
        Self::of(url, limits.readers, limits, false)
    }

    /// A few connections that write single rows, each statement a transaction of its own: none holds a lock while it
    /// waits for another, so nodes cannot stop one another. PostgreSQL only; SQLite has one writer.
    pub(super) fn open_for_single_rows(url: &DatabaseUrl, limits: &StoreLimits) -> Result<Self> {
        Self::of(url, limits.readers.div_ceil(4).max(2), limits, true)
    }

    fn of(url: &DatabaseUrl, size: u32, limits: &StoreLimits, writes: bool) -> Result<Self> {
        let pool = |size: u32, idle: u32| {
            r2d2::Pool::builder()
                .max_size(size)
                .min_idle(Some(idle))
                .test_on_check_out(false)
                .connection_timeout(limits.patience)
                .build(Manager { url: url.clone(), writes })
        };
        let permits = Permits::of(size, KEPT_FOR_EMERGENCIES);
        let emergencies = pool(KEPT_FOR_EMERGENCIES, 0)?;
        let pool = pool(size, u32::from(!writes))?;
        let at_once = matches!(url, DatabaseUrl::Sqlite(_));
        Ok(Self { pool, permits, emergencies, patience: limits.patience, at_once })
    }

    /// On the calling thread, which may block: within a longer piece of blocking work.
    pub(super) fn run_here<T>(
        &self,
        work: impl FnOnce(&mut Reader<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        lent(&self.pool, work)
    }

    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&mut Reader<'_>) -> Result<T, Failure> + Send + 'static,
    {
        if self.at_once {
            return self.run_here(work);
        }
        let lane = lane::current();
        let (permit, taken) = tokio::time::timeout(self.patience, self.permits.take(lane))
            .await
            .map_err(|_| Failure::unavailable("no read connection became free in time"))??;
        let pool = match taken {
            Lane::Ordinary => self.pool.clone(),
            Lane::Emergency => self.emergencies.clone(),
        };
        tokio::task::spawn_blocking(move || {
            #[cfg(feature = "fault-injection")]
            if lane == lane::Lane::Ordinary && crate::faults::slow_reads() {
                std::thread::sleep(std::time::Duration::from_secs(3));
            }
            let result = lent(&pool, work);
            drop(permit);
            result
        })
        .await
        .map_err(Failure::internal)?
    }
}

/// Connections for emergencies, beside the others.
const KEPT_FOR_EMERGENCIES: u32 = 2;

fn lent<T>(
    pool: &r2d2::Pool<Manager>,
    work: impl FnOnce(&mut Reader<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut slot = pool.get().map_err(Failure::unavailable)?;
    let result = work(&mut Reader { connection: &mut slot.connection });
    // Whatever went wrong with it, the next to read gets another connection.
    slot.is_spent = matches!(result, Err(Failure::Unavailable { .. }));
    result
}

/// A connection of the pool.
struct Slot {
    connection: DatabaseConnection,
    is_spent: bool,
}

#[derive(Debug)]
struct Manager {
    url: DatabaseUrl,
    writes: bool,
}

impl ManageConnection for Manager {
    type Connection = Slot;
    type Error = ConnectError;

    fn connect(&self) -> Result<Slot, ConnectError> {
        let connection = if self.writes {
            DatabaseConnection::open_for_writing(&self.url)
        } else {
            DatabaseConnection::open_for_reading(&self.url)
        };
        let connection = connection.map_err(|error| ConnectError(format!("{error:#}")))?;
        Ok(Slot { connection, is_spent: false })
    }

    fn is_valid(&self, slot: &mut Slot) -> Result<(), ConnectError> {
        slot.connection.batch_execute("SELECT 1").map_err(|error| ConnectError(error.to_string()))
    }

    fn has_broken(&self, slot: &mut Slot) -> bool {
        slot.is_spent || std::thread::panicking()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct ConnectError(String);
