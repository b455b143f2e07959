//! ITI-67's parameters → criteria (MHD 4.2.3, PDSm 3.1.1, PDSm4DMP).

use super::pages::Pages;
use super::record_search::RecordSearch;
use super::search_parameters::{
    DEFAULT_COUNT, Handling, MAXIMUM_COUNT, codes, invalid, names, period, range, tokens,
};
use crate::error::{Reason, Refusal};
use crate::fhir::capability::DOCUMENT_SEARCH;
use crate::fhir::codes::{Codes, label};
use crate::rights::DocumentStatus;
use crate::store::{LabelTest, Page, SearchCriteria, TermKind};

/// What links of pages are for.
pub const KIND: &str = "DocumentReference";

/// A search for documents.
#[derive(Debug)]
pub struct DocumentSearch {
    /// Whose, and what was left aside.
    pub record: RecordSearch,
    /// Which.
    pub criteria: SearchCriteria,
    /// How many, from where.
    pub page: Page,
}

impl DocumentSearch {
    /// Reads the pairs of a query or form.
    ///
    /// # Errors
    /// [`Reason::MissingSearchParameter`], [`Reason::InvalidSearchParameter`], [`Reason::InvalidIns`].
    pub fn read(
        parameters: Vec<(String, String)>,
        handling: Handling,
        pages: &Pages<'_>,
        value_sets: &Codes,
    ) -> Result<Self, Refusal> {
        let mut criteria = SearchCriteria::default();
        let mut page = Page { size: DEFAULT_COUNT, after: None, ascending: false };
        let record = RecordSearch::read(parameters, handling, &DOCUMENT_SEARCH, |name, value| {
            take(&mut criteria, &mut page, value_sets, name, value)
        })?;
        // The test book looks up one reference without a status (TD3.1b).
        if criteria.statuses.is_empty() && criteria.identifiers.is_empty() {
            let why = "a search carries status (ITI-67), or identifier (TD3.1b)";
            return Err(Refusal::at(Reason::MissingSearchParameter, "status", why));
        }
        page.after = record.place(KIND, pages)?;
        Ok(Self { record, criteria, page })
    }
}

/// Takes one parameter. Whether it is known.
fn take(
    criteria: &mut SearchCriteria,
    page: &mut Page,
    value_sets: &Codes,
    name: &str,
    value: &str,
) -> Result<bool, Refusal> {
    let codes = || codes(name, value);
    match name {
        "_count" => {
            let count: usize = value.parse().map_err(|_| invalid(name, "not a number"))?;
            page.size = count.min(MAXIMUM_COUNT);
        }
        "_summary" if value == "count" => page.size = 0,
        "_sort" => {
            page.ascending = match value {
                "date" => true,
                "-date" => false,
                _ => return Err(invalid(name, "sorts by date or -date")),
            };
        }
        "status" => criteria.statuses.push(statuses(value)?),
        "type" => criteria.types.push(known(name, value, "JDV-J66", value_sets)?),
        "category" => criteria.classes.push(known(name, value, "JDV-J57", value_sets)?),
        "format" => criteria.formats.push(known(name, value, "JDV-J60", value_sets)?),
        "facility" => criteria.facilities.push(known(name, value, "JDV-J61", value_sets)?),
        "setting" => criteria.settings.push(known(name, value, "JDV-J62", value_sets)?),
        "identifier" => {
            let identifiers = codes()?;
            if identifiers.len() > MAXIMUM_IDENTIFIERS {
                let why = format!("at most {MAXIMUM_IDENTIFIERS} identifiers in one search (3.1-010)");
                return Err(invalid(name, &why));
            }
            criteria.identifiers.push(identifiers);
        }
        "_id" => criteria.ids.push(codes()?),
        "relatesto" => {
            let ids = codes()?.into_iter();
            criteria.replaced.extend(ids.map(|id| id.trim_start_matches("DocumentReference/").to_owned()));
        }
        "date" => criteria.date = criteria.date.and(range(name, value)?),
        "_lastUpdated" => criteria.last_updated = criteria.last_updated.and(range(name, value)?),
        "creation" => criteria.creation = criteria.creation.and(period(name, value)?),
        "period" => criteria.period = criteria.period.and(period(name, value)?),
        "period-start" => criteria.period_start = criteria.period_start.and(range(name, value)?),
        "period-end" => criteria.period_end = criteria.period_end.and(range(name, value)?),
        "isArchived" => {
            let asked = codes()?;
            if asked.iter().any(|one| one != "true" && one != "false") {
                return Err(invalid(name, "wants true or false"));
            }
            let (yes, no) = (asked.contains(&"true".to_owned()), asked.contains(&"false".to_owned()));
            criteria.archived.push(if yes == no { None } else { Some(yes) });
        }
        "security-label" => criteria.labels.push(codes()?.iter().map(|code| label_test(code)).collect()),
        "event" => criteria.terms.push(tokens(TermKind::Event, name, value)?),
        "related" | "related:identifier" => criteria.terms.push(tokens(TermKind::Related, name, value)?),
        "author" | "author:identifier" | "author.identifier" => {
            criteria.terms.push(tokens(TermKind::Author, name, value)?);
        }
        "author.family" | "author.family:exact" => {
            criteria.terms.push(names(TermKind::AuthorFamily, name, value)?);
        }
        "author.given" | "author.given:exact" => {
            criteria.terms.push(names(TermKind::AuthorGiven, name, value)?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Identifiers in one search, at most: what the DMP of today takes.
const MAXIMUM_IDENTIFIERS: usize = 20;

/// The codes of a value set that are asked for. One of another code system than its own is none of them: nothing has it.
pub(super) fn known(
    name: &str,
    value: &str,
    value_set: &str,
    value_sets: &Codes,
) -> Result<Vec<String>, Refusal> {
    let codes = codes(name, value)?;
    let asked = value.split(',').zip(codes).filter(|(token, code)| {
        let Some((system, _)) = token.split_once('|') else { return true };
        let of_oid = system.strip_prefix("urn:oid:").and_then(|oid| value_sets.system_of_oid(oid));
        // LOINC stands under an address of the NOS too.
        let of_nos = system.contains("/NOS/TRE_A04").then_some("http://loinc.org");
        let system = of_oid.or(of_nos).unwrap_or(system);
        value_sets.concept(value_set, code).is_none_or(|known| system == known.system)
    });
    Ok(asked.map(|(_, code)| code).collect())
}

fn statuses(value: &str) -> Result<Vec<String>, Refusal> {
    let codes = codes("status", value)?;
    match codes.iter().find(|code| DocumentStatus::of_code(code).is_none()) {
        Some(_) => Err(invalid("status", "not a status")),
        None => Ok(codes),
    }
}

fn label_test(code: &str) -> LabelTest {
    match code {
        label::NORMAL => LabelTest::Normal,
        label::MASQUE_PS => LabelTest::Masked,
        label::INVISIBLE_PATIENT => LabelTest::InvisibleToPatient,
        label::INVISIBLE_REPRESENTANTS_LEGAUX => LabelTest::InvisibleToRepresentatives,
        _ => LabelTest::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::super::record_search::link;
    use super::*;
    use crate::store::PageCursor;

    fn pages(key: &aws_lc_rs::hmac::Key) -> Pages<'_> {
        Pages::new(key, "8101")
    }

    fn read(pairs: &[(&str, &str)]) -> Result<DocumentSearch, Refusal> {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"key");
        let pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        DocumentSearch::read(pairs, Handling::Lenient, &pages(&key), &Codes::built_in().unwrap())
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
        let turned = read(&[PATIENT, STATUS, ("_has:x", "1")]).unwrap_err();
        assert_eq!(
            (turned.reason, turned.issues[0].expression.as_deref()),
            (Reason::InvalidSearchParameter, Some("_has:x"))
        );
        assert_eq!(read(&[PATIENT, STATUS, ("confidence", "1")]).unwrap().record.ignored, ["confidence"]);
    }

    /// Each parameter that is known is taken, alone and not.
    #[test]
    fn every_parameter() {
        for (name, kind) in DOCUMENT_SEARCH {
            let value = match (name, kind) {
                ("patient" | "patient.identifier", _) => continue,
                ("isArchived", _) => "true",
                ("status", _) => "superseded",
                (_, "date") => "ge2024-01",
                _ => "x",
            };
            let search = read(&[PATIENT, STATUS, (name, value)]).unwrap();
            assert_eq!(search.record.repeated.last().unwrap(), &(name.to_owned(), value.to_owned()));
            assert!(search.record.ignored.is_empty(), "{name}");
            assert!(
                name == "status" || read(&[PATIENT, STATUS, (&format!("{name}:missing"), "true")]).is_err(),
                "{name}"
            );
        }
        for (name, value) in [("_sort", "type"), ("isArchived", "1"), ("_count", "x"), ("status", "final")] {
            assert!(read(&[PATIENT, STATUS, (name, value)]).is_err(), "{name}");
        }
    }

    #[test]
    fn a_link_names_no_ins() {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"key");
        let search =
            read(&[PATIENT, STATUS, ("type", "http://loinc.org|11488-4,SYNTH"), ("_count", "5")]).unwrap();
        assert_eq!(search.criteria.types, [["11488-4", "SYNTH"]]);
        let cursor = PageCursor { date: 12, id: "a-b".into() };
        let link = link(KIND, &search.record.repeated, Some("rec-1"), Some(&cursor), &pages(&key));
        let (before, place) = link.split_once("&_after=").unwrap();
        assert_eq!(
            before,
            "DocumentReference?patient=Patient/rec-1&status=current&type=http://loinc.org%7C11488-4%2CSYNTH&_count=5"
        );
        let follow = |status: &str| {
            let patient = ("patient", "Patient/rec-1");
            let kind = ("type", "http://loinc.org|11488-4,SYNTH");
            read(&[patient, ("status", status), kind, ("_count", "5"), ("_after", place)])
        };
        assert_eq!(follow("current").unwrap().page.after, Some(cursor));
        assert!(follow("superseded").unwrap_err().issues[0].diagnostics.contains("this search"));
    }
}
