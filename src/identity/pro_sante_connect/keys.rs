//! The provider's keys, for access tokens that are JWT.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};

use super::{ProSanteConnect, TokenFacts, invalid, read};
use crate::error::Failure;
use crate::identity::tokens::signature_only;

/// The keys fetched last. A key id that they lack makes us fetch again, and not more often than that.
#[derive(Debug, Default)]
pub(super) struct ProviderKeys {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    keys: Option<JwkSet>,
    fetched: i64,
}

/// Between two fetches, seconds: whoever sends us made-up key ids makes us ask no more often.
const INTERVAL: i64 = 30;

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
        let mut key = self.key(&key_id);
        if key.is_none() && self.may_fetch(now.as_second()) {
            let url = format!("{}/protocol/openid-connect/certs", provider.settings.issuer);
            let keys: JwkSet = read(&provider.answer(provider.http.get(url)).await?)?;
            self.held.lock().unwrap_or_else(PoisonError::into_inner).keys = Some(keys);
            key = self.key(&key_id);
        }
        let key = key.ok_or_else(|| {
            Failure::from(invalid("the JWT is signed with a key unknown to the provider (kid)"))
        })?;
        let decoded = jsonwebtoken::decode::<TokenFacts>(token, &key, &signature_only(header.alg));
        Ok(decoded.map_err(|_| Failure::from(invalid("the JWT's signature is not the provider's")))?.claims)
    }

    fn key(&self, key_id: &str) -> Option<DecodingKey> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        DecodingKey::from_jwk(held.keys.as_ref()?.find(key_id)?).ok()
    }

    fn may_fetch(&self, now: i64) -> bool {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let may = now - held.fetched >= INTERVAL;
        if may {
            held.fetched = now;
        }
        may
    }
}
