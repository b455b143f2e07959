//! What the portal and the listener know of a kit: the sandbox has one.

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use futures_util::future::BoxFuture;

use super::report::Report;
use super::run::Run;
use super::seen::Seen;

/// What a vendor says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Asked {
    /// Who plays.
    pub name: String,
    /// Which software, and its version.
    pub software: String,
    /// Its DMP profile.
    pub profile: String,
}

impl Asked {
    /// Said, and short.
    ///
    /// # Errors
    /// Which of it is missing or too long.
    pub fn check(&self) -> Result<()> {
        for (what, text) in [("name", &self.name), ("software", &self.software), ("profile", &self.profile)] {
            if text.trim().is_empty() || text.chars().count() > 100 || text.chars().any(char::is_control) {
                bail!("{what}: 1 to 100 characters");
            }
        }
        Ok(())
    }
}

/// What a patient of a run may do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Opposes that the record is fed (R1111-47).
    Oppose,
    /// No longer.
    Allow,
    /// Blocks the first doctor of the run.
    Block,
    /// No longer.
    Unblock,
    /// Closes the record.
    Close,
    /// Opens it again.
    Reopen,
}

impl Act {
    /// All of them, with the word of a path and that of a button.
    pub const ALL: [(Act, &str, &str); 6] = [
        (Act::Oppose, "opposer", "s'opposer à l'alimentation"),
        (Act::Allow, "accepter", "lever l'opposition"),
        (Act::Block, "bloquer", "bloquer le médecin"),
        (Act::Unblock, "debloquer", "débloquer le médecin"),
        (Act::Close, "fermer", "fermer le dossier"),
        (Act::Reopen, "rouvrir", "rouvrir le dossier"),
    ];

    /// The one of a word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, of, _)| *of == word).map(|(act, ..)| act)
    }
}

/// A homologation kit.
pub trait Kit: Debug + Send + Sync {
    /// Whether a certificate, as traces name it, is of a run: the bodies of others are not looked at.
    fn watches(&self, certificate: &str) -> bool;

    /// Remembers a call; writes down one that was watched. What cannot be written is lost, and said in the log.
    fn note(&self, seen: &Seen, watched: bool);

    /// All runs, the oldest first.
    ///
    /// # Errors
    /// They cannot be read.
    fn runs(&self) -> Result<Vec<Run>>;

    /// A run, judged.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    fn report(&self, id: &str) -> Result<Report>;

    /// The file of a card of a run: `pem`, `key`, `p12`.
    ///
    /// # Errors
    /// There is none.
    fn card(&self, id: &str, name: &str, kind: &str) -> Result<PathBuf>;

    /// The authorities that the server's own certificate comes from, a PEM file.
    fn authorities(&self) -> &Path;

    /// Opens a run: cards and patients of its own.
    fn open(&self, asked: Asked) -> BoxFuture<'_, Result<Run>>;

    /// A patient of a run does something.
    fn act<'a>(&'a self, id: &'a str, patient: &'a str, act: Act) -> BoxFuture<'a, Result<()>>;
}
