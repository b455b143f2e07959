//! A stand-in of Pro Santé Connect, the national OpenID provider of health professionals (a Keycloak), for tests and the
//! sandbox. It signs fictive professionals in at once, and can be told to misbehave.
//!
//! Paths, lifetimes and fields follow `identity-and-rights.md` 2. It asks a client for nothing beyond the certificate of
//! the TLS handshake: which client may do what is not its subject.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::{StatusCode, header};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, rt, web};
use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use futures_util::{StreamExt as _, stream};
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use openssl::pkey::Private;
use openssl::sha::sha256;
use serde::Deserialize;
use serde_json::{Value, json};

use super::pro_sante_connect_users::{Professional, Session, professionals};
use crate::environment::Environment;

const REALM: &str = "/auth/realms/esante-wallet";
const CIBA: &str = "urn:openid:params:grant-type:ciba";
/// How long an access token lives, seconds.
const LIFETIME: i64 = 120;
/// Sessions kept at most. Beyond, the one that ends first is forgotten.
const MOST_SESSIONS: usize = 10_000;

/// How the stand-in answers. `POST /stand-in/behaviour` knows them as `honest`, `late`, `wrong-key-id` and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// As it should.
    #[default]
    Honest,
    /// Ten seconds before each answer.
    Late,
    /// Whoever signs in gets a JWT whose `kid` the JWKS does not list; the key itself is the listed one.
    WrongKeyId,
    /// Introspection says `active: false`, UserInfo 401. Whoever signs in gets a JWT that ended two minutes ago.
    Expired,
    /// `azp`, in introspection and in the JWT of whoever signs in, is another client.
    OtherClient,
    /// `iss`, likewise, is another issuer. The discovery document still names the right one.
    OtherIssuer,
    /// About 5 % of the answers are a 500, cut, rubbish or late by a second; the same ones each time that this is set.
    RandomFaults,
    /// Every answer is 503.
    Down,
    /// Every answer is a 200 that says it is JSON and is not.
    NotJson,
    /// Every answer is 401.
    Unauthorised,
    /// Every answer is what it should be, behind 300 KiB of spaces.
    TooLong,
}

/// The two forms of an access token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenForm {
    /// A random identifier: only introspection tells what it stands for.
    #[default]
    Opaque,
    /// Signed, ES256.
    Jwt,
}

/// The stand-in. Clones share everything.
#[derive(Clone, Debug)]
pub struct StandIn {
    environment: Environment,
    professionals: Arc<[Arc<Professional>]>,
    key: EcKey<Private>,
    key_id: String,
    /// The JWKS.
    keys: Value,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Behaviour,
    base: String,
    sessions: HashMap<String, Session>,
    answers: u64,
    introspections: usize,
    user_infos: usize,
}

/// A stand-in that listens.
#[derive(Clone, Debug)]
pub struct Running {
    /// Issuer, and base of all endpoints: `https://localhost:PORT/auth/realms/esante-wallet`.
    pub base: String,
    handle: ServerHandle,
}

impl Running {
    /// Stops it. Requests under way are finished if `graceful`, for a second.
    pub async fn stop(&self, graceful: bool) {
        self.handle.stop(graceful).await;
    }
}

impl StandIn {
    /// A stand-in with a signing key of its own (EC P-256), honest so far.
    ///
    /// # Errors
    /// OpenSSL's.
    pub fn new(environment: Environment) -> Result<Self> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = EcKey::generate(&group)?;
        let (mut x, mut y) = (BigNum::new()?, BigNum::new()?);
        let mut context = BigNumContext::new()?;
        key.public_key().affine_coordinates(&group, &mut x, &mut y, &mut context)?;
        let key_id = environment.next_id();
        let (x, y) = (BASE64URL.encode(x.to_vec_padded(32)?), BASE64URL.encode(y.to_vec_padded(32)?));
        let listed =
            json!({ "kid": key_id, "kty": "EC", "alg": "ES256", "use": "sig", "crv": "P-256", "x": x, "y": y });
        let state = State { base: format!("https://localhost{REALM}"), ..State::default() };
        Ok(Self {
            environment,
            professionals: professionals().into_iter().map(Arc::new).collect(),
            key,
            key_id,
            keys: json!({ "keys": [listed] }),
            state: Arc::new(Mutex::new(state)),
        })
    }

    /// From now on it answers like this.
    pub fn behave(&self, behaviour: Behaviour) {
        let mut state = self.state();
        state.behaviour = behaviour;
        state.answers = 0;
    }

    /// Signs a professional in for a client, as CIBA would end, and gives the access token; `None` if nobody has this login
    /// (PS_IdNat or user name), or OpenSSL fails to sign. A JWT names the right issuer once this serves.
    pub fn sign_in(&self, login: &str, client_id: &str, form: TokenForm) -> Option<String> {
        let professional = self.professionals.iter().find(|professional| professional.has_login(login))?;
        let behaviour = self.state().behaviour;
        let over = form == TokenForm::Jwt && behaviour == Behaviour::Expired;
        let issued = self.now() - if over { 2 * LIFETIME } else { 0 };
        let session = Session {
            professional: Arc::clone(professional),
            client_id: client_id.to_owned(),
            id: self.environment.next_id(),
            issued,
            expires: issued + LIFETIME,
        };
        let token = match form {
            TokenForm::Opaque => self.environment.next_id(),
            TokenForm::Jwt => self.sign(&session, behaviour).ok()?,
        };
        self.keep(token.clone(), session);
        Some(token)
    }

    /// Serves over mutual TLS, which the configuration must require. Called and awaited in an actix runtime.
    ///
    /// # Errors
    /// Whatever keeps the listener from starting.
    pub fn serve(&self, address: SocketAddr, tls: rustls::ServerConfig) -> Result<(Running, Server)> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let base = format!("https://localhost:{}{REALM}", listener.local_addr()?.port());
        self.state().base.clone_from(&base);
        let data = web::Data::new(self.clone());
        let server = HttpServer::new(move || App::new().app_data(data.clone()).configure(routes))
            .workers(2)
            .shutdown_timeout(1)
            .disable_signals()
            .listen_rustls_0_23(listener, tls)
            .context("the listener of the stand-in of Pro Santé Connect")?
            .run();
        Ok((Running { base, handle: server.handle() }, server))
    }

    /// Introspections asked for so far, whatever was answered.
    pub fn introspections(&self) -> usize {
        self.state().introspections
    }

    /// UserInfo asked for so far, whatever was answered.
    pub fn user_infos(&self) -> usize {
        self.state().user_infos
    }

    fn now(&self) -> i64 {
        self.environment.now().as_second()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, token: String, session: Session) {
        let mut state = self.state();
        let sessions = &mut state.sessions;
        if sessions.len() >= MOST_SESSIONS {
            sessions.retain(|_, kept| session.issued < kept.expires);
        }
        if sessions.len() >= MOST_SESSIONS {
            let soonest = sessions.iter().min_by_key(|(_, kept)| kept.expires).map(|(token, _)| token.clone());
            sessions.remove(&soonest.unwrap_or_default());
        }
        sessions.insert(token, session);
    }

    /// The session of a token that is in force.
    fn session(&self, token: &str) -> Option<Session> {
        let now = self.now();
        let state = self.state();
        let in_force = |session: &&Session| state.behaviour != Behaviour::Expired && now < session.expires;
        state.sessions.get(token).filter(in_force).cloned()
    }

    fn claims(&self, session: &Session) -> Value {
        let state = self.state();
        let (base, client) = (state.base.as_str(), session.client_id.as_str());
        match state.behaviour {
            Behaviour::OtherIssuer => session.claims(&format!("{base}-other"), client),
            Behaviour::OtherClient => session.claims(base, "another-client"),
            _ => session.claims(base, client),
        }
    }

    /// RFC 7515, compact; ES256 signs with `r` and `s` side by side, 32 bytes each (RFC 7518, 3.4).
    fn sign(&self, session: &Session, behaviour: Behaviour) -> Result<String> {
        let key_id = if behaviour == Behaviour::WrongKeyId { "not-listed" } else { self.key_id.as_str() };
        let head = json!({ "alg": "ES256", "typ": "JWT", "kid": key_id }).to_string();
        let payload = self.claims(session).to_string();
        let signed = format!("{}.{}", BASE64URL.encode(head), BASE64URL.encode(payload));
        let signature = EcdsaSig::sign(&sha256(signed.as_bytes()), &self.key)?;
        let mut raw = signature.r().to_vec_padded(32)?;
        raw.extend(signature.s().to_vec_padded(32)?);
        Ok(format!("{signed}.{}", BASE64URL.encode(raw)))
    }

    /// What becomes of the next answer.
    fn fate(&self) -> Fate {
        let mut state = self.state();
        state.answers += 1;
        match state.behaviour {
            Behaviour::Late => Fate::Late(Duration::from_secs(10)),
            Behaviour::Down => Fate::Failed(StatusCode::SERVICE_UNAVAILABLE),
            Behaviour::NotJson => Fate::Rubbish,
            Behaviour::Unauthorised => Fate::Failed(StatusCode::UNAUTHORIZED),
            Behaviour::TooLong => Fate::Padded,
            Behaviour::RandomFaults => Fate::drawn(state.answers),
            _ => Fate::Sent,
        }
    }

    async fn reply(&self, status: StatusCode, body: &Value) -> HttpResponse {
        match self.fate() {
            Fate::Sent => {}
            Fate::Late(by) => rt::time::sleep(by).await,
            Fate::Failed(status) => return HttpResponse::build(status).finish(),
            Fate::Rubbish => {
                return HttpResponse::Ok().content_type("application/json").body("<html>proxy</html>");
            }
            Fate::Cut => return cut(status, body),
            Fate::Padded => {
                let text = format!("{}{body}", " ".repeat(300 << 10));
                return HttpResponse::build(status).content_type("application/json").body(text);
            }
        }
        let mut response = HttpResponse::build(status);
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""));
        }
        response.json(body)
    }
}

/// What becomes of one answer.
enum Fate {
    Sent,
    Late(Duration),
    Failed(StatusCode),
    Cut,
    Rubbish,
    Padded,
}

impl Fate {
    /// One in twenty goes wrong. The draw is SplitMix64's of seed 1 and this number: the same ones at each run.
    fn drawn(number: u64) -> Self {
        let mut draw = 1_u64.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        draw = (draw ^ (draw >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        draw = (draw ^ (draw >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        draw ^= draw >> 31;
        match (draw % 20, (draw / 20) % 4) {
            (0, 0) => Fate::Failed(StatusCode::INTERNAL_SERVER_ERROR),
            (0, 1) => Fate::Cut,
            (0, 2) => Fate::Rubbish,
            (0, _) => Fate::Late(Duration::from_secs(1)),
            _ => Fate::Sent,
        }
    }
}

/// Announces the whole body, sends half of it and, once that has left, closes the connection.
fn cut(status: StatusCode, body: &Value) -> HttpResponse {
    let text = body.to_string();
    let half: Vec<u8> = text.bytes().take(text.len() / 2).collect();
    let end = async {
        rt::time::sleep(Duration::from_millis(50)).await;
        Err::<web::Bytes, _>(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    };
    let parts = stream::iter([Ok(web::Bytes::from(half))]).chain(stream::once(end));
    let body = SizedStream::new(text.len() as u64, parts);
    HttpResponse::build(status).content_type("application/json").body(body)
}

fn routes(config: &mut web::ServiceConfig) {
    let realm = web::scope(REALM)
        .route("/.well-known/wallet-openid-configuration", web::get().to(discovery))
        .route("/protocol/openid-connect/certs", web::get().to(certs))
        .route("/protocol/openid-connect/token", web::post().to(token))
        .route("/protocol/openid-connect/token/introspect", web::post().to(introspect))
        .route("/protocol/openid-connect/userinfo", web::get().to(user_info))
        .route("/protocol/openid-connect/userinfo", web::post().to(user_info));
    config.service(realm).route("/stand-in/behaviour", web::post().to(change_behaviour));
}

async fn discovery(stand_in: web::Data<StandIn>) -> HttpResponse {
    let base = stand_in.state().base.clone();
    let endpoint = |path: &str| format!("{base}/protocol/openid-connect/{path}");
    let document = json!({
        "issuer": base,
        "jwks_uri": endpoint("certs"), "token_endpoint": endpoint("token"),
        "introspection_endpoint": endpoint("token/introspect"), "userinfo_endpoint": endpoint("userinfo"),
        "grant_types_supported": [CIBA], "scopes_supported": ["openid", "scope_all"],
        "acr_values_supported": ["eidas1"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["tls_client_auth"],
    });
    stand_in.reply(StatusCode::OK, &document).await
}

async fn certs(stand_in: web::Data<StandIn>) -> HttpResponse {
    stand_in.reply(StatusCode::OK, &stand_in.keys).await
}

#[derive(Deserialize)]
struct SignIn {
    grant_type: String,
    login_hint: String,
    client_id: String,
    #[serde(default)]
    token_form: TokenForm,
}

async fn token(stand_in: web::Data<StandIn>, form: web::Form<SignIn>) -> HttpResponse {
    let refused = |error: &str| (StatusCode::BAD_REQUEST, json!({ "error": error }));
    let (status, body) = if form.grant_type != CIBA {
        refused("unsupported_grant_type")
    } else if let Some(token) = stand_in.sign_in(&form.login_hint, &form.client_id, form.token_form) {
        let granted = json!({
            "access_token": token, "token_type": "Bearer", "expires_in": LIFETIME,
            "refresh_expires_in": 1800, "scope": "openid scope_all",
        });
        (StatusCode::OK, granted)
    } else {
        refused("unknown_user_id")
    };
    stand_in.reply(status, &body).await
}

async fn introspect(stand_in: web::Data<StandIn>, form: web::Form<HashMap<String, String>>) -> HttpResponse {
    stand_in.state().introspections += 1;
    let session = form.get("token").and_then(|token| stand_in.session(token));
    let mut answer = session.as_ref().map_or_else(|| json!({}), |session| stand_in.claims(session));
    if let Some(fields) = answer.as_object_mut() {
        fields.insert("active".to_owned(), Value::Bool(session.is_some()));
    }
    stand_in.reply(StatusCode::OK, &answer).await
}

async fn user_info(stand_in: web::Data<StandIn>, request: HttpRequest) -> HttpResponse {
    stand_in.state().user_infos += 1;
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer "));
    match token.and_then(|token| stand_in.session(token)) {
        Some(session) => stand_in.reply(StatusCode::OK, &session.professional.user_info).await,
        None => stand_in.reply(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" })).await,
    }
}

#[derive(Deserialize)]
struct Change {
    behaviour: Behaviour,
}

async fn change_behaviour(stand_in: web::Data<StandIn>, form: web::Form<Change>) -> HttpResponse {
    stand_in.behave(form.behaviour);
    HttpResponse::NoContent().finish()
}
