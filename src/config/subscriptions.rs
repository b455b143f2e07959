//! `[subscriptions]`: where software may have itself told what becomes of a record (docs/subscriptions.md).

use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::notification::follow::{AllowList, SubscriptionSettings};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SubscriptionsSection {
    hosts: Vec<String>,
    authority: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl SubscriptionsSection {
    pub(super) fn read(self) -> Result<SubscriptionSettings> {
        let Self { hosts, authority, certificate, key } = self;
        ensure!(!hosts.is_empty(), "subscriptions.hosts names no host");
        ensure!(!AllowList::read(&hosts)?.has_any_port(), "subscriptions.hosts: a port is a number");
        Ok(SubscriptionSettings { hosts, authority, certificate, key })
    }
}
