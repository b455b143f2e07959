//! `Parameters` as the body of an operation that could be asked by GET too: names and plain values.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::bundle::{AnyResource, Binary};
use super::elements::Coding;
use super::json::{BorrowedText, malformed, unreadable};
use crate::error::Refusal;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters<'a, P> {
    #[serde(borrow, default)]
    resource_type: BorrowedText<'a>,
    #[serde(default = "Vec::new")]
    parameter: Vec<P>,
}

/// The parameters of a body, each read as the operation wants it.
///
/// # Errors
/// [`crate::error::Reason::MalformedBody`]: no Parameters.
pub(super) fn all<'a, P: Deserialize<'a>>(text: &'a str) -> Result<Vec<P>, Refusal> {
    let read: Parameters<'a, P> =
        serde_json::from_str(text).map_err(|error| unreadable("not Parameters", &error))?;
    match &*read.resource_type.0 {
        "Parameters" => Ok(read.parameter),
        _ => Err(malformed("resourceType is not Parameters")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CodingParameter<'a> {
    #[serde(borrow)]
    value_coding: &'a RawValue,
}

#[derive(Deserialize)]
struct Labelled {
    #[serde(default)]
    display: Option<String>,
}

/// Name and value of each parameter: a primitive as text, a Coding as `system`, `code` and `display`.
///
/// # Errors
/// [`crate::error::Reason::MalformedBody`]: no Parameters, or a parameter whose value is of another kind.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut pairs = Vec::new();
    for one in all::<&RawValue>(text)? {
        if let Ok(CodingParameter { value_coding }) = serde_json::from_str(one.get()) {
            let unreadable = |error| unreadable("a Coding", &error);
            let coding: Coding<'_> = serde_json::from_str(value_coding.get()).map_err(unreadable)?;
            let labelled: Labelled = serde_json::from_str(value_coding.get()).map_err(unreadable)?;
            pairs.extend(labelled.display.map(|display| ("display".to_owned(), display)));
            pairs.push(("code".to_owned(), coding.code().to_owned()));
            if !coding.system().is_empty() {
                pairs.push(("system".to_owned(), coding.system().to_owned()));
            }
            continue;
        }
        let object: serde_json::Map<String, Value> =
            serde_json::from_str(one.get()).map_err(|error| unreadable("a parameter", &error))?;
        let name = object.get("name").and_then(Value::as_str).unwrap_or_default();
        let value = object.iter().find(|(key, _)| key.starts_with("value")).map(|(_, value)| value);
        let value = match value {
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            _ => return Err(malformed("a parameter has no plain value")),
        };
        pairs.push((name.to_owned(), value));
    }
    Ok(pairs)
}

#[derive(Deserialize)]
struct DocumentParameter<'a> {
    #[serde(borrow, default)]
    name: BorrowedText<'a>,
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
}

/// The one parameter `document` of `$generate-metadata`, a Binary (`IHE.MHD.GenerateMetadata.Parameters.In`).
///
/// # Errors
/// [`crate::error::Reason::MalformedBody`]: something else.
pub fn document(text: &str) -> Result<Binary<'_>, Refusal> {
    let wanted =
        || malformed("$generate-metadata takes one parameter, « document », with a Binary as its resource");
    let [one] = &all::<DocumentParameter<'_>>(text)?[..] else { return Err(wanted()) };
    let resource = one.resource.filter(|_| one.name.0 == "document").ok_or_else(wanted)?.get();
    let any: AnyResource<'_> =
        serde_json::from_str(resource).map_err(|error| unreadable("a resource", &error))?;
    if any.resource_type.0 != "Binary" {
        return Err(wanted());
    }
    serde_json::from_str(resource).map_err(|error| unreadable("not a Binary", &error))
}

/// A reference as the one outcome of an operation.
pub fn reference(name: &str, reference: &str) -> String {
    super::json::to_json(&serde_json::json!({
        "resourceType": "Parameters",
        "parameter": [{ "name": name, "valueReference": { "reference": reference } }],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_plain_values() {
        let text = r#"{"resourceType":"Parameters","parameter":[{"name":"url","valueUri":"http://x"},{"name":"count","valueInteger":5},
            {"name":"coding","valueCoding":{"system":"s","code":"c"}},{"name":"active","valueBoolean":true}]}"#;
        let told: Vec<_> =
            pairs(text).unwrap().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(told, ["url=http://x", "count=5", "code=c", "system=s", "active=true"]);
        assert!(pairs(r#"{"resourceType":"Patient"}"#).is_err());
        assert!(pairs(r#"{"resourceType":"Parameters","parameter":[{"name":"x"}]}"#).is_err());
        assert!(pairs(r#"{"resourceType":"Parameters","parameter":[{"name":"x","valuePeriod":{}}]}"#).is_err());
    }
}
