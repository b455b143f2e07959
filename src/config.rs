//! One file in, one checked value out.
//!
//! `habilis serve --config habilis.toml`. Unknown keys are refused. The database URL may come from
//! `HABILIS_DATABASE_URL`, so that a password stands in no file; S3 credentials come from the environment.

mod notices;
mod rights;
mod subscriptions;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use self::notices::NoticesSection;
use self::rights::RightsSection;
use self::subscriptions::SubscriptionsSection;

use crate::api::limits::{Allowance, Budgets};
use crate::audit::checkpointer::AuditSettings;
use crate::identity::identifiers::IdentifierChecks;
use crate::identity::patient_side::PatientSideList;
use crate::identity::pro_sante_connect;
use crate::identity::software::Unregistered;
use crate::identity::tokens::Lifetimes;
use crate::operations::Strictness;
use crate::rights::{HabilitationMatrix, Parameters};
use crate::sealing::EncryptionSettings;
use crate::server::{CHECKPOINTS, DirectoryFiles, EVEN_ANSWERS, SessionSettings, Settings, SoftwareFile};
use crate::store::{BodyStoreLocation, DatabaseUrl, SMALL, SMALL_BODIES, StoreLimits};
use crate::tls::TrustFolder;
use crate::tls::ocsp::OcspSettings;
use crate::tls::trust::Branch;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    api: ApiSection,
    #[serde(default)]
    portal: PortalSection,
    trust: TrustSection,
    #[serde(default)]
    database: DatabaseSection,
    bodies: BodiesSection,
    #[serde(default)]
    rights: RightsSection,
    #[serde(default)]
    patient_side: PatientSideSection,
    #[serde(default)]
    feed: FeedSection,
    tokens: TokensSection,
    audit: AuditSection,
    encryption: EncryptionSection,
    #[serde(default)]
    directory: DirectorySection,
    #[serde(default)]
    software: SoftwareSection,
    #[serde(default)]
    identifiers: IdentifiersSection,
    pro_sante_connect: Option<ProSanteConnectSection>,
    #[serde(default)]
    notices: NoticesSection,
    subscriptions: Option<SubscriptionsSection>,
    #[serde(default)]
    limits: LimitsSection,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ApiSection {
    listen: SocketAddr,
    base: String,
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default = "ApiSection::even_answers")]
    even_answers: u64,
    #[serde(default = "ApiSection::drain")]
    drain: u64,
}

impl ApiSection {
    /// Milliseconds.
    const fn even_answers() -> u64 {
        EVEN_ANSWERS.as_millis() as u64
    }

    /// Seconds.
    const fn drain() -> u64 {
        5
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct PortalSection {
    listen: SocketAddr,
}

impl Default for PortalSection {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TrustSection {
    anchors: PathBuf,
    authorities: PathBuf,
    revocation_lists: PathBuf,
    ocsp: Option<OcspSection>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OcspSection {
    url: String,
    #[serde(default = "OcspSection::interval")]
    interval: u64,
}

impl OcspSection {
    const fn interval() -> u64 {
        60
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TokensSection {
    key: PathBuf,
    #[serde(default)]
    older_keys: Vec<PathBuf>,
    lifetime: Option<u64>,
    emergency_lifetime: Option<u64>,
    indirect_lifetime: Option<u64>,
}

impl TokensSection {
    fn lifetimes(&self) -> Result<Lifetimes> {
        let longest = |name: &str, given: Option<u64>, default: Duration, most: u64| {
            let given = given.unwrap_or(default.as_secs());
            ensure!((1..=most).contains(&given), "tokens.{name} is 1 to {most} seconds");
            Ok(Duration::from_secs(given))
        };
        let default = Lifetimes::default();
        Ok(Lifetimes {
            // The guide of the ANS: one to four hours.
            normal: longest("lifetime", self.lifetime, default.normal, 4 * 3600)?,
            emergency: longest("emergency-lifetime", self.emergency_lifetime, default.emergency, 3600)?,
            indirect: longest("indirect-lifetime", self.indirect_lifetime, default.indirect, 3600)?,
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AuditSection {
    origin: String,
    node: String,
    key: PathBuf,
    checkpoints: Vec<PathBuf>,
    #[serde(default = "AuditSection::interval")]
    interval: u64,
}

impl AuditSection {
    const fn interval() -> u64 {
        CHECKPOINTS.as_secs()
    }

    fn settings(self) -> Result<AuditSettings> {
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
        };
        ensure!(plain(&self.origin), "audit.origin is a name of letters, digits, points and hyphens");
        ensure!(plain(&self.node), "audit.node is a name of letters, digits, points and hyphens");
        ensure!((1..=300).contains(&self.interval), "audit.interval is 1 to 300 seconds");
        ensure!(!self.checkpoints.is_empty(), "audit.checkpoints names no folder");
        Ok(AuditSettings {
            origin: self.origin,
            node: self.node,
            key: self.key,
            checkpoints: self.checkpoints,
            interval: Duration::from_secs(self.interval),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EncryptionSection {
    keys: PathBuf,
    current: String,
}

impl EncryptionSection {
    fn settings(self) -> EncryptionSettings {
        EncryptionSettings { keys: self.keys, current: self.current }
    }
}

/// Where everything lies that a server keeps: for the commands that work on it from outside.
#[derive(Clone, Debug)]
pub struct Places {
    /// The database.
    pub database: DatabaseUrl,
    /// The bodies.
    pub bodies: BodyStoreLocation,
    /// The operator's keys.
    pub encryption: EncryptionSettings,
    /// How traces are proven.
    pub audit: AuditSettings,
}

/// The sections that say where things lie.
///
/// # Errors
/// As [`read`], for these sections.
pub fn read_places(path: &Path) -> Result<Places> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(Places {
        database: file.database.read()?,
        bodies: file.bodies.read()?,
        encryption: file.encryption.settings(),
        audit: file.audit.settings()?,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct DirectorySection {
    professionals: Option<PathBuf>,
    structures: Option<PathBuf>,
}

impl DirectorySection {
    fn files(self) -> DirectoryFiles {
        DirectoryFiles {
            professionals: self.professionals,
            structures: self.structures,
            built_in: Default::default(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct SoftwareSection {
    registry: Option<PathBuf>,
    unregistered: UnregisteredSoftware,
    allowed: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum UnregisteredSoftware {
    #[default]
    Mark,
    Refuse,
}

impl SoftwareSection {
    fn read(self) -> SoftwareFile {
        SoftwareFile {
            path: self.registry,
            built_in: String::new(),
            allowed: self.allowed,
            unregistered: match self.unregistered {
                UnregisteredSoftware::Mark => Unregistered::Marked,
                UnregisteredSoftware::Refuse => Unregistered::Refused,
            },
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct IdentifiersSection {
    check_keys: bool,
}

impl Default for IdentifiersSection {
    fn default() -> Self {
        Self { check_keys: true }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ProSanteConnectSection {
    issuer: String,
    anchors: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    #[serde(default)]
    jwks: bool,
    client_id: String,
    clients: Vec<pro_sante_connect::Client>,
    #[serde(default = "ProSanteConnectSection::patience")]
    patience: u64,
}

impl ProSanteConnectSection {
    const fn patience() -> u64 {
        5
    }

    fn read(self) -> Result<pro_sante_connect::Settings> {
        ensure!(
            self.issuer.starts_with("https://") && !self.issuer.ends_with('/'),
            "pro-sante-connect.issuer begins with https:// and ends without a slash"
        );
        ensure!((1..=30).contains(&self.patience), "pro-sante-connect.patience is 1 to 30 seconds");
        Ok(pro_sante_connect::Settings {
            issuer: self.issuer,
            anchors: self.anchors,
            certificate: self.certificate,
            key: self.key,
            client_id: self.client_id,
            jwks: self.jwks,
            clients: self.clients,
            patience: Duration::from_secs(self.patience),
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct LimitsSection {
    off: bool,
    shared: bool,
    search: Option<AllowanceSection>,
    read: Option<AllowanceSection>,
    feed: Option<AllowanceSection>,
    token: Option<AllowanceSection>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct AllowanceSection {
    per_minute: u32,
    burst: u32,
}

impl LimitsSection {
    fn budgets(&self) -> Option<Budgets> {
        let default = Budgets::default();
        let of = |given: Option<AllowanceSection>, default| {
            given.map_or(default, |given| Allowance::new(given.per_minute, given.burst))
        };
        (!self.off).then(|| Budgets {
            search: of(self.search, default.search),
            read: of(self.read, default.read),
            feed: of(self.feed, default.feed),
            token: of(self.token, default.token),
            shared: self.shared,
        })
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct DatabaseSection {
    url: Option<String>,
    reserve: Option<u64>,
}

impl DatabaseSection {
    /// Bytes.
    const RESERVE: u64 = 64 << 20;

    fn read(self) -> Result<DatabaseUrl> {
        let url = std::env::var("HABILIS_DATABASE_URL").ok().or(self.url);
        DatabaseUrl::parse(&url.context("database.url is missing, and HABILIS_DATABASE_URL is not set")?)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BodiesSection {
    folder: Option<PathBuf>,
    s3: Option<S3Section>,
    in_database: Option<u64>,
}

impl BodiesSection {
    /// Bodies of up to so many bytes lie in the database.
    fn in_database(&self) -> Result<u64> {
        let bytes = self.in_database.unwrap_or(SMALL_BODIES);
        ensure!(bytes <= SMALL, "bodies.in-database is at most {SMALL}");
        Ok(bytes)
    }

    fn read(self) -> Result<BodyStoreLocation> {
        match (self.folder, self.s3) {
            (Some(folder), None) => Ok(BodyStoreLocation::Folder(folder)),
            (None, Some(S3Section { bucket, region, endpoint })) => {
                Ok(BodyStoreLocation::S3 { bucket, region, endpoint })
            }
            _ => bail!("[bodies] wants either folder or s3"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct S3Section {
    bucket: String,
    region: String,
    endpoint: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct PatientSideSection {
    certificates: Vec<String>,
}

impl PatientSideSection {
    fn read(self) -> Result<PatientSideList> {
        let mut entries = Vec::new();
        for entry in self.certificates {
            let read = entry.split_once('/').filter(|(structure, name)| {
                let digits = structure.bytes().all(|byte| byte.is_ascii_alphanumeric());
                !structure.is_empty() && digits && !name.is_empty() && name.trim() == *name
            });
            let Some((structure, name)) = read else {
                bail!("patient-side.certificates: « {entry} » is not Struct_IdNat/common name");
            };
            entries.push((structure.to_owned(), name.to_owned()));
        }
        Ok(PatientSideList::new(entries))
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct FeedSection {
    strict: bool,
    maximum_body: usize,
}

impl Default for FeedSection {
    fn default() -> Self {
        Self { strict: true, maximum_body: 64 << 20 }
    }
}

/// What of a configuration decides about rights, and where the database is: for `habilis rights explain`.
#[derive(Debug)]
pub struct DecidedBy {
    /// `[rights] matrix`.
    pub matrix: HabilitationMatrix,
    /// `[rights]`.
    pub parameters: Parameters,
    /// `[directory]`: for whom a professional might act.
    pub directory: DirectoryFiles,
    /// `[database] url`.
    pub database: Option<String>,
}

/// The sections that decide about rights.
///
/// # Errors
/// As [`read`], for these sections.
pub fn read_rights(path: &Path) -> Result<DecidedBy> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(DecidedBy {
        matrix: file.rights.matrix()?,
        parameters: file.rights.parameters()?,
        directory: file.directory.files(),
        database: std::env::var("HABILIS_DATABASE_URL").ok().or(file.database.url),
    })
}

/// Reads and checks a production configuration.
///
/// # Errors
/// Names the file and the key at fault; a TEST anchor or a demonstration matrix is one.
pub fn read(path: &Path) -> Result<Settings> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let reserve = file.database.reserve.unwrap_or(DatabaseSection::RESERVE);
    let database = file.database.read()?;
    let small_bodies = file.bodies.in_database()?;
    let bodies = file.bodies.read()?;
    let matrix = file.rights.matrix()?;
    ensure!(!matrix.is_demonstration(), "a demonstration matrix does not serve real records");
    if let Some(ocsp) = &file.trust.ocsp {
        ensure!(ocsp.url.starts_with("http://"), "trust.ocsp.url begins with http://: its answers are signed");
    }
    let sessions = SessionSettings {
        lifetimes: file.tokens.lifetimes()?,
        key: file.tokens.key,
        older_keys: file.tokens.older_keys,
        directory: file.directory.files(),
        software: file.software.read(),
        pro_sante_connect: file.pro_sante_connect.map(ProSanteConnectSection::read).transpose()?,
        checks: IdentifierChecks { keys: file.identifiers.check_keys, editor_accounts: false },
    };
    ensure!(
        file.api.base.starts_with("https://") && !file.api.base.ends_with('/'),
        "api.base begins with https:// and ends without a slash"
    );
    ensure!(file.api.drain <= 600, "api.drain is 0 to 600 seconds");
    ensure!(file.api.even_answers <= 1_000, "api.even-answers is 0 to 1000 milliseconds");
    ensure!(file.feed.maximum_body <= 256 << 20, "feed.maximum-body is at most 268435456");
    // Production and TEST never mix: looked at here, and again each time the trust is loaded.
    let trust = TrustFolder {
        branch: Branch::Production,
        anchors: file.trust.anchors,
        authorities: file.trust.authorities,
        revocation_lists: file.trust.revocation_lists,
    };
    trust.refuse_other_branch()?;
    let audit = file.audit.settings()?;
    Ok(Settings {
        api: file.api.listen,
        portal: file.portal.listen,
        base: Some(file.api.base),
        certificate: file.api.certificate,
        key: file.api.key,
        trust,
        database,
        bodies,
        matrix,
        parameters: file.rights.parameters()?,
        patient_side: file.patient_side.read()?,
        sessions,
        budgets: file.limits.budgets(),
        even_answers: Duration::from_millis(file.api.even_answers),
        drain: Duration::from_secs(file.api.drain),
        hostile: None,
        kit: None,
        ocsp: file.trust.ocsp.map(|ocsp| OcspSettings {
            url: ocsp.url,
            interval: Duration::from_secs(ocsp.interval.max(1)),
            patience: Duration::from_secs(10),
        }),
        strictness: if file.feed.strict { Strictness::Strict } else { Strictness::Tolerant },
        authorisation_days: file.rights.authorisation_days,
        maximum_body: file.feed.maximum_body,
        store_limits: StoreLimits { node: audit.node.clone(), reserve, small_bodies, ..StoreLimits::default() },
        audit,
        encryption: file.encryption.settings(),
        notices: file.notices.read()?,
        subscriptions: file.subscriptions.map(SubscriptionsSection::read).transpose()?.unwrap_or_default(),
        demonstration: None,
        renewed: None,
        workers: None,
        body_deadline: crate::server::BODY_DEADLINE,
    })
}
