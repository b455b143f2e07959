//! What a sandbox shows of itself on its portal: cards, patients, and the calls that were made with a card.

use std::fmt::Debug;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use futures_util::future::BoxFuture;

use super::professions;
use crate::homologation::seen::Seen;
use crate::identity::identifiers::IdentifierChecks;

/// Where commands are typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Linux and macOS: a shell, curl with PEM.
    Unix,
    /// PowerShell, curl.exe with PKCS#12.
    Windows,
}

impl Platform {
    /// All of them, with the word of a query and the name.
    pub const ALL: [(Platform, &str, &str); 2] =
        [(Platform::Unix, "unix", "Linux, macOS"), (Platform::Windows, "windows", "Windows (PowerShell)")];

    /// The one of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, of, _)| *of == word).map(|(platform, ..)| platform)
    }
}

/// One of the calls to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstCall {
    /// What it does.
    pub french: &'static str,
    /// The same.
    pub english: &'static str,
    /// To be pasted.
    pub command: String,
}

/// A test card.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardShown {
    /// Name of its files.
    pub name: String,
    /// `CPS`, `CPE` …
    pub kind: String,
    /// Whose it is.
    pub holder: String,
}

/// A demonstration patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatientShown {
    /// INS, of the test branch.
    pub ins: &'static str,
    /// Family name.
    pub family: &'static str,
    /// Given name.
    pub given: &'static str,
    /// ISO.
    pub birth_date: &'static str,
    /// What it is for, in French.
    pub french: &'static str,
    /// And in English.
    pub english: &'static str,
}

/// A notice that a call gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeShown {
    /// `consultation`, `urgence` …
    pub kind: &'static str,
    /// `courriel`, `webhook`.
    pub channel: &'static str,
    /// `patient`, or a professional.
    pub told: String,
    /// What became of it; `None`: nothing was sent, or an earlier call of that day gave it.
    pub state: Option<String>,
}

/// A call, with its trace.
#[derive(Clone, Debug)]
pub struct CallShown {
    /// As it went over the wire.
    pub seen: Seen,
    /// `TD3.1 search` …
    pub operation: String,
    /// `granted`, `refused`, `hidden`, `failed`.
    pub outcome: String,
    /// The rule that decided.
    pub rule: String,
    /// Node, and place in its log.
    pub place: String,
    /// Who was told.
    pub notices: Vec<NoticeShown>,
}

/// A card that is asked for.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct CardAsked {
    /// Name of its files.
    pub name: String,
    /// `cps`, `cpe`, `organisation`.
    pub kind: String,
    /// Family name of a person; common name of an organisation.
    pub family: String,
    /// Given name of a person.
    #[serde(default)]
    pub given: String,
    /// RPPS of a professional, eleven digits.
    #[serde(default)]
    pub rpps: String,
    /// TRE_G15, of a professional.
    #[serde(default)]
    pub profession: String,
}

impl CardAsked {
    /// What is said of it can be in a certificate, and its name can be that of a file.
    ///
    /// # Errors
    /// What cannot.
    pub fn check(&self) -> Result<()> {
        let plain = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        ensure!((1..=40).contains(&self.name.len()) && plain(&self.name), "name: 1 to 40 of a-z, 0-9, -");
        ensure!(["cps", "cpe", "organisation"].contains(&self.kind.as_str()), "kind: cps, cpe, organisation");
        for (what, text, least) in
            [("family", &self.family, 1), ("given", &self.given, usize::from(self.kind != "organisation"))]
        {
            let length = text.trim().chars().count();
            ensure!(
                (least..=60).contains(&length) && !text.chars().any(char::is_control),
                "{what}: {least} to 60 characters"
            );
        }
        if self.kind == "cps" {
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let checks = IdentifierChecks { keys: true, editor_accounts: false };
            let is_rpps = self.rpps.len() == 11
                && digits(&self.rpps)
                && checks.is_professional_id(&format!("8{}", self.rpps));
            ensure!(is_rpps, "rpps: eleven digits, of which the last is the key of the others");
            ensure!(professions::is_profession(&self.profession), "profession: a code of TRE_G15");
        }
        Ok(())
    }
}

/// There is a card of the name that was asked for, or one may come.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("there is a card of this name, or may be one")]
pub struct Taken;

/// The sandbox, as its portal shows it.
pub trait Demonstration: Debug + Send + Sync {
    /// `https://localhost:8443/fhir`.
    fn base(&self) -> &str;

    /// The folder of the cards, as it is to be typed.
    fn certs(&self) -> String;

    /// What to try first.
    fn first_calls(&self, platform: Platform) -> Vec<FirstCall>;

    /// The names of the cards that stand in the folder.
    ///
    /// # Errors
    /// It cannot be read.
    fn names(&self) -> Result<Vec<String>>;

    /// The cards of those names, with their holders.
    ///
    /// # Errors
    /// It cannot be read.
    fn cards(&self) -> Result<Vec<CardShown>>;

    /// A file of a card: `pem`, `key`, `p12`.
    ///
    /// # Errors
    /// There is none.
    fn card(&self, name: &str, kind: &str) -> Result<PathBuf>;

    /// Makes a card; [`Taken`] where its name is not free.
    fn issue(&self, asked: CardAsked) -> BoxFuture<'_, Result<()>>;

    /// The demonstration patients.
    fn patients(&self) -> &'static [PatientShown];

    /// The last calls of a card, the newest first.
    ///
    /// # Errors
    /// There is no such card, or its traces cannot be read.
    fn calls(&self, card: &str) -> Result<Vec<CallShown>>;
}
