//! The OpenAPI description, from the handlers themselves.
//!
//! `habilis openapi` writes it to `openapi/`; a test fails when the checked-in file is stale, another checks that it is
//! valid, and the refusal and trace tests go through every operation that it lists.

mod examples;
mod modifiers;

use std::collections::HashMap;

use utoipa::{OpenApi, ToResponse, ToSchema};

use examples::Examples;
use modifiers::{BothForms, Budgets, MutualTls, SearchForms};

/// A FHIR R4 resource, JSON. The profiles say what is in it; see the CapabilityStatement (`/fhir/metadata`).
#[derive(ToSchema)]
#[schema(title = "FHIR resource")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct Resource(HashMap<String, serde_json::Value>);

/// `OperationOutcome`: `issue.details.text` in French for the health professional, `issue.diagnostics` in English for
/// the integrator, `issue.details.coding.code` a code of the DMP or of IHE, `issue.expression` the element at fault.
#[derive(ToResponse)]
#[response(
    description = "OperationOutcome: French text for the professional, English diagnostics for the integrator",
    content_type = "application/fhir+json"
)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct Outcome(#[to_schema] OperationOutcome);

/// OperationOutcome.
#[derive(ToSchema)]
#[schema(title = "OperationOutcome")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct OperationOutcome(HashMap<String, serde_json::Value>);

/// A JSON Patch (RFC 6902).
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct JsonPatch(Vec<JsonPatchOperation>);

/// One operation of a JSON Patch.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct JsonPatchOperation {
    /// add, remove, replace or test.
    #[schema(example = "replace")]
    op: String,
    /// A JSON Pointer.
    #[schema(example = "/status")]
    path: String,
    /// The new value.
    value: Option<serde_json::Value>,
}

/// `POST …/_search`: the parameters of the search by GET, which [`SearchForms`] puts in its place.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct SearchForm(HashMap<String, String>);

/// The bytes of a document.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct Bytes(Vec<u8>);

/// `POST /oauth2/token`. What stands in an assertion need not stand beside it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct TokenForm {
    /// client_credentials, urn:ietf:params:oauth:grant-type:token-exchange or
    /// urn:ietf:params:oauth:grant-type:jwt-bearer.
    #[schema(example = "client_credentials")]
    grant_type: String,
    /// Names of transactions with spaces between: TD0.2 TD0.3 TD0.4 TD0.5 TD1.3a TD1.4 TD1.6 TD3.1b TD3.3 ITI-65
    /// ITI-105 ITI-66 ITI-67 ITI-68. Mandatory in a
    /// token-exchange, else all.
    #[schema(example = "TD0.2 ITI-67 ITI-68")]
    scope: Option<String>,
    /// normal, bris_de_glace or centre_15.
    #[schema(example = "normal")]
    purpose_of_use: Option<String>,
    /// Why the record is opened: mandatory for bris_de_glace.
    motif: Option<String>,
    /// urn:oid:…|INS: mandatory for bris_de_glace; the token then opens that record alone.
    patient: Option<String>,
    /// true: the representatives of a minor learn nothing of it.
    connexion_secrete: Option<bool>,
    /// Profession and category, as 10C: mandatory where the professional has several.
    situation_exercice: Option<String>,
    /// Struct_IdNat for which the professional acts: one of his in the directory.
    structure: Option<String>,
    /// TRE_R02, as SA07.
    secteur_activite: Option<String>,
    /// Second value of the role: TRE_R01 of a doctor, TRE_G05 section of a pharmacist, where card or provider give none.
    specialite: Option<String>,
    /// Name of the software.
    lps_nom: Option<String>,
    /// Its version.
    lps_version: Option<String>,
    /// Its homologation id.
    lps_id_homologation: Option<String>,
    /// token-exchange: the access token of Pro Santé Connect.
    subject_token: Option<String>,
    /// token-exchange: urn:ietf:params:oauth:token-type:access_token or …:jwt.
    subject_token_type: Option<String>,
    /// token-exchange: a JWT that says who acts and why, as the parameters do (docs/tokens.md).
    actor_token: Option<String>,
    /// urn:ietf:params:oauth:token-type:jwt, with actor_token.
    actor_token_type: Option<String>,
    /// jwt-bearer: the assertion (docs/tokens.md).
    assertion: Option<String>,
}

/// RFC 6749, 5.1.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct TokenAnswer {
    /// A JWT, for `Authorization: Bearer` over the same certificate.
    access_token: String,
    /// Bearer.
    token_type: String,
    /// Seconds.
    expires_in: i64,
    /// What was granted.
    scope: String,
}

/// `POST /oauth2/introspect`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct IntrospectionForm {
    /// The token.
    token: String,
}

/// A JSON object.
#[derive(ToSchema)]
#[schema(title = "JSON object")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct Claims(HashMap<String, serde_json::Value>);

/// An OperationOutcome that is an OAuth error too: `error` and `error_description` (RFC 6749, 5.2) beside `issue`.
#[derive(ToResponse)]
#[response(description = "OAuth error and OperationOutcome in one object", content_type = "application/json")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct TokenError(#[to_schema] TokenRefusal);

/// OAuth error and OperationOutcome.
#[derive(ToSchema)]
#[schema(title = "OAuth error and OperationOutcome")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct TokenRefusal(HashMap<String, serde_json::Value>);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Habilis",
        description = "Professional side of the French shared medical record (DMP, Mon espace santé) over FHIR R4. Every connection presents a client certificate of IGC-Santé; every answer echoes X-Request-Id.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "https://localhost:8443", description = "sandbox")),
    paths(
        super::token::open,
        super::token::introspect,
        super::token::keys,
        super::token::discovery,
        super::token::discovery_of_base,
        super::metadata::capability_statement,
        super::patient::search,
        super::patient::search_by_post,
        super::patient::read,
        super::patient::close,
        super::consent::create,
        super::consent::patch,
        super::consent::search,
        super::consent::search_by_post,
        super::bundle::transaction,
        super::document_reference::create,
        super::document_reference::search,
        super::document_reference::search_by_post,
        super::document_reference::read,
        super::document_reference::history,
        super::document_reference::read_version,
        super::document_reference::patch,
        super::document_reference::patch_by_identifier,
        super::document_reference::refresh,
        super::document_reference::generate,
        super::list::search,
        super::list::search_by_post,
        super::list::read,
        super::binary::read,
        super::fhir_document::read,
        super::value_set::search,
        super::value_set::search_by_post,
        super::value_set::read,
        super::value_set::expand,
        super::value_set::expand_by_post,
        super::value_set::expand_one,
        super::value_set::validate,
        super::value_set::validate_by_post,
        super::value_set::validate_one,
        super::mes::open,
        super::mes::find,
        super::mes::read,
        super::mes::change,
        super::mes::erase,
        super::mes::set_professional,
        super::mes::forget_professional,
        super::mes::list_documents,
        super::mes::change_document,
        super::mes::accesses,
        super::audit_event::search,
        super::audit_event::search_by_post,
        super::subscription::create,
        super::subscription::update,
        super::subscription::delete,
        super::subscription::read,
        super::subscription::status,
        super::subscription::search,
        super::subscription::search_by_post,
    ),
    components(
        schemas(
            Resource, Bytes, OperationOutcome, JsonPatch, JsonPatchOperation, TokenForm, TokenAnswer, IntrospectionForm,
            Claims, TokenRefusal
        ),
        responses(Outcome, TokenError)
    ),
    tags(
        (name = "server", description = "What the server is"),
        (name = "TD0.1", description = "Sessions"),
        (name = "TD0.2", description = "Existence of a record"),
        (name = "TD0.3", description = "Authorisation"),
        (name = "TD1", description = "The record itself"),
        (name = "TD2", description = "Feeding"),
        (name = "TD3.1", description = "Finding documents"),
        (name = "TD3.2", description = "Reading documents"),
        (name = "TD3.3", description = "Masking, visibility, archive, deletion"),
        (name = "subscriptions", description = "Software that follows records"),
        (name = "traces", description = "Who did what"),
        (name = "value sets", description = "The value sets of the DMP's affinity domain"),
        (name = "Mon espace santé", description = "The patient's side, private to the SI Mon espace santé"),
    ),
    modifiers(&MutualTls, &SearchForms, &Examples, &BothForms, &Budgets),
)]
struct Description;

/// The description as it is checked in: JSON, a newline at the end.
///
/// # Errors
/// It cannot be serialised, which would be a fault of ours.
pub fn json() -> Result<String, serde_json::Error> {
    Description::openapi().to_pretty_json().map(|text| text + "\n")
}
