//! More callers than there are connections to the database, and slow ones: who finds none is told soon, and an emergency finds one.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, DatabaseOfTest, Engine, OTHER, Process, TEST, shared_pki};

/// What emergencies met: answers of 200 and others, the longest wait; and what all others met.
#[derive(Debug, Default)]
struct Met {
    emergencies: usize,
    not_served: usize,
    longest: Duration,
    refused: usize,
    longest_refusal: Duration,
}

fn overload(fault: &str) -> Met {
    let folder = tempfile::tempdir().unwrap();
    let database = DatabaseOfTest::new(Engine::Postgres, folder.path());
    let server = Process::start(&folder.path().join("data"), &database.url, Some(fault));
    let client = |card: &str| Client::new(shared_pki(), Some(card), server.port);
    client("cps-medecin").authorise(OTHER);
    let patient = format!("{TEST}|{OTHER}");
    let form = [
        ("grant_type", "client_credentials"),
        ("purpose_of_use", "bris_de_glace"),
        ("motif", "inconscient"),
        ("patient", patient.as_str()),
    ];
    let (over, refused, slowest) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut met = Met::default();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let ordinary = client("cps-medecin");
                while !over.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    let answer = ordinary.find(OTHER);
                    assert!([200, 503].contains(&answer.status), "{}", answer.text());
                    if answer.status == 503 {
                        answer.assert_refused(503, "", "");
                        assert!(!answer.header("retry-after").is_empty());
                        refused.fetch_add(1, Ordering::SeqCst);
                        slowest.fetch_max(begun.elapsed().as_millis() as usize, Ordering::SeqCst);
                    }
                }
            });
        }
        let begun = Instant::now();
        while refused.load(Ordering::SeqCst) < 20 && begun.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(50));
        }
        // Whoever breaks the glass now opens a session and reads.
        for _ in 0..8 {
            let begun = Instant::now();
            let doctor = client("cps-medecin-b");
            let token = doctor.ask_token(&form);
            let found = (token.status == 200).then(|| doctor.with_token(&token.token()).find(OTHER));
            met.longest = met.longest.max(begun.elapsed());
            match found {
                Some(found) if found.status == 200 => met.emergencies += 1,
                _ => met.not_served += 1,
            }
        }
        over.store(true, Ordering::SeqCst);
    });
    met.refused = refused.into_inner();
    met.longest_refusal = Duration::from_millis(slowest.into_inner() as u64);
    met
}

#[test]
fn an_emergency_finds_a_connection_when_all_others_are_taken() {
    let met = overload("slow-reads");
    println!("{met:?}");
    assert!(met.refused >= 20, "control: there are more callers than connections ({met:?})");
    assert_eq!((met.emergencies, met.not_served), (8, 0), "{met:?}");
}

#[test]
fn control_with_one_lane_for_all_it_waits_with_them() {
    let met = overload("slow-reads,one-lane");
    assert!(met.not_served > 0, "{met:?}");
}
