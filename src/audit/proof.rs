//! That one trace is in a node's log: everything that a third party needs to see so with the public key alone.

use anyhow::{Context, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::checkpoint::{CheckpointFolders, Verifier};
use super::merkle::{Hash, inclusion_proof, is_included};
use crate::store::{DatabaseConnection, TraceRow};

/// A trace, its place, and how its hash leads to a signed root (RFC 6962, 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InclusionProof {
    /// The node.
    pub node: String,
    /// The place in its log, from 0.
    pub index: u64,
    /// Hash of the trace, base64.
    pub leaf_hash: String,
    /// The hashes beside the way to the root, base64.
    pub proof: Vec<String>,
    /// The signed note (C2SP tlog-checkpoint) whose root it leads to.
    pub checkpoint: String,
    /// What the hash was made of, name by name in its order: docs/audit.md.
    pub trace: serde_json::Map<String, serde_json::Value>,
}

impl InclusionProof {
    /// Proves it, under the newest checkpoint.
    ///
    /// # Errors
    /// The row is not what was written, no checkpoint covers it yet, or the log is not what was signed.
    pub fn of(
        connection: &mut DatabaseConnection,
        folders: &CheckpointFolders,
        verifier: &Verifier,
        row: &TraceRow,
    ) -> Result<Self> {
        let (Some(node), Some(leaf)) = (&row.node, row.leaf) else {
            bail!("the trace was written before there was a log");
        };
        ensure!(row.erased_by.is_none(), "what the trace said was erased: ten years had gone by");
        if row.right_hash().as_ref().map(Hash::as_slice) != row.leaf_hash.as_deref() {
            bail!("the row is not what was written: see `habilis audit verify`");
        }
        let (checkpoint, signed) = folders
            .newest(node, verifier)?
            .context("there is no checkpoint of the node yet: try again in some seconds")?;
        let index = u64::try_from(leaf)?;
        let leaves = leaves(connection, node)?;
        let covered = leaves.get(..usize::try_from(signed.size)?).context("fewer traces than were signed")?;
        let place = usize::try_from(leaf)?;
        let proof = inclusion_proof(place, covered)
            .context("no checkpoint covers the trace yet: try again in some seconds")?;
        let proven = Self {
            node: node.clone(),
            index,
            leaf_hash: covered.get(place).map(|hash| BASE64.encode(hash)).unwrap_or_default(),
            proof: proof.iter().map(|hash| BASE64.encode(hash)).collect(),
            checkpoint,
            trace: row.hashed(),
        };
        proven.check(verifier).context("the log is not what was signed: see `habilis audit verify`")?;
        Ok(proven)
    }

    /// The trace as a row; `None`: it lacks something.
    pub(super) fn row(&self) -> Option<TraceRow> {
        TraceRow::of_hashed(&self.trace, &self.node, self.index)
    }

    /// Sees whether it holds: the trace makes the hash, the hash leads to the root, and the key signed the root. Needs no database.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self, verifier: &Verifier) -> Result<()> {
        let signed = verifier.open(&self.checkpoint).context("the checkpoint")?;
        ensure!(signed.origin.ends_with(&format!("/{}", self.node)), "the checkpoint is of another node");
        let row = self.row().context("the trace lacks something")?;
        ensure!(row.hashed() == self.trace, "the proof says more of the trace than its hash covers");
        let hash = row.right_hash().context("the trace has no place")?;
        ensure!(BASE64.encode(hash) == self.leaf_hash, "the trace does not make the hash");
        let proof = self.proof.iter().map(|text| hash_of(text)).collect::<Result<Vec<Hash>>>()?;
        let included = is_included(self.index, signed.size, hash, &proof, &signed.root);
        ensure!(included, "the hash does not lead to the signed root");
        Ok(())
    }
}

fn hash_of(text: &str) -> Result<Hash> {
    let bytes = BASE64.decode(text).context("a hash is base64")?;
    Hash::try_from(bytes.as_slice()).context("a hash has 32 bytes")
}

/// The hashes of a node's log, in order.
///
/// # Errors
/// The database cannot be read, or a row has no hash.
pub fn leaves(connection: &mut DatabaseConnection, node: &str) -> Result<Vec<Hash>> {
    let mut leaves = Vec::new();
    loop {
        let rows = TraceRow::page(connection, node, i64::try_from(leaves.len())?, 10_000)?;
        if rows.is_empty() {
            return Ok(leaves);
        }
        for row in rows {
            let hash = row.leaf_hash.as_deref().and_then(|hash| Hash::try_from(hash).ok());
            leaves.push(hash.with_context(|| format!("the trace {} of {node} has no hash", leaves.len()))?);
        }
    }
}
