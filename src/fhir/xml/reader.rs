//! XML → JSON.

use std::collections::HashMap;

use roxmltree::{Document, Node, NodeType, ParsingOptions};

use super::{DEEPEST, FHIR, Fault, Path, is_number, narrative};
use crate::bounded_xml::{self, Bounds};
use crate::fhir::definitions::{self, Definition, Element, Kind};
use crate::fhir::json::quoted;

/// Nodes of one body: a bomb ends here. A large feed has some thousands.
const MOST_NODES: u32 = Bounds::FHIR.nodes as u32;

/// A resource in JSON. No DTD is read, nothing is fetched, no entity but XML's own five is known.
///
/// # Errors
/// The text is no XML, or says what FHIR R4 does not know, and where.
pub fn to_json(xml: &str) -> Result<String, Fault> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MOST_NODES, ..Default::default() };
    bounded_xml::check(xml, &Bounds::FHIR).map_err(|_| Fault {
        path: "line 1, column 1".into(),
        what: "not XML that is taken (well-formed, without DTD, of a FHIR resource's size)",
    })?;
    let document = Document::parse_with_options(xml, options).map_err(|error| {
        // The place and no text: it may quote an INS.
        let at = error.pos();
        let path = format!("line {}, column {}", at.row, at.col);
        Fault { path, what: "not XML that is taken (well-formed, without DTD)" }
    })?;
    let root = document.root_element();
    let mut json = String::with_capacity(xml.len());
    resource(root, &Path::root(root.tag_name().name()), &mut json)?;
    Ok(json)
}

/// One element of a type, which stands alone in another document: the JSON of its value.
///
/// # Errors
/// The type has no such element, or it holds what FHIR R4 does not know.
pub fn element_to_json(node: Node<'_, '_>, r#type: &str) -> Result<String, Fault> {
    let name = node.tag_name();
    let path = Path::root(r#type);
    let path = path.child(name.name(), None);
    let element = definitions::definition(r#type).and_then(|definition| definition.element(name.name()));
    let element = element.filter(|_| name.namespace() == Some(FHIR));
    let element = element.ok_or_else(|| Fault::at(&path, "no element of this type"))?;
    let (value, _) = one(node, element, &path)?;
    value.ok_or_else(|| Fault::at(&path, "an element without a value"))
}

fn resource(node: Node<'_, '_>, path: &Path<'_>, json: &mut String) -> Result<(), Fault> {
    let name = node.tag_name();
    let definition = definitions::resource(name.name())
        .filter(|_| name.namespace() == Some(FHIR))
        .ok_or_else(|| Fault::at(path, "no resource type of FHIR R4 in the namespace http://hl7.org/fhir"))?;
    if node.attributes().next().is_some() {
        return Err(Fault::at(path, "a resource has no attributes"));
    }
    json.push_str("{\"resourceType\":");
    json.push_str(&quoted(name.name()));
    children(node, definition, path, true, json)?;
    json.push('}');
    Ok(())
}

/// The child elements of a node, in the namespace of FHIR (or the one narrative); everything else is space or a comment.
fn child_elements<'a, 'input>(node: Node<'a, 'input>, path: &Path<'_>) -> Result<Vec<Node<'a, 'input>>, Fault> {
    let mut found = Vec::new();
    for child in node.children() {
        match child.node_type() {
            NodeType::Element => found.push(child),
            NodeType::Text if child.text().unwrap_or_default().trim().is_empty() => {}
            NodeType::Comment => {}
            _ => return Err(Fault::at(path, "a text between the elements")),
        }
    }
    Ok(found)
}

/// Members of an object behind what it has already.
fn children(
    node: Node<'_, '_>,
    definition: &Definition,
    path: &Path<'_>,
    mut begun: bool,
    json: &mut String,
) -> Result<(), Fault> {
    if path.depth() > DEEPEST {
        return Err(Fault::at(path, "nested too deep"));
    }
    let mut by_name: HashMap<&str, Vec<Node<'_, '_>>> = HashMap::new();
    for child in child_elements(node, path)? {
        let name = child.tag_name();
        let element = definition.element(name.name());
        let element = element.filter(|element| {
            !element.is_attribute && (name.namespace() == Some(FHIR) || element.kind == Kind::Xhtml)
        });
        if element.is_none() {
            return Err(Fault::at(&path.child(name.name(), None), "no element of this type"));
        }
        by_name.entry(name.name()).or_default().push(child);
    }
    let mut member = |name: &str, value: &str, json: &mut String| {
        if begun {
            json.push(',');
        }
        begun = true;
        json.push_str(&quoted(name));
        json.push(':');
        json.push_str(value);
    };
    for attribute in node.attributes() {
        // Of a primitive, `value` is written by who asked.
        if matches!(attribute.name(), "id" | "url") && attribute.namespace().is_none() {
            member(attribute.name(), &quoted(attribute.value()), json);
        }
    }
    for element in &definition.elements {
        let Some(nodes) = by_name.get(element.name.as_str()) else { continue };
        if !element.repeats && nodes.len() > 1 {
            return Err(Fault::at(&path.child(&element.name, Some(1)), "it does not repeat"));
        }
        let mut values = Vec::with_capacity(nodes.len());
        let mut mores = Vec::new();
        for (place, child) in nodes.iter().enumerate() {
            let path = path.child(&element.name, element.repeats.then_some(place));
            let (value, more) = one(*child, element, &path)?;
            values.push(value.unwrap_or_else(|| "null".to_owned()));
            mores.push(more.unwrap_or_else(|| "null".to_owned()));
        }
        for (name, values) in [(&element.name, values), (&element.beside, mores)] {
            if values.iter().all(|value| value == "null") {
                continue;
            }
            match element.repeats {
                true => member(name, &format!("[{}]", values.join(",")), json),
                false => values.iter().for_each(|value| member(name, value, json)),
            }
        }
    }
    Ok(())
}

fn allowed_attributes(node: Node<'_, '_>, names: &[&str], path: &Path<'_>) -> Result<(), Fault> {
    match node
        .attributes()
        .all(|attribute| attribute.namespace().is_none() && names.contains(&attribute.name()))
    {
        true => Ok(()),
        false => Err(Fault::at(path, "an attribute that it does not have")),
    }
}

/// The value of an element; of a primitive, what stands beside it.
fn one(
    node: Node<'_, '_>,
    element: &Element,
    path: &Path<'_>,
) -> Result<(Option<String>, Option<String>), Fault> {
    match element.kind {
        Kind::Text | Kind::Number | Kind::Boolean => {
            allowed_attributes(node, &["value", "id"], path)?;
            let value = node.attribute("value").map(|value| match element.kind {
                Kind::Text => Ok(quoted(value)),
                Kind::Number if is_number(value) => Ok(value.to_owned()),
                Kind::Boolean if value == "true" || value == "false" => Ok(value.to_owned()),
                Kind::Number => Err(Fault::at(path, "not a number")),
                _ => Err(Fault::at(path, "not true or false")),
            });
            let value = value.transpose()?;
            let mut more = None;
            if node.attribute("id").is_some() || node.has_children() {
                let base =
                    definitions::definition("Element").ok_or_else(|| Fault::at(path, "no type of FHIR R4"))?;
                let mut beside = String::from("{");
                children(node, base, path, false, &mut beside)?;
                beside.push('}');
                more = Some(beside).filter(|beside| beside != "{}");
            }
            if value.is_none() && more.is_none() {
                return Err(Fault::at(path, "an element without a value"));
            }
            Ok((value, more))
        }
        Kind::Xhtml => {
            let div = node.document().input_text().get(node.range()).unwrap_or_default();
            match narrative(div).is_some() {
                true => Ok((Some(quoted(div)), None)),
                false => Err(Fault::at(path, "not one div of XHTML that declares its namespace")),
            }
        }
        Kind::Resource => {
            allowed_attributes(node, &[], path)?;
            let [held] = child_elements(node, path)?[..] else {
                return Err(Fault::at(path, "not one resource"));
            };
            let mut json = String::new();
            resource(held, path, &mut json)?;
            Ok((Some(json), None))
        }
        Kind::Complex(name) => {
            let definition =
                definitions::definition(name).ok_or_else(|| Fault::at(path, "no type of FHIR R4"))?;
            let attributes: &[&str] = if name == "Extension" { &["id", "url"] } else { &["id"] };
            allowed_attributes(node, attributes, path)?;
            let mut json = String::from("{");
            children(node, definition, path, false, &mut json)?;
            json.push('}');
            match json == "{}" {
                true => Err(Fault::at(path, "an element without content")),
                false => Ok((Some(json), None)),
            }
        }
    }
}
