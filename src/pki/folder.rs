//! The folder of a test PKI.
//!
//! ```text
//! ca.pem                   the roots: what a client trusts
//! NAME.pem NAME.key NAME.p12
//! server.pem server.key    the API's own certificate
//! trust/anchors.pem trust/authorities.pem trust/crl/*.crl
//! authorities/*.pem *.key *.revoked
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::stack::Stack;
use openssl::x509::X509;

use super::authority::{Authority, Branch, Range};
use super::holder::Holder;
use crate::tls::{TrustFolder, trust};

/// The password of every PKCS#12 file.
pub const PASSWORD: &str = "habilis";
/// A list of the sandbox lasts so long; each start of the sandbox makes new ones.
const LIST_DAYS: i64 = 365;

/// The authorities of the test PKI.
const AUTHORITIES: [(Range, Branch); 3] = [
    (Range::Fort, Branch::Personnes),
    (Range::Standard, Branch::Personnes),
    (Range::Elementaire, Branch::Organisations),
];

/// A folder that holds a test PKI.
#[derive(Clone, Debug)]
pub struct PkiFolder {
    path: PathBuf,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Name of its files.
    pub name: String,
    /// Serial number, hexadecimal.
    pub serial: String,
}

/// Files of the folder that are no certificate's.
const RESERVED: [&str; 6] = ["ca", "complete", "token", "audit", "directory", "operator-keys"];

impl PkiFolder {
    /// The PKI of a folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a whole PKI stands there: the last file written is there.
    pub fn is_complete(&self) -> bool {
        self.path.join("complete").exists()
    }

    /// What the API listener trusts.
    pub fn trust(&self) -> TrustFolder {
        let folder = self.path.join("trust");
        TrustFolder {
            branch: trust::Branch::Test,
            anchors: folder.join("anchors.pem"),
            authorities: folder.join("authorities.pem"),
            revocation_lists: folder.join("crl"),
        }
    }

    /// Makes the authorities and issues a certificate to each holder, `progress` being told of each step.
    ///
    /// # Errors
    /// OpenSSL's, or the file system's.
    pub fn create(
        &self,
        holders: &[(&str, Holder)],
        now: Timestamp,
        progress: &(dyn Fn(&str) + Sync),
    ) -> Result<Vec<Issued>> {
        for folder in ["", "trust/crl", "authorities"] {
            fs::create_dir_all(self.path.join(folder))
                .with_context(|| format!("cannot make {}", self.path.join(folder).display()))?;
        }
        let roots = in_parallel(&AUTHORITIES, |(range, _)| {
            let root = Authority::root(*range, now)?;
            progress(&root.file);
            Ok(root)
        })?;
        let issuing = in_parallel(&AUTHORITIES, |(range, branch)| {
            let position = AUTHORITIES.iter().position(|(of, _)| of == range).unwrap_or_default();
            let root = roots.get(position).context("a root for each authority")?;
            let authority = Authority::issuing(*range, *branch, root, now)?;
            progress(&authority.file);
            Ok(authority)
        })?;
        let pem = |authorities: &[Authority]| -> Result<Vec<u8>> {
            let mut pem = Vec::new();
            for authority in authorities {
                pem.extend(authority.certificate.to_pem()?);
            }
            Ok(pem)
        };
        write(&self.path.join("ca.pem"), &pem(&roots)?)?;
        write(&self.trust().anchors, &pem(&roots)?)?;
        write(&self.trust().authorities, &pem(&issuing)?)?;
        for authority in roots.iter().chain(&issuing) {
            self.keep(authority)?;
        }
        let issued = in_parallel(holders, |(name, holder)| {
            let issued = self.issue(name, holder, now)?;
            progress(name);
            Ok(issued)
        })?;
        self.refresh_lists(now)?;
        write(&self.path.join("complete"), b"")?;
        Ok(issued)
    }

    /// Issues one certificate: PEM (leaf and chain), key, PKCS#12.
    ///
    /// # Errors
    /// OpenSSL's, or the file system's; a name that is no file name.
    pub fn issue(&self, name: &str, holder: &Holder, now: Timestamp) -> Result<Issued> {
        let (range, branch) = holder.kind.issuer();
        let issuer = self.authority(range, branch)?;
        self.issue_under(name, holder, &issuer, now)
    }

    /// Issues one certificate under a given authority, which may be one that nobody trusts.
    ///
    /// # Errors
    /// OpenSSL's, or the file system's; a name that is no file name.
    pub fn issue_under(
        &self,
        name: &str,
        holder: &Holder,
        issuer: &Authority,
        now: Timestamp,
    ) -> Result<Issued> {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
            bail!("« {name} » is no name for a certificate: letters, digits, - and _");
        }
        // What else stands in the folder is not written over.
        if RESERVED.contains(&name) {
            bail!("« {name} » is no name for a certificate: the sandbox has a file of this name");
        }
        let (certificate, key) = holder.issue(issuer, now)?;
        let mut pem = certificate.to_pem()?;
        pem.extend(issuer.certificate.to_pem()?);
        write(&self.path.join(format!("{name}.pem")), &pem)?;
        write_secret(&self.path.join(format!("{name}.key")), &key.private_key_to_pem_pkcs8()?)?;
        let mut chain = Stack::new()?;
        chain.push(issuer.certificate.clone())?;
        let pkcs12 = Pkcs12::builder().name(name).pkey(&key).cert(&certificate).ca(chain).build2(PASSWORD)?;
        write_secret(&self.path.join(format!("{name}.p12")), &pkcs12.to_der()?)?;
        let serial = certificate.serial_number().to_bn()?.to_hex_str()?.to_string();
        Ok(Issued { name: name.to_owned(), serial })
    }

    /// The names of the certificates that stand here with their keys, in their order.
    ///
    /// # Errors
    /// The file system's.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).with_context(|| format!("cannot read {}", self.path.display()))? {
            let path = entry?.path();
            let is_card = path.extension().is_some_and(|extension| extension == "p12");
            if let Some(name) = path.file_stem().and_then(|name| name.to_str()).filter(|_| is_card) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// A certificate that was issued here, DER.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be read.
    pub fn certificate(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path.join(format!("{name}.pem"));
        let pem = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(X509::from_pem(&pem)?.to_der()?)
    }

    /// The key that signs the server's tokens: made when it is asked for first.
    ///
    /// # Errors
    /// OpenSSL's, or the file system's.
    pub fn token_key(&self) -> Result<PathBuf> {
        let path = self.path.join("token.key");
        if !path.exists() {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
            write_secret(&path, &key.private_key_to_pem_pkcs8()?)?;
        }
        Ok(path)
    }

    /// The key that signs checkpoints of the traces, made where there is none: PEM, PKCS#8, Ed25519.
    ///
    /// # Errors
    /// The file system's, or OpenSSL's.
    pub fn audit_key(&self) -> Result<PathBuf> {
        let path = self.path.join("audit.key");
        if !path.exists() {
            write_secret(&path, &PKey::generate_ed25519()?.private_key_to_pem_pkcs8()?)?;
        }
        Ok(path)
    }

    /// Where `habilis pki issue` notes which professional exercises where, for the sandbox's directory.
    pub fn directory(&self) -> PathBuf {
        self.path.join("directory.tsv")
    }

    /// Notes an activity of a professional.
    ///
    /// # Errors
    /// The file system's.
    pub fn note_activity(&self, professional: &str, profession: u8, structure: &str) -> Result<()> {
        let mut lines = read_lines(&self.directory())?;
        lines.push(format!("{professional}\t{profession}\t{structure}"));
        write(&self.directory(), (lines.join("\n") + "\n").as_bytes())
    }

    /// Puts a certificate on its issuer's list.
    ///
    /// # Errors
    /// The certificate or the authority is not of this folder.
    pub fn revoke(&self, name: &str, now: Timestamp) -> Result<()> {
        let certificate = read_certificate(&self.path.join(format!("{name}.pem")))?;
        let serial = certificate.serial_number().to_bn()?.to_hex_str()?.to_string();
        for (range, branch) in AUTHORITIES {
            let authority = self.authority(range, branch)?;
            if authority.certificate.subject_name().to_der()? == certificate.issuer_name().to_der()? {
                let path = self.path.join("authorities").join(format!("{}.revoked", authority.file));
                let mut revoked = read_lines(&path)?;
                revoked.push(serial);
                write(&path, revoked.join("\n").as_bytes())?;
                return self.refresh_list(&authority, now);
            }
        }
        bail!("{name} was not issued by an authority of this folder")
    }

    /// Whether all lists can be loaded and none is due within a month.
    pub fn lists_are_fresh(&self, now: Timestamp) -> bool {
        const MONTH: i64 = 30 * 86_400;
        let soon = now.as_second() + MONTH;
        self.trust().load(now).is_ok_and(|trust| trust.lists.values().all(|list| list.next_update > soon))
    }

    /// Makes all lists anew.
    ///
    /// # Errors
    /// OpenSSL's, or the file system's.
    pub fn refresh_lists(&self, now: Timestamp) -> Result<()> {
        let mut authorities = Vec::new();
        for (range, branch) in AUTHORITIES {
            authorities.push(self.authority(range, branch)?);
            authorities.push(self.root(range)?);
        }
        in_parallel(&authorities, |authority| self.refresh_list(authority, now))?;
        Ok(())
    }

    fn refresh_list(&self, authority: &Authority, now: Timestamp) -> Result<()> {
        let revoked = read_lines(&self.path.join("authorities").join(format!("{}.revoked", authority.file)))?;
        let number = u64::try_from(now.as_second()).unwrap_or_default();
        let list = authority.revocation_list(&revoked, number, LIST_DAYS, now)?;
        write(&self.trust().revocation_lists.join(format!("{}.crl", authority.file)), &list)
    }

    fn keep(&self, authority: &Authority) -> Result<()> {
        let folder = self.path.join("authorities");
        write(&folder.join(format!("{}.pem", authority.file)), &authority.certificate.to_pem()?)?;
        let key = authority.key.private_key_to_pem_pkcs8()?;
        write_secret(&folder.join(format!("{}.key", authority.file)), &key)
    }

    /// An issuing authority of the folder.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn authority(&self, range: Range, branch: Branch) -> Result<Authority> {
        let range = match range {
            Range::Elementaire => "EL",
            Range::Standard => "ST",
            Range::Fort => "FO",
        };
        let branch = match branch {
            Branch::Personnes => "PP",
            Branch::Organisations => "ORG",
        };
        self.read_authority(format!("ACI-{range}-{branch}-TEST"))
    }

    fn root(&self, range: Range) -> Result<Authority> {
        let range = match range {
            Range::Elementaire => "EL",
            Range::Standard => "ST",
            Range::Fort => "FO",
        };
        self.read_authority(format!("ACR-{range}-TEST"))
    }

    fn read_authority(&self, file: String) -> Result<Authority> {
        let folder = self.path.join("authorities");
        let key_path = folder.join(format!("{file}.key"));
        let key = fs::read(&key_path).with_context(|| format!("cannot read {}", key_path.display()))?;
        Ok(Authority {
            certificate: read_certificate(&folder.join(format!("{file}.pem")))?,
            key: PKey::<Private>::private_key_from_pem(&key)?,
            file,
        })
    }
}

fn read_certificate(path: &Path) -> Result<X509> {
    let pem = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(X509::from_pem(&pem)?)
}

fn read_lines(path: &Path) -> Result<Vec<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Whole or not at all: a reader that looks meanwhile sees the old file or the new one.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    let beside = path.with_extension(format!(
        "{}.new",
        path.extension().and_then(|extension| extension.to_str()).unwrap_or_default()
    ));
    fs::write(&beside, content).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}

/// As [`write()`], readable by its owner alone.
fn write_secret(path: &Path, content: &[u8]) -> Result<()> {
    write(path, content)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Runs the work of each item on as many threads as there are cores, and keeps the order. RSA keys take their time.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> Result<R> + Sync) -> Result<Vec<R>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len().max(1));
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((position, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
                {
                    let result = work(item);
                    let mut results = results.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    results.push((position, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(position, _)| *position);
    results.into_iter().map(|(_, result)| result).collect()
}
