//! The report of a run: each row with its verdict, as text, JSON and JUnit XML.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use serde_json::{Value, json};

use super::call::Call;
use super::cases::{self, Case};
use super::judge::{Verdict, judge};
use super::run::Run;
use super::seen::Seen;
use crate::store::{DatabaseConnection, DatabaseUrl, TraceRow};

/// Where the calls of all runs are written down, a line each.
pub const CALLS: &str = "calls.jsonl";

/// A run, judged.
#[derive(Debug)]
pub struct Report {
    /// Whose.
    pub run: Run,
    /// Its calls, the oldest first.
    pub calls: Vec<Call>,
    /// Every row.
    pub rows: Vec<(&'static Case, Verdict)>,
    /// What calls named as their row and is none.
    pub unknown: BTreeSet<String>,
}

/// How many rows became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Played, and right.
    pub passed: usize,
    /// Played, with a fault.
    pub failed: usize,
    /// Not seen, or not whole.
    pub not_played: usize,
    /// Not to be judged here.
    pub not_judged: usize,
}

/// The calls of a run, with their traces.
///
/// # Errors
/// What was written down, or the database, cannot be read.
fn calls(data: &Path, database: &DatabaseUrl, run: &Run) -> Result<Vec<Call>> {
    let path = Run::folder_of(data).join(CALLS);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let file = std::fs::File::open(&path).with_context(|| path.display().to_string())?;
    let mut all: Vec<Seen> = Vec::new();
    for line in BufReader::new(file).lines() {
        // The last line may be under way.
        let Ok(seen) = serde_json::from_str::<Seen>(&line?) else { continue };
        if run.has_card(&seen.certificate) {
            all.push(seen);
        }
    }
    let mut connection = DatabaseConnection::open_for_reading(database)?;
    let names: HashSet<&str> = all.iter().map(|seen| seen.certificate.as_str()).collect();
    // Of calls that a client gives one name the first has the first trace of that name.
    let mut traces: HashMap<String, VecDeque<TraceRow>> = HashMap::new();
    for trace in TraceRow::of_certificates(&mut connection, &names.into_iter().collect::<Vec<_>>())? {
        traces.entry(trace.request_id.clone()).or_default().push_back(trace);
    }
    let mut known = HashMap::new();
    let of_run = |seen: Seen| {
        let trace = traces.get_mut(&seen.request_id).and_then(VecDeque::pop_front);
        let mut call = Call::of(seen, trace.as_ref(), run);
        call.learn(&mut known, trace.as_ref());
        call
    };
    Ok(all.into_iter().map(of_run).collect())
}

impl Report {
    /// Judges a run by what was seen of it.
    ///
    /// # Errors
    /// There is no such run, or what was seen of it cannot be read.
    pub fn of(data: &Path, database: &DatabaseUrl, id: &str) -> Result<Self> {
        let run = Run::read(data, id)?;
        let calls = calls(data, database, &run)?;
        let rows = cases::all().iter().map(|case| (case, judge(case, &calls))).collect();
        let is_row = |code: &str| cases::all().iter().any(|case| case.code == code);
        let named = calls.iter().flat_map(|call| call.seen.rows());
        let unknown = named.filter(|code| !is_row(code)).map(str::to_owned).collect();
        Ok(Self { run, calls, rows, unknown })
    }

    /// Keeps these rows alone; all where none is named.
    ///
    /// # Errors
    /// One of them is no row.
    pub fn keep(&mut self, codes: &[String]) -> Result<()> {
        for code in codes {
            ensure!(cases::all().iter().any(|case| case.code == *code), "« {code} » is no row");
        }
        self.rows.retain(|(case, _)| codes.is_empty() || codes.contains(&case.code));
        Ok(())
    }

    /// How many rows became what.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for (_, verdict) in &self.rows {
            *match verdict {
                Verdict::Passed(_) => &mut counts.passed,
                Verdict::Failed(_) => &mut counts.failed,
                Verdict::NotPlayed(_) => &mut counts.not_played,
                Verdict::NotJudged(_) => &mut counts.not_judged,
            } += 1;
        }
        counts
    }

    /// A line for each row that was played, and the counts.
    pub fn text(&self) -> String {
        let mut text =
            format!("{} {}, {} ({})\n", self.run.id, self.run.name, self.run.software, self.run.profile);
        for (case, verdict) in &self.rows {
            match verdict {
                Verdict::Passed(requests) => {
                    text.push_str(&format!("passed      {:<12} {}\n", case.code, requests.join(" ")));
                }
                Verdict::Failed(finding) => {
                    text.push_str(&format!(
                        "FAILED      {:<12} call {}: {}\n",
                        case.code, finding.step, finding.what
                    ));
                    for (name, value) in [
                        ("element", &finding.element),
                        ("rule", &finding.rule),
                        ("request", &finding.request_id),
                    ] {
                        if !value.is_empty() {
                            text.push_str(&format!("            {:<12} {name}: {value}\n", ""));
                        }
                    }
                }
                Verdict::NotPlayed(Some(hint)) => {
                    text.push_str(&format!("not played  {:<12} {hint}\n", case.code));
                }
                Verdict::NotPlayed(None) | Verdict::NotJudged(_) => {}
            }
        }
        let Counts { passed, failed, not_played, not_judged } = self.counts();
        for code in &self.unknown {
            text.push_str(&format!("X-Habilis-Case: « {code} » is no row\n"));
        }
        text.push_str(&format!(
            "{passed} passed, {failed} failed, {not_played} not played, {not_judged} not judged here\n"
        ));
        text
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let Counts { passed, failed, not_played, not_judged } = self.counts();
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|(case, verdict)| {
                let mut row =
                    json!({ "code": case.code, "transaction": case.transaction, "verdict": verdict.name() });
                let more = match verdict {
                    Verdict::Passed(requests) => json!({ "requests": requests }),
                    Verdict::Failed(finding) => json!({
                        "call": finding.step, "finding": finding.what, "element": finding.element,
                        "rule": finding.rule, "request": finding.request_id,
                    }),
                    Verdict::NotPlayed(hint) => json!({ "seen": hint }),
                    Verdict::NotJudged(why) => json!({ "why": why }),
                };
                if let (Some(row), Value::Object(more)) = (row.as_object_mut(), more) {
                    row.extend(more);
                }
                row
            })
            .collect();
        json!({
            "run": self.run.id, "name": self.run.name, "software": self.run.software, "profile": self.run.profile,
            "passed": passed, "failed": failed, "notPlayed": not_played, "notJudged": not_judged, "rows": rows, "unknownRows": self.unknown,
        })
    }

    /// As JUnit XML: what was not played counts as skipped.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn junit(&self) -> Result<String> {
        let mut writer = quick_xml::Writer::new_with_indent(Vec::new(), b' ', 1);
        let Counts { passed, failed, not_played, not_judged } = self.counts();
        writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let (tests, skipped) = (passed + failed + not_played + not_judged, not_played + not_judged);
        let mut suite = BytesStart::new("testsuite");
        suite.push_attribute(("name", format!("{} {}", self.run.software, self.run.id).as_str()));
        suite.push_attribute(("tests", tests.to_string().as_str()));
        suite.push_attribute(("failures", failed.to_string().as_str()));
        suite.push_attribute(("skipped", skipped.to_string().as_str()));
        writer.write_event(Event::Start(suite))?;
        for (case, verdict) in &self.rows {
            let mut one = BytesStart::new("testcase");
            one.push_attribute(("classname", case.transaction.as_str()));
            one.push_attribute(("name", case.code.as_str()));
            let inner = match verdict {
                Verdict::Passed(_) => {
                    writer.write_event(Event::Empty(one))?;
                    continue;
                }
                Verdict::Failed(finding) => {
                    let mut failure = BytesStart::new("failure");
                    failure.push_attribute(("message", finding.what.as_str()));
                    let text = format!(
                        "call {}\nelement: {}\nrule: {}\nrequest: {}",
                        finding.step, finding.element, finding.rule, finding.request_id
                    );
                    (failure, text)
                }
                Verdict::NotPlayed(hint) => (BytesStart::new("skipped"), hint.clone().unwrap_or_default()),
                Verdict::NotJudged(why) => (BytesStart::new("skipped"), why.clone()),
            };
            writer.write_event(Event::Start(one))?;
            let (start, text) = inner;
            let name = String::from_utf8_lossy(start.name().as_ref()).into_owned();
            writer.write_event(Event::Start(start))?;
            writer.write_event(Event::Text(BytesText::new(&text)))?;
            writer.write_event(Event::End(BytesEnd::new(name)))?;
            writer.write_event(Event::End(BytesEnd::new("testcase")))?;
        }
        writer.write_event(Event::End(BytesEnd::new("testsuite")))?;
        Ok(String::from_utf8(writer.into_inner())? + "\n")
    }
}
