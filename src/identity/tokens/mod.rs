//! Our access tokens: JWT (RFC 9068), bound to the certificate of the connection (RFC 8705), with the claims of IHE IUA
//! and, beside them, those of the DMP's VIHF.
//!
//! A token is a [`Caller`] in transport: [`Tokens::issue`] writes one, [`Tokens::caller`] reads it back, and refuses what
//! was altered, has expired, was made for another server, or comes over another certificate. Instants are judged by the
//! clock passed in, without leeway: the nodes that share a key share the time.

mod claims;
mod keys;

pub use claims::{AccessToken, AuthenticationProof, ConceptCode};
pub(in crate::identity) use claims::{Audience, Confirmation, Extensions};
pub(in crate::identity) use keys::signature_only;
pub use keys::{Keys, PublicKey};

use std::time::Duration;

use anyhow::Result;
use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::{Authentication, Caller};
use crate::error::{Reason, Refusal};

/// How long tokens live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Mode `normal`, by card or e-CPS.
    pub normal: Duration,
    /// `bris_de_glace`, `centre_15`.
    pub emergency: Duration,
    /// `INDIRECTE`.
    pub indirect: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            normal: Duration::from_secs(3600),
            emergency: Duration::from_secs(900),
            indirect: Duration::from_secs(300),
        }
    }
}

/// `INDIRECTE_RENFORCEE`: EX_AIR-040.
pub const REINFORCED_LIFETIME: Duration = Duration::from_secs(30);

/// Longer texts are no tokens of ours.
const MAXIMUM_TOKEN: usize = 16 << 10;

/// Issues and reads tokens.
#[derive(Debug)]
pub struct Tokens {
    keys: Keys,
    lifetimes: Lifetimes,
    issuer: std::sync::OnceLock<String>,
}

impl Tokens {
    /// Tokens under these keys.
    pub fn new(keys: Keys, lifetimes: Lifetimes) -> Self {
        Self { keys, lifetimes, issuer: std::sync::OnceLock::new() }
    }

    /// Says who the issuer is: the origin of the server's public base. Known once the listener has its port.
    pub fn issued_by(&self, issuer: &str) {
        let _ = self.issuer.set(issuer.to_owned());
    }

    /// `iss` and `aud`; empty before the listener stands, when there is nobody to ask for a token.
    pub fn issuer(&self) -> &str {
        self.issuer.get().map_or("", String::as_str)
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How long a caller's token lives, from now.
    pub fn lifetime(&self, caller: &Caller) -> Duration {
        match (caller.authentication, caller.mode) {
            (Authentication::IndirectReinforced, _) => REINFORCED_LIFETIME,
            (Authentication::Indirect, _) => self.lifetimes.indirect,
            (_, super::AccessMode::Normal) => self.lifetimes.normal,
            _ => self.lifetimes.emergency,
        }
    }

    /// Writes the token of a caller, who has a session, for the certificate with this fingerprint.
    ///
    /// # Errors
    /// It cannot be signed, or there is no session.
    pub fn issue(
        &self,
        caller: &Caller,
        client: &str,
        fingerprint: &[u8; 32],
        now: Timestamp,
    ) -> Result<String> {
        self.keys.sign(&AccessToken::of(caller, client, self.issuer(), &thumbprint(fingerprint), now)?)
    }

    /// The caller of a token presented over the certificate with this fingerprint.
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`], [`Reason::TokenExpired`], [`Reason::TokenNotBound`].
    pub fn caller(&self, token: &str, fingerprint: &[u8; 32], now: Timestamp) -> Result<Caller, Refusal> {
        let invalid = |why: &'static str| Refusal::new(Reason::TokenInvalid, why);
        if token.len() > MAXIMUM_TOKEN {
            return Err(invalid("not an access token of this server"));
        }
        let claims: AccessToken = self.keys.open(token).ok_or_else(|| {
            invalid(
                "not an access token of this server, or altered (a Pro Santé Connect token is exchanged first)",
            )
        })?;
        if claims.iss != self.issuer() || !claims.aud.names(self.issuer()) {
            return Err(invalid("an access token of another server"));
        }
        bound(claims.cnf.thumbprint.as_deref(), fingerprint)?;
        if now.as_second() >= claims.exp {
            return Err(Refusal::new(Reason::TokenExpired, "the access token has expired"));
        }
        claims.caller().ok_or_else(|| invalid("the access token lacks claims"))
    }
}

/// RFC 8705, 3.1: base64url of the SHA-256 of the certificate's DER, without padding.
pub fn thumbprint(fingerprint: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(fingerprint)
}

/// Checks `cnf.x5t#S256` against a certificate. The guide of the ANS prints another form, base64 of the hexadecimal text:
/// it is refused by name.
///
/// # Errors
/// [`Reason::TokenNotBound`].
pub fn bound(thumbprint: Option<&str>, fingerprint: &[u8; 32]) -> Result<(), Refusal> {
    let refused =
        |why: &'static str| Err(Refusal::new(Reason::TokenNotBound, why).by("RFC 8705: cnf.x5t#S256"));
    let Some(claimed) = thumbprint else {
        return refused("the token is bound to no certificate (cnf.x5t#S256)");
    };
    if URL_SAFE_NO_PAD
        .decode(claimed)
        .is_ok_and(|claimed| constant_time::verify_slices_are_equal(&claimed, fingerprint).is_ok())
    {
        return Ok(());
    }
    if base64::engine::general_purpose::STANDARD
        .decode(claimed)
        .is_ok_and(|text| text.len() == 64 && text.iter().all(u8::is_ascii_hexdigit))
    {
        return refused(
            "cnf.x5t#S256 is base64 of the hexadecimal text, as the ANS guide prints it: RFC 8705 wants base64url of \
             the 32 bytes, without padding",
        );
    }
    refused("the token is bound to another certificate than that of this connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_form_of_the_rfc_binds() {
        let certificate = [7; 32];
        assert!(bound(Some(&thumbprint(&certificate)), &certificate).is_ok());
        let why =
            |claimed: Option<&str>| bound(claimed, &certificate).unwrap_err().issues[0].diagnostics.to_string();
        assert!(why(None).contains("no certificate"));
        assert!(why(Some(&thumbprint(&[8; 32]))).contains("another certificate"));
        let hexadecimal: String = certificate.iter().map(|byte| format!("{byte:02x}")).collect();
        let of_the_guide = base64::engine::general_purpose::STANDARD.encode(hexadecimal);
        assert!(why(Some(&of_the_guide)).contains("ANS guide"));
        let standard = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        for other in [standard(&"x".repeat(64)), standard(&"a".repeat(63)), standard(""), "?".into()] {
            assert!(why(Some(&other)).contains("another certificate"), "{other}");
        }
    }

    const ISSUER: &str = "https://habilis.example";
    const NOW: i64 = 1_790_000_000;
    const CERTIFICATE: [u8; 32] = [7; 32];

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A key of one's own, in a file.
    fn key(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let der = EcdsaKeyPair::generate_pkcs8(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &aws_lc_rs::rand::SystemRandom::new(),
        )
        .unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let path = folder.join(name);
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n");
        std::fs::write(&path, pem).unwrap();
        path
    }

    fn tokens(keys: Keys) -> Tokens {
        let tokens = Tokens::new(keys, Lifetimes::default());
        assert_eq!(tokens.issuer(), "", "before the listener stands");
        tokens.issued_by(ISSUER);
        tokens
    }

    fn doctor() -> Caller {
        use crate::identity::{AccessMode, Actor, Profession, Session};
        Caller {
            mode: AccessMode::BrisDeGlace,
            structure: Some("1750000101".into()),
            structure_name: Some("CABINET".into()),
            name: Some("BERNARD CLAIRE".into()),
            sector: Some("SA07".into()),
            declared_role: Some("SM54".into()),
            proof: Some("carte CPE".into()),
            software: Some(crate::identity::software::Software {
                name: "Logiciel".into(),
                version: "2.3".into(),
                homologation_id: Some("DEMO-DMP-0001".into()),
                registered: false,
            }),
            session: Some(Session {
                id: "session".into(),
                scopes: crate::identity::scope::Scopes::all(),
                record: Some(
                    crate::identity::identifiers::Ins::new("urn:oid:1.2.250.1.213.1.4.10", "279035121518989")
                        .unwrap(),
                ),
                motif: Some("inconscient".into()),
                secret: true,
                single_use: true,
                expires_at: NOW + 900,
            }),
            ..Caller::by_card(Actor::Professional {
                id: "810100000016".into(),
                profession: Profession::new("10"),
                specialities: vec!["SM26".into()],
                in_training: false,
            })
        }
    }

    /// A token is its caller in transport: nothing is lost, nothing comes to it.
    #[test]
    fn a_token_is_its_caller() {
        use crate::identity::{Actor, CpaProfile, Profession};
        let folder = tempfile::tempdir().unwrap();
        let tokens = tokens(Keys::read(&key(folder.path(), "key"), &[]).unwrap());
        let with = |actor: Actor| Caller { actor, ..doctor() };
        let pharmacist = Actor::Professional {
            id: "810100000057".into(),
            profession: Profession::new("21"),
            specialities: vec!["A".into()],
            in_training: false,
        };
        let intern = Actor::Professional {
            id: "810100000016".into(),
            profession: Profession::new("10"),
            specialities: Vec::new(),
            in_training: true,
        };
        let there_and_back = |caller: &Caller| {
            let token = tokens.issue(caller, "1750000101", &CERTIFICATE, at(NOW)).unwrap();
            tokens.caller(&token, &CERTIFICATE, at(NOW))
        };
        let staff = Actor::Staff { id: "3750000101/CPE0001".into(), structure: "1750000101".into() };
        let named = Actor::NamedStaff { id: "1750000101/1".into(), role: "A^1.2.3".into() };
        for caller in [doctor(), with(pharmacist), with(intern), with(staff.clone()), with(named)] {
            assert_eq!(there_and_back(&caller).unwrap(), caller);
        }
        let bare = Caller { software: None, ..doctor() };
        assert_eq!(there_and_back(&bare).unwrap().software, None);
        let unnamed = crate::identity::software::Software { version: "1".into(), ..Default::default() };
        let unnamed = Caller { software: Some(unnamed), ..doctor() };
        assert_eq!(there_and_back(&unnamed).unwrap().software.unwrap().version, "1");
        // No token is made of these, or none is read back.
        for profile in [CpaProfile::Support, CpaProfile::HostDoctor] {
            let refusal =
                there_and_back(&with(Actor::AuthorisedStaff { id: "3750000101/CPA0001".into(), profile }));
            assert_eq!(refusal.unwrap_err().reason, Reason::TokenInvalid);
        }
        let homeless = Caller { structure: None, ..with(staff) };
        assert_eq!(there_and_back(&homeless).unwrap_err().reason, Reason::TokenInvalid);
        assert!(tokens.issue(&Caller { session: None, ..doctor() }, "x", &CERTIFICATE, at(NOW)).is_err());
    }

    /// The code systems and kinds that resource servers of others read (`docs/tokens.md`).
    #[test]
    fn what_a_token_says_of_roles() {
        use crate::identity::{Actor, CpaProfile, Profession};
        let folder = tempfile::tempdir().unwrap();
        let tokens = tokens(Keys::read(&key(folder.path(), "key"), &[]).unwrap());
        let said = |actor: Actor| {
            let token =
                tokens.issue(&Caller { actor, ..doctor() }, "1750000101", &CERTIFICATE, at(NOW)).unwrap();
            let text = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
            let claims: serde_json::Value = serde_json::from_slice(&text).unwrap();
            let roles = claims["extensions"]["ihe_iua"]["subject_role"].as_array().cloned().unwrap_or_default();
            let roles = roles
                .iter()
                .map(|role| role["system"].as_str().unwrap().rsplit_once('.').unwrap().1.to_owned());
            format!(
                "{} {}",
                claims["extensions"]["dmp"]["acteur"].as_str().unwrap(),
                roles.collect::<Vec<_>>().join(" ")
            )
        };
        let professional = |profession: &str, in_training| Actor::Professional {
            id: "810100000016".into(),
            profession: Profession::new(profession),
            specialities: vec!["A".into()],
            in_training,
        };
        let cpa = |profile| Actor::AuthorisedStaff { id: "3750000101/CPA0001".into(), profile };
        assert_eq!(said(professional("10", false)), "professionnel 7 5");
        assert_eq!(said(professional("21", false)), "professionnel 7 6");
        assert_eq!(said(professional("10", true)), "en_formation 8 5");
        assert_eq!(said(cpa(CpaProfile::Support)), "cpa_support ");
        assert_eq!(said(cpa(CpaProfile::HostDoctor)), "cpa_medecin_hebergeur ");
    }

    /// Issuer, audience, certificate, instant and key, each on its own.
    #[test]
    fn what_a_token_must_be() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (key(folder.path(), "old"), key(folder.path(), "new"));
        let before = tokens(Keys::read(&old, &[]).unwrap());
        let after = tokens(Keys::read(&new, std::slice::from_ref(&old)).unwrap());
        let stranger = tokens(Keys::read(&key(folder.path(), "other"), &[]).unwrap());
        let token = before.issue(&doctor(), "1750000101", &CERTIFICATE, at(NOW)).unwrap();
        let why = |tokens: &Tokens, token: &str, certificate: [u8; 32], now: i64| {
            tokens.caller(token, &certificate, at(now)).map(|_| ()).map_err(|refusal| refusal.reason)
        };
        assert_eq!(why(&before, &token, CERTIFICATE, NOW + 899), Ok(()));
        assert_eq!(why(&after, &token, CERTIFICATE, NOW), Ok(()), "an older key still verifies");
        assert_eq!(why(&before, &token, CERTIFICATE, NOW + 900), Err(Reason::TokenExpired));
        assert_eq!(why(&before, &token, [8; 32], NOW), Err(Reason::TokenNotBound));
        assert_eq!(why(&stranger, &token, CERTIFICATE, NOW), Err(Reason::TokenInvalid));
        let elsewhere = Tokens::new(Keys::read(&old, &[]).unwrap(), Lifetimes::default());
        elsewhere.issued_by("https://other.example");
        assert_eq!(why(&elsewhere, &token, CERTIFICATE, NOW), Err(Reason::TokenInvalid));
        assert_eq!(why(&before, &format!("{token}x"), CERTIFICATE, NOW), Err(Reason::TokenInvalid));
        assert_eq!(why(&before, &"x".repeat(MAXIMUM_TOKEN + 1), CERTIFICATE, NOW), Err(Reason::TokenInvalid));
        // Signed by our key, and not one of our access tokens; or one for somebody else.
        let header = |change: &dyn Fn(&mut jsonwebtoken::Header)| {
            let mut header = jsonwebtoken::decode_header(&token).unwrap();
            change(&mut header);
            header
        };
        let claims = {
            let text = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
            serde_json::from_slice::<serde_json::Value>(&text).unwrap()
        };
        let signing = {
            use rustls_pki_types::pem::PemObject;
            let der = rustls_pki_types::PrivatePkcs8KeyDer::from_pem_file(&old).unwrap();
            jsonwebtoken::EncodingKey::from_ec_der(der.secret_pkcs8_der())
        };
        let sealed = |header: &jsonwebtoken::Header, claims: &serde_json::Value| {
            jsonwebtoken::encode(header, claims, &signing).unwrap()
        };
        let plain = header(&|_| {});
        assert_eq!(why(&before, &sealed(&plain, &claims), CERTIFICATE, NOW), Ok(()), "control");
        for wrong in [
            header(&|header| header.typ = Some("JWT".into())),
            header(&|header| header.typ = None),
            header(&|header| header.crit = Some(vec!["exp".into()])),
            header(&|header| header.kid = None),
            header(&|header| header.kid = Some("x".into())),
        ] {
            assert_eq!(why(&before, &sealed(&wrong, &claims), CERTIFICATE, NOW), Err(Reason::TokenInvalid));
        }
        let with = |name: &str, value: serde_json::Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            why(&before, &sealed(&plain, &claims), CERTIFICATE, NOW)
        };
        assert_eq!(with("aud", "https://other.example".into()), Err(Reason::TokenInvalid));
        assert_eq!(with("iss", "https://other.example".into()), Err(Reason::TokenInvalid));
        assert_eq!(with("aud", serde_json::json!(["x", ISSUER])), Ok(()));
        assert_eq!(with("aud", serde_json::json!(["x"])), Err(Reason::TokenInvalid));
    }

    #[test]
    fn how_long_a_token_lives() {
        use crate::identity::AccessMode::{BrisDeGlace, Centre15, Normal};
        use crate::identity::Authentication::{Card, Indirect, IndirectReinforced, ProSanteConnect};
        let folder = tempfile::tempdir().unwrap();
        let tokens = tokens(Keys::read(&key(folder.path(), "key"), &[]).unwrap());
        assert_eq!((tokens.keys().public().len(), tokens.issuer()), (1, ISSUER));
        for (authentication, mode, seconds) in [
            (Card, Normal, 3600),
            (ProSanteConnect, Normal, 3600),
            (Card, BrisDeGlace, 900),
            (ProSanteConnect, Centre15, 900),
            (Indirect, Normal, 300),
            (Indirect, Centre15, 300),
            (IndirectReinforced, Normal, 30),
            (IndirectReinforced, BrisDeGlace, 30),
        ] {
            let caller = Caller { authentication, mode, ..doctor() };
            assert_eq!(tokens.lifetime(&caller).as_secs(), seconds, "{authentication:?} {mode:?}");
        }
    }
}
