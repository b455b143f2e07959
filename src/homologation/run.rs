//! A run: who plays, with which cards, on which patients. A file of its own in the sandbox's data.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// One run of a vendor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// `R0001`: the name of its folder.
    pub id: String,
    /// Who plays.
    pub name: String,
    /// Which software, and its version.
    pub software: String,
    /// Its DMP profile.
    pub profile: String,
    /// ISO.
    pub opened: String,
    /// What it has been given, by what each is for.
    pub patients: BTreeMap<String, Patient>,
    /// Certificates, by the names of their files: whose they are.
    pub cards: BTreeMap<String, String>,
    /// Serial numbers of its certificates, hexadecimal: what a call is known by.
    pub serials: Vec<String>,
    /// PS_IdNat of its professionals, in the order of the cards.
    pub professionals: Vec<String>,
}

/// A serial number, however it is written.
fn bare(serial: &str) -> String {
    serial.trim_start_matches('0').to_ascii_lowercase()
}

/// A patient of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patient {
    /// INS, of the test branch.
    pub ins: String,
    /// Family name.
    pub family: String,
    /// Given name.
    pub given: String,
    /// ISO.
    pub birth_date: String,
    /// `Patient.id`; empty: there is no record.
    pub record_id: String,
    /// What it is for, to be read (FR).
    pub what_for: String,
}

impl Run {
    /// Whether a certificate, as traces name it, is one of this run's.
    pub fn has_card(&self, certificate: &str) -> bool {
        let serial = bare(certificate.rsplit(" / ").next().unwrap_or_default());
        !serial.is_empty() && self.serials.iter().any(|one| bare(one) == serial)
    }

    /// The folder of all runs.
    pub fn folder_of(data: &Path) -> PathBuf {
        data.join("homologation")
    }

    /// The folder of this one.
    pub fn folder(&self, data: &Path) -> PathBuf {
        Self::folder_of(data).join(&self.id)
    }

    /// Whether a text is the name of a run: it names a folder.
    pub fn is_id(text: &str) -> bool {
        text.len() == 5 && text.starts_with('R') && text.bytes().skip(1).all(|byte| byte.is_ascii_digit())
    }

    /// The run's number.
    pub fn number(&self) -> u32 {
        self.id.trim_start_matches('R').parse().unwrap_or_default()
    }

    /// Reads one.
    ///
    /// # Errors
    /// There is none of this name, or its file cannot be read.
    pub fn read(data: &Path, id: &str) -> Result<Self> {
        ensure!(Self::is_id(id), "« {id} » is no run: R and four digits");
        let path = Self::folder_of(data).join(id).join("run.json");
        let text = std::fs::read_to_string(&path).with_context(|| format!("there is no run {id}"))?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// All, the oldest first.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn all(data: &Path) -> Result<Vec<Self>> {
        let Ok(entries) = std::fs::read_dir(Self::folder_of(data)) else { return Ok(Vec::new()) };
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let mut names: Vec<String> = names.collect::<std::io::Result<_>>()?;
        names.retain(|name| Self::is_id(name));
        names.sort_unstable();
        // One that is being opened has no file yet.
        Ok(names.iter().filter_map(|name| Self::read(data, name).ok()).collect())
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file system's.
    pub fn write(&self, data: &Path) -> Result<()> {
        let folder = self.folder(data);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let (made, path) = (folder.join("run.made"), folder.join("run.json"));
        std::fs::write(&made, serde_json::to_string_pretty(self)?)?;
        std::fs::rename(&made, &path).with_context(|| path.display().to_string())
    }
}
