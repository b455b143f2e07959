//! Pro Santé Connect, as a client of it: is this access token one of a professional, for this client, now.
//!
//! An opaque token is asked about (introspection, RFC 7662, over mutual TLS); a JWT may be checked against the provider's
//! keys instead. Either way UserInfo says who the professional is. What was learnt of a token is kept until it expires,
//! two minutes at most. Whatever the provider answers is read as hostile: bounded, strict, in time.

mod keys;
mod user_info;

pub use user_info::{Situation, UserInfo};

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use jiff::Timestamp;
use reqwest::header;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::tokens::Confirmation;
use crate::error::{Failure, Reason, Refusal};

/// Where the provider is, and who we are to it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer, `https://auth.esw.esante.gouv.fr/auth/realms/esante-wallet`: the base of all endpoints.
    pub issuer: String,
    /// What its TLS certificate must lead to, PEM.
    pub anchors: PathBuf,
    /// Our certificate (organisation, AUTH_CLI) and chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Our own `client_id` there: introspection over mutual TLS names it (RFC 8705, 2).
    pub client_id: String,
    /// Check JWT access tokens against the provider's keys rather than by introspection.
    pub jwks: bool,
    /// The software that may exchange tokens.
    pub clients: Vec<Client>,
    /// How long one answer may take.
    pub patience: Duration,
}

/// One client of the provider: its tokens are exchanged over the certificate with this subject, and no other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Client {
    /// Its `client_id` at the provider, `azp` in its tokens.
    pub client_id: String,
    /// `OU` of the certificate, Struct_IdNat.
    pub structure: String,
    /// `CN` of the certificate.
    pub common_name: String,
}

/// See the module.
#[derive(Debug)]
pub struct ProSanteConnect {
    settings: Settings,
    http: reqwest::Client,
    known: Learnt,
    keys: keys::ProviderKeys,
}

/// What was learnt of tokens, by their digest.
#[derive(Debug, Default)]
struct Learnt(Mutex<HashMap<[u8; 32], Known>>);

impl Learnt {
    fn held(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of a token and counts still.
    fn get(&self, digest: &[u8; 32], now: i64) -> Option<Known> {
        self.held().get(digest).filter(|known| now < known.until).cloned()
    }

    /// Forgets what has expired.
    fn forget(&self, now: i64) {
        let mut held = self.held();
        held.retain(|_, known| now < known.until);
        held.shrink_to_fit();
    }

    /// Remembers one more, if there is room for it.
    fn keep(&self, digest: [u8; 32], known: Known, most: usize, now: i64) {
        self.forget(now);
        let mut held = self.held();
        if held.len() < most {
            held.insert(digest, known);
        }
    }
}

#[derive(Clone, Debug)]
struct Known {
    client_id: String,
    user: UserInfo,
    cnf: Option<Confirmation>,
    until: i64,
}

/// What introspection or a JWT says of a token.
#[derive(Clone, Debug, Deserialize)]
struct TokenFacts {
    #[serde(default = "yes")]
    active: bool,
    #[serde(default)]
    exp: i64,
    #[serde(default)]
    iat: i64,
    #[serde(default)]
    iss: String,
    #[serde(default)]
    azp: String,
    #[serde(default)]
    sub: String,
    #[serde(rename = "SubjectNameID", default)]
    name_id: String,
    /// Where the provider binds its tokens.
    cnf: Option<Confirmation>,
}

/// A JWT has no `active`: its signature and `exp` say so.
const fn yes() -> bool {
    true
}

/// A token lives two minutes; what a provider says beyond is not believed.
const LIFETIME: i64 = 120;
/// Clocks apart, seconds.
const SKEW: i64 = 5;
/// UserInfo of a professional with many activities is about 20 KiB.
const MAXIMUM_ANSWER: usize = 256 << 10;
const MAXIMUM_TOKEN: usize = 8 << 10;
/// Tokens remembered, at most; they go within two minutes.
const MAXIMUM_KNOWN: usize = 10_000;

impl ProSanteConnect {
    /// A client of the provider.
    ///
    /// # Errors
    /// A file cannot be read, or key and certificate do not fit.
    pub fn new(settings: Settings) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for anchor in crate::tls::trust::read_certificates(&settings.anchors)? {
            roots.add(anchor).with_context(|| settings.anchors.display().to_string())?;
        }
        let key = PrivateKeyDer::from_pem_file(&settings.key)
            .with_context(|| format!("cannot read {}", settings.key.display()))?;
        let chain = crate::tls::trust::read_certificates(&settings.certificate)?;
        let tls = rustls::ClientConfig::builder_with_provider(crate::tls::listener::crypto_provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .context("the certificate and key towards Pro Santé Connect do not fit")?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .timeout(settings.patience)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { settings, http, known: Learnt::default(), keys: keys::ProviderKeys::default() })
    }

    /// The professional behind an access token that the client with this certificate presents.
    ///
    /// # Errors
    /// [`Reason::UnknownClient`], [`Reason::InvalidGrant`]; [`Failure::Unavailable`] when the provider does not answer, or
    /// answers what cannot be read.
    pub async fn professional(
        &self,
        token: &str,
        (structure, common_name): (&str, &str),
        fingerprint: &[u8; 32],
        now: Timestamp,
    ) -> Result<UserInfo, Failure> {
        let client = registered(&self.settings.clients, structure, common_name)?;
        if !looks_like_a_token(token) {
            return Err(invalid("subject_token is not an access token").into());
        }
        let digest = digest_of(token);
        let known = match self.known.get(&digest, now.as_second()) {
            Some(known) => known,
            None => self.learn(token, digest, now).await?,
        };
        if known.client_id != client.client_id {
            return Err(invalid("the Pro Santé Connect token was given to another client (azp)").into());
        }
        if let Some(cnf) = &known.cnf {
            super::tokens::bound(cnf.thumbprint.as_deref(), fingerprint)?;
        }
        Ok(known.user)
    }

    /// Forgets what has expired.
    pub fn forget(&self, now: i64) {
        self.known.forget(now);
    }

    async fn learn(&self, token: &str, digest: [u8; 32], now: Timestamp) -> Result<Known, Failure> {
        let jwt = token.split('.').count() == 3;
        let facts = if self.settings.jwks && jwt {
            self.keys.facts(self, token, now).await?
        } else {
            self.introspect(token).await?
        };
        let second = now.as_second();
        let until = facts.judge(&self.settings.issuer, second)?;
        let user: UserInfo = self.user_info(token).await?;
        facts.is_about(&user).map_err(Failure::unavailable)?;
        let learnt = Known { client_id: facts.azp, user, cnf: facts.cnf, until };
        self.known.keep(digest, learnt.clone(), MAXIMUM_KNOWN, second);
        Ok(learnt)
    }

    async fn introspect(&self, token: &str) -> Result<TokenFacts, Failure> {
        let url = format!("{}/protocol/openid-connect/token/introspect", self.settings.issuer);
        let form =
            [("token", token), ("token_type_hint", "access_token"), ("client_id", &self.settings.client_id)];
        #[derive(Deserialize)]
        struct Active {
            active: bool,
        }
        // Here a 401 is about us, not about the token.
        let text = self.answer(self.http.post(url).form(&form), false).await?;
        // Without `active` an answer says nothing: it is not to be taken for a yes.
        let Active { active } = read(&text)?;
        if !active {
            return Err(invalid("the Pro Santé Connect token is not active, or has expired").into());
        }
        read(&text)
    }

    async fn user_info(&self, token: &str) -> Result<UserInfo, Failure> {
        let url = format!("{}/protocol/openid-connect/userinfo", self.settings.issuer);
        read(&self.answer(self.http.get(url).bearer_auth(token), true).await?)
    }

    async fn answer(&self, request: reqwest::RequestBuilder, with_token: bool) -> Result<Vec<u8>, Failure> {
        let unavailable = |error: reqwest::Error| {
            // The URL of UserInfo carries nothing secret, and nothing of the error is told to the caller.
            Failure::unavailable(format_args!("Pro Santé Connect: {}", error.without_url()))
        };
        let request = request.header(header::ACCEPT, "application/json");
        let mut answer = request.send().await.map_err(unavailable)?;
        match answer.status().as_u16() {
            200 => {}
            401 if with_token => {
                return Err(invalid("the Pro Santé Connect token is not active, or has expired").into());
            }
            status => return Err(Failure::unavailable(format_args!("Pro Santé Connect: status {status}"))),
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unavailable)? {
            text.extend_from_slice(&chunk);
            if text.len() > MAXIMUM_ANSWER {
                return Err(Failure::unavailable("Pro Santé Connect: an answer that is too long"));
            }
        }
        Ok(text)
    }
}

impl TokenFacts {
    /// Until when a token counts, seconds since the epoch.
    ///
    /// # Errors
    /// [`Reason::InvalidGrant`]: it does not count now, or not here.
    fn judge(&self, issuer: &str, now: i64) -> Result<i64, Refusal> {
        if !self.active || now >= self.exp {
            return Err(invalid("the Pro Santé Connect token is not active, or has expired"));
        }
        if self.iss != issuer {
            return Err(invalid("the Pro Santé Connect token is of another issuer"));
        }
        if self.iat > now + SKEW || now.saturating_sub(self.iat) > LIFETIME + SKEW {
            return Err(invalid("the Pro Santé Connect token is older than two minutes"));
        }
        Ok(self.exp.min(self.iat.saturating_add(LIFETIME)))
    }

    /// UserInfo must be about whom the token is about (OpenID Connect Core, 5.3.2).
    fn is_about(&self, user: &UserInfo) -> Result<(), &'static str> {
        if self.sub.is_empty() || user.sub != self.sub {
            return Err("Pro Santé Connect: UserInfo is about another subject");
        }
        if !self.name_id.is_empty() && self.name_id != user.name_id() {
            return Err("Pro Santé Connect: UserInfo names another SubjectNameID");
        }
        Ok(())
    }
}

/// The client that is registered for the subject of a certificate.
fn registered<'a>(clients: &'a [Client], structure: &str, common_name: &str) -> Result<&'a Client, Refusal> {
    clients.iter().find(|client| client.structure == structure && client.common_name == common_name).ok_or_else(
        || {
            Refusal::new(
                Reason::UnknownClient,
                "no Pro Santé Connect client is registered for the subject of this certificate",
            )
            .by("API Pro Santé Connectée: certificate subject ↔ client_id")
        },
    )
}

/// A text that may stand in a header and a form.
fn looks_like_a_token(text: &str) -> bool {
    (1..=MAXIMUM_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Failure> {
    // The text of the error may quote a value of the answer: only its place is kept.
    serde_json::from_slice(text).map_err(|error| {
        Failure::unavailable(format_args!(
            "Pro Santé Connect: not the JSON expected, column {}",
            error.column()
        ))
    })
}

fn invalid(why: &'static str) -> Refusal {
    Refusal::new(Reason::InvalidGrant, why).by("RFC 8693: subject_token")
}

fn digest_of(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(sub: &str, name_id: &str) -> UserInfo {
        serde_json::from_str(&format!(r#"{{"sub":"{sub}","SubjectNameID":"{name_id}"}}"#)).unwrap()
    }

    fn facts(json: &str) -> TokenFacts {
        serde_json::from_str(json).unwrap()
    }

    /// Each instant on either side of its limit; what is inactive, and whose it is.
    #[test]
    fn whether_a_token_counts() {
        let judge = |exp: i64, iat: i64| {
            facts(&format!(r#"{{"iss":"i","exp":{},"iat":{}}}"#, 1000 + exp, 1000 + iat)).judge("i", 1000).ok()
        };
        for (exp, iat, until) in [
            (1, 0, Some(1001)),
            (0, 0, None),
            (-1, 0, None),
            (500, 0, Some(1120)),
            (100, -30, Some(1090)),
            (500, 5, Some(1125)),
            (500, 6, None),
            (500, -125, Some(995)),
            (500, -126, None),
        ] {
            assert_eq!(judge(exp, iat), until, "exp {exp}, iat {iat}");
        }
        let why = |json: &str| facts(json).judge("i", 1000).unwrap_err().issues[0].diagnostics.to_string();
        assert!(why(r#"{"active":false,"iss":"i","exp":1100,"iat":1000}"#).contains("not active"));
        assert!(why(r#"{"iss":"j","exp":1100,"iat":1000}"#).contains("another issuer"));
        assert!(why(r#"{"iss":"i","exp":1100,"iat":-9223372036854775808}"#).contains("older"));
    }

    #[test]
    fn whom_it_is_about() {
        let about = |json: &str, sub: &str| facts(json).is_about(&user(sub, "8101")).is_ok();
        assert!(about(r#"{"sub":"a"}"#, "a"));
        assert!(about(r#"{"sub":"a","SubjectNameID":"8101"}"#, "a"));
        assert!(!about(r#"{"sub":"a","SubjectNameID":"8102"}"#, "a"));
        assert!(!about(r#"{"sub":"a"}"#, "b"));
        assert!(!about("{}", ""));
    }

    #[test]
    fn who_asks_with_what() {
        let client = |id: &str, structure: &str, name: &str| Client {
            client_id: id.into(),
            structure: structure.into(),
            common_name: name.into(),
        };
        let clients = [client("a", "1", "X"), client("b", "1", "Y")];
        assert_eq!(registered(&clients, "1", "Y").unwrap().client_id, "b");
        for (structure, name) in [("1", "Z"), ("2", "X"), ("", "")] {
            assert_eq!(registered(&clients, structure, name).unwrap_err().reason, Reason::UnknownClient);
        }
        assert!(looks_like_a_token("a") && looks_like_a_token(&"a".repeat(8192)));
        for text in ["", "a b", "é", "a\n", &"a".repeat(8193)] {
            assert!(!looks_like_a_token(text), "{text:.20}");
        }
    }

    #[test]
    fn what_is_remembered() {
        let learnt = Learnt::default();
        let known = |until| Known { client_id: "c".into(), user: user("a", "8101"), cnf: None, until };
        learnt.keep([1; 32], known(10), 2, 0);
        assert_eq!(learnt.get(&[1; 32], 9).unwrap().client_id, "c");
        assert!(learnt.get(&[1; 32], 10).is_none() && learnt.get(&[2; 32], 0).is_none());
        learnt.keep([2; 32], known(20), 2, 0);
        learnt.keep([3; 32], known(20), 2, 9);
        assert!(learnt.get(&[3; 32], 9).is_none(), "no room");
        learnt.keep([3; 32], known(20), 2, 10);
        assert!(learnt.get(&[3; 32], 10).is_some(), "room again, once one has expired");
        learnt.forget(19);
        assert_eq!(learnt.held().len(), 2);
        learnt.forget(20);
        assert!(learnt.held().is_empty());
    }
}
