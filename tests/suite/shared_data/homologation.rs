//! Every homologation row of sessions, records, rights and updates is played by the suite: the row's code stands in a comment there.

use super::shared;

/// Transactions whose rows are all played.
const PLAYED: [&str; 7] = ["TD0.1", "TD0.2", "TD0.3", "TD0.4", "TD0.5", "TD1.", "TD3.3"];

#[test]
#[ignore = "reads ../shared/data: scripts/shared-data"]
fn every_row_of_these_transactions_is_played() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/homologation");
    let sources: String = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let rows = std::fs::read_to_string(shared("scenarios/homologation.tsv")).unwrap();
    let (mut wanted, mut missing) = (0, Vec::new());
    for row in rows.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let (code, transaction, mode) = (columns[0], columns[1], columns[3]);
        let in_mode = ["bris_de_glace", "centre_15", "secret connection"].contains(&mode);
        if in_mode || PLAYED.iter().any(|played| transaction.starts_with(played)) {
            wanted += 1;
            if !sources.contains(&format!("// {code}:")) && !sources.contains(&format!(" {code}: ")) {
                missing.push(code);
            }
        }
    }
    assert!(missing.is_empty(), "not played: {missing:?}");
    assert!(wanted >= 50, "only {wanted} rows");
}
