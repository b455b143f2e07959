//! Our access tokens: JWT (RFC 9068), bound to the certificate of the connection (RFC 8705), with the claims of IHE IUA
//! and, beside them, those of the DMP's VIHF.
//!
//! A token is a [`Caller`] in transport: [`Tokens::issue`] writes one, [`Tokens::caller`] reads it back, and refuses what
//! was altered, has expired, was made for another server, or comes over another certificate. Instants are judged by the
//! clock passed in, without leeway: the nodes that share a key share the time.

mod claims;
mod keys;

pub use claims::{AccessToken, AuthenticationProof, ConceptCode};
pub(in crate::identity) use claims::{Audience, Confirmation, Extensions};
pub(in crate::identity) use keys::signature_only;
pub use keys::{Keys, PublicKey};

use std::time::Duration;

use anyhow::Result;
use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::{Authentication, Caller};
use crate::error::{Reason, Refusal};

/// How long tokens live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Mode `normal`, by card or e-CPS.
    pub normal: Duration,
    /// `bris_de_glace`, `centre_15`.
    pub emergency: Duration,
    /// `INDIRECTE`.
    pub indirect: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            normal: Duration::from_secs(3600),
            emergency: Duration::from_secs(900),
            indirect: Duration::from_secs(300),
        }
    }
}

/// `INDIRECTE_RENFORCEE`: EX_AIR-040.
pub const REINFORCED_LIFETIME: Duration = Duration::from_secs(30);

/// Longer texts are no tokens of ours.
const MAXIMUM_TOKEN: usize = 16 << 10;

/// Issues and reads tokens.
#[derive(Debug)]
pub struct Tokens {
    keys: Keys,
    lifetimes: Lifetimes,
    issuer: std::sync::OnceLock<String>,
}

impl Tokens {
    /// Tokens under these keys.
    pub fn new(keys: Keys, lifetimes: Lifetimes) -> Self {
        Self { keys, lifetimes, issuer: std::sync::OnceLock::new() }
    }

    /// Says who the issuer is: the origin of the server's public base. Known once the listener has its port.
    pub fn issued_by(&self, issuer: &str) {
        let _ = self.issuer.set(issuer.to_owned());
    }

    /// `iss` and `aud`; empty before the listener stands, when there is nobody to ask for a token.
    pub fn issuer(&self) -> &str {
        self.issuer.get().map_or("", String::as_str)
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How long a caller's token lives, from now.
    pub fn lifetime(&self, caller: &Caller) -> Duration {
        match (caller.authentication, caller.mode) {
            (Authentication::IndirectReinforced, _) => REINFORCED_LIFETIME,
            (Authentication::Indirect, _) => self.lifetimes.indirect,
            (_, super::AccessMode::Normal) => self.lifetimes.normal,
            _ => self.lifetimes.emergency,
        }
    }

    /// Writes the token of a caller, who has a session, for the certificate with this fingerprint.
    ///
    /// # Errors
    /// It cannot be signed, or there is no session.
    pub fn issue(
        &self,
        caller: &Caller,
        client: &str,
        fingerprint: &[u8; 32],
        now: Timestamp,
    ) -> Result<String> {
        self.keys.sign(&AccessToken::of(caller, client, self.issuer(), &thumbprint(fingerprint), now)?)
    }

    /// The caller of a token presented over the certificate with this fingerprint.
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`], [`Reason::TokenExpired`], [`Reason::TokenNotBound`].
    pub fn caller(&self, token: &str, fingerprint: &[u8; 32], now: Timestamp) -> Result<Caller, Refusal> {
        let invalid = |why: &'static str| Refusal::new(Reason::TokenInvalid, why);
        if token.len() > MAXIMUM_TOKEN {
            return Err(invalid("not an access token of this server"));
        }
        let claims: AccessToken = self.keys.open(token).ok_or_else(|| {
            invalid(
                "not an access token of this server, or altered (a Pro Santé Connect token is exchanged first)",
            )
        })?;
        if claims.iss != self.issuer() || !claims.aud.names(self.issuer()) {
            return Err(invalid("an access token of another server"));
        }
        bound(claims.cnf.thumbprint.as_deref(), fingerprint)?;
        if now.as_second() >= claims.exp {
            return Err(Refusal::new(Reason::TokenExpired, "the access token has expired"));
        }
        claims.caller().ok_or_else(|| invalid("the access token lacks claims"))
    }
}

/// RFC 8705, 3.1: base64url of the SHA-256 of the certificate's DER, without padding.
pub fn thumbprint(fingerprint: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(fingerprint)
}

/// Checks `cnf.x5t#S256` against a certificate. The guide of the ANS prints another form, base64 of the hexadecimal text:
/// it is refused by name.
///
/// # Errors
/// [`Reason::TokenNotBound`].
pub fn bound(thumbprint: Option<&str>, fingerprint: &[u8; 32]) -> Result<(), Refusal> {
    let refused =
        |why: &'static str| Err(Refusal::new(Reason::TokenNotBound, why).by("RFC 8705: cnf.x5t#S256"));
    let Some(claimed) = thumbprint else {
        return refused("the token is bound to no certificate (cnf.x5t#S256)");
    };
    if URL_SAFE_NO_PAD
        .decode(claimed)
        .is_ok_and(|claimed| constant_time::verify_slices_are_equal(&claimed, fingerprint).is_ok())
    {
        return Ok(());
    }
    if base64::engine::general_purpose::STANDARD
        .decode(claimed)
        .is_ok_and(|text| text.len() == 64 && text.iter().all(u8::is_ascii_hexdigit))
    {
        return refused(
            "cnf.x5t#S256 is base64 of the hexadecimal text, as the ANS guide prints it: RFC 8705 wants base64url of \
             the 32 bytes, without padding",
        );
    }
    refused("the token is bound to another certificate than that of this connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_the_rfc_binds() {
        let certificate = [7; 32];
        assert!(bound(Some(&thumbprint(&certificate)), &certificate).is_ok());
        let why =
            |claimed: Option<&str>| bound(claimed, &certificate).unwrap_err().issues[0].diagnostics.to_string();
        assert!(why(None).contains("no certificate"));
        assert!(why(Some(&thumbprint(&[8; 32]))).contains("another certificate"));
        let hexadecimal: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
        let of_the_guide = base64::engine::general_purpose::STANDARD.encode(hexadecimal);
        assert!(why(Some(&of_the_guide)).contains("ANS guide"));
    }
}
