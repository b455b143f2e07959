//! One file in, one checked value out.
//!
//! `habilis serve --config habilis.toml`. Unknown keys are refused. The database URL may come from
//! `HABILIS_DATABASE_URL`, so that a password stands in no file; S3 credentials come from the environment.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::operations::Strictness;
use crate::rights::HabilitationMatrix;
use crate::server::Settings;
use crate::store::{BodyStoreLocation, DatabaseUrl, StoreLimits};
use crate::tls::TrustFolder;
use crate::tls::trust::read_certificates;

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
    feed: FeedSection,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ApiSection {
    listen: SocketAddr,
    base: String,
    certificate: PathBuf,
    key: PathBuf,
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
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct DatabaseSection {
    url: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BodiesSection {
    folder: Option<PathBuf>,
    s3: Option<S3Section>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct S3Section {
    bucket: String,
    region: String,
    endpoint: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RightsSection {
    matrix: Option<PathBuf>,
    authorisation_days: u32,
}

impl Default for RightsSection {
    fn default() -> Self {
        Self { matrix: None, authorisation_days: 365 }
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

/// Reads and checks a production configuration.
///
/// # Errors
/// Names the file and the key at fault; a TEST anchor or a demonstration matrix is one.
pub fn read(path: &Path) -> Result<Settings> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let url = std::env::var("HABILIS_DATABASE_URL").ok().or(file.database.url);
    let database =
        DatabaseUrl::parse(&url.context("database.url is missing, and HABILIS_DATABASE_URL is not set")?)?;
    let bodies = match (file.bodies.folder, file.bodies.s3) {
        (Some(folder), None) => BodyStoreLocation::Folder(folder),
        (None, Some(S3Section { bucket, region, endpoint })) => {
            BodyStoreLocation::S3 { bucket, region, endpoint }
        }
        _ => bail!("[bodies] wants either folder or s3"),
    };
    let matrix = match &file.rights.matrix {
        Some(path) => {
            let table =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            HabilitationMatrix::parse(&[&table]).with_context(|| path.display().to_string())?
        }
        None => HabilitationMatrix::known()?,
    };
    ensure!(!matrix.is_demonstration(), "a demonstration matrix does not serve real records");
    refuse_test_anchors(&file.trust.anchors)?;
    ensure!(
        file.api.base.starts_with("https://") && !file.api.base.ends_with('/'),
        "api.base begins with https:// and ends without a slash"
    );
    ensure!(file.feed.maximum_body <= 256 << 20, "feed.maximum-body is at most 268435456");
    Ok(Settings {
        api: file.api.listen,
        portal: file.portal.listen,
        base: Some(file.api.base),
        certificate: file.api.certificate,
        key: file.api.key,
        trust: TrustFolder {
            anchors: file.trust.anchors,
            authorities: file.trust.authorities,
            revocation_lists: file.trust.revocation_lists,
        },
        database,
        bodies,
        matrix,
        strictness: if file.feed.strict { Strictness::Strict } else { Strictness::Tolerant },
        authorisation_days: file.rights.authorisation_days,
        maximum_body: file.feed.maximum_body,
        store_limits: StoreLimits::default(),
        home: "<h1>Habilis</h1><p>Volet professionnel du DMP. <a href=\"/docs\">Opérations</a>.</p>".to_owned(),
        workers: None,
        body_deadline: crate::server::BODY_DEADLINE,
    })
}

/// Production and TEST anchors never mix.
fn refuse_test_anchors(anchors: &Path) -> Result<()> {
    for der in read_certificates(anchors)? {
        let (_, certificate) = X509Certificate::from_der(&der).context("a trust anchor cannot be parsed")?;
        let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        if name.is_some_and(|name| name.starts_with("TEST ")) {
            bail!("{}: « {} » is a TEST anchor", anchors.display(), name.unwrap_or_default());
        }
    }
    Ok(())
}
