//! Makes notices of traces and delivers them: again and again, on each node, none twice at once.

use std::time::Duration;

use anyhow::Result;

use super::NoticeSettings;
use super::mail::{MailFault, Mailer};
use super::rules::{self, MAIL, PATIENT};
use super::webhook::Webhook;
use crate::environment::Environment;
use crate::error::Failure;
use crate::store::{NoticeRow, NoticeState, Store};

/// How often it is looked whether there is something to tell.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// What was done so long ago is told no more, microseconds: notices that were switched off for months begin with the last seven days.
const OLDEST: i64 = 7 * 86_400 * 1_000_000;
/// How long one node has for what it took, microseconds: several times what one delivery may take.
const LEASE: i64 = 300 * 1_000_000;
/// Notices that are taken at once.
const BATCH: i64 = 20;
/// Attempts before a notice is dead: with the pauses between them, about two days.
const ATTEMPTS: i64 = 12;

/// Delivers the notices of one node.
pub struct Notifier {
    settings: NoticeSettings,
    mailer: Option<Mailer>,
    webhook: Option<Webhook>,
    environment: Environment,
}

impl std::fmt::Debug for Notifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Notifier").finish_non_exhaustive()
    }
}

impl Notifier {
    /// One for these settings.
    ///
    /// # Errors
    /// An authority cannot be read, or TLS not be set up.
    pub fn new(settings: NoticeSettings, environment: Environment) -> Result<Self> {
        Ok(Self {
            mailer: settings.mail.as_ref().map(Mailer::new).transpose()?,
            webhook: settings.webhook.as_ref().map(Webhook::new).transpose()?,
            settings,
            environment,
        })
    }

    /// One round: in turn some notices of what is new in the logs, and some that are due, until there is neither. How many were delivered.
    ///
    /// # Errors
    /// The store's: the next round goes on where this one stopped.
    pub async fn round(&self, store: &Store) -> Result<usize, Failure> {
        let mut sent = 0;
        loop {
            let oldest = self.now() - OLDEST;
            let made = store.make_notices(oldest, rules::of_trace).await?;
            let taken = store.take_notices(self.now(), LEASE, BATCH).await?;
            // Side by side: a receiver that hangs holds up nobody else, and all are done well within the lease.
            let states =
                futures_util::future::join_all(taken.iter().map(|notice| self.deliver(notice, store))).await;
            for (notice, state) in taken.iter().zip(states) {
                let state = state?;
                sent += usize::from(state == NoticeState::Sent);
                store.settle_notice(notice, state).await?;
            }
            if made == 0 && taken.is_empty() {
                return Ok(sent);
            }
        }
    }

    fn now(&self) -> i64 {
        self.environment.now().as_microsecond()
    }

    /// Whether he who is told may know it now, and wants to; then sends it.
    async fn deliver(&self, notice: &NoticeRow, store: &Store) -> Result<NoticeState, Failure> {
        let dropped = |why: &str| Ok(NoticeState::Dropped(why.to_owned()));
        let Some(told) = store.told(&notice.record_id).await? else { return dropped("the record is erased") };
        if !told.open {
            return dropped("the record is closed");
        }
        // A document that was announced may have been deleted before its month was over.
        if !notice.objects.is_empty() && !store.may_be_told(&notice.objects, self.now()).await? {
            return dropped("none of its documents is there to be told of");
        }
        let address = match notice.told.as_str() {
            PATIENT if !rules::wanted(&notice.kind, &notice.channel, &told) => {
                return dropped("the holder does not want it");
            }
            PATIENT => rules::address(&told),
            professional if !told.treating.iter().any(|treating| treating == professional) => {
                return dropped("no longer the médecin traitant");
            }
            professional => self.settings.professionals.get(professional).cloned(),
        };
        let outcome = match (notice.channel.as_str(), &self.mailer, &self.webhook, address) {
            (MAIL, Some(mailer), _, Some(address)) => mailer.send(notice, &address).await,
            (MAIL, Some(_), _, None) => return dropped("no address is known"),
            (MAIL, None, ..) => return dropped("no relay is configured"),
            (_, _, Some(webhook), _) => webhook.send(notice, self.now()).await.map_err(MailFault::Passing),
            (_, _, None, _) => return dropped("no webhook is configured"),
        };
        Ok(match outcome {
            Ok(()) => NoticeState::Sent,
            Err(MailFault::Final(why)) => NoticeState::Dead(why),
            Err(MailFault::Passing(why)) if notice.attempts + 1 >= ATTEMPTS => NoticeState::Dead(why),
            Err(MailFault::Passing(why)) => NoticeState::Again(self.now() + pause(notice.attempts), why),
        })
    }
}

/// How long to wait after so many attempts, microseconds: half a minute, doubled, up to twelve hours.
fn pause(attempts: i64) -> i64 {
    let seconds = 30_i64.saturating_mul(1 << attempts.clamp(0, 20));
    seconds.min(12 * 3600) * 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_and_later_for_about_two_days() {
        assert_eq!((pause(0), pause(1), pause(40)), (30_000_000, 60_000_000, 12 * 3600 * 1_000_000));
        let all: i64 = (0..ATTEMPTS - 1).map(pause).sum();
        let days = all / 86_400_000_000;
        assert!((0..3).contains(&days), "{days}");
    }
}
