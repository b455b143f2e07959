//! An OCSP responder (RFC 6960) over plain HTTP, which answers well or badly as a test wants.
//!
//! It signs as the issuing authority itself. The `openssl` crate makes no such answers: this is DER by hand.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::sha::{sha1, sha256};
use openssl::sign::Signer;
use openssl::x509::extension::ExtendedKeyUsage;
use openssl::x509::{X509, X509Name};

/// How long a late answer takes.
const LATE: Duration = Duration::from_secs(20);
/// How long the responder waits for a request once somebody is connected.
const PATIENCE: Duration = Duration::from_secs(10);
/// No request is longer.
const LONGEST: u64 = 65_536;
const DAY: i64 = 86_400;

/// A signatory that no issuer named.
static STRANGER: LazyLock<Signatory> = LazyLock::new(Signatory::stranger);

/// How the responder answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// `good` for every serial number that is not revoked.
    Good,
    /// As [`Behaviour::Good`], after 20 s.
    Late,
    /// Bytes that are no DER.
    Malformed,
    /// `tryLater`, without a body.
    TryLater,
    /// The signature has one other bit.
    ForgedSignature,
    /// Signed by a responder that the issuer never named, whose self-signed certificate is enclosed.
    OtherSigner,
    /// `good` about another serial number than the one asked about.
    OtherSerial,
    /// Was true from two days ago until yesterday.
    Stale,
    /// Half an hour old, and still fresh.
    Older,
    /// As it should, without `nextUpdate`.
    WithoutEnd,
    /// HTTP 500.
    Error500,
}

/// A running responder; it ends with its value.
pub struct Responder {
    pub url: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Answers for the issuing authority of this file name (`ACI-FO-PP-TEST`) of a test PKI.
    pub fn start(certs: &Path, authority: &str) -> Self {
        let authority = Signatory::read(&certs.join("authorities"), authority);
        let state = State { behaviour: Behaviour::Good, revoked: BTreeSet::new(), requests: 0, ended: false };
        let shared = Arc::new(Shared { authority, state: Mutex::new(state), end: Condvar::new() });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            loop {
                let accepted = listener.accept();
                if accepting.state.lock().unwrap().ended {
                    break;
                }
                let Ok((socket, _)) = accepted else { continue };
                let serving = Arc::clone(&accepting);
                // A thread each: a late answer holds up no other.
                std::thread::spawn(move || {
                    // Who asked may have gone.
                    let _ = serving.serve(&socket);
                });
            }
        });
        Self { url: format!("http://{address}/"), address, shared, thread: Some(thread) }
    }

    /// From now on this serial number (hexadecimal) is revoked.
    pub fn revoke(&self, serial_hex: &str) {
        let serial = BigNum::from_hex_str(serial_hex).unwrap().to_vec();
        self.shared.state.lock().unwrap().revoked.insert(serial);
    }

    /// From now on it is good again.
    pub fn restore(&self, serial_hex: &str) {
        let serial = BigNum::from_hex_str(serial_hex).unwrap().to_vec();
        self.shared.state.lock().unwrap().revoked.remove(&serial);
    }

    /// From now on it answers so.
    pub fn behave(&self, behaviour: Behaviour) {
        if behaviour == Behaviour::OtherSigner {
            // Its key takes time, which shall not be the answer's.
            LazyLock::force(&STRANGER);
        }
        self.shared.state.lock().unwrap().behaviour = behaviour;
    }

    /// Requests so far; one counts once it was read, before its answer is sent.
    pub fn requests(&self) -> usize {
        self.shared.state.lock().unwrap().requests
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().ended = true;
        self.shared.end.notify_all();
        // The thread waits for a connection: here is its last.
        if let (Some(thread), Ok(_)) = (self.thread.take(), TcpStream::connect(self.address)) {
            let _ = thread.join();
        }
    }
}

struct Shared {
    authority: Signatory,
    state: Mutex<State>,
    end: Condvar,
}

struct State {
    behaviour: Behaviour,
    /// Big-endian, without leading zeros.
    revoked: BTreeSet<Vec<u8>>,
    requests: usize,
    ended: bool,
}

impl Shared {
    /// One connection, one request.
    fn serve(&self, mut socket: &TcpStream) -> io::Result<()> {
        socket.set_read_timeout(Some(PATIENCE))?;
        let request = read_http(socket)?;
        let behaviour = {
            let mut state = self.state.lock().unwrap();
            state.requests += 1;
            state.behaviour
        };
        if behaviour == Behaviour::Late {
            let state = self.state.lock().unwrap();
            let (state, _) = self.end.wait_timeout_while(state, LATE, |state| !state.ended).unwrap();
            if state.ended {
                return Ok(());
            }
        }
        let (status, body) = match behaviour {
            Behaviour::Error500 => ("500 Internal Server Error", Vec::new()),
            Behaviour::Malformed => ("200 OK", b"rubbish".to_vec()),
            Behaviour::TryLater => ("200 OK", failure(TRY_LATER)),
            _ => match request {
                Some(request) => ("200 OK", self.response(&request, behaviour)),
                None => ("400 Bad Request", Vec::new()),
            },
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        socket.write_all(&[head.as_bytes(), &body].concat())
    }

    /// An `OCSPResponse`.
    fn response(&self, request: &[u8], behaviour: Behaviour) -> Vec<u8> {
        let Some(asked) = Asked::parse(request) else { return failure(MALFORMED_REQUEST) };
        let (key, other) = (&self.authority.public_key, behaviour == Behaviour::OtherSigner);
        if asked.key_hash != sha1(key) && asked.key_hash != sha256(key) {
            return failure(UNAUTHORIZED);
        }
        let now = now();
        let (this_update, next_update) = match behaviour {
            Behaviour::Stale => (now - 2 * DAY, now - DAY),
            // An answer of half an hour ago that is still fresh: what anybody on the way can send again.
            Behaviour::Older => (now - 1800, now + 3600),
            _ => (now, now + 3600),
        };
        let mut id = asked.id.to_vec();
        let mut revoked = self.state.lock().unwrap().revoked.contains(&asked.serial);
        if behaviour == Behaviour::OtherSerial {
            // The serial number stands last.
            *id.last_mut().unwrap() ^= 1;
            // About the other it says « revoked »: who does not look believes it.
            revoked = true;
        }
        let status = if revoked { tagged(REVOKED, &time(this_update)) } else { tagged(GOOD, &[]) };
        let mut single = vec![id, status, time(this_update)];
        if behaviour != Behaviour::WithoutEnd {
            single.push(explicit(0, &time(next_update)));
        }
        let single = sequence(&single);
        let signatory = if other { &*STRANGER } else { &self.authority };
        let responder = explicit(2, &tagged(OCTET_STRING, &sha1(&signatory.public_key)));
        let mut response_data = vec![responder, time(this_update), sequence(&[single])];
        if let Some(nonce) = asked.nonce {
            response_data.push(explicit(1, &sequence(&[nonce.to_vec()])));
        }
        let response_data = sequence(&response_data);
        let mut signature = signatory.sign(&response_data);
        if behaviour == Behaviour::ForgedSignature {
            *signature.last_mut().unwrap() ^= 1;
        }
        // A bit string begins with the number of its unused bits.
        let signature = tagged(BIT_STRING, &[vec![0], signature].concat());
        let mut basic = vec![response_data, sequence(&[SHA256_WITH_RSA.to_vec()]), signature];
        if other {
            basic.push(explicit(0, &sequence(&[signatory.certificate.to_der().unwrap()])));
        }
        let bytes = sequence(&[BASIC_RESPONSE.to_vec(), tagged(OCTET_STRING, &sequence(&basic))]);
        sequence(&[tagged(ENUMERATED, &[SUCCESSFUL]), explicit(0, &bytes)])
    }
}

/// The body of an HTTP request; nothing if it is no POST of an OCSP request.
fn read_http(socket: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut reader = BufReader::new(Read::take(socket, LONGEST));
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let (mut is_ocsp, mut length) = (false, 0_u64);
    for header in reader.by_ref().lines() {
        match header?.to_ascii_lowercase().split_once(':') {
            Some(("content-type", value)) => is_ocsp = value.trim() == "application/ocsp-request",
            Some(("content-length", value)) => length = value.trim().parse().unwrap_or_default(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok((is_ocsp && line.starts_with("POST ")).then_some(body))
}

/// What an `OCSPRequest` about one certificate asks.
struct Asked<'a> {
    /// The whole `CertID`, and two parts of it; the number is without leading zeros.
    id: &'a [u8],
    key_hash: &'a [u8],
    serial: Vec<u8>,
    /// The whole extension.
    nonce: Option<&'a [u8]>,
}

impl<'a> Asked<'a> {
    fn parse(der: &'a [u8]) -> Option<Self> {
        let request = values(values(der)?.first()?.content)?;
        let to_be_signed = values(request.first()?.content)?;
        let part = |tag: u8| to_be_signed.iter().find(|part| part.tag == tag);
        let list = values(part(SEQUENCE)?.content)?;
        let [one] = list.as_slice() else { return None };
        let id = *values(one.content)?.first()?;
        let parts = values(id.content)?;
        let [_algorithm, _name_hash, key_hash, serial] = parts.as_slice() else { return None };
        let serial = BigNum::from_slice(serial.content).ok()?.to_vec();
        let extensions = match part(EXTENSIONS) {
            Some(extensions) => values(values(extensions.content)?.first()?.content)?,
            None => Vec::new(),
        };
        let nonce = extensions.iter().find(|extension| extension.content.starts_with(&NONCE));
        let nonce = nonce.map(|extension| extension.whole);
        Some(Self { id: id.whole, key_hash: key_hash.content, serial, nonce })
    }
}

/// Who signs: a certificate and its RSA key.
struct Signatory {
    certificate: X509,
    key: PKey<Private>,
    /// The public key's bits.
    public_key: Vec<u8>,
}

impl Signatory {
    fn new(certificate: X509, key: PKey<Private>) -> Self {
        let public_key = key.rsa().unwrap().public_key_to_der_pkcs1().unwrap();
        Self { certificate, key, public_key }
    }

    fn read(folder: &Path, name: &str) -> Self {
        let read = |extension: &str| std::fs::read(folder.join(format!("{name}.{extension}"))).unwrap();
        let certificate = X509::from_pem(&read("pem")).unwrap();
        Self::new(certificate, PKey::private_key_from_pem(&read("key")).unwrap())
    }

    fn stranger() -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_text("CN", "TEST OCSP INCONNU").unwrap();
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(&name).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(365).unwrap()).unwrap();
        builder.append_extension(ExtendedKeyUsage::new().other("OCSPSigning").build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self::new(builder.build(), key)
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        Signer::new(MessageDigest::sha256(), &self.key).unwrap().sign_oneshot_to_vec(data).unwrap()
    }
}

const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `requestExtensions [2]`.
const EXTENSIONS: u8 = 0xa2;
/// The two choices of `CertStatus`, both implicit.
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;

/// Of `OCSPResponseStatus`.
const SUCCESSFUL: u8 = 0;
const MALFORMED_REQUEST: u8 = 1;
const TRY_LATER: u8 = 3;
const UNAUTHORIZED: u8 = 6;

/// 1.3.6.1.5.5.7.48.1.1, `id-pkix-ocsp-basic`.
const BASIC_RESPONSE: [u8; 11] = [0x06, 9, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// 1.3.6.1.5.5.7.48.1.2, `id-pkix-ocsp-nonce`.
const NONCE: [u8; 11] = [0x06, 9, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];
/// 1.2.840.113549.1.1.11, `sha256WithRSAEncryption`, and its parameters: none.
const SHA256_WITH_RSA: [u8; 13] = [0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0];

/// A DER value: its content alone, and whole.
#[derive(Clone, Copy)]
struct Value<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// DER values one after the other; nothing if they do not end where the bytes do.
fn values(mut der: &[u8]) -> Option<Vec<Value<'_>>> {
    let mut values = Vec::new();
    while let Some(&tag) = der.first() {
        let (header, length) = match *der.get(1)? {
            short @ 0..=0x7f => (2_usize, usize::from(short)),
            0x81 => (3, usize::from(*der.get(2)?)),
            0x82 => (4, usize::from(u16::from_be_bytes([*der.get(2)?, *der.get(3)?]))),
            _ => return None,
        };
        let (whole, rest) = der.split_at_checked(header + length)?;
        values.push(Value { tag, content: &whole[header..], whole });
        der = rest;
    }
    Some(values)
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let [high, low] = length.to_be_bytes();
    let header = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [header.as_slice(), content].concat()
}

fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    tagged(0xa0 | number, content)
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tagged(SEQUENCE, &parts.concat())
}

/// Seconds since 1970.
fn time(second: i64) -> Vec<u8> {
    let text = Timestamp::from_second(second).unwrap().strftime("%Y%m%d%H%M%SZ").to_string();
    tagged(GENERALIZED_TIME, text.as_bytes())
}

/// An `OCSPResponse` without a body.
fn failure(status: u8) -> Vec<u8> {
    sequence(&[tagged(ENUMERATED, &[status])])
}

#[expect(clippy::disallowed_methods, reason = "the tests' own clock")]
fn now() -> i64 {
    Timestamp::now().as_second()
}
