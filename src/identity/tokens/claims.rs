//! The claims of an access token, and of an assertion: the same two families under `extensions`.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::identifiers::Ins;
use crate::identity::scope::Scopes;
use crate::identity::software::Software;
use crate::identity::{AccessMode, Actor, Authentication, Caller, CpaProfile, Profession, Session};

/// Code systems of a role.
pub mod role_system {
    /// TRE_G15, profession.
    pub const PROFESSION: &str = "urn:oid:1.2.250.1.71.1.2.7";
    /// TRE_G16, future profession.
    pub const FUTURE_PROFESSION: &str = "urn:oid:1.2.250.1.71.1.2.8";
    /// TRE_R01, speciality of a doctor.
    pub const SPECIALITY: &str = "urn:oid:1.2.250.1.71.4.2.5";
    /// TRE_G05, section of a pharmacist.
    pub const SECTION: &str = "urn:oid:1.2.250.1.71.4.2.6";
    /// TRE_A00, persons who are no professionals.
    pub const STAFF: &str = "1.2.250.1.213.1.1.4.6";
    /// TRE_R248, modes of access.
    pub const MODE: &str = "urn:oid:1.2.250.1.213.1.1.4.248";
}

/// `aud`: one, or several.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Audience {
    /// A string.
    One(String),
    /// An array.
    Several(Vec<String>),
}

impl Audience {
    pub fn names(&self, audience: &str) -> bool {
        !audience.is_empty()
            && match self {
                Audience::One(one) => one == audience,
                Audience::Several(several) => several.iter().any(|one| one == audience),
            }
    }
}

/// A code and its system.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ConceptCode {
    /// `urn:oid:…`.
    pub system: String,
    /// The code.
    pub code: String,
}

impl ConceptCode {
    fn new(system: &str, code: &str) -> Self {
        Self { system: system.to_owned(), code: code.to_owned() }
    }
}

/// `extensions.ihe_iua` (ITI-71, 3.71.4.2.2.1.1). No `Debug`: an INS stands in it.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct IheIua {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_organization: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_organization_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subject_role: Vec<ConceptCode>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purpose_of_use: Vec<ConceptCode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub national_provider_identifier: Option<String>,
    /// `urn:oid:…|INS`: the one patient of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person_id: Option<String>,
}

/// How an establishment authenticated the person (EX_AIR-050).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct AuthenticationProof {
    /// In the establishment's words, as `carte CPE`, `OTP`.
    pub method: String,
    /// When, seconds since the epoch.
    pub at: i64,
}

/// `extensions.dmp`: what the VIHF carries and IUA does not.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Dmp {
    /// `DIRECTE`, `DIRECTE_PSC`, `INDIRECTE`, `INDIRECTE_RENFORCEE`.
    #[serde(default)]
    pub authentification_mode: String,
    /// What the actor is: `professionnel`, `en_formation`, `cpe`, `personnel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acteur: Option<String>,
    /// TRE_R02, `SA07`; the VIHF's `SA07^1.2.250.1.71.4.2.4` is understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secteur_activite: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ressource_urn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motif: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub connexion_secrete: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lps_nom: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lps_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lps_id_homologation: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentification_primaire: Option<AuthenticationProof>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub usage_unique: bool,
    /// The second value of the role that the caller alone says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specialite_declaree: Option<String>,
    /// The proof of [`Dmp::authentification_primaire`], as traces write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preuve: Option<String>,
}

/// Both families.
#[derive(Clone, Default, Deserialize, Serialize)]
pub struct Extensions {
    #[serde(default)]
    pub ihe_iua: IheIua,
    #[serde(default)]
    pub dmp: Dmp,
}

/// RFC 8705.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Confirmation {
    #[serde(rename = "x5t#S256", default)]
    pub thumbprint: Option<String>,
}

/// A whole access token.
#[derive(Clone, Deserialize, Serialize)]
pub struct AccessToken {
    pub(super) iss: String,
    pub(super) aud: Audience,
    sub: String,
    client_id: String,
    iat: i64,
    pub(super) exp: i64,
    jti: String,
    scope: String,
    pub(super) cnf: Confirmation,
    extensions: Extensions,
}

impl AccessToken {
    pub(super) fn of(
        caller: &Caller,
        client: &str,
        issuer: &str,
        thumbprint: &str,
        now: Timestamp,
    ) -> Result<Self> {
        let session = caller.session.as_ref().context("a token is made of a session")?;
        let software = caller.software.as_ref();
        let (acteur, roles) = match &caller.actor {
            Actor::Professional { profession, specialities, in_training, .. } => {
                let detail = match profession.code() {
                    Profession::PHARMACIST => role_system::SECTION,
                    _ => role_system::SPECIALITY,
                };
                let system =
                    if *in_training { role_system::FUTURE_PROFESSION } else { role_system::PROFESSION };
                let mut roles = vec![ConceptCode::new(system, profession.code())];
                roles.extend(specialities.iter().map(|code| ConceptCode::new(detail, code)));
                (if *in_training { "en_formation" } else { "professionnel" }, roles)
            }
            Actor::Staff { .. } => ("cpe", Vec::new()),
            Actor::NamedStaff { role, .. } => {
                let (code, system) = role.split_once('^').unwrap_or((role, role_system::STAFF));
                ("personnel", vec![ConceptCode::new(&format!("urn:oid:{system}"), code)])
            }
            Actor::AuthorisedStaff { profile, .. } => (cpa_code(*profile), Vec::new()),
        };
        Ok(Self {
            iss: issuer.to_owned(),
            aud: Audience::One(issuer.to_owned()),
            sub: caller.id().to_owned(),
            client_id: client.to_owned(),
            iat: now.as_second(),
            exp: session.expires_at,
            jti: session.id.clone(),
            scope: session.scopes.to_string(),
            cnf: Confirmation { thumbprint: Some(thumbprint.to_owned()) },
            extensions: Extensions {
                ihe_iua: IheIua {
                    subject_name: caller.name.clone(),
                    subject_organization: caller.structure_name.clone(),
                    subject_organization_id: caller.structure.clone(),
                    subject_role: roles,
                    purpose_of_use: vec![ConceptCode::new(role_system::MODE, caller.mode.code())],
                    national_provider_identifier: Some(caller.id().to_owned()),
                    person_id: session.record.as_ref().map(|ins| format!("{}|{}", ins.system(), ins.value())),
                },
                dmp: Dmp {
                    authentification_mode: caller.authentication.code().to_owned(),
                    acteur: Some(acteur.to_owned()),
                    secteur_activite: caller.sector.clone(),
                    ressource_urn: Some("urn:dmp".to_owned()),
                    motif: session.motif.clone(),
                    connexion_secrete: session.secret,
                    lps_nom: software.map(|software| software.name.clone()),
                    lps_version: software.map(|software| software.version.clone()),
                    lps_id_homologation: software.and_then(|software| software.homologation_id.clone()),
                    authentification_primaire: None,
                    usage_unique: session.single_use,
                    specialite_declaree: caller.declared_role.clone(),
                    preuve: caller.proof.clone(),
                },
            },
        })
    }

    /// The caller again. `None`: a token of ours would not lack what this one lacks. Whether the software is registered
    /// is asked anew on each use.
    pub fn caller(self) -> Option<Caller> {
        let Extensions { ihe_iua, dmp } = self.extensions;
        let mut roles = ihe_iua.subject_role.into_iter();
        let structure = ihe_iua.subject_organization_id;
        let actor = match dmp.acteur.as_deref()? {
            kind @ ("professionnel" | "en_formation") => Actor::Professional {
                id: self.sub,
                profession: Profession::new(roles.next()?.code),
                specialities: roles.map(|role| role.code).collect(),
                in_training: kind == "en_formation",
            },
            "cpe" => Actor::Staff { id: self.sub, structure: structure.clone()? },
            "personnel" => {
                let ConceptCode { system, code } = roles.next()?;
                let role = format!("{code}^{}", system.strip_prefix("urn:oid:").unwrap_or(&system));
                Actor::NamedStaff { id: self.sub, role }
            }
            _ => return None,
        };
        let named = dmp.lps_nom.is_some() || dmp.lps_id_homologation.is_some();
        let software = named.then(|| Software {
            name: dmp.lps_nom.unwrap_or_default(),
            version: dmp.lps_version.unwrap_or_default(),
            homologation_id: dmp.lps_id_homologation,
            registered: false,
        });
        let record = match ihe_iua.person_id {
            Some(text) => Some(read_person_id(&text)?),
            None => None,
        };
        Some(Caller {
            actor,
            authentication: Authentication::of_code(&dmp.authentification_mode)?,
            mode: AccessMode::of_code(&ihe_iua.purpose_of_use.first()?.code)?,
            structure,
            might_act_for: Vec::new(),
            structure_name: ihe_iua.subject_organization,
            name: ihe_iua.subject_name,
            sector: dmp.secteur_activite,
            declared_role: dmp.specialite_declaree,
            proof: dmp.preuve,
            software,
            session: Some(Session {
                id: self.jti,
                scopes: Scopes::known_of(&self.scope),
                record,
                motif: dmp.motif,
                secret: dmp.connexion_secrete,
                single_use: dmp.usage_unique,
                expires_at: self.exp,
            }),
        })
    }
}

fn read_person_id(text: &str) -> Option<Ins> {
    let (system, value) = text.split_once('|')?;
    Ins::new(system, value).ok()
}

const fn cpa_code(profile: CpaProfile) -> &'static str {
    match profile {
        CpaProfile::Support => "cpa_support",
        CpaProfile::HostDoctor => "cpa_medecin_hebergeur",
    }
}
