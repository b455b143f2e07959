//! What is in force, under many orders of the steps of those who ask and of those who change it.

use shuttle::thread;

use super::tests::{issuer, link, list};
use super::*;
use crate::sync::{must_fail, play};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Lists and authorities are of one state: a request sees the one before or the one after, and never goes back.
fn swapped(as_a_whole: bool) {
    let authority = Authority::named(b"issuer", vec![1], issuer(1));
    let other = Authority::named(b"other", vec![2], (b"other".to_vec(), vec![2]));
    let before = Lists::from([(issuer(1), list(150, &[]))]);
    let after = Lists::from([(issuer(1), list(160, &[7])), ((b"other".to_vec(), vec![2]), list(160, &[]))]);
    let revocation = Arc::new(Revocation::new(before.clone(), vec![authority]));
    let asks = Arc::clone(&revocation);
    let asking = thread::spawn(move || {
        let mut last = RevocationVerdict::Good;
        for _ in 0..4 {
            let verdict = asks.verdict(&link(7), at(200));
            assert_ne!(verdict, RevocationVerdict::Unknown, "half of one state, half of another");
            assert!(verdict == last || last == RevocationVerdict::Good, "revoked, and then not");
            last = verdict;
        }
    });
    if !as_a_whole {
        revocation.replace(before, vec![other.clone()]);
    }
    revocation.replace(after, vec![other]);
    asking.join().unwrap();
    assert_eq!(revocation.verdict(&link(7), at(200)), RevocationVerdict::Revoked);
}

/// Two answers of a responder arrive at once: the later word counts, whichever is noted first.
fn said_at_once(says: fn(&Revocation, bool, i64)) {
    let revocation = Arc::new(Revocation::new(Lists::new(), Vec::new()));
    says(&revocation, true, 100);
    let threads = [(false, 110), (true, 120), (false, 115)].map(|(revoked, when)| {
        let revocation = Arc::clone(&revocation);
        thread::spawn(move || says(&revocation, revoked, when))
    });
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(revocation.verdict(&link(7), at(200)), RevocationVerdict::Revoked, "an older « good » counts");
}

/// How it was until it was played: judged by what was held a moment before.
fn looks_first(revocation: &Revocation, revoked: bool, when: i64) {
    let named = (link(7).issuer, link(7).serial);
    let known = revocation.by_responder.load().get(&named).copied();
    if known.map_or(revoked, |said| when > said) {
        revocation.by_responder.rcu(|known| {
            let mut known = HashMap::clone(known);
            if revoked {
                known.insert(named.clone(), when)
            } else {
                known.remove(&named)
            };
            known
        });
    }
}

#[test]
fn a_request_sees_one_state_as_a_whole() {
    play(|| swapped(true));
}

#[test]
fn control_a_state_in_two_steps_is_noticed() {
    must_fail(|| swapped(false));
}

#[test]
fn of_two_words_at_once_an_older_good_lifts_nothing() {
    play(|| said_at_once(|revocation, revoked, when| revocation.responder_said(&link(7), revoked, when)));
}

#[test]
fn control_a_word_judged_by_what_was_held_before_is_noticed() {
    must_fail(|| said_at_once(looks_first));
}
