//! Leave to use a connection, before one is asked for: no thread is parked waiting for a connection.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Failure;
use crate::store::lane::Lane;

/// As many as there are connections, and some for emergencies alone, which nothing else takes.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    ordinary: Arc<Semaphore>,
    kept: Arc<Semaphore>,
}

impl Permits {
    pub(super) fn of(ordinary: u32, kept: u32) -> Self {
        let of = |size: u32| Arc::new(Semaphore::new(size as usize));
        Self { ordinary: of(ordinary), kept: of(kept) }
    }

    /// Leave, and of which connections: an emergency has its own, and where those are taken, waits for any.
    pub(super) async fn take(&self, lane: Lane) -> Result<(OwnedSemaphorePermit, Lane), Failure> {
        let of = |semaphore: &Arc<Semaphore>| Arc::clone(semaphore).acquire_owned();
        let (permit, taken) = match lane {
            Lane::Ordinary => (of(&self.ordinary).await, Lane::Ordinary),
            Lane::Emergency => tokio::select! {
                biased;
                permit = of(&self.kept) => (permit, Lane::Emergency),
                permit = of(&self.ordinary) => (permit, Lane::Ordinary),
            },
        };
        Ok((permit.map_err(Failure::internal)?, taken))
    }
}

#[cfg(all(test, feature = "schedules"))]
mod schedules {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;
    use crate::sync::{must_fail, play, point};

    /// Three ordinary reads that end only when two emergencies have read; two connections, `kept` more.
    fn reads(kept: u32) {
        let permits = Permits::of(2, kept);
        let held: Arc<[AtomicU32; 2]> = Arc::default();
        let served = Arc::new(AtomicU32::new(0));
        let readers =
            [Lane::Ordinary, Lane::Ordinary, Lane::Ordinary, Lane::Emergency, Lane::Emergency].map(|lane| {
                let (permits, held, served) = (permits.clone(), Arc::clone(&held), Arc::clone(&served));
                shuttle::thread::spawn(move || {
                    let (permit, taken) = shuttle::future::block_on(permits.take(lane)).unwrap();
                    let (slot, size) = if taken == Lane::Ordinary { (0, 2) } else { (1, kept) };
                    assert!(held[slot].fetch_add(1, Ordering::SeqCst) < size, "more reads than connections");
                    point();
                    match lane {
                        Lane::Emergency => _ = served.fetch_add(1, Ordering::SeqCst),
                        Lane::Ordinary => {
                            let mut patience = 200;
                            while served.load(Ordering::SeqCst) < 2 {
                                patience -= 1;
                                assert!(patience > 0, "emergencies are not served");
                                point();
                            }
                        }
                    }
                    held[slot].fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                })
            });
        for reader in readers {
            reader.join().unwrap();
        }
        assert_eq!(
            (permits.ordinary.available_permits(), permits.kept.available_permits()),
            (2, kept as usize)
        );
    }

    /// Who gives up while he waits takes nothing with him.
    fn impatient() {
        let permits = Permits::of(1, 1);
        let gone = Arc::new(AtomicBool::new(false));
        let threads = [Lane::Emergency, Lane::Emergency, Lane::Emergency, Lane::Ordinary].map(|lane| {
            let (permits, gone) = (permits.clone(), Arc::clone(&gone));
            shuttle::thread::spawn(move || {
                let taken = async {
                    tokio::select! {
                        biased;
                        permit = permits.take(lane) => Some(permit),
                        () = std::future::poll_fn(|context| {
                            if gone.load(Ordering::SeqCst) {
                                return std::task::Poll::Ready(());
                            }
                            context.waker().wake_by_ref();
                            std::task::Poll::Pending
                        }) => None,
                    }
                };
                let permit = shuttle::future::block_on(taken);
                gone.store(true, Ordering::SeqCst);
                point();
                drop(permit);
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((permits.ordinary.available_permits(), permits.kept.available_permits()), (1, 1));
    }

    #[test]
    fn never_more_than_there_are_and_emergencies_never_starve() {
        play(|| reads(1));
    }

    #[test]
    fn who_gives_up_takes_nothing_with_him() {
        play(impatient);
    }

    #[test]
    fn control_without_connections_of_their_own_emergencies_starve() {
        must_fail(|| reads(0));
    }
}
