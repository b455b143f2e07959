//! Traces of which nothing but place and hash is left: ten years after a record was closed.
//!
//! A row that was erased cannot be derived again. So the trace of the erasure, which can, says how many rows it was and what the digest of their
//! places and hashes is: whoever takes the words out of another row behind the server's back is found all the same.

use std::collections::BTreeMap;

use anyhow::Result;

use super::merkle::Hash;
use super::verify::Fault;
use crate::store::{DatabaseConnection, ERASING, ErasedTraces, TraceRow};

/// What a verification met of erasures.
#[derive(Debug, Default)]
pub(super) struct Erasures {
    /// By the request that is said to have erased them: the first row of each, and its record.
    rows: BTreeMap<String, (String, u64, String)>,
    /// What the traces of erasures say, by their request.
    told: BTreeMap<String, (String, u64, String)>,
}

impl Erasures {
    /// The hash that a row adds to its tree; `None`: it has none that it could have.
    pub fn meet(&mut self, node: &str, leaf: u64, row: &TraceRow) -> Option<Hash> {
        let Some(erased_by) = &row.erased_by else {
            if row.operation == ERASING[2]
                && let Some((_, told)) = row.rule.rsplit_once("; ")
            {
                self.told.insert(row.request_id.clone(), (node.to_owned(), leaf, told.to_owned()));
            }
            return row.right_hash();
        };
        let record = row.record_id.clone().unwrap_or_default();
        self.rows.entry(erased_by.clone()).or_insert((node.to_owned(), leaf, record));
        row.leaf_hash.as_deref().and_then(|hash| Hash::try_from(hash).ok())
    }

    /// Holds what was erased against what the traces of the erasures say. `sizes`: how far each node's log was derived.
    pub fn check(
        self,
        connection: &mut DatabaseConnection,
        sizes: &BTreeMap<String, u64>,
    ) -> Result<Vec<Fault>> {
        let mut faults = Vec::new();
        for (request_id, (node, leaf, told)) in &self.told {
            // As it is now: what a server erased while the rows were read is in both.
            let erased = ErasedTraces::by_request(connection, request_id)?;
            if erased.told() != *told {
                let (node, leaf) =
                    self.rows.get(request_id).map_or((node, leaf), |(node, leaf, _)| (node, leaf));
                let what = format!("the erasure {request_id} says « {told} », and it is « {} »", erased.told());
                faults.push(Fault { node: node.clone(), leaf: *leaf, what });
            }
        }
        for (request_id, (node, leaf, record)) in self.rows {
            if self.told.contains_key(&request_id) {
                continue;
            }
            // Its trace came in behind what was derived: the next verification has it.
            let behind = TraceRow::of_erasure(connection, &record, &request_id)?.is_some_and(|row| {
                let size = row.node.as_ref().and_then(|node| sizes.get(node)).copied().unwrap_or_default();
                row.leaf.and_then(|leaf| u64::try_from(leaf).ok()).is_some_and(|leaf| leaf >= size)
            });
            if !behind {
                let what = format!("the row is said to be erased by {request_id}, of which there is no trace");
                faults.push(Fault { node, leaf, what });
            }
        }
        Ok(faults)
    }
}
