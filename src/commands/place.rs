//! Where a server's things lie, for commands that work on them beside it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use habilis::audit::checkpoint::{CheckpointFolders, Signer, Verifier};
use habilis::audit::checkpointer::AuditSettings;
use habilis::config::{self, Places};
use habilis::sandbox;
use habilis::store::{
    BodyStore, BodyStoreLocation, DatabaseConnection, DatabaseUrl, LogState, Store, StoreLimits,
};

/// Where a server's things lie.
#[derive(Args)]
pub struct Place {
    /// A server's configuration; without it, a sandbox's folders.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The sandbox's data folder.
    #[arg(long, default_value = "./data")]
    data: PathBuf,
    /// The sandbox's PKI.
    #[arg(long, default_value = "./certs/sandbox")]
    certs: PathBuf,
    /// The database, where it is not the one that the folder or the configuration says.
    #[arg(long)]
    database: Option<String>,
}

impl Place {
    /// Reads where.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub fn read(&self) -> Result<Places> {
        let mut places = match &self.config {
            Some(config) => config::read_places(config)?,
            None => Places {
                database: DatabaseUrl::Sqlite(self.data.join("habilis.db")),
                bodies: BodyStoreLocation::Folder(self.data.join("bodies")),
                encryption: sandbox::encryption(&self.certs),
                audit: AuditSettings {
                    origin: sandbox::AUDIT_ORIGIN.to_owned(),
                    node: "1".to_owned(),
                    key: self.certs.join("audit.key"),
                    checkpoints: vec![self.data.join("checkpoints")],
                    interval: Duration::from_secs(5),
                },
            },
        };
        if let Some(url) = &self.database {
            places.database = DatabaseUrl::parse(url)?;
        }
        Ok(places)
    }
}

impl Place {
    /// For what cannot be undone: the database is the one whose log the checkpoints are of, and no other that somebody named beside them.
    ///
    /// # Errors
    /// It is another one, or cannot be read.
    pub fn must_belong_together(&self, places: &Places) -> Result<()> {
        if self.config.is_some() && self.database.is_none() {
            return Ok(());
        }
        let (folders, verifier) = evidence(places)?;
        let node = &places.audit.node;
        let newest = folders.newest(node, &verifier)?;
        let states = LogState::all(&mut DatabaseConnection::open_for_reading(&places.database)?)?;
        let noted = states.into_iter().find(|state| state.node == *node).and_then(|state| state.checkpoint);
        let same = newest
            .zip(noted)
            .is_some_and(|((_, signed), noted)| signed.size == noted.size() && signed.root == noted.root());
        ensure!(
            same,
            "the database is not that of the checkpoints in {}: name --config (or try again in some seconds)",
            places.audit.checkpoints.first().map(|path| path.display().to_string()).unwrap_or_default()
        );
        Ok(())
    }
}

/// The store, beside the server that has it open.
///
/// # Errors
/// Database, bodies or keys cannot be opened.
pub fn store(places: &Places) -> Result<Store> {
    let limits = StoreLimits { readers: 2, node: places.audit.node.clone(), ..StoreLimits::default() };
    // First: where there is no key, nothing is made of what is not there either.
    let vault = places
        .encryption
        .vault()
        .context("no keys: a sandbox makes its own when it begins; a server's are named by --config")?;
    Store::open_beside(&places.database, BodyStore::open(&places.bodies)?, vault, &limits)
}

/// What proofs are held against.
///
/// # Errors
/// The key cannot be read.
pub fn evidence(places: &Places) -> Result<(CheckpointFolders, Verifier)> {
    Ok((CheckpointFolders::of(&places.audit.checkpoints), verifier(places)?))
}

/// The public key of the key that signs here.
///
/// # Errors
/// The key cannot be read.
pub fn verifier(places: &Places) -> Result<Verifier> {
    Ok(Signer::read(&places.audit.origin, &places.audit.key)?.verifier())
}
