//! What is true of many operations at once, said once.

use std::collections::BTreeMap;

use utoipa::Modify;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::SecurityScheme;
use utoipa::openapi::{Content, RefOr, Required};

pub(super) struct MutualTls;

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
pub(super) struct BothForms;

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
pub(super) struct Budgets;

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

/// A search by POST takes as a form what the search by GET takes in its address.
pub(super) struct SearchForms;

impl Modify for SearchForms {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        const FORM: &str = "application/x-www-form-urlencoded";
        let paths = &mut openapi.paths.paths;
        let searches: Vec<String> =
            paths.keys().filter_map(|path| path.strip_suffix("/_search")).map(str::to_owned).collect();
        for path in searches {
            let by_get =
                paths.get(&path).and_then(|item| item.get.as_ref()).and_then(|get| get.parameters.clone());
            let mut form = ObjectBuilder::new();
            for parameter in by_get.unwrap_or_default() {
                let RefOr::T(parameter) = parameter else { continue };
                if parameter.parameter_in != ParameterIn::Query {
                    continue;
                }
                // As in the address: text, with its meaning.
                let mut value =
                    ObjectBuilder::new().schema_type(Type::String).description(parameter.description.clone());
                // The builder keeps its example to itself.
                let shown = serde_json::to_value(&parameter).unwrap_or_default();
                if let Some(example) = shown.get("example").cloned() {
                    value = value.examples([example]);
                }
                if parameter.required == Required::True {
                    form = form.required(parameter.name.clone());
                }
                form = form.property(parameter.name, Schema::Object(value.build()));
            }
            let body = paths
                .get_mut(&format!("{path}/_search"))
                .and_then(|item| item.post.as_mut()?.request_body.as_mut());
            if let Some(RefOr::T(body)) = body {
                body.content
                    .insert(FORM.to_owned(), RefOr::T(Content::new(Some(Schema::Object(form.build())))));
            }
        }
    }
}
