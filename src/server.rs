//! Assembles listeners, workers and background tasks.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use anyhow::{Context, Result};
use arc_swap::ArcSwap;

use crate::api::limits::{Budgets, Limits};
use crate::api::pace::Pace;
use crate::api::{self, Api, RequestLimits, gate, peer, portal};
use crate::audit::TraceContext;
use crate::audit::checkpointer::{AuditSettings, Checkpointer};
use crate::certificate;
use crate::environment::Environment;
use crate::fhir::codes::Codes;
use crate::identity::directory::Directory;
use crate::identity::identifiers::IdentifierChecks;
use crate::identity::patient_side::PatientSideList;
use crate::identity::pro_sante_connect::{self, ProSanteConnect};
use crate::identity::software::{SoftwareRegistry, Unregistered};
use crate::identity::tokens::{Keys, Lifetimes, Tokens};
use crate::notification::NoticeSettings;
use crate::notification::deliver::{self, Notifier};
use crate::operations::by_clock::{self, Ended};
use crate::operations::{Services, Sessions, Strictness};
use crate::rights::{HabilitationMatrix, Parameters, Tables};
use crate::sealing::EncryptionSettings;
use crate::store::{BodyStore, BodyStoreLocation, DatabaseUrl, Store, StoreLimits};
use crate::tls::ocsp::{OcspFigures, OcspSettings, Refresher};
use crate::tls::verifier::{HandshakeRefusal, ReloadableVerifier};
use crate::tls::{Revocation, Trust, TrustFolder, listener};

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
    /// Limits of the store.
    pub store_limits: StoreLimits,
    /// First page of the portal, HTML.
    pub home: String,
    /// Workers; as many as cores unless given.
    pub workers: Option<usize>,
    /// How long a request's body may take to arrive.
    pub body_deadline: Duration,
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
    fn read(&self) -> Result<SoftwareRegistry> {
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
}

impl Listening {
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
    let seen = modified(&settings.trust);
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
    let tls = listener::server_config(
        &settings.certificate,
        &settings.key,
        Arc::clone(&verifier),
        environment.clock(),
    )?;
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
        body_memory: Arc::new(tokio::sync::Semaphore::new(api::BODY_MEMORY)),
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
    .max_connection_rate(128)
    .tls_handshake_timeout(Duration::from_secs(5))
    .client_request_timeout(Duration::from_secs(10))
    .client_disconnect_timeout(Duration::from_secs(5))
    .keep_alive(Duration::from_secs(75))
    .shutdown_timeout(20)
    .disable_signals()
    .listen_rustls_0_23(api_listener, tls)
    .context("the API listener")?
    .run();

    let shown = web::Data::new(portal::Portal { api: Arc::clone(&api), home: settings.home.clone() });
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
    };
    let reloading = actix_web::rt::spawn(reload((settings.trust, seen), trust, verifier, Arc::clone(&api)));
    let checkpointer = Arc::new(tokio::sync::Mutex::new(checkpointer));
    let mut background = vec![
        actix_web::rt::spawn(sign_traces(
            Arc::clone(&checkpointer),
            settings.audit.interval,
            Arc::clone(&services),
            Arc::clone(&api),
        )),
        actix_web::rt::spawn(sweep(Arc::clone(&services))),
        actix_web::rt::spawn(end_by_clock(Arc::clone(&services))),
        actix_web::rt::spawn(trace_refusals(refused, Arc::clone(&api))),
        actix_web::rt::spawn(tidy(Arc::clone(&api))),
        actix_web::rt::spawn(reload_tables(
            settings.sessions.directory,
            settings.sessions.software,
            Arc::clone(&services),
        )),
    ];
    if !settings.notices.is_empty() {
        services.store.begin_notices().await?;
        let notifier = Notifier::new(settings.notices, environment.clone())?;
        background.push(actix_web::rt::spawn(tell(notifier, Arc::clone(&services))));
    }
    if let Some(ocsp) = settings.ocsp {
        let refresher = Refresher::new(ocsp, revocation, Arc::clone(&api.responders), environment.clock())?;
        background.push(actix_web::rt::spawn(ask_responders(refresher)));
    }
    ready(&listening);
    let (api_ended, portal_ended) = futures_util::future::join(api_server, portal_server).await;
    reloading.abort();
    for task in background {
        task.abort();
    }
    // What came after the last checkpoint is signed before the process ends.
    if let Err(error) = checkpointer.lock().await.sign(&services.store, environment.now()).await {
        tracing::error!(error = format!("{error:#}"), "the last traces are not signed");
    }
    api_ended?;
    portal_ended?;
    Ok(())
}

/// Signs how far the traces go, again and again. Where it cannot, it is told and tried again: the traces themselves are durable.
async fn sign_traces(
    checkpointer: Arc<tokio::sync::Mutex<Checkpointer>>,
    interval: Duration,
    services: Arc<Services>,
    api: Arc<Api>,
) {
    loop {
        actix_web::rt::time::sleep(interval).await;
        let mut checkpointer = checkpointer.lock().await;
        if let Err(error) = checkpointer.sign(&services.store, services.environment.now()).await {
            tracing::error!(error = format!("{error:#}"), "the traces are not signed");
        }
        api.traces_signed.store(checkpointer.signed(), Ordering::Relaxed);
    }
}

/// Makes notices and delivers them. What fails is tried again in the next round.
async fn tell(notifier: Notifier, services: Arc<Services>) {
    loop {
        actix_web::rt::time::sleep(deliver::INTERVAL).await;
        if let Err(error) = notifier.round(&services.store).await {
            tracing::warn!(%error, "notices wait");
        }
    }
}

/// A handshake that was refused for its certificate stands in the trace, as any refusal does; so many a minute and no
/// more, because nobody needs a certificate to be refused: how many more there were stands there too.
async fn trace_refusals(mut refused: tokio::sync::mpsc::Receiver<HandshakeRefusal>, api: Arc<Api>) {
    const A_MINUTE: u64 = 120;
    let (mut minute, mut written, mut told) = (0, 0, api.refused_handshakes.load(Ordering::Relaxed));
    loop {
        let next = tokio::time::timeout(Duration::from_secs(60), refused.recv()).await;
        let now = api.services.environment.now().as_second();
        if now / 60 != minute {
            // Those beyond the minute's, and those that nobody could even take down.
            let all = api.refused_handshakes.load(Ordering::Relaxed);
            let untold = all.saturating_sub(told).saturating_sub(u64::from(matches!(next, Ok(Some(_)))));
            if untold > 0 {
                trace_handshake(&api, "", &format!("{untold} more refused")).await;
            }
            told = told.max(all.saturating_sub(u64::from(matches!(next, Ok(Some(_))))));
            (minute, written) = (now / 60, 0);
        }
        let refusal = match next {
            Ok(Some(refusal)) => refusal,
            Ok(None) => return,
            Err(_) => continue,
        };
        if written >= A_MINUTE {
            continue;
        }
        (written, told) = (written + 1, told + 1);
        // Nobody has vouched for what stands in it: it may name whom it likes, and it may break a parser.
        let label = std::panic::catch_unwind(|| certificate::label(&refusal.leaf)).unwrap_or_default();
        trace_handshake(&api, &format!("unverified: {label}"), &refusal.reason).await;
    }
}

async fn trace_handshake(api: &Api, label: &str, reason: &str) {
    let environment = &api.services.environment;
    let at = environment.now().as_microsecond();
    let context = TraceContext::new(at, environment.next_id(), "TLS handshake", label, None, None);
    if let Err(error) = api.services.store.writer().record(context.refused_handshake(reason), ()).await {
        tracing::error!(%error, "a refused handshake was not traced");
    }
}

/// Forgets what is over: callers with their whole budget, spent tokens, shared windows.
async fn tidy(api: Arc<Api>) {
    const INTERVAL: Duration = Duration::from_secs(60);
    loop {
        actix_web::rt::time::sleep(INTERVAL).await;
        if let Some(limits) = &api.budgets {
            limits.forget_idle();
        }
        let now = api.services.environment.now().as_second();
        if let Some(provider) = &api.services.sessions.pro_sante_connect {
            provider.forget(now);
        }
        if let Err(error) = api.services.store.forget_spent(now).await {
            tracing::warn!(%error, "what was spent is not forgotten");
        }
    }
}

/// Each round in a task of its own: a certificate that breaks a parser ends one round and no more.
async fn ask_responders(refresher: Refresher) {
    let refresher = Arc::new(refresher);
    loop {
        let asking = Arc::clone(&refresher);
        if let Err(panicked) = actix_web::rt::spawn(async move { asking.round().await }).await {
            tracing::error!(%panicked, "a round of questions to the responder ended early");
        }
        actix_web::rt::time::sleep(refresher.interval()).await;
    }
}

/// Reads directory and registry again when their files change. A bad table never replaces a good one.
async fn reload_tables(directory: DirectoryFiles, software: SoftwareFile, services: Arc<Services>) {
    let files = directory.professionals.iter().chain(&directory.structures).chain(&software.path);
    let paths: Vec<PathBuf> = files.cloned().collect();
    if paths.is_empty() {
        return;
    }
    // Read once more after the start, and then when the files have changed and stand still again.
    let (mut seen, mut last) = (Seen::new(), modified_files(paths.iter().cloned()));
    loop {
        actix_web::rt::time::sleep(Duration::from_secs(1)).await;
        let now = modified_files(paths.iter().cloned());
        let still = now == last;
        last = now.clone();
        if now == seen || !still {
            continue;
        }
        seen = now;
        let (directory, software) = (directory.clone(), software.clone());
        // Each for itself: a suspension does not wait for a directory that is at fault.
        match tokio::task::spawn_blocking(move || (directory.read(), software.read())).await {
            Ok((directory, software)) => {
                match directory {
                    Ok(read) if read.is_empty() && !services.sessions.directory.load().is_empty() => {
                        tracing::error!("the directory is empty: the one in force stays");
                    }
                    Ok(directory) => services.sessions.directory.store(Arc::new(directory)),
                    Err(error) => tracing::error!(error = format!("{error:#}"), "directory not taken"),
                }
                match software {
                    Ok(read) if read.is_empty() && !services.sessions.software.load().is_empty() => {
                        tracing::error!("the registry of software is empty: the one in force stays");
                    }
                    Ok(software) => services.sessions.software.store(Arc::new(software)),
                    Err(error) => {
                        tracing::error!(error = format!("{error:#}"), "registry of software not taken")
                    }
                }
            }
            Err(panicked) => tracing::error!(%panicked, "tables not taken"),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    Ok(listener)
}

/// Looks every second whether the trust has changed; what is bad is left aside and the good stays in force.
async fn reload(
    (folder, mut seen): (TrustFolder, Seen),
    mut in_force: Trust,
    verifier: Arc<ReloadableVerifier>,
    api: Arc<Api>,
) {
    let (mut told, mut quiet) = (in_force.faults.join("; "), Duration::ZERO);
    loop {
        actix_web::rt::time::sleep(Duration::from_secs(1)).await;
        quiet += Duration::from_secs(1);
        let now = modified(&folder);
        // A file at fault may be one that was being written: it is looked at again, less and less often.
        let again = !told.is_empty() && (quiet.as_secs() <= 5 || quiet.as_secs().is_multiple_of(60));
        if now == seen && !again {
            continue;
        }
        if now != seen {
            (seen, quiet) = (now, Duration::ZERO);
        }
        let (loading, held, at) = (folder.clone(), in_force.clone(), api.services.environment.now());
        // A parser that panics takes this task's blocking thread with it and nothing else.
        let loaded = tokio::task::spawn_blocking(move || loading.load_beside(&held, at)).await;
        let replaced = match loaded {
            Ok(loaded) => loaded.map(|mut trust| {
                if let Err(error) = verifier.replace(&trust) {
                    // The authorities in force stay; the lists are taken all the same.
                    trust.faults.push(format!("{error:#}: the authorities in force stay"));
                    trust.authorities.clone_from(&in_force.authorities);
                }
                trust
            }),
            Err(panicked) => Err(anyhow::anyhow!("reading the lists panicked: {panicked}")),
        };
        let (fault, faults) = match replaced {
            Ok(trust) => {
                trust.enforce(&api.services.sessions.revocation);
                in_force = trust;
                (in_force.faults.join("; "), in_force.faults.len())
            }
            Err(error) => (format!("{error:#}"), 1),
        };
        api.trust_faults.store(faults as u64, Ordering::Relaxed);
        if fault.is_empty() {
            tracing::info!("trust and revocation lists reloaded");
        } else if fault != told {
            tracing::error!(%fault, "not everything of the trust is taken");
        }
        told = fault;
    }
}

/// Names, sizes and times of the files of trust.
type Seen = Vec<(PathBuf, u64, Option<SystemTime>)>;

fn modified(folder: &TrustFolder) -> Seen {
    let entries = std::fs::read_dir(&folder.revocation_lists).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path()).chain([folder.anchors.clone(), folder.authorities.clone()]);
    modified_files(paths)
}

fn modified_files(paths: impl Iterator<Item = PathBuf>) -> Seen {
    let mut files: Vec<_> = paths
        .filter_map(|path| {
            let metadata = std::fs::metadata(&path).ok()?;
            Some((path, metadata.len(), metadata.modified().ok()))
        })
        .collect();
    files.sort();
    files
}

/// Does what ends by itself, now and every few minutes. Decisions do not wait for it.
async fn end_by_clock(services: Arc<Services>) {
    const OFTEN: Duration = Duration::from_secs(300);
    loop {
        let parameters = services.tables.parameters;
        match by_clock::run(&services.store, &services.environment, parameters).await {
            Ok(ended) if ended == Ended::default() => {}
            Ok(Ended { announcements, majorities, authorisations }) => {
                tracing::info!(announcements, majorities, authorisations, "ended by the clock");
            }
            Err(error) => tracing::warn!(%error, "what ends by the clock is done later"),
        }
        actix_web::rt::time::sleep(OFTEN).await;
    }
}

/// Removes what interrupted feeds left, now and every day. A day is far longer than any feed takes.
async fn sweep(services: Arc<Services>) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    loop {
        match services.store.sweep_orphans(services.environment.now(), DAY).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "orphaned bodies removed"),
            Err(error) => tracing::warn!(%error, "orphaned bodies not swept"),
        }
        actix_web::rt::time::sleep(DAY).await;
    }
}
