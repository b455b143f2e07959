//! The provider's keys, for access tokens that are JWT.

use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio::sync::Mutex;

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
}

/// Between two fetches for a key id that is unknown, seconds: made-up ones make us ask no more often.
const INTERVAL: i64 = 30;
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

    /// The key of an id. `None`: the provider has none. While no keys could be fetched, nobody is called a forger.
    async fn key(
        &self,
        provider: &ProSanteConnect,
        key_id: &str,
        now: i64,
    ) -> Result<Option<DecodingKey>, Failure> {
        // Held while the keys are fetched: whoever comes meanwhile waits for them.
        let mut held = self.held.lock().await;
        let age = now - held.fetched;
        let known = held.keys.as_ref().is_some_and(|keys| keys.find(key_id).is_some());
        if held.keys.is_none() || age >= LONGEST || (!known && age >= INTERVAL) {
            let url = format!("{}/protocol/openid-connect/certs", provider.settings.issuer);
            held.keys = Some(read(&provider.answer(provider.http.get(url), false).await?)?);
            held.fetched = now;
        }
        let found = held.keys.as_ref().and_then(|keys| keys.find(key_id));
        Ok(found.and_then(|key| DecodingKey::from_jwk(key).ok()))
    }
}
