//! What a server does beside answering: signs, tells, tidies up, ends what is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Listening;
use crate::api::Api;
use crate::audit::TraceContext;
use crate::audit::checkpointer::Checkpointer;
use crate::certificate;
use crate::notification::deliver::{self, Notifier};
use crate::notification::follow::{self, Follower};
use crate::operations::Services;
use crate::operations::by_clock::{self, Ended};
use crate::tls::ocsp::Refresher;
use crate::tls::verifier::HandshakeRefusal;

/// Signs how far the traces go, again and again. Where it cannot, it is told and tried again: the traces themselves are durable.
pub(super) async fn sign_traces(
    checkpointer: Arc<tokio::sync::Mutex<Checkpointer>>,
    interval: Duration,
    services: Arc<Services>,
    api: Arc<Api>,
) {
    loop {
        actix_web::rt::time::sleep(interval).await;
        let mut checkpointer = checkpointer.lock().await;
        if let Err(error) = checkpointer.sign(&services.store, services.environment.now()).await {
            tracing::error!(error = format!("{error:#}"), "the traces are not signed");
        }
        api.traces_signed.store(checkpointer.signed(), Ordering::Relaxed);
    }
}

/// Makes notices and delivers them. What fails is tried again in the next round.
pub(super) async fn tell(notifier: Notifier, services: Arc<Services>) {
    loop {
        actix_web::rt::time::sleep(deliver::INTERVAL).await;
        if let Err(error) = notifier.round(&services.store).await {
            tracing::warn!(%error, "notices wait");
        }
    }
}

/// Tells software that follows records. What fails is tried again in the next round.
pub(super) async fn follow(follower: Follower) {
    loop {
        actix_web::rt::time::sleep(follow::INTERVAL).await;
        if let Err(error) = follower.round().await {
            tracing::warn!(%error, "subscriptions wait");
        }
    }
}

/// A handshake that was refused for its certificate stands in the trace, as any refusal does; so many a minute and no
/// more, because nobody needs a certificate to be refused: how many more there were stands there too.
pub(super) async fn trace_refusals(mut refused: tokio::sync::mpsc::Receiver<HandshakeRefusal>, api: Arc<Api>) {
    const A_MINUTE: u64 = 120;
    let (mut minute, mut written, mut told) = (0, 0, api.refused_handshakes.load(Ordering::Relaxed));
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), refused.recv()).await;
        let now = api.services.environment.now().as_second();
        if now / 60 != minute {
            // Those beyond the minute's, and those that nobody could even take down.
            let all = api.refused_handshakes.load(Ordering::Relaxed);
            let untold = all.saturating_sub(told).saturating_sub(u64::from(matches!(next, Ok(Some(_)))));
            if untold > 0 {
                trace_handshake(&api, "", &format!("{untold} more refused")).await;
            }
            told = told.max(all.saturating_sub(u64::from(matches!(next, Ok(Some(_))))));
            (minute, written) = (now / 60, 0);
        }
        let refusal = match next {
            Ok(Some(refusal)) => refusal,
            Ok(None) => return,
            Err(_) => continue,
        };
        if written >= A_MINUTE {
            continue;
        }
        (written, told) = (written + 1, told + 1);
        // Nobody has vouched for what stands in it: it may name whom it likes, and it may break a parser.
        let label = std::panic::catch_unwind(|| certificate::label(&refusal.leaf)).unwrap_or_default();
        trace_handshake(&api, &format!("unverified: {label}"), &refusal.reason).await;
    }
}

async fn trace_handshake(api: &Api, label: &str, reason: &str) {
    let environment = &api.services.environment;
    let at = environment.now().as_microsecond();
    let context = TraceContext::new(at, environment.next_id(), "TLS handshake", label, None, None);
    if let Err(error) = api.services.store.writer().record(context.refused_handshake(reason), ()).await {
        tracing::error!(%error, "a refused handshake was not traced");
    }
}

/// Forgets what is over: callers with their whole budget, spent tokens, shared windows.
pub(super) async fn tidy(api: Arc<Api>) {
    const INTERVAL: Duration = Duration::from_secs(60);
    loop {
        actix_web::rt::time::sleep(INTERVAL).await;
        if let Some(limits) = &api.budgets {
            limits.forget_idle();
        }
        let now = api.services.environment.now().as_second();
        if let Some(provider) = &api.services.sessions.pro_sante_connect {
            provider.forget(now);
        }
        if let Err(error) = api.services.store.forget_spent(now).await {
            tracing::warn!(%error, "what was spent is not forgotten");
        }
    }
}

/// Each round in a task of its own: a certificate that breaks a parser ends one round and no more.
pub(super) async fn ask_responders(refresher: Refresher) {
    let refresher = Arc::new(refresher);
    loop {
        let asking = Arc::clone(&refresher);
        if let Err(panicked) = actix_web::rt::spawn(async move { asking.round().await }).await {
            tracing::error!(%panicked, "a round of questions to the responder ended early");
        }
        actix_web::rt::time::sleep(refresher.interval()).await;
    }
}

/// Does what ends by itself, now and every few minutes. Decisions do not wait for it.
pub(super) async fn end_by_clock(services: Arc<Services>) {
    const OFTEN: Duration = Duration::from_secs(300);
    loop {
        let parameters = services.tables.parameters;
        match by_clock::run(&services.store, &services.environment, parameters).await {
            Ok(ended) if ended == Ended::default() => {}
            Ok(Ended { announcements, majorities, authorisations }) => {
                tracing::info!(announcements, majorities, authorisations, "ended by the clock");
            }
            Err(error) => tracing::warn!(%error, "what ends by the clock is done later"),
        }
        actix_web::rt::time::sleep(OFTEN).await;
    }
}

/// Removes what interrupted feeds left, now and every day. A day is far longer than any feed takes.
pub(super) async fn sweep(services: Arc<Services>) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    loop {
        match services.store.sweep_orphans(services.environment.now(), DAY).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "orphaned bodies removed"),
            Err(error) => tracing::warn!(%error, "orphaned bodies not swept"),
        }
        actix_web::rt::time::sleep(DAY).await;
    }
}

/// Ends a server whose writer has stopped for good, for the operator's supervisor to start another on what the disk does hold. Who waits is answered
/// before: 503.
pub(super) async fn end_when_broken(services: Arc<Services>, listening: Listening) {
    /// Seconds for which it is still there to say so, `/health/ready` too.
    const STILL_THERE: u32 = 5;
    let mut broken = 0;
    while broken < STILL_THERE {
        actix_web::rt::time::sleep(Duration::from_secs(1)).await;
        broken = if services.store.writer().is_running() { 0 } else { broken + 1 };
    }
    tracing::error!("the writer has stopped: the server ends");
    listening.stop(true).await;
}
