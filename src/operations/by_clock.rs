//! What ends by itself, done and traced when it has: the month of an announcement (R1111-53), what is hidden from the representatives of somebody who
//! is of age by now (R1111-50), the term of an authorisation (R1111-46).
//!
//! None of it waits for this: a decision looks at the clock itself. What this adds is that the document says so, in a version that software which
//! follows it gets to know, and that a trace does.

use jiff::{Span, Timestamp, tz::TimeZone};

use crate::audit::TraceContext;
use crate::environment::Environment;
use crate::error::Failure;
use crate::rights::{Parameters, decide_announcement_end, decide_authorisation_end, decide_majority_end};
use crate::store::{EndingAuthorisation, EndingDocument, Reader, Step, Store, StoreError, Transaction};

/// A label of a document has ended.
const ANNOUNCEMENT: &str = "clock: announcement over";
/// The holder of a record is of age.
const MAJORITY: &str = "clock: holder of age";
/// An authorisation has ended.
const AUTHORISATION: &str = "clock: authorisation over";

/// How long it is known whom a notice reached: a year and some, microseconds.
const NOTICES_KEPT: i64 = 400 * 86_400_000_000;
/// How long a subscription that is over can be asked for again, microseconds.
const SUBSCRIPTIONS_KEPT: i64 = 30 * 86_400_000_000;
/// How much is looked for at once, and done between two looks.
const PAGE: i64 = 100;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Announcements.
    pub announcements: u64,
    /// Documents that were hidden from representatives.
    pub majorities: u64,
    /// Authorisations.
    pub authorisations: u64,
}

/// Does what is due. Several nodes may: each thing is decided on where it is committed, and done by whoever comes first.
///
/// # Errors
/// [`Failure::Unavailable`]: the rest is done the next time.
pub async fn run(store: &Store, environment: &Environment, parameters: Parameters) -> Result<Ended, Failure> {
    let clock = Clock { store, environment };
    let announcements = clock.each(
        ANNOUNCEMENT,
        |reader, now, page| reader.announcements_over(now.as_microsecond(), page),
        |transaction, now, trace, (document_id, record_id)| {
            let at = now.as_microsecond();
            let ending = transaction.ending_document(record_id, document_id, at)?;
            let decide =
                |it: EndingDocument| decide_announcement_end(&it.facts, it.announced_until, at).granted().ok();
            let hidden = ending.as_ref().is_some_and(|it| it.facts.labels.invisible_to_representatives);
            let Some(end) = ending.and_then(decide) else { return Ok(None) };
            transaction.end_label(&end, at)?;
            Ok(Some(step(&trace.kept_from_representatives(hidden), end.rule(), record_id, document_id)))
        },
    );
    let announcements = announcements.await;
    let majorities = clock.each(
        MAJORITY,
        move |reader, now, page| {
            let years = Span::new().years(i64::from(parameters.age_of_majority));
            let born = now.to_zoned(TimeZone::UTC).date().checked_sub(years).map_err(Failure::internal)?;
            reader.hidden_of_adults(&born.to_string(), page)
        },
        move |transaction, now, trace, (document_id, record_id)| {
            let at = now.as_microsecond();
            let ending = transaction.ending_document(record_id, document_id, at)?;
            let decide = |it: EndingDocument| {
                decide_majority_end(&parameters, &it.facts, it.birth_date, now).granted().ok()
            };
            let hidden = ending.as_ref().is_some_and(|it| it.facts.labels.invisible_to_representatives);
            let Some(end) = ending.and_then(decide) else { return Ok(None) };
            transaction.end_label(&end, at)?;
            Ok(Some(step(&trace.kept_from_representatives(hidden), end.rule(), record_id, document_id)))
        },
    );
    let majorities = majorities.await;
    let authorisations = clock.each(
        AUTHORISATION,
        |reader, now, page| reader.authorisations_over(now.as_microsecond(), page),
        |transaction, now, trace, due: &EndingAuthorisation| {
            let at = now.as_microsecond();
            let Some(ending) = transaction.ending_authorisation(&due.record_id, &due.holder)? else {
                return Ok(None);
            };
            let decision = decide_authorisation_end(&ending.consent_id, ending.blocked, ending.until, at);
            let Ok(end) = decision.granted() else { return Ok(None) };
            transaction.note_authorisation_end(&end, &ending, at)?;
            let trace = trace.kept_from_representatives(ending.secret);
            Ok(Some(step(&trace, end.rule(), &due.record_id, end.consent_id())))
        },
    );
    let authorisations = authorisations.await;
    while store.forget_notices(environment.now().as_microsecond() - NOTICES_KEPT).await? > 0 {}
    while store.forget_subscriptions(environment.now().as_microsecond() - SUBSCRIPTIONS_KEPT).await? > 0 {}
    // Each for itself: what one of them cannot do now holds up no other.
    Ok(Ended { announcements: announcements?, majorities: majorities?, authorisations: authorisations? })
}

struct Clock<'a> {
    store: &'a Store,
    environment: &'a Environment,
}

impl Clock<'_> {
    /// Looks for what is due, page by page, and does each in a commit of its own; how many it was that did not turn out to be done, or undone,
    /// by somebody else.
    async fn each<T, L, A>(&self, operation: &'static str, look: L, act: A) -> Result<u64, Failure>
    where
        T: Send + 'static,
        L: Fn(&mut Reader<'_>, Timestamp, (i64, i64)) -> Result<Vec<T>, Failure> + Clone + Send + 'static,
        A: Fn(&mut Transaction<'_>, Timestamp, &TraceContext, &T) -> Result<Option<Step<()>>, StoreError>
            + Clone
            + Send
            + 'static,
    {
        // What is left behind stays at the head of what is found: the next page begins behind it.
        let (mut done, mut left) = (0, 0);
        loop {
            let (now, look, page) = (self.environment.now(), look.clone(), (PAGE, left));
            let due = self.store.read(move |reader| look(reader, now, page)).await?;
            let last = i64::try_from(due.len()).is_ok_and(|found| found < PAGE);
            for one in due {
                let act = act.clone();
                let trace =
                    TraceContext::of_server(now.as_microsecond(), self.environment.next_id(), operation);
                let unit = move |transaction: &mut Transaction<'_>| act(transaction, now, &trace, &one);
                match self.store.writer().commit_if(unit).await {
                    Ok(Some(committed)) => {
                        committed.into_inner();
                        done += 1;
                    }
                    Ok(None) => left += 1,
                    Err(failure) if !self.store.writer().is_running() => return Err(failure),
                    Err(failure) => {
                        tracing::error!(operation, %failure, "something that has ended by the clock stays as it is");
                        left += 1;
                    }
                }
            }
            if last {
                return Ok(done);
            }
        }
    }
}

fn step(trace: &TraceContext, rule: &str, record_id: &str, object: &str) -> Step<()> {
    let entry = trace.granted(200, rule, Some(record_id), &[object.to_owned()]);
    Step { value: (), trace: entry, keep: true }
}
