//! The values of search parameters: dates, tokens, names, pages (FHIR R4, 3.1.1).

use crate::error::{Reason, Refusal};
use crate::fhir::elements::{end_of, instant};
use crate::identity::identifiers::{Ins, NotAnIns, ins_system};
use crate::operations::PatientKey;
use crate::store::{DateRange, MOST_PREFIXES, PeriodRange, TermKind, TermTest, family_key};

/// Entries on a page unless `_count` says otherwise, and at most.
pub const DEFAULT_COUNT: usize = 100;
/// See [`DEFAULT_COUNT`].
pub const MAXIMUM_COUNT: usize = 200;
/// Parameters and alternatives of one search, at most.
const MAXIMUM_PARAMETERS: usize = 50;
const MAXIMUM_VALUES: usize = 100;

/// Refuses a search that is too long.
///
/// # Errors
/// [`Reason::InvalidSearchParameter`].
pub fn bounded(parameters: &[(String, String)]) -> Result<(), Refusal> {
    let values: usize = parameters.iter().map(|(_, value)| value.split(',').count()).sum();
    if parameters.len() > MAXIMUM_PARAMETERS || values > MAXIMUM_VALUES {
        let diagnostics = "at most 50 parameters with 100 values in all";
        return Err(Refusal::new(Reason::InvalidSearchParameter, diagnostics));
    }
    Ok(())
}

/// A page of a list: how many entries, behind how many others.
#[derive(Clone, Copy, Debug)]
pub struct ListPage {
    /// Entries on a page.
    pub count: usize,
    /// Entries on the pages before.
    pub offset: usize,
}

impl Default for ListPage {
    fn default() -> Self {
        Self { count: DEFAULT_COUNT, offset: 0 }
    }
}

impl ListPage {
    /// Reads `_count` or `_offset`.
    ///
    /// # Errors
    /// [`Reason::InvalidSearchParameter`].
    pub fn read(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let number: usize = value.parse().map_err(|_| invalid(name, "not a number"))?;
        match name {
            "_count" => self.count = number.min(MAXIMUM_COUNT),
            _ => self.offset = number,
        }
        Ok(())
    }

    /// The link of a page.
    pub fn link(self, kind: &str, parameters: &[(&str, String)], offset: usize) -> String {
        let own = [("_count", self.count.to_string()), ("_offset", offset.to_string())];
        let query = parameters
            .iter()
            .chain(&own)
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect::<Vec<_>>()
            .join("&");
        format!("{kind}?{query}")
    }
}

/// `ge…` or `gt…`: since when, inclusive, microseconds.
///
/// # Errors
/// [`Reason::InvalidSearchParameter`].
pub fn since(name: &str, value: &str) -> Result<i64, Refusal> {
    match range(name, value)? {
        DateRange { from: Some(from), until: None } => Ok(from),
        _ => Err(invalid(name, "wants ge and a date: since when")),
    }
}

/// A patient named by a search parameter.
///
/// # Errors
/// [`Reason::InvalidIns`], [`Reason::InvalidSearchParameter`].
pub fn patient_key(name: &str, value: &str) -> Result<PatientKey, Refusal> {
    if name.ends_with("identifier") {
        let (system, value) =
            value.split_once('|').ok_or_else(|| invalid(name, "wants system|value, as urn:oid:…|INS"))?;
        return PatientKey::of_identifier(system, value, name);
    }
    match value.strip_prefix("Patient/").unwrap_or(value) {
        id if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => {
            Ok(PatientKey::of_id(id, name))
        }
        _ => Err(invalid(name, "wants Patient/id; an INS goes into patient.identifier")),
    }
}

/// The refusal of a parameter.
pub fn invalid(name: &str, diagnostics: &str) -> Refusal {
    Refusal::at(Reason::InvalidSearchParameter, name, diagnostics.to_owned())
}

/// `system|code,code` → codes. An INS has no business here: a link would repeat it.
pub fn codes(name: &str, value: &str) -> Result<Vec<String>, Refusal> {
    let code = |token: &str| {
        let (system, code) = token.split_once('|').unwrap_or(("", token));
        let is_ins = |part: &str| Ins::new(ins_system::TEST, part).is_ok();
        if code.split('|').any(is_ins) || Ins::new(system, "").is_err_and(|error| error != NotAnIns::System) {
            return Err(invalid(name, "an INS goes into patient.identifier"));
        }
        Ok(code.to_owned())
    };
    value.split(',').map(code).collect()
}

/// A prefix, and the period that a date names: from (inclusive), until (exclusive).
fn dated<'a>(name: &str, value: &'a str) -> Result<(&'a str, i64, i64), Refusal> {
    let prefix = value.get(..2).filter(|prefix| prefix.bytes().all(|byte| byte.is_ascii_lowercase()));
    let (prefix, date) = match prefix {
        Some(prefix) => (prefix, value.get(2..).unwrap_or_default()),
        None => ("eq", value),
    };
    // A plus sign in a query is a space.
    let date = date.replace(' ', "+");
    let start = instant(&date).map_err(|error| invalid(name, &error))?;
    let end = end_of(&date).map_err(|error| invalid(name, &error))?;
    Ok((prefix, start, end))
}

fn unknown_prefix(name: &str) -> Refusal {
    invalid(name, "prefixes are eq, ge, gt, le, lt, sa, eb")
}

/// What a date asks of an instant.
///
/// # Errors
/// [`Reason::InvalidSearchParameter`].
pub fn range(name: &str, value: &str) -> Result<DateRange, Refusal> {
    let (prefix, start, end) = dated(name, value)?;
    match prefix {
        "eq" => Ok(DateRange { from: Some(start), until: Some(end) }),
        "ge" => Ok(DateRange { from: Some(start), until: None }),
        "gt" | "sa" => Ok(DateRange { from: Some(end), until: None }),
        "le" => Ok(DateRange { from: None, until: Some(end) }),
        "lt" | "eb" => Ok(DateRange { from: None, until: Some(start) }),
        _ => Err(unknown_prefix(name)),
    }
}

/// What a date asks of a period (FHIR R4, 3.1.1.4.6): `eq` holds all of it, `ge` and `le` touch it, `sa` and `eb` do not.
///
/// # Errors
/// [`Reason::InvalidSearchParameter`].
pub fn period(name: &str, value: &str) -> Result<PeriodRange, Refusal> {
    let (prefix, start, end) = dated(name, value)?;
    let none = PeriodRange::default();
    let begins = |from, until| PeriodRange { start: DateRange { from, until }, ..none };
    match prefix {
        "eq" => Ok(PeriodRange { ended_by: Some(end), ..begins(Some(start), None) }),
        "ge" => Ok(PeriodRange { ends_after: Some(start), ..none }),
        "gt" => Ok(PeriodRange { ends_after: Some(end), ..none }),
        "le" => Ok(begins(None, Some(end))),
        "lt" => Ok(begins(None, Some(start))),
        "sa" => Ok(begins(Some(end), None)),
        "eb" => Ok(PeriodRange { ended_by: Some(start), ..none }),
        _ => Err(unknown_prefix(name)),
    }
}

/// Tokens: `system|value`, or a value of whatever system. `|value` is a value without a system.
///
/// # Errors
/// [`Reason::InvalidSearchParameter`], for an INS too.
pub fn tokens(kind: TermKind, name: &str, value: &str) -> Result<TermTest, Refusal> {
    codes(name, value)?;
    let mut test = TermTest { kind, tokens: Vec::new(), values: Vec::new(), prefixes: Vec::new() };
    for one in value.split(',') {
        match one.split_once('|') {
            Some((system, value)) => test.tokens.push(format!("{system}|{}", bare(kind, value))),
            None => test.values.push(bare(kind, one).to_owned()),
        }
    }
    Ok(test)
}

/// The numbers of related things stand with `urn:oid:` or without.
fn bare(kind: TermKind, value: &str) -> &str {
    match kind {
        TermKind::Related => value.strip_prefix("urn:oid:").unwrap_or(value),
        _ => value,
    }
}

/// Names: beginnings, whatever accents and capitals; whole with `:exact`.
///
/// # Errors
/// [`Reason::InvalidSearchParameter`].
pub fn names(kind: TermKind, name: &str, value: &str) -> Result<TermTest, Refusal> {
    let given: Vec<String> = value.split(',').map(family_key).collect();
    if given.len() > MOST_PREFIXES || given.iter().any(|text| text.is_empty() || text.len() > 100) {
        return Err(invalid(name, "wants one to four names"));
    }
    let (values, prefixes) = if name.ends_with(":exact") { (given, Vec::new()) } else { (Vec::new(), given) };
    Ok(TermTest { kind, tokens: Vec::new(), values, prefixes })
}

/// What becomes of parameters that are not known (`Prefer: handling=…`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handling {
    /// They are left aside, and the answer says so (MHD).
    #[default]
    Lenient,
    /// They are refused.
    Strict,
}

impl Handling {
    /// Leaves a parameter aside, or refuses it. What would turn the question round is refused in any case: a modifier of something that
    /// is known, reverse chains, filters.
    ///
    /// # Errors
    /// [`Reason::InvalidSearchParameter`].
    pub fn leave_aside(self, name: &str, known: &[&str], ignored: &mut Vec<String>) -> Result<(), Refusal> {
        let base = name.split([':', '.']).next().unwrap_or_default();
        let turns = known.contains(&base) || name.starts_with('_');
        if turns || self == Handling::Strict {
            return Err(invalid(name, "this server does not know this parameter"));
        }
        ignored.push(name.chars().filter(|c| !c.is_control()).take(64).collect());
        Ok(())
    }
}

/// Percent-encodes what is not unreserved in RFC 3986.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b':' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<i64> {
        Some(instant(text).unwrap())
    }

    #[test]
    fn dates_are_periods() {
        assert_eq!(range("date", "2024").unwrap(), DateRange { from: at("2024"), until: at("2025") });
        assert_eq!(range("date", "gt2024-03").unwrap(), DateRange { from: at("2024-04"), until: None });
        assert_eq!(range("date", "lt2024-03").unwrap(), DateRange { from: None, until: at("2024-03") });
        assert_eq!(range("date", "le2024-03").unwrap(), DateRange { from: None, until: at("2024-04") });
        for bad in ["ne2024", "ap2024", "hier", "", "ge"] {
            assert!(range("date", bad).is_err() && period("date", bad).is_err(), "{bad}");
        }
        let asked = |value: &str| {
            let PeriodRange { start, ends_after, ended_by } = period("period", value).unwrap();
            (start.from, start.until, ends_after, ended_by)
        };
        assert_eq!(asked("2024"), (at("2024"), None, None, at("2025")));
        assert_eq!(asked("ge2024"), (None, None, at("2024"), None));
        assert_eq!(asked("gt2024"), (None, None, at("2025"), None));
        assert_eq!(asked("le2024"), (None, at("2025"), None, None));
        assert_eq!(asked("lt2024"), (None, at("2024"), None, None));
        assert_eq!(asked("sa2024"), (at("2025"), None, None, None));
        assert_eq!(asked("eb2024"), (None, None, None, at("2024")));
        let both = period("period", "ge2024").unwrap().and(period("period", "lt2026").unwrap());
        assert_eq!((both.ends_after, both.start.until), (at("2024"), at("2026")));
    }

    #[test]
    fn tokens_and_names() {
        let test = tokens(TermKind::Event, "event", "urn:x|A,B,|C").unwrap();
        assert_eq!((test.tokens, test.values), (vec!["urn:x|A".to_owned(), "|C".into()], vec!["B".to_owned()]));
        let study = tokens(TermKind::Related, "related:identifier", "urn:s|urn:oid:1.2,urn:oid:1.3").unwrap();
        assert_eq!((study.tokens, study.values), (vec!["urn:s|1.2".to_owned()], vec!["1.3".to_owned()]));
        let ins = tokens(TermKind::Author, "author", "urn:oid:1.2.250.1.213.1.4.10|279035121518989");
        assert!(ins.unwrap_err().issues[0].diagnostics.contains("patient.identifier"));
        assert_eq!(names(TermKind::AuthorFamily, "author.family", "Bér").unwrap().prefixes, ["BER"]);
        assert_eq!(names(TermKind::AuthorFamily, "author.family:exact", "Bér").unwrap().values, ["BER"]);
        assert!(names(TermKind::AuthorFamily, "author.family", "a,b,c,d,e").is_err());
        assert!(names(TermKind::AuthorFamily, "author.family", "a,").is_err());
    }

    #[test]
    fn what_is_not_known() {
        let left = |handling: Handling, name: &str| {
            let mut ignored = Vec::new();
            handling
                .leave_aside(name, &["type"], &mut ignored)
                .map(|()| ignored)
                .map_err(|refusal| refusal.reason)
        };
        assert_eq!(left(Handling::Lenient, "confidence"), Ok(vec!["confidence".to_owned()]));
        assert_eq!(left(Handling::Strict, "confidence"), Err(Reason::InvalidSearchParameter));
        for name in ["type:not", "type.x", "_has:X:y:z", "_filter", "_query"] {
            assert_eq!(left(Handling::Lenient, name), Err(Reason::InvalidSearchParameter), "{name}");
        }
    }

    #[test]
    fn a_search_is_bounded() {
        let pair = |value: &str| ("date".to_owned(), value.to_owned());
        assert!(bounded(&vec![pair("2024"); 50]).is_ok());
        assert!(bounded(&vec![pair("2024"); 51]).is_err());
        assert!(bounded(&[pair(&",".repeat(99))]).is_ok());
        assert!(bounded(&[pair(&",".repeat(100))]).is_err());
    }
}
