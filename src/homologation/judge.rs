//! Whether a row was played, and what was wrong: by the calls of a run, in their order.

use super::call::Call;
use super::cases::{Case, Step, Test, With};

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Each of its calls was seen, and answered as it has to be: the requests, in order.
    Passed(Vec<String>),
    /// A call was seen that has a fault.
    Failed(Finding),
    /// Nothing of it was seen, or not all.
    NotPlayed(Option<String>),
    /// Nobody can judge it here, and why.
    NotJudged(String),
}

/// What was wrong with a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// Of the row's calls, which one; from 1.
    pub step: usize,
    /// `X-Request-Id`: the name of its trace.
    pub request_id: String,
    /// What was found.
    pub what: String,
    /// The element of the request that it is about; empty where it is the whole.
    pub element: String,
    /// The rule that decided.
    pub rule: String,
}

impl Verdict {
    /// As reports write it.
    pub const fn name(&self) -> &'static str {
        match self {
            Verdict::Passed(_) => "passed",
            Verdict::Failed(_) => "failed",
            Verdict::NotPlayed(_) => "not played",
            Verdict::NotJudged(_) => "not judged",
        }
    }
}

fn holds(test: &Test, call: &Call) -> bool {
    let values = call.values(&test.name);
    match &test.with {
        // Of several in one call, each that is asked for has to be among them.
        With::OneOf(wanted) => values.iter().any(|value| wanted.iter().any(|one| one == value)),
        With::Not(unwanted) => !values.iter().any(|value| value == unwanted),
        With::Holding(text) => values.iter().any(|value| value.contains(text)),
        With::AtLeast(least) => {
            values.iter().any(|value| value.parse::<u64>().is_ok_and(|number| number >= *least))
        }
    }
}

fn all_hold(tests: &[Test], call: &Call) -> bool {
    tests.iter().all(|test| holds(test, call))
}

/// What of these tests a call misses.
fn missed(tests: &[Test], call: &Call) -> String {
    let of = |test: &Test| {
        if let With::Not(value) = &test.with {
            return format!("{} = {value} is one too many", test.name);
        }
        let values = call.values(&test.name);
        let had = if values.is_empty() { "none".to_owned() } else { values.join(", ") };
        format!("{test} is expected, and there is {had}")
    };
    tests.iter().filter(|test| !holds(test, call)).map(of).collect::<Vec<_>>().join("; ")
}

/// Why a call that is meant was not answered as it has to be.
fn finding(step: usize, tests: &[Test], call: &Call) -> Finding {
    let issue = call.seen.answer.pointer("/issue/0");
    let text = |pointer: &str| {
        issue.and_then(|issue| issue.pointer(pointer)).and_then(serde_json::Value::as_str).unwrap_or_default()
    };
    let (code, diagnostics) = (text("/details/coding/0/code"), text("/diagnostics"));
    let said = match (code, diagnostics) {
        ("", "") => String::new(),
        (code, "") => format!(" ({code})"),
        ("", diagnostics) => format!(" ({diagnostics})"),
        (code, diagnostics) => format!(" ({code}: {diagnostics})"),
    };
    Finding {
        step: step + 1,
        request_id: call.seen.request_id.clone(),
        what: format!("{}{said}", missed(tests, call)),
        element: text("/expression/0").to_owned(),
        rule: call.rule.clone(),
    }
}

fn is_kind(step: &Step, call: &Call) -> bool {
    step.kinds.iter().any(|kind| kind == call.kind)
}

/// Judges a row. A call counts for it where the vendor said that it plays this row, or said nothing. What it said to play and is not as the row wants it is a fault;
/// what it did unsaid may be meant for another row, and is a fault where the server refused it.
pub fn judge(case: &Case, calls: &[Call]) -> Verdict {
    let steps = match &case.steps {
        Ok(steps) => steps,
        Err(why) => return Verdict::NotJudged(why.clone()),
    };
    let of_it = |call: &&Call| {
        !call.seen.made_up && (call.seen.playing.is_none() || call.seen.rows().any(|row| row == case.code))
    };
    let calls: Vec<&Call> = calls.iter().filter(of_it).collect();
    let (mut from, mut requests) = (0, Vec::new());
    for (number, step) in steps.iter().enumerate() {
        let meant = |call: &Call| is_kind(step, call) && all_hold(&step.sent, call);
        let mut later = calls.iter().enumerate().skip(from);
        if let Some((at, call)) = later.clone().find(|(_, call)| meant(call) && all_hold(&step.answered, call))
        {
            from = at + 1;
            requests.push(call.seen.request_id.clone());
            continue;
        }
        // That a client comes too often, or the server is busy, says nothing of the call.
        let is_answer = |call: &Call| !matches!(call.seen.status, 429 | 503);
        let said_to_be = |call: &Call| call.seen.playing.is_some() && is_answer(call);
        // The last attempt is what the vendor looks for.
        let at_fault =
            |call: &Call| meant(call) && (said_to_be(call) || is_answer(call) && call.seen.status >= 400);
        if let Some((_, call)) = later.clone().rfind(|(_, call)| at_fault(call)) {
            return Verdict::Failed(finding(number, &step.answered, call));
        }
        let said = later.clone().rfind(|(_, call)| said_to_be(call) && is_kind(step, call));
        if let Some((_, call)) = said {
            return Verdict::Failed(finding(number, &step.sent, call));
        }
        let other = later.rfind(|(_, call)| said_to_be(call));
        if let Some((_, call)) = other {
            let what = format!("a call of another kind: {} {}", call.seen.method, call.seen.path);
            let found = finding(number, &[], call);
            return Verdict::Failed(Finding { what: format!("{what}{}", found.what), ..found });
        }
        let hint = (number > 0).then(|| format!("of {} calls {number} were seen", steps.len()));
        return Verdict::NotPlayed(hint);
    }
    Verdict::Passed(requests)
}

#[cfg(test)]
mod tests {
    use super::super::cases;
    use super::super::seen::Seen;
    use super::*;

    fn call(kind: &'static str, attributes: &[(&'static str, &str)], answer: serde_json::Value) -> Call {
        let status =
            attributes.iter().find(|(name, _)| *name == "status").map(|(_, status)| status.parse().unwrap());
        Call {
            seen: Seen {
                request_id: "r1".into(),
                answer,
                status: status.unwrap_or_default(),
                ..Seen::default()
            },
            kind,
            attributes: attributes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            rule: "a rule".into(),
        }
    }

    fn case(code: &str) -> &'static Case {
        cases::all().iter().find(|case| case.code == code).unwrap()
    }

    #[test]
    fn what_was_not_played_is_no_fault() {
        assert_eq!(judge(case("3.1-090"), &[]), Verdict::NotPlayed(None));
        let other = call("find", &[("patient", "complet"), ("type", "15507-7"), ("status", "200")], ().into());
        assert_eq!(judge(case("3.1-090"), &[other]), Verdict::NotPlayed(None), "it may be of another row");
    }

    #[test]
    fn what_is_meant_and_answered_otherwise_is() {
        let refused = serde_json::json!({ "issue": [{
            "details": { "coding": [{ "code": "XDSRegistryMetadataError" }] },
            "diagnostics": "not a type", "expression": ["Bundle.entry[1].resource.type"]
        }] });
        let faulty = call("feed", &[("type", "34874-8"), ("label", "MASQUE_PS"), ("status", "422")], refused);
        let Verdict::Failed(finding) = judge(case("2.1-050"), std::slice::from_ref(&faulty)) else { panic!() };
        assert_eq!(finding.element, "Bundle.entry[1].resource.type");
        assert_eq!(
            finding.what,
            "status = 200 or 201 is expected, and there is 422 (XDSRegistryMetadataError: not a type)"
        );
        let right = call("feed", &[("type", "34874-8"), ("label", "MASQUE_PS"), ("status", "201")], ().into());
        assert_eq!(judge(case("2.1-050"), &[faulty, right]), Verdict::Passed(vec!["r1".into()]), "in the end");
    }

    #[test]
    fn what_was_said_to_be_played_is_held_to_it() {
        let mut said =
            call("find", &[("patient", "complet"), ("type", "15507-7"), ("status", "200")], ().into());
        said.seen.playing = Some("3.1-090".into());
        let Verdict::Failed(finding) = judge(case("3.1-090"), std::slice::from_ref(&said)) else { panic!() };
        assert!(
            finding.what.starts_with("type = 11506-3 is expected, and there is 15507-7"),
            "{}",
            finding.what
        );
        said.seen.playing = Some("3.1-100".into());
        assert_eq!(judge(case("3.1-090"), std::slice::from_ref(&said)), Verdict::NotPlayed(None));
        said.seen.playing = Some("3.1-100, 3.1-090".into());
        assert!(
            matches!(judge(case("3.1-090"), std::slice::from_ref(&said)), Verdict::Failed(_)),
            "one of several"
        );
        said.seen.status = 429;
        assert_eq!(judge(case("3.1-090"), std::slice::from_ref(&said)), Verdict::NotPlayed(None), "come again");
        said.seen = Seen { status: 200, made_up: true, ..said.seen };
        assert_eq!(judge(case("3.1-090"), &[said]), Verdict::NotPlayed(None), "hostile mode said so");
    }

    #[test]
    fn steps_are_seen_in_their_order() {
        let look = call("lookup", &[("status", "200"), ("total", "1")], ().into());
        let delete = call("change", &[("op", "delete"), ("type", "11505-5"), ("status", "200")], ().into());
        let both = [look.clone(), delete.clone()];
        assert_eq!(judge(case("3.3-540"), &both), Verdict::Passed(vec!["r1".into(), "r1".into()]));
        let hint = Some("of 2 calls 1 were seen".to_owned());
        assert_eq!(judge(case("3.3-540"), &[delete, look]), Verdict::NotPlayed(hint));
    }

    #[test]
    fn what_cannot_be_judged_says_why() {
        assert!(matches!(judge(case("0.1-160"), &[]), Verdict::NotJudged(why) if why.contains("handshake")));
    }
}
