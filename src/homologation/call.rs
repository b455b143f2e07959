//! A call as it is judged: what was seen on the wire, and what its trace says, as attributes with values.

use std::collections::HashMap;

use serde_json::Value;

use super::run::Run;
use super::seen::Seen;
use crate::store::TraceRow;

/// What a call may be.
pub const KINDS: &[&str] = &[
    "exists", "people", "patient", "declare", "consents", "feed", "replace", "find", "lookup", "sets", "read",
    "change", "other",
];

/// What a call may have; several values each.
pub const ATTRIBUTES: &[&str] = &[
    "patient",
    "by",
    "profession",
    "sector",
    "mode",
    "secret",
    "transaction",
    "documents",
    "type",
    "label",
    "format",
    "media",
    "op",
    "param",
    "system",
    "status",
    "total",
    "rule",
];

/// What is known of a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// JDV_J66.
    pub type_code: String,
    /// Visibility.
    pub labels: Vec<String>,
}

/// A call of a run.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// What was seen.
    pub seen: Seen,
    /// One of [`KINDS`].
    pub kind: &'static str,
    /// Name and value of each of [`ATTRIBUTES`].
    pub attributes: Vec<(&'static str, String)>,
    /// The rule that decided.
    pub rule: String,
}

impl Call {
    /// Those of an attribute.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.attributes.iter().filter(|(of, _)| *of == name).map(|(_, value)| value.as_str()).collect()
    }

    fn has(&mut self, name: &'static str, value: impl Into<String>) {
        debug_assert!(ATTRIBUTES.contains(&name));
        self.attributes.push((name, value.into()));
    }

    /// A call of a run, with its trace.
    pub fn of(seen: Seen, trace: Option<&TraceRow>, run: &Run) -> Self {
        let text = format!("{} {} {}", seen.query, seen.sent, seen.path);
        let named = |ins: &str| text.contains(ins);
        let record = trace.and_then(|trace| trace.record_id.as_deref()).unwrap_or_default();
        let is_of = |patient: &super::run::Patient| {
            named(&patient.ins) || !record.is_empty() && patient.record_id == record
        };
        let patient = run.patients.iter().find(|(_, patient)| is_of(patient)).map(|(role, _)| role.clone());
        let mut call = Self {
            kind: "other",
            rule: trace.map_or(String::new(), |trace| trace.rule.clone()),
            ..Self::default()
        };
        call.has("patient", patient.unwrap_or_else(|| "autre".to_owned()));
        if let Some(trace) = trace {
            call.of_trace(trace);
        }
        call.of_query(&seen);
        call.of_request(&seen);
        call.has("status", seen.status.to_string());
        if let Some(total) = seen.answer.get("total").and_then(Value::as_u64) {
            call.has("total", total.to_string());
        }
        call.has("rule", call.rule.clone());
        call.seen = seen;
        call
    }

    /// Notes of which type a document is, and how it is labelled, as answers and feeds say it; and of what is read or changed by its id, says it: a mask was
    /// taken off where one is known to have been there.
    pub fn learn(&mut self, known: &mut HashMap<String, Known>, trace: Option<&TraceRow>) {
        let objects: Vec<&str> = trace.map_or("", |trace| &trace.objects).split_whitespace().collect();
        if matches!(self.kind, "read" | "change") {
            let of_objects: Vec<Known> = objects.iter().filter_map(|id| known.get(*id)).cloned().collect();
            for before in of_objects {
                self.has("type", before.type_code.clone());
                if self.kind == "change" {
                    self.of_labels(&before.labels);
                }
            }
        }
        let answer = &self.seen.answer;
        let entries = answer["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
        for document in entries.iter().map(|entry| &entry["resource"]).chain([answer]) {
            let code = document.pointer("/type/coding/0/code").and_then(Value::as_str);
            if let (Some(id), Some(code)) = (document["id"].as_str(), code) {
                let labels = codes(&document["securityLabel"]);
                known.insert(id.to_owned(), Known { type_code: code.to_owned(), labels });
            }
        }
        if matches!(self.kind, "feed" | "replace") {
            // The documents of a feed, in their order.
            for (id, document) in objects.iter().zip(documents(&self.seen.sent)) {
                let code = document.pointer("/type/coding/0/code").and_then(Value::as_str);
                let labels = codes(&document["securityLabel"]);
                let type_code = code.unwrap_or_default().to_owned();
                known.insert((*id).to_owned(), Known { type_code, labels });
            }
        }
    }

    /// What was taken off.
    fn of_labels(&mut self, before: &[String]) {
        let text = self.seen.sent.to_string();
        if !text.contains("securityLabel") {
            return;
        }
        for (label, op) in [("MASQUE_PS", "unmask"), ("INVISIBLE_PATIENT", "show")] {
            if before.iter().any(|one| one == label) && !text.contains(label) {
                self.has("op", op);
            }
        }
    }

    fn of_trace(&mut self, trace: &TraceRow) {
        let by = match (trace.authentication.as_str(), trace.caller_kind.as_str()) {
            (authentication, _) if authentication.starts_with("INDIRECTE_RENFORCEE") => "air",
            (authentication, _) if authentication.starts_with("INDIRECTE") => "org",
            (authentication, _) if authentication.starts_with("DIRECTE_PSC") => "psc",
            (_, "CPE") => "cpe",
            (_, "CPF") => "cpf",
            (_, "CPS") => "cps",
            _ => "other",
        };
        self.has("by", by);
        self.has("mode", trace.mode.clone());
        self.has("secret", if trace.secret { "yes" } else { "no" });
        if let Some(role) = &trace.role {
            // The second value of the role stands behind it.
            self.has("profession", role.split(' ').next().unwrap_or_default());
        }
        if let Some(sector) = &trace.sector {
            self.has("sector", sector.clone());
        }
    }

    fn of_query(&mut self, seen: &Seen) {
        let form = seen.sent.as_str().unwrap_or_default();
        let both = format!("{}&{form}", seen.query);
        for (name, value) in url::form_urlencoded::parse(both.as_bytes()) {
            if name == "type" {
                for one in value.split(',') {
                    self.has("type", one.rsplit('|').next().unwrap_or_default());
                }
            }
            if let ("identifier" | "patient.identifier", Some((system, _))) =
                (name.as_ref(), value.split_once('|'))
            {
                self.has("system", system);
            }
            self.has("param", name.into_owned());
        }
    }

    fn of_request(&mut self, seen: &Seen) {
        let path = seen.path.trim_end_matches('/').trim_end_matches("/_search");
        let path = path.strip_prefix("/fhir").unwrap_or(path);
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let asks = |name: &str| self.attributes.iter().any(|(of, value)| *of == "param" && value == name);
        let searches = seen.method == "GET" && !path.trim_start_matches('/').contains('/')
            || seen.path.ends_with("_search");
        self.kind = match (seen.method.as_str(), first) {
            (_, "Patient") if searches && asks("identifier") => "exists",
            (_, "Patient") if searches => "people",
            ("GET", "Patient") => "patient",
            (_, "Consent") if searches => "consents",
            ("POST", "Consent") => "declare",
            (_, "List") if searches => "sets",
            (_, "DocumentReference") if searches && asks("identifier") => "lookup",
            (_, "DocumentReference") if searches => "find",
            ("GET", "Binary" | "Bundle") => "read",
            ("PATCH", "DocumentReference") => "change",
            ("POST", _) if path.ends_with("/$actualiser") => "other",
            ("POST", "" | "DocumentReference") => "feed",
            _ => "other",
        };
        match self.kind {
            "feed" => self.of_feed(&seen.sent),
            "change" => self.of_change(&seen.sent),
            "read" => self.has("media", seen.media.split(';').next().unwrap_or_default().trim()),
            _ => {}
        }
    }

    fn of_feed(&mut self, sent: &Value) {
        let documents = documents(sent);
        self.has("transaction", if sent["entry"].is_array() { "ITI-65" } else { "ITI-105" });
        self.has("documents", documents.len().to_string());
        for document in documents {
            for (name, pointer) in [
                ("type", "/type/coding/0/code"),
                ("media", "/content/0/attachment/contentType"),
                ("format", "/content/0/format/code"),
                ("sector", "/context/facilityType/coding/0/code"),
            ] {
                if let Some(value) = document.pointer(pointer).and_then(Value::as_str) {
                    self.has(name, value.split(';').next().unwrap_or_default());
                }
            }
            for label in codes(&document["securityLabel"]) {
                self.has("label", label);
            }
            if document["relatesTo"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["code"] == "replaces"))
            {
                self.kind = "replace";
            }
        }
    }

    /// Both forms of a patch say what becomes of labels, status, archive; the words are looked for, not the form.
    fn of_change(&mut self, sent: &Value) {
        let text = sent.to_string();
        for (word, op) in [
            ("MASQUE_PS", "mask"),
            ("INVISIBLE_REPRESENTANTS_LEGAUX", "hide-from-representatives"),
            ("INVISIBLE_PATIENT", "hide"),
            ("entered-in-error", "delete"),
        ] {
            if text.contains(word) {
                self.has("op", op);
            }
        }
        if text.contains("isArchived") || text.contains("is-archived") {
            self.has("op", if text.contains("true") { "archive" } else { "unarchive" });
        }
    }
}

/// The DocumentReferences of a feed, in their order.
fn documents(sent: &Value) -> Vec<&Value> {
    let entries = sent["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
    let in_bundle = entries.iter().map(|entry| &entry["resource"]);
    in_bundle.chain([sent]).filter(|one| one["resourceType"] == "DocumentReference").collect()
}

fn codes(labels: &Value) -> Vec<String> {
    let labels = labels.as_array().map(Vec::as_slice).unwrap_or_default();
    let codings = labels.iter().filter_map(|label| label["coding"].as_array()).flatten();
    codings.filter_map(|coding| coding["code"].as_str()).map(str::to_owned).collect()
}
