//! The one path of writes: group commit.
//!
//! A thread drains the queue without a timer, runs whatever waits in one transaction, commits it durably, and only then
//! answers. Concurrent feeds and traces share one commit, which is what a disk is slow at. Each unit of work has its
//! own savepoint: one that fails does not take its neighbours with it.
//!
//! ```text
//! feed ──┐                       ┌─ savepoint: rows of the feed      (released)
//! trace ─┼─► queue ─► BEGIN ─────┼─ savepoint: a feed that is refused (undone)
//! feed ──┘                       └─ all their traces ─► COMMIT ─► answers
//! ```
//!
//! On PostgreSQL, where each statement is a round trip, traces that wait alone are one statement, which is a transaction of its own.
//!
//! [`Traced`] is the proof that the trace of a value is durable. Only this module makes one, after a commit.

mod causes;
mod queue;
#[cfg(all(test, feature = "schedules"))]
mod schedules;
mod units;

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use arc_swap::ArcSwapOption;
use diesel::QueryResult;
use diesel::result::Error as DieselError;
use tokio::sync::oneshot;

use super::StoreLimits;
use super::engine::{DatabaseConnection, DatabaseUrl};
use super::journal::TraceEntry;
use super::lane;
use super::reserve::Reserve;
use super::trace_log::TraceLog;
use crate::audit::merkle::Frontier;
use crate::error::Failure;
use causes::{cause, has_no_room, is_storage_error, is_worth_another_attempt, of_its_own};
use queue::{Queue, Waiting, queue};
use units::{Room, TraceOnly, Unit, Untraced, Work};

/// A value whose trace is durable: the only thing that may be answered.
#[derive(Debug)]
#[must_use]
pub struct Traced<T> {
    value: T,
}

impl<T> Traced<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The same trace, for a value derived from this one.
    pub fn map<U>(self, derive: impl FnOnce(T) -> U) -> Traced<U> {
        Traced { value: derive(self.value) }
    }
}

/// What a unit of work comes to.
#[derive(Debug)]
pub struct Step<T> {
    /// The result.
    pub value: T,
    /// Its trace.
    pub trace: TraceEntry,
    /// Whether the unit's writes are kept. The trace is kept either way.
    pub keep: bool,
}

/// The transaction of one unit of work. The statements are in `records` and `documents`.
pub struct Transaction<'a> {
    pub(super) connection: &'a mut DatabaseConnection,
}

/// The writer's handle.
#[derive(Clone)]
pub struct Writer {
    queue: Queue<Box<dyn Unit>>,
    full: Arc<AtomicBool>,
    counters: Arc<Counters>,
    head: Arc<ArcSwapOption<Frontier>>,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    units: AtomicU64,
}

/// What an operator watches.
#[derive(Clone, Copy, Debug)]
pub struct WriterFigures {
    /// Durable commits since the start.
    pub commits: u64,
    /// Units of work in them.
    pub units: u64,
    /// Units of work that wait now.
    pub waiting: usize,
    /// The disk is full: nothing is written but traces.
    pub full: bool,
}

impl fmt::Debug for Writer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Writer").field("running", &self.is_running()).finish_non_exhaustive()
    }
}

impl Writer {
    pub(super) fn start(url: &DatabaseUrl, limits: &StoreLimits) -> Result<Self> {
        let connection = DatabaseConnection::open_for_writing(url)?;
        let (queue, waiting) = queue(limits.queue, limits.batch).context("cannot start the writer")?;
        let reserve = Reserve::of(url, limits.reserve);
        let full = Arc::new(AtomicBool::new(false));
        if let Some(reserve) = &reserve
            && !reserve.make()?
        {
            reserve.give_away(&full);
        }
        let counters = Arc::new(Counters::default());
        let head = Arc::new(ArcSwapOption::empty());
        let worker = Worker {
            log: TraceLog::of(&limits.node),
            node: limits.node.clone(),
            head: Arc::clone(&head),
            counters: Arc::clone(&counters),
            url: url.clone(),
            connection: Some(connection),
            waiting,
            full: Arc::clone(&full),
            reserve,
            #[cfg(feature = "fault-injection")]
            acknowledge_before_commit: crate::faults::acknowledge_before_commit(),
        };
        std::thread::Builder::new()
            .name("writer".into())
            .spawn(move || worker.run())
            .context("cannot start the writer")?;
        Ok(Self { queue, full, counters, head })
    }

    /// What an operator watches.
    pub fn figures(&self) -> WriterFigures {
        WriterFigures {
            commits: self.counters.commits.load(Ordering::Relaxed),
            units: self.counters.units.load(Ordering::Relaxed),
            waiting: self.queue.len(),
            full: self.full.load(Ordering::Relaxed),
        }
    }

    /// How far this node's log goes, as of the last commit of ours; `None`: nothing was written since the start.
    pub fn head(&self) -> Option<Arc<Frontier>> {
        self.head.load_full()
    }

    /// Whether the writer takes work.
    pub fn is_running(&self) -> bool {
        self.queue.is_running()
    }

    /// Runs a unit of work and its trace in the next commit. The work may run more than once (a serialisation failure
    /// is tried again), each time from the same state of its captured values.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: nothing was done.
    pub async fn commit<T, F>(&self, mut work: F) -> Result<Traced<T>, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> QueryResult<Step<T>> + Send + 'static,
    {
        let traced = self.commit_if(move |transaction| work(transaction).map(Some)).await?;
        traced.ok_or_else(|| Failure::internal("a unit of work without a result"))
    }

    /// As [`Writer::commit`], for work that may find nothing to do: then nothing is kept, and there is no trace.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: nothing was done.
    pub async fn commit_if<T, F>(&self, work: F) -> Result<Option<Traced<T>>, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut Transaction<'_>) -> QueryResult<Option<Step<T>>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Work::new(work, reply)))?;
        in_time(answer).await?
    }

    /// Makes a trace durable, and with it the value that it is about.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the value must not be answered.
    pub async fn record<T: Send + 'static>(&self, trace: TraceEntry, value: T) -> Result<Traced<T>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(TraceOnly { trace, reply }))?;
        in_time(answer).await??;
        Ok(Traced { value })
    }

    /// Runs a unit of work that is no request of its own, and so has no trace: what it keeps is durable when this returns.
    /// The request that it serves is traced as any other.
    pub(super) async fn untraced<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut DatabaseConnection) -> QueryResult<T> + Send + 'static,
    {
        self.untraced_in(work, Room::Any).await
    }

    /// The same, for what a read writes before it is answered: it goes on while the disk is full, as traces do.
    pub(super) async fn untraced_on_reserve<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut DatabaseConnection) -> QueryResult<T> + Send + 'static,
    {
        self.untraced_in(work, Room::Reserve).await
    }

    async fn untraced_in<T, F>(&self, work: F, room: Room) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnMut(&mut DatabaseConnection) -> QueryResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.enqueue(Box::new(Untraced::new(work, room, reply)))?;
        in_time(answer).await?
    }

    /// Refuses while the disk is full: what is written beside the queue would take the room that is kept for traces.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn has_room(&self) -> Result<(), Failure> {
        if self.full.load(Ordering::Relaxed) { Err(Failure::unavailable(DISK_FULL)) } else { Ok(()) }
    }

    fn enqueue(&self, unit: Box<dyn Unit>) -> Result<(), Failure> {
        if unit.room() == Room::Any {
            self.has_room()?;
        }
        self.queue.put(unit, lane::current())
    }
}

/// Waits for the commit, and not for ever: a database that hangs is answered with 503.
async fn in_time<T>(answer: oneshot::Receiver<T>) -> Result<T, Failure> {
    const PATIENCE: Duration = Duration::from_secs(60);
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map_err(|_| Failure::unavailable("the writer stopped")),
        Err(_) => Err(Failure::unavailable("the commit did not come in time")),
    }
}

struct Worker {
    counters: Arc<Counters>,
    url: DatabaseUrl,
    connection: Option<DatabaseConnection>,
    waiting: Waiting<Box<dyn Unit>>,
    log: TraceLog,
    /// Whose writer it is.
    node: String,
    head: Arc<ArcSwapOption<Frontier>>,
    full: Arc<AtomicBool>,
    reserve: Option<Reserve>,
    #[cfg(feature = "fault-injection")]
    acknowledge_before_commit: bool,
}

/// How long a node's writer waits before an attempt: not at all, then up to twice as many milliseconds each time; which of them, its name and the attempt say, so
/// that those that met do not meet again.
fn pause(node: &str, attempt: u32, written: u64) -> Duration {
    let mut hasher = DefaultHasher::new();
    (node, attempt, written).hash(&mut hasher);
    let most = 1_000 * u64::from(attempt.saturating_sub(1).min(6)) * 2;
    Duration::from_micros(if most == 0 { 0 } else { hasher.finish() % most })
}

/// What waits for room is told so.
const DISK_FULL: &str = "the disk is full: nothing is written but traces";

impl Worker {
    fn run(mut self) {
        while let Some(units) = self.waiting.next_batch() {
            self.serve(units);
        }
    }

    fn serve(&mut self, mut units: Vec<Box<dyn Unit>>) {
        #[cfg(feature = "fault-injection")]
        if self.acknowledge_before_commit {
            return self.serve_with_fault(units);
        }
        let committed = self.commit(&mut units);
        if committed.is_ok() {
            self.counters.commits.fetch_add(1, Ordering::Relaxed);
            self.counters.units.fetch_add(units.len() as u64, Ordering::Relaxed);
        }
        for unit in units {
            unit.answer(committed.clone());
        }
    }

    /// The control of the kill test: answers before the commit.
    #[cfg(feature = "fault-injection")]
    fn serve_with_fault(&mut self, mut units: Vec<Box<dyn Unit>>) {
        let Some(connection) = self.connection.as_mut() else { return };
        let ran = connection
            .begin()
            .and_then(|()| run_units(connection, &mut each(&mut units).collect::<Vec<_>>(), &self.log));
        for unit in units {
            unit.answer(ran.as_ref().map(|_| ()).map_err(ToString::to_string));
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
        let _ = connection.commit();
        self.log.committed(None);
    }

    /// While the disk is full, traces alone are kept, on the room that was kept for them.
    fn commit(&mut self, units: &mut [Box<dyn Unit>]) -> Result<(), String> {
        if !self.full.load(Ordering::Relaxed) {
            let committed = self.commit_all(&mut each(units).collect::<Vec<_>>());
            if committed.is_ok() || !self.full.load(Ordering::Relaxed) {
                return committed;
            }
        }
        for unit in each(units).filter(|unit| unit.room() == Room::Any) {
            unit.fail(Failure::unavailable(DISK_FULL));
        }
        let mut kept: Vec<_> = each(units).filter(|unit| unit.room() == Room::Reserve).collect();
        if kept.is_empty() { Ok(()) } else { self.commit_all(&mut kept) }
    }

    fn commit_all(&mut self, units: &mut [&mut dyn Unit]) -> Result<(), String> {
        /// Serialisation failures, deadlocks and races for a unique key are tried again so often.
        const ATTEMPTS: u32 = 10;
        let mut last = String::new();
        for attempt in 1..=ATTEMPTS {
            let log = self.log.clone();
            let connection = match self.connected() {
                Ok(connection) => connection,
                Err(error) => {
                    if error.chain().any(|cause| cause.downcast_ref().is_some_and(has_no_room)) {
                        self.give_reserve_away();
                    }
                    return Err(format!("{error:#}"));
                }
            };
            let error = match transaction(connection, units, &log) {
                Ok(frontier) => {
                    if let Some(frontier) = &frontier {
                        self.head.store(Some(Arc::new(frontier.clone())));
                    }
                    self.log.committed(frontier);
                    return Ok(());
                }
                Err(error) => error,
            };
            self.log.committed(None);
            last = error.to_string();
            if is_storage_error(&error) {
                tracing::error!(cause = %last, "storage error: the writer stops for good");
                self.waiting.stop();
                return Err(last);
            }
            if has_no_room(&error) {
                self.give_reserve_away();
            }
            if !is_worth_another_attempt(&error) {
                // Whatever state the connection is in, the next batch begins with a new one.
                self.connection = None;
                return Err(last);
            }
            tracing::debug!(attempt, cause = %last, "write transaction tried again");
            if attempt < ATTEMPTS {
                std::thread::sleep(pause(&self.node, attempt, self.counters.units.load(Ordering::Relaxed)));
            }
        }
        Err(last)
    }

    fn give_reserve_away(&self) {
        if let Some(reserve) = &self.reserve {
            reserve.give_away(&self.full);
        }
    }

    fn connected(&mut self) -> Result<&mut DatabaseConnection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => DatabaseConnection::open_for_writing(&self.url)?,
        };
        Ok(self.connection.insert(connection))
    }
}

/// Units as they are run.
fn each(units: &mut [Box<dyn Unit>]) -> impl Iterator<Item = &mut dyn Unit> {
    units.iter_mut().map(|unit| &mut **unit as &mut dyn Unit)
}

fn transaction(
    connection: &mut DatabaseConnection,
    units: &mut [&mut dyn Unit],
    log: &TraceLog,
) -> QueryResult<Option<Frontier>> {
    let not_as_known;
    let mut log = log;
    // Traces of reads, and nothing else: a statement is a transaction.
    if matches!(connection, DatabaseConnection::Postgres(_)) && units.iter().all(|unit| !unit.writes()) {
        let traces: Vec<&TraceEntry> = units.iter().filter_map(|unit| unit.trace()).collect();
        let appended = log.append_at_once(connection, &traces).map_err(cause)?;
        if appended.is_some() {
            return Ok(appended);
        }
        not_as_known = log.to_be_read();
        log = &not_as_known;
    }
    connection.begin()?;
    let ran = run_units(connection, units, log);
    match ran.and_then(|frontier| connection.commit().map(|()| frontier)) {
        Ok(frontier) => Ok(frontier),
        Err(error) => {
            // The cause is what is told; a rollback that fails too leaves a connection that is dropped.
            let _ = connection.rollback();
            Err(cause(error))
        }
    }
}

fn run_units(
    connection: &mut DatabaseConnection,
    units: &mut [&mut dyn Unit],
    log: &TraceLog,
) -> QueryResult<Option<Frontier>> {
    for unit in units.iter_mut().filter(|unit| unit.writes()) {
        connection.begin()?;
        match run_unit(*unit, connection).map_err(cause) {
            Ok(true) => connection.commit()?,
            Ok(false) => connection.rollback()?,
            Err(error) => {
                let undone = connection.rollback();
                // Where the savepoint cannot be undone the whole batch is lost, for the first reason and not the second.
                let of_all =
                    is_worth_another_attempt(&error) || is_storage_error(&error) || has_no_room(&error);
                if undone.is_err() || of_all {
                    return Err(error);
                }
                unit.fail(of_its_own(error));
            }
        }
    }
    let traces: Vec<&TraceEntry> = units.iter().filter_map(|unit| unit.trace()).collect();
    log.append(connection, &traces)
}

/// A unit that panics is one that failed: the writer, and the units beside it, go on.
fn run_unit(unit: &mut dyn Unit, connection: &mut DatabaseConnection) -> QueryResult<bool> {
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unit.run(connection)));
    ran.unwrap_or_else(|panicked| {
        let said = panicked.downcast_ref::<&str>().copied();
        let said = said.or_else(|| panicked.downcast_ref::<String>().map(String::as_str));
        let why = format!("a unit of work panicked: {}", said.unwrap_or("with no text"));
        Err(DieselError::QueryBuilderError(why.into()))
    })
}
