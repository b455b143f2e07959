//! Every FHIR resource of the shared data, made XML and JSON again: nothing is lost.

use std::path::{Path, PathBuf};

use habilis::fhir::xml::{check, to_json, to_xml};
use serde_json::Value;

use super::shared;

/// Numbers as they were written: `1.10` is not `1.1`.
fn numbers(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut inside, mut escaped, mut number) = (false, false, String::new());
    for character in text.chars() {
        match character {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ if inside => {}
            '0'..='9' | '.' | '-' | '+' | 'e' | 'E' => number.push(character),
            _ => {
                if number.chars().any(|c| c.is_ascii_digit()) {
                    found.push(std::mem::take(&mut number));
                }
                number.clear();
            }
        }
    }
    found.sort();
    found
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
}

#[test]
#[ignore = "over ../shared/data: scripts/shared-data"]
fn nothing_is_lost_in_xml() {
    let mut paths = Vec::new();
    for folder in ["profiles", "pdsm4dmp"] {
        files(&shared(folder), &mut paths);
    }
    let (mut resources, mut faults) = (0, Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        if value.get("resourceType").is_none() {
            continue;
        }
        resources += 1;
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let told = to_xml(&text).and_then(|xml| to_json(&xml)).map(|json| {
            let again: Value = serde_json::from_str(&json).unwrap();
            (again == value, numbers(&json) == numbers(&text))
        });
        match told {
            Ok((true, true)) => {}
            Ok((same, numbers)) => faults.push(format!("{name}: the same {same}, numbers {numbers}")),
            Err(fault) => faults.push(format!("{name}: {fault}")),
        }
        assert_eq!(check(&text).is_ok(), to_xml(&text).is_ok(), "{name}");
    }
    println!("resources made XML and JSON again: {resources}, faults: {}", faults.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(resources >= 300, "{resources}");
}
