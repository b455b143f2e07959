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
        match self.held().find_now(key_id, now) {
            Found::Key(known) => return Ok(known.map(|known| *known)),
            Found::NoKeysYet => return Err(Failure::unavailable("Pro Santé Connect: no keys yet")),
            Found::Fetch => {}
        }
        let url = format!("{}/protocol/openid-connect/certs", provider.settings.issuer);
        let fetched = provider.answer(provider.http.get(url), false).await.and_then(|text| read(&text));
        let mut held = self.held();
        match fetched {
            Ok(keys) => (held.keys, held.fetched) = (Some(keys), now),
            Err(failure) => {
                held.failed(now);
                return Err(failure);
            }
        }
        Ok(held.find(key_id))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done about a key.
enum Found {
    /// It is this one, or there is none.
    Key(Option<Box<DecodingKey>>),
    /// No keys could be fetched, and it is too early to try again.
    NoKeysYet,
    /// The keys are fetched, by who asked.
    Fetch,
}

impl Held {
    fn find(&self, key_id: &str) -> Option<DecodingKey> {
        DecodingKey::from_jwk(self.keys.as_ref()?.find(key_id)?).ok()
    }

    /// Looks for a key; who is told to fetch is the one who does, for a while.
    fn find_now(&mut self, key_id: &str, now: i64) -> Found {
        let known = self.find(key_id).map(Box::new);
        if known.is_some() && now - self.fetched < LONGEST {
            return Found::Key(known);
        }
        if now - self.tried < INTERVAL {
            return if self.keys.is_none() { Found::NoKeysYet } else { Found::Key(known) };
        }
        self.tried = now;
        Found::Fetch
    }

    /// Asked again by whoever comes next, but a little later.
    fn failed(&mut self, now: i64) {
        self.tried = now - INTERVAL + PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_keys_are_fetched() {
        let keys = r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"a","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
        let mut held = Held { keys: None, fetched: 0, tried: -100 };
        let told = |held: &mut Held, key: &str, now: i64| match held.find_now(key, now) {
            Found::Key(Some(_)) => "key",
            Found::Key(None) => "none",
            Found::NoKeysYet => "no keys yet",
            Found::Fetch => "fetch",
        };
        assert_eq!(told(&mut held, "a", 1000), "fetch");
        assert_eq!(told(&mut held, "a", 1029), "no keys yet");
        assert_eq!(told(&mut held, "a", 1030), "fetch");
        held.failed(1031);
        assert_eq!(told(&mut held, "a", 1032), "no keys yet");
        assert_eq!(told(&mut held, "a", 1033), "fetch", "two seconds after a failure");
        (held.keys, held.fetched) = (Some(serde_json::from_str::<JwkSet>(keys).unwrap()), 1033);
        assert_eq!(told(&mut held, "a", 1034), "key");
        assert_eq!(told(&mut held, "b", 1062), "none", "made-up ids make us ask no more often");
        assert_eq!(told(&mut held, "b", 1063), "fetch");
        assert_eq!(told(&mut held, "a", 1033 + 3599), "key");
        assert_eq!(told(&mut held, "a", 1033 + 3600), "fetch", "withdrawn ones are forgotten after an hour");
        assert_eq!(told(&mut held, "a", 1033 + 3601), "key", "while another asks");
    }
}
