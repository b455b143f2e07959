//! What the searches of records have in common: the patient, pages, what is left aside, links.

use super::pages::Pages;
use super::search_parameters::{Handling, bounded, encoded, invalid, patient_key};
use crate::error::{Reason, Refusal};
use crate::operations::PatientKey;
use crate::store::PageCursor;

/// A search of one record, apart from what it is for.
#[derive(Debug)]
pub struct RecordSearch {
    /// Whose.
    pub patient: PatientKey,
    /// What was left aside.
    pub ignored: Vec<String>,
    /// The parameters that a link repeats: all but patient and page. No INS among them.
    pub repeated: Vec<(String, String)>,
    /// The patient as he was named.
    named: String,
    after: Option<String>,
}

impl RecordSearch {
    /// Reads the pairs of a query or form. `take` takes what is the search's own, and says whether it knows it; `known` are the names
    /// of what it knows.
    ///
    /// # Errors
    /// [`Reason::MissingSearchParameter`] without a patient, [`Reason::InvalidSearchParameter`], [`Reason::InvalidIns`].
    pub fn read(
        parameters: Vec<(String, String)>,
        handling: Handling,
        known: &[(&str, &str)],
        mut take: impl FnMut(&str, &str) -> Result<bool, Refusal>,
    ) -> Result<Self, Refusal> {
        bounded(&parameters)?;
        let known: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        let mut patient: Option<(PatientKey, String)> = None;
        let (mut after, mut ignored, mut repeated) = (None, Vec::new(), Vec::new());
        for (name, value) in parameters {
            match name.as_str() {
                "patient.identifier" | "patient:identifier" | "patient" | "subject" | "subject.identifier" => {
                    let key = patient_key(&name, &value)?;
                    if patient.replace((key, value)).is_some() {
                        return Err(invalid(&name, "the patient is named twice"));
                    }
                }
                "_after" => after = Some(value),
                "_format" | "_pretty" => {}
                "_summary" if value == "false" => {}
                _ if take(&name, &value)? => repeated.push((name, value)),
                _ => handling.leave_aside(&name, &known, &mut ignored)?,
            }
        }
        let (patient, named) = patient.ok_or_else(|| {
            let why = "a search carries patient or patient.identifier (ITI-66, ITI-67)";
            Refusal::at(Reason::MissingSearchParameter, "patient", why)
        })?;
        Ok(Self { patient, ignored, repeated, named, after })
    }

    /// Where the page begins that was asked for.
    ///
    /// # Errors
    /// [`Reason::InvalidSearchParameter`]: the link was made for another caller or another search, or not here.
    pub fn place(&self, kind: &str, pages: &Pages<'_>) -> Result<Option<PageCursor>, Refusal> {
        place(kind, &self.repeated, Some(&self.named), self.after.as_deref(), pages)
    }
}

/// Where the page begins that a search asks for; the patient as it names him, if it does.
///
/// # Errors
/// [`Reason::InvalidSearchParameter`]: the link was made for another caller or another search, or not here.
pub fn place(
    kind: &str,
    repeated: &[(String, String)],
    named: Option<&str>,
    after: Option<&str>,
    pages: &Pages<'_>,
) -> Result<Option<PageCursor>, Refusal> {
    let Some(link) = after else { return Ok(None) };
    let record_id = named.map(|named| named.strip_prefix("Patient/").unwrap_or(named));
    let place = pages.open(kind, &sealed(repeated, record_id), link);
    place
        .map(Some)
        .ok_or_else(|| invalid("_after", "not a page that this server made for this caller and this search"))
}

/// A search as a link that a client may follow: the record by our own identifier.
pub fn link(
    kind: &str,
    repeated: &[(String, String)],
    record_id: Option<&str>,
    after: Option<&PageCursor>,
    pages: &Pages<'_>,
) -> String {
    let mut parameters = sealed(repeated, record_id);
    if let Some(after) = after {
        let place = pages.link(kind, &parameters, after);
        parameters.push(("_after".to_owned(), place));
    }
    let query: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    format!("{kind}?{}", query.join("&"))
}

/// What a page link is good for.
fn sealed(repeated: &[(String, String)], record_id: Option<&str>) -> Vec<(String, String)> {
    let patient = record_id.map(|record_id| ("patient".to_owned(), format!("Patient/{record_id}")));
    patient.into_iter().chain(repeated.iter().cloned()).collect()
}
