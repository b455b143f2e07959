//! FHIR's XML: the same content as the JSON, by the definitions of the types (FHIR R4, 2.6.1).
//!
//! JSON is what is read, ruled on and kept. XML becomes JSON at the door and is made of JSON at the end, so that no rule exists
//! twice. What one form cannot say is refused: nothing is dropped on the way.

mod reader;
mod writer;

use crate::bounded_xml::{self, Bounds};

pub use reader::{element_to_json, to_json};
pub use writer::{check, to_xml};

/// Namespace of FHIR.
pub(crate) const FHIR: &str = "http://hl7.org/fhir";
/// Namespace of the narrative.
const XHTML: &str = "http://www.w3.org/1999/xhtml";

/// Why a text is no FHIR resource: where and what, and no value of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct Fault {
    /// FHIRPath of the element, `Bundle.entry[0].resource.foo`.
    pub path: String,
    /// What is wrong.
    pub what: &'static str,
}

impl Fault {
    fn at(path: &Path<'_>, what: &'static str) -> Self {
        Self { path: path.to_string(), what }
    }
}

/// The way to an element, from the inside out: written only when something is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    name: &'a str,
    place: Option<usize>,
}

impl<'a> Path<'a> {
    fn root(name: &'a str) -> Self {
        Self { parent: None, name, place: None }
    }

    fn child(&'a self, name: &'a str, place: Option<usize>) -> Path<'a> {
        Path { parent: Some(self), name, place }
    }

    /// Elements deep.
    fn depth(&self) -> usize {
        self.parent.map_or(0, |parent| parent.depth() + 1)
    }
}

/// Nesting that is taken. FHIR needs no more, and both ways are recursive.
const DEEPEST: usize = 32;

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(parent) = self.parent {
            write!(formatter, "{parent}.")?;
        }
        // A name may be anything that was sent: a few characters of it.
        formatter.write_str(&self.name.chars().take(64).collect::<String>())?;
        self.place.map_or(Ok(()), |place| write!(formatter, "[{place}]"))
    }
}

/// Whether a text stands for a JSON number, as FHIR's numbers do too.
fn is_number(text: &str) -> bool {
    let bytes = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let leading = whole.len() > 1 && whole.starts_with('0');
    bytes(whole) && !leading && bytes(fraction) && bytes(exponent)
}

/// The tree of a narrative: one `div` of XHTML and nothing more.
fn narrative(text: &str) -> Option<roxmltree::Document<'_>> {
    bounded_xml::check(text, &Bounds::FRAGMENT).ok()?;
    let nodes_limit = Bounds::FRAGMENT.nodes as u32;
    let options = roxmltree::ParsingOptions { allow_dtd: false, nodes_limit, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(text, options).ok()?;
    let root = document.root_element().tag_name();
    let is_div = root.name() == "div" && root.namespace() == Some(XHTML);
    (is_div && text.starts_with('<') && text.ends_with('>')).then_some(document)
}

/// Whether a narrative is inert: elements and attributes are those of FHIR R4's own list (constraint txt-1 of Narrative), addresses are those
/// of pages, images and people, and no style fetches anything.
fn is_inert(narrative: &roxmltree::Document<'_>) -> bool {
    narrative.descendants().filter(|node| node.is_element()).all(|node| {
        node.tag_name().namespace() == Some(XHTML)
            && ELEMENTS.contains(&node.tag_name().name())
            && node.attributes().all(inert_attribute)
    })
}

const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "b",
    "big",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "li",
    "ol",
    "p",
    "pre",
    "q",
    "samp",
    "small",
    "span",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "ul",
    "var",
];

const ATTRIBUTES: &[&str] = &[
    "abbr",
    "accesskey",
    "align",
    "alt",
    "axis",
    "bgcolor",
    "border",
    "cellhalign",
    "cellpadding",
    "cellspacing",
    "cellvalign",
    "char",
    "charoff",
    "charset",
    "cite",
    "class",
    "colspan",
    "compact",
    "coords",
    "dir",
    "frame",
    "headers",
    "height",
    "href",
    "hreflang",
    "hspace",
    "id",
    "lang",
    "longdesc",
    "name",
    "nowrap",
    "rel",
    "rev",
    "rowspan",
    "rules",
    "scope",
    "shape",
    "span",
    "src",
    "start",
    "style",
    "summary",
    "tabindex",
    "title",
    "type",
    "valign",
    "value",
    "vspace",
    "width",
];

fn inert_attribute(attribute: roxmltree::Attribute<'_, '_>) -> bool {
    // What a browser leaves out of an address, and of a style.
    let value: String = attribute.value().chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let value = value.to_ascii_lowercase();
    match (attribute.namespace(), attribute.name()) {
        (Some(XML), "lang" | "space") => true,
        (Some(_), _) => false,
        (None, "href" | "src" | "longdesc" | "cite") => is_plain_address(&value),
        (None, "style") => ![
            "url(",
            "expression(",
            "@import",
            "behavior:url",
            "-moz-binding",
            "image-set(",
            "image(",
            "src(",
            "\\",
        ]
        .iter()
        .any(|active| value.contains(active)),
        (None, name) => ATTRIBUTES.contains(&name),
    }
}

/// Addresses of pages, people and images, relative ones included.
fn is_plain_address(value: &str) -> bool {
    match value.split_once(':') {
        // A colon behind a slash, a question mark or a fragment parts nothing.
        Some((scheme, _)) if !scheme.contains(['/', '?', '#']) => {
            ["http", "https", "mailto", "tel", "urn"].contains(&scheme)
                || (value.starts_with("data:image/") && !value.starts_with("data:image/svg"))
        }
        _ => true,
    }
}

/// The namespace of `xml:lang`.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

#[cfg(test)]
mod tests;
