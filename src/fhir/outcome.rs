//! `OperationOutcome`: French for the health professional, English for the integrator, the request's id for both.

use serde_json::{Value, json};

use super::json::to_json;
use crate::error::{Issue, Reason};

/// The outcome of a refusal.
pub fn refusal(reason: Reason, issues: &[Issue], request_id: &str) -> String {
    let issues: Vec<Value> = issues
        .iter()
        .map(|issue| {
            let mut details = serde_json::Map::new();
            details.insert("text".into(), reason.french().into());
            if let Some(code) = reason.code() {
                details.insert("coding".into(), json!([{ "code": code }]));
            }
            let mut value = serde_json::Map::new();
            value.insert("severity".into(), "error".into());
            value.insert("code".into(), reason.issue_code().into());
            value.insert("details".into(), details.into());
            value.insert("diagnostics".into(), allowed(&issue.diagnostics).into());
            if let Some(expression) = &issue.expression {
                value.insert("expression".into(), json!([allowed(expression)]));
            }
            value.into()
        })
        .collect();
    outcome(issues, request_id)
}

/// The outcome of a failure of ours, without its cause.
pub fn failure(issue_code: &str, french: &str, diagnostics: &str, request_id: &str) -> String {
    let issue = json!({
        "severity": "error",
        "code": issue_code,
        "details": { "text": french },
        "diagnostics": diagnostics,
    });
    outcome(vec![issue], request_id)
}

/// The warning about search parameters that were left aside. The names are the caller's own, shortened.
pub fn ignored(parameters: &[String]) -> String {
    let issues: Vec<Value> = parameters
        .iter()
        .map(|name| {
            json!({
                "severity": "warning",
                "code": "not-supported",
                "details": { "text": "Un critère de recherche envoyé par votre logiciel a été ignoré." },
                "diagnostics": allowed(&format!("the search parameter « {name} » is not known here and was left aside")),
            })
        })
        .collect();
    to_json(&json!({ "resourceType": "OperationOutcome", "issue": issues }))
}

/// The warnings of a document that was kept without a relation that it came with (ITI-65, table 2:3.65.4.1.3-1).
pub fn not_processed(codes: &[&str]) -> Value {
    let issues: Vec<Value> = codes
        .iter()
        .map(|code| {
            json!({
                "severity": "warning",
                "code": "not-supported",
                "details": {
                    "coding": [{ "code": code }],
                    "text": "Le document est enregistré, sans son lien avec un autre document : le DMP ne connaît que le remplacement.",
                },
                "diagnostics": "of relatesTo, the DMP keeps replaces alone",
            })
        })
        .collect();
    json!({ "resourceType": "OperationOutcome", "issue": issues })
}

/// What a client sent comes back in a finding: its beginning, without the characters that FHIR allows in no text, and XML cannot say. Never empty.
pub fn allowed(text: &str) -> String {
    let plain = |c: char| match c {
        '\t' | '\n' | '\r' => c,
        c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    match text.trim().is_empty() {
        true => char::REPLACEMENT_CHARACTER.to_string(),
        false if text.len() <= LONGEST => text.chars().map(plain).collect(),
        false => text.chars().take(LONGEST).map(plain).chain(['…']).collect(),
    }
}

/// Characters of a finding, at most: an answer does not grow with what was sent.
const LONGEST: usize = 1_000;

fn outcome(issues: Vec<Value>, request_id: &str) -> String {
    to_json(&json!({
        "resourceType": "OperationOutcome",
        "id": request_id,
        "issue": issues,
    }))
}
