//! Bytes on the wire → a chain of certificates that was verified, and stays so on every request.
//!
//! * [`verifier`] judges the chain in the handshake, through a swappable inner verifier;
//! * [`revocation`] holds the revocation lists and judges again on each request;
//! * [`trust`] loads anchors, authorities and lists from the operator's folder;
//! * [`listener`] makes the server's TLS configuration and reads the peer's chain.

pub mod listener;
pub mod revocation;
pub mod trust;
pub mod verifier;

pub use listener::{PeerChain, server_config};
pub use revocation::{Revocation, RevocationVerdict};
pub use trust::{Trust, TrustFolder};
