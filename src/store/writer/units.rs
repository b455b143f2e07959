//! What waits in the writer's queue: a unit of work, whatever its result's type.

use diesel::QueryResult;
use tokio::sync::oneshot;

use super::{Step, Traced, Transaction};
use crate::error::Failure;
use crate::store::engine::DatabaseConnection;
use crate::store::journal::TraceEntry;

/// On which room a unit may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// What the disk has; refused when it is full.
    Any,
    /// That which is kept for a full disk, too.
    Reserve,
}

/// One waiting unit, whatever its result's type.
pub(super) trait Unit: Send {
    /// Where it may be kept.
    fn room(&self) -> Room {
        Room::Any
    }
    /// Whether it needs a savepoint of its own.
    fn writes(&self) -> bool;
    /// Runs it; `Ok(true)` when its writes are kept.
    fn run(&mut self, connection: &mut DatabaseConnection) -> QueryResult<bool>;
    /// It failed for a reason of its own.
    fn fail(&mut self, failure: Failure);
    /// Its trace.
    fn trace(&self) -> Option<&TraceEntry>;
    /// The commit stands, or did not come about.
    fn answer(self: Box<Self>, committed: Result<(), String>);
}

pub(super) struct Work<T, F> {
    work: F,
    step: Option<Step<T>>,
    failure: Option<Failure>,
    reply: oneshot::Sender<Result<Option<Traced<T>>, Failure>>,
}

impl<T, F> Work<T, F> {
    pub(super) const fn new(work: F, reply: oneshot::Sender<Result<Option<Traced<T>>, Failure>>) -> Self {
        Self { work, step: None, failure: None, reply }
    }
}

impl<T, F> Unit for Work<T, F>
where
    T: Send,
    F: FnMut(&mut Transaction<'_>) -> QueryResult<Option<Step<T>>> + Send,
{
    fn writes(&self) -> bool {
        true
    }

    fn run(&mut self, connection: &mut DatabaseConnection) -> QueryResult<bool> {
        (self.step, self.failure) = (None, None);
        self.step = (self.work)(&mut Transaction { connection })?;
        Ok(self.step.as_ref().is_some_and(|step| step.keep))
    }

    fn fail(&mut self, failure: Failure) {
        self.step = None;
        self.failure = Some(failure);
    }

    fn trace(&self) -> Option<&TraceEntry> {
        self.step.as_ref().map(|step| &step.trace)
    }

    fn answer(self: Box<Self>, committed: Result<(), String>) {
        let result = match (committed, self.step, self.failure) {
            (Ok(()), step, None) => Ok(step.map(|step| Traced { value: step.value })),
            (Err(cause), ..) => Err(Failure::Unavailable { cause }),
            (Ok(()), _, Some(failure)) => Err(failure),
        };
        // A caller that has gone away has its effect and its trace all the same.
        let _ = self.reply.send(result);
    }
}

pub(super) struct TraceOnly {
    pub(super) trace: TraceEntry,
    pub(super) reply: oneshot::Sender<Result<(), Failure>>,
}

impl Unit for TraceOnly {
    fn room(&self) -> Room {
        Room::Reserve
    }

    fn writes(&self) -> bool {
        false
    }

    fn run(&mut self, _: &mut DatabaseConnection) -> QueryResult<bool> {
        Ok(true)
    }

    fn fail(&mut self, _: Failure) {}

    fn trace(&self) -> Option<&TraceEntry> {
        Some(&self.trace)
    }

    fn answer(self: Box<Self>, committed: Result<(), String>) {
        let _ = self.reply.send(committed.map_err(|cause| Failure::Unavailable { cause }));
    }
}

pub(super) struct Untraced<T, F> {
    work: F,
    room: Room,
    value: Option<T>,
    failure: Option<Failure>,
    reply: oneshot::Sender<Result<T, Failure>>,
}

impl<T, F> Untraced<T, F> {
    pub(super) const fn new(work: F, room: Room, reply: oneshot::Sender<Result<T, Failure>>) -> Self {
        Self { work, room, value: None, failure: None, reply }
    }
}

impl<T, F> Unit for Untraced<T, F>
where
    T: Send,
    F: FnMut(&mut DatabaseConnection) -> QueryResult<T> + Send,
{
    fn room(&self) -> Room {
        self.room
    }

    fn writes(&self) -> bool {
        true
    }

    fn run(&mut self, connection: &mut DatabaseConnection) -> QueryResult<bool> {
        self.failure = None;
        self.value = Some((self.work)(connection)?);
        Ok(true)
    }

    fn fail(&mut self, failure: Failure) {
        self.value = None;
        self.failure = Some(failure);
    }

    fn trace(&self) -> Option<&TraceEntry> {
        None
    }

    fn answer(self: Box<Self>, committed: Result<(), String>) {
        let result = match (committed, self.value, self.failure) {
            (Ok(()), Some(value), None) => Ok(value),
            (Err(cause), ..) => Err(Failure::Unavailable { cause }),
            (Ok(()), _, Some(failure)) => Err(failure),
            (Ok(()), None, None) => Err(Failure::internal("a unit of work without a result")),
        };
        let _ = self.reply.send(result);
    }
}
