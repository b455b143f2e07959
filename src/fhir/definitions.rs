//! The elements of FHIR R4 types: names, order, kinds. What XML is written and read by, and what a body is held against.
//!
//! Source: the StructureDefinitions of HL7, FHIR 4.0.1, as our own table `tables/r4_elements.tsv`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What an element holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A primitive that JSON writes in quotes.
    Text,
    /// `decimal` and the integers.
    Number,
    /// `boolean`.
    Boolean,
    /// The narrative's `div`.
    Xhtml,
    /// Any resource.
    Resource,
    /// A type of the table, by its key.
    Complex(&'static str),
}

/// One element of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// As JSON and XML name it; a choice as one of its types, `valueString`.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Its type as FHIR names it; of a primitive, what its value may be.
    pub r#type: &'static str,
    /// Whether it repeats: an array in JSON.
    pub repeats: bool,
    /// Whether XML has it as an attribute: `id` of all but resources, `url` of an extension.
    pub is_attribute: bool,
    /// The member of JSON beside a primitive's value: its name with `_`.
    pub beside: String,
}

impl Element {
    /// Whether it is a primitive: it may have `id` and extensions beside its value.
    pub fn is_primitive(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Number | Kind::Boolean)
    }
}

/// A type: its elements, in the order of the specification.
#[derive(Debug)]
pub struct Definition {
    /// The elements.
    pub elements: Vec<Element>,
    /// `id` is an element of a resource, and an attribute of any other type in XML.
    pub is_resource: bool,
}

impl Definition {
    /// The element of a name.
    pub fn element(&self, name: &str) -> Option<&Element> {
        self.elements.iter().find(|element| element.name == name)
    }
}

/// A type of FHIR R4, by its name (`Coding`, `DocumentReference.content`).
pub fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS.get(name)
}

/// A resource type of FHIR R4.
pub fn resource(name: &str) -> Option<&'static Definition> {
    definition(name)
        .filter(|definition| definition.is_resource && !matches!(name, "Resource" | "DomainResource"))
}

static TABLE: &str = include_str!("tables/r4_elements.tsv");

static DEFINITIONS: LazyLock<HashMap<&'static str, Definition>> = LazyLock::new(|| {
    let types: HashMap<&'static str, &'static str> =
        TABLE.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('\t')).collect();
    let open = TABLE.lines().find_map(|line| line.strip_prefix("# name[x]:a|b: a choice; name[x]:*: "));
    let open = open.unwrap_or_default();
    types.iter().map(|(name, columns)| (*name, read(name, columns, &types, open))).collect()
});

fn read(
    name: &'static str,
    columns: &'static str,
    types: &HashMap<&'static str, &'static str>,
    open: &'static str,
) -> Definition {
    let element = |name: &str, r#type: &'static str, repeats, types: &HashMap<&'static str, _>| Element {
        name: name.to_owned(),
        kind: kind(r#type, types),
        r#type,
        repeats,
        is_attribute: false,
        beside: format!("_{name}"),
    };
    let mut elements = Vec::new();
    let mut inherited = |names: &[(&str, &'static str, bool)]| {
        elements.extend(names.iter().map(|(name, r#type, repeats)| element(name, r#type, *repeats, types)));
    };
    let mut is_resource = false;
    for column in columns.split(' ') {
        match column {
            "@" => {
                is_resource = true;
                inherited(&[
                    ("id", "id", false),
                    ("meta", "Meta", false),
                    ("implicitRules", "uri", false),
                    ("language", "code", false),
                    ("text", "Narrative", false),
                    ("contained", "Resource", true),
                    ("extension", "Extension", true),
                    ("modifierExtension", "Extension", true),
                ]);
            }
            "&" => inherited(&[
                ("id", "id", false),
                ("extension", "Extension", true),
                ("modifierExtension", "Extension", true),
            ]),
            "%" => inherited(&[("id", "id", false), ("extension", "Extension", true)]),
            _ => {
                let Some((own, held)) = column.split_once(':') else { continue };
                if let Some(choice) = own.strip_suffix("[x]") {
                    let choices = if held == "*" { open } else { held };
                    for r#type in choices.split('|') {
                        let (first, rest) = r#type.split_at(1.min(r#type.len()));
                        let own = format!("{choice}{}{rest}", first.to_ascii_uppercase());
                        inherited(&[(&own, r#type, false)]);
                    }
                    continue;
                }
                is_resource |= own == "meta";
                let (held, repeats) = held.strip_suffix('*').map_or((held, false), |held| (held, true));
                let part = held.strip_prefix('.').and_then(|part| {
                    let part = format!("{name}.{part}");
                    types.get_key_value(part.as_str()).map(|(key, _)| *key)
                });
                let held = part.unwrap_or(held.strip_prefix('#').unwrap_or(held));
                inherited(&[(own, held, repeats)]);
            }
        }
    }
    for element in &mut elements {
        element.is_attribute =
            element.name == "id" && !is_resource || element.name == "url" && name == "Extension";
    }
    Definition { elements, is_resource }
}

fn kind(r#type: &'static str, types: &HashMap<&'static str, &'static str>) -> Kind {
    match r#type {
        "boolean" => Kind::Boolean,
        "decimal" | "integer" | "positiveInt" | "unsignedInt" => Kind::Number,
        "xhtml" => Kind::Xhtml,
        "Resource" => Kind::Resource,
        other if types.contains_key(other) => Kind::Complex(other),
        _ => Kind::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each type that the table names is in the table, and no primitive is taken for one that is not.
    #[test]
    fn the_table_is_whole() {
        const TEXTS: [&str; 13] = [
            "base64Binary",
            "canonical",
            "code",
            "date",
            "dateTime",
            "id",
            "instant",
            "markdown",
            "oid",
            "string",
            "time",
            "uri",
            "url",
        ];
        assert_eq!(DEFINITIONS.len(), 664);
        let resources = DEFINITIONS.values().filter(|definition| definition.is_resource).count();
        assert_eq!(resources, 148, "Resource and DomainResource among them");
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            let (name, columns) = line.split_once('\t').unwrap();
            for column in columns.split(' ').filter(|column| column.contains(':')) {
                let (own, held) = column.split_once(':').unwrap();
                for held in held.trim_end_matches('*').split('|').filter(|held| !held.is_empty()) {
                    let known = match held.strip_prefix('.') {
                        Some(part) => definition(&format!("{name}.{part}")).is_some(),
                        None => {
                            let held = held.trim_start_matches('#');
                            definition(held).is_some()
                                || TEXTS.contains(&held)
                                || matches!(held, "uuid" | "xhtml" | "boolean")
                                || kind(held, &HashMap::new()) == Kind::Number
                        }
                    };
                    assert!(known, "{name}.{own}: {held}");
                }
            }
        }
    }

    #[test]
    fn what_an_element_holds() {
        let held = |r#type: &str, name: &str| {
            let element = definition(r#type).unwrap().element(name).unwrap();
            (element.kind, element.repeats)
        };
        assert_eq!(held("DocumentReference", "content"), (Kind::Complex("DocumentReference.content"), true));
        assert_eq!(held("Bundle.entry", "link"), (Kind::Complex("Bundle.link"), true));
        assert_eq!(held("Bundle.entry", "resource"), (Kind::Resource, false));
        assert_eq!(held("Extension", "valueCodeableConcept"), (Kind::Complex("CodeableConcept"), false));
        assert_eq!(held("Extension", "valueBoolean"), (Kind::Boolean, false));
        assert_eq!(held("Attachment", "size"), (Kind::Number, false));
        assert_eq!(held("Narrative", "div"), (Kind::Xhtml, false));
        assert_eq!(held("HumanName", "given"), (Kind::Text, true));
        assert_eq!(held("Parameters.parameter", "part"), (Kind::Complex("Parameters.parameter"), true));
        assert!(resource("Coding").is_none() && resource("Binary").is_some() && definition("X").is_none());
    }
}
