//! Every homologation row is played by the suite, in one place: the row's code stands in a comment there. Or it stands here, with why not.

use super::shared;

/// Rows that are not played, or not wholly.
const NOT_PLAYED: [(&str, &str); 2] = [
    (
        "2.1-710",
        "the server makes no vaccination history yet; what it refuses of notes is played in contents.rs",
    ),
    (
        "3.2-550",
        "there is no vaccination history to read yet; that no client feeds one is played in contents.rs",
    ),
];

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
        let excused = NOT_PLAYED.iter().any(|(other, _)| other == code);
        match (sources.matches(&format!(" {code}: ")).count(), excused) {
            (1, false) | (0, true) => {}
            (0, false) => missing.push(code),
            _ => several.push(code),
        }
    }
    assert!(missing.is_empty(), "not played: {missing:?}");
    assert!(several.is_empty(), "played more than once, or excused as well: {several:?}");
    assert!(NOT_PLAYED.iter().all(|(code, _)| codes.contains(code)), "a row that is not in the table");
    assert!(codes.len() >= 100, "only {} rows", codes.len());
}
