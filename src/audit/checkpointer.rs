//! Signs how far a node's log goes, again and again; and never what contradicts what it signed before.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use jiff::Timestamp;

use super::checkpoint::{Checkpoint, CheckpointFolders, Signer};
use super::merkle::{Frontier, Hash};
use crate::store::Store;

/// How the traces of a node are made provable.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// What the log is called before all the world: the operator's name. Logs are `origin/node`.
    pub origin: String,
    /// The name of this process among those that share a database.
    pub node: String,
    /// The key that signs checkpoints: PEM, PKCS#8, Ed25519.
    pub key: PathBuf,
    /// Folders outside the database, better on several volumes.
    pub checkpoints: Vec<PathBuf>,
    /// How often.
    pub interval: Duration,
}

/// The signing of one node's log.
#[derive(Debug)]
pub struct Checkpointer {
    signer: Signer,
    folders: CheckpointFolders,
    origin: String,
    node: String,
    /// As of the last checkpoint.
    signed: Frontier,
}

impl Checkpointer {
    /// Opens key and folders, and looks whether the log goes on from what was signed.
    ///
    /// # Errors
    /// Key or folders cannot be used; the database lacks what a checkpoint has, or has something else: then nothing is signed any more
    /// under this node's name.
    pub async fn open(settings: &AuditSettings, store: &Store) -> Result<Self> {
        let signer = Signer::read(&settings.origin, &settings.key)?;
        let folders = CheckpointFolders::open(&settings.checkpoints)?;
        let of_folders = folders.read(&settings.node, &signer.verifier())?;
        let last =
            of_folders.iter().filter_map(|found| found.values().next_back()).max_by_key(|last| last.size);
        let signed = match last {
            Some(last) => goes_on(store, &settings.node, last).await.with_context(|| {
                format!(
                    "the log of the node {} does not go on from its checkpoint of {} traces: see `habilis audit verify`; a server goes on \
                     under another node's name (docs/audit.md)",
                    settings.node, last.size
                )
            })?,
            None => Frontier::default(),
        };
        let origin = format!("{}/{}", settings.origin, settings.node);
        Ok(Self { signer, folders, origin, node: settings.node.clone(), signed })
    }

    /// Signs how far the log goes, where it went on; whether it did.
    ///
    /// # Errors
    /// A folder or the database cannot be written: it is tried again the next time.
    pub async fn sign(&mut self, store: &Store, now: Timestamp) -> Result<bool> {
        let Some(head) = store.writer().head() else { return Ok(false) };
        if head.size() <= self.signed.size() {
            return Ok(false);
        }
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: head.size(), root: head.root() };
        let note = self.signer.sign(&checkpoint);
        let (folders, node) = (self.folders.clone(), self.node.clone());
        tokio::task::spawn_blocking(move || folders.append(&node, &note, now)).await??;
        self.signed = (*head).clone();
        store.note_checkpoint(&self.node, &self.signed).await?;
        Ok(true)
    }

    /// How many traces the last checkpoint covers.
    pub fn signed(&self) -> u64 {
        self.signed.size()
    }
}

/// The tree as of a checkpoint, derived from the rows since the last one that the database noted.
async fn goes_on(store: &Store, node: &str, last: &Checkpoint) -> Result<Frontier> {
    let named = node.to_owned();
    let state = store.read(move |reader| reader.log_state(&named)).await?;
    let state = state.context("the database has no log of this node")?;
    ensure!(
        u64::try_from(state.size).is_ok_and(|size| size >= last.size),
        "the database has {} traces of the node, fewer than were signed",
        state.size
    );
    // What the database noted is believed where the rest of the way leads to the root that was signed.
    let noted = state.checkpoint.filter(|noted| noted.size() <= last.size).unwrap_or_default();
    let mut frontier = noted;
    while frontier.size() < last.size {
        let (named, from) = (node.to_owned(), frontier.size());
        let most = i64::try_from((last.size - from).min(10_000)).unwrap_or(10_000);
        let rows = store.read(move |reader| reader.leaf_hashes(&named, from, most)).await?;
        ensure!(!rows.is_empty(), "the traces from {from} on are missing");
        for (leaf, hash) in rows {
            let expected = i64::try_from(frontier.size()).ok();
            let hash = hash.and_then(|hash| Hash::try_from(hash.as_slice()).ok());
            let hash = hash.filter(|_| leaf == expected);
            frontier.push(hash.ok_or_else(|| anyhow!("the trace {} is missing", frontier.size()))?);
        }
    }
    ensure!(frontier.root() == last.root, "the traces are others than those that were signed");
    Ok(frontier)
}
