//! The peer of a connection: read once per connection, judged again on each request.

use std::any::Any;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use jiff::Timestamp;
use tokio::net::TcpStream;

use crate::certificate::{self, CertificateFacts, Unusable};
use crate::error::{Reason, Refusal};
use crate::identity::Caller;
use crate::identity::identifiers::IdentifierChecks;
use crate::tls::{PeerCertificate, Revocation};

/// What was read off a connection when it was made.
#[derive(Debug)]
pub struct Peer {
    /// The verified certificate.
    pub chain: PeerCertificate,
    /// Issuer and serial number, for traces.
    pub label: String,
    /// What the holder's certificate says, or why it is of no use.
    pub certificate: Result<CertificateFacts, Unusable>,
    /// The caller that the certificate alone makes, or why it makes none.
    pub caller: Result<Arc<Caller>, Refusal>,
    /// The token that came last, and what it says: the next request of the connection often brings it again.
    last_token: Mutex<Option<(String, Arc<Caller>)>>,
    /// When the responder was last told that this certificate is in use, seconds since the epoch.
    noted: AtomicI64,
}

impl Peer {
    /// The caller of a token that this connection brought before and that still counts.
    pub fn known(&self, token: &str, now: i64) -> Option<Arc<Caller>> {
        let last = self.last_token.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, caller) = last.as_ref()?;
        let counts = caller.session.as_ref().is_some_and(|session| now < session.expires_at);
        (known == token && counts).then(|| Arc::clone(caller))
    }

    /// Remembers what a token says.
    pub fn remember(&self, token: &str, caller: &Arc<Caller>) {
        let mut last = self.last_token.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some((token.to_owned(), Arc::clone(caller)));
    }

    /// Says, now and then, that the certificate is in use.
    pub fn note(&self, revocation: &Revocation, now: Timestamp) {
        const INTERVAL: i64 = 600;
        let last = self.noted.load(Ordering::Relaxed);
        if now.as_second() - last >= INTERVAL {
            self.noted.store(now.as_second(), Ordering::Relaxed);
            revocation.note(self.chain.link(), self.chain.leaf(), now);
        }
    }
}

/// How long an answer may wait for who asked for it to read on. Milliseconds.
#[cfg(target_os = "linux")]
const READING: u32 = 60_000;

/// A peer that does not take what is sent to it holds its connection no longer than others do that stall: the listener has no deadline for
/// writing, the kernel has one.
#[cfg(target_os = "linux")]
fn cut_who_reads_nothing(socket: &TcpStream) {
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(socket, READING) {
        tracing::warn!(%error, "a connection without a deadline for writing");
    }
}

#[cfg(not(target_os = "linux"))]
fn cut_who_reads_nothing(_: &TcpStream) {}

/// For `HttpServer::on_connect`: puts the [`Peer`] beside the connection. It cannot refuse a connection; without a peer
/// every request is refused.
pub fn read(connection: &dyn Any, data: &mut Extensions, checks: IdentifierChecks) {
    let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() else { return };
    let (socket, session) = stream.get_ref();
    cut_who_reads_nothing(socket);
    let Some(chain) = PeerCertificate::of(session) else { return };
    let certificate = CertificateFacts::read(chain.leaf());
    let caller = match &certificate {
        Ok(facts) => Caller::of_certificate(facts, checks).map(Arc::new),
        Err(unusable) => Err(Refusal::new(Reason::UnsuitableCertificate, unusable.to_string())
            .by(format!("EX_GEN-1450: AUTH_CLI certificate or card ({unusable:?})"))),
    };
    let label = certificate::label(chain.leaf());
    let (last_token, noted) = (Mutex::new(None), AtomicI64::new(0));
    data.insert(Peer { label, chain, certificate, caller, last_token, noted });
}
