//! What is revoked, in memory: asked in the handshake, and again on every request.
//!
//! The handshake alone is not enough: a connection that is kept open outlives it. So each request asks again, here, in
//! memory: is the certificate, or an authority above it, on its issuer's list or revoked by the issuer's responder; is
//! that list still fresh; is each within its dates. An issuer without a list refuses, and so does a list past its
//! `nextUpdate`: fail closed. A responder (OCSP) only ever adds a refusal: that it says « good », or says nothing, leaves the
//! lists to decide.
//!
//! Lists and authorities are known by name **and** key: an authority that renewed its key has two lists under one name.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use x509_parser::prelude::X509Certificate;

use super::authority::{self, Authority};
use crate::sync::{ArcSwap, AtomicBool, Mutex};

/// How far the clock of who made a list may be ahead of ours, seconds.
pub const CLOCK_SKEW: i64 = 300;

/// Who issued something: distinguished name in DER, key identifier.
pub type IssuerKey = (Vec<u8>, Vec<u8>);

/// What names a certificate to its issuer, and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct ChainLink {
    /// The issuer's name, DER, and the key by which the certificate names it; empty where it names none.
    pub issuer: IssuerKey,
    /// The serial number as encoded, without the tag and length.
    pub serial: Vec<u8>,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
}

impl ChainLink {
    /// Reads it off a certificate.
    pub fn of(certificate: &X509Certificate<'_>) -> Self {
        let key = authority::authority_key(certificate).unwrap_or_default();
        Self {
            issuer: (certificate.issuer().as_raw().to_vec(), key),
            serial: certificate.raw_serial().to_vec(),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
        }
    }
}

/// One issuer's list.
#[derive(Debug)]
pub struct IssuerList {
    /// Its number, big-endian without leading zeros.
    pub number: Vec<u8>,
    /// When the list was made, seconds since the epoch.
    pub this_update: i64,
    /// When the next is due, seconds since the epoch. Past it, the list no longer proves anything.
    pub next_update: i64,
    /// Serial numbers, encoded as in [`ChainLink::serial`].
    pub revoked: HashSet<Vec<u8>>,
}

/// Lists by who made them.
pub type Lists = HashMap<IssuerKey, Arc<IssuerList>>;

/// Why a certificate counts, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationVerdict {
    /// The certificate and a chain of authorities above it are within their dates, covered by a fresh list and not on it.
    Good,
    /// One of them is on its issuer's list, or revoked by its responder.
    Revoked,
    /// One of them is out of its dates.
    Expired,
    /// No list, or a stale one, for one of the issuers; or no such issuer.
    Unknown,
}

/// Lists and authorities in force, swapped as a whole.
#[derive(Debug, Default)]
struct State {
    lists: Lists,
    authorities: Vec<Authority>,
}

/// One certificate, as its issuer names it.
type Named = (IssuerKey, Vec<u8>);

/// See the module.
#[derive(Debug, Default)]
pub struct Revocation {
    state: ArcSwap<State>,
    /// What responders said is revoked, and when they said so.
    by_responder: ArcSwap<HashMap<Named, i64>>,
    /// Whether responders are asked at all.
    asking: AtomicBool,
    /// Certificates seen of late, for which responders are asked.
    seen: Mutex<HashMap<Named, Seen>>,
}

/// A certificate that responders are asked about.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The certificate, DER.
    pub leaf: Arc<[u8]>,
    /// When it last made a request, seconds since the epoch.
    pub last: i64,
}

/// Certificates that responders are asked about, at most: more are left to the lists.
const MAXIMUM_SEEN: usize = 50_000;
/// Authorities above one another, at most.
const MAXIMUM_LEVELS: usize = 4;

impl Revocation {
    /// Lists, and the authorities that may stand above a leaf.
    pub fn new(lists: Lists, authorities: Vec<Authority>) -> Self {
        let revocation = Self::default();
        revocation.replace(lists, authorities);
        revocation
    }

    /// Puts others in force. Requests under way keep those that they began with.
    pub fn replace(&self, lists: Lists, authorities: Vec<Authority>) {
        self.state.store(Arc::new(State { lists, authorities }));
    }

    /// Judges a leaf and all that stands above it, as of `now`.
    pub fn verdict(&self, leaf: &ChainLink, now: Timestamp) -> RevocationVerdict {
        let (state, by_responder) = (self.state.load(), self.by_responder.load());
        let asked = Asked { state: &state, by_responder: &by_responder, now: now.as_second() };
        match asked.judge(leaf) {
            RevocationVerdict::Good => asked.above(leaf, MAXIMUM_LEVELS),
            other => other,
        }
    }

    /// The earliest `nextUpdate` of the authorities' lists, seconds since the epoch; `None` without authorities.
    pub fn earliest_next_update(&self) -> Option<i64> {
        let state = self.state.load();
        let of = |authority: &Authority| Some(state.lists.get(&authority.issuer_key())?.next_update);
        // An authority without its list: nothing is in force for it.
        state.authorities.iter().map(|authority| of(authority).unwrap_or(i64::MIN)).min()
    }

    /// The authorities in force.
    pub fn authorities(&self) -> Vec<Authority> {
        self.state.load().authorities.clone()
    }

    /// Responders are asked from now on.
    pub fn begin_asking(&self) {
        self.asking.store(true, Ordering::Relaxed);
    }

    /// Notes that a certificate is in use.
    pub fn note(&self, link: &ChainLink, leaf: &Arc<[u8]>, now: Timestamp) {
        if !self.asking.load(Ordering::Relaxed) {
            return;
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let named = (link.issuer.clone(), link.serial.clone());
        if seen.len() < MAXIMUM_SEEN || seen.contains_key(&named) {
            seen.insert(named, Seen { leaf: Arc::clone(leaf), last: now.as_second() });
        }
    }

    /// The certificates seen since an instant; older ones are forgotten.
    pub fn seen_since(&self, since: Timestamp) -> Vec<Seen> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, seen| seen.last >= since.as_second());
        seen.shrink_to_fit();
        seen.values().cloned().collect()
    }

    /// Keeps what a responder said of one certificate at an instant (`thisUpdate`, seconds). « Good » lifts a « revoked » only
    /// if it was said later: an old answer, still fresh, can be sent again by anybody on the way.
    pub fn responder_said(&self, link: &ChainLink, revoked: bool, at: i64) {
        let named = (link.issuer.clone(), link.serial.clone());
        // Judged by what it is put beside: two answers may come at once.
        self.by_responder.rcu(|known| {
            let changes = match known.get(&named) {
                None => revoked,
                Some(said) => at > *said,
            };
            if !changes {
                return Arc::clone(known);
            }
            let mut known = HashMap::clone(known);
            if revoked {
                known.insert(named.clone(), at);
            } else {
                known.remove(&named);
            }
            Arc::new(known)
        });
    }
}

/// One question, under what was in force when it was asked.
struct Asked<'a> {
    state: &'a State,
    by_responder: &'a HashMap<Named, i64>,
    now: i64,
}

impl Asked<'_> {
    /// The certificate itself.
    fn judge(&self, link: &ChainLink) -> RevocationVerdict {
        if self.now < link.not_before || self.now > link.not_after {
            return RevocationVerdict::Expired;
        }
        if !self.by_responder.is_empty()
            && self.by_responder.contains_key(&(link.issuer.clone(), link.serial.clone()))
        {
            return RevocationVerdict::Revoked;
        }
        let Some(list) = self.state.lists.get(&link.issuer) else { return RevocationVerdict::Unknown };
        if list.revoked.contains(&link.serial) {
            return RevocationVerdict::Revoked;
        }
        if self.now + CLOCK_SKEW < list.this_update || self.now > list.next_update {
            return RevocationVerdict::Unknown;
        }
        RevocationVerdict::Good
    }

    /// What stands above it. An authority whose certificate was renewed for the same key stands there twice: one good chain
    /// is enough, and one that was revoked outweighs it, because the key is the same.
    fn above(&self, link: &ChainLink, levels: usize) -> RevocationVerdict {
        let mut best = RevocationVerdict::Unknown;
        if levels == 0 {
            return best;
        }
        for issuer in self.state.authorities.iter().filter(|issuer| issuer.may_have_issued(link)) {
            let own = match self.judge(&issuer.link) {
                RevocationVerdict::Good if issuer.is_anchor() => RevocationVerdict::Good,
                RevocationVerdict::Good => self.above(&issuer.link, levels - 1),
                other => other,
            };
            match own {
                RevocationVerdict::Revoked => return own,
                RevocationVerdict::Good => best = own,
                other if best == RevocationVerdict::Unknown => best = other,
                _ => {}
            }
        }
        best
    }
}

#[cfg(all(test, feature = "schedules"))]
mod schedules;

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn link(serial: u8) -> ChainLink {
        ChainLink { issuer: issuer(1), serial: vec![serial], not_before: 100, not_after: 1000 }
    }

    pub(super) fn issuer(key: u8) -> IssuerKey {
        (b"issuer".to_vec(), vec![key])
    }

    pub(super) fn list(this_update: i64, revoked: &[u8]) -> Arc<IssuerList> {
        let revoked = revoked.iter().map(|serial| vec![*serial]).collect();
        Arc::new(IssuerList { number: vec![1], this_update, next_update: 500, revoked })
    }

    fn judged(
        lists: &Lists,
        by_responder: &HashMap<Named, i64>,
        link: &ChainLink,
        now: i64,
    ) -> RevocationVerdict {
        let state = State { lists: lists.clone(), authorities: Vec::new() };
        Asked { state: &state, by_responder, now }.judge(link)
    }

    fn verdict(list: &Arc<IssuerList>, link: &ChainLink, now: i64) -> RevocationVerdict {
        judged(&Lists::from([(issuer(1), Arc::clone(list))]), &HashMap::new(), link, now)
    }

    #[test]
    fn judges_each_state() {
        let known = list(150, &[7]);
        assert_eq!(verdict(&known, &link(1), 200), RevocationVerdict::Good);
        assert_eq!(verdict(&known, &link(7), 200), RevocationVerdict::Revoked);
        assert_eq!(verdict(&known, &link(7), 501), RevocationVerdict::Revoked, "stays so on a stale list");
        assert_eq!(verdict(&known, &link(1), 501), RevocationVerdict::Unknown, "list past nextUpdate");
        assert_eq!(verdict(&known, &link(1), 120), RevocationVerdict::Good, "within the clocks' skew");
        let ahead = list(450, &[]);
        assert_eq!(verdict(&ahead, &link(1), 149), RevocationVerdict::Unknown, "list from the future");
        assert_eq!(verdict(&ahead, &link(1), 150), RevocationVerdict::Good);
        assert_eq!(verdict(&known, &link(1), 99), RevocationVerdict::Expired);
        assert_eq!(verdict(&known, &link(1), 1001), RevocationVerdict::Expired);
        let stranger = ChainLink { issuer: (b"other".to_vec(), vec![1]), ..link(1) };
        assert_eq!(verdict(&known, &stranger, 200), RevocationVerdict::Unknown);
    }

    #[test]
    fn two_keys_of_one_name_have_two_lists() {
        let lists = Lists::from([(issuer(1), list(150, &[7])), (issuer(2), list(160, &[8]))]);
        let of = |key, serial| ChainLink { issuer: issuer(key), ..link(serial) };
        let none = HashMap::new();
        assert_eq!(judged(&lists, &none, &of(1, 7), 200), RevocationVerdict::Revoked);
        assert_eq!(
            judged(&lists, &none, &of(2, 7), 200),
            RevocationVerdict::Good,
            "the same number, another issuer"
        );
        assert_eq!(judged(&lists, &none, &of(2, 8), 200), RevocationVerdict::Revoked);
        assert_eq!(judged(&lists, &none, &of(3, 7), 200), RevocationVerdict::Unknown);
    }

    #[test]
    fn a_responder_only_adds_and_takes_back_with_a_later_word() {
        let lists = Lists::from([(issuer(1), list(150, &[7]))]);
        let revocation = Revocation::new(lists.clone(), Vec::new());
        let said = |serial| judged(&lists, &revocation.by_responder.load(), &link(serial), 200);
        revocation.responder_said(&link(1), true, 180);
        assert_eq!(said(1), RevocationVerdict::Revoked);
        revocation.responder_said(&link(1), false, 170);
        assert_eq!(said(1), RevocationVerdict::Revoked, "an older answer, sent again");
        revocation.responder_said(&link(1), false, 180);
        assert_eq!(said(1), RevocationVerdict::Revoked, "nor one of the same instant");
        revocation.responder_said(&link(1), false, 181);
        assert_eq!(said(1), RevocationVerdict::Good, "a suspension that was lifted");
        revocation.responder_said(&link(7), false, 190);
        assert_eq!(said(7), RevocationVerdict::Revoked, "the list still says so");
    }

    #[test]
    fn a_leaf_without_a_known_authority_is_unknown() {
        let lists = Lists::from([(issuer(1), list(150, &[]))]);
        let at = Timestamp::from_second(200).unwrap();
        assert_eq!(Revocation::new(lists, Vec::new()).verdict(&link(1), at), RevocationVerdict::Unknown);
    }

    #[test]
    fn what_is_no_longer_seen_is_forgotten() {
        let revocation = Revocation::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        revocation.note(&link(1), &Arc::from(&b"one"[..]), at(100));
        assert!(revocation.seen_since(at(0)).is_empty(), "nobody is asked, nothing is kept");
        revocation.begin_asking();
        revocation.note(&link(1), &Arc::from(&b"one"[..]), at(100));
        revocation.note(&link(2), &Arc::from(&b"two"[..]), at(200));
        assert_eq!(revocation.seen_since(at(150)).len(), 1);
        assert_eq!(revocation.seen_since(at(0)).len(), 1);
    }
}
