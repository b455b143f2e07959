//! What is revoked, in memory, and the check made on every request.
//!
//! The TLS handshake alone is not enough: a connection that is kept open outlives it. So each request asks again, here,
//! in memory: is the certificate, or an authority above it, on its issuer's list or revoked by the issuer's responder; is
//! that list still fresh; is each within its dates. An issuer without a list refuses (`UnknownStatusPolicy::Deny`), and
//! so does a list past its `nextUpdate`: fail closed. A responder (OCSP) only ever adds a refusal: that it says « good »,
//! or says nothing, leaves the lists to decide.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use x509_parser::prelude::X509Certificate;

use super::authority::{self, Authority};

/// How far the clock of who made a list may be ahead of ours, seconds.
pub const CLOCK_SKEW: i64 = 300;

/// What names a certificate to its issuer, and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChainLink {
    /// The issuer's distinguished name, DER.
    pub issuer: Vec<u8>,
    /// The serial number as encoded, without the tag and length.
    pub serial: Vec<u8>,
    /// The key by which it names its issuer.
    pub authority_key: Option<Vec<u8>>,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
}

impl ChainLink {
    /// Reads it off a certificate.
    pub fn of(certificate: &X509Certificate<'_>) -> Self {
        Self {
            issuer: certificate.issuer().as_raw().to_vec(),
            serial: certificate.raw_serial().to_vec(),
            authority_key: authority::authority_key(certificate),
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

/// Why a certificate counts, or does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationVerdict {
    /// The certificate and every authority above it are within their dates, covered by a fresh list and not on it.
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
    lists: HashMap<Vec<u8>, Arc<IssuerList>>,
    authorities: Vec<Authority>,
}

/// One certificate, as its issuer names it.
type Named = (Vec<u8>, Vec<u8>);

/// See the module.
#[derive(Debug, Default)]
pub struct Revocation {
    state: ArcSwap<State>,
    /// What responders said is revoked.
    by_responder: ArcSwap<HashSet<Named>>,
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

impl Revocation {
    /// Lists by the issuer's distinguished name, DER, and the authorities that may stand above a leaf.
    pub fn new(lists: HashMap<Vec<u8>, Arc<IssuerList>>, authorities: Vec<Authority>) -> Self {
        let revocation = Self::default();
        revocation.replace(lists, authorities);
        revocation
    }

    /// Puts others in force. Requests under way keep those that they began with.
    pub fn replace(&self, lists: HashMap<Vec<u8>, Arc<IssuerList>>, authorities: Vec<Authority>) {
        self.state.store(Arc::new(State { lists, authorities }));
    }

    /// Judges a leaf and all that stands above it, as of `now`.
    pub fn verdict(&self, leaf: &ChainLink, now: Timestamp) -> RevocationVerdict {
        let (state, by_responder, now) = (self.state.load(), self.by_responder.load(), now.as_second());
        let judged = |link: &ChainLink| judge(link, &state.lists, &by_responder, now);
        let own = judged(leaf);
        if own != RevocationVerdict::Good {
            return own;
        }
        // An authority that renewed its key stands there twice under one name; whichever may have signed must be good.
        let mut issuers = state.authorities.iter().filter(|issuer| issuer.may_have_issued(leaf)).peekable();
        if issuers.peek().is_none() {
            return RevocationVerdict::Unknown;
        }
        issuers
            .flat_map(|issuer| &issuer.links)
            .map(judged)
            .find(|verdict| *verdict != RevocationVerdict::Good)
            .unwrap_or(RevocationVerdict::Good)
    }

    /// The earliest `nextUpdate` of all lists, seconds since the epoch; `None` without lists.
    pub fn earliest_next_update(&self) -> Option<i64> {
        self.state.load().lists.values().map(|list| list.next_update).min()
    }

    /// The authorities in force.
    pub fn authorities(&self) -> Vec<Authority> {
        self.state.load().authorities.clone()
    }

    /// Notes that a certificate is in use.
    pub fn note(&self, link: &ChainLink, leaf: &Arc<[u8]>, now: Timestamp) {
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

    /// Keeps what a responder said of one certificate.
    pub fn responder_said(&self, link: &ChainLink, revoked: bool) {
        let named = (link.issuer.clone(), link.serial.clone());
        if self.by_responder.load().contains(&named) != revoked {
            self.by_responder.rcu(|known| {
                let mut known = HashSet::clone(known);
                if revoked {
                    known.insert(named.clone());
                } else {
                    known.remove(&named);
                }
                known
            });
        }
    }
}

fn judge(
    link: &ChainLink,
    lists: &HashMap<Vec<u8>, Arc<IssuerList>>,
    by_responder: &HashSet<Named>,
    now: i64,
) -> RevocationVerdict {
    if now < link.not_before || now > link.not_after {
        return RevocationVerdict::Expired;
    }
    if !by_responder.is_empty() && by_responder.contains(&(link.issuer.clone(), link.serial.clone())) {
        return RevocationVerdict::Revoked;
    }
    let Some(list) = lists.get(&link.issuer) else { return RevocationVerdict::Unknown };
    if list.revoked.contains(&link.serial) {
        return RevocationVerdict::Revoked;
    }
    if now + CLOCK_SKEW < list.this_update || now > list.next_update {
        return RevocationVerdict::Unknown;
    }
    RevocationVerdict::Good
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(serial: u8) -> ChainLink {
        ChainLink {
            issuer: b"issuer".to_vec(),
            serial: vec![serial],
            authority_key: None,
            not_before: 100,
            not_after: 1000,
        }
    }

    fn list(this_update: i64, revoked: &[u8]) -> Arc<IssuerList> {
        let revoked = revoked.iter().map(|serial| vec![*serial]).collect();
        Arc::new(IssuerList { number: vec![1], this_update, next_update: 500, revoked })
    }

    fn verdict(list: &Arc<IssuerList>, link: &ChainLink, now: i64) -> RevocationVerdict {
        judge(link, &HashMap::from([(b"issuer".to_vec(), Arc::clone(list))]), &HashSet::new(), now)
    }

    #[test]
    fn judges_each_state() {
        let known = list(150, &[7]);
        assert_eq!(verdict(&known, &link(1), 200), RevocationVerdict::Good);
        assert_eq!(verdict(&known, &link(7), 200), RevocationVerdict::Revoked);
        assert_eq!(
            verdict(&known, &link(7), 501),
            RevocationVerdict::Revoked,
            "revoked stays revoked on a stale list"
        );
        assert_eq!(verdict(&known, &link(1), 501), RevocationVerdict::Unknown, "list past nextUpdate");
        assert_eq!(verdict(&known, &link(1), 120), RevocationVerdict::Good, "within the clocks' skew");
        let ahead = list(450, &[]);
        assert_eq!(verdict(&ahead, &link(1), 149), RevocationVerdict::Unknown, "list from the future");
        assert_eq!(verdict(&ahead, &link(1), 150), RevocationVerdict::Good);
        assert_eq!(verdict(&known, &link(1), 99), RevocationVerdict::Expired);
        assert_eq!(verdict(&known, &link(1), 1001), RevocationVerdict::Expired);
        let stranger = ChainLink { issuer: b"other".to_vec(), ..link(1) };
        assert_eq!(verdict(&known, &stranger, 200), RevocationVerdict::Unknown);
    }

    #[test]
    fn a_responder_only_adds() {
        let lists = HashMap::from([(b"issuer".to_vec(), list(150, &[7]))]);
        let revocation = Revocation::new(lists.clone(), Vec::new());
        let said = |serial| judge(&link(serial), &lists, &revocation.by_responder.load(), 200);
        revocation.responder_said(&link(1), true);
        assert_eq!(said(1), RevocationVerdict::Revoked);
        revocation.responder_said(&link(1), false);
        assert_eq!(said(1), RevocationVerdict::Good, "a suspension that was lifted");
        revocation.responder_said(&link(7), false);
        assert_eq!(said(7), RevocationVerdict::Revoked, "the list still says so");
    }

    #[test]
    fn a_leaf_without_a_known_authority_is_unknown() {
        let lists = HashMap::from([(b"issuer".to_vec(), list(150, &[]))]);
        let at = Timestamp::from_second(200).unwrap();
        assert_eq!(Revocation::new(lists, Vec::new()).verdict(&link(1), at), RevocationVerdict::Unknown);
    }

    #[test]
    fn what_is_no_longer_seen_is_forgotten() {
        let revocation = Revocation::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        revocation.note(&link(1), &Arc::from(&b"one"[..]), at(100));
        revocation.note(&link(2), &Arc::from(&b"two"[..]), at(200));
        assert_eq!(revocation.seen_since(at(150)).len(), 1);
        assert_eq!(revocation.seen_since(at(0)).len(), 1);
    }
}
