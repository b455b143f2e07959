//! Traces of which nothing but place and hash is left: ten years after a record was closed.
//!
//! A row that was erased cannot be derived again. So the trace of the erasure says how many rows it was and what the digest of their places and
//! hashes is, under a signature of its own: whoever takes the words out of another row behind the server's back, and whoever writes a trace of an
//! erasure that there never was, is found all the same.

use std::collections::BTreeMap;

use anyhow::Result;

use super::checkpoint::{Signer, Verifier};
use super::merkle::Hash;
use super::verify::Fault;
use crate::store::{DatabaseConnection, ERASING, ErasedTraces, TraceRow};

/// What a statement about an erasure is called where it is signed.
const KIND: &str = "erasure";
/// What stands before the signature in a rule.
const SIGNED: &str = "; signed ";

/// The rule of an erasure: what decided, what was erased, and the signature over operation, record, request, time and that.
pub fn signed_rule(
    signer: &Signer,
    operation: &str,
    (record_id, request_id): (&str, &str),
    at: i64,
    said: &str,
) -> String {
    let at = at.to_string();
    let signature = signer.sign_statement(KIND, &[operation, record_id, request_id, &at, said]);
    format!("{said}{SIGNED}{signature}")
}

/// What the trace of an erasure says, if the key signed it: what stands behind the rule that decided.
pub(super) fn signed_words<'a>(row: &'a TraceRow, verifier: &Verifier) -> Option<&'a str> {
    let (said, signature) = row.rule.rsplit_once(SIGNED)?;
    let record_id = row.record_id.as_deref()?;
    let at = row.at.to_string();
    let lines = [row.operation.as_str(), record_id, &row.request_id, &at, said];
    let erases =
        ERASING.contains(&row.operation.as_str()) && row.outcome == "granted" && row.erased_by.is_none();
    (erases && verifier.signed_statement(KIND, &lines, signature)).then_some(said)
}

/// Whether nothing is left of what a row said: every column but those of its place is as in no row at all.
fn is_blank(row: &TraceRow) -> bool {
    let blank = TraceRow {
        sequence: row.sequence,
        node: row.node.clone(),
        leaf: row.leaf,
        leaf_hash: row.leaf_hash.clone(),
        record_id: row.record_id.clone(),
        erased_by: row.erased_by.clone(),
        ..TraceRow::default()
    };
    *row == blank
}

/// What a verification met of erasures.
#[derive(Debug, Default)]
pub(super) struct Erasures {
    /// By the request that is said to have erased them: the first row of each, and its record.
    rows: BTreeMap<String, (String, u64, String)>,
    /// Those whose traces were met, by their request.
    traces: BTreeMap<String, TraceRow>,
}

impl Erasures {
    /// The hash that a row adds to its tree; `None`: it has none that it could have.
    pub fn meet(&mut self, node: &str, leaf: u64, row: &TraceRow) -> Option<Hash> {
        let Some(erased_by) = &row.erased_by else {
            if row.operation == ERASING[2] {
                self.traces.insert(row.request_id.clone(), row.clone());
            }
            return row.right_hash();
        };
        // An erased row says nothing: what stands there was put there.
        let record = row.record_id.clone().filter(|_| is_blank(row))?;
        self.rows.entry(erased_by.clone()).or_insert((node.to_owned(), leaf, record));
        row.leaf_hash.as_deref().and_then(|hash| Hash::try_from(hash).ok())
    }

    /// Holds what was erased against what the traces of the erasures say, wherever they stand: the signature is what is believed.
    pub fn check(mut self, connection: &mut DatabaseConnection, verifier: &Verifier) -> Result<Vec<Fault>> {
        let mut faults = Vec::new();
        for (request_id, (node, leaf, record)) in &self.rows {
            // One that came in behind what was derived, or on a log with a fault of its own.
            if !self.traces.contains_key(request_id)
                && let Some(row) = TraceRow::of_erasure(connection, record, request_id)?
            {
                self.traces.insert(request_id.clone(), row);
            }
            if !self.traces.contains_key(request_id) {
                let what = format!("the row is said to be erased by {request_id}, of which there is no trace");
                faults.push(Fault { node: node.clone(), leaf: *leaf, what });
            }
        }
        for (request_id, trace) in &self.traces {
            let at = || {
                let of_trace =
                    (trace.node.clone().unwrap_or_default(), trace.leaf.unwrap_or_default().unsigned_abs());
                self.rows.get(request_id).map_or(of_trace, |(node, leaf, _)| (node.clone(), *leaf))
            };
            // As it is now: what a server erased while the rows were read is in both.
            let record = trace.record_id.clone().unwrap_or_default();
            let erased = ErasedTraces::by_request(connection, request_id, &record)?;
            let what = match signed_words(trace, verifier) {
                None => format!("the erasure {request_id} is not signed by the key"),
                Some(said) if !said.ends_with(&format!("; {}", erased.told())) => {
                    format!("the erasure {request_id} says « {said} », and it is « {} »", erased.told())
                }
                Some(_) if erased.strays > 0 => {
                    format!("{} rows of other records are said to be erased by {request_id}", erased.strays)
                }
                Some(_) => continue,
            };
            let (node, leaf) = at();
            faults.push(Fault { node, leaf, what });
        }
        Ok(faults)
    }
}
