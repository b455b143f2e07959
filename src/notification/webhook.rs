//! Notices to the SI Mon espace santé, by a signed webhook to its one address.

use anyhow::{Context, Result};
use aws_lc_rs::hmac;
use serde_json::json;

use super::WebhookSettings;
use crate::fhir::elements::to_instant;
use crate::store::NoticeRow;
use crate::tls::outgoing::trusting;

/// The header of the signature: `t=SECONDS,v1=HEX`, HMAC-SHA-256 over `SECONDS.BODY`.
const SIGNATURE: &str = "Habilis-Signature";

/// Posts notices.
pub(super) struct Webhook {
    http: reqwest::Client,
    url: String,
    key: hmac::Key,
}

impl Webhook {
    pub fn new(settings: &WebhookSettings) -> Result<Self> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(trusting(&settings.authority)?)
            .timeout(std::time::Duration::from_secs(20))
            // Whoever redirects, or stands between, would have it sent where nobody allowed.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .context("notices.webhook")?;
        Ok(Self { http, url: settings.url.clone(), key: hmac::Key::new(hmac::HMAC_SHA256, &settings.key) })
    }

    /// Posts one; the id is the same each time it is sent.
    ///
    /// # Errors
    /// Why it did not arrive, without the receiver's words.
    pub async fn send(&self, notice: &NoticeRow, now: i64) -> Result<(), String> {
        let body = json!({
            "id": notice.id,
            "nature": notice.kind,
            "dossier": notice.record_id,
            "le": to_instant(notice.at),
            "acteur": notice.actor,
            "type": notice.actor_kind,
            "structure": notice.structure,
            "mode": notice.mode,
        })
        .to_string();
        let seconds = now.div_euclid(1_000_000);
        let signature = hmac::sign(&self.key, format!("{seconds}.{body}").as_bytes());
        let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = self
            .http
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", &notice.id)
            .header(SIGNATURE, format!("t={seconds},v1={hex}"))
            .body(body);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(format!("the receiver answers {}", answer.status().as_u16())),
            Err(error) if error.is_timeout() => Err("the receiver does not answer in time".to_owned()),
            Err(_) => Err("the receiver is not reached".to_owned()),
        }
    }
}
