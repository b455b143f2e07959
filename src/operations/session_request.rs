//! What a token request says, read and checked for itself.

use crate::certificate::is_invisible;
use crate::error::{Reason, Refusal};
use crate::identity::assertion::{Assertion, motif, person_id, sector};
use crate::identity::identifiers::Ins;
use crate::identity::scope::Scopes;
use crate::identity::software::Software;
use crate::identity::{AccessMode, Session};

/// How the caller shows who acts.
#[derive(Clone, Debug)]
pub enum Grant {
    /// By the card of the connection.
    ClientCredentials,
    /// RFC 8693, by an access token of Pro Santé Connect.
    TokenExchange {
        /// The token.
        subject_token: String,
    },
    /// RFC 7523, by an assertion of the establishment.
    JwtBearer {
        /// The assertion.
        assertion: String,
    },
}

/// A token request.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// How.
    pub grant: Grant,
    /// What for.
    pub scope: Option<String>,
    /// The parameters common to all grants.
    pub context: Context,
}

/// The common parameters of the contract.
#[derive(Clone, Debug)]
pub struct Context {
    /// `purpose_of_use`.
    pub mode: AccessMode,
    mode_was_named: bool,
    /// `motif`.
    pub motif: Option<String>,
    /// `patient`.
    pub patient: Option<Ins>,
    /// `connexion_secrete`.
    pub secret: bool,
    /// `situation_exercice`, as `10C`.
    pub situation_exercice: Option<String>,
    /// `structure`, Struct_IdNat.
    pub structure: Option<String>,
    /// `specialite`: the second value of the role, where card or provider give none.
    pub specialite: Option<String>,
    secteur_activite: Option<String>,
    /// `lps_nom`.
    pub lps_nom: Option<String>,
    /// `lps_version`.
    pub lps_version: Option<String>,
    /// `lps_id_homologation`.
    pub lps_id_homologation: Option<String>,
}

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The grants, for discovery.
pub const GRANTS: [&str; 3] = ["client_credentials", TOKEN_EXCHANGE, JWT_BEARER];

fn invalid(name: &'static str, why: impl std::fmt::Display) -> Refusal {
    Refusal::at(Reason::InvalidTokenRequest, name, format!("{name}: {why}"))
}

/// The parameters as they came. One may stand once (RFC 6749, 3.2).
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn take(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        let mut found = self.0.iter().filter(|(other, value)| other == name && !value.is_empty());
        let value = found.next().map(|(_, value)| value.clone());
        if self.0.iter().filter(|(other, _)| other == name).count() > 1 {
            return Err(invalid(name, "stands more than once"));
        }
        if value.as_deref().is_some_and(|value| value.chars().any(is_invisible)) {
            return Err(invalid(name, "holds control characters"));
        }
        Ok(value)
    }

    fn short(&self, name: &'static str) -> Result<Option<String>, Refusal> {
        match self.take(name)? {
            Some(value) if value.len() > 256 => Err(invalid(name, "has at most 256 bytes")),
            value => Ok(value),
        }
    }
}

impl TokenRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// [`Reason::InvalidTokenRequest`], [`Reason::UnsupportedGrant`], [`Reason::InvalidIns`].
    pub fn read(parameters: Vec<(String, String)>) -> Result<Self, Refusal> {
        let parameters = Parameters(parameters);
        let grant = parameters.take("grant_type")?.ok_or_else(|| invalid("grant_type", "is missing"))?;
        let grant = match grant.as_str() {
            "client_credentials" => Grant::ClientCredentials,
            TOKEN_EXCHANGE => token_exchange(&parameters)?,
            JWT_BEARER => Grant::JwtBearer {
                assertion: parameters.take("assertion")?.ok_or_else(|| invalid("assertion", "is missing"))?,
            },
            _ => {
                return Err(Refusal::new(
                    Reason::UnsupportedGrant,
                    format!("grant_type is one of {}", GRANTS.join(", ")),
                ));
            }
        };
        let mut context = Context::read(&parameters)?;
        if let Some(actor) = parameters.take("actor_token")? {
            let kind = parameters.take("actor_token_type")?;
            let jwt = kind.is_none_or(|kind| kind == "urn:ietf:params:oauth:token-type:jwt");
            if !matches!(grant, Grant::TokenExchange { .. }) || !jwt {
                return Err(invalid("actor_token", "is a JWT, and goes with token-exchange"));
            }
            context.complete(&actor)?;
        }
        Ok(Self { grant, scope: parameters.take("scope")?, context })
    }
}

/// Both printed forms of `subject_token_type` are taken (`identity-and-rights.md` 7, 6).
fn token_exchange(parameters: &Parameters) -> Result<Grant, Refusal> {
    const TYPES: [&str; 2] =
        ["urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"];
    let token = parameters.take("subject_token")?.ok_or_else(|| invalid("subject_token", "is missing"))?;
    let kind =
        parameters.take("subject_token_type")?.ok_or_else(|| invalid("subject_token_type", "is missing"))?;
    if !TYPES.contains(&kind.as_str()) {
        return Err(invalid("subject_token_type", format_args!("is one of {}", TYPES.join(", "))));
    }
    let wanted = parameters.take("requested_token_type")?;
    if wanted.is_some_and(|wanted| !TYPES.contains(&wanted.as_str())) {
        return Err(invalid("requested_token_type", "is an access token"));
    }
    Ok(Grant::TokenExchange { subject_token: token })
}

impl Context {
    fn read(parameters: &Parameters) -> Result<Self, Refusal> {
        let mode = match parameters.take("purpose_of_use")? {
            Some(code) => Some(
                AccessMode::of_code(&code)
                    .ok_or_else(|| invalid("purpose_of_use", "is normal, bris_de_glace or centre_15"))?,
            ),
            None => None,
        };
        let motif = motif(parameters.take("motif")?.as_deref()).map_err(|why| invalid("motif", why))?;
        let patient = match parameters.take("patient")? {
            Some(text) => Some(person_id(&text).map_err(|refusal| refusal.by("contract: patient"))?),
            None => None,
        };
        let secret = match parameters.take("connexion_secrete")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(invalid("connexion_secrete", "is true or false")),
        };
        Ok(Self {
            mode: mode.unwrap_or(AccessMode::Normal),
            mode_was_named: mode.is_some(),
            motif,
            patient,
            secret,
            situation_exercice: parameters.short("situation_exercice")?,
            structure: parameters.short("structure")?,
            specialite: parameters.short("specialite")?,
            secteur_activite: parameters.short("secteur_activite")?,
            lps_nom: parameters.short("lps_nom")?,
            lps_version: parameters.short("lps_version")?,
            lps_id_homologation: parameters.short("lps_id_homologation")?,
        })
    }

    /// What the ANS guide puts into an `actor_token`: the same as our parameters, said by the same client over the same
    /// connection. Its signature would add nothing, and is not asked for; where both stand they must agree.
    fn complete(&mut self, actor_token: &str) -> Result<(), Refusal> {
        #[derive(serde::Deserialize)]
        struct ActorToken {
            lps_nom: Option<String>,
            lps_id: Option<String>,
            lps_version: Option<String>,
            situation_exercice: Option<String>,
        }
        use base64::Engine;
        let name = "actor_token";
        let payload = actor_token
            .split('.')
            .nth(1)
            .and_then(|part| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).ok());
        let said: ActorToken = payload
            .and_then(|payload| serde_json::from_slice(&payload).ok())
            .ok_or_else(|| invalid(name, "is no JWT with lps_nom, lps_id, lps_version, situation_exercice"))?;
        for (own, said) in [
            (&mut self.lps_nom, said.lps_nom),
            (&mut self.lps_id_homologation, said.lps_id),
            (&mut self.lps_version, said.lps_version),
            (&mut self.situation_exercice, said.situation_exercice),
        ] {
            let said = said.filter(|said| !said.is_empty());
            if said.as_ref().is_some_and(|said| said.len() > 256 || said.chars().any(is_invisible)) {
                return Err(invalid(name, "holds a text that is too long, or control characters"));
            }
            match (&own, said) {
                (_, None) => {}
                (None, said) => *own = said,
                (Some(own), Some(said)) if **own == said => {}
                _ => return Err(invalid(name, "says something else than the parameters")),
            }
        }
        Ok(())
    }

    /// TRE_R02.
    ///
    /// # Errors
    /// [`Reason::InvalidTokenRequest`].
    pub fn sector(&self) -> Result<Option<String>, Refusal> {
        match &self.secteur_activite {
            Some(text) => {
                sector(text).map(Some).map_err(|_| invalid("secteur_activite", "is a code of TRE_R02, as SA07"))
            }
            None => Ok(None),
        }
    }

    /// The software that these parameters name.
    pub fn software(&self) -> Option<Software> {
        let named = self.lps_nom.is_some() || self.lps_version.is_some() || self.lps_id_homologation.is_some();
        named.then(|| Software {
            name: self.lps_nom.clone().unwrap_or_default(),
            version: self.lps_version.clone().unwrap_or_default(),
            homologation_id: self.lps_id_homologation.clone(),
            registered: false,
        })
    }

    /// The session that these parameters describe. Identifier, scopes and end come later.
    pub fn session(&self) -> Session {
        Session {
            id: String::new(),
            scopes: Scopes::default(),
            record: self.patient.clone(),
            motif: self.motif.clone(),
            secret: self.secret,
            single_use: false,
            expires_at: 0,
        }
    }

    /// With an assertion, what it says counts; parameters beside it must say the same.
    ///
    /// # Errors
    /// [`Reason::InvalidTokenRequest`].
    pub fn agrees_with(&self, assertion: &Assertion) -> Result<(), Refusal> {
        let differs = |own: &Option<String>, said: Option<&str>| own.is_some() && own.as_deref() != said;
        let other = (self.mode_was_named && self.mode != assertion.mode)
            || (self.patient.is_some() && self.patient != assertion.record)
            || (self.secret && !assertion.secret)
            || differs(&self.motif, assertion.motif.as_deref())
            || differs(&self.structure, Some(&assertion.structure))
            || differs(&self.sector()?, Some(&assertion.sector))
            || self.situation_exercice.is_some()
            || self.specialite.is_some()
            || differs(&self.lps_nom, Some(&assertion.software.name))
            || differs(&self.lps_version, Some(&assertion.software.version))
            || differs(&self.lps_id_homologation, Some(&assertion.software.homologation_id));
        if other {
            return Err(Refusal::new(
                Reason::InvalidTokenRequest,
                "a parameter beside the assertion says something else than the assertion, which is what counts",
            ));
        }
        Ok(())
    }
}
