//! The operator's keys: what wraps the keys of records.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

use super::{SealingError, Vault};

/// The key of a record as it is kept: under an operator's key, and for one record alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// The name of the operator's key.
    pub operator_key: String,
    /// What that key made of it: opaque to everybody else.
    pub bytes: Vec<u8>,
}

/// Keys that wrap and unwrap, and need not leave what holds them: files here, a PKCS#11 token behind the same three questions.
///
/// `context` goes into the authentication of what is wrapped (a token does the same with the additional data of `CKM_AES_GCM`).
pub trait OperatorKeys: Send + Sync + fmt::Debug {
    /// The name of the key that wraps what is new.
    fn current(&self) -> &str;
    /// Wraps under the current key.
    ///
    /// # Errors
    /// [`SealingError::NotSealed`].
    fn wrap(&self, key: &[u8; 32], context: &[u8]) -> Result<WrappedKey, SealingError>;
    /// Unwraps under whichever key it was wrapped.
    ///
    /// # Errors
    /// [`SealingError::UnknownOperatorKey`], [`SealingError::NotOpened`].
    fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealingError>;
}

/// Keys in a folder: NAME.key, 32 bytes in base64, for nobody but the server to read.
pub struct FileKeys {
    keys: BTreeMap<String, RandomizedNonceKey>,
    current: String,
}

impl fmt::Debug for FileKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FileKeys({:?}, current {})", self.keys.keys(), self.current)
    }
}

impl FileKeys {
    /// Reads every `*.key` of a folder.
    ///
    /// # Errors
    /// Names the file at fault: not 32 bytes, or readable by others; the current key is not there.
    pub fn read(folder: &Path, current: &str) -> Result<Self> {
        let mut keys = BTreeMap::new();
        let listed = std::fs::read_dir(folder)
            .with_context(|| format!("cannot read the folder of keys {}", folder.display()))?;
        for entry in listed {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "key") {
                continue;
            }
            let name =
                path.file_stem().and_then(|name| name.to_str()).context("the name of a key is no text")?;
            let mode = std::fs::metadata(&path)?.permissions().mode();
            ensure!(mode & 0o077 == 0, "{} can be read by others: chmod 600", path.display());
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let text = Zeroizing::new(text);
            let bytes = BASE64.decode(text.trim()).ok().map(Zeroizing::new);
            let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
            let bytes = Zeroizing::new(bytes.with_context(|| {
                format!("{} is not 32 bytes in base64 (`habilis keys new` makes one)", path.display())
            })?);
            keys.insert(name.to_owned(), bytes);
        }
        Self::of(keys, current).with_context(|| folder.display().to_string())
    }

    /// Of keys by name.
    ///
    /// # Errors
    /// The current one is not among them.
    pub fn of(keys: impl IntoIterator<Item = (String, Zeroizing<[u8; 32]>)>, current: &str) -> Result<Self> {
        let keys = keys
            .into_iter()
            .map(|(name, bytes)| {
                let key = RandomizedNonceKey::new(&AES_256_GCM, bytes.as_slice());
                key.map(|key| (name, key)).map_err(|_| anyhow::anyhow!("not a key of AES-256-GCM"))
            })
            .collect::<Result<BTreeMap<_, _>>>()?;
        if !keys.contains_key(current) {
            bail!("there is no key {current}.key");
        }
        Ok(Self { keys, current: current.to_owned() })
    }

    fn key(&self, name: &str) -> Result<&RandomizedNonceKey, SealingError> {
        self.keys.get(name).ok_or_else(|| SealingError::UnknownOperatorKey(name.to_owned()))
    }
}

impl OperatorKeys for FileKeys {
    fn current(&self) -> &str {
        &self.current
    }

    fn wrap(&self, key: &[u8; 32], context: &[u8]) -> Result<WrappedKey, SealingError> {
        let mut sealed = Zeroizing::new(key.to_vec());
        let nonce = self
            .key(&self.current)?
            .seal_in_place_append_tag(Aad::from(context), &mut *sealed)
            .map_err(|_| SealingError::NotSealed("the key of a record"))?;
        let mut bytes = nonce.as_ref().to_vec();
        bytes.extend_from_slice(&sealed);
        Ok(WrappedKey { operator_key: self.current.clone(), bytes })
    }

    fn unwrap(&self, wrapped: &WrappedKey, context: &[u8]) -> Result<Zeroizing<[u8; 32]>, SealingError> {
        let refused = || SealingError::NotOpened("the key of a record");
        let key = self.key(&wrapped.operator_key)?;
        let (nonce, sealed) = wrapped.bytes.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let opened = key.open_in_place(nonce, Aad::from(context), &mut sealed).map_err(|_| refused())?;
        <[u8; 32]>::try_from(&*opened).map(Zeroizing::new).map_err(|_| refused())
    }
}

/// Where the operator's keys lie, and which of them wraps what is new.
#[derive(Clone, Debug)]
pub struct EncryptionSettings {
    /// The folder of the keys.
    pub keys: PathBuf,
    /// The name of the current one.
    pub current: String,
}

impl EncryptionSettings {
    /// Reads the keys.
    ///
    /// # Errors
    /// As [`FileKeys::read`].
    pub fn vault(&self) -> Result<Vault> {
        Ok(Vault::new(Arc::new(FileKeys::read(&self.keys, &self.current)?)))
    }
}

/// Makes a new key's file, for nobody else to read; never over another.
///
/// # Errors
/// The name is no plain name, the file is there already, or cannot be made.
pub fn make_key_file(folder: &Path, name: &str) -> Result<()> {
    let plain =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    ensure!(plain, "the name of a key has letters, digits, hyphens");
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.join(format!("{name}.key"));
    let mut bytes = Zeroizing::new([0_u8; 32]);
    rand::fill(bytes.as_mut()).map_err(|_| anyhow::anyhow!("the machine gives no randomness"))?;
    let text = Zeroizing::new(BASE64.encode(*bytes));
    // Whole before it has its name, and never in the place of another: whoever reads the folder meanwhile reads no half of a key.
    let mut own = [0_u8; 8];
    rand::fill(&mut own).map_err(|_| anyhow::anyhow!("the machine gives no randomness"))?;
    let unfinished = folder.join(format!(".{name}.{:016x}", u64::from_be_bytes(own)));
    let mut options = std::fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(&unfinished).and_then(|mut file| {
        writeln!(file, "{}", text.as_str())?;
        file.sync_all()?;
        std::fs::hard_link(&unfinished, &path)
    });
    let _ = std::fs::remove_file(&unfinished);
    made.with_context(|| format!("cannot make {}", path.display()))?;
    // Before anything is wrapped under it, the name of the file is durable too.
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_keys() {
        let folder = tempfile::tempdir().unwrap();
        let why = |folder: &Path, current: &str| format!("{:#}", FileKeys::read(folder, current).unwrap_err());
        make_key_file(folder.path(), "2026-11").unwrap();
        make_key_file(folder.path(), "2027-01").unwrap();
        assert_eq!(FileKeys::read(folder.path(), "2027-01").unwrap().current(), "2027-01");
        assert!(why(folder.path(), "2028").ends_with("there is no key 2028.key"));
        assert!(format!("{:#}", make_key_file(folder.path(), "2026-11").unwrap_err()).contains("File exists"));
        assert!(make_key_file(folder.path(), "../x").is_err());
        let path = folder.path().join("2026-11.key");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(why(folder.path(), "2027-01").contains("can be read by others"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "c2hvcnQ=").unwrap();
        assert!(why(folder.path(), "2027-01").contains("is not 32 bytes in base64"));
    }
}
