//! `habilis audit verify`: derives the trees of all nodes again, from the rows, and holds them against the checkpoints.
//!
//! What it needs is the database, the public key and the checkpoints; nothing of a running server.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use jiff::Timestamp;

use super::checkpoint::{Checkpoint, CheckpointFolders, Verifier};
use super::erased::Erasures;
use super::merkle::{Frontier, Hash};
use crate::store::{DatabaseConnection, LogState, TraceRow};

/// What is verified against what.
#[derive(Debug)]
pub struct Evidence {
    /// The public key.
    pub verifier: Verifier,
    /// The checkpoints.
    pub folders: CheckpointFolders,
    /// The present instant.
    pub now: Timestamp,
    /// How many rows there were before there was a log, of which nothing can be said.
    pub unlogged: u64,
    /// How old a trace may be, in microseconds, that no checkpoint covers yet.
    pub patience: i64,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The node.
    pub node: String,
    /// The first place in its log that is not as it was, as far as it can be told.
    pub leaf: u64,
    /// What it is.
    pub what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "node {}, trace {}: {}", self.node, self.leaf, self.what)
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Traces that were derived again.
    pub traces: u64,
    /// Those of before there was a log, of which nothing can be said.
    pub unlogged: u64,
    /// Checkpoints that were met.
    pub checkpoints: u64,
    /// Nodes.
    pub nodes: usize,
    /// The first fault of each node.
    pub faults: Vec<Fault>,
}

/// By how much the clock of a node may be ahead of ours, microseconds.
const AHEAD: i64 = 24 * 3600 * 1_000_000;
/// How many rows are read at once.
const PAGE: i64 = 5_000;

/// Verifies. `progress` is told after each page how many rows were read, and how many there are.
///
/// # Errors
/// Database or checkpoints cannot be read at all. Whatever can be read and is wrong is a [`Fault`].
pub fn verify(
    connection: &mut DatabaseConnection,
    evidence: &Evidence,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report> {
    let states = LogState::all(connection)?;
    let total = states.iter().map(|state| u64::try_from(state.size).unwrap_or_default()).sum();
    let unlogged = u64::try_from(LogState::unlogged(connection)?).unwrap_or_default();
    let states: BTreeMap<String, LogState> =
        states.into_iter().map(|state| (state.node.clone(), state)).collect();
    let mut nodes: BTreeSet<String> = states.keys().cloned().collect();
    nodes.extend(LogState::nodes_of_rows(connection)?);
    nodes.extend(evidence.folders.nodes()?);
    let mut report = Report { unlogged, nodes: nodes.len(), ..Report::default() };
    if unlogged > evidence.unlogged {
        let what = format!("{unlogged} rows are of no node, {} were before there was a log", evidence.unlogged);
        report.faults.push(Fault { node: String::new(), leaf: 0, what });
    }
    let mut erasures = Erasures::default();
    for node in &nodes {
        let checkpoints = match evidence.folders.read(node, &evidence.verifier) {
            Ok(of_folders) => of_folders,
            Err(error) => {
                let what = format!("the checkpoints cannot be believed: {error:#}");
                report.faults.push(Fault { node: node.clone(), leaf: 0, what });
                continue;
            }
        };
        let mut log = Log { node, evidence, frontier: Frontier::default(), unsigned_since: None };
        let fault = log.derive(connection, &checkpoints, states.get(node), &mut erasures, |read| {
            report.traces += read;
            progress(report.traces, total);
        })?;
        report.checkpoints += checkpoints.iter().flat_map(BTreeMap::keys).collect::<BTreeSet<_>>().len() as u64;
        report.faults.extend(fault);
    }
    report.faults.extend(erasures.check(connection, &evidence.verifier)?);
    Ok(report)
}

struct Log<'a> {
    node: &'a str,
    evidence: &'a Evidence,
    frontier: Frontier,
    /// When the first trace was written that no checkpoint covers.
    unsigned_since: Option<i64>,
}

impl Log<'_> {
    fn fault(&self, leaf: u64, what: impl Into<String>) -> Option<Fault> {
        Some(Fault { node: self.node.to_owned(), leaf, what: what.into() })
    }

    fn derive(
        &mut self,
        connection: &mut DatabaseConnection,
        of_folders: &[BTreeMap<u64, Checkpoint>],
        state: Option<&LogState>,
        erasures: &mut Erasures,
        mut read: impl FnMut(u64),
    ) -> Result<Option<Fault>> {
        let mut roots: BTreeMap<u64, Hash> = BTreeMap::new();
        for checkpoint in of_folders.iter().flat_map(BTreeMap::values) {
            if roots.insert(checkpoint.size, checkpoint.root).is_some_and(|other| other != checkpoint.root) {
                let what = "two folders have different checkpoints of one size";
                return Ok(self.fault(checkpoint.size, what));
            }
        }
        let last = roots.keys().next_back().copied().unwrap_or_default();
        let mut last_good = 0;
        loop {
            let from = i64::try_from(self.frontier.size())?;
            let rows = TraceRow::page(connection, self.node, from, PAGE)?;
            // What a server at work has added since is looked at the next time.
            let all = state.and_then(|state| u64::try_from(state.size).ok());
            let rows: Vec<TraceRow> = rows
                .into_iter()
                .filter(|row| {
                    all.is_none_or(|all| {
                        row.leaf.and_then(|leaf| u64::try_from(leaf).ok()).is_none_or(|leaf| leaf < all)
                    })
                })
                .collect();
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                let at = self.frontier.size();
                if row.leaf != i64::try_from(at).ok() {
                    return Ok(self.fault(at, "the trace is missing"));
                }
                let right = erasures.meet(self.node, at, row);
                if right.is_none() || row.leaf_hash.as_deref() != right.as_ref().map(Hash::as_slice) {
                    let what = format!("the row (sequence {}) is not what was written", row.sequence);
                    return Ok(self.fault(at, what));
                }
                if row.at > self.evidence.now.as_microsecond() + AHEAD {
                    return Ok(
                        self.fault(at, format!("the row (sequence {}) is of a time to come", row.sequence))
                    );
                }
                self.frontier.push(right.unwrap_or_default());
                let size = self.frontier.size();
                match roots.get(&size) {
                    Some(root) if *root == self.frontier.root() => last_good = size,
                    Some(_) => {
                        let what = format!(
                            "of the traces {last_good} to {}, one at least is not what was signed",
                            size - 1
                        );
                        return Ok(self.fault(last_good, what));
                    }
                    None => {}
                }
                if size > last && row.erased_by.is_none() {
                    self.unsigned_since.get_or_insert(row.at);
                }
            }
            read(rows.len() as u64);
        }
        if let Some(fault) = self.end(last, state) {
            return Ok(Some(fault));
        }
        // Rows beside the log: without a place, with one below its beginning, or behind its end while it does not go on.
        let beside = LogState::rows_beside(connection, self.node)?;
        if beside > 0 {
            return Ok(self.fault(self.frontier.size(), format!("{beside} rows have no place in the log")));
        }
        Ok(None)
    }

    fn end(&self, last: u64, state: Option<&LogState>) -> Option<Fault> {
        let size = self.frontier.size();
        if size < last {
            return self.fault(size, format!("{last} traces were signed, {size} are there"));
        }
        let Some(state) = state else { return self.fault(0, "the node has rows and no log") };
        if u64::try_from(state.size) != Ok(size) {
            return self.fault(size, format!("the log has {} traces, {size} are there", state.size));
        }
        if state.frontier.as_ref() != Some(&self.frontier) {
            return self.fault(size, "the log's tree is not that of its traces");
        }
        let old = self.evidence.now.as_microsecond() - self.evidence.patience;
        if self.unsigned_since.is_some_and(|since| since < old) {
            let what = "no checkpoint covers the traces from here on, though they are old enough: one was taken away, or none was written";
            return self.fault(last, what);
        }
        None
    }
}
