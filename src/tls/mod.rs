//! Bytes on the wire → a chain of certificates that was verified, and stays so on every request.
//!
//! * [`verifier`] judges the chain in the handshake, through a swappable inner verifier;
//! * [`authority`] judges anchors and issuing authorities when they are loaded;
//! * [`revocation`] holds the revocation lists and judges again on each request;
//! * [`ocsp`] asks the issuers' responders in the background, into the same registry;
//! * [`seal`] judges the chain of a seal, outside a handshake;
//! * [`trust`] loads anchors, authorities and lists from the operator's folder;
//! * [`listener`] makes the server's TLS configuration and reads the peer's chain.

pub mod authority;
pub mod listener;
pub mod ocsp;
pub mod outgoing;
pub mod revocation;
pub mod seal;
pub mod trust;
pub mod verifier;

pub use listener::{PeerCertificate, server_config};
pub use revocation::{Revocation, RevocationVerdict};
pub use trust::{Trust, TrustFolder};
