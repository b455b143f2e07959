//! What the clients of the suite were answered, server by server: held against the traces when the server ends, whatever the test is about.
//!
//! No test has to remember it, and no route: an answer without its one trace fails the test that got it.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Mutex;

use habilis::store::TraceRow;

struct Answered {
    request_id: String,
    status: u16,
}

/// By the port of the server.
static ANSWERED: Mutex<Option<HashMap<u16, Vec<Answered>>>> = Mutex::new(None);

/// Notes an answer that a client of ours got.
pub fn note(port: u16, answer: &reqwest::blocking::Response) {
    let id = answer.headers().get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
    let answered = Answered { request_id: id.to_owned(), status: answer.status().as_u16() };
    ANSWERED.lock().unwrap().get_or_insert_default().entry(port).or_default().push(answered);
}

/// A server begins on a port: what another had there before is not its own.
pub fn begin(port: u16) {
    take(port);
}

/// Takes the answers of a server that ends.
fn take(port: u16) -> Vec<Answered> {
    ANSWERED.lock().unwrap().get_or_insert_default().remove(&port).unwrap_or_default()
}

/// Each answer has one trace, of its status. Where the server could not do its work (500, 503) there may be none: nothing was told.
#[track_caller]
pub fn assert_traced(port: u16, traces: &[TraceRow]) {
    let mut traced: HashMap<&str, Vec<u16>> = HashMap::new();
    for trace in traces {
        let status = u16::try_from(trace.status).unwrap();
        traced.entry(&trace.request_id).or_default().push(status);
    }
    let mut answered: HashMap<String, Vec<u16>> = HashMap::new();
    for Answered { request_id, status } in take(port) {
        answered.entry(request_id).or_default().push(status);
    }
    // Of an erased trace place and hash are left: so many answers and no more are without one that names them.
    let erased = traces.iter().filter(|trace| trace.erased_by.is_some()).count();
    if erased > 0 {
        let all = answered.len();
        answered.retain(|request_id, _| traced.contains_key(request_id.as_str()));
        assert!(
            all - answered.len() <= erased,
            "{} answers without a trace, {erased} erased",
            all - answered.len()
        );
    }
    for (request_id, statuses) in &mut answered {
        let of_request = traced.get_mut(request_id.as_str()).map(std::mem::take).unwrap_or_default();
        if statuses.iter().any(|status| [500, 503].contains(status)) {
            assert!(
                of_request.len() <= statuses.len(),
                "{request_id}: {statuses:?} has the traces {of_request:?}"
            );
            continue;
        }
        let mut of_request = of_request;
        of_request.sort_unstable();
        statuses.sort_unstable();
        assert_eq!(of_request, *statuses, "traces (left) and answers (right) of the request {request_id}");
    }
    tell_refusals(traces);
}

/// Which refusals of the catalogue this test had answered, for `scripts/check-refusals`.
fn tell_refusals(traces: &[TraceRow]) {
    let Some(path) = std::env::var_os("HABILIS_REFUSALS") else { return };
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let refused = traces.iter().filter(|trace| trace.status != 0 && trace.outcome != "granted");
    let mut names: Vec<&str> = refused.filter_map(|trace| Some(trace.rule.split_once(": ")?.0)).collect();
    names.sort_unstable();
    names.dedup();
    let lines: String = names.iter().map(|name| format!("{name}\t{test}\n")).collect();
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

/// The controls: an answer without a trace, with two, or with that of another status is noticed.
#[test]
fn a_missing_or_second_trace_is_noticed() {
    let noticed = |statuses: &[i32]| {
        // A port on which no server of ours listens.
        let answered = Answered { request_id: "r".into(), status: 200 };
        ANSWERED.lock().unwrap().get_or_insert_default().insert(0, vec![answered]);
        let traces: Vec<TraceRow> = statuses
            .iter()
            .map(|status| TraceRow { request_id: "r".into(), status: *status, ..TraceRow::default() })
            .collect();
        std::panic::catch_unwind(|| assert_traced(0, &traces)).is_err()
    };
    assert!(noticed(&[]) && noticed(&[200, 200]) && noticed(&[403]));
    assert!(!noticed(&[200]));
}
