//! Hostile mode, for those who write clients: some answers are late, some requests are told to come again, some connections are cut once
//! all is done. A client that is to be trusted with a record sends the same again, and nothing is there twice.

use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::http::header::{HeaderName, HeaderValue};
use bytes::Bytes;

use crate::error::{Failure, Reason, Refusal};

/// How a sandbox troubles its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hostile {
    /// Of a hundred requests, how many.
    pub share: u8,
    /// How late an answer is.
    pub late: Duration,
}

/// Stands on every answer of a hostile sandbox: of a hundred requests, how many are troubled.
pub(super) const ANNOUNCED: HeaderName = HeaderName::from_static("x-habilis-hostile");

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Its answer comes late.
    Late(Duration),
    /// 503: nothing is done.
    Unavailable,
    /// 429: nothing is done.
    Throttled,
    /// All is done, and the connection is cut instead of an answer.
    Cut,
    /// The answer's `Date` is that of a clock which is wrong by so many seconds.
    Skewed(i64),
}

/// By how much a clock is wrong, seconds.
const SKEW: i64 = 600;

impl Hostile {
    /// What becomes of the next request, by a number that nobody can foretell.
    pub(super) fn trouble(self, drawn: u64) -> Option<Trouble> {
        if drawn % 100 >= u64::from(self.share) {
            return None;
        }
        Some(match drawn / 100 % 5 {
            0 => Trouble::Late(self.late),
            1 => Trouble::Unavailable,
            2 => Trouble::Throttled,
            3 => Trouble::Cut,
            _ => Trouble::Skewed(if (drawn / 500).is_multiple_of(2) { SKEW } else { -SKEW }),
        })
    }

    pub(super) fn announcement(self) -> HeaderValue {
        HeaderValue::from(u16::from(self.share))
    }
}

impl Trouble {
    /// What the client is told instead of its operation, where it is not even begun.
    pub(super) fn instead(self) -> Option<Failure> {
        match self {
            Trouble::Unavailable => Some(Failure::unavailable("hostile mode")),
            Trouble::Throttled => {
                let mut refusal = Refusal::new(Reason::BudgetSpent, "hostile mode: come again");
                refusal.retry_after = Some(1);
                Some(refusal.into())
            }
            Trouble::Late(_) | Trouble::Cut | Trouble::Skewed(_) => None,
        }
    }
}

/// A body that breaks off: the connection is closed in the middle of the answer.
pub(super) struct BreaksOff;

impl MessageBody for BreaksOff {
    type Error = std::io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(1)
    }

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Bytes, Self::Error>>> {
        std::task::Poll::Ready(Some(Err(std::io::Error::other("hostile mode"))))
    }
}

/// Marks a response whose connection is cut.
pub(super) struct Cut;

/// Marks an answer that was given instead of the operation's.
pub(super) struct Instead;

/// `Date`, as a clock shows it that is wrong by so many seconds.
pub(super) fn date(now: jiff::Timestamp, by: i64) -> Option<HeaderValue> {
    let shown = now.checked_add(jiff::SignedDuration::from_secs(by)).ok()?;
    HeaderValue::try_from(shown.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()).ok()
}

pub(super) fn cut() -> BoxBody {
    BoxBody::new(BreaksOff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_of_a_hundred_and_each_kind() {
        let hostile = Hostile { share: 5, late: Duration::from_secs(3) };
        let troubles: Vec<Trouble> = (0..5_000).filter_map(|drawn| hostile.trouble(drawn)).collect();
        assert_eq!(troubles.len(), 250);
        for kind in [Trouble::Late(hostile.late), Trouble::Unavailable, Trouble::Throttled, Trouble::Cut] {
            assert_eq!(troubles.iter().filter(|trouble| **trouble == kind).count(), 50);
        }
        for by in [SKEW, -SKEW] {
            assert_eq!(troubles.iter().filter(|trouble| **trouble == Trouble::Skewed(by)).count(), 25);
        }
        let now = "2026-11-28T10:00:00Z".parse().unwrap();
        assert_eq!(date(now, -SKEW).unwrap(), "Sat, 28 Nov 2026 09:50:00 GMT");
        assert_eq!((0..100).filter_map(|drawn| Hostile { share: 0, ..hostile }.trouble(drawn)).count(), 0);
    }
}
