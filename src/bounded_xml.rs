//! What would be dear to parse as XML is refused by a reader that keeps nothing, before a tree is made of it.
//!
//! roxmltree compares each attribute of an element with each other, and looks through all namespaces in scope for each name: its work
//! grows with the square and the cube of what a sender chooses. Fifty kilobytes cost seconds.

use quick_xml::Reader;
use quick_xml::events::Event;

/// How much of a kind is taken.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Nodes: elements, texts, attributes.
    pub nodes: usize,
    /// Elements inside one another.
    pub depth: usize,
    /// Attributes of one element.
    pub attributes: usize,
    /// Namespace declarations of the whole document.
    pub namespaces: usize,
}

impl Bounds {
    /// Of a CDA document: the largest sample has 9,000 nodes, 30 elements inside one another, 20 attributes, 60 namespaces.
    pub const CDA: Self = Self { nodes: 400_000, depth: 200, attributes: 100, namespaces: 10_000 };
    /// Of a FHIR resource: three attributes and one namespace, and that of each narrative.
    pub const FHIR: Self = Self { nodes: 70_000, depth: 200, attributes: 100, namespaces: 1_000 };
    /// Of a narrative, or of an XML Patch.
    pub const FRAGMENT: Self = Self { nodes: 100_000, depth: 200, attributes: 100, namespaces: 50 };
}

/// Why a text is not made a tree of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutOfBounds {
    /// It has a DTD.
    Dtd,
    /// It is no XML, or too much of something.
    Xml(String),
}

/// Looks through a text.
///
/// # Errors
/// What of it is out of bounds.
pub fn check(text: &str, bounds: &Bounds) -> Result<(), OutOfBounds> {
    let too_many = |what: &str| Err(OutOfBounds::Xml(what.to_owned()));
    // A tree makes room for as many nodes and attributes as there are such characters, before it looks at any limit.
    let most = bounds.nodes * 4;
    if [b'<', b'='].into_iter().any(|mark| text.bytes().filter(|byte| *byte == mark).count() > most) {
        return too_many("too many nodes");
    }
    let (mut depth, mut namespaces, mut nodes) = (0_usize, 0_usize, 0_usize);
    let mut in_scope = vec![0_usize];
    let mut reader = Reader::from_str(text);
    loop {
        let event = reader.read_event().map_err(|error| OutOfBounds::Xml(error.to_string()))?;
        let is_blank = matches!(&event, Event::Text(text) if text.iter().all(u8::is_ascii_whitespace));
        nodes += usize::from(!is_blank && !matches!(event, Event::End(_) | Event::GeneralRef(_)));
        let (element, is_open) = match &event {
            Event::Start(element) => (element, true),
            Event::Empty(element) => (element, false),
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                in_scope.pop();
                continue;
            }
            Event::DocType(_) => return Err(OutOfBounds::Dtd),
            Event::Eof => return Ok(()),
            _ => continue,
        };
        let (mut attributes, mut declared) = (0_usize, 0_usize);
        // Whether a name stands twice is the tree's to say: here it would cost a comparison with each.
        for attribute in element.attributes().with_checks(false).flatten() {
            attributes += 1;
            declared += usize::from(attribute.key.as_ref().starts_with(b"xmlns"));
            if attributes > bounds.attributes {
                return too_many("too many attributes of one element");
            }
        }
        nodes += attributes;
        namespaces += declared;
        // Those of the elements around it are in scope too: what is looked through for each name.
        let here = in_scope.last().copied().unwrap_or_default() + declared;
        if namespaces > bounds.namespaces || here > IN_SCOPE {
            return too_many("too many namespaces");
        }
        if nodes > bounds.nodes {
            return too_many("too many nodes");
        }
        if is_open {
            depth += 1;
            in_scope.push(here);
            if depth > bounds.depth {
                return too_many("elements too deep inside one another");
            }
        }
    }
}

/// Namespace declarations in scope at one place.
const IN_SCOPE: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Bounds = Bounds { nodes: 50, depth: 5, attributes: 4, namespaces: 6 };

    #[test]
    fn bounds() {
        let out = |text: &str| match check(text, &FEW) {
            Ok(()) => String::new(),
            Err(OutOfBounds::Dtd) => "dtd".into(),
            Err(OutOfBounds::Xml(what)) => what,
        };
        assert_eq!(out("<a xmlns='u' b='1'><c/>text<!-- x --></a>"), "");
        assert_eq!(out("<!DOCTYPE a><a/>"), "dtd");
        assert_eq!(out(&"<a>".repeat(6)), "elements too deep inside one another");
        assert_eq!(out(&format!("{}{}", "<a>".repeat(5), "</a>".repeat(5))), "");
        assert_eq!(out("<a a='' b='' c='' d='' e=''/>"), "too many attributes of one element");
        assert_eq!(out(&format!("<r>{}</r>", "<a xmlns:x='u'/>".repeat(7))), "too many namespaces");
        assert_eq!(out(&format!("<r>{}</r>", "<a/>".repeat(50))), "too many nodes");
        assert_eq!(out(&"<".repeat(201)), "too many nodes");
        assert!(!out("<a></b>").is_empty());
        // Those around an element count, not those beside it.
        let wide = Bounds { nodes: 10_000, depth: 200, attributes: 200, namespaces: 1_000 };
        let declared: String = (0..60).map(|n| format!(" xmlns:n{n}='u'")).collect();
        let beside = format!("<r><a{declared}/><a{declared}/></r>");
        let inside = format!("<r><a{declared}><a{declared}/></a></r>");
        assert_eq!(check(&beside, &wide), Ok(()));
        assert_eq!(check(&inside, &wide), Err(OutOfBounds::Xml("too many namespaces".into())));
    }
}
