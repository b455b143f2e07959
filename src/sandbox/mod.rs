//! Everything a newcomer needs, in one command: test PKI, database, demonstration patients, then the server.

mod demonstration;
pub mod example;
mod fixtures;
mod greeting;
mod homologation;
pub mod pro_sante_connect;
mod pro_sante_connect_users;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

pub use fixtures::{holders, records};

use crate::api::hostile::Hostile;
use crate::api::limits::Budgets;
use crate::audit::checkpointer::AuditSettings;
use crate::environment::Environment;
use crate::identity::identifiers::IdentifierChecks;
use crate::identity::patient_side::PatientSideList;
use crate::identity::pro_sante_connect::Client;
use crate::identity::software::Unregistered;
use crate::identity::tokens::Lifetimes;
use crate::notification::NoticeSettings;
use crate::notification::follow::SubscriptionSettings;
use crate::operations::{Services, Strictness};
use crate::pki::{Authority, PkiFolder};
use crate::rights::{HabilitationMatrix, Parameters};
use crate::sealing::{EncryptionSettings, make_key_file};
use crate::server::{self, DirectoryFiles, Listening, SessionSettings, Settings, SoftwareFile};
use crate::store::{BodyStoreLocation, DatabaseUrl, StoreLimits};
use crate::tls::ocsp::OcspSettings;
use crate::tls::verifier::ReloadableVerifier;
use crate::tls::{Revocation, TrustFolder, listener};
use pro_sante_connect::StandIn;

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
    /// The public base, where it is not that of the listener: several nodes have one.
    pub base: Option<String>,
    /// The name of this process among those that share the database.
    pub node: String,
    /// Bytes on the disk that are kept for traces; 0: none.
    pub reserve: u64,
    /// The database; SQLite in the data folder unless given.
    pub database: Option<String>,
    /// More records, a TSV file.
    pub records: Option<PathBuf>,
    /// Holds feeds to the profiles.
    pub strict: bool,
    /// Where the stand-in of Pro Santé Connect listens.
    pub pro_sante_connect: SocketAddr,
    /// Budgets of callers. None: as often as they like.
    pub budgets: Option<Budgets>,
    /// Bytes of a request's body, at most.
    pub maximum_body: usize,
    /// How long after its request an answer leaves that could tell of what is hidden. Zero: at once.
    pub even_answers: Duration,
    /// A registry of software, in place of the sandbox's own.
    pub software: Option<PathBuf>,
    /// What happens to software that the registry does not know.
    pub unregistered: Unregistered,
    /// A responder that is asked beside the revocation lists.
    pub ocsp: Option<OcspSettings>,
    /// Who is told of what was done, and how: nobody, unless given.
    pub notices: NoticeSettings,
    /// Workers; as many as cores unless given.
    pub workers: Option<usize>,
    /// How long a request's body may take to arrive.
    pub body_deadline: Duration,
    /// Units of work in one commit, at most.
    pub batch: usize,
    /// See [`Settings::drain`].
    pub drain: Duration,
    /// How clients are troubled.
    pub hostile: Option<Hostile>,
    /// Bodies of up to so many bytes lie in the database.
    pub small_bodies: u64,
    /// Where the others lie: in a folder of the data, unless given.
    pub bodies: Option<BodyStoreLocation>,
}

/// A sandbox that is ready to serve.
#[derive(Debug)]
pub struct Sandbox {
    settings: Settings,
    services: Arc<Services>,
    options: SandboxOptions,
    stand_in: StandIn,
    provider: pro_sante_connect::Running,
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
        let trust = pki.trust();
        complete_pki(&pki, &environment)?;
        if options.hostile.is_some() && !options.certs.join(format!("{RENEWED}.pem")).exists() {
            pki.issue(RENEWED, &fixtures::server(), environment.now())?;
        }
        let stand_in = StandIn::new(environment.clone())?;
        let provider = provide(&options, &stand_in, &trust, &environment)?;
        std::fs::create_dir_all(&options.data)
            .with_context(|| format!("cannot make the folder {}", options.data.display()))?;
        let mut settings = Settings {
            api: options.api,
            portal: options.portal,
            base: options.base.clone(),
            certificate: options.certs.join("server.pem"),
            key: options.certs.join("server.key"),
            trust,
            database,
            bodies: options
                .bodies
                .clone()
                .unwrap_or_else(|| BodyStoreLocation::Folder(options.data.join("bodies"))),
            matrix: HabilitationMatrix::demonstration()?,
            parameters: Parameters::default(),
            patient_side: PatientSideList::new([(
                fixtures::PATIENT_SIDE.0.to_owned(),
                fixtures::PATIENT_SIDE.1.to_owned(),
            )]),
            sessions: session_settings(&options, &pki, &provider)?,
            budgets: options.budgets,
            even_answers: options.even_answers,
            ocsp: options.ocsp.clone(),
            strictness: if options.strict { Strictness::Strict } else { Strictness::Tolerant },
            authorisation_days: 365,
            maximum_body: options.maximum_body,
            subscriptions: SubscriptionSettings {
                hosts: vec!["localhost:*".to_owned()],
                authority: options.certs.join("ca.pem"),
                certificate: options.certs.join(format!("{OURSELVES}.pem")),
                key: options.certs.join(format!("{OURSELVES}.key")),
            },
            notices: options.notices.clone(),
            store_limits: StoreLimits {
                node: options.node.clone(),
                reserve: options.reserve,
                batch: options.batch,
                small_bodies: options.small_bodies,
                ..StoreLimits::default()
            },
            encryption: operator_keys(&options.certs)?,
            audit: AuditSettings {
                origin: AUDIT_ORIGIN.to_owned(),
                node: options.node.clone(),
                key: pki.audit_key()?,
                checkpoints: vec![options.data.join("checkpoints")],
                interval: server::CHECKPOINTS,
            },
            demonstration: None,
            renewed: options
                .hostile
                .map(|_| ["pem", "key"].map(|kind| options.certs.join(format!("{RENEWED}.{kind}"))).into()),
            workers: options.workers,
            body_deadline: options.body_deadline,
            drain: options.drain,
            hostile: options.hostile,
            kit: None,
        };
        let services = server::services(&mut settings, environment)?;
        progress("records");
        fixtures::fill(&services, options.records.as_deref()).await?;
        example::write(&options.data.join("examples"))?;
        Ok(Self { settings, services, options, stand_in, provider })
    }

    /// Serves until it is stopped; says how to begin, then `ready`.
    ///
    /// # Errors
    /// Whatever keeps a listener from starting.
    pub async fn serve(mut self, ready: impl FnOnce(&Listening, &str)) -> Result<()> {
        let greeting = greeting::Greeting::new(&self.options, &self.provider.base);
        let services = Arc::clone(&self.services);
        let recent = Arc::new(demonstration::Recent::default());
        // Cards and runs write one directory.
        let making = Arc::new(tokio::sync::Mutex::default());
        self.settings.demonstration = Some(Arc::new(demonstration::SandboxDemonstration {
            base: self
                .options
                .base
                .clone()
                .unwrap_or_else(|| format!("https://localhost:{}/fhir", self.options.api.port())),
            greeting: greeting.clone(),
            pki: PkiFolder::new(&self.options.certs),
            database: self.settings.database.clone(),
            environment: services.environment.clone(),
            recent: Arc::clone(&recent),
            making: Arc::clone(&making),
            services: Arc::clone(&services),
            directory: self.settings.sessions.directory.clone(),
        }));
        self.settings.kit = Some(Arc::new(homologation::SandboxKit::new(
            &self.options.data,
            &self.options.certs,
            self.settings.database.clone(),
            Arc::clone(&services),
            recent,
            self.settings.sessions.directory.clone(),
            making,
        )));
        let served =
            server::serve(self.settings, services, |listening| ready(listening, &greeting.text(listening)))
                .await;
        self.provider.stop(false).await;
        served
    }

    /// The stand-in of Pro Santé Connect.
    pub fn stand_in(&self) -> StandIn {
        self.stand_in.clone()
    }

    /// What operations work with.
    pub fn services(&self) -> Arc<Services> {
        Arc::clone(&self.services)
    }
}

/// Takes the directory as it stands now, rather than when it is next looked at.
async fn take_directory(files: &DirectoryFiles, services: &Services) -> Result<()> {
    let files = files.clone();
    let read = tokio::task::spawn_blocking(move || files.read()).await??;
    services.sessions.directory.store(Arc::new(read));
    Ok(())
}

/// What the sandbox's logs are called by.
pub const AUDIT_ORIGIN: &str = "sandbox.habilis";
/// The certificate that a hostile sandbox shows now and then.
const RENEWED: &str = "server-renewed";
/// Our own certificate towards Pro Santé Connect.
const OURSELVES: &str = "habilis";
/// The `client_id` of the software of `org-psc` at Pro Santé Connect.
pub const CLIENT_ID: &str = "lps-de-demonstration";

/// Starts the stand-in of Pro Santé Connect, over mutual TLS with the test PKI.
fn provide(
    options: &SandboxOptions,
    stand_in: &StandIn,
    trust: &TrustFolder,
    environment: &Environment,
) -> Result<pro_sante_connect::Running> {
    let trust = trust.load(environment.now())?;
    let revocation = Arc::new(Revocation::default());
    trust.enforce(&revocation);
    let verifier = ReloadableVerifier::new(&trust, revocation, listener::crypto_provider())?;
    let tls = listener::server_config(
        &options.certs.join("server.pem"),
        &options.certs.join("server.key"),
        Arc::new(verifier),
        environment.clock(),
    )?;
    let (running, server) = stand_in.serve(options.pro_sante_connect, tls)?;
    actix_web::rt::spawn(server);
    Ok(running)
}

fn session_settings(
    options: &SandboxOptions,
    pki: &PkiFolder,
    provider: &pro_sante_connect::Running,
) -> Result<SessionSettings> {
    Ok(SessionSettings {
        key: pki.token_key()?,
        older_keys: Vec::new(),
        lifetimes: Lifetimes::default(),
        directory: DirectoryFiles {
            professionals: Some(pki.directory()),
            structures: None,
            built_in: (fixtures::PROFESSIONALS.to_owned(), fixtures::STRUCTURES.to_owned()),
        },
        software: SoftwareFile {
            path: options.software.clone(),
            built_in: fixtures::SOFTWARE.to_owned(),
            allowed: None,
            unregistered: options.unregistered,
        },
        pro_sante_connect: Some(crate::identity::pro_sante_connect::Settings {
            issuer: provider.base.clone(),
            anchors: options.certs.join("ca.pem"),
            certificate: options.certs.join(format!("{OURSELVES}.pem")),
            key: options.certs.join(format!("{OURSELVES}.key")),
            client_id: "habilis".to_owned(),
            jwks: true,
            clients: vec![Client {
                client_id: CLIENT_ID.to_owned(),
                structure: "1750000036".to_owned(),
                common_name: "LPS avec e-CPS".to_owned(),
            }],
            patience: Duration::from_secs(3),
        }),
        checks: IdentifierChecks { keys: true, editor_accounts: true },
    })
}

/// Makes the test PKI alone, unless it stands there.
///
/// # Errors
/// Whatever keeps it from being made.
pub fn make_pki(folder: &Path, environment: &Environment) -> Result<()> {
    let pki = PkiFolder::new(folder);
    if !pki.is_complete() {
        create_pki(&pki, environment, &|_| {})?;
    }
    complete_pki(&pki, environment)
}

/// Number of steps that [`Sandbox::prepare`] tells of when it makes the PKI.
pub fn steps() -> u64 {
    // Three roots, three authorities, the holders, the server, the records.
    3 + 3 + fixtures::holders().len() as u64 + 3
}

/// What a PKI of an earlier version lacks.
fn complete_pki(pki: &PkiFolder, environment: &Environment) -> Result<()> {
    pki.token_key()?;
    pki.audit_key()?;
    let directory = pki.directory();
    if !directory.exists() {
        std::fs::write(&directory, "# PS_IdNat, profession, Struct_IdNat\n")
            .with_context(|| format!("cannot write {}", directory.display()))?;
    }
    if !pki.path().join(format!("{OURSELVES}.pem")).exists() {
        pki.issue(OURSELVES, &fixtures::ourselves(), environment.now())?;
    }
    Ok(())
}

fn create_pki(pki: &PkiFolder, environment: &Environment, progress: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let now = environment.now();
    let mut holders = fixtures::holders();
    let unknown = holders.iter().position(|(name, _)| *name == "cps-inconnu").map(|at| holders.remove(at));
    holders.push(("server", fixtures::server()));
    holders.push((OURSELVES, fixtures::ourselves()));
    pki.create(&holders, now, progress)?;
    if let Some((name, holder)) = unknown {
        pki.issue_under(name, &holder, &Authority::unknown(now)?, now)?;
        progress(name);
    }
    pki.revoke("cps-revoque", now)
}

/// The sandbox's key of encryption at rest: with its other secrets, apart from the data.
pub fn encryption(certs: &Path) -> EncryptionSettings {
    EncryptionSettings { keys: certs.join("operator-keys"), current: "sandbox".to_owned() }
}

/// The same, made where there is none yet.
///
/// # Errors
/// A key cannot be made.
pub fn operator_keys(certs: &Path) -> Result<EncryptionSettings> {
    let settings = encryption(certs);
    let made = settings.keys.join(format!("{}.key", settings.current));
    // Of two sandboxes that begin at once, one makes it.
    if !made.exists()
        && let Err(error) = make_key_file(&settings.keys, &settings.current)
        && !made.exists()
    {
        return Err(error);
    }
    Ok(settings)
}
