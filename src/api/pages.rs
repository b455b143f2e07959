//! Links of pages: opaque, and good for the caller and the search for which they were made.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::operations::Call;
use crate::store::PageCursor;

/// Bytes of the seal that a link carries.
const SEAL: usize = 16;

/// Makes and opens page links of one caller.
#[derive(Debug)]
pub struct Pages<'a> {
    key: &'a hmac::Key,
    caller: &'a str,
}

impl<'a> Pages<'a> {
    /// Those of a call.
    pub fn of(call: &'a Call) -> Self {
        Self { key: call.services.sessions.tokens.keys().links(), caller: call.caller.id() }
    }

    #[cfg(test)]
    pub fn new(key: &'a hmac::Key, caller: &'a str) -> Self {
        Self { key, caller }
    }

    fn seal(&self, kind: &str, parameters: &[(String, String)], place: &str) -> Vec<u8> {
        let mut context = hmac::Context::with_key(self.key);
        // Each part with its length: no two searches read the same.
        let parts = [self.caller, kind, place].into_iter();
        let parts = parts.chain(parameters.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().iter().copied().take(SEAL).collect()
    }

    /// A place in the results of a search, as a link carries it.
    pub fn link(&self, kind: &str, parameters: &[(String, String)], after: &PageCursor) -> String {
        let place = format!("{}~{}", after.date, after.id);
        let mut bytes = self.seal(kind, parameters, &place);
        bytes.extend_from_slice(place.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place again. `None`: made for another caller or another search, or not by us.
    pub fn open(&self, kind: &str, parameters: &[(String, String)], link: &str) -> Option<PageCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(link).ok()?;
        let (seal, place) = bytes.split_at_checked(SEAL)?;
        let place = std::str::from_utf8(place).ok()?;
        constant_time::verify_slices_are_equal(seal, &self.seal(kind, parameters, place)).ok()?;
        let (date, id) = place.split_once('~')?;
        Some(PageCursor { date: date.parse().ok()?, id: id.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_one_callers_for_one_search() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        let other = hmac::Key::new(hmac::HMAC_SHA256, b"other");
        let pages = |key, caller| Pages { key, caller };
        let search =
            |value: &str| vec![("patient".to_owned(), "Patient/1".to_owned()), ("type".into(), value.into())];
        let place = PageCursor { date: -12, id: "a-b".into() };
        let link = pages(&key, "8101").link("List", &search("x"), &place);
        let open = |key, caller, kind: &str, value: &str, link: &str| {
            pages(key, caller).open(kind, &search(value), link)
        };
        assert_eq!(open(&key, "8101", "List", "x", &link), Some(place));
        assert_eq!(open(&other, "8101", "List", "x", &link), None);
        assert_eq!(open(&key, "8102", "List", "x", &link), None);
        assert_eq!(open(&key, "8101", "DocumentReference", "x", &link), None);
        assert_eq!(open(&key, "8101", "List", "y", &link), None);
        let mut altered = URL_SAFE_NO_PAD.decode(&link).unwrap();
        *altered.last_mut().unwrap() = b'c';
        for bad in ["", "!", "AAAA", &URL_SAFE_NO_PAD.encode(altered)] {
            assert_eq!(open(&key, "8101", "List", "x", bad), None, "{bad}");
        }
        // A name and a value that read alike when joined are another search.
        let joined = vec![("patient".to_owned(), "Patient/1type".to_owned()), ("x".into(), String::new())];
        assert_eq!(pages(&key, "8101").open("List", &joined, &link), None);
    }
}
