//! A test PKI shaped like IGC-Santé: roots, issuing authorities, cards, organisation certificates, revocation lists.
//!
//! Shapes follow `identity-and-rights.md` 1.1 to 1.4: names (two `OU` on an authority, a multi-valued name on a card),
//! the private extensions under 1.2.250.1.71, key usages, RSA-4096 authorities and RSA-2048 leaves. Every name begins
//! with `TEST`: a production server refuses these roots. The `openssl` crate makes them; rustls never sees OpenSSL.

mod authority;
mod der;
mod folder;
mod holder;

pub use authority::{Authority, Branch, Range};
pub use folder::{Issued, PkiFolder};
pub use holder::{Holder, HolderKind, Validity};
