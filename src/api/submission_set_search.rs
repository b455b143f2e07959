//! ITI-66's parameters → criteria.

use super::pages::Pages;
use super::record_search::RecordSearch;
use super::search_parameters::{DEFAULT_COUNT, Handling, MAXIMUM_COUNT, codes, invalid, names, range, tokens};
use crate::error::{Reason, Refusal};
use crate::fhir::capability::LIST_SEARCH;
use crate::store::{Page, SubmissionSetCriteria, TermKind};

/// What links of pages are for.
pub const KIND: &str = "List";

/// A search for submission sets.
#[derive(Debug)]
pub struct SubmissionSetSearch {
    /// Whose, and what was left aside.
    pub record: RecordSearch,
    /// Which.
    pub criteria: SubmissionSetCriteria,
    /// How many, from where.
    pub page: Page,
}

impl SubmissionSetSearch {
    /// Reads the pairs of a query or form.
    ///
    /// # Errors
    /// [`Reason::MissingSearchParameter`], [`Reason::InvalidSearchParameter`], [`Reason::InvalidIns`].
    pub fn read(
        parameters: Vec<(String, String)>,
        handling: Handling,
        pages: &Pages<'_>,
    ) -> Result<Self, Refusal> {
        let mut criteria = SubmissionSetCriteria::default();
        let mut page = Page { size: DEFAULT_COUNT, after: None, ascending: false };
        let record = RecordSearch::read(parameters, handling, &LIST_SEARCH, |name, value| {
            take(&mut criteria, &mut page, name, value)
        })?;
        for name in ["code", "status"] {
            if !record.repeated.iter().any(|(one, _)| one == name) {
                let why = "a search of submission sets carries code and status (ITI-66)";
                return Err(Refusal::at(Reason::MissingSearchParameter, name, why));
            }
        }
        page.after = record.place(KIND, pages)?;
        Ok(Self { record, criteria, page })
    }
}

/// Takes one parameter. Whether it is known.
fn take(
    criteria: &mut SubmissionSetCriteria,
    page: &mut Page,
    name: &str,
    value: &str,
) -> Result<bool, Refusal> {
    match name {
        "_count" => {
            let count: usize = value.parse().map_err(|_| invalid(name, "not a number"))?;
            page.size = count.min(MAXIMUM_COUNT);
        }
        "_summary" if value == "count" => page.size = 0,
        "_include" if value == "List:item" => criteria.with_documents = true,
        "_include" => return Err(invalid(name, "includes List:item")),
        "code" => {
            let codes = codes(name, value)?;
            criteria.sets = codes.iter().any(|code| code == "submissionset");
            criteria.folders = codes.iter().any(|code| code == "folder");
        }
        "status" => criteria.nothing |= !codes(name, value)?.iter().any(|code| code == "current"),
        "_id" => criteria.ids.push(codes(name, value)?),
        "date" => criteria.date = criteria.date.and(range(name, value)?),
        "identifier" => criteria.terms.push(tokens(TermKind::Identifier, name, value)?),
        "designationType" => criteria.terms.push(tokens(TermKind::DesignationType, name, value)?),
        "sourceId" => criteria.terms.push(tokens(TermKind::SourceId, name, value)?),
        "authorOrg" | "authorOrg:identifier" => criteria.terms.push(tokens(TermKind::AuthorOrg, name, value)?),
        "source" | "source:identifier" | "source.identifier" => {
            criteria.terms.push(tokens(TermKind::Author, name, value)?);
        }
        "source.family" | "source.family:exact" => {
            criteria.terms.push(names(TermKind::AuthorFamily, name, value)?)
        }
        "source.given" | "source.given:exact" => {
            criteria.terms.push(names(TermKind::AuthorGiven, name, value)?)
        }
        _ => return Ok(false),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each parameter that is known is taken.
    #[test]
    fn every_parameter() {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"key");
        let asked = [
            ("patient.identifier", "urn:oid:1.2.250.1.213.1.4.10|279035121518989"),
            ("code", "submissionset"),
            ("status", "current"),
        ];
        let read = |more: Option<(&str, &str)>| {
            let pairs = asked.iter().copied().chain(more);
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            SubmissionSetSearch::read(pairs, Handling::Strict, &Pages::new(&key, "8101"))
        };
        for (name, kind) in LIST_SEARCH {
            if name.starts_with("patient") {
                continue;
            }
            let value = if kind == "date" { "ge2024-01" } else { "x" };
            assert!(read(Some((name, value))).unwrap().record.ignored.is_empty(), "{name}");
        }
        let known = |name: &str| LIST_SEARCH.iter().any(|(known, _)| *known == name);
        assert!(!known("title") && read(Some(("title", "x"))).is_err(), "one that is not");
    }
}
