//! Checkpoints: what a tree was at a size, signed (C2SP tlog-checkpoint, signed-note), kept outside the database.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use aws_lc_rs::digest;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::merkle::Hash;

/// Where checkpoints of a node end.
const SUFFIX: &str = ".checkpoints";
/// The algorithm byte of Ed25519 in a signed note.
const ED25519_NOTE: u8 = 1;

/// The size of a tree and its root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose tree: `origin/node`.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// RFC 6962.
    pub root: Hash,
}

impl Checkpoint {
    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    fn read(body: &str) -> Result<Self> {
        let mut lines = body.lines();
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            bail!("a checkpoint has three lines");
        };
        let root = BASE64.decode(root).context("root")?;
        let root = Hash::try_from(root.as_slice()).context("a root has 32 bytes")?;
        let digits = size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        ensure!(digits, "a size is a number without leading zeros");
        Ok(Self { origin: origin.to_owned(), size: size.parse().context("size")?, root })
    }
}

/// The key that signs checkpoints. It lies in no database.
pub struct Signer {
    name: String,
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Signer").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The text of a statement. Lines do not run into each other: each says how long it is.
fn statement(kind: &str, lines: &[&str]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("{} {line}\n", line.len())).collect();
    format!("statement: {kind}\n{}", lines.concat())
}

impl Signer {
    /// Reads the key: PEM, PKCS#8, Ed25519. `name` is what signatures and public key are called by.
    ///
    /// # Errors
    /// Names the file that is none.
    pub fn read(name: &str, path: &Path) -> Result<Self> {
        let none = || format!("{} is no Ed25519 key (PEM, PKCS#8)", path.display());
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let inside = text
            .split_once("-----BEGIN PRIVATE KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PRIVATE KEY-----"))
            .with_context(none)?;
        let der = BASE64.decode(inside.0.split_ascii_whitespace().collect::<String>()).with_context(none)?;
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| anyhow::anyhow!(none()))?;
        ensure!(
            !name.is_empty() && !name.contains([' ', '+', '\n']),
            "audit.origin is a name without spaces and plus signs"
        );
        Ok(Self { name: name.to_owned(), pair })
    }

    /// A signed note.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let body = checkpoint.body();
        let verifier = self.verifier();
        let signature = self.pair.sign(body.as_bytes());
        let signed = [verifier.key_id().as_slice(), signature.as_ref()].concat();
        format!("{body}\n— {} {}\n", self.name, BASE64.encode(signed))
    }

    /// Signs a statement that is no checkpoint: its first line says what it is, and no origin of a checkpoint reads so.
    pub fn sign_statement(&self, kind: &str, lines: &[&str]) -> String {
        BASE64.encode(self.pair.sign(statement(kind, lines).as_bytes()))
    }

    /// What verifies the notes.
    pub fn verifier(&self) -> Verifier {
        Verifier { name: self.name.clone(), public: self.pair.public_key().as_ref().to_vec() }
    }
}

/// A public key, as signed notes have it: `name+id+key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    public: Vec<u8>,
}

impl Verifier {
    /// Reads `name+id+key`.
    ///
    /// # Errors
    /// It is none, or of another algorithm than Ed25519.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            bail!("a verifier key is NAME+ID+KEY");
        };
        let key = BASE64.decode(key).context("the key is not base64")?;
        let Some((&ED25519_NOTE, public)) = key.split_first() else { bail!("the key is not an Ed25519 one") };
        let verifier = Self { name: name.to_owned(), public: public.to_vec() };
        ensure!(hex(&verifier.key_id()) == id, "the id is not that of the key");
        Ok(verifier)
    }

    fn key_id(&self) -> [u8; 4] {
        let named = [self.name.as_bytes(), b"\n", &[ED25519_NOTE], &self.public].concat();
        let hash = digest::digest(&digest::SHA256, &named);
        let mut id = [0; 4];
        id.copy_from_slice(hash.as_ref().get(..4).unwrap_or(&[0; 4]));
        id
    }

    /// Whether this key signed a statement.
    pub fn signed_statement(&self, kind: &str, lines: &[&str], signature: &str) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        let signature = BASE64.decode(signature).unwrap_or_default();
        key.verify(statement(kind, lines).as_bytes(), &signature).is_ok()
    }

    /// Opens a note.
    ///
    /// # Errors
    /// It is none, or this key did not sign it.
    pub fn open(&self, note: &str) -> Result<Checkpoint> {
        let (body, signatures) = note.split_once("\n\n").context("a note has a body and signatures")?;
        let body = format!("{body}\n");
        let ours = format!("— {} ", self.name);
        for line in signatures.lines() {
            let Some(signature) = line.strip_prefix(&ours) else { continue };
            let signature = BASE64.decode(signature).context("a signature is base64")?;
            let Some((id, signature)) = signature.split_first_chunk::<4>() else { continue };
            if *id != self.key_id() {
                continue;
            }
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            return match key.verify(body.as_bytes(), signature) {
                Ok(()) => Checkpoint::read(&body),
                Err(_) => bail!("the signature is not that of the key"),
            };
        }
        bail!("no signature of {}", self.name)
    }
}

impl std::fmt::Display for Verifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = [&[ED25519_NOTE], self.public.as_slice()].concat();
        write!(formatter, "{}+{}+{}", self.name, hex(&self.key_id()), BASE64.encode(key))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Folders outside the database in which checkpoints are kept, a file a day and node: better on two volumes than on one.
#[derive(Clone, Debug)]
pub struct CheckpointFolders(Vec<PathBuf>);

impl CheckpointFolders {
    /// Makes the folders where they are missing.
    ///
    /// # Errors
    /// There is none, or one cannot be made.
    pub fn open(folders: &[PathBuf]) -> Result<Self> {
        ensure!(!folders.is_empty(), "audit.checkpoints names no folder");
        for folder in folders {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Ok(Self(folders.to_vec()))
    }

    /// Folders that are read and not written.
    pub fn of(folders: &[PathBuf]) -> Self {
        Self(folders.to_vec())
    }

    /// Appends a note to the file of the day in each folder, durably.
    ///
    /// # Errors
    /// One could not be written; the others are tried all the same.
    pub fn append(&self, node: &str, note: &str, now: Timestamp) -> Result<()> {
        let day = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string();
        let mut result = Ok(());
        for folder in &self.0 {
            let path = folder.join(format!("{node}_{day}{SUFFIX}"));
            let written = append(&path, &format!("{note}\n"))
                .with_context(|| format!("cannot write the checkpoint to {}", path.display()));
            result = result.and(written);
        }
        result
    }

    /// Every checkpoint of a node that this key signed, by size, of each folder.
    ///
    /// # Errors
    /// A file that cannot be read, a note that cannot be opened, two roots of one size: names the file.
    pub fn read(&self, node: &str, verifier: &Verifier) -> Result<Vec<BTreeMap<u64, Checkpoint>>> {
        self.0.iter().map(|folder| read_folder(folder, node, verifier, usize::MAX)).collect()
    }

    /// The last of them in each folder: of the newest days alone, however old the log is.
    ///
    /// # Errors
    /// As [`CheckpointFolders::read`].
    pub fn read_last(&self, node: &str, verifier: &Verifier) -> Result<Vec<BTreeMap<u64, Checkpoint>>> {
        self.0.iter().map(|folder| read_folder(folder, node, verifier, 2)).collect()
    }

    /// The newest note of a node as it was signed, and what it says; `None`: there is none.
    ///
    /// # Errors
    /// As [`CheckpointFolders::read`].
    pub fn newest(&self, node: &str, verifier: &Verifier) -> Result<Option<(String, Checkpoint)>> {
        let mut newest: Option<(String, Checkpoint)> = None;
        for folder in &self.0 {
            for path in files_of(folder, node)?.iter().rev().take(2) {
                let at = || path.display().to_string();
                let text = std::fs::read_to_string(path).with_context(at)?;
                let Some(note) = notes_of(&text).pop() else { continue };
                let checkpoint = verifier.open(note).with_context(at)?;
                if newest.as_ref().is_none_or(|(_, found)| found.size < checkpoint.size) {
                    newest = Some((note.to_owned(), checkpoint));
                }
            }
        }
        Ok(newest)
    }

    /// The nodes of which there are checkpoints.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn nodes(&self) -> Result<BTreeSet<String>> {
        let mut nodes = BTreeSet::new();
        for folder in &self.0 {
            let entries = std::fs::read_dir(folder)
                .with_context(|| format!("cannot read the folder {}", folder.display()))?;
            for entry in entries {
                nodes.extend(node_of(&entry?.path()));
            }
        }
        Ok(nodes)
    }
}

/// The node whose checkpoints a file holds, by its name.
fn node_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?.strip_suffix(SUFFIX)?;
    name.rsplit_once('_').map(|(node, _)| node.to_owned())
}

fn append(path: &Path, text: &str) -> Result<()> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    let length = file.metadata()?.len();
    // What a crash or a full disk left of a note is ended: it is no note, and the next one begins behind it.
    let ended = if ends_whole(&mut file, length)? { "" } else { TORN };
    let written = file.write_all(format!("{ended}{text}").as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // The file as it was, where that is still possible.
        let _ = file.set_len(length).and_then(|()| file.sync_all());
        return Err(error.into());
    }
    if let Some(folder) = path.parent().filter(|_| is_new) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// What ends a note that was not written to its end.
const TORN: &str = "\n\n# torn\n\n";

/// Whether a file ends with a signature and an empty line.
fn ends_whole(file: &mut File, length: u64) -> Result<bool> {
    /// Longer than any signature line of ours.
    const TAIL: u64 = 1 << 10;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail)?;
    let tail = String::from_utf8_lossy(&tail);
    let last = tail.strip_suffix("\n\n").and_then(|tail| tail.rsplit("\n\n").next());
    Ok(length == 0 || last.is_some_and(|last| last.starts_with("— ") || last == "# torn"))
}

fn read_folder(
    folder: &Path,
    node: &str,
    verifier: &Verifier,
    days: usize,
) -> Result<BTreeMap<u64, Checkpoint>> {
    let mut found = BTreeMap::new();
    let mut paths = files_of(folder, node)?;
    for path in paths.split_off(paths.len().saturating_sub(days)) {
        let at = || path.display().to_string();
        let text = std::fs::read_to_string(&path).with_context(at)?;
        for note in notes_of(&text) {
            let checkpoint = verifier.open(note).with_context(at)?;
            ensure!(checkpoint.origin.ends_with(&format!("/{node}")), "{}: a checkpoint of another node", at());
            if let Some(other) = found.insert(checkpoint.size, checkpoint.clone()) {
                ensure!(other.root == checkpoint.root, "{}: two roots of the size {}", at(), checkpoint.size);
            }
        }
    }
    Ok(found)
}

/// The files of a node, the oldest first.
fn files_of(folder: &Path, node: &str) -> Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if node_of(&path).as_deref() == Some(node) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The notes of a file. A note is a body, an empty line, a signature, an empty line. What a crash cut is no note, and signed nothing; the
/// next one is looked for behind its mark.
fn notes_of(text: &str) -> Vec<&str> {
    let mut notes = Vec::new();
    for part in text.split(TORN) {
        let mut rest = part;
        while let Some(end) = rest.find("\n\n— ") {
            let Some(length) = rest.get(end + 2..).and_then(|rest| rest.find("\n\n")) else { break };
            let (note, after) = rest.split_at(end + 2 + length + 2);
            notes.push(note.trim_end_matches('\n'));
            rest = after;
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(folder: &Path, name: &str) -> Signer {
        let path = folder.join(format!("{name}.key"));
        let der = Ed25519KeyPair::generate().unwrap().to_pkcs8().unwrap();
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64.encode(der.as_ref())
        );
        std::fs::write(&path, pem).unwrap();
        Signer::read(name, &path).unwrap()
    }

    /// The key of the examples of C2SP signed-note, and of Go's `note` package.
    #[test]
    fn a_published_key_is_read() {
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let verifier = Verifier::parse(text).unwrap();
        assert_eq!(verifier.to_string(), text);
        assert!(Verifier::parse(&text.replace("c74f", "c74e")).is_err());
        let note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
            — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        // Signed, and no checkpoint.
        assert!(format!("{:#}", verifier.open(note).unwrap_err()).contains("three lines"));
        let error = verifier.open(&note.replace("answer", "Answer")).unwrap_err().to_string();
        assert_eq!(error, "the signature is not that of the key");
    }

    #[test]
    fn checkpoints_are_kept_and_opened() {
        let folder = tempfile::tempdir().unwrap();
        let signer = signer(folder.path(), "dmp.example");
        let folders = CheckpointFolders::open(&[folder.path().join("a"), folder.path().join("b")]).unwrap();
        let at = |size: u64| Checkpoint { origin: "dmp.example/n_1".into(), size, root: [7; 32] };
        let now = Timestamp::from_second(1_795_000_000).unwrap();
        for size in [1, 5, 5] {
            folders.append("n_1", &signer.sign(&at(size)), now).unwrap();
        }
        let later = Timestamp::from_second(1_795_100_000).unwrap();
        folders.append("n_1", &signer.sign(&at(9)), later).unwrap();
        let other = Checkpoint { origin: "dmp.example/n".into(), ..at(3) };
        folders.append("n", &signer.sign(&other), now).unwrap();
        let verifier = Verifier::parse(&signer.verifier().to_string()).unwrap();
        let read = folders.read("n_1", &verifier).unwrap();
        assert_eq!(read.len(), 2);
        for of_folder in &read {
            assert_eq!(of_folder.values().cloned().collect::<Vec<_>>(), [at(1), at(5), at(9)]);
        }
        // Half a note at the end of a file is what a crash leaves.
        let path = folder.path().join("a").join("n_1_2026-11-20.checkpoints");
        let day = std::fs::read_dir(folder.path().join("a"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .max()
            .unwrap();
        let whole = std::fs::read_to_string(&day).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        assert_eq!(folders.read("n_1", &verifier).unwrap()[0].len(), 3);
        // And what is written behind it is read all the same.
        let of_node = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("n_1_");
        let entries = std::fs::read_dir(folder.path().join("b")).unwrap();
        let torn = entries.map(|entry| entry.unwrap().path()).filter(of_node).max().unwrap();
        let whole = std::fs::read_to_string(&torn).unwrap();
        for cut in 1..whole.len() - 1 {
            std::fs::write(&torn, &whole.as_bytes()[..whole.floor_char_boundary(cut)]).unwrap();
            append(&torn, &format!("{}\n", signer.sign(&at(12)))).unwrap();
            assert_eq!(folders.read("n_1", &verifier).unwrap()[1].keys().next_back(), Some(&12), "{cut}");
        }
        // Another key, another node, another root of a size.
        let foreign = self::signer(folder.path(), "other");
        assert!(folders.read("n_1", &foreign.verifier()).is_err());
        std::fs::write(&path, format!("{}\n", signer.sign(&other))).unwrap();
        assert!(format!("{:#}", folders.read("n_1", &verifier).unwrap_err()).contains("another node"));
        let forked = Checkpoint { root: [8; 32], ..at(5) };
        std::fs::write(&path, format!("{}\n", signer.sign(&forked))).unwrap();
        assert!(
            format!("{:#}", folders.read("n_1", &verifier).unwrap_err()).contains("two roots of the size 5")
        );
    }
}
