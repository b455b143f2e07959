//! Asks the issuers' responders, in the background.
//!
//! A handshake never waits for a responder, and neither does a request: for the certificates in use, the responder is
//! asked again and again, and what it says goes into the registry that every request consults. It only adds refusals: a
//! responder that is late, wrong or away leaves the revocation lists to decide (`docs/decisions/0014`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use openssl::hash::MessageDigest;
use openssl::ocsp::{OcspCertId, OcspCertStatus, OcspFlag, OcspRequest, OcspResponse, OcspResponseStatus};
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Ref};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::Authority;
use super::revocation::{CLOCK_SKEW, ChainLink, Revocation};
use crate::environment::Clock;

/// Which responder, and how often.
#[derive(Clone, Debug)]
pub struct OcspSettings {
    /// `http://…`. An answer carries its own signature, so it needs no TLS.
    pub url: String,
    /// Between two rounds.
    pub interval: Duration,
    /// How long one answer may take.
    pub patience: Duration,
}

/// What an operator watches.
#[derive(Debug, Default)]
pub struct OcspFigures {
    /// Certificates said to be good.
    pub good: AtomicU64,
    /// Certificates said to be revoked.
    pub revoked: AtomicU64,
    /// Answers that say nothing, or that cannot be believed, or that did not come.
    pub failed: AtomicU64,
}

/// Asks about the certificates in use.
#[derive(Debug)]
pub struct Refresher {
    settings: OcspSettings,
    revocation: Arc<Revocation>,
    http: reqwest::Client,
    figures: Arc<OcspFigures>,
    clock: Arc<dyn Clock>,
    rounds: AtomicUsize,
}

/// Certificates that made no request for so long are not asked about.
const IN_USE: SignedDuration = SignedDuration::from_hours(1);
/// Questions under way at one time.
const AT_ONCE: usize = 8;
/// Failures in a row after which a round ends.
const ENOUGH_FAILURES: usize = 32;
/// Without `nextUpdate` a « good » counts so long, seconds.
const LONGEST_GOOD: i64 = 24 * 3600;
/// An answer is about 2 KiB.
const MAXIMUM_ANSWER: usize = 64 << 10;

impl Refresher {
    /// A refresher of this registry.
    ///
    /// # Errors
    /// The URL is not one, or no HTTP client can be made.
    pub fn new(
        settings: OcspSettings,
        revocation: Arc<Revocation>,
        figures: Arc<OcspFigures>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        ensure!(settings.url.starts_with("http://"), "an OCSP responder is asked over http://");
        let tls = rustls::ClientConfig::builder_with_provider(super::listener::crypto_provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .timeout(settings.patience)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        revocation.begin_asking();
        Ok(Self { settings, revocation, http, figures, clock, rounds: AtomicUsize::new(0) })
    }

    /// Asks once about each certificate in use.
    pub async fn round(&self) {
        let now = self.clock.now();
        let authorities = self.revocation.authorities();
        let mut seen = self.revocation.seen_since(now.saturating_sub(IN_USE).unwrap_or(Timestamp::MIN));
        // Each round begins elsewhere: one that ends early does not always leave out the same.
        let start = self.rounds.fetch_add(1, Ordering::Relaxed).wrapping_mul(997) % seen.len().max(1);
        seen.rotate_left(start);
        let asked = seen.iter().map(|seen| self.ask(&seen.leaf, &authorities));
        let mut failures = 0;
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok((link, Word { revoked, at })) => {
                    let figure = if revoked { &self.figures.revoked } else { &self.figures.good };
                    figure.fetch_add(1, Ordering::Relaxed);
                    self.revocation.responder_said(&link, revoked, at);
                    failures = 0;
                }
                Err(error) => {
                    self.figures.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(error = format!("{error:#}"), "no answer of the OCSP responder");
                    // That it knows nothing of one certificate says nothing of the next.
                    failures += usize::from(error.downcast_ref::<reqwest::Error>().is_some());
                    // A responder that is away is not asked fifty thousand times: the next round asks again.
                    if failures >= ENOUGH_FAILURES {
                        return;
                    }
                }
            }
        }
    }

    /// How long to wait before the next round.
    pub fn interval(&self) -> Duration {
        self.settings.interval
    }

    async fn ask(&self, leaf: &[u8], authorities: &[Authority]) -> Result<(ChainLink, Word)> {
        let link = ChainLink::of(&X509Certificate::from_der(leaf)?.1);
        let issuer = authorities.iter().find(|authority| authority.may_have_issued(&link));
        let issuer = X509::from_der(&issuer.context("no authority of ours issued it")?.der)?;
        let (leaf, question) = question(leaf, &issuer)?;
        let answer = self
            .http
            .post(&self.settings.url)
            .header("Content-Type", "application/ocsp-request")
            .body(question)
            .send()
            .await?
            .error_for_status()?;
        let bytes = bounded(answer).await?;
        Ok((link, believe(&bytes, &leaf, &issuer, authorities, self.clock.now())?))
    }
}

async fn bounded(mut answer: reqwest::Response) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        ensure!(bytes.len() <= MAXIMUM_ANSWER, "the answer is larger than {MAXIMUM_ANSWER} bytes");
    }
    Ok(bytes)
}

fn question(leaf: &[u8], issuer: &X509Ref) -> Result<(X509, Vec<u8>)> {
    let leaf = X509::from_der(leaf)?;
    let mut request = OcspRequest::new()?;
    request.add_id(OcspCertId::from_cert(MessageDigest::sha1(), &leaf, issuer)?)?;
    Ok((leaf, request.to_der()?))
}

/// What a responder said, and when.
#[derive(Clone, Copy, Debug)]
struct Word {
    revoked: bool,
    at: i64,
}

/// What the answer says, if it can be believed: signed by the issuer or by whom it named, about this certificate, and fresh by
/// our clock. `nextUpdate` may be missing, where newer word is always there: then a « good » counts for a day.
fn believe(
    bytes: &[u8],
    leaf: &X509Ref,
    issuer: &X509Ref,
    authorities: &[Authority],
    now: Timestamp,
) -> Result<Word> {
    let response = OcspResponse::from_der(bytes).context("not an OCSP answer")?;
    ensure!(response.status() == OcspResponseStatus::SUCCESSFUL, "the responder declines");
    let basic = response.basic()?;
    let mut store = X509StoreBuilder::new()?;
    for authority in authorities {
        store.add_cert(X509::from_der(&authority.der)?)?;
    }
    let mut signers = Stack::new()?;
    signers.push(issuer.to_owned())?;
    basic.verify(&signers, &store.build(), OcspFlag::empty()).context("its signature is not the issuer's")?;
    let about = OcspCertId::from_cert(MessageDigest::sha1(), leaf, issuer)?;
    let status = basic.find_status(&about).context("it is about another certificate")?;
    let this_update = instant(&status.this_update.to_string())?;
    ensure!(this_update <= now.as_second() + CLOCK_SKEW, "made in the future");
    let word = |revoked| Ok(Word { revoked, at: this_update });
    let until = match status.next_update() {
        Some(until) => Some(instant(&until.to_string())?),
        None => None,
    };
    ensure!(until.is_none_or(|until| until >= now.as_second()), "past its nextUpdate");
    match status.status {
        OcspCertStatus::REVOKED => word(true),
        OcspCertStatus::GOOD if until.is_none() && this_update + LONGEST_GOOD < now.as_second() => {
            bail!("an old answer without an end")
        }
        OcspCertStatus::GOOD => word(false),
        _ => bail!("the responder does not know the certificate"),
    }
}

/// Seconds since the epoch of `Nov 22 06:00:00 2026 GMT`, as OpenSSL prints an instant.
fn instant(text: &str) -> Result<i64> {
    let civil = jiff::civil::DateTime::strptime("%b %d %H:%M:%S %Y GMT", text)
        .with_context(|| format!("« {text} » is no instant"))?;
    Ok(civil.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    #[test]
    fn reads_the_instants_of_openssl() {
        for (text, second) in [("Nov 22 06:00:00 2026 GMT", 1_795_327_200), ("Jan  1 00:00:01 1970 GMT", 1)] {
            let time = openssl::asn1::Asn1Time::from_unix(second).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(super::instant(text).unwrap(), second);
        }
    }
}
