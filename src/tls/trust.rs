//! The operator's trust: anchors, issuing authorities and revocation lists, read from folders.
//!
//! A list is taken only if its issuer is one of the loaded authorities and signed it, if it is complete (no delta, no
//! indirect list), in date, and neither truncated nor older than the list in force. A bad file leaves the good list in
//! force. At start every authority must have its list: no list means no check, and the server refuses to start.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, ParsedExtension, X509Certificate};

use super::authority::Authority;
use super::revocation::{CLOCK_SKEW, IssuerKey, IssuerList, Lists, Revocation};

/// Which branch of IGC-Santé a server trusts. The two never mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Real cards.
    Production,
    /// The TEST branch, by `CN=TEST …` or `OU=… TEST`.
    Test,
}

/// Where anchors, authorities and lists lie.
#[derive(Clone, Debug)]
pub struct TrustFolder {
    /// The branch: what belongs to the other is refused, at start and later.
    pub branch: Branch,
    /// PEM file of the self-signed roots.
    pub anchors: PathBuf,
    /// PEM file of the issuing authorities below them.
    pub authorities: PathBuf,
    /// Folder of `*.crl` files, PEM or DER, one list each.
    pub revocation_lists: PathBuf,
}

/// Issuing authorities one below the other, at most. IGC-Santé has one.
pub const ISSUING_LEVELS: usize = 1;

/// The trust in force.
#[derive(Clone, Debug)]
pub struct Trust {
    /// The roots, and the issuing authorities below them.
    pub authorities: Vec<Authority>,
    /// The lists, by who made them.
    pub lists: Lists,
    /// What was not taken, and why.
    pub faults: Vec<String>,
}

impl Trust {
    /// Puts it in force: for handshakes and for requests.
    pub fn enforce(&self, revocation: &Revocation) {
        revocation.replace(self.lists.clone(), self.authorities.clone());
    }
}

impl IssuerList {
    fn order(&self) -> (usize, &[u8]) {
        (self.number.len(), &self.number)
    }

    /// Made later, or at the same second and numbered no lower.
    fn is_newer(&self, other: &IssuerList) -> bool {
        (self.this_update, self.order()) >= (other.this_update, other.order())
    }

    /// Numbered lower, though made later: RFC 5280 (5.2.3) has no such thing.
    fn runs_backwards(&self, other: &IssuerList) -> bool {
        self.this_update > other.this_update && self.order() < other.order()
    }
}

impl TrustFolder {
    /// Refuses authorities of the other branch, before anything else is opened.
    ///
    /// # Errors
    /// Names the first.
    pub fn refuse_other_branch(&self) -> Result<()> {
        for path in [&self.anchors, &self.authorities] {
            if let Some(der) = read_certificates(path)?.iter().find(|der| branch_of(der) != self.branch) {
                bail!("{}: {}", path.display(), other_branch(der));
            }
        }
        Ok(())
    }

    /// Reads everything, at start.
    ///
    /// # Errors
    /// Whatever is not as it should be: a file that cannot be read, an authority of the other branch or that is no
    /// authority, one without an acceptable list. No list would mean no check.
    pub fn load(&self, now: Timestamp) -> Result<Trust> {
        let anchors = read_certificates(&self.anchors)?;
        ensure!(!anchors.is_empty(), "{}: no trust anchor", self.anchors.display());
        let trust = self.load_with(anchors, read_certificates(&self.authorities)?, &Lists::new(), now)?;
        let of_authorities =
            |fault: &&String| [UNACCEPTABLE, UNFIT, UNPLACED].iter().any(|kind| fault.starts_with(kind));
        if let Some(fault) = trust.faults.iter().find(of_authorities) {
            bail!("{} or {}: {fault}", self.anchors.display(), self.authorities.display());
        }
        let without =
            trust.authorities.iter().find(|authority| !trust.lists.contains_key(&authority.issuer_key()));
        let told = |faults: &[String]| faults.iter().map(|fault| format!("\n  {fault}")).collect::<String>();
        if let Some(authority) = without {
            bail!(
                "no acceptable revocation list for « {} » in {}{}",
                authority.label,
                self.revocation_lists.display(),
                told(&trust.faults)
            );
        }
        Ok(trust)
    }

    /// Reads everything again, while serving. What is bad is left aside and said, and holds up nothing else: a list that
    /// revokes is always taken. For each issuer the newest list counts, of those in the folder and the one in force.
    ///
    /// # Errors
    /// The folder of lists cannot be read.
    pub fn load_beside(&self, in_force: &Trust, now: Timestamp) -> Result<Trust> {
        let mut faults = Vec::new();
        let mut read = |path: &Path, anchors: bool| {
            let kept = in_force.authorities.iter().filter(|authority| authority.is_anchor() == anchors);
            let kept: Vec<_> = kept.map(|authority| authority.der.clone()).collect();
            // A file that is being written, or that a full disk cut short, may read as nothing at all.
            let fault = match read_certificates(path) {
                Ok(read) if !read.is_empty() || kept.is_empty() => return read,
                Ok(_) => format!("{}: no certificate", path.display()),
                Err(error) => format!("{error:#}"),
            };
            faults.push(format!("{fault}: those in force stay"));
            kept
        };
        let (anchors, issuing) = (read(&self.anchors, true), read(&self.authorities, false));
        let mut trust = self.load_with(anchors, issuing, &in_force.lists, now)?;
        for authority in &trust.authorities {
            if !trust.lists.contains_key(&authority.issuer_key()) {
                faults.push(format!("no acceptable revocation list for « {} »", authority.label));
            }
        }
        trust.faults.splice(0..0, faults);
        Ok(trust)
    }

    fn load_with(
        &self,
        anchors: Vec<CertificateDer<'static>>,
        issuing: Vec<CertificateDer<'static>>,
        in_force: &Lists,
        now: Timestamp,
    ) -> Result<Trust> {
        let mut faults = Vec::new();
        let mut of_branch = |all: Vec<CertificateDer<'static>>| -> Vec<CertificateDer<'static>> {
            let (ours, others): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|der| branch_of(der) == self.branch);
            faults.extend(others.iter().map(|der| format!("{UNFIT}{}", other_branch(der))));
            ours
        };
        let (anchors, issuing) = (of_branch(anchors), of_branch(issuing));
        let (authorities, left) = authorities(anchors, issuing, ISSUING_LEVELS, now);
        faults.extend(left);
        let mut lists: Lists = in_force.clone();
        let mut newest = Lists::new();
        for path in list_files(&self.revocation_lists)? {
            match read_file(&path).and_then(|bytes| read_list(&bytes, &authorities, now)) {
                // An older list beside the newer one is no fault; it only never counts.
                Ok((issuer, read)) => {
                    let held = lists.get(&issuer).filter(|held| held.next_update > now.as_second());
                    if held.is_some_and(|held| read.runs_backwards(held)) {
                        let what = "a later list with a lower number; the one in force stays";
                        faults.push(format!("{}: {what}", path.display()));
                    } else if newest.get(&issuer).is_none_or(|other| read.is_newer(other)) {
                        newest.insert(issuer, Arc::new(read));
                    }
                }
                Err(error) => faults.push(format!("{}: {error:#}", path.display())),
            }
        }
        for (issuer, read) in newest {
            let label = authorities.iter().find(|authority| authority.issuer_key() == issuer);
            let label = label.map_or("", |authority| &authority.label);
            match lists.get(&issuer) {
                Some(held) if held.next_update > now.as_second() && !read.is_newer(held) => {
                    faults.push(format!("« {label} »: only an older list lies there; the one in force stays"));
                }
                _ => {
                    lists.insert(issuer, read);
                }
            }
        }
        Ok(Trust { authorities, lists, faults })
    }
}

const UNACCEPTABLE: &str = "an anchor is not acceptable: ";
const UNFIT: &str = "an authority of the wrong branch: ";

fn branch_of(der: &CertificateDer<'_>) -> Branch {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return Branch::Test };
    let subject = certificate.subject();
    let name = subject.iter_common_name().next().and_then(|name| name.as_str().ok()).unwrap_or_default();
    let mut units = subject.iter_organizational_unit().filter_map(|unit| unit.as_str().ok());
    if name.starts_with("TEST ") || units.any(|unit| unit.ends_with(" TEST")) {
        Branch::Test
    } else {
        Branch::Production
    }
}

fn other_branch(der: &CertificateDer<'_>) -> String {
    let parsed = X509Certificate::from_der(der).ok();
    let name = parsed.as_ref().and_then(|(_, certificate)| {
        certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok())
    });
    let is = if branch_of(der) == Branch::Test { "is a TEST authority" } else { "is not a TEST authority" };
    format!("« {} » {is}", name.unwrap_or("(no common name)"))
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
            Err(error) => left.push(format!("{UNACCEPTABLE}{error:#}")),
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
pub fn read_list(bytes: &[u8], authorities: &[Authority], now: Timestamp) -> Result<(IssuerKey, IssuerList)> {
    std::panic::catch_unwind(|| parse_list(bytes, authorities, now))
        .unwrap_or_else(|_| bail!("reading it made the parser panic"))
}

fn parse_list(bytes: &[u8], authorities: &[Authority], now: Timestamp) -> Result<(IssuerKey, IssuerList)> {
    let der = if bytes.starts_with(b"-----") {
        CertificateRevocationListDer::from_pem_slice(bytes).context("not PEM")?
    } else {
        CertificateRevocationListDer::from(bytes.to_vec())
    };
    let ListFacts { issuer, covers, list } = facts(&der)?;
    // An authority that renewed its key stands there twice under one name: the one that signed is whose list it is.
    let mut of_that_name = authorities.iter().filter(|authority| authority.name == issuer).peekable();
    of_that_name.peek().context("its issuer is not among the authorities")?;
    let mut last = Ok(());
    let signer = of_that_name.find(|authority| {
        last = verify_signature(&der, authority);
        last.is_ok()
    });
    let Some(signer) = signer else { return last.and_then(|()| bail!("nobody signed it")) };
    let whole = match covers {
        Covers::Everything => true,
        Covers::Users => !signer.is_anchor(),
        Covers::Authorities => signer.is_anchor(),
    };
    ensure!(whole, "a partial list: give the complete one");
    ensure!(list.this_update <= now.as_second() + CLOCK_SKEW, "made in the future");
    ensure!(list.next_update > now.as_second(), "past its nextUpdate");
    Ok((signer.issuer_key(), list))
}

/// What of an issuer's certificates a list is about. An anchor issues authorities and an issuing authority issues users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Covers {
    /// All.
    Everything,
    /// `onlyContainsUserCerts`.
    Users,
    /// `onlyContainsCACerts`.
    Authorities,
}

/// What a list says.
#[derive(Debug)]
pub struct ListFacts {
    /// Distinguished name, DER.
    pub issuer: Vec<u8>,
    /// What it is about.
    pub covers: Covers,
    /// The list.
    pub list: IssuerList,
}

/// What a list says, whoever signed it: issuer and content. Only a complete list is one.
///
/// # Errors
/// It is not DER, or a part, or says what is not understood.
pub fn facts(der: &[u8]) -> Result<ListFacts> {
    let (rest, parsed) = CertificateRevocationList::from_der(der).ok().context("not a revocation list")?;
    ensure!(rest.is_empty(), "bytes after the end");
    let (mut number, mut covers) = (None, Covers::Everything);
    for extension in parsed.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => {
                let indirect = point.indirect_crl || point.only_contains_attribute_certs;
                ensure!(
                    !indirect && point.only_some_reasons.is_none(),
                    "a partial or indirect list: give the complete one"
                );
                covers = match (point.only_contains_user_certs, point.only_contains_ca_certs) {
                    (false, false) => Covers::Everything,
                    (true, false) => Covers::Users,
                    (false, true) => Covers::Authorities,
                    (true, true) => bail!("a list of no certificates"),
                };
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
    Ok(ListFacts { issuer: parsed.issuer().as_raw().to_vec(), covers, list })
}

/// OpenSSL checks the signature: rustls' own check happens only inside a handshake.
fn verify_signature(list: &CertificateRevocationListDer<'_>, authority: &Authority) -> Result<()> {
    ensure!(authority.may_sign_lists, "the key usage of « {} » lets it sign no list", authority.label);
    let list = openssl::x509::X509Crl::from_der(list).context("not a revocation list")?;
    let key = openssl::x509::X509::from_der(&authority.der)?.public_key()?;
    ensure!(list.verify(&key)?, "its signature is not that of « {} »", authority.label);
    Ok(())
}
