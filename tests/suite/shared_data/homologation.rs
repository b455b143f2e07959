//! Every homologation row is played by the suite, in one place: the row's code stands in a comment there.

use super::shared;

#[test]
#[ignore = "reads ../shared/data: scripts/shared-data"]
fn every_row_is_played_once() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/homologation");
    let sources: String = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let rows = std::fs::read_to_string(shared("scenarios/homologation.tsv")).unwrap();
    let codes: Vec<&str> = rows.lines().skip(1).map(|row| row.split('\t').next().unwrap()).collect();
    let (mut missing, mut several) = (Vec::new(), Vec::new());
    for code in &codes {
        match sources.matches(&format!(" {code}: ")).count() {
            1 => {}
            0 => missing.push(code),
            _ => several.push(code),
        }
    }
    assert!(missing.is_empty(), "not played: {missing:?}");
    assert!(several.is_empty(), "played more than once: {several:?}");
    assert!(codes.len() >= 100, "only {} rows", codes.len());
}
