//! How long a record is kept, and who may have it erased (L1111-18, R1111-43).

use jiff::{Span, Timestamp, tz::TimeZone};

use super::decision::Decision;
use super::grant::PatientSideGrant;
use crate::error::{Reason, Refusal};

/// Years that a closed record, and its traces, are kept.
pub const YEARS: i64 = 10;

/// Why a record is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErasureBasis {
    /// Its holder asked for it.
    Patient,
    /// Ten years have gone by since it was closed.
    Retention,
}

impl ErasureBasis {
    /// As it is kept.
    pub const fn code(self) -> &'static str {
        match self {
            ErasureBasis::Patient => "patient",
            ErasureBasis::Retention => "retention",
        }
    }
}

/// May erase one record: documents, key, relations, traits.
#[derive(Clone, Debug)]
pub struct ErasureGrant {
    record_id: String,
    basis: ErasureBasis,
    rule: String,
}

/// May erase what the traces of one record say.
#[derive(Clone, Debug)]
pub struct TraceErasureGrant {
    record_id: String,
    rule: String,
}

/// What decides on the end of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedRecord {
    /// Our identifier.
    pub id: String,
    /// In use.
    pub open: bool,
    /// When it was closed, microseconds.
    pub closed_at: Option<i64>,
    /// Its documents are erased already.
    pub erased: bool,
}

impl ErasureGrant {
    /// The record.
    pub fn record_id(&self) -> &str {
        &self.record_id
    }

    /// Why.
    pub fn basis(&self) -> ErasureBasis {
        self.basis
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl TraceErasureGrant {
    /// The record.
    pub fn record_id(&self) -> &str {
        &self.record_id
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

impl PatientSideGrant {
    /// The holder may have his record erased at any time.
    pub fn erasure(&self, record_id: &str) -> ErasureGrant {
        ErasureGrant {
            record_id: record_id.to_owned(),
            basis: ErasureBasis::Patient,
            rule: format!("{}; erased at the holder's request", self.rule),
        }
    }
}

/// Whether a record may be erased because of its age.
pub fn decide_retention(record: &ClosedRecord, now: i64) -> Decision<ErasureGrant> {
    over(record, now)
        .map(|rule| ErasureGrant { record_id: record.id.clone(), basis: ErasureBasis::Retention, rule })
        .into()
}

/// Whether what the traces of a record say may be erased: never before the record itself.
pub fn decide_trace_retention(record: &ClosedRecord, now: i64) -> Decision<TraceErasureGrant> {
    over(record, now)
        .and_then(|rule| match record.erased {
            true => Ok(TraceErasureGrant { record_id: record.id.clone(), rule: format!("{rule}; R1111-43") }),
            false => Err(kept("the record is not erased")),
        })
        .into()
}

fn over(record: &ClosedRecord, now: i64) -> Result<String, Refusal> {
    let closed = record.closed_at.filter(|_| !record.open).ok_or_else(|| kept("the record is in use"))?;
    match ten_years_after(closed) {
        Some(end) if end <= now => Ok("L1111-18: ten years after the record was closed".to_owned()),
        _ => Err(kept("the record was closed less than ten years ago")),
    }
}

fn kept(why: &str) -> Refusal {
    Refusal::new(Reason::UpdateNotAllowed, why.to_owned()).by("L1111-18: kept ten years after it was closed")
}

/// The instant at which a record closed at this one is kept no longer, microseconds; `None`: beyond all calendars, and so never.
pub fn ten_years_after(closed: i64) -> Option<i64> {
    let closed = Timestamp::from_microsecond(closed).ok()?.to_zoned(TimeZone::UTC);
    Some(closed.checked_add(Span::new().years(YEARS)).ok()?.timestamp().as_microsecond())
}

/// Records closed before this instant are kept no longer: the counterpart of [`ten_years_after`], for a query.
pub fn ten_years_before(now: i64) -> Option<i64> {
    let now = Timestamp::from_microsecond(now).ok()?.to_zoned(TimeZone::UTC);
    Some(now.checked_sub(Span::new().years(YEARS)).ok()?.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    fn closed(at: Option<i64>, open: bool, erased: bool) -> ClosedRecord {
        ClosedRecord { id: "r".into(), open, closed_at: at, erased }
    }

    #[test]
    fn ten_years_to_the_instant() {
        let record = closed(Some(at("2016-11-27T10:00:00Z")), false, false);
        let why = |now: &str| decide_retention(&record, at(now)).granted().map(|grant| grant.rule().to_owned());
        assert_eq!(why("2026-11-27T10:00:00Z").unwrap(), "L1111-18: ten years after the record was closed");
        let refusal = why("2026-11-27T09:59:59Z").unwrap_err();
        assert_eq!(refusal.rule, "L1111-18: kept ten years after it was closed");
        assert_eq!(ten_years_after(at("2016-02-29T00:00:00Z")), Some(at("2026-02-28T00:00:00Z")));
    }

    #[test]
    fn what_is_in_use_or_beyond_all_calendars_is_kept() {
        let now = at("2200-01-01T00:00:00Z");
        for record in
            [closed(Some(0), true, false), closed(None, false, false), closed(Some(i64::MAX), false, false)]
        {
            assert!(decide_retention(&record, now).granted().is_err(), "{record:?}");
            assert!(decide_trace_retention(&record, now).granted().is_err(), "{record:?}");
        }
        assert!(decide_retention(&closed(Some(0), false, false), now).granted().is_ok(), "control");
    }

    #[test]
    fn traces_go_behind_their_record() {
        let now = at("2026-11-27T10:00:00Z");
        assert!(decide_trace_retention(&closed(Some(0), false, false), now).granted().is_err());
        assert!(decide_trace_retention(&closed(Some(0), false, true), now).granted().is_ok());
    }
}
