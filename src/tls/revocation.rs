//! The revocation lists in memory, and the check made on every request.
//!
//! The TLS handshake alone is not enough: a connection that is kept open outlives it. So each request asks again, here,
//! in memory: is any certificate of the chain on its issuer's list, is that list still fresh, is the certificate still
//! within its dates. An issuer without a list refuses (`UnknownStatusPolicy::Deny`), and so does a list past its
//! `nextUpdate`: fail closed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;

/// How far the clock of who made a list may be ahead of ours, seconds.
pub const CLOCK_SKEW: i64 = 300;

/// What names a certificate to its issuer, and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainLink {
    /// The issuer's distinguished name, DER.
    pub issuer: Vec<u8>,
    /// The serial number as encoded, without the tag and length.
    pub serial: Vec<u8>,
    /// Seconds since the epoch.
    pub not_before: i64,
    /// Seconds since the epoch.
    pub not_after: i64,
}

/// One issuer's list.
#[derive(Debug)]
pub struct IssuerList {
    /// When the list was made, seconds since the epoch.
    pub this_update: i64,
    /// When the next is due, seconds since the epoch. Past it, the list no longer proves anything.
    pub next_update: i64,
    /// Serial numbers, encoded as in [`ChainLink::serial`].
    pub revoked: HashSet<Vec<u8>>,
}

/// What the lists say of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationVerdict {
    /// Every certificate is within its dates, covered by a fresh list and not on it.
    Good,
    /// One of them is on its issuer's list.
    Revoked,
    /// One of them is out of its dates.
    Expired,
    /// No list, or a stale one, for one of the issuers.
    Unknown,
}

/// The lists in force, swapped as a whole when new ones are loaded.
#[derive(Debug, Default)]
pub struct Revocation {
    lists: ArcSwap<HashMap<Vec<u8>, Arc<IssuerList>>>,
}

impl Revocation {
    /// Lists keyed by the issuer's distinguished name, DER.
    pub fn new(lists: HashMap<Vec<u8>, Arc<IssuerList>>) -> Self {
        Self { lists: ArcSwap::from_pointee(lists) }
    }

    /// Puts other lists in force. Requests under way keep those that they began with.
    pub fn replace(&self, lists: HashMap<Vec<u8>, Arc<IssuerList>>) {
        self.lists.store(Arc::new(lists));
    }

    /// Judges a chain as of `now`.
    pub fn verdict(&self, chain: &[ChainLink], now: Timestamp) -> RevocationVerdict {
        let (lists, now) = (self.lists.load(), now.as_second());
        if chain.is_empty() {
            return RevocationVerdict::Unknown;
        }
        for link in chain {
            if now < link.not_before || now > link.not_after {
                return RevocationVerdict::Expired;
            }
            let Some(list) = lists.get(&link.issuer) else { return RevocationVerdict::Unknown };
            if now + CLOCK_SKEW < list.this_update || now > list.next_update {
                return RevocationVerdict::Unknown;
            }
            if list.revoked.contains(&link.serial) {
                return RevocationVerdict::Revoked;
            }
        }
        RevocationVerdict::Good
    }

    /// The earliest `nextUpdate` of all lists, seconds since the epoch; `None` without lists.
    pub fn earliest_next_update(&self) -> Option<i64> {
        self.lists.load().values().map(|list| list.next_update).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(serial: u8) -> ChainLink {
        ChainLink { issuer: b"issuer".to_vec(), serial: vec![serial], not_before: 100, not_after: 1000 }
    }

    fn revocation() -> Revocation {
        let list = IssuerList { this_update: 150, next_update: 500, revoked: HashSet::from([vec![7]]) };
        Revocation::new(HashMap::from([(b"issuer".to_vec(), Arc::new(list))]))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn judges_each_state() {
        let revocation = revocation();
        assert_eq!(revocation.verdict(&[link(1)], at(200)), RevocationVerdict::Good);
        assert_eq!(revocation.verdict(&[link(7)], at(200)), RevocationVerdict::Revoked);
        assert_eq!(revocation.verdict(&[link(1), link(7)], at(200)), RevocationVerdict::Revoked);
        assert_eq!(revocation.verdict(&[link(1)], at(501)), RevocationVerdict::Unknown, "list past nextUpdate");
        assert_eq!(revocation.verdict(&[link(1)], at(120)), RevocationVerdict::Good, "within the clocks' skew");
        let list = IssuerList { this_update: 450, next_update: 500, revoked: HashSet::new() };
        let ahead = Revocation::new(HashMap::from([(b"issuer".to_vec(), Arc::new(list))]));
        assert_eq!(ahead.verdict(&[link(1)], at(149)), RevocationVerdict::Unknown, "list from the future");
        assert_eq!(ahead.verdict(&[link(1)], at(150)), RevocationVerdict::Good);
        assert_eq!(revocation.verdict(&[link(1)], at(99)), RevocationVerdict::Expired);
        assert_eq!(revocation.verdict(&[link(1)], at(1001)), RevocationVerdict::Expired);
        assert_eq!(revocation.verdict(&[], at(200)), RevocationVerdict::Unknown);
        let stranger = ChainLink { issuer: b"other".to_vec(), ..link(1) };
        assert_eq!(revocation.verdict(&[stranger], at(200)), RevocationVerdict::Unknown);
    }

    #[test]
    fn a_replaced_list_counts_at_once() {
        let revocation = revocation();
        let list = IssuerList { this_update: 150, next_update: 500, revoked: HashSet::from([vec![1]]) };
        revocation.replace(HashMap::from([(b"issuer".to_vec(), Arc::new(list))]));
        assert_eq!(revocation.verdict(&[link(1)], at(200)), RevocationVerdict::Revoked);
    }
}
