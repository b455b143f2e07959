//! What the sandbox shows of itself on its portal.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::fixtures::{self, PRACTICE};
use super::greeting::Greeting;
use crate::api::portal::demonstration::{
    CallShown, CardAsked, CardShown, Demonstration, FirstCall, NoticeShown, PatientShown, Platform, Taken,
};
use crate::certificate::{self, CertificateFacts};
use crate::environment::Environment;
use crate::homologation::run::Run;
use crate::homologation::seen::Seen;
use crate::notification::rules;
use crate::operations::Services;
use crate::pki::{Holder, HolderKind, PkiFolder};
use crate::server::DirectoryFiles;
use crate::store::{DatabaseConnection, DatabaseUrl, NoticeRow, TraceRow};

/// The last calls of everybody, without their bodies.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<Seen>>);

impl Recent {
    /// Calls that are remembered.
    const MOST: usize = 1_000;
    /// Characters of a path or a query that are.
    const LONGEST: usize = 1_000;

    pub(super) fn note(&self, seen: &Seen) {
        let short = |text: &str| text.chars().take(Self::LONGEST).collect::<String>();
        let light = Seen {
            at: seen.at,
            request_id: seen.request_id.clone(),
            method: seen.method.clone(),
            path: short(&seen.path),
            query: short(&seen.query),
            certificate: seen.certificate.clone(),
            status: seen.status,
            ..Seen::default()
        };
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() == Self::MOST {
            calls.pop_front();
        }
        calls.push_back(light);
    }

    /// Those of a certificate, the newest first.
    fn of(&self, certificate: &str, most: usize) -> Vec<Seen> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().rev().filter(|seen| seen.certificate == certificate).take(most).cloned().collect()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct SandboxDemonstration {
    pub base: String,
    pub greeting: Greeting,
    pub pki: PkiFolder,
    pub database: DatabaseUrl,
    pub environment: Environment,
    pub recent: Arc<Recent>,
    /// One card is made at a time.
    pub making: Arc<tokio::sync::Mutex<()>>,
    pub services: Arc<Services>,
    pub directory: DirectoryFiles,
}

/// Certificates of the folder with which nobody calls.
const NOT_CARDS: [&str; 3] = ["server", super::RENEWED, super::OURSELVES];
/// Calls that are shown.
const SHOWN: usize = 50;

impl SandboxDemonstration {
    fn is_card(&self, name: &str) -> Result<bool> {
        Ok(self.names()?.iter().any(|one| one == name))
    }

    async fn make(&self, asked: CardAsked) -> Result<()> {
        asked.check()?;
        let _one = self.making.lock().await;
        let is_free = |kind: &&str| !self.pki.path().join(format!("{}.{kind}", asked.name)).exists();
        let is_ours = NOT_CARDS.contains(&asked.name.as_str()) || is_of_run(&asked.name);
        ensure!(["pem", "key", "p12"].iter().all(is_free) && !is_ours, Taken);
        let (pki, now) = (PkiFolder::new(self.pki.path()), self.environment.now());
        // RSA keys: as long as many requests.
        tokio::task::spawn_blocking(move || {
            let holder = holder(&asked)?;
            pki.issue(&asked.name, &holder, now)?;
            if let (Some(id), Some(profession)) = (&holder.id, holder.profession) {
                pki.note_activity(id, profession, PRACTICE.0)?;
            }
            anyhow::Ok(())
        })
        .await??;
        super::take_directory(&self.directory, &self.services).await
    }
}

/// Whether a card is a run's: that of its kit is told of there.
fn is_of_run(name: &str) -> bool {
    Run::is_id(&name.get(..5).unwrap_or_default().to_ascii_uppercase())
}

/// Whom a card is made for.
fn holder(asked: &CardAsked) -> Result<Holder> {
    let (family, given) = (asked.family.trim().to_uppercase(), asked.given.trim().to_uppercase());
    let practice = |kind| Holder {
        structure: Some(PRACTICE.0.into()),
        structure_name: Some(PRACTICE.1.into()),
        ..Holder::new(kind)
    };
    Ok(match asked.kind.as_str() {
        "cps" => {
            let profession: u8 = asked.profession.parse().context("the profession is no code")?;
            let specialities = if profession == 10 { vec!["SM26".to_owned()] } else { Vec::new() };
            Holder {
                family: Some(family),
                given: Some(given),
                id: Some(format!("8{}", asked.rpps)),
                profession: Some(profession),
                specialities,
                ..practice(HolderKind::Cps)
            }
        }
        "cpe" => Holder {
            family: Some(family),
            given: Some(given),
            id: Some(format!("3750000101/{}", asked.name.to_uppercase())),
            structure: Some("3750000101".into()),
            ..practice(HolderKind::Cpe)
        },
        _ => Holder {
            common_name: Some(asked.family.trim().to_owned()),
            ..practice(HolderKind::OrganisationClient)
        },
    })
}

impl Demonstration for SandboxDemonstration {
    fn base(&self) -> &str {
        &self.base
    }

    fn certs(&self) -> String {
        self.pki.path().display().to_string()
    }

    fn first_calls(&self, platform: Platform) -> Vec<FirstCall> {
        self.greeting.calls(platform)
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = self.pki.names()?;
        names.retain(|name| !NOT_CARDS.contains(&name.as_str()) && !is_of_run(name));
        Ok(names)
    }

    fn cards(&self) -> Result<Vec<CardShown>> {
        let shown = |name: String| {
            let (kind, holder) = match CertificateFacts::read(&self.pki.certificate(&name)?) {
                Ok(facts) => (facts.kind.to_string(), facts.subject.to_string()),
                Err(unusable) => ("–".to_owned(), unusable.to_string()),
            };
            Ok(CardShown { name, kind, holder })
        };
        self.names()?.into_iter().map(shown).collect()
    }

    fn card(&self, name: &str, kind: &str) -> Result<PathBuf> {
        ensure!(["pem", "key", "p12"].contains(&kind) && self.is_card(name)?, "there is no such card");
        Ok(self.pki.path().join(format!("{name}.{kind}")))
    }

    fn issue(&self, asked: CardAsked) -> BoxFuture<'_, Result<()>> {
        self.make(asked).boxed()
    }

    fn patients(&self) -> &'static [PatientShown] {
        &fixtures::SHOWN
    }

    fn calls(&self, card: &str) -> Result<Vec<CallShown>> {
        ensure!(self.is_card(card)?, "there is no such card");
        let label = certificate::label(&self.pki.certificate(card)?);
        let mut connection = DatabaseConnection::open_for_reading(&self.database)?;
        let recent = self.recent.of(&label, SHOWN);
        let ids: Vec<&str> = recent.iter().map(|seen| seen.request_id.as_str()).collect();
        // A client may name several calls alike: then the last trace of that name is the one told of.
        let traces = TraceRow::of_requests(&mut connection, &label, &ids)?;
        let mut traces: HashMap<String, TraceRow> =
            traces.into_iter().map(|trace| (trace.request_id.clone(), trace)).collect();
        let mut shown = Vec::new();
        for seen in recent {
            let trace = traces.remove(&seen.request_id).unwrap_or_default();
            let notices = NoticeRow::of_trace(&mut connection, &trace, rules::of_trace)?;
            shown.push(CallShown {
                seen,
                operation: trace.operation,
                outcome: trace.outcome,
                rule: trace.rule,
                place: trace
                    .node
                    .zip(trace.leaf)
                    .map_or_else(String::new, |(node, leaf)| format!("{node} {leaf}")),
                notices: notices
                    .into_iter()
                    .map(|(notice, state)| NoticeShown {
                        kind: notice.kind,
                        channel: notice.channel,
                        told: notice.told,
                        state,
                    })
                    .collect(),
            });
        }
        Ok(shown)
    }
}
