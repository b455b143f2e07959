//! What a search of documents or submission sets asks for, and the same in SQL.

use diesel::dsl::exists;
use diesel::prelude::*;

use super::documents::Backend;
use super::schema::{document, search_term};

/// What a search asks for beyond the record. Each inner list holds alternatives, and each of the outer ones must be met (FHIR: a comma
/// is or, a parameter that comes again is and); an inner list that is empty is met by nothing.
#[derive(Clone, Debug, Default)]
pub struct SearchCriteria {
    /// `status`.
    pub statuses: Vec<Vec<String>>,
    /// `type`.
    pub types: Vec<Vec<String>>,
    /// `category`.
    pub classes: Vec<Vec<String>>,
    /// `format`.
    pub formats: Vec<Vec<String>>,
    /// `facility`.
    pub facilities: Vec<Vec<String>>,
    /// `setting`.
    pub settings: Vec<Vec<String>>,
    /// `identifier`: unique ids, or other identifiers.
    pub identifiers: Vec<Vec<String>>,
    /// `_id`.
    pub ids: Vec<Vec<String>>,
    /// `relatesto`: ids of the documents that were replaced.
    pub replaced: Vec<String>,
    /// `date`.
    pub date: DateRange,
    /// `_lastUpdated`.
    pub last_updated: DateRange,
    /// `creation`.
    pub creation: PeriodRange,
    /// `period`.
    pub period: PeriodRange,
    /// `period-start`.
    pub period_start: DateRange,
    /// `period-end`.
    pub period_end: DateRange,
    /// `isArchived`.
    pub archived: Vec<Option<bool>>,
    /// `security-label`: each of these, which are alternatives.
    pub labels: Vec<Vec<LabelTest>>,
    /// `author`, `event`, `related`: each of these.
    pub terms: Vec<TermTest>,
}

impl SearchCriteria {
    /// Whether it asks for anything beside identifiers and statuses: the labels of a document, its archive and its dates are for who may
    /// read it.
    pub fn asks_for_more_than_references(&self) -> bool {
        let Self {
            statuses: _,
            identifiers: _,
            types,
            classes,
            formats,
            facilities,
            settings,
            ids,
            replaced,
            date,
            last_updated,
            creation,
            period,
            period_start,
            period_end,
            archived,
            labels,
            terms,
        } = self;
        let codes = [types, classes, formats, facilities, settings, ids];
        let ranges = [date, last_updated, period_start, period_end];
        codes.iter().any(|codes| !codes.is_empty())
            || ranges.iter().any(|range| **range != DateRange::default())
            || [creation, period].iter().any(|period| **period != PeriodRange::default())
            || !(replaced.is_empty() && archived.is_empty() && labels.is_empty() && terms.is_empty())
    }
}

/// A label, as far as it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelTest {
    /// `N`, which stands beside the others.
    Normal,
    /// `MASQUE_PS`.
    Masked,
    /// `INVISIBLE_PATIENT`.
    InvisibleToPatient,
    /// `INVISIBLE_REPRESENTANTS_LEGAUX`.
    InvisibleToRepresentatives,
    /// None of ours: no document has it.
    Unknown,
}

/// A range of instants, microseconds. Several bounds of one search make one range: a query does not grow with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DateRange {
    /// Inclusive.
    pub from: Option<i64>,
    /// Exclusive.
    pub until: Option<i64>,
}

impl DateRange {
    /// What both ranges hold.
    pub fn and(self, other: DateRange) -> DateRange {
        DateRange { from: self.from.max(other.from), until: earlier(self.until, other.until) }
    }
}

fn earlier(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Bounds of a period: where it may begin, and where end. What FHIR's prefixes say of dates that are periods comes to this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeriodRange {
    /// Where it begins.
    pub start: DateRange,
    /// It ends after this instant (its own end being exclusive).
    pub ends_after: Option<i64>,
    /// It has ended by this instant.
    pub ended_by: Option<i64>,
}

impl PeriodRange {
    /// What both hold.
    pub fn and(self, other: PeriodRange) -> PeriodRange {
        PeriodRange {
            start: self.start.and(other.start),
            ends_after: self.ends_after.max(other.ends_after),
            ended_by: earlier(self.ended_by, other.ended_by),
        }
    }
}

/// What a term is of. The names are those of the search parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TermKind {
    /// Identifier of an author; of a SubmissionSet's source.
    Author,
    /// Family name of an author, as it is compared.
    AuthorFamily,
    /// Given name of an author, as it is compared.
    AuthorGiven,
    /// Organisation of a SubmissionSet's author.
    AuthorOrg,
    /// `List.designationType`.
    DesignationType,
    /// `context.event`.
    Event,
    /// Identifiers.
    Identifier,
    /// `context.related`.
    Related,
    /// `List.sourceId`.
    SourceId,
}

impl TermKind {
    /// As the database has it.
    pub const fn code(self) -> &'static str {
        match self {
            TermKind::Author => "author",
            TermKind::AuthorFamily => "author.family",
            TermKind::AuthorGiven => "author.given",
            TermKind::AuthorOrg => "authorOrg",
            TermKind::DesignationType => "designationType",
            TermKind::Event => "event",
            TermKind::Identifier => "identifier",
            TermKind::Related => "related",
            TermKind::SourceId => "sourceId",
        }
    }
}

/// A term to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Insertable)]
#[diesel(table_name = search_term, treat_none_as_default_value = false)]
pub struct NewTerm {
    /// `DocumentReference.id` or `List.id`.
    pub owner_id: String,
    /// [`TermKind::code`].
    pub kind: &'static str,
    /// `system|value`.
    pub token: String,
    /// The value, as it is compared.
    pub value: String,
}

/// A term of this kind with any one of these values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermTest {
    /// Of what.
    pub kind: TermKind,
    /// `system|value`.
    pub tokens: Vec<String>,
    /// Values, whatever the system.
    pub values: Vec<String>,
    /// Beginnings of values: [`MOST_PREFIXES`] of them at most.
    pub prefixes: Vec<String>,
}

/// Beginnings in one test, at most: each is a part of the query.
pub const MOST_PREFIXES: usize = 4;

/// `LIKE`'s pattern of a text that begins so.
pub(super) fn beginning(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}

/// The terms that a test is about: a part of a query whose shape does not depend on the test. diesel cannot put one that does into
/// another for both engines.
macro_rules! terms_of {
    ($test:expr, $owner:expr) => {{
        let test = $test;
        // What begins with U+0001 is in no term: a text of FHIR has none.
        let pattern = |place: usize| test.prefixes.get(place).map_or("\u{1}".into(), |text| beginning(text));
        search_term::table
            .filter(search_term::owner_id.eq($owner))
            .filter(search_term::kind.eq(test.kind.code()))
            .filter(
                search_term::token
                    .eq_any(&test.tokens)
                    .or(search_term::value.eq_any(&test.values))
                    .or(search_term::value.like(pattern(0)).escape('\\'))
                    .or(search_term::value.like(pattern(1)).escape('\\'))
                    .or(search_term::value.like(pattern(2)).escape('\\'))
                    .or(search_term::value.like(pattern(3)).escape('\\')),
            )
    }};
}
pub(super) use terms_of;

pub(super) fn narrowed<'a>(
    mut query: document::BoxedQuery<'a, Backend>,
    criteria: &'a SearchCriteria,
    now: i64,
) -> document::BoxedQuery<'a, Backend> {
    macro_rules! any_of {
        ($($column:ident: $values:ident),+) => {$(
            for alternatives in &criteria.$values {
                query = match &alternatives[..] {
                    [one] => query.filter(document::$column.eq(one)),
                    several => query.filter(document::$column.eq_any(several)),
                };
            }
        )+};
    }
    any_of!(
        status: statuses, type_code: types, class_code: classes, format_code: formats,
        facility_code: facilities, setting_code: settings, id: ids
    );
    macro_rules! within {
        ($($column:ident: $range:expr),+) => {$(
            if let Some(from) = $range.from {
                query = query.filter(document::$column.ge(from));
            }
            if let Some(until) = $range.until {
                query = query.filter(document::$column.lt(until));
            }
        )+};
    }
    within!(
        date: criteria.date, updated_at: criteria.last_updated, creation: criteria.creation.start,
        period_start: criteria.period.start, period_start: criteria.period_start
    );
    // What is kept of an end is the instant behind it.
    if let Some(from) = criteria.period_end.from {
        query = query.filter(document::period_end.gt(from));
    }
    if let Some(until) = criteria.period_end.until {
        query = query.filter(document::period_end.le(until));
    }
    if let Some(after) = criteria.creation.ends_after {
        query = query.filter(document::creation_end.gt(after));
    }
    if let Some(by) = criteria.creation.ended_by {
        query = query.filter(document::creation_end.le(by));
    }
    // A period without an end goes on; without a start there is none.
    if let Some(after) = criteria.period.ends_after {
        let goes_on = document::period_end.is_null().or(document::period_end.gt(after).assume_not_null());
        query = query.filter(document::period_start.is_not_null()).filter(goes_on);
    }
    if let Some(by) = criteria.period.ended_by {
        query = query.filter(document::period_end.le(by));
    }
    for archived in criteria.archived.iter().flatten() {
        query = query.filter(document::archived.eq(archived));
    }
    for alternatives in &criteria.labels {
        query = labelled(query, alternatives, now);
    }
    for alternatives in &criteria.identifiers {
        let named = search_term::table
            .filter(search_term::owner_id.eq(document::id))
            .filter(search_term::kind.eq(TermKind::Identifier.code()))
            .filter(search_term::value.eq_any(alternatives));
        query = query.filter(document::unique_id.eq_any(alternatives).or(exists(named)));
    }
    for test in &criteria.terms {
        query = query.filter(exists(terms_of!(test, document::id)));
    }
    query
}

fn labelled<'a>(
    query: document::BoxedQuery<'a, Backend>,
    alternatives: &[LabelTest],
    now: i64,
) -> document::BoxedQuery<'a, Backend> {
    if alternatives.contains(&LabelTest::Normal) {
        return query;
    }
    // What is not asked for counts as what no document has.
    let asks = |label| alternatives.contains(&label);
    let over = document::visible_from.is_not_null().and(document::visible_from.le(now).assume_not_null());
    query.filter(
        document::masked
            .eq(true)
            .and(document::masked.eq(asks(LabelTest::Masked)))
            .or(document::invisible_to_patient
                .eq(true)
                .and(document::invisible_to_patient.eq(asks(LabelTest::InvisibleToPatient)))
                .and(diesel::dsl::not(over)))
            .or(document::invisible_to_representatives
                .eq(true)
                .and(document::invisible_to_representatives.eq(asks(LabelTest::InvisibleToRepresentatives)))),
    )
}
