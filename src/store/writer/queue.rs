//! What waits for the writer: a queue for emergencies, one for all others, and whether anything is still taken.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;

use crate::error::Failure;
use crate::store::lane::Lane;
use crate::sync::{AtomicBool, point};

/// The end of those who wait.
#[derive(Debug)]
pub(super) struct Queue<U> {
    ordinary: mpsc::Sender<U>,
    emergencies: mpsc::Sender<U>,
    running: Arc<AtomicBool>,
}

impl<U> Clone for Queue<U> {
    fn clone(&self) -> Self {
        Self {
            ordinary: self.ordinary.clone(),
            emergencies: self.emergencies.clone(),
            running: Arc::clone(&self.running),
        }
    }
}

/// The end of the writer. However it ends, a panic included, nobody is told that the writer still works.
pub(super) struct Waiting<U> {
    ordinary: mpsc::Receiver<U>,
    emergencies: mpsc::Receiver<U>,
    running: Arc<AtomicBool>,
    // Without a driver: it waits for the two queues and nothing else.
    #[cfg_attr(all(test, feature = "schedules"), expect(dead_code, reason = "shuttle waits instead"))]
    runtime: tokio::runtime::Runtime,
    batch: usize,
}

/// Two queues of so many places each, taken in batches of at most so many.
///
/// # Errors
/// The system has no room for a runtime.
pub(super) fn queue<U>(places: usize, batch: usize) -> std::io::Result<(Queue<U>, Waiting<U>)> {
    let (ordinary, waiting) = mpsc::channel(places);
    let (emergencies, urgent) = mpsc::channel(places);
    let running = Arc::new(AtomicBool::new(true));
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let taken =
        Waiting { ordinary: waiting, emergencies: urgent, running: Arc::clone(&running), runtime, batch };
    Ok((Queue { ordinary, emergencies, running }, taken))
}

impl<U> Queue<U> {
    /// Whether the writer takes work: it stops for good at the first storage error, because a database that went on
    /// after a failed fsync could acknowledge what is lost.
    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    /// Puts a unit at the end of its lane. One that is put while the writer stops is dropped with its reply, which says so.
    pub(super) fn put(&self, unit: U, lane: Lane) -> Result<(), Failure> {
        if !self.is_running() {
            return Err(Failure::unavailable("the writer stopped after a storage error"));
        }
        point();
        let queue = match lane {
            Lane::Ordinary => &self.ordinary,
            Lane::Emergency => &self.emergencies,
        };
        queue.try_send(unit).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Failure::unavailable("the write queue is full"),
            mpsc::error::TrySendError::Closed(_) => Failure::unavailable("the writer stopped"),
        })
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        [&self.ordinary, &self.emergencies].iter().map(|queue| queue.max_capacity() - queue.capacity()).sum()
    }
}

impl<U> Waiting<U> {
    /// What is to be written next, without a timer: whatever waits, emergencies first; `None`: the writer stopped, or nobody is there any more.
    pub(super) fn next_batch(&mut self) -> Option<Vec<U>> {
        // After a storage error nothing more is acknowledged, what waits in the queue neither.
        if !self.running.load(Ordering::Acquire) {
            return None;
        }
        let mut units = vec![self.next()?];
        // A quarter of a batch is for others: many emergencies hold up nobody for ever.
        while units.len() < self.batch - self.batch / 4
            && let Ok(unit) = self.emergencies.try_recv()
        {
            units.push(unit);
            point();
        }
        while units.len() < self.batch
            && let Ok(unit) = self.ordinary.try_recv()
        {
            units.push(unit);
            point();
        }
        Some(units)
    }

    /// Nothing is taken any more.
    pub(super) fn stop(&self) {
        self.running.store(false, Ordering::Release);
    }

    /// The next unit, an emergency before all others.
    fn next(&mut self) -> Option<U> {
        let (urgent, ordinary) = (&mut self.emergencies, &mut self.ordinary);
        let next = async {
            tokio::select! {
                biased;
                Some(unit) = urgent.recv() => Some(unit),
                Some(unit) = ordinary.recv() => Some(unit),
                else => None,
            }
        };
        #[cfg(all(test, feature = "schedules"))]
        return shuttle::future::block_on(next);
        #[cfg(not(all(test, feature = "schedules")))]
        self.runtime.block_on(next)
    }
}

impl<U> Drop for Waiting<U> {
    fn drop(&mut self) {
        self.stop();
    }
}
