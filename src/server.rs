//! Assembles listeners, workers and background tasks.

mod background;
mod reloading;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;

use crate::api::hostile::Hostile;
use crate::api::limits::{Budgets, Limits};
use crate::api::pace::Pace;
use crate::api::portal::demonstration::Demonstration;
use crate::api::{self, Api, RequestLimits, gate, peer, portal};
use crate::audit::checkpoint::Signer;
use crate::audit::checkpointer::{AuditSettings, Checkpointer};
use crate::environment::Environment;
use crate::fhir::codes::Codes;
use crate::homologation::kit::Kit;
use crate::identity::directory::Directory;
use crate::identity::identifiers::IdentifierChecks;
use crate::identity::patient_side::PatientSideList;
use crate::identity::pro_sante_connect::{self, ProSanteConnect};
use crate::identity::software::{SoftwareRegistry, Unregistered};
use crate::identity::tokens::{Keys, Lifetimes, Tokens};
use crate::notification::NoticeSettings;
use crate::notification::deliver::Notifier;
use crate::notification::follow::{AllowList, Follower, SubscriptionSettings};
use crate::operations::{Services, Sessions, Strictness};
use crate::rights::{HabilitationMatrix, Parameters, Tables};
use crate::sealing::EncryptionSettings;
use crate::store::{BodyStore, BodyStoreLocation, DatabaseUrl, Store, StoreLimits};
use crate::tls::ocsp::{OcspFigures, OcspSettings, Refresher};
use crate::tls::verifier::ReloadableVerifier;
use crate::tls::{Revocation, TrustFolder, listener};

/// All that a server is started with, checked.
#[derive(Debug)]
pub struct Settings {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the portal listens.
    pub portal: SocketAddr,
    /// The public base; `https://localhost:PORT/fhir` unless given.
    pub base: Option<String>,
    /// The API's own certificate and chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Anchors, authorities, lists.
    pub trust: TrustFolder,
    /// Database.
    pub database: DatabaseUrl,
    /// Bodies.
    pub bodies: BodyStoreLocation,
    /// The habilitation matrix.
    pub matrix: HabilitationMatrix,
    /// Where the sources disagree.
    pub parameters: Parameters,
    /// Certificates that speak for the patient.
    pub patient_side: PatientSideList,
    /// How sessions are opened.
    pub sessions: SessionSettings,
    /// How often a caller may call. None: as often as it likes.
    pub budgets: Option<Budgets>,
    /// How long after its request an answer leaves that could tell of what is hidden. Zero: at once.
    pub even_answers: Duration,
    /// The responder that is asked beside the revocation lists.
    pub ocsp: Option<OcspSettings>,
    /// How closely a feed is held to the profiles.
    pub strictness: Strictness,
    /// How long an authorisation lasts.
    pub authorisation_days: u32,
    /// Bytes of a request's body, at most.
    pub maximum_body: usize,
    /// How traces are made provable.
    pub audit: AuditSettings,
    /// Where the operator's keys lie, which wrap those of records.
    pub encryption: EncryptionSettings,
    /// Who is told of what was done, and how.
    pub notices: NoticeSettings,
    /// Where subscriptions may have notifications sent.
    pub subscriptions: SubscriptionSettings,
    /// Limits of the store.
    pub store_limits: StoreLimits,
    /// What a sandbox shows of itself on the portal; none on a server of real records.
    pub demonstration: Option<Arc<dyn Demonstration>>,
    /// Workers; as many as cores unless given.
    pub workers: Option<usize>,
    /// How long a request's body may take to arrive.
    pub body_deadline: Duration,
    /// How long a server that is about to stop still answers, so that nobody is sent to it any more when it does.
    pub drain: Duration,
    /// How a sandbox troubles its clients; never a server of real records.
    pub hostile: Option<Hostile>,
    /// A certificate and its key that a hostile sandbox shows now and then in place of its own.
    pub renewed: Option<(PathBuf, PathBuf)>,
    /// The sandbox's homologation kit; none on a server of real records.
    pub kit: Option<Arc<dyn Kit>>,
}

/// How sessions are opened.
#[derive(Debug)]
pub struct SessionSettings {
    /// The key that signs our tokens: PEM, PKCS#8, P-256.
    pub key: PathBuf,
    /// Older keys, whose tokens are still out.
    pub older_keys: Vec<PathBuf>,
    /// How long tokens live.
    pub lifetimes: Lifetimes,
    /// The directory's tables.
    pub directory: DirectoryFiles,
    /// Practice software.
    pub software: SoftwareFile,
    /// The provider of e-CPS.
    pub pro_sante_connect: Option<pro_sante_connect::Settings>,
    /// What is checked of identifiers.
    pub checks: IdentifierChecks,
}

/// Where the registry of software lies, and what follows from it. A changed file is read again.
#[derive(Clone, Debug, Default)]
pub struct SoftwareFile {
    /// The table.
    pub path: Option<PathBuf>,
    /// The table where there is no file.
    pub built_in: String,
    /// Homologation ids, and no others.
    pub allowed: Option<Vec<String>>,
    /// What happens to others.
    pub unregistered: Unregistered,
}

impl SoftwareFile {
    /// Reads the table.
    ///
    /// # Errors
    /// Names the file, or the row, at fault.
    pub fn read(&self) -> Result<SoftwareRegistry> {
        let table = match &self.path {
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
            }
            None => self.built_in.clone(),
        };
        let allowed = self.allowed.as_ref().map(|ids| ids.iter().cloned().collect());
        SoftwareRegistry::parse(&table, allowed, self.unregistered).context("registry of software")
    }
}

/// Where the directory's tables lie. Changed files are read again.
#[derive(Clone, Debug, Default)]
pub struct DirectoryFiles {
    /// Professionals and their activities.
    pub professionals: Option<PathBuf>,
    /// Structures.
    pub structures: Option<PathBuf>,
    /// What the sandbox adds to them.
    pub built_in: (String, String),
}

impl DirectoryFiles {
    /// Reads the tables.
    ///
    /// # Errors
    /// Names the file, or the row, at fault.
    pub fn read(&self) -> Result<Directory> {
        let text = |path: &Option<PathBuf>, built_in: &str| -> Result<String> {
            let file = match path {
                Some(path) => {
                    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
                }
                None => String::new(),
            };
            Ok(format!("{built_in}\n{file}"))
        };
        let (professionals, structures) = &self.built_in;
        Directory::parse(&text(&self.professionals, professionals)?, &text(&self.structures, structures)?)
    }
}

/// How long a request's body may take to arrive, unless a configuration says otherwise.
pub const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// [`Settings::even_answers`] unless configured: more than an answer takes on a machine that is not busy.
pub const EVEN_ANSWERS: Duration = Duration::from_millis(5);

/// How often the traces are signed, unless a configuration says otherwise.
pub const CHECKPOINTS: Duration = Duration::from_secs(5);

/// A server that listens.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Address of the API.
    pub api: SocketAddr,
    /// Address of the portal.
    pub portal: SocketAddr,
    /// The public base.
    pub base: String,
    handles: [ServerHandle; 2],
    drains: Duration,
    api_state: Arc<Api>,
}

impl Listening {
    /// Before a stop without a request that fails: `/health/ready` says no, so that nobody new is sent here, and each answer closes its connection,
    /// for some seconds ([`Settings::drain`]).
    pub async fn drain(&self) {
        self.api_state.draining.store(true, Ordering::Relaxed);
        actix_web::rt::time::sleep(self.drains).await;
    }

    /// Stops both listeners. Requests under way are finished if `graceful`.
    pub async fn stop(&self, graceful: bool) {
        for handle in &self.handles {
            handle.stop(graceful).await;
        }
    }
}

/// What operations work with, without a listener.
///
/// # Errors
/// Database or body store cannot be opened, or a table is malformed.
pub fn services(settings: &mut Settings, environment: Environment) -> Result<Arc<Services>> {
    let bodies = BodyStore::open(&settings.bodies)?;
    let store = Store::open(&settings.database, bodies, settings.encryption.vault()?, &settings.store_limits)?;
    let matrix = std::mem::replace(&mut settings.matrix, HabilitationMatrix::known()?);
    store.register_readable_types(&settings.database, &matrix)?;
    const DAY: i64 = 24 * 3600 * 1_000_000;
    let sessions = &mut settings.sessions;
    let provider = sessions.pro_sante_connect.take().map(ProSanteConnect::new).transpose()?;
    let sessions = Sessions {
        tokens: Tokens::new(Keys::read(&sessions.key, &sessions.older_keys)?, sessions.lifetimes),
        directory: ArcSwap::from_pointee(sessions.directory.read()?),
        software: ArcSwap::from_pointee(sessions.software.read()?),
        pro_sante_connect: provider,
        checks: sessions.checks,
        revocation: Arc::new(Revocation::default()),
    };
    Ok(Arc::new(Services {
        environment,
        tables: Tables::new(matrix, settings.parameters)?,
        codes: Codes::built_in()?,
        store,
        sessions,
        strictness: settings.strictness,
        patient_side: settings.patient_side.clone(),
        feeds: Arc::new(tokio::sync::Semaphore::new(cores() * 2)),
        signer: Arc::new(Signer::read(&settings.audit.origin, &settings.audit.key)?),
        receivers: AllowList::read(&settings.subscriptions.hosts)?,
        authorisation_duration: i64::from(settings.authorisation_days) * DAY,
    }))
}

/// As many descriptors as the operator allows at all: a connection takes one, and an answer that keeps its pace another.
#[cfg(target_os = "linux")]
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        tracing::warn!(%error, "the number of descriptors stays as it was");
    }
}

#[cfg(not(target_os = "linux"))]
fn allow_descriptors() {}

/// Serves until it is stopped. `ready` is told when both listeners answer.
///
/// # Errors
/// Whatever keeps a listener from starting.
pub async fn serve(settings: Settings, services: Arc<Services>, ready: impl FnOnce(&Listening)) -> Result<()> {
    allow_descriptors();
    let environment = services.environment.clone();
    let now = environment.now();
    let seen = reloading::modified(&settings.trust);
    let checkpointer = Checkpointer::open(&settings.audit, &services.store).await?;
    let trust = settings.trust.load(now)?;
    for fault in &trust.faults {
        tracing::error!(%fault, "revocation list not taken");
    }
    let revocation = Arc::clone(&services.sessions.revocation);
    trust.enforce(&revocation);
    let (refusals, refused) = tokio::sync::mpsc::channel(256);
    let verifier = Arc::new(
        ReloadableVerifier::new(&trust, Arc::clone(&revocation), listener::crypto_provider())?
            .telling(refusals),
    );
    let mut tls = listener::server_config(
        &settings.certificate,
        &settings.key,
        Arc::clone(&verifier),
        environment.clock(),
    )?;
    if let Some((certificate, key)) = &settings.renewed {
        listener::renew_now_and_then(&mut tls, certificate, key)?;
    }
    let api_listener = bind(settings.api)?;
    let portal_listener = bind(settings.portal)?;
    let api_address = api_listener.local_addr()?;
    let portal_address = portal_listener.local_addr()?;
    let base =
        settings.base.clone().unwrap_or_else(|| format!("https://localhost:{}/fhir", api_address.port()));
    let api = Arc::new(Api {
        services: Arc::clone(&services),
        base: base.clone(),
        started: now.to_string(),
        limits: RequestLimits { body: settings.maximum_body, body_deadline: settings.body_deadline },
        budgets: settings.budgets.map(Limits::new),
        pace: Pace::new(settings.even_answers),
        responders: Arc::new(OcspFigures::default()),
        refused_handshakes: verifier.refused(),
        traces_signed: AtomicU64::new(checkpointer.signed()),
        trust_faults: AtomicU64::new(trust.faults.len() as u64),
        draining: AtomicBool::new(false),
        body_memory: Arc::new(tokio::sync::Semaphore::new(api::BODY_MEMORY)),
        hostile: settings.hostile,
        kit: settings.kit,
    });

    services.sessions.tokens.issued_by(base.strip_suffix("/fhir").unwrap_or(&base));
    let checks = services.sessions.checks;
    let workers = settings.workers.unwrap_or_else(cores);
    let data = web::Data::from(Arc::clone(&api));
    let api_server = HttpServer::new(move || {
        App::new().app_data(data.clone()).wrap(from_fn(gate::let_out)).configure(api::routes)
    })
    .on_connect(move |connection, data| peer::read(connection, data, checks))
    .workers(workers)
    .max_connections(4096)
    // Handshakes under way, each worker's: those that stall for their five seconds must not hold up the others (scripts/stalled).
    .max_connection_rate(2048)
    .tls_handshake_timeout(Duration::from_secs(5))
    .client_request_timeout(Duration::from_secs(10))
    .client_disconnect_timeout(Duration::from_secs(5))
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(20)
    .disable_signals()
    .listen_rustls_0_23(api_listener, tls)
    .context("the API listener")?
    .run();

    let shown =
        web::Data::new(portal::Portal { api: Arc::clone(&api), demonstration: settings.demonstration.clone() });
    let portal_server = HttpServer::new(move || App::new().app_data(shown.clone()).configure(portal::routes))
        .workers(1)
        .disable_signals()
        .listen(portal_listener)
        .context("the portal listener")?
        .run();

    let listening = Listening {
        api: api_address,
        portal: portal_address,
        base,
        handles: [api_server.handle(), portal_server.handle()],
        drains: settings.drain,
        api_state: Arc::clone(&api),
    };
    let reloading =
        actix_web::rt::spawn(reloading::reload((settings.trust, seen), trust, verifier, Arc::clone(&api)));
    let checkpointer = Arc::new(tokio::sync::Mutex::new(checkpointer));
    let mut background = vec![
        actix_web::rt::spawn(background::sign_traces(
            Arc::clone(&checkpointer),
            settings.audit.interval,
            Arc::clone(&services),
            Arc::clone(&api),
        )),
        actix_web::rt::spawn(background::sweep(Arc::clone(&services))),
        actix_web::rt::spawn(background::end_by_clock(Arc::clone(&services))),
        actix_web::rt::spawn(background::trace_refusals(refused, Arc::clone(&api))),
        actix_web::rt::spawn(background::tidy(Arc::clone(&api))),
        actix_web::rt::spawn(reloading::reload_tables(
            settings.sessions.directory,
            settings.sessions.software,
            Arc::clone(&services),
        )),
    ];
    if !settings.notices.is_empty() {
        services.store.begin_notices().await?;
        let notifier = Notifier::new(settings.notices, environment.clone())?;
        background.push(actix_web::rt::spawn(background::tell(notifier, Arc::clone(&services))));
    }
    if !settings.subscriptions.hosts.is_empty() {
        let follower = Follower::new(&settings.subscriptions, Arc::clone(&services), listening.base.clone())?;
        background.push(actix_web::rt::spawn(background::follow(follower)));
    }
    if let Some(ocsp) = settings.ocsp {
        let refresher = Refresher::new(ocsp, revocation, Arc::clone(&api.responders), environment.clock())?;
        background.push(actix_web::rt::spawn(background::ask_responders(refresher)));
    }
    background
        .push(actix_web::rt::spawn(background::end_when_broken(Arc::clone(&services), listening.clone())));
    ready(&listening);
    let (api_ended, portal_ended) = futures_util::future::join(api_server, portal_server).await;
    reloading.abort();
    for task in background {
        task.abort();
    }
    // What came after the last checkpoint is signed before the process ends: what still waited for its commit too, and where a busy database
    // does not answer at once.
    for attempt in 1..=5 {
        let settled = services.store.settled().await;
        let signed = checkpointer.lock().await.sign(&services.store, environment.now()).await;
        // A writer that has stopped commits nothing more.
        let settled = if services.store.writer().is_running() { settled } else { Ok(()) };
        match settled.map_err(anyhow::Error::from).and(signed) {
            Ok(_) => break,
            Err(error) if attempt < 5 => {
                tracing::warn!(error = format!("{error:#}"), "the last traces are signed at the next attempt");
                actix_web::rt::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => tracing::error!(error = format!("{error:#}"), "the last traces are not signed"),
        }
    }
    api_ended?;
    portal_ended?;
    ensure!(
        services.store.writer().is_running(),
        "the writer has stopped (an error of the disk, or a fault of ours: the log says which): start again on what the disk does hold"
    );
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    Ok(listener)
}
