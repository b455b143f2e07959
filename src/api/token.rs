//! The token endpoints: OAuth 2.0 over mutual TLS (RFC 8705), with the claims of IHE IUA.

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::respond::Answer;
use super::{Api, gate, request};
use crate::error::{Failure, Reason, Refusal};
use crate::identity::AccessMode;
use crate::identity::scope::Scopes;
use crate::identity::tokens::thumbprint;
use crate::operations::open_session::{self, Connection};
use crate::operations::session_request::{GRANTS, Grant, TokenRequest};
use crate::operations::{self, Budget, Operation};
use crate::store::lane::{Lane, in_lane};

/// Open a session (TD0.1).
///
/// The certificate of the connection authenticates the client, and the token is bound to it. A card opens a mode
/// (`client_credentials`), an organisation names who acts: a professional through Pro Santé Connect (`token-exchange`) or
/// by its own assertion (`jwt-bearer`). A refusal is both an OAuth error and an OperationOutcome.
#[utoipa::path(
    post, path = "/oauth2/token", tag = "TD0.1", operation_id = "openSession",
    request_body(content = super::openapi::TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "An access token", content_type = "application/json", body = super::openapi::TokenAnswer),
        (status = 400, response = super::openapi::TokenError), (status = 401, response = super::openapi::TokenError),
        (status = 403, response = super::openapi::TokenError), (status = 408, response = super::openapi::TokenError),
        (status = 413, response = super::openapi::TokenError), (status = 429, response = super::openapi::TokenError),
        (status = 503, response = super::openapi::TokenError),
    )
)]
pub async fn open(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    gate::serve_token(&request, open_session::OPERATION, async |connection| {
        let asked = TokenRequest::read(form(&request, payload).await?)?;
        let lane = Lane::of(asked.context.mode != AccessMode::Normal);
        let issued = in_lane(lane, open_session::run(&connection, &asked)).await?;
        Ok(issued.map(|issued| {
            let mut answer = json!({
                "access_token": issued.access_token,
                "token_type": "Bearer",
                "expires_in": issued.expires_in,
                "scope": issued.scopes.to_string(),
            });
            if let (Grant::TokenExchange { .. }, Some(object)) = (&asked.grant, answer.as_object_mut()) {
                object
                    .insert("issued_token_type".into(), "urn:ietf:params:oauth:token-type:access_token".into());
            }
            Answer::json(200, answer.to_string())
        }))
    })
    .await
}

/// What a token says (RFC 7662), to the connection that it is bound to.
#[utoipa::path(
    post, path = "/oauth2/introspect", tag = "TD0.1", operation_id = "introspectToken",
    request_body(content = super::openapi::IntrospectionForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "active, and the claims; or active: false", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::TokenError), (status = 401, response = super::openapi::TokenError),
        (status = 408, response = super::openapi::TokenError), (status = 413, response = super::openapi::TokenError),
        (status = 429, response = super::openapi::TokenError), (status = 503, response = super::openapi::TokenError),
    )
)]
pub async fn introspect(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    gate::serve_token(&request, operations::introspect::OPERATION, async |connection| {
        let form = form(&request, payload).await?;
        let mut tokens = form.iter().filter(|(name, _)| name == "token").map(|(_, value)| value.as_str());
        let (Some(token), None) = (tokens.next(), tokens.next()) else {
            return Err(Refusal::new(Reason::InvalidTokenRequest, "token stands once").into());
        };
        let caller = operations::introspect::run(&connection, token).await?;
        Ok(caller.map(|caller| Answer::json(200, claims(&connection, caller.as_ref()))))
    })
    .await
}

fn claims(connection: &Connection, caller: Option<&crate::identity::Caller>) -> String {
    let (Some(caller), issuer) = (caller, connection.services.sessions.tokens.issuer()) else {
        return json!({ "active": false }).to_string();
    };
    let Some(session) = &caller.session else { return json!({ "active": false }).to_string() };
    json!({
        "active": true,
        "iss": issuer,
        "sub": caller.id(),
        "exp": session.expires_at,
        "jti": session.id,
        "scope": session.scopes.to_string(),
        "token_type": "Bearer",
        "cnf": { "x5t#S256": thumbprint(&connection.fingerprint) },
        "purpose_of_use": caller.mode.code(),
        "authentification_mode": caller.authentication.code(),
        "structure": caller.structure,
        "usage_unique": session.single_use,
    })
    .to_string()
}

/// The public keys of the tokens.
#[utoipa::path(
    get, path = "/oauth2/jwks", tag = "TD0.1", operation_id = "tokenKeys",
    responses(
        (status = 200, description = "JWKS (RFC 7517)", content_type = "application/json", body = super::openapi::Claims),
        (status = 401, response = super::openapi::Outcome), (status = 429, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn keys(request: HttpRequest) -> HttpResponse {
    gate::serve_connected(&request, Operation::without_scope("token keys", Budget::Read), async |api| {
        let keys = api.services.sessions.tokens.keys().public();
        Ok(Answer::json(200, json!({ "keys": keys }).to_string()))
    })
    .await
}

/// How sessions are opened here (IUA ITI-103).
#[utoipa::path(
    get, path = "/.well-known/smart-configuration", tag = "TD0.1", operation_id = "smartConfiguration",
    responses(
        (status = 200, description = "Issuer, endpoints, grants, scopes", content_type = "application/json", body = super::openapi::Claims),
        (status = 401, response = super::openapi::Outcome), (status = 429, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn discovery(request: HttpRequest) -> HttpResponse {
    describe(&request).await
}

/// The same, where SMART clients look for it: below the FHIR base.
#[utoipa::path(
    get, path = "/fhir/.well-known/smart-configuration", tag = "TD0.1", operation_id = "smartConfigurationOfBase",
    responses(
        (status = 200, description = "Issuer, endpoints, grants, scopes", content_type = "application/json", body = super::openapi::Claims),
        (status = 401, response = super::openapi::Outcome), (status = 429, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn discovery_of_base(request: HttpRequest) -> HttpResponse {
    describe(&request).await
}

async fn describe(request: &HttpRequest) -> HttpResponse {
    gate::serve_connected(request, Operation::without_scope("smart configuration", Budget::Read), async |api| {
        Ok(Answer::json(200, configuration(api)))
    })
    .await
}

fn configuration(api: &Api) -> String {
    let issuer = api.services.sessions.tokens.issuer();
    let scopes = Scopes::all().to_string();
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "jwks_uri": format!("{issuer}/oauth2/jwks"),
        "grant_types_supported": GRANTS,
        "response_types_supported": ["token"],
        "scopes_supported": scopes.split(' ').collect::<Vec<_>>(),
        "token_endpoint_auth_methods_supported": ["tls_client_auth"],
        "introspection_endpoint_auth_methods_supported": ["tls_client_auth"],
        "tls_client_certificate_bound_access_tokens": true,
        "access_token_format": "ihe-jwt",
        "capabilities": [],
    })
    .to_string()
}

/// A form alone: what opens a session stands in no URL, where logs would keep it.
async fn form(request: &HttpRequest, payload: web::Payload) -> Result<request::Parameters, Failure> {
    if !request.query_string().is_empty() {
        return Err(
            Refusal::new(Reason::InvalidTokenRequest, "parameters go into the body, not into the URL").into()
        );
    }
    request::form(request, payload).await
}
