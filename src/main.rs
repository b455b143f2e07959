//! The command line.

mod commands;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use habilis::api::hostile::Hostile;
use habilis::api::limits::Budgets;
use habilis::environment::Environment;
use habilis::identity::software::Unregistered;
use habilis::notification::NoticeSettings;
use habilis::pki::{Holder, HolderKind, PkiFolder, Validity};
use habilis::sandbox::{self, Sandbox, SandboxOptions};
use habilis::server::{self, Listening};
use indicatif::{ProgressBar, ProgressStyle};

/// Professional-side server of the French shared medical record (DMP, Mon espace santé) over FHIR.
///
/// Begin with `habilis sandbox`: it makes test cards, a database and demonstration patients, and says which calls to try.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a test PKI, a database and demonstration patients, then serve.
    ///
    /// A second start keeps the data; --reset begins again. Several sandboxes with different folders and ports run side
    /// by side.
    Sandbox(SandboxArguments),
    /// Serve real records, as a configuration file says (docs/configuration.md).
    Serve {
        /// The configuration file.
        #[arg(long, default_value = "habilis.toml")]
        config: PathBuf,
        /// Read everything that it names, say what is at fault, and serve nothing.
        #[arg(long)]
        check: bool,
    },
    /// Issue or revoke test certificates of a sandbox.
    #[command(subcommand)]
    Pki(PkiCommand),
    /// Check, compare and import files of the habilitation matrix.
    #[command(subcommand)]
    Matrix(commands::matrix::MatrixCommand),
    /// Verify and prove the traces.
    #[command(subcommand)]
    Audit(commands::audit::AuditCommand),
    Indicators(commands::indicators::IndicatorArguments),
    Migrate(commands::migrate::Migrate),
    Backup(commands::backup::Backup),
    Restore(commands::backup::Restore),
    /// Erase what is kept no longer; show certificates of erasure.
    #[command(subcommand)]
    Retention(commands::retention::RetentionCommand),
    /// Make and rotate the keys of encryption at rest.
    #[command(subcommand)]
    Keys(commands::keys::KeysCommand),
    /// Say what one actor may do with one record or document, and by which rule.
    #[command(subcommand)]
    Rights(commands::rights::RightsCommand),
    #[command(subcommand)]
    Homologation(commands::homologation::HomologationCommand),
    /// Write the OpenAPI description.
    Openapi {
        /// The folder to write to.
        #[arg(long, default_value = "openapi")]
        folder: PathBuf,
    },
}

#[derive(Args)]
struct SandboxArguments {
    /// Folder of the database, the documents and the examples.
    #[arg(long, default_value = "./data")]
    data: PathBuf,
    /// Folder of the test PKI.
    #[arg(long, default_value = "./certs/sandbox")]
    certs: PathBuf,
    /// Where the API listens.
    #[arg(long, default_value = "127.0.0.1:8443")]
    api: SocketAddr,
    /// Where the portal listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    portal: SocketAddr,
    /// The database, sqlite:PATH or postgres://…; SQLite in the data folder unless given.
    #[arg(long)]
    database: Option<String>,
    /// Begin again: removes what a sandbox made in these folders, and empties the database.
    #[arg(long)]
    reset: bool,
    /// More demonstration records: a file of INS system, INS, family name, given name, birth date, with tabs between.
    #[arg(long)]
    records: Option<PathBuf>,
    /// Hold feeds to PDSm 3.1.1 and the DMP's value sets, naming every fault. Without it the published examples pass.
    #[arg(long)]
    strict: bool,
    /// Where the stand-in of Pro Santé Connect listens: any free port unless given.
    #[arg(long, default_value = "127.0.0.1:0")]
    psc: SocketAddr,
    /// Hold callers to the budgets of production (429 when they are spent).
    #[arg(long)]
    limits: bool,
    /// Bytes of a request's body, at most, in MiB.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=256))]
    maximum_body: u16,
    /// Milliseconds after its request at which an answer leaves that could tell by its time what is hidden; 0: at once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(0..=1_000))]
    even_answers: u16,
    /// A registry of software, in place of the sandbox's own: id, name, lowest and highest version, profiles, state.
    #[arg(long)]
    software: Option<PathBuf>,
    /// Refuse software that the registry does not know, and calls that name none.
    #[arg(long)]
    refuse_unregistered: bool,
    /// Trouble clients, so that they learn to send again: of a hundred requests five are answered late, with 503 or 429, or by a cut
    /// connection once all is done. Every answer says so (X-Habilis-Hostile).
    #[arg(long)]
    hostile: bool,
    /// MiB on the disk that are kept for traces, should it be full (SQLite).
    #[arg(long, default_value_t = 0)]
    reserve: u16,
    /// Seconds for which a server that gets SIGTERM still answers, while `/health/ready` already says no.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=600))]
    drain: u16,
    /// Units of work in one commit, at most: 1 shows what group commit is worth.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch: u16,
    /// KiB up to which a body lies in the database, and not in a file of its own.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(0..=256))]
    in_database: u16,
    /// Worker threads; as many as cores unless given.
    #[arg(long)]
    workers: Option<usize>,
}

#[derive(Subcommand)]
enum PkiCommand {
    /// Issue one more test certificate: NAME.pem, NAME.key and NAME.p12 (password « habilis »).
    Issue(Box<IssueArguments>),
    /// Put a certificate on its issuer's revocation list. A running sandbox takes it within seconds.
    Revoke {
        /// Name of the certificate's files.
        name: String,
        /// Folder of the test PKI.
        #[arg(long, default_value = "./certs/sandbox")]
        certs: PathBuf,
    },
}

#[derive(Args)]
struct IssueArguments {
    /// Name of the files to write.
    name: String,
    /// What the certificate is.
    #[arg(long, value_enum)]
    kind: HolderKind,
    /// Folder of the test PKI.
    #[arg(long, default_value = "./certs/sandbox")]
    certs: PathBuf,
    /// Family name.
    #[arg(long)]
    family: Option<String>,
    /// Given name.
    #[arg(long)]
    given: Option<String>,
    /// RPPS, eleven digits: the identifier of a professional.
    #[arg(long, conflicts_with = "id")]
    rpps: Option<String>,
    /// PS_IdNat of staff, as 3750000101/CPE0002.
    #[arg(long)]
    id: Option<String>,
    /// Struct_IdNat, as 1750000101.
    #[arg(long)]
    structure: Option<String>,
    /// Name of the structure.
    #[arg(long)]
    structure_name: Option<String>,
    /// Profession, TRE_G15: 10 doctor, 21 pharmacist, 40 dentist, 50 midwife, 60 nurse, 70 physiotherapist …
    #[arg(long)]
    profession: Option<u8>,
    /// Label of the profession, as printed on the card.
    #[arg(long)]
    title: Option<String>,
    /// Speciality, TRE_R01, as SM26; may be repeated.
    #[arg(long)]
    speciality: Vec<String>,
    /// Common name of an organisation's certificate.
    #[arg(long)]
    common_name: Option<String>,
    /// Make it one that expired yesterday.
    #[arg(long)]
    expired: bool,
}

fn main() -> ExitCode {
    match run_command(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The whole chain of causes, on one line, without a backtrace.
            eprintln!("habilis: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run_command(cli: Cli) -> Result<()> {
    tracing_subscriber::fmt()
        .json()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,habilis=info")),
        )
        .init();
    match cli.command {
        Command::Sandbox(arguments) => run(sandbox(arguments)),
        Command::Serve { config, check: true } => commands::check::run(&config),
        Command::Serve { config, check: false } => run(serve(config)),
        Command::Pki(PkiCommand::Issue(arguments)) => issue(*arguments),
        Command::Pki(PkiCommand::Revoke { name, certs }) => {
            PkiFolder::new(certs).revoke(&name, Environment::system().now())
        }
        Command::Matrix(command) => commands::matrix::run(command),
        Command::Audit(command) => commands::audit::run(command),
        Command::Homologation(command) => commands::homologation::run(command),
        Command::Indicators(arguments) => commands::indicators::run(&arguments),
        Command::Migrate(arguments) => commands::migrate::run(&arguments),
        Command::Backup(arguments) => run(commands::backup::back_up(arguments)),
        Command::Restore(arguments) => run(commands::backup::restore(arguments)),
        Command::Retention(command) => run(commands::retention::run(command)),
        Command::Keys(command) => run(commands::keys::run(command)),
        Command::Rights(command) => commands::rights::run(command),
        Command::Openapi { folder } => {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join("habilis.json"), habilis::api::openapi::json()?)?;
            std::fs::write(folder.join("errors.json"), habilis::error::catalogue::to_json()?)?;
            // The page stands beside the folder, where the repository has one.
            let page = folder.join("../docs");
            if page.is_dir() {
                std::fs::write(page.join("errors.md"), habilis::error::catalogue::markdown())?;
            }
            Ok(())
        }
    }
}

fn run(work: impl Future<Output = Result<()>>) -> Result<()> {
    #[cfg(feature = "fault-injection")]
    eprintln!("WARNING: compiled with deliberate faults ({:?}): for tests only", habilis::faults::requested());
    actix_web::rt::System::new().block_on(work)
}

async fn sandbox(arguments: SandboxArguments) -> Result<()> {
    if arguments.reset {
        // First what can fail for a slip of the pen, then what cannot be undone.
        if let Some(url) = &arguments.database {
            habilis::store::Store::reset(&habilis::store::DatabaseUrl::parse(url)?)?;
        }
        reset(&arguments.data, &arguments.certs)?;
    }
    let options = SandboxOptions {
        data: arguments.data,
        certs: arguments.certs,
        api: arguments.api,
        portal: arguments.portal,
        base: None,
        node: "1".to_owned(),
        reserve: u64::from(arguments.reserve) << 20,
        database: arguments.database,
        records: arguments.records,
        strict: arguments.strict,
        pro_sante_connect: arguments.psc,
        budgets: arguments.limits.then(Budgets::default),
        maximum_body: usize::from(arguments.maximum_body) << 20,
        even_answers: Duration::from_millis(u64::from(arguments.even_answers)),
        software: arguments.software,
        unregistered: if arguments.refuse_unregistered { Unregistered::Refused } else { Unregistered::Marked },
        ocsp: None,
        notices: NoticeSettings::default(),
        workers: arguments.workers,
        body_deadline: server::BODY_DEADLINE,
        drain: Duration::from_secs(arguments.drain.into()),
        bodies: None,
        hostile: arguments.hostile.then_some(Hostile { share: 5, late: Duration::from_secs(3) }),
        small_bodies: u64::from(arguments.in_database) << 10,
        batch: arguments.batch.into(),
    };
    let bar = if PkiFolder::new(&options.certs).is_complete() {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(sandbox::steps())
    };
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({elapsed})")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let prepared = Sandbox::prepare(options, Environment::system(), &|step| {
        bar.set_message(step.to_owned());
        bar.inc(1);
    })
    .await?;
    bar.finish_and_clear();
    prepared
        .serve(|listening, greeting| {
            stop_on_signal(listening);
            println!("{greeting}\nready");
            // Whoever waits for « ready » through a pipe gets it now.
            let _ = std::io::stdout().flush();
        })
        .await
}

async fn serve(config: PathBuf) -> Result<()> {
    let mut settings = habilis::config::read(&config)?;
    let services = server::services(&mut settings, Environment::system())?;
    server::serve(settings, services, |listening| {
        stop_on_signal(listening);
        tracing::info!(api = %listening.api, portal = %listening.portal, "ready");
        println!("ready");
        let _ = std::io::stdout().flush();
    })
    .await
}

/// SIGINT finishes what is under way, then stops; SIGTERM first sends new requests elsewhere, until a second signal.
fn stop_on_signal(listening: &Listening) {
    use actix_web::rt::signal::unix::{SignalKind, signal};
    let listening = listening.clone();
    actix_web::rt::spawn(async move {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            tracing::error!("SIGTERM and SIGINT will not be heard");
            return;
        };
        // SIGINT: somebody sits before it.
        let drains = tokio::select! {
            _ = interrupt.recv() => false,
            _ = terminate.recv() => true,
        };
        if drains {
            tokio::select! {
                () = listening.drain() => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        listening.stop(true).await;
    });
}

/// Removes what a sandbox made in its folders, by name, and nothing else.
fn reset(data: &Path, certs: &Path) -> Result<()> {
    for name in
        ["habilis.db", "habilis.db-wal", "habilis.db-shm", "bodies", "examples", "checkpoints", "homologation"]
    {
        remove(&data.join(name))?;
    }
    // Certificates issued by hand go with the authorities that issued them.
    if certs.join("authorities").is_dir() {
        for entry in std::fs::read_dir(certs).with_context(|| format!("cannot read {}", certs.display()))? {
            let path = entry?.path();
            let made_here = path.extension().is_some_and(|end| end == "pem" || end == "key" || end == "p12")
                || ["authorities", "trust", "complete", "directory.tsv", "operator-keys"]
                    .iter()
                    .any(|name| path.ends_with(name));
            if made_here {
                remove(&path)?;
            }
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn issue(arguments: IssueArguments) -> Result<()> {
    // A doctor's card carries a speciality: general practice, unless another is given.
    let mut specialities = arguments.speciality;
    if specialities.is_empty() && arguments.kind == HolderKind::Cps && arguments.profession == Some(10) {
        specialities.push("SM26".to_owned());
    }
    let professional = matches!(arguments.kind, HolderKind::Cps | HolderKind::Cpf);
    let activity = (professional).then(|| arguments.structure.clone()).flatten();
    let holder = Holder {
        family: arguments.family,
        given: arguments.given,
        id: arguments.rpps.map(|rpps| format!("8{rpps}")).or(arguments.id),
        structure: arguments.structure,
        structure_name: arguments.structure_name,
        profession: arguments.profession,
        title: arguments.title,
        specialities,
        common_name: arguments.common_name,
        validity: if arguments.expired { Validity::Over } else { Validity::Now },
        ..Holder::new(arguments.kind)
    };
    let pki = PkiFolder::new(arguments.certs);
    let issued = pki.issue(&arguments.name, &holder, Environment::system().now())?;
    if let (Some(id), Some(profession), Some(structure)) = (&holder.id, holder.profession, activity) {
        pki.note_activity(id, profession, &structure)?;
    }
    println!("{}/{}.pem .key .p12   serial {}", pki.path().display(), issued.name, issued.serial);
    Ok(())
}
