//! The operator's trust: anchors, issuing authorities and revocation lists, read from folders.
//!
//! A list is taken only if its issuer is one of the loaded authorities and signed it, if it is complete (no delta, no
//! indirect list), in date, and neither truncated nor older than the list in force. A bad file leaves the good list in
//! force. At start every authority must have its list: no list means no check, and the server refuses to start.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, ParsedExtension, X509Certificate};

use super::revocation::{CLOCK_SKEW, IssuerList};

/// Where anchors, authorities and lists lie.
#[derive(Clone, Debug)]
pub struct TrustFolder {
    /// PEM file of the self-signed roots.
    pub anchors: PathBuf,
    /// PEM file of the issuing authorities below them.
    pub authorities: PathBuf,
    /// Folder of `*.crl` files, PEM or DER, one list each.
    pub revocation_lists: PathBuf,
}

/// One authority: what is needed to recognise and check its list.
#[derive(Debug)]
struct Authority {
    name: Vec<u8>,
    label: String,
    der: CertificateDer<'static>,
}

/// One issuer's list, in both forms.
#[derive(Clone, Debug)]
pub struct HeldList {
    /// As the per-request check takes it.
    pub list: Arc<IssuerList>,
    /// As the handshake's verifier takes it.
    pub der: CertificateRevocationListDer<'static>,
}

/// The trust in force.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The roots.
    pub anchors: Vec<CertificateDer<'static>>,
    /// The lists, by the issuer's name in DER.
    pub lists: HashMap<Vec<u8>, HeldList>,
    /// Files that were not taken, and why.
    pub faults: Vec<String>,
}

impl Trust {
    /// The lists as the per-request check takes them.
    pub fn revocation(&self) -> HashMap<Vec<u8>, Arc<IssuerList>> {
        self.lists.iter().map(|(issuer, held)| (issuer.clone(), Arc::clone(&held.list))).collect()
    }
}

impl TrustFolder {
    /// Reads everything, at start.
    ///
    /// # Errors
    /// A file that cannot be read, an authority without an acceptable list: named in the error. No list would mean no
    /// check.
    pub fn load(&self, now: Timestamp) -> Result<Trust> {
        self.load_beside(&HashMap::new(), now)
    }

    /// Reads everything again. For each issuer the newest list counts, of those in the folder and the one in force: an
    /// older or a bad file never replaces a good one, and holds up nobody else's.
    ///
    /// # Errors
    /// As [`TrustFolder::load`].
    pub fn load_beside(&self, in_force: &HashMap<Vec<u8>, HeldList>, now: Timestamp) -> Result<Trust> {
        let anchors = read_certificates(&self.anchors)?;
        ensure!(!anchors.is_empty(), "{}: no trust anchor", self.anchors.display());
        let mut authorities = Vec::new();
        for der in anchors.iter().cloned().chain(read_certificates(&self.authorities)?) {
            authorities.push(Authority::read(der)?);
        }
        let mut lists: HashMap<Vec<u8>, HeldList> = in_force.clone();
        lists.retain(|issuer, _| authorities.iter().any(|authority| authority.name == *issuer));
        let mut faults = Vec::new();
        for path in list_files(&self.revocation_lists)? {
            match read_list(&path, &authorities, now) {
                Ok((issuer, read)) => {
                    let newer =
                        lists.get(&issuer).is_none_or(|held| held.list.this_update <= read.list.this_update);
                    // An older list beside the newer one is no fault; it only never counts.
                    if newer {
                        lists.insert(issuer, read);
                    }
                }
                Err(error) => faults.push(format!("{}: {error:#}", path.display())),
            }
        }
        for authority in &authorities {
            if !lists.contains_key(&authority.name) {
                bail!(
                    "no acceptable revocation list for « {} » in {}{}",
                    authority.label,
                    self.revocation_lists.display(),
                    faults.iter().map(|fault| format!("\n  {fault}")).collect::<String>()
                );
            }
        }
        Ok(Trust { anchors, lists, faults })
    }
}

impl Authority {
    fn read(der: CertificateDer<'static>) -> Result<Self> {
        let (_, certificate) = X509Certificate::from_der(&der).context("an authority cannot be parsed")?;
        let label = certificate
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .unwrap_or("(no common name)")
            .to_owned();
        Ok(Self { name: certificate.subject().as_raw().to_vec(), label, der: der.clone() })
    }
}

/// All certificates of a PEM file.
///
/// # Errors
/// The file cannot be read or holds something that is no PEM certificate.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .map(|certificate| certificate.with_context(|| format!("{}: not a PEM certificate", path.display())))
        .collect()
}

fn list_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "crl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_list(path: &Path, authorities: &[Authority], now: Timestamp) -> Result<(Vec<u8>, HeldList)> {
    /// Larger than any list of IGC-Santé seen, small enough to parse at leisure.
    const MAXIMUM: u64 = 64 << 20;
    ensure!(std::fs::metadata(path)?.len() <= MAXIMUM, "larger than {MAXIMUM} bytes");
    let bytes = std::fs::read(path)?;
    let der = if bytes.starts_with(b"-----") {
        CertificateRevocationListDer::from_pem_slice(&bytes).context("not PEM")?
    } else {
        CertificateRevocationListDer::from(bytes)
    };
    let (rest, parsed) = CertificateRevocationList::from_der(&der).context("not a revocation list")?;
    ensure!(rest.is_empty(), "bytes after the end");
    let issuer = parsed.issuer().as_raw().to_vec();
    // An authority that renewed its key stands there twice under one name.
    let mut of_that_name = authorities.iter().filter(|authority| authority.name == issuer).peekable();
    of_that_name.peek().context("its issuer is not among the authorities")?;
    of_that_name.map(|authority| verify_signature(&der, authority)).reduce(Result::or).unwrap_or(Ok(()))?;
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(_) => {
                bail!("a partial or indirect list: give the complete one")
            }
            _ if extension.oid.to_id_string() == "2.5.29.27" => bail!("a delta list: give the complete one"),
            _ => {}
        }
    }
    let this_update = parsed.last_update().timestamp();
    let next_update = parsed.next_update().context("no nextUpdate")?.timestamp();
    ensure!(this_update <= now.as_second() + CLOCK_SKEW, "made in the future");
    ensure!(next_update > now.as_second(), "past its nextUpdate");
    let revoked: HashSet<Vec<u8>> =
        parsed.iter_revoked_certificates().map(|entry| entry.raw_serial().to_vec()).collect();
    drop(parsed);
    Ok((issuer, HeldList { list: Arc::new(IssuerList { this_update, next_update, revoked }), der }))
}

/// OpenSSL checks the signature: rustls' own check happens only inside a handshake.
fn verify_signature(list: &CertificateRevocationListDer<'_>, authority: &Authority) -> Result<()> {
    let list = openssl::x509::X509Crl::from_der(list).context("not a revocation list")?;
    let key = openssl::x509::X509::from_der(&authority.der)?.public_key()?;
    ensure!(list.verify(&key)?, "its signature is not that of « {} »", authority.label);
    Ok(())
}
