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
    /// As it was found at the start: what a process that was killed left unsigned is signed by the next.
    found: Option<Frontier>,
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
        let of_folders = folders.read_last(&settings.node, &signer.verifier())?;
        let last =
            of_folders.iter().filter_map(|found| found.values().next_back()).max_by_key(|last| last.size);
        let (signed, found) = goes_on(store, &settings.node, last).await.with_context(|| {
            format!(
                "the log of the node {} does not go on from its last checkpoint: see `habilis audit verify`; a server goes on under another \
                 node's name (docs/audit.md)",
                settings.node
            )
        })?;
        let origin = format!("{}/{}", settings.origin, settings.node);
        Ok(Self { signer, folders, origin, node: settings.node.clone(), signed, found })
    }

    /// Signs how far the log goes, where it went on; whether it did. What was signed is the beginning of it: the rows between say so.
    ///
    /// # Errors
    /// A folder or the database cannot be written: it is tried again the next time. The log is not what was signed any more: then nothing is
    /// signed under this node's name.
    pub async fn sign(&mut self, store: &Store, now: Timestamp) -> Result<bool> {
        // Another process of this name may have gone on with the log, as `habilis retention run` does.
        let named = self.node.clone();
        let kept = store.read(move |reader| reader.log_state(&named)).await?.and_then(|state| state.frontier);
        let written = store.writer().head().map(|head| (*head).clone());
        // Of two as long, what this process wrote itself.
        let heads = [kept, self.found.clone(), written];
        let Some(head) = heads.into_iter().flatten().max_by_key(Frontier::size) else { return Ok(false) };
        ensure!(
            head.size() >= self.signed.size(),
            "the log has {} traces, {} were signed: see `habilis audit verify`",
            head.size(),
            self.signed.size()
        );
        if head.size() == self.signed.size() {
            return Ok(false);
        }
        let goes_on = extended(store, &self.node, self.signed.clone(), head.size()).await?;
        ensure!(
            goes_on == head,
            "the log is not what was signed any more: nothing is signed (see `habilis audit verify`)"
        );
        let checkpoint = Checkpoint { origin: self.origin.clone(), size: head.size(), root: head.root() };
        let note = self.signer.sign(&checkpoint);
        let (folders, node) = (self.folders.clone(), self.node.clone());
        tokio::task::spawn_blocking(move || folders.append(&node, &note, now)).await??;
        self.signed = head;
        store.note_checkpoint(&self.node, &self.signed).await?;
        Ok(true)
    }

    /// How many traces the last checkpoint covers.
    pub fn signed(&self) -> u64 {
        self.signed.size()
    }
}

/// The tree of a node's log up to a size, derived from a smaller one and the rows since.
async fn extended(store: &Store, node: &str, mut frontier: Frontier, size: u64) -> Result<Frontier> {
    while frontier.size() < size {
        let (named, from) = (node.to_owned(), frontier.size());
        let most = i64::try_from((size - from).min(10_000)).unwrap_or(10_000);
        let rows = store.read(move |reader| reader.leaf_hashes(&named, from, most)).await?;
        ensure!(!rows.is_empty(), "the traces from {from} on are missing");
        for (leaf, hash) in rows {
            let expected = i64::try_from(frontier.size()).ok();
            let hash = hash.and_then(|hash| Hash::try_from(hash.as_slice()).ok());
            let hash = hash.filter(|_| leaf == expected);
            frontier.push(hash.ok_or_else(|| anyhow!("the trace {} is missing", frontier.size()))?);
        }
    }
    Ok(frontier)
}

/// The tree as of the last checkpoint, and as of now, derived from the rows since the last one that the database noted.
async fn goes_on(store: &Store, node: &str, last: Option<&Checkpoint>) -> Result<(Frontier, Option<Frontier>)> {
    let named = node.to_owned();
    let state = store.read(move |reader| reader.log_state(&named)).await?;
    let Some(state) = state else {
        ensure!(last.is_none(), "the database has no log of this node");
        return Ok((Frontier::default(), None));
    };
    let size = u64::try_from(state.size).unwrap_or_default();
    let noted = state.checkpoint.unwrap_or_default();
    let signed = match last {
        None => {
            ensure!(
                noted.size() == 0,
                "the database knows of a checkpoint of {} traces, and the folders have none",
                noted.size()
            );
            Frontier::default()
        }
        Some(last) => {
            ensure!(size >= last.size, "the database has {size} traces of the node, fewer than were signed");
            // What the database noted is believed where the rest of the way leads to the root that was signed.
            let noted = Some(noted).filter(|noted| noted.size() <= last.size).unwrap_or_default();
            let signed = extended(store, node, noted, last.size).await?;
            ensure!(signed.root() == last.root, "the traces are others than those that were signed");
            signed
        }
    };
    let now = extended(store, node, signed.clone(), size).await?;
    ensure!(state.frontier.as_ref() == Some(&now), "the log's tree is not that of its traces");
    Ok((signed, Some(now)))
}
