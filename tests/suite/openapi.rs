//! The checked-in description is the one that the program would write. Its validity is `scripts/check-openapi`.

use std::path::Path;

use serde_json::Value;

use crate::support::{Engine, World};

/// Every operation: method, path, operation id.
pub fn operations() -> Vec<(String, String, String)> {
    let description: Value = serde_json::from_str(&habilis::api::openapi::json().unwrap()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            operations.push((method.to_uppercase(), path.clone(), id));
        }
    }
    operations.sort();
    operations
}

#[test]
fn the_checked_in_description_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/habilis.json");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == habilis::api::openapi::json().unwrap(), "stale: run « cargo run -- openapi »");
}

#[test]
fn every_operation_says_what_it_may_answer() {
    let description: Value = serde_json::from_str(&habilis::api::openapi::json().unwrap()).unwrap();
    for (method, path, id) in operations() {
        let operation = &description["paths"][&path][method.to_lowercase()];
        for status in ["401", "503"] {
            assert!(operation["responses"].get(status).is_some(), "{id} does not say {status}");
        }
        assert!(operation["summary"].is_string(), "{id} has no summary");
    }
}

#[test]
fn the_capability_statement_lists_the_same_interactions() {
    let statement: Value =
        serde_json::from_str(&habilis::fhir::capability::statement("https://x/fhir", "0", "2026-11-22"))
            .unwrap();
    let mut stated = vec!["GET /fhir/metadata".to_owned()];
    for interaction in statement["rest"][0]["interaction"].as_array().unwrap() {
        assert_eq!(interaction["code"], "transaction");
        stated.push("POST /fhir".to_owned());
    }
    for resource in statement["rest"][0]["resource"].as_array().unwrap() {
        let kind = resource["type"].as_str().unwrap();
        for operation in resource["operation"].as_array().into_iter().flatten() {
            // A statement does not say whether an operation is a type's or an instance's, nor how it is called.
            let name = operation["name"].as_str().unwrap();
            let places: &[&str] = match name {
                "fermer" => &["POST/{id}"],
                "status" => &["GET/{id}"],
                "expand" | "validate-code" => &["GET", "POST", "GET/{id}"],
                _ => &["POST"],
            };
            for place in places {
                let (method, instance) =
                    place.split_once('/').map_or((*place, ""), |(method, _)| (method, "/{id}"));
                stated.push(format!("{method} /fhir/{kind}{instance}/${name}"));
            }
        }
        for interaction in resource["interaction"].as_array().unwrap() {
            match interaction["code"].as_str().unwrap() {
                "patch" => {
                    stated.push(format!("PATCH /fhir/{kind}/{{id}}"));
                    if resource["conditionalUpdate"] == true {
                        stated.push(format!("PATCH /fhir/{kind}"));
                    }
                }
                "history-instance" => stated.push(format!("GET /fhir/{kind}/{{id}}/_history")),
                "vread" => stated.push(format!("GET /fhir/{kind}/{{id}}/_history/{{version}}")),
                "update" => stated.push(format!("PUT /fhir/{kind}/{{id}}")),
                "delete" => stated.push(format!("DELETE /fhir/{kind}/{{id}}")),
                "create" => stated.push(format!("POST /fhir/{kind}")),
                "read" => stated.push(format!("GET /fhir/{kind}/{{id}}")),
                "search-type" => {
                    stated.push(format!("GET /fhir/{kind}"));
                    stated.push(format!("POST /fhir/{kind}/_search"));
                }
                other => panic!("{other}"),
            }
        }
    }
    stated.sort();
    let described: Vec<String> = operations()
        .into_iter()
        // Sessions are OAuth, not FHIR.
        .filter(|(_, path, _)| path.starts_with("/fhir") && !path.contains(".well-known"))
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    assert_eq!(stated, described);
}

/// Whoever begins with the examples of the description begins with bodies that are taken.
#[test]
fn the_examples_are_taken() {
    let description: Value = serde_json::from_str(&habilis::api::openapi::json().unwrap()).unwrap();
    let bodies =
        description["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let contents =
        bodies.filter_map(|one| one["requestBody"]["content"].as_object()).flat_map(|all| all.values());
    assert_eq!(contents.filter(|content| content.get("example").is_some()).count(), 7, "each has its place");
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    let example = |path: &str, method: &str, media: &str| {
        let content = &description["paths"][path][method]["requestBody"]["content"][media];
        assert!(
            content["example"].is_object() || content["example"].is_array(),
            "{method} {path} has no example"
        );
        content["example"].clone()
    };
    let json = |path: &str| example(path, "post", "application/fhir+json");
    let consent = doctor.post("/Consent", json("/fhir/Consent").to_string());
    assert_eq!(consent.status, 201, "{}", consent.text());
    let fed = doctor.post("/DocumentReference", json("/fhir/DocumentReference").to_string());
    assert_eq!(fed.status, 201, "{}", fed.text());
    let mask = example("/fhir/DocumentReference/{id}", "patch", "application/json-patch+json");
    let masked = doctor.patch(&format!("/DocumentReference/{}", fed.json()["id"].as_str().unwrap()), &mask);
    assert_eq!(masked.status, 200, "{}", masked.text());
    let mut other = json("/fhir");
    // The same document in a submission: another one, to a server that holds it.
    other["entry"][1]["resource"]["masterIdentifier"]["value"] =
        "urn:oid:2.25.31415926535897932384626433832796".into();
    let fed = doctor.post("", other.to_string());
    assert_eq!(fed.status, 200, "{}", fed.text());
    let changed =
        doctor.post("/DocumentReference/$actualiser", json("/fhir/DocumentReference/$actualiser").to_string());
    assert_eq!(changed.status, 200, "{}", changed.text());
    let end = example("/fhir/Consent/{id}", "patch", "application/json-patch+json");
    let ended = doctor.patch(&format!("/Consent/{}", consent.json()["id"].as_str().unwrap()), &end);
    assert_eq!(ended.status, 200, "{}", ended.text());
}

/// A search by POST takes what the search by GET takes.
#[test]
fn forms_have_the_parameters_of_their_searches() {
    let description: Value = serde_json::from_str(&habilis::api::openapi::json().unwrap()).unwrap();
    let form = &description["paths"]["/fhir/DocumentReference/_search"]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]
        ["schema"]["properties"];
    for name in ["patient.identifier", "type", "date", "_count"] {
        assert_eq!(form[name]["type"], "string", "{name}");
    }
    // All of them, and nothing else.
    for path in ["Patient", "Consent", "DocumentReference", "List", "AuditEvent", "Subscription", "ValueSet"] {
        let path = format!("/fhir/{path}");
        let by_get = description["paths"][&path]["get"]["parameters"].as_array().unwrap();
        let mut by_get: Vec<&str> =
            by_get.iter().filter(|one| one["in"] == "query").map(|one| one["name"].as_str().unwrap()).collect();
        let form = &description["paths"][format!("{path}/_search")]["post"]["requestBody"]["content"]["application/x-www-form-urlencoded"]
            ["schema"]["properties"];
        let mut by_post: Vec<&str> = form.as_object().unwrap().keys().map(String::as_str).collect();
        by_get.sort_unstable();
        by_post.sort_unstable();
        assert_eq!(by_post, by_get, "{path}");
    }
}
