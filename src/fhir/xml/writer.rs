//! JSON → XML; and the same walk without an output, which tells whether a text is FHIR at all.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::{DEEPEST, FHIR, Fault, Path, is_inert, is_number, narrative};
use crate::fhir::definitions::{self, Definition, Element, Kind};
use crate::fhir::json::{BorrowedText, RawObject};
use crate::fhir::primitives;

/// A resource in XML.
///
/// # Errors
/// What of the text FHIR R4 does not know, and where.
pub fn to_xml(json: &str) -> Result<String, Fault> {
    let mut out = Out { text: String::with_capacity(json.len() + json.len() / 4), writes: true };
    resource(json, &Path::root(""), &mut out)?;
    Ok(out.text)
}

/// Whether a text is a resource of FHIR R4: names and shapes of elements, and the values of primitives.
///
/// # Errors
/// What of the text FHIR R4 does not know, and where.
pub fn check(json: &str) -> Result<(), Fault> {
    resource(json, &Path::root(""), &mut Out { text: String::new(), writes: false })
}

struct Out {
    text: String,
    writes: bool,
}

impl Out {
    fn push(&mut self, text: &str) {
        if self.writes {
            self.text.push_str(text);
        }
    }

    /// What comes in is judged; what goes out was, when it came.
    fn judge(&self, judged: Result<(), &'static str>, path: &Path<'_>) -> Result<(), Fault> {
        if self.writes { Ok(()) } else { judged.map_err(|what| Fault::at(path, what)) }
    }

    /// As it stands between quotes.
    fn push_value(&mut self, value: &str) {
        if !self.writes {
            return;
        }
        for character in value.chars() {
            match character {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                '\t' => self.text.push_str("&#9;"),
                '\n' => self.text.push_str("&#10;"),
                '\r' => self.text.push_str("&#13;"),
                other => self.text.push(other),
            }
        }
    }
}

fn object<'a>(json: &'a str, path: &Path<'_>) -> Result<RawObject<'a>, Fault> {
    RawObject::parse(json).map_err(|_| Fault::at(path, "not an object"))
}

/// An object is never empty.
fn full<'a>(json: &'a str, path: &Path<'_>) -> Result<RawObject<'a>, Fault> {
    let held = object(json, path)?;
    if held.keys().next().is_none() {
        return Err(Fault::at(path, "an empty object"));
    }
    Ok(held)
}

fn text<'a>(json: &'a str, path: &Path<'_>) -> Result<Cow<'a, str>, Fault> {
    let BorrowedText(text) = serde_json::from_str(json).map_err(|_| Fault::at(path, "not a text"))?;
    // What XML 1.0 cannot hold, FHIR does not allow in a text.
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'));
    match text.chars().all(allowed) {
        true => Ok(text),
        false => Err(Fault::at(path, "a character that FHIR does not allow")),
    }
}

fn resource(json: &str, path: &Path<'_>, out: &mut Out) -> Result<(), Fault> {
    let held = object(json, path)?;
    let kind = held.get("resourceType").ok_or_else(|| Fault::at(path, "no resourceType"))?;
    let kind = text(kind, path)?;
    let definition =
        definitions::resource(&kind).ok_or_else(|| Fault::at(path, "no resource type of FHIR R4"))?;
    let root = Path::root(&kind);
    let path = if path.parent.is_none() && path.name.is_empty() { &root } else { path };
    out.push("<");
    out.push(&kind);
    if path.parent.is_none() {
        out.push(" xmlns=\"");
        out.push(FHIR);
        out.push("\"");
    }
    out.push(">");
    elements(&held, definition, path, out)?;
    out.push("</");
    out.push(&kind);
    out.push(">");
    Ok(())
}

/// The children of a type, in its order. Its attributes are written already.
fn elements(
    held: &RawObject<'_>,
    definition: &Definition,
    path: &Path<'_>,
    out: &mut Out,
) -> Result<(), Fault> {
    if path.depth() > DEEPEST {
        return Err(Fault::at(path, "nested too deep"));
    }
    for key in held.keys() {
        let bare = key.strip_prefix('_').unwrap_or(key);
        let known = match definition.element(bare) {
            Some(element) => bare == key || element.is_primitive(),
            None => key == "resourceType" && definition.is_resource,
        };
        if !known {
            return Err(Fault::at(&path.child(key, None), "no element of this type"));
        }
        if key == "modifierExtension" {
            // FHIR, 2.4.1: who does not know it must not go on as if it were not there.
            out.judge(
                Err("an extension that may change the meaning, and is not known here"),
                &path.child(key, None),
            )?;
        }
    }
    for element in &definition.elements {
        let value = held.get(&element.name);
        let more = if element.is_primitive() { held.get(&element.beside) } else { None };
        if value.is_none() && more.is_none() || element.is_attribute {
            continue;
        }
        if !element.repeats {
            one(element, value, more, &path.child(&element.name, None), out)?;
            continue;
        }
        let (values, more) = (list(value, path, element)?, list(more, path, element)?);
        for place in 0..values.len().max(more.len()) {
            let (value, more) = (at(&values, place), at(&more, place));
            let path = path.child(&element.name, Some(place));
            if value.is_none() && more.is_none() {
                return Err(Fault::at(&path, "null with nothing beside it"));
            }
            one(element, value, more, &path, out)?;
        }
    }
    Ok(())
}

/// What stands at a place of a list; `null` keeps the place of nothing.
fn at<'a>(list: &[&'a RawValue], place: usize) -> Option<&'a str> {
    list.get(place).map(|value| value.get()).filter(|value| *value != "null")
}

fn list<'a>(json: Option<&'a str>, path: &Path<'_>, element: &Element) -> Result<Vec<&'a RawValue>, Fault> {
    let Some(json) = json else { return Ok(Vec::new()) };
    let fault = |what| Fault::at(&path.child(&element.name, None), what);
    let list: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| fault("not an array, and it repeats"))?;
    match list.is_empty() {
        true => Err(fault("an empty array")),
        false => Ok(list),
    }
}

fn attributes(
    held: &RawObject<'_>,
    definition: &Definition,
    path: &Path<'_>,
    out: &mut Out,
) -> Result<(), Fault> {
    for element in definition.elements.iter().filter(|element| element.is_attribute) {
        if held.get(&element.beside).is_some() {
            return Err(Fault::at(&path.child(&element.name, None), "an attribute has no extensions"));
        }
        let Some(value) = held.get(&element.name) else { continue };
        let value = text(value, &path.child(&element.name, None))?;
        let kind = if element.name == "url" { "uri" } else { "string" };
        out.judge(primitives::text(kind, &value), &path.child(&element.name, None))?;
        out.push(" ");
        out.push(&element.name);
        out.push("=\"");
        out.push_value(&value);
        out.push("\"");
    }
    Ok(())
}

/// One element: value, and what stands under its name with `_`.
fn one(
    element: &Element,
    value: Option<&str>,
    more: Option<&str>,
    path: &Path<'_>,
    out: &mut Out,
) -> Result<(), Fault> {
    match element.kind {
        Kind::Text | Kind::Number | Kind::Boolean => {
            let more = more.map(|more| full(more, path)).transpose()?;
            out.push("<");
            out.push(&element.name);
            if let Some(more) = &more {
                attributes(more, base()?, path, out)?;
            }
            if let Some(value) = value {
                out.push(" value=\"");
                match element.kind {
                    Kind::Text => {
                        let value = text(value, path)?;
                        out.judge(primitives::text(element.r#type, &value), path)?;
                        out.push_value(&value);
                    }
                    Kind::Number if is_number(value) => {
                        out.judge(primitives::number(element.r#type, value), path)?;
                        out.push(value);
                    }
                    Kind::Boolean if value == "true" || value == "false" => out.push(value),
                    Kind::Number => return Err(Fault::at(path, "not a number")),
                    _ => return Err(Fault::at(path, "not true or false")),
                }
                out.push("\"");
            }
            let Some(more) = &more else {
                out.push("/>");
                return Ok(());
            };
            out.push(">");
            elements(more, base()?, path, out)?;
        }
        Kind::Xhtml => {
            let div = text(value.unwrap_or_default(), path)?;
            let tree = narrative(&div).ok_or_else(|| Fault::at(path, "not one div of XHTML"))?;
            if !out.writes && !is_inert(&tree) {
                return Err(Fault::at(path, "a narrative holds no script, form, frame or event"));
            }
            out.push(&div);
            return Ok(());
        }
        Kind::Resource => {
            out.push("<");
            out.push(&element.name);
            out.push(">");
            resource(value.unwrap_or_default(), path, out)?;
        }
        Kind::Complex(name) => {
            let definition =
                definitions::definition(name).ok_or_else(|| Fault::at(path, "no type of FHIR R4"))?;
            let held = full(value.unwrap_or_default(), path)?;
            if let Some(missing) =
                MUST_HAVE.iter().find(|(of, element)| *of == name && held.get(element).is_none())
            {
                out.judge(
                    Err("an extension without url, or a narrative without status or div"),
                    &path.child(missing.1, None),
                )?;
            }
            out.push("<");
            out.push(&element.name);
            attributes(&held, definition, path, out)?;
            out.push(">");
            elements(&held, definition, path, out)?;
        }
    }
    out.push("</");
    out.push(&element.name);
    out.push(">");
    Ok(())
}

/// Elements without which a type is none.
const MUST_HAVE: [(&str, &str); 3] = [("Extension", "url"), ("Narrative", "status"), ("Narrative", "div")];

/// What every primitive may have beside its value.
fn base() -> Result<&'static Definition, Fault> {
    definitions::definition("Element").ok_or_else(|| Fault::at(&Path::root("Element"), "no type of FHIR R4"))
}
