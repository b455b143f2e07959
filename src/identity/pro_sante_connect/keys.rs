//! The provider's keys, for access tokens that are JWT.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{ProSanteConnect, TokenFacts, invalid, read};
use crate::error::Failure;
use crate::identity::tokens::signature_only;

/// The keys fetched last.
#[derive(Debug, Default)]
pub(super) struct ProviderKeys {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    keys: Option<JwkSet>,
    fetched: i64,
    tried: i64,
}

/// Between two fetches for a key id that is unknown, seconds: made-up ones make us ask no more often.
const INTERVAL: i64 = 30;
/// After a fetch that failed, seconds.
const PAUSE: i64 = 2;
/// A key that the provider withdrew is forgotten after so long, seconds.
const LONGEST: i64 = 3600;

impl ProviderKeys {
    pub(super) async fn facts(
        &self,
        provider: &ProSanteConnect,
        token: &str,
        now: Timestamp,
    ) -> Result<TokenFacts, Failure> {
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| Failure::from(invalid("subject_token is not a JWT")))?;
        let key_id = header.kid.ok_or_else(|| Failure::from(invalid("the JWT names no key (kid)")))?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256) {
            return Err(invalid("the JWT is signed with an algorithm that is not taken").into());
        }
        let key = self.key(provider, &key_id, now.as_second()).await?.ok_or_else(|| {
            Failure::from(invalid("the JWT is signed with a key unknown to the provider (kid)"))
        })?;
        let decoded = jsonwebtoken::decode::<TokenFacts>(token, &key, &signature_only(header.alg));
        Ok(decoded.map_err(|_| Failure::from(invalid("the JWT's signature is not the provider's")))?.claims)
    }

    /// The key of an id. `None`: the provider has none. While no keys could be fetched, nobody is called a forger; and nobody
    /// waits for a provider that is slow, but the one who asks it.
    async fn key(
        &self,
        provider: &ProSanteConnect,
        key_id: &str,
        now: i64,
    ) -> Result<Option<DecodingKey>, Failure> {
        {
            let mut held = self.held();
            let known = held.find(key_id);
            if known.is_some() && now - held.fetched < LONGEST {
                return Ok(known);
            }
            if now - held.tried < INTERVAL {
                return match (&held.keys, known) {
                    (None, _) => Err(Failure::unavailable("Pro Santé Connect: no keys yet")),
                    (Some(_), known) => Ok(known),
                };
            }
            held.tried = now;
        }
        let url = format!("{}/protocol/openid-connect/certs", provider.settings.issuer);
        let fetched = provider.answer(provider.http.get(url), false).await.and_then(|text| read(&text));
        let mut held = self.held();
        match fetched {
            Ok(keys) => (held.keys, held.fetched) = (Some(keys), now),
            Err(failure) => {
                // Asked again by whoever comes next, but a little later.
                held.tried = now - INTERVAL + PAUSE;
                return Err(failure);
            }
        }
        Ok(held.find(key_id))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn find(&self, key_id: &str) -> Option<DecodingKey> {
        DecodingKey::from_jwk(self.keys.as_ref()?.find(key_id)?).ok()
    }
}
