//! The OpenAPI description, from the handlers themselves.
//!
//! `habilis openapi` writes it to `openapi/`; a test fails when the checked-in file is stale, another checks that it is
//! valid, and the refusal and trace tests go through every operation that it lists.

use utoipa::openapi::security::SecurityScheme;
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

/// `POST /Patient/_search`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "a schema, never a value")]
pub struct PatientSearchForm {
    /// INS as system|value.
    #[schema(example = "urn:oid:1.2.250.1.213.1.4.10|279035121518989")]
    identifier: String,
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
    status: String,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Habilis",
        description = "Professional side of the French shared medical record (DMP, Mon espace santé) over FHIR R4. Every connection presents a client certificate of IGC-Santé; every answer echoes X-Request-Id.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "https://localhost:8443", description = "sandbox")),
    paths(
        super::metadata::capability_statement,
        super::patient::search,
        super::patient::search_by_post,
        super::consent::create,
        super::bundle::transaction,
        super::document_reference::create,
        super::document_reference::search,
        super::document_reference::search_by_post,
        super::document_reference::read,
        super::binary::read,
    ),
    components(schemas(Resource, OperationOutcome, PatientSearchForm, DocumentSearchForm), responses(Outcome)),
    tags(
        (name = "server", description = "What the server is"),
        (name = "TD0.2", description = "Existence of a record"),
        (name = "TD0.3", description = "Authorisation"),
        (name = "TD2", description = "Feeding"),
        (name = "TD3.1", description = "Finding documents"),
        (name = "TD3.2", description = "Reading documents"),
    ),
    modifiers(&MutualTls),
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

/// The description as it is checked in: JSON, a newline at the end.
///
/// # Errors
/// It cannot be serialised, which would be a fault of ours.
pub fn json() -> Result<String, serde_json::Error> {
    Description::openapi().to_pretty_json().map(|text| text + "\n")
}
