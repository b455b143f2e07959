//! The OpenAPI description, from the handlers themselves.
//!
//! `habilis openapi` writes it to `openapi/`; a test fails when the checked-in file is stale, another checks that it is
//! valid, and the refusal and trace tests go through every operation that it lists.

use std::collections::BTreeMap;

use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::SecurityScheme;
use utoipa::openapi::{Content, RefOr};
use utoipa::{Modify, OpenApi, ToResponse, ToSchema};

/// A FHIR R4 resource, JSON. The profiles say what is in it; see the CapabilityStatement (`/fhir/metadata`).
#[derive(ToSchema)]
#[schema(value_type = Object, title = "FHIR resource")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct Resource(serde_json::Value);

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
#[schema(value_type = Object, title = "OperationOutcome")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct OperationOutcome(serde_json::Value);

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
    #[schema(value_type = Option<Object>, example = "entered-in-error")]
    value: Option<serde_json::Value>,
}

/// `POST /List/_search`: the parameters of the search by GET.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct SubmissionSetSearchForm {
    /// INS as system|value.
    #[schema(rename = "patient.identifier", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989")]
    patient_identifier: Option<String>,
    /// submissionset or folder.
    #[schema(example = "submissionset")]
    code: String,
    /// current.
    #[schema(example = "current")]
    status: String,
}

/// `POST /AuditEvent/_search`: the parameters of the search by GET.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct TraceSearchForm {
    /// When, with a lower bound at least.
    #[schema(example = "ge2026-01-01")]
    date: String,
    /// INS as system|value.
    #[schema(rename = "entity.identifier", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989")]
    entity_identifier: Option<String>,
    /// PS_IdNat.
    #[schema(rename = "agent.identifier")]
    agent_identifier: Option<String>,
}

/// `POST /Patient/_search`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct PatientSearchForm {
    /// TD0.2: INS as system|value.
    #[schema(example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989")]
    identifier: Option<String>,
    /// TD0.5: how the birth name begins.
    family: Option<String>,
    /// TD0.5: day of birth.
    #[schema(example = "1979-03-28")]
    birthdate: Option<String>,
}

/// `POST /Subscription/_search`: the parameters of the search by GET.
#[derive(ToSchema)]
#[schema(title = "Search of one's own subscriptions")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct SubscriptionSearchForm {
    /// requested, active, error, off.
    status: Option<String>,
    /// The receiver.
    url: Option<String>,
    /// `Subscription.id`.
    _id: Option<String>,
}

/// `POST /Consent/_search`: the parameters of the search by GET.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct ConsentSearchForm {
    /// TD1.6: INS as system|value.
    #[schema(rename = "patient.identifier", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989")]
    patient_identifier: Option<String>,
    /// TD0.4: since when.
    #[schema(example = "ge2026-01-01")]
    date: Option<String>,
}

/// `POST /DocumentReference/_search`: the parameters of the search by GET.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct DocumentSearchForm {
    /// INS as system|value.
    #[schema(rename = "patient.identifier", example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989")]
    patient_identifier: Option<String>,
    /// current, superseded.
    #[schema(example = "current")]
    status: Option<String>,
}

/// `POST /ValueSet/_search`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct ValueSetSearchForm {
    /// Canonical address.
    #[schema(example = "https://mos.esante.gouv.fr/NOS/JDV_J57-ClassCode-DMP/FHIR/JDV-J57-ClassCode-DMP")]
    url: Option<String>,
}

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
#[schema(value_type = Object, title = "JSON object")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct Claims(serde_json::Value);

/// An OperationOutcome that is an OAuth error too: `error` and `error_description` (RFC 6749, 5.2) beside `issue`.
#[derive(ToResponse)]
#[response(description = "OAuth error and OperationOutcome in one object", content_type = "application/json")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct TokenError(#[to_schema] TokenRefusal);

/// OAuth error and OperationOutcome.
#[derive(ToSchema)]
#[schema(value_type = Object, title = "OAuth error and OperationOutcome")]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct TokenRefusal(serde_json::Value);

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
            Resource, OperationOutcome, JsonPatch, JsonPatchOperation, SubmissionSetSearchForm, TraceSearchForm, SubscriptionSearchForm, PatientSearchForm, ConsentSearchForm, DocumentSearchForm, ValueSetSearchForm, TokenForm, TokenAnswer, IntrospectionForm,
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
    modifiers(&MutualTls, &BothForms, &Budgets),
)]
struct Description;

struct MutualTls;

impl Modify for MutualTls {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::MutualTls {
            description: Some(
                "CPS, CPF or CPE card, or organisation certificate (AUTH_CLI), of IGC-Santé".into(),
            ),
            extensions: None,
            deprecated: None,
        };
        openapi.components.get_or_insert_default().add_security_scheme("mutualTLS", scheme);
        openapi.security = Some(vec![utoipa::openapi::security::SecurityRequirement::new(
            "mutualTLS",
            std::iter::empty::<String>(),
        )]);
    }
}

/// Wherever FHIR stands as JSON, it stands as XML too.
struct BothForms;

impl Modify for BothForms {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        const JSON: &str = "application/fhir+json";
        let xml = || {
            let text = ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some("The same content as FHIR's XML"));
            RefOr::T(Content::new(Some(text.build())))
        };
        let described = |responses: &mut BTreeMap<String, RefOr<Response>>| {
            for response in responses.values_mut() {
                if let RefOr::T(response) = response
                    && response.content.contains_key(JSON)
                {
                    response.content.insert("application/fhir+xml".into(), xml());
                }
            }
        };
        for (path, item) in &mut openapi.paths.paths {
            let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                described(&mut operation.responses.responses);
                let Some(RefOr::T(body)) =
                    operation.request_body.as_mut().filter(|_| path.starts_with("/fhir"))
                else {
                    continue;
                };
                if body.content.contains_key(JSON) {
                    body.content.insert("application/fhir+xml".into(), xml());
                }
                if body.content.contains_key("application/json-patch+json") {
                    body.content.insert("application/xml-patch+xml".into(), xml());
                }
            }
        }
        if let Some(components) = &mut openapi.components {
            described(&mut components.responses);
        }
    }
}

/// Every call is paid from a budget, and says so when it is spent.
struct Budgets;

impl Modify for Budgets {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.put, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let refusal = operation.responses.responses.get("401").cloned();
                if let Some(refusal) = refusal {
                    operation.responses.responses.entry("429".into()).or_insert(refusal);
                }
            }
        }
    }
}

/// The description as it is checked in: JSON, a newline at the end.
///
/// # Errors
/// It cannot be serialised, which would be a fault of ours.
pub fn json() -> Result<String, serde_json::Error> {
    Description::openapi().to_pretty_json().map(|text| text + "\n")
}
