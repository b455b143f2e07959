//! Encryption at rest: an operator's key wraps the key of each record, and the key of a record seals its documents.
//!
//! ```text
//! operator's key ──wraps──► key of a record ──derives──► key of one document ──seals──► its bytes, in segments
//! (file, HSM)               (a row of the database)      (HKDF, salt of its own)
//! ```
//!
//! A record is erased when its row is: nothing opens its documents any more, wherever copies of them lie ([docs/retention.md]). What seals is
//! AES-256-GCM of aws-lc; the form of the bytes is that of Tink's streaming AEAD, so that any implementation of it can open them.
//!
//! [docs/retention.md]: https://github.com/habilis/habilis/blob/main/docs/retention.md

mod operator;
mod segments;

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub use operator::{EncryptionSettings, FileKeys, OperatorKeys, WrappedKey, make_key_file};
pub use segments::{HEADER, Opener, Segments, seal};

/// Why something is not sealed or opened. Says nothing of keys or bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealingError {
    /// The operator's key of this name is not there.
    #[error("the operator's key {0} is not in the folder of keys")]
    UnknownOperatorKey(String),
    /// The operator has retired the key under which new ones are wrapped here.
    #[error("the operator's key {0} is retired: set [encryption] current, and restart")]
    Retired(String),
    /// What wraps the record's key, or seals the bytes, is not right: altered, of another record, or under another key.
    #[error("{0} cannot be opened: altered, or sealed for something else")]
    NotOpened(&'static str),
    /// The machine gives no randomness, or the bytes are more than the form allows.
    #[error("nothing can be sealed: {0}")]
    NotSealed(&'static str),
}

/// The key of one record. It is nowhere but in memory, and there for as long as it is used.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SealingKey([u8; 32]);

impl fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealingKey")
    }
}

/// Makes, wraps and unwraps the keys of records.
#[derive(Clone, Debug)]
pub struct Vault {
    operator: Arc<dyn OperatorKeys>,
}

impl Vault {
    /// Under an operator's keys.
    pub fn new(operator: Arc<dyn OperatorKeys>) -> Self {
        Self { operator }
    }

    /// The name of the operator's key that wraps what is new.
    pub fn current(&self) -> &str {
        self.operator.current()
    }

    /// A new key for a record, and how it is kept.
    ///
    /// # Errors
    /// [`SealingError::NotSealed`].
    pub fn new_key(&self, record_id: &str) -> Result<(SealingKey, WrappedKey), SealingError> {
        let mut key = SealingKey([0; 32]);
        rand::fill(&mut key.0).map_err(|_| SealingError::NotSealed("no randomness"))?;
        let wrapped = self.operator.wrap(&key.0, record_id.as_bytes())?;
        Ok((key, wrapped))
    }

    /// The key of a record, as it was kept.
    ///
    /// # Errors
    /// [`SealingError::UnknownOperatorKey`]; [`SealingError::NotOpened`]: the wrapped key is another record's, or altered.
    pub fn open(&self, record_id: &str, wrapped: &WrappedKey) -> Result<SealingKey, SealingError> {
        self.operator.unwrap(wrapped, record_id.as_bytes()).map(|key| SealingKey(*key))
    }

    /// The same key under the operator's current one; `None`: it is already.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub fn wrap_again(
        &self,
        record_id: &str,
        wrapped: &WrappedKey,
    ) -> Result<Option<WrappedKey>, SealingError> {
        if wrapped.operator_key == self.operator.current() {
            return Ok(None);
        }
        let key = self.open(record_id, wrapped)?;
        self.operator.wrap(&key.0, record_id.as_bytes()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(current: &str) -> Vault {
        let key = |byte| zeroize::Zeroizing::new([byte; 32]);
        let keys = [("a".to_owned(), key(1)), ("b".to_owned(), key(2))];
        Vault::new(Arc::new(FileKeys::of(keys, current).unwrap()))
    }

    #[test]
    fn a_wrapped_key_is_of_one_record_and_one_operator_key() {
        let vault = vault("a");
        let (key, wrapped) = vault.new_key("record 1").unwrap();
        assert_eq!(vault.open("record 1", &wrapped).unwrap().0, key.0);
        let refused = Err(SealingError::NotOpened("the key of a record"));
        assert_eq!(vault.open("record 2", &wrapped).map(|_| ()), refused);
        let under =
            |operator_key: &str| WrappedKey { operator_key: operator_key.into(), bytes: wrapped.bytes.clone() };
        assert_eq!(vault.open("record 1", &under("b")).map(|_| ()), refused);
        let unknown = Err(SealingError::UnknownOperatorKey("c".into()));
        assert_eq!(vault.open("record 1", &under("c")).map(|_| ()), unknown);
        for at in 0..wrapped.bytes.len() {
            let mut altered = wrapped.clone();
            altered.bytes[at] ^= 1;
            assert_eq!(vault.open("record 1", &altered).map(|_| ()), refused, "byte {at}");
        }
        let mut short = wrapped.clone();
        short.bytes.truncate(11);
        assert_eq!(vault.open("record 1", &short).map(|_| ()), refused);
    }

    #[test]
    fn two_records_have_two_keys() {
        let vault = vault("a");
        assert_ne!(vault.new_key("1").unwrap().0.0, vault.new_key("2").unwrap().0.0);
        assert_eq!(format!("{:?}", vault.new_key("1").unwrap().0), "SealingKey", "a key is never shown");
    }

    #[test]
    fn a_rotation_keeps_the_key_and_changes_what_wraps_it() {
        let (key, wrapped) = vault("a").new_key("record 1").unwrap();
        let after = vault("b");
        let again = after.wrap_again("record 1", &wrapped).unwrap().unwrap();
        assert_eq!(again.operator_key, "b");
        assert_eq!(after.open("record 1", &again).unwrap().0, key.0);
        assert_eq!(after.wrap_again("record 1", &again).unwrap(), None);
        let only_b = Vault::new(Arc::new(
            FileKeys::of([("b".to_owned(), zeroize::Zeroizing::new([2; 32]))], "b").unwrap(),
        ));
        assert!(only_b.open("record 1", &again).is_ok());
        assert_eq!(
            only_b.open("record 1", &wrapped).map(|_| ()),
            Err(SealingError::UnknownOperatorKey("a".into()))
        );
    }
}
