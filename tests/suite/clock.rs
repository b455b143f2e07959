//! The machine's clock jumps under load, an hour and 400 days, both ways: nobody is let in who should not be, nothing breaks, the log keeps its order, and
//! when the clock is right again all is as it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use habilis::sandbox::example::Example;

use crate::on_both_engines;
use crate::support::{Client, Engine, OTHER, TEST, World};

on_both_engines!(a_clock_that_jumps_under_load);

const HOUR: i64 = 3_600;
const YEAR_AND_MORE: i64 = 400 * 86_400;

/// What one is answered over a connection that was open before: none where the connection is refused or cut.
fn status(client: &Client) -> Option<u16> {
    let search = format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&_count=1");
    client.send("GET", &search, &[], None).ok().map(|answer| answer.status)
}

/// Who is to be let in is, at the latest once a machine that has much to do has had time for it; who is not never is.
fn expect(let_in: bool, ask: impl Fn() -> Option<u16>, when: &str) {
    let last = Instant::now() + Duration::from_secs(20);
    let mut told = Vec::new();
    loop {
        let answered = ask();
        told.push(answered);
        if !let_in {
            assert_ne!(answered, Some(200), "{when}");
            return;
        }
        if answered == Some(200) {
            return;
        }
        assert!(Instant::now() < last, "{when}: {told:?}");
        // What is refused for who one is stays refused: only a server that is busy is asked again.
        assert!(answered.is_none_or(|status| status == 503), "{when}: {told:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn a_clock_that_jumps_under_load(engine: Engine) {
    let world = World::start(engine);
    // Certificates and lists may have been issued this minute: an hour before they do not count yet.
    world.clock.advance_seconds(2 * HOUR);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let token = doctor.ask_token(&[("grant_type", "client_credentials")]).token();
    let with_token = || world.client("cps-medecin").with_token(&token);
    assert_eq!(status(&with_token()), Some(200));
    let (over, mut seen) = (AtomicBool::new(false), Vec::new());
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..3)
            .map(|worker| {
                let (world, over) = (&world, &over);
                scope.spawn(move || {
                    let (mut seen, mut client, mut number) = (Vec::new(), world.client("cps-medecin"), 0);
                    while !over.load(Ordering::SeqCst) {
                        number += 1;
                        let unique = format!("2.25.5100.{worker}.{number}");
                        let json = [("Content-Type", "application/fhir+json")];
                        let body = Example::new(TEST, OTHER, "OUVERT", &unique).transaction();
                        match client.send("POST", "", &json, Some(body)) {
                            Ok(answer) => seen.push(answer.status),
                            Err(_) => client = world.client("cps-medecin"),
                        }
                        seen.extend(status(&client));
                    }
                    seen
                })
            })
            .collect();
        // However this ends, so does the load.
        let _ends = Ends(&over);
        // An hour: certificates and lists go on. The token counts until its end: where the clock is behind, longer.
        for (jump, certificates, token) in [
            (HOUR, true, false),
            (-HOUR, true, true),
            (YEAR_AND_MORE, false, false),
            (-YEAR_AND_MORE, false, false),
        ] {
            world.clock.advance_seconds(jump);
            std::thread::sleep(Duration::from_millis(300));
            expect(certificates, || status(&doctor), &format!("{jump} s, over a connection that was open"));
            expect(certificates, || status(&world.client("cps-medecin")), &format!("{jump} s, over a new one"));
            expect(token, || status(&with_token()), &format!("{jump} s, with a token"));
            world.clock.advance_seconds(-jump);
            std::thread::sleep(Duration::from_millis(200));
            expect(true, || status(&world.client("cps-medecin")), &format!("behind {jump} s"));
        }
        over.store(true, Ordering::SeqCst);
        seen = load.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    });
    seen.sort_unstable();
    seen.dedup();
    // Refused for a certificate or a list that does not count at that time, or because there is much to do; nothing else.
    assert!(seen.iter().all(|status| [200, 401, 403, 503].contains(status)), "{seen:?}");
    assert!(
        seen.contains(&200) && seen.iter().any(|status| [401, 403].contains(status)),
        "control: the clock made a difference ({seen:?})"
    );
    assert_eq!(status(&with_token()), Some(200));
    let traces = world.traces();
    assert!(traces.is_sorted_by_key(|trace| trace.sequence), "in the order of the log");
    assert!(!traces.is_sorted_by_key(|trace| trace.at), "control: the time is not in order");
    let leaves: Vec<i64> = traces.iter().filter_map(|trace| trace.leaf).collect();
    assert!(leaves.iter().copied().eq(0..leaves.len() as i64), "no place is missing, none twice");
}
