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
use x509_parser::prelude::{CertificateRevocationList, FromDer, ParsedExtension};

use super::authority::Authority;
use super::revocation::{CLOCK_SKEW, IssuerList, Revocation};

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

/// Issuing authorities one below the other, at most. IGC-Santé has one.
pub const ISSUING_LEVELS: usize = 1;

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
    /// The roots, and the issuing authorities below them.
    pub authorities: Vec<Authority>,
    /// The lists, by the issuer's name in DER.
    pub lists: HashMap<Vec<u8>, HeldList>,
    /// Files that were not taken, and why.
    pub faults: Vec<String>,
}

impl Trust {
    /// Puts it in force for the per-request check.
    pub fn enforce(&self, revocation: &Revocation) {
        let lists = self.lists.iter().map(|(issuer, held)| (issuer.clone(), Arc::clone(&held.list))).collect();
        revocation.replace(lists, self.authorities.clone());
    }
}

impl IssuerList {
    /// Whether this list may take the place of another: made no earlier, and numbered no lower (RFC 5280, 5.2.3).
    fn follows(&self, other: &IssuerList) -> bool {
        let number = |list: &IssuerList| (list.number.len(), list.number.clone());
        self.this_update >= other.this_update && number(self) >= number(other)
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
        let (authorities, left) =
            authorities(anchors, read_certificates(&self.authorities)?, ISSUING_LEVELS, now);
        if let Some(fault) = left.first() {
            bail!("{} or {}: {fault}", self.anchors.display(), self.authorities.display());
        }
        let mut lists: HashMap<Vec<u8>, HeldList> = in_force.clone();
        lists.retain(|issuer, _| authorities.iter().any(|authority| authority.name == *issuer));
        let mut faults = Vec::new();
        for path in list_files(&self.revocation_lists)? {
            match read_file(&path).and_then(|bytes| read_list(&bytes, &authorities, now)) {
                Ok((issuer, read)) => {
                    let newer = lists.get(&issuer).is_none_or(|held| read.list.follows(&held.list));
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
        Ok(Trust { authorities, lists, faults })
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

fn read_file(path: &Path) -> Result<Vec<u8>> {
    ensure!(std::fs::metadata(path)?.len() <= MAXIMUM_LIST, "larger than {MAXIMUM_LIST} bytes");
    Ok(std::fs::read(path)?)
}

/// Larger than any list of IGC-Santé seen, small enough to parse at leisure.
const MAXIMUM_LIST: u64 = 64 << 20;

/// The authorities that may stand above a leaf: the anchors, and what stands below them. Those left aside are told of.
pub fn authorities(
    anchors: Vec<CertificateDer<'static>>,
    issuing: Vec<CertificateDer<'static>>,
    levels: usize,
    now: Timestamp,
) -> (Vec<Authority>, Vec<String>) {
    let (mut authorities, mut left) = (Vec::new(), Vec::new());
    for der in anchors {
        match Authority::anchor(der, now) {
            Ok(anchor) => authorities.push(anchor),
            Err(error) => left.push(format!("an anchor is not acceptable: {error:#}")),
        }
    }
    let mut waiting = issuing;
    // One round a level, so that the order in the file does not matter.
    for _ in 0..levels {
        let mut unplaced = Vec::new();
        let mut placed = Vec::new();
        for der in waiting {
            match Authority::issuing(der.clone(), &authorities, now) {
                Ok(authority) => placed.push(authority),
                Err(error) => unplaced.push((der, error)),
            }
        }
        waiting = unplaced.iter().map(|(der, _)| der.clone()).collect();
        left.retain(|fault| !fault.starts_with(UNPLACED));
        left.extend(unplaced.iter().map(|(_, error)| format!("{UNPLACED}{error:#}")));
        let known = |one: &Authority| authorities.iter().any(|other: &Authority| other.der == one.der);
        placed.retain(|one| !known(one));
        authorities.extend(placed);
    }
    if levels == 0 {
        left.extend(
            waiting.iter().map(|_| format!("{UNPLACED}no issuing authority may stand below an anchor")),
        );
    }
    (authorities, left)
}

const UNPLACED: &str = "an issuing authority is not acceptable: ";

/// Reads one list: complete, signed by one of the authorities, numbered, in date. A parser that panics costs this list
/// alone.
///
/// # Errors
/// Why it is not taken.
pub fn read_list(bytes: &[u8], authorities: &[Authority], now: Timestamp) -> Result<(Vec<u8>, HeldList)> {
    std::panic::catch_unwind(|| parse_list(bytes, authorities, now))
        .unwrap_or_else(|_| bail!("reading it made the parser panic"))
}

fn parse_list(bytes: &[u8], authorities: &[Authority], now: Timestamp) -> Result<(Vec<u8>, HeldList)> {
    let der = if bytes.starts_with(b"-----") {
        CertificateRevocationListDer::from_pem_slice(bytes).context("not PEM")?
    } else {
        CertificateRevocationListDer::from(bytes.to_vec())
    };
    let (issuer, list) = facts(&der)?;
    // An authority that renewed its key stands there twice under one name.
    let mut of_that_name = authorities.iter().filter(|authority| authority.name == issuer).peekable();
    of_that_name.peek().context("its issuer is not among the authorities")?;
    of_that_name.map(|authority| verify_signature(&der, authority)).reduce(Result::or).unwrap_or(Ok(()))?;
    ensure!(list.this_update <= now.as_second() + CLOCK_SKEW, "made in the future");
    ensure!(list.next_update > now.as_second(), "past its nextUpdate");
    // The verifier of the handshake takes all lists or none: one that it would not take stays out.
    webpki::OwnedCertRevocationList::from_der(&der).context("rustls does not take it")?;
    Ok((issuer, HeldList { list: Arc::new(list), der }))
}

/// What a list says, whoever signed it: issuer and content. Only a complete list is one.
///
/// # Errors
/// It is not DER, or a part, or says what is not understood.
pub fn facts(der: &[u8]) -> Result<(Vec<u8>, IssuerList)> {
    let (rest, parsed) = CertificateRevocationList::from_der(der).ok().context("not a revocation list")?;
    ensure!(rest.is_empty(), "bytes after the end");
    let mut number = None;
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(_) => {
                bail!("a partial or indirect list: give the complete one")
            }
            ParsedExtension::CRLNumber(read) => {
                ensure!(!extension.critical && number.is_none(), "its number is critical or stands twice");
                number = Some(read.to_bytes_be());
            }
            _ if extension.oid.to_id_string() == "2.5.29.27" => bail!("a delta list: give the complete one"),
            _ => {
                ensure!(!extension.critical, "a critical extension {} that is not understood", extension.oid)
            }
        }
    }
    let mut revoked = HashSet::new();
    for entry in parsed.iter_revoked_certificates() {
        ensure!(
            entry.extensions().iter().all(|extension| !extension.critical),
            "an entry with a critical extension: an indirect list"
        );
        revoked.insert(entry.raw_serial().to_vec());
    }
    let list = IssuerList {
        number: number.context("it has no number")?,
        this_update: parsed.last_update().timestamp(),
        next_update: parsed.next_update().context("no nextUpdate")?.timestamp(),
        revoked,
    };
    Ok((parsed.issuer().as_raw().to_vec(), list))
}

/// OpenSSL checks the signature: rustls' own check happens only inside a handshake.
fn verify_signature(list: &CertificateRevocationListDer<'_>, authority: &Authority) -> Result<()> {
    ensure!(authority.may_sign_lists, "the key usage of « {} » lets it sign no list", authority.label);
    let list = openssl::x509::X509Crl::from_der(list).context("not a revocation list")?;
    let key = openssl::x509::X509::from_der(&authority.der)?.public_key()?;
    ensure!(list.verify(&key)?, "its signature is not that of « {} »", authority.label);
    Ok(())
}
