//! The assertion of an establishment that names who acts (`jwt-bearer`, RFC 7523): the VIHF as claims.
//!
//! It is signed with the organisation's seal, whose certificate stands in the header (`x5c`), by the structure of the
//! connection's own certificate. `INDIRECTE` feeds and looks up references; `INDIRECTE_RENFORCEE` (AIR) reads and never
//! feeds, lives thirty seconds and says how the person was authenticated. Each counts once, whichever node it reaches.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::directory::Directory;
use super::identifiers::{IdentifierChecks, Ins};
use super::tokens::{Audience, ConceptCode, Extensions, REINFORCED_LIFETIME, signature_only};
use super::{AccessMode, Actor, Authentication, Profession, RoleDetail, role_detail};
use crate::certificate::{CertificateFacts, is_invisible};
use crate::error::{Reason, Refusal};
use crate::tls::{Revocation, seal};

/// Assertions are short.
const MAXIMUM: usize = 32 << 10;
/// `INDIRECTE` assertions live at most so long, seconds.
const LONGEST: i64 = 300;
/// A person was authenticated so long ago at most: a working day.
const LONGEST_SESSION: i64 = 12 * 3600;
/// How far an establishment's clock may be ahead of ours, seconds.
const AHEAD: i64 = 5;

/// Name, version and homologation id of the establishment's software.
#[derive(Clone, Debug)]
pub struct SoftwareName {
    /// `LPS_Nom`.
    pub name: String,
    /// `LPS_Version`.
    pub version: String,
    /// `LPS_ID_HOMOLOGATION_DMP`.
    pub homologation_id: String,
}

/// What an assertion says, checked.
#[derive(Clone, Debug)]
pub struct Assertion {
    /// Who acts.
    pub actor: Actor,
    /// `INDIRECTE` or `INDIRECTE_RENFORCEE`.
    pub authentication: Authentication,
    /// How the record is opened.
    pub mode: AccessMode,
    /// For which structure: the certificate's, or one of its sites.
    pub structure: String,
    /// Given and family name.
    pub name: String,
    /// TRE_R02.
    pub sector: String,
    /// The one record.
    pub record: Option<Ins>,
    /// Why, in an emergency.
    pub motif: Option<String>,
    /// How and when the person was authenticated.
    pub proof: Option<String>,
    /// The second value of the role that nobody but the establishment says.
    pub declared_role: Option<String>,
    /// Secret connection.
    pub secret: bool,
    /// The establishment's software.
    pub software: SoftwareName,
    /// Under which it is spent: structure and `jti`.
    pub once: String,
    /// When it was made, seconds since the epoch.
    pub issued_at: i64,
    /// Until when it counts, seconds since the epoch.
    pub expires_at: i64,
}

/// The claims, as they came.
#[derive(Deserialize)]
pub struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    iat: i64,
    exp: i64,
    jti: String,
    extensions: Extensions,
}

/// What an assertion is read with.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// Authorities and revocation.
    pub revocation: &'a Revocation,
    /// Sites and professionals.
    pub directory: &'a Directory,
    /// Forms and keys.
    pub checks: IdentifierChecks,
    /// Struct_IdNat of the connection's certificate.
    pub client: &'a str,
    /// Our issuer, and the token endpoint below it: either may be the audience.
    pub issuer: &'a str,
    /// Now.
    pub now: Timestamp,
}

fn refused(why: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Reason::InvalidGrant, why).by("RFC 7523: assertion")
}

impl Reader<'_> {
    /// Reads an assertion.
    ///
    /// # Errors
    /// [`Reason::InvalidGrant`], [`Reason::InvalidSeal`], [`Reason::StructureNotLinked`],
    /// [`Reason::UnknownProfessional`], [`Reason::InvalidIns`].
    pub fn read(&self, text: &str) -> Result<Assertion, Refusal> {
        self.judge(&self.open(text)?)
    }

    /// Judges the claims of an assertion whose seal has been verified.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn judge(&self, claims: &Claims) -> Result<Assertion, Refusal> {
        let extensions = &claims.extensions;
        let authentication = match Authentication::of_code(&extensions.dmp.authentification_mode) {
            Some(one @ (Authentication::Indirect | Authentication::IndirectReinforced)) => one,
            _ => return Err(refused("authentification_mode is INDIRECTE or INDIRECTE_RENFORCEE")),
        };
        let reinforced = authentication == Authentication::IndirectReinforced;
        self.instants(claims, reinforced)?;
        let structure = self.structure(claims)?;
        let mode = self.mode(claims, reinforced)?;
        let (actor, declared_role) = self.actor(claims, &structure, reinforced)?;
        let proof = if reinforced { Some(self.proof(claims, &actor, mode)?) } else { None };
        let record = match &extensions.ihe_iua.person_id {
            Some(text) => Some(person_id(text)?),
            None => None,
        };
        let motif = motif(extensions.dmp.motif.as_deref()).map_err(refused)?;
        if extensions.dmp.connexion_secrete && !matches!(actor, Actor::Professional { .. }) {
            return Err(Refusal::new(Reason::WrongMode, "a secret connection is open to professionals")
                .by("R1111-50: secret connection"));
        }
        if mode == AccessMode::BrisDeGlace && (record.is_none() || motif.is_none()) {
            return Err(refused("bris_de_glace wants a motif, and one record (person_id)"));
        }
        Ok(Assertion {
            actor,
            authentication,
            mode,
            structure,
            name: required(&extensions.ihe_iua.subject_name, "extensions.ihe_iua.subject_name")?,
            sector: sector(&required(&extensions.dmp.secteur_activite, "extensions.dmp.secteur_activite")?)?,
            record,
            motif,
            proof,
            declared_role,
            secret: extensions.dmp.connexion_secrete,
            software: SoftwareName {
                name: required(&extensions.dmp.lps_nom, "extensions.dmp.lps_nom")?,
                version: required(&extensions.dmp.lps_version, "extensions.dmp.lps_version")?,
                homologation_id: required(
                    &extensions.dmp.lps_id_homologation,
                    "extensions.dmp.lps_id_homologation",
                )?,
            },
            once: format!("{}/{}", claims.iss, claims.jti),
            issued_at: claims.iat,
            expires_at: claims.exp,
        })
    }

    /// Signature and seal.
    fn open(&self, text: &str) -> Result<Claims, Refusal> {
        if text.len() > MAXIMUM {
            return Err(refused("the assertion is too long"));
        }
        let header =
            jsonwebtoken::decode_header(text).map_err(|_| refused("the assertion is not a signed JWT"))?;
        if header.crit.is_some() {
            return Err(refused("the header names critical extensions (crit)"));
        }
        let first = header.x5c.as_ref().and_then(|chain| chain.first());
        let leaf = first
            .and_then(|leaf| STANDARD.decode(leaf).ok())
            .ok_or_else(|| refused("the header carries the seal's certificate (x5c, base64 of the DER)"))?;
        let not_a_seal = |why: String| {
            Refusal::new(Reason::InvalidSeal, why).by("EX_GEN-1450: the organisation's seal (SIGN) signs")
        };
        // The kind first: whoever signs with another certificate is told so, rather than that a purpose is missing.
        let facts = CertificateFacts::read_seal(&leaf).map_err(|unusable| not_a_seal(unusable.to_string()))?;
        seal::verify(&leaf, self.revocation, self.now)
            .map_err(|error| not_a_seal(format!("the certificate that signed does not count: {error:#}")))?;
        if facts.subject.structure.as_deref() != Some(self.client) {
            return Err(not_a_seal("the seal and the connection's certificate are of two structures".into()));
        }
        let (algorithm, key) = key(&leaf, header.alg)
            .ok_or_else(|| refused("alg is RS256, PS256, ES256 or ES384, as the seal's key is"))?;
        let decoded = jsonwebtoken::decode::<Claims>(text, &key, &signature_only(algorithm));
        Ok(decoded
            .map_err(|error| match error.kind() {
                // The place and no text: it may quote an INS.
                jsonwebtoken::errors::ErrorKind::Json(why) => {
                    refused(format!("the claims cannot be read, line {} column {}", why.line(), why.column()))
                }
                _ => refused("the assertion's signature is not that of the certificate in x5c"),
            })?
            .claims)
    }

    fn instants(&self, claims: &Claims, reinforced: bool) -> Result<(), Refusal> {
        let now = self.now.as_second();
        let thirty = REINFORCED_LIFETIME.as_secs().cast_signed();
        let longest = if reinforced { thirty } else { LONGEST };
        let rule = if reinforced { "EX_AIR-040: 30 seconds" } else { "RFC 7523: assertion" };
        let lives = claims.exp.saturating_sub(claims.iat);
        if claims.iat > now + AHEAD {
            return Err(refused("iat is in the future").by(rule));
        }
        if lives <= 0 || lives > longest {
            return Err(refused(format!("exp is at most {longest} seconds after iat")).by(rule));
        }
        if now >= claims.exp {
            return Err(refused("the assertion has expired").by(rule));
        }
        let audience = [self.issuer.to_owned(), format!("{}/oauth2/token", self.issuer)];
        if !audience.iter().any(|audience| claims.aud.names(audience)) {
            return Err(refused(format!("aud is {}", self.issuer)));
        }
        let printable = claims.jti.bytes().all(|byte| byte.is_ascii_graphic());
        if !(8..=128).contains(&claims.jti.len()) || !printable {
            return Err(refused("jti has 8 to 128 printable characters, and counts once"));
        }
        if claims.extensions.dmp.ressource_urn.as_deref() != Some("urn:dmp") {
            return Err(refused("extensions.dmp.ressource_urn is urn:dmp"));
        }
        Ok(())
    }

    fn structure(&self, claims: &Claims) -> Result<String, Refusal> {
        let named = required(
            &claims.extensions.ihe_iua.subject_organization_id,
            "extensions.ihe_iua.subject_organization_id",
        )?;
        let ours = claims.iss == self.client
            && (named == self.client || self.directory.is_site_of(&named, self.client));
        if ours && self.checks.is_structure_id(&named) {
            return Ok(named);
        }
        Err(Refusal::new(
            Reason::StructureNotLinked,
            "iss is the Struct_IdNat of the certificate (OU), subject_organization_id the same or one of its sites",
        )
        .by("CNDA 0.1-210: structure of the certificate"))
    }

    fn mode(&self, claims: &Claims, reinforced: bool) -> Result<AccessMode, Refusal> {
        let wanted =
            "extensions.ihe_iua.purpose_of_use is one code of TRE_R248: normal, bris_de_glace, centre_15";
        let [purpose] = claims.extensions.ihe_iua.purpose_of_use.as_slice() else {
            return Err(refused(wanted));
        };
        if oid(&purpose.system) != "1.2.250.1.213.1.1.4.248" {
            return Err(refused(wanted));
        }
        let mode = AccessMode::of_code(&purpose.code).ok_or_else(|| refused(wanted))?;
        if mode == AccessMode::BrisDeGlace && !reinforced {
            return Err(Refusal::new(Reason::WrongMode, "INDIRECTE has no bris_de_glace")
                .by("PDT-INF-526: no column for it"));
        }
        if mode == AccessMode::Centre15 && !self.directory.is_regulation_centre(self.client) {
            return Err(Refusal::new(Reason::WrongMode, "the structure is not listed as a regulation centre")
                .by("CNDA 0.1-220: regulation centres of the directory"));
        }
        Ok(mode)
    }

    fn actor(
        &self,
        claims: &Claims,
        structure: &str,
        reinforced: bool,
    ) -> Result<(Actor, Option<String>), Refusal> {
        let mut roles = claims.extensions.ihe_iua.subject_role.iter();
        let first = roles.next().ok_or_else(|| refused("extensions.ihe_iua.subject_role is missing"))?;
        let rest: Vec<&ConceptCode> = roles.collect();
        match oid(&first.system) {
            kind @ ("1.2.250.1.71.1.2.7" | "1.2.250.1.71.1.2.8") => {
                if !self.checks.is_professional_id(&claims.sub) {
                    return Err(refused("sub is the PS_IdNat of the professional"));
                }
                let in_training = kind.ends_with('8');
                if in_training && reinforced {
                    return Err(Refusal::new(
                        Reason::UnknownProfessional,
                        "AIR is for professionals, not in training",
                    )
                    .by("EX_AIR-020: professionals of the national directory"));
                }
                let number =
                    |code: &str| (1..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit());
                if !number(&first.code) {
                    return Err(refused("the first subject_role is a code of TRE_G15 or TRE_G16"));
                }
                let detail = match first.code.as_str() {
                    Profession::DOCTOR => Some("1.2.250.1.71.4.2.5"),
                    Profession::PHARMACIST => Some("1.2.250.1.71.4.2.6"),
                    _ => None,
                };
                let said: Vec<&str> = rest
                    .iter()
                    .filter(|role| detail.is_some_and(|detail| oid(&role.system) == detail))
                    .map(|role| role.code.as_str())
                    .collect();
                if detail.is_some() && said.is_empty() && !in_training {
                    return Err(refused(
                        "a doctor's second role is the speciality (1.2.250.1.71.4.2.5), a pharmacist's the section \
                         (1.2.250.1.71.4.2.6)",
                    )
                    .by("VIHF: second value of the role"));
                }
                // What the directory says counts: an establishment does not choose what its people may read.
                let profession = Profession::new(&first.code);
                let known = self.directory.role_detail(&claims.sub, profession.code(), Some(self.client));
                let detail = match said.first() {
                    Some(first) => role_detail(&profession, in_training, known, Some(first))?,
                    None => RoleDetail { proven: Vec::new(), declared: None },
                };
                let actor = Actor::Professional {
                    id: claims.sub.clone(),
                    profession,
                    specialities: detail.proven,
                    in_training,
                };
                Ok((actor, detail.declared))
            }
            "1.2.250.1.213.1.1.4.6" | "1.2.250.1.213.1.6.1.4" | "1.2.250.1.213.1.6.1.107" => {
                let printable = !claims.sub.chars().any(is_invisible);
                if !(1..=64).contains(&claims.sub.len()) || !printable {
                    return Err(refused("sub identifies the person within the structure, 1 to 64 characters"));
                }
                // Within the structure: an establishment's own number is never that of a professional.
                let id = format!("{structure}/{}", claims.sub);
                let form =
                    first.code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
                // TRE_A00 names the patient's own deposits too.
                let staff = !matches!(first.code.as_str(), "EXP_PATIENT" | "ALIM_AM");
                if !(1..=32).contains(&first.code.len()) || !form || !staff {
                    return Err(refused("the first subject_role is no role of an establishment's staff"));
                }
                Ok((Actor::NamedStaff { id, role: format!("{}^{}", first.code, oid(&first.system)) }, None))
            }
            _ => Err(refused("the first subject_role is of TRE_G15, TRE_G16, TRE_A00, TRE_R94 or TRE_R85")),
        }
    }

    /// EX_AIR-020, EX_AIR-050.
    fn proof(&self, claims: &Claims, actor: &Actor, mode: AccessMode) -> Result<String, Refusal> {
        if let Actor::Professional { id, profession, .. } = actor
            && !self.directory.knows(id, profession.code())
        {
            return Err(Refusal::new(
                Reason::UnknownProfessional,
                "the national directory does not know this professional in this profession",
            )
            .by("EX_AIR-020: professionals of the national directory"));
        }
        // Whom an establishment names reads as that person: only those who work there.
        if let Actor::Professional { id, profession, .. } = actor
            && !self.directory.exercises(id, profession.code(), self.client)
        {
            return Err(Refusal::new(
                Reason::StructureNotLinked,
                "the directory knows no activity of the professional in this structure",
            )
            .by("PS et structure non liés"));
        }
        let doctor =
            matches!(actor, Actor::Professional { profession, .. } if profession.code() == Profession::DOCTOR);
        if mode == AccessMode::Centre15 && !doctor {
            return Err(Refusal::new(Reason::WrongMode, "centre_15 is open to regulating doctors")
                .by("L1111-17 I: regulating doctor of the SAMU"));
        }
        if let Some(proof) = &claims.extensions.dmp.authentification_primaire
            && (1..=64).contains(&proof.method.trim().len())
            && !proof.method.chars().any(is_invisible)
            && (claims.iat.saturating_sub(LONGEST_SESSION)..=claims.iat).contains(&proof.at)
        {
            let at = Timestamp::from_second(proof.at).map_err(|_| refused("authentification_primaire.at"))?;
            return Ok(format!("{}, {at}", proof.method.trim()));
        }
        Err(refused("extensions.dmp.authentification_primaire says how (method) and when (at) the person was authenticated")
            .by("EX_AIR-050: primary authentication"))
    }
}

/// Why a record is opened: a short text that can stand in a trace, or none.
///
/// # Errors
/// What is wrong with it.
pub fn motif(text: Option<&str>) -> Result<Option<String>, &'static str> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.chars().count() > 500 || text.chars().any(is_invisible) {
        return Err("motif has at most 500 characters, and no control characters");
    }
    Ok(Some(text.to_owned()))
}

/// `SA07`, or the VIHF's `SA07^1.2.250.1.71.4.2.4`.
///
/// # Errors
/// [`Reason::InvalidGrant`].
pub fn sector(text: &str) -> Result<String, Refusal> {
    let code = text.strip_suffix("^1.2.250.1.71.4.2.4").unwrap_or(text);
    let number = code.strip_prefix("SA").unwrap_or_default();
    if number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(code.to_owned());
    }
    Err(refused("the sector of activity is a code of TRE_R02, as SA07"))
}

/// `urn:oid:…|INS`.
///
/// # Errors
/// [`Reason::InvalidIns`].
pub fn person_id(text: &str) -> Result<Ins, Refusal> {
    let (system, value) = text
        .split_once('|')
        .ok_or_else(|| Refusal::new(Reason::InvalidIns, "the patient is named as urn:oid:…|INS"))?;
    Ins::new(system, value).map_err(|error| Refusal::new(Reason::InvalidIns, error.to_string()))
}

fn required(value: &Option<String>, name: &str) -> Result<String, Refusal> {
    match value.as_deref().map(str::trim) {
        Some(text) if !text.is_empty() && text.len() <= 256 && !text.chars().any(is_invisible) => {
            Ok(text.to_owned())
        }
        _ => Err(refused(format!("{name} is missing"))),
    }
}

fn oid(system: &str) -> &str {
    system.strip_prefix("urn:oid:").unwrap_or(system)
}

/// A positive integer without the zero that DER puts before a high bit.
fn number(der: &[u8]) -> &[u8] {
    let zeros = der.iter().take_while(|byte| **byte == 0).count();
    der.get(zeros..).unwrap_or_default()
}

/// The key of a certificate, for an algorithm that suits it.
fn key(leaf: &[u8], algorithm: Algorithm) -> Option<(Algorithm, DecodingKey)> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    match (certificate.public_key().parsed().ok()?, algorithm) {
        (PublicKey::RSA(key), Algorithm::RS256 | Algorithm::PS256) => {
            Some((algorithm, DecodingKey::from_rsa_raw_components(number(key.modulus), number(key.exponent))))
        }
        (PublicKey::EC(point), Algorithm::ES256 | Algorithm::ES384) => {
            let coordinates = point.data().strip_prefix(&[4])?;
            let length = if algorithm == Algorithm::ES256 { 32 } else { 48 };
            if coordinates.len() != 2 * length {
                return None;
            }
            let (x, y) = coordinates.split_at(length);
            let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
            Some((algorithm, DecodingKey::from_ec_components(&x, &y).ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
