//! Who is told of what was done (R1111-43, L1111-18): the patient of a professional's first access, of each consultation, feed and emergency; the
//! médecin traitant of each emergency.
//!
//! ```text
//! trace (in the commit of its effect) ─► rules ─► notice ─► lease ─► who may know, now? ─► e-mail, webhook ─► sent
//!                                                             └─ again, later and later ─► dead, for the operator to see
//! ```
//!
//! The log of traces is the outbox (decision 0031).

pub mod deliver;
pub mod follow;
mod mail;
pub mod rules;
mod webhook;

use std::collections::HashMap;
use std::path::PathBuf;

/// Where notices go. Whatever is not configured is not sent that way.
#[derive(Clone, Debug, Default)]
pub struct NoticeSettings {
    /// E-mail.
    pub mail: Option<MailSettings>,
    /// The SI Mon espace santé.
    pub webhook: Option<WebhookSettings>,
    /// PS_IdNat → address of MSSanté, of professionals who are told of emergencies.
    pub professionals: HashMap<String, String>,
}

impl NoticeSettings {
    /// Whether anybody is told anything.
    pub fn is_empty(&self) -> bool {
        self.mail.is_none() && self.webhook.is_none()
    }
}

/// How e-mails leave.
#[derive(Clone, Debug)]
pub struct MailSettings {
    /// Host of the relay: its certificate is for this name.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS from the first byte, or by STARTTLS. Never without.
    pub implicit_tls: bool,
    /// An authority beside those of the system, PEM.
    pub authority: Option<PathBuf>,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// The sender's address.
    pub from: String,
    /// Where the patient reads more: the address of Mon espace santé.
    pub more: String,
}

/// The signed webhook.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// The one address to which anything is sent.
    pub url: String,
    /// The key of the signature (HMAC-SHA-256), shared with the receiver.
    pub key: Vec<u8>,
    /// The authorities to which its certificate leads, PEM; none of the system's.
    pub authority: PathBuf,
}
