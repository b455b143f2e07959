//! `[notices]`: who is told, and over which ways (docs/notices.md).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::notification::{MailSettings, NoticeSettings, WebhookSettings};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NoticesSection {
    mail: Option<MailSection>,
    webhook: Option<WebhookSection>,
    professionals: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MailSection {
    host: String,
    port: u16,
    tls: String,
    authority: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    from: String,
    more: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WebhookSection {
    url: String,
    key_file: PathBuf,
    authority: PathBuf,
}

impl NoticesSection {
    pub(super) fn read(self) -> Result<NoticeSettings> {
        let text = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let mail = self.mail.map(|mail| -> Result<MailSettings> {
            let credentials = match (mail.user, mail.password_file) {
                (Some(user), Some(path)) => Some((user, text(&path)?.trim_end().to_owned())),
                (None, None) => None,
                _ => bail!("notices.mail wants user and password-file, or neither"),
            };
            Ok(MailSettings {
                host: mail.host,
                port: mail.port,
                implicit_tls: match mail.tls.as_str() {
                    "implicit" => true,
                    "starttls" => false,
                    _ => bail!("notices.mail.tls is implicit or starttls: e-mails never leave in the clear"),
                },
                authority: mail.authority,
                credentials,
                from: mail.from,
                more: mail.more,
            })
        });
        let webhook = self.webhook.map(|webhook| -> Result<WebhookSettings> {
            ensure!(webhook.url.starts_with("https://"), "notices.webhook.url begins with https://");
            let key = text(&webhook.key_file)?.trim_end().as_bytes().to_vec();
            ensure!(key.len() >= 32, "the key of notices.webhook has 32 bytes at least");
            Ok(WebhookSettings { url: webhook.url, key, authority: webhook.authority })
        });
        let mut professionals = HashMap::new();
        if let Some(path) = &self.professionals {
            for line in text(path)?.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let (id, address) = line.split_once('\t').with_context(|| {
                    format!("{}: a line is PS_IdNat, a tab, and an address", path.display())
                })?;
                professionals.insert(id.to_owned(), address.trim().to_owned());
            }
        }
        Ok(NoticeSettings { mail: mail.transpose()?, webhook: webhook.transpose()?, professionals })
    }
}
