//! What a search of documents asks for, and the same in SQL.

use diesel::prelude::*;

use super::documents::Backend;
use super::schema::document;

/// What a search asks for beyond the record. Lists are alternatives; an empty list asks for nothing.
#[derive(Clone, Debug, Default)]
pub struct SearchCriteria {
    /// `status`.
    pub statuses: Vec<String>,
    /// `type`.
    pub types: Vec<String>,
    /// `category`.
    pub classes: Vec<String>,
    /// `format`.
    pub formats: Vec<String>,
    /// `facility`.
    pub facilities: Vec<String>,
    /// `setting`.
    pub settings: Vec<String>,
    /// `identifier`, unique ids.
    pub unique_ids: Vec<String>,
    /// `_id`.
    pub ids: Vec<String>,
    /// `date`.
    pub date: DateRange,
    /// `creation`.
    pub creation: DateRange,
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
        DateRange {
            from: self.from.max(other.from),
            until: match (self.until, other.until) {
                (Some(one), Some(two)) => Some(one.min(two)),
                (one, two) => one.or(two),
            },
        }
    }
}

pub(super) fn narrowed<'a>(
    mut query: document::BoxedQuery<'a, Backend>,
    criteria: &'a SearchCriteria,
) -> document::BoxedQuery<'a, Backend> {
    macro_rules! any_of {
        ($($column:ident: $values:ident),+) => {$(
            match &criteria.$values[..] {
                [] => {}
                [one] => query = query.filter(document::$column.eq(one)),
                several => query = query.filter(document::$column.eq_any(several)),
            }
        )+};
    }
    any_of!(
        status: statuses, type_code: types, class_code: classes, format_code: formats,
        facility_code: facilities, setting_code: settings, unique_id: unique_ids, id: ids
    );
    if let Some(from) = criteria.date.from {
        query = query.filter(document::date.ge(from));
    }
    if let Some(until) = criteria.date.until {
        query = query.filter(document::date.lt(until));
    }
    if let Some(from) = criteria.creation.from {
        query = query.filter(document::creation.ge(from));
    }
    if let Some(until) = criteria.creation.until {
        query = query.filter(document::creation.lt(until));
    }
    query
}
