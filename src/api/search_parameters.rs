//! ITI-67's parameters → criteria. A parameter that is not known is refused: ignoring it would answer another question
//! than the one asked (`docs/decisions/0008`).

use crate::error::{Reason, Refusal};
use crate::fhir::elements::{end_of, instant};
use crate::identity::identifiers::{Ins, NotAnIns, ins_system};
use crate::operations::PatientKey;
use crate::rights::DocumentStatus;
use crate::store::{DateRange, Page, PageCursor, SearchCriteria};

/// Documents on a page unless `_count` says otherwise, and at most.
const DEFAULT_COUNT: usize = 100;
const MAXIMUM_COUNT: usize = 200;
/// Parameters and alternatives of one search, at most.
const MAXIMUM_PARAMETERS: usize = 50;
const MAXIMUM_VALUES: usize = 100;

/// A search for documents.
#[derive(Debug)]
pub struct DocumentSearch {
    /// Whose.
    pub patient: PatientKey,
    /// Which.
    pub criteria: SearchCriteria,
    /// How many, from where.
    pub page: Page,
    /// The parameters that a link repeats: all but patient and page. No INS among them.
    repeated: Vec<(String, String)>,
}

impl DocumentSearch {
    /// Reads the pairs of a query or form.
    ///
    /// # Errors
    /// [`Reason::MissingSearchParameter`], [`Reason::InvalidSearchParameter`], [`Reason::InvalidIns`].
    pub fn read(parameters: Vec<(String, String)>) -> Result<Self, Refusal> {
        let values: usize = parameters.iter().map(|(_, value)| value.split(',').count()).sum();
        if parameters.len() > MAXIMUM_PARAMETERS || values > MAXIMUM_VALUES {
            let diagnostics = "at most 50 parameters with 100 values in all";
            return Err(Refusal::new(Reason::InvalidSearchParameter, diagnostics));
        }
        let mut patient: Option<PatientKey> = None;
        let mut criteria = SearchCriteria::default();
        let mut page = Page { size: DEFAULT_COUNT, after: None };
        let mut repeated = Vec::new();
        for (name, value) in parameters {
            let codes = || codes(&name, &value);
            match name.as_str() {
                "patient.identifier" | "patient:identifier" | "patient" | "subject" | "subject.identifier" => {
                    let key = patient_key(&name, &value)?;
                    if patient.replace(key).is_some() {
                        return Err(invalid(&name, "the patient is named twice"));
                    }
                    continue;
                }
                "_count" => {
                    let count: usize = value.parse().map_err(|_| invalid(&name, "not a number"))?;
                    page.size = count.min(MAXIMUM_COUNT);
                }
                "_summary" if value == "count" => page.size = 0,
                "_summary" if value == "false" => {}
                "_after" => {
                    page.after =
                        Some(cursor(&value).ok_or_else(|| invalid(&name, "not a page of this server"))?);
                    continue;
                }
                "_format" | "_pretty" => continue,
                "status" => criteria.statuses.extend(statuses(&value)?),
                "type" => criteria.types.extend(codes()?),
                "category" => criteria.classes.extend(codes()?),
                "format" => criteria.formats.extend(codes()?),
                "facility" => criteria.facilities.extend(codes()?),
                "setting" => criteria.settings.extend(codes()?),
                "identifier" => criteria.unique_ids.extend(codes()?),
                "_id" => criteria.ids.extend(codes()?),
                "date" => criteria.date = criteria.date.and(range(&name, &value)?),
                "creation" => criteria.creation = criteria.creation.and(range(&name, &value)?),
                _ => return Err(invalid(&name, "this server does not know this parameter")),
            }
            repeated.push((name, value));
        }
        let missing = |name: &'static str, diagnostics: &'static str| {
            Refusal::at(Reason::MissingSearchParameter, name, diagnostics)
        };
        let patient = patient
            .ok_or_else(|| missing("patient", "a search carries patient or patient.identifier (ITI-67)"))?;
        // The test book looks up one reference without a status (TD3.1b).
        if criteria.statuses.is_empty() && criteria.unique_ids.is_empty() {
            return Err(missing("status", "a search carries status (ITI-67), or identifier (TD3.1b)"));
        }
        Ok(Self { patient, criteria, page, repeated })
    }

    /// The search as a link that a client may follow: the record by our own identifier.
    pub fn link(repeated: &[(String, String)], record_id: Option<&str>, after: Option<&PageCursor>) -> String {
        let mut parameters: Vec<(&str, String)> = Vec::new();
        if let Some(record_id) = record_id {
            parameters.push(("patient", format!("Patient/{record_id}")));
        }
        for (name, value) in repeated {
            parameters.push((name, value.clone()));
        }
        if let Some(after) = after {
            parameters.push(("_after", format!("{}~{}", after.date, after.id)));
        }
        let query = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect::<Vec<_>>()
            .join("&");
        format!("DocumentReference?{query}")
    }

    /// Takes out what a link repeats.
    pub fn take_repeated(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.repeated)
    }
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
fn codes(name: &str, value: &str) -> Result<Vec<String>, Refusal> {
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

fn statuses(value: &str) -> Result<Vec<String>, Refusal> {
    let codes = codes("status", value)?;
    match codes.iter().find(|code| DocumentStatus::of_code(code).is_none()) {
        Some(code) => Err(invalid("status", &format!("« {code} » is not a status"))),
        None => Ok(codes),
    }
}

/// A date with its prefix → from (inclusive), until (exclusive).
fn range(name: &str, value: &str) -> Result<DateRange, Refusal> {
    let prefix = value.get(..2).filter(|prefix| prefix.bytes().all(|byte| byte.is_ascii_lowercase()));
    let (prefix, date) = match prefix {
        Some(prefix) => (prefix, value.get(2..).unwrap_or_default()),
        None => ("eq", value),
    };
    // A plus sign in a query is a space.
    let date = date.replace(' ', "+");
    let start = instant(&date).map_err(|error| invalid(name, &error))?;
    let end = end_of(&date).map_err(|error| invalid(name, &error))?;
    match prefix {
        "eq" => Ok(DateRange { from: Some(start), until: Some(end) }),
        "ge" => Ok(DateRange { from: Some(start), until: None }),
        "gt" | "sa" => Ok(DateRange { from: Some(end), until: None }),
        "le" => Ok(DateRange { from: None, until: Some(end) }),
        "lt" | "eb" => Ok(DateRange { from: None, until: Some(start) }),
        _ => Err(invalid(name, "prefixes are eq, ge, gt, le, lt, sa, eb")),
    }
}

fn cursor(value: &str) -> Option<PageCursor> {
    let (date, id) = value.split_once('~')?;
    Some(PageCursor { date: date.parse().ok()?, id: id.to_owned() })
}

/// Percent-encodes what is not unreserved in RFC 3986.
fn encoded(text: &str) -> String {
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

    fn read(pairs: &[(&str, &str)]) -> Result<DocumentSearch, Refusal> {
        DocumentSearch::read(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    const PATIENT: (&str, &str) = ("patient.identifier", "urn:oid:1.2.250.1.213.1.4.10|279035121518989");
    const STATUS: (&str, &str) = ("status", "current");

    #[test]
    fn patient_and_status_are_wanted() {
        assert!(read(&[PATIENT, STATUS]).is_ok());
        assert_eq!(read(&[PATIENT]).unwrap_err().reason, Reason::MissingSearchParameter);
        assert!(read(&[PATIENT, ("identifier", "urn:oid:1.2")]).is_ok(), "TD3.1b");
        assert_eq!(read(&[STATUS]).unwrap_err().reason, Reason::MissingSearchParameter);
        assert_eq!(read(&[PATIENT, PATIENT, STATUS]).unwrap_err().reason, Reason::InvalidSearchParameter);
        let unknown = read(&[PATIENT, STATUS, ("_has:x", "1")]).unwrap_err();
        assert_eq!(
            (unknown.reason, unknown.issues[0].expression.as_deref()),
            (Reason::InvalidSearchParameter, Some("_has:x"))
        );
    }

    #[test]
    fn dates_are_periods() {
        let at = |text| Some(instant(text).unwrap());
        let range = |dates: &[&'static str]| {
            let mut pairs = vec![PATIENT, STATUS];
            pairs.extend(dates.iter().map(|date| ("date", *date)));
            read(&pairs).unwrap().criteria.date
        };
        assert_eq!(range(&["2024"]), DateRange { from: at("2024"), until: at("2025") });
        assert_eq!(range(&["ge2024-05", "lt2024-06"]), DateRange { from: at("2024-05"), until: at("2024-06") });
        assert_eq!(
            range(&["ge2024-05", "2024", "gt2024-03"]),
            DateRange { from: at("2024-05"), until: at("2025") }
        );
        assert!(read(&[PATIENT, STATUS, ("date", "ne2024")]).is_err());
        assert!(read(&[PATIENT, STATUS, ("date", "hier")]).is_err());
    }

    #[test]
    fn a_search_is_bounded() {
        let many = vec![("date", "2024"); 60];
        assert!(read(&[&[PATIENT, STATUS], &many[..]].concat()).is_err());
        let values = ",".repeat(200);
        assert!(read(&[PATIENT, STATUS, ("type", &values)]).is_err());
        let ins = read(&[PATIENT, STATUS, ("identifier", "urn:oid:1.2.250.1.213.1.4.10|279035121518989")]);
        assert!(ins.unwrap_err().issues[0].diagnostics.contains("patient.identifier"));
    }

    #[test]
    fn a_link_names_no_ins() {
        let mut search =
            read(&[PATIENT, STATUS, ("type", "http://loinc.org|11488-4,SYNTH"), ("_count", "5")]).unwrap();
        assert_eq!(search.criteria.types, ["11488-4", "SYNTH"]);
        let cursor = PageCursor { date: 12, id: "a-b".into() };
        let link = DocumentSearch::link(&search.take_repeated(), Some("rec-1"), Some(&cursor));
        assert_eq!(
            link,
            "DocumentReference?patient=Patient/rec-1&status=current&type=http://loinc.org%7C11488-4%2CSYNTH&_count=5&_after=12~a-b"
        );
        assert_eq!(super::cursor("12~a-b"), Some(cursor));
    }
}
