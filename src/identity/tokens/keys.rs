//! The keys that sign our access tokens: ECDSA on P-256, named by the thumbprint of RFC 7638.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The signing key, and older ones whose tokens are still out.
pub struct Keys {
    signing: EncodingKey,
    kid: String,
    known: HashMap<String, DecodingKey>,
    public: Vec<PublicKey>,
    links: hmac::Key,
}

/// A key as JWKS shows it (RFC 7517).
#[derive(Clone, Debug, Serialize)]
pub struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    alg: &'static str,
    kid: String,
    x: String,
    y: String,
}

impl Keys {
    /// Reads the key that signs, and older keys that still verify: PEM, PKCS#8, P-256.
    ///
    /// # Errors
    /// Names the file that is not one.
    pub fn read(signing: &Path, older: &[std::path::PathBuf]) -> Result<Self> {
        let (encoding, public, der) = read(signing)?;
        let mut keys = Self {
            signing: encoding,
            kid: public.kid.clone(),
            known: HashMap::new(),
            public: Vec::new(),
            links: link_key(&der),
        };
        keys.admit(public)?;
        for path in older {
            keys.admit(read(path)?.1)?;
        }
        Ok(keys)
    }

    fn admit(&mut self, public: PublicKey) -> Result<()> {
        let decoding = DecodingKey::from_ec_components(&public.x, &public.y)?;
        self.known.insert(public.kid.clone(), decoding);
        self.public.push(public);
        Ok(())
    }

    /// The public keys.
    pub fn public(&self) -> &[PublicKey] {
        &self.public
    }

    /// Seals the links of pages: the nodes that share the signing key share this one.
    pub fn links(&self) -> &hmac::Key {
        &self.links
    }

    pub(super) fn sign(&self, claims: &impl Serialize) -> Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".into());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.signing).context("the token cannot be signed")
    }

    /// The claims of a token that one of the keys signed. Instants, issuer and audience are the caller's affair.
    pub(super) fn open<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        if header.alg != Algorithm::ES256 || header.typ.as_deref() != Some("at+jwt") || header.crit.is_some() {
            return None;
        }
        let key = self.known.get(header.kid.as_ref()?)?;
        Some(jsonwebtoken::decode(token, key, &signature_only(Algorithm::ES256)).ok()?.claims)
    }
}

/// jsonwebtoken checks the signature and nothing else: it would take the machine's clock, with a minute of leeway, and
/// checks issuer and audience only where they stand.
pub(in crate::identity) fn signature_only(algorithm: Algorithm) -> jsonwebtoken::Validation {
    let mut validation = jsonwebtoken::Validation::new(algorithm);
    validation.set_required_spec_claims::<&str>(&[]);
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}

fn read(path: &Path) -> Result<(EncodingKey, PublicKey, PrivatePkcs8KeyDer<'static>)> {
    let context = || format!("{}: not a PKCS#8 key on P-256", path.display());
    let der = PrivatePkcs8KeyDer::from_pem_file(path).with_context(context)?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
        .ok()
        .with_context(context)?;
    // 0x04, x, y.
    let point = pair.public_key().as_ref();
    ensure!(point.len() == 65, "{}", context());
    let (x, y) = point.get(1..).unwrap_or_default().split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let thumbprint = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    let kid = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, thumbprint.as_bytes()));
    let public = PublicKey { kty: "EC", crv: "P-256", usage: "sig", alg: "ES256", kid, x, y };
    Ok((EncodingKey::from_ec_der(der.secret_pkcs8_der()), public, der))
}

/// A key of its own for another purpose, made of the signing key (NIST SP 800-108, by HMAC).
fn link_key(signing: &PrivatePkcs8KeyDer<'_>) -> hmac::Key {
    let signing = hmac::Key::new(hmac::HMAC_SHA256, signing.secret_pkcs8_der());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&signing, b"habilis: links of pages").as_ref())
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Keys").field("kid", &self.kid).finish_non_exhaustive()
    }
}
