//! The writer's queue, under many orders of the steps of those who wait and of who takes from it. What a commit is, is played here; the kill tests see the real one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::queue::{Waiting, queue};
use crate::store::lane::Lane;
use crate::sync::{Mutex, must_fail, play, point};

/// Whose it is, which of his it is, and who waits for it.
struct Unit {
    client: usize,
    number: usize,
    reply: oneshot::Sender<Result<(), ()>>,
}

type Durable = Arc<Mutex<Vec<(usize, usize)>>>;

/// As the worker: writes a batch, then answers it; the commit of that number is a storage error.
fn write(mut waiting: Waiting<Unit>, durable: &Durable, fails: usize, answers_first: bool) {
    let mut commits = 0;
    while let Some(units) = waiting.next_batch() {
        commits += 1;
        let written = units.iter().map(|unit| (unit.client, unit.number)).collect::<Vec<_>>();
        let committed = if commits == fails { Err(()) } else { Ok(()) };
        if !answers_first && committed.is_ok() {
            durable.lock().unwrap().extend(&written);
        }
        if committed.is_err() {
            waiting.stop();
        }
        for unit in units {
            let _ = unit.reply.send(committed);
            point();
        }
        if answers_first && committed.is_ok() {
            durable.lock().unwrap().extend(&written);
        }
    }
}

fn clients_and_a_writer(fails: usize, answers_first: bool) {
    let durable = Durable::default();
    let (put, waiting) = queue::<Unit>(8, 3).unwrap();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let clients = (0..3).map(|client| {
        let (put, durable, acknowledged) = (put.clone(), Arc::clone(&durable), Arc::clone(&acknowledged));
        let lane = Lane::of(client == 0);
        shuttle::thread::spawn(move || {
            for number in 0..2 {
                let (reply, answer) = oneshot::channel();
                let ran = put.is_running();
                if put.put(Unit { client, number, reply }, lane).is_err() {
                    assert!(!put.is_running(), "refused by a writer that runs");
                    continue;
                }
                // Answered or dropped, never left alone: shuttle notices who waits for ever.
                if let Ok(Ok(())) = shuttle::future::block_on(answer) {
                    assert!(durable.lock().unwrap().contains(&(client, number)), "acknowledged, not durable");
                    assert!(ran, "acknowledged after the writer had stopped");
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    });
    let clients = clients.collect::<Vec<_>>();
    drop(put);
    write(waiting, &durable, fails, answers_first);
    for client in clients {
        client.join().unwrap();
    }
    let durable = durable.lock().unwrap();
    assert_eq!(durable.len(), acknowledged.load(Ordering::SeqCst), "one is there twice, or nobody was told");
    for client in 0..3 {
        assert!(durable.iter().filter(|one| one.0 == client).is_sorted(), "a client's units changed places");
    }
    assert!(fails > 0 || durable.len() == 6, "some are lost");
}

#[test]
fn what_is_acknowledged_is_durable_once_and_in_order() {
    play(|| clients_and_a_writer(0, false));
}

#[test]
fn after_a_storage_error_nothing_is_acknowledged_and_nobody_waits() {
    play(|| clients_and_a_writer(1, false));
    play(|| clients_and_a_writer(2, false));
}

#[test]
fn control_a_writer_that_answers_first_is_noticed() {
    must_fail(|| clients_and_a_writer(0, true));
}
