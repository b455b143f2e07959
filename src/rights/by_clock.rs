//! What ends by itself: announcements, what is hidden from representatives, authorisations. Decided as everything else is; the clock asks.

use jiff::{Timestamp, civil::Date};

use super::decision::{Decision, unknown};
use super::facts::{DocumentFacts, DocumentStatus};
use super::parameters::Parameters;

/// May take from a document the label that has ended.
#[derive(Clone, Debug)]
pub struct LabelEnd {
    document_id: String,
    version: i64,
    label: EndedLabel,
    rule: &'static str,
}

/// Which label has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedLabel {
    /// `INVISIBLE_PATIENT`.
    FromPatient,
    /// `INVISIBLE_REPRESENTANTS_LEGAUX`.
    FromRepresentatives,
}

/// May note that an authorisation has ended.
#[derive(Clone, Debug)]
pub struct AuthorisationEnd {
    consent_id: String,
    rule: &'static str,
}

impl LabelEnd {
    /// The document, and its version.
    pub fn document(&self) -> (&str, i64) {
        (&self.document_id, self.version)
    }

    /// The label.
    pub fn label(&self) -> EndedLabel {
        self.label
    }

    /// The rule that decided.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

impl AuthorisationEnd {
    /// The Consent.
    pub fn consent_id(&self) -> &str {
        &self.consent_id
    }

    /// The rule that decided.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

/// R1111-53: one month after its deposit a document is hidden from the patient no longer. `until`: the end of the announcement, microseconds.
pub fn decide_announcement_end(document: &DocumentFacts, until: Option<i64>, now: i64) -> Decision<LabelEnd> {
    let over = document.status != DocumentStatus::EnteredInError && until.is_some_and(|until| until <= now);
    let rule = "R1111-53: the month of the announcement is over";
    ended(document, over, EndedLabel::FromPatient, rule)
}

/// R1111-50: who is of age has no representatives from whom a document would be hidden.
pub fn decide_majority_end(
    parameters: &Parameters,
    document: &DocumentFacts,
    birth_date: Option<Date>,
    now: Timestamp,
) -> Decision<LabelEnd> {
    let of_age = birth_date.is_some() && !parameters.is_minor(birth_date, now);
    let over = of_age
        && document.labels.invisible_to_representatives
        && document.status != DocumentStatus::EnteredInError;
    let rule = "R1111-50: the record's holder is of age";
    ended(document, over, EndedLabel::FromRepresentatives, rule)
}

fn ended(document: &DocumentFacts, over: bool, label: EndedLabel, rule: &'static str) -> Decision<LabelEnd> {
    match over {
        true => Decision::Permit(LabelEnd {
            document_id: document.id.clone(),
            version: document.version,
            label,
            rule,
        }),
        false => Decision::Refuse(unknown().by("it has not ended")),
    }
}

/// R1111-46: an authorisation ends at its term. A blocking has none.
pub fn decide_authorisation_end(
    consent_id: &str,
    blocked: bool,
    until: i64,
    now: i64,
) -> Decision<AuthorisationEnd> {
    match !blocked && until <= now {
        true => Decision::Permit(AuthorisationEnd {
            consent_id: consent_id.to_owned(),
            rule: "R1111-46: the authorisation's term is over",
        }),
        false => Decision::Refuse(unknown().by("it has not ended")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Labels;
    use super::*;

    fn document(labels: Labels, status: DocumentStatus) -> DocumentFacts {
        DocumentFacts {
            id: "d".into(),
            record_id: "r".into(),
            type_code: "11488-4".into(),
            status,
            labels,
            archived: false,
            by_patient: false,
            author_id: "8101".into(),
            author_structure: None,
            version: 3,
        }
    }

    #[test]
    fn announcements_and_authorisations_end_at_their_instant() {
        let facts = document(Labels::default(), DocumentStatus::Current);
        let ends =
            |facts: &DocumentFacts, until, now| decide_announcement_end(facts, until, now).granted().is_ok();
        assert!(ends(&facts, Some(5), 5) && !ends(&facts, Some(5), 4) && !ends(&facts, None, i64::MAX));
        let deleted = document(Labels::default(), DocumentStatus::EnteredInError);
        assert!(!ends(&deleted, Some(5), 5), "of what is deleted nothing ends");
        let authorised = |blocked, now| decide_authorisation_end("c", blocked, 5, now).granted().is_ok();
        assert!(authorised(false, 5) && !authorised(false, 4) && !authorised(true, 5));
    }

    #[test]
    fn who_is_of_age_has_nothing_hidden_from_representatives() {
        let hidden = Labels { invisible_to_representatives: true, ..Labels::default() };
        let now: Timestamp = "2026-11-27T10:00:00Z".parse().unwrap();
        let ends = |labels, born: Option<&str>| {
            let born = born.map(|born| born.parse().unwrap());
            let facts = document(labels, DocumentStatus::Current);
            decide_majority_end(&Parameters::default(), &facts, born, now).granted().is_ok()
        };
        assert!(ends(hidden, Some("2008-11-27")));
        assert!(!ends(hidden, Some("2008-11-28")), "a day too young");
        assert!(!ends(hidden, None), "of whom the age is not known, nothing is opened");
        assert!(!ends(Labels::default(), Some("1979-01-01")), "nothing is hidden");
    }
}
