//! Everything a newcomer needs, in one command: test PKI, database, demonstration patients, then the server.

pub mod example;
mod fixtures;
mod greeting;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

pub use fixtures::{holders, records};

use crate::environment::Environment;
use crate::operations::{Services, Strictness};
use crate::pki::{Authority, PkiFolder};
use crate::rights::HabilitationMatrix;
use crate::server::{self, Listening, Settings};
use crate::store::{BodyStoreLocation, DatabaseUrl, StoreLimits};

/// What a sandbox is started with.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// Database, bodies, examples.
    pub data: PathBuf,
    /// Test PKI.
    pub certs: PathBuf,
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the portal listens.
    pub portal: SocketAddr,
    /// The database; SQLite in the data folder unless given.
    pub database: Option<String>,
    /// More records, a TSV file.
    pub records: Option<PathBuf>,
    /// Holds feeds to the profiles.
    pub strict: bool,
    /// Workers; as many as cores unless given.
    pub workers: Option<usize>,
    /// How long a request's body may take to arrive.
    pub body_deadline: Duration,
}

/// A sandbox that is ready to serve.
#[derive(Debug)]
pub struct Sandbox {
    settings: Settings,
    services: Arc<Services>,
    options: SandboxOptions,
}

impl Sandbox {
    /// Makes what is not there yet, keeps what is.
    ///
    /// # Errors
    /// Whatever keeps PKI, database or examples from being made.
    pub async fn prepare(
        options: SandboxOptions,
        environment: Environment,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Self> {
        let database = match &options.database {
            Some(url) => DatabaseUrl::parse(url)?,
            None => DatabaseUrl::Sqlite(options.data.join("habilis.db")),
        };
        let pki = PkiFolder::new(&options.certs);
        let now = environment.now();
        if pki.is_complete() {
            if !pki.lists_are_fresh(now) {
                pki.refresh_lists(now)?;
            }
        } else {
            create_pki(&pki, &environment, progress)?;
        }
        std::fs::create_dir_all(&options.data)
            .with_context(|| format!("cannot make the folder {}", options.data.display()))?;
        let mut settings = Settings {
            api: options.api,
            portal: options.portal,
            base: None,
            certificate: options.certs.join("server.pem"),
            key: options.certs.join("server.key"),
            trust: pki.trust(),
            database,
            bodies: BodyStoreLocation::Folder(options.data.join("bodies")),
            matrix: HabilitationMatrix::demonstration()?,
            strictness: if options.strict { Strictness::Strict } else { Strictness::Tolerant },
            authorisation_days: 365,
            maximum_body: 64 << 20,
            store_limits: StoreLimits::default(),
            home: String::new(),
            workers: options.workers,
            body_deadline: options.body_deadline,
        };
        let services = server::services(&mut settings, environment)?;
        progress("records");
        fixtures::fill(&services, options.records.as_deref()).await?;
        example::write(&options.data.join("examples"))?;
        Ok(Self { settings, services, options })
    }

    /// Serves until it is stopped; says how to begin, then `ready`.
    ///
    /// # Errors
    /// Whatever keeps a listener from starting.
    pub async fn serve(mut self, ready: impl FnOnce(&Listening, &str)) -> Result<()> {
        let greeting = greeting::Greeting::new(&self.options);
        self.settings.home = greeting.html();
        let services = Arc::clone(&self.services);
        server::serve(self.settings, services, |listening| ready(listening, &greeting.text(listening))).await
    }

    /// What operations work with.
    pub fn services(&self) -> Arc<Services> {
        Arc::clone(&self.services)
    }
}

/// Makes the test PKI alone, unless it stands there.
///
/// # Errors
/// Whatever keeps it from being made.
pub fn make_pki(folder: &Path, environment: &Environment) -> Result<()> {
    let pki = PkiFolder::new(folder);
    if pki.is_complete() { Ok(()) } else { create_pki(&pki, environment, &|_| {}) }
}

/// Number of steps that [`Sandbox::prepare`] tells of when it makes the PKI.
pub fn steps() -> u64 {
    // Three roots, three authorities, the holders, the server, the records.
    3 + 3 + fixtures::holders().len() as u64 + 2
}

fn create_pki(pki: &PkiFolder, environment: &Environment, progress: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let now = environment.now();
    let mut holders = fixtures::holders();
    let unknown = holders.iter().position(|(name, _)| *name == "cps-inconnu").map(|at| holders.remove(at));
    holders.push(("server", fixtures::server()));
    pki.create(&holders, now, progress)?;
    if let Some((name, holder)) = unknown {
        pki.issue_under(name, &holder, &Authority::unknown(now)?, now)?;
        progress(name);
    }
    pki.revoke("cps-revoque", now)
}
