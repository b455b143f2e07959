//! The peer of a connection: read once per connection, judged again on each request.

use std::any::Any;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use tokio::net::TcpStream;

use crate::certificate::{self, CertificateFacts, Unusable};
use crate::error::Refusal;
use crate::identity::Caller;
use crate::tls::PeerChain;

/// What was read off a connection when it was made.
#[derive(Debug)]
pub struct Peer {
    /// The verified chain.
    pub chain: PeerChain,
    /// Issuer and serial number, for traces.
    pub label: String,
    /// What the holder's certificate says, or why it is of no use.
    pub certificate: Result<CertificateFacts, Unusable>,
    /// The caller that the certificate alone makes, or why it makes none.
    pub caller: Result<std::sync::Arc<Caller>, Refusal>,
}

/// For `HttpServer::on_connect`: puts the [`Peer`] beside the connection. It cannot refuse a connection; without a peer
/// every request is refused.
pub fn read(connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<TlsStream<TcpStream>>() else { return };
    let (_, session) = stream.get_ref();
    let Some(chain) = PeerChain::of(session) else { return };
    let certificate = CertificateFacts::read(chain.leaf());
    let caller = match &certificate {
        Ok(facts) => Caller::of_certificate(facts).map(std::sync::Arc::new),
        Err(unusable) => Err(Refusal::new(crate::error::Reason::UnsuitableCertificate, unusable.to_string())
            .by("EX_GEN-1450: AUTH_CLI certificate or authentication certificate of a card")),
    };
    data.insert(Peer { label: certificate::label(chain.leaf()), chain, certificate, caller });
}
