//! XML Patch (RFC 5261), as far as three elements want it: its selectors become the paths of a FHIRPath Patch.
//!
//! `DocumentReference/status/@value`, `…/securityLabel[2]`, `…/securityLabel[coding/code/@value='N']`, with or without
//! `/coding/code/@value`, `…/extension[@url='…']`, with or without `/valueBoolean/@value`. Names stand in the namespace of FHIR, whatever
//! their prefix; without a prefix they are taken for FHIR's.

use roxmltree::{Document, Node, ParsingOptions};
use serde_json::{Value, json};

use super::fhir_path::Operation;
use super::{MOST_OPERATIONS, malformed, not_updatable};
use crate::bounded_xml::{self, Bounds};
use crate::error::Refusal;
use crate::fhir::xml;

/// Reads the operations on a resource of a type.
///
/// # Errors
/// [`MalformedBody`](crate::error::Reason::MalformedBody); [`ElementNotUpdatable`](crate::error::Reason::ElementNotUpdatable) for a selector
/// of anything but the three elements.
pub(super) fn operations(text: &str, resource: &str) -> Result<Vec<Operation>, Refusal> {
    bounded_xml::check(text, &Bounds::FRAGMENT)
        .map_err(|_| malformed("not XML that is taken: no DTD, and of a patch's size"))?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: 10_000, ..Default::default() };
    let document = Document::parse_with_options(text, options)
        .map_err(|error| malformed(format!("not XML that is taken: line {}", error.pos().row)))?;
    let root = document.root_element();
    if root.tag_name().name() != "diff" {
        return Err(malformed("an XML Patch is a diff (RFC 5261)"));
    }
    let mut operations = Vec::new();
    for node in root.children().filter(Node::is_element) {
        let selector = node.attribute("sel").ok_or_else(|| malformed("an operation has a sel"))?;
        if selector.len() > 500 {
            return Err(malformed("a sel that is too long"));
        }
        if node.has_attribute("type") {
            return Err(not_updatable(selector));
        }
        let steps = steps(node, selector).ok_or_else(|| not_updatable(selector))?;
        let Some((first, steps)) = steps.split_first() else { return Err(not_updatable(selector)) };
        if first.name != resource || first.condition.is_some() {
            return Err(not_updatable(selector));
        }
        operations.extend(translated(node, resource, steps).unwrap_or_else(|| Err(not_updatable(selector)))?);
    }
    match operations.len() {
        0 => Err(malformed("the patch has no operation")),
        1..=MOST_OPERATIONS => Ok(operations),
        _ => Err(malformed(format!("a PATCH has at most {MOST_OPERATIONS} operations"))),
    }
}

/// A step of a selector: a name, and what stands in brackets behind it.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    name: String,
    condition: Option<Condition>,
}

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    /// Counted from one.
    Place(usize),
    /// A path below, and its value.
    Equals(Vec<String>, String),
}

/// `None`: not a selector of the kind that is read.
fn steps(node: Node<'_, '_>, selector: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = selector.trim().trim_start_matches('/');
    while !rest.is_empty() {
        let end = rest.find(['/', '[']).unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        let name = local(node, name)?;
        let (condition, behind) = match behind.strip_prefix('[') {
            Some(inside) => {
                let (inside, behind) = bracket(inside)?;
                (Some(condition(node, inside)?), behind)
            }
            None => (None, behind),
        };
        steps.push(Step { name, condition });
        rest = match behind.strip_prefix('/') {
            Some("") => return None,
            Some(behind) => behind,
            None if behind.is_empty() => behind,
            None => return None,
        };
    }
    Some(steps)
}

/// What stands before the closing bracket that is in no quotes, and what behind it.
fn bracket(inside: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (position, character) in inside.char_indices() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (None, ']') => return Some((inside.get(..position)?, inside.get(position + 1..)?)),
            _ => {}
        }
    }
    None
}

fn condition(node: Node<'_, '_>, inside: &str) -> Option<Condition> {
    if let Ok(place) = inside.trim().parse() {
        return Some(Condition::Place(place));
    }
    let (path, value) = inside.split_once('=')?;
    let names = path.trim().split('/').map(|name| local(node, name)).collect::<Option<Vec<_>>>()?;
    let value = value.trim();
    let value = ['\'', '"'].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote))?;
    (!value.contains(['\'', '"'])).then(|| Condition::Equals(names, value.to_owned()))
}

/// The name without its prefix, which stands for FHIR's namespace; an attribute keeps its `@`.
fn local(node: Node<'_, '_>, name: &str) -> Option<String> {
    let name = match name.split_once(':') {
        Some((prefix, local)) => {
            (node.lookup_namespace_uri(Some(prefix)) == Some(xml::FHIR)).then_some(local)?
        }
        None => name,
    };
    let bare = name.strip_prefix('@').unwrap_or(name);
    (!bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| name.to_owned())
}

type Translated = Option<Result<Vec<Operation>, Refusal>>;

/// The operations of FHIRPath that say the same. `None`: about another element, or in another way, than is taken.
fn translated(node: Node<'_, '_>, resource: &str, steps: &[Step]) -> Translated {
    let kind = node.tag_name().name();
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    let condition = steps.first().and_then(|step| step.condition.as_ref());
    if steps.iter().skip(1).any(|step| step.condition.is_some()) {
        return None;
    }
    let one = |path: String, value: Option<Value>| -> Translated {
        let kind = if kind == "remove" { "delete" } else { kind };
        Some(Ok(vec![Operation { kind: kind.to_owned(), path, name: None, value }]))
    };
    let text = || node.text().map(str::trim).filter(|_| node.children().all(|child| child.is_text()));
    match (kind, names.as_slice()) {
        ("add", []) => Some(added(node, resource)),
        ("replace", ["status", "@value"]) if condition.is_none() => one("status".into(), Some(json!(text()?))),
        ("replace" | "remove", ["securityLabel"]) => {
            let path = label_path(condition?)?;
            match kind {
                "remove" => one(path, None),
                _ => match child(node, resource, "securityLabel") {
                    Ok(value) => one(path, Some(value)),
                    Err(refusal) => Some(Err(refusal)),
                },
            }
        }
        ("replace", ["securityLabel", "coding", "code", "@value"]) => {
            one(label_path(condition?)?, Some(json!({ "coding": [{ "code": text()? }] })))
        }
        ("replace", ["extension", "valueBoolean", "@value"]) => {
            let value = match text()? {
                "true" => true,
                "false" => false,
                _ => return None,
            };
            one(format!("{}.valueBoolean", extension_path(condition?)?), Some(json!(value)))
        }
        ("remove", ["extension"]) => one(extension_path(condition?)?, None),
        ("replace", ["extension"]) => match child(node, resource, "extension") {
            Ok(value) => one(extension_path(condition?)?, Some(value)),
            Err(refusal) => Some(Err(refusal)),
        },
        _ => None,
    }
}

fn label_path(condition: &Condition) -> Option<String> {
    match condition {
        Condition::Place(place) => Some(format!("securityLabel[{}]", place.checked_sub(1)?)),
        Condition::Equals(names, value) if *names == ["coding", "code", "@value"] => {
            Some(format!("securityLabel.where(coding.code='{value}')"))
        }
        Condition::Equals(..) => None,
    }
}

fn extension_path(condition: &Condition) -> Option<String> {
    match condition {
        Condition::Equals(names, value) if *names == ["@url"] => {
            Some(format!("extension.where(url='{value}')"))
        }
        _ => None,
    }
}

/// The one child of an operation, as JSON.
fn child(node: Node<'_, '_>, resource: &str, name: &str) -> Result<Value, Refusal> {
    let children: Vec<Node<'_, '_>> = node.children().filter(Node::is_element).collect();
    match children.as_slice() {
        [only] if only.tag_name().name() == name => element(*only, resource),
        _ => Err(malformed(format!("the operation holds one {name}"))),
    }
}

fn element(node: Node<'_, '_>, resource: &str) -> Result<Value, Refusal> {
    let json = xml::element_to_json(node, resource).map_err(|fault| malformed(fault.to_string()))?;
    serde_json::from_str(&json).map_err(|_| malformed("an element that cannot be read"))
}

/// `add` to the resource: labels and the archive's extension.
fn added(node: Node<'_, '_>, resource: &str) -> Result<Vec<Operation>, Refusal> {
    let mut operations = Vec::new();
    for child in node.children().filter(Node::is_element) {
        let name = child.tag_name().name();
        if !matches!(name, "securityLabel" | "extension") {
            return Err(not_updatable(name));
        }
        let value = Some(element(child, resource)?);
        let name = Some(name.to_owned());
        operations.push(Operation { kind: "add".into(), path: String::new(), name, value });
    }
    Ok(operations)
}
