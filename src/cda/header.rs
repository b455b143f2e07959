//! The header of a CDA document: patient, unique id, type.
//!
//! roxmltree refuses a DTD, so there is no external entity and no entity expansion; the number of nodes is limited.
//! A self-presenting document is an XSLT style sheet that carries one ClinicalDocument; it may hold no script and may
//! fetch nothing (EX_2.1-1115).

use roxmltree::{Document, Node, ParsingOptions};
use thiserror::Error;

const HL7: &str = "urn:hl7-org:v3";
const XSL: &str = "http://www.w3.org/1999/XSL/Transform";
/// The largest sample has 9,000 nodes.
const MAXIMUM_NODES: u32 = 1_000_000;

/// What the header says. Elements may be missing: whether they must be there is a rule elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// `id`: the root, with `.extension` behind it when there is one.
    pub id: Option<String>,
    /// `code/@code`.
    pub type_code: Option<String>,
    /// `recordTarget/patientRole/id`: root and extension.
    pub patient_ids: Vec<(String, String)>,
    /// The document is an XSLT style sheet around the ClinicalDocument.
    pub is_self_presenting: bool,
}

/// Why bytes are no acceptable CDA document.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CdaFault {
    /// Not UTF-8.
    #[error("the document is not UTF-8")]
    NotUtf8,
    /// A DTD.
    #[error("the document has a DTD")]
    Dtd,
    /// Not XML, or too many nodes.
    #[error("the document is not acceptable XML: {0}")]
    NotXml(String),
    /// XML, but no CDA.
    #[error("the document holds no ClinicalDocument of urn:hl7-org:v3")]
    NotCda,
    /// More than one.
    #[error("the document holds more than one ClinicalDocument")]
    SeveralDocuments,
    /// A self-presenting document with a script.
    #[error("the style sheet of a self-presenting document holds a script (EX_2.1-1115): {0}")]
    Script(String),
    /// A self-presenting document that fetches something.
    #[error("the style sheet of a self-presenting document fetches an outside resource (EX_2.1-1115): {0}")]
    OutsideResource(String),
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// Why the bytes are no acceptable CDA document.
    pub fn read(bytes: &[u8]) -> Result<Self, CdaFault> {
        let text = std::str::from_utf8(bytes).map_err(|_| CdaFault::NotUtf8)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let options =
            ParsingOptions { allow_dtd: false, nodes_limit: MAXIMUM_NODES, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options).map_err(|error| match error {
            roxmltree::Error::DtdDetected => CdaFault::Dtd,
            other => CdaFault::NotXml(other.to_string()),
        })?;
        let root = document.root_element();
        if is(root, HL7, "ClinicalDocument") {
            return Ok(clinical_document(root));
        }
        if is(root, XSL, "stylesheet") || is(root, XSL, "transform") {
            let mut documents = root.descendants().filter(|node| is(*node, HL7, "ClinicalDocument"));
            let document = documents.next().ok_or(CdaFault::NotCda)?;
            if documents.next().is_some() {
                return Err(CdaFault::SeveralDocuments);
            }
            check_style_sheet(root, document)?;
            return Ok(Header { is_self_presenting: true, ..clinical_document(document) });
        }
        Err(CdaFault::NotCda)
    }
}

fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.is_element() && node.tag_name().namespace() == Some(namespace) && node.tag_name().name() == name
}

fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| is(*child, HL7, name))
}

fn clinical_document(document: Node<'_, '_>) -> Header {
    let id = child(document, "id").and_then(|id| {
        let root = id.attribute("root")?;
        Some(match id.attribute("extension") {
            Some(extension) => format!("{root}^{extension}"),
            None => root.to_owned(),
        })
    });
    let role = child(document, "recordTarget").and_then(|target| child(target, "patientRole"));
    let patient_ids = role
        .into_iter()
        .flat_map(|role| role.children().filter(|node| is(*node, HL7, "id")))
        .filter_map(|id| Some((id.attribute("root")?.to_owned(), id.attribute("extension")?.to_owned())))
        .collect();
    Header {
        id,
        type_code: child(document, "code").and_then(|code| code.attribute("code")).map(str::to_owned),
        patient_ids,
        is_self_presenting: false,
    }
}

/// Script elements, event attributes and whatever an XSLT processor or a browser would fetch.
fn check_style_sheet(root: Node<'_, '_>, document: Node<'_, '_>) -> Result<(), CdaFault> {
    const LINKS: [&str; 6] = ["src", "href", "background", "data", "action", "poster"];
    for node in root.descendants().filter(Node::is_element) {
        // The clinical content is data for the style sheet, not part of it.
        if node.ancestors().any(|ancestor| ancestor == document) {
            continue;
        }
        let name = node.tag_name().name();
        if name.eq_ignore_ascii_case("script") {
            return Err(CdaFault::Script(format!("<{name}>")));
        }
        let is_xsl = node.tag_name().namespace() == Some(XSL);
        if is_xsl && matches!(name, "import" | "include") {
            return Err(CdaFault::OutsideResource(format!("xsl:{name}")));
        }
        for attribute in node.attributes() {
            let (key, value) = (attribute.name().to_ascii_lowercase(), attribute.value().trim());
            if !is_xsl && key.starts_with("on") {
                return Err(CdaFault::Script(format!("@{key}")));
            }
            if value.to_ascii_lowercase().contains("javascript:") {
                return Err(CdaFault::Script(format!("@{key}")));
            }
            if is_xsl && fetches_a_document(value) {
                return Err(CdaFault::OutsideResource(format!("document() in @{key}")));
            }
            let inside = value.starts_with('#')
                || value.starts_with("data:")
                || value.starts_with('{')
                || value.is_empty();
            let anchor = name.eq_ignore_ascii_case("a");
            if !is_xsl && !anchor && LINKS.contains(&key.as_str()) && !inside {
                return Err(CdaFault::OutsideResource(format!("<{name} @{key}>")));
            }
        }
    }
    Ok(())
}

/// `document('')` and `document('#…')` are the style sheet itself.
fn fetches_a_document(expression: &str) -> bool {
    let mut rest = expression;
    while let Some(position) = rest.find("document(") {
        let argument = rest.get(position + "document(".len()..).unwrap_or_default().trim_start();
        let own = ["''", "\"\"", "'#", "\"#"].iter().any(|form| argument.starts_with(form));
        let is_a_call = rest.get(..position).and_then(|before| before.chars().next_back());
        let is_a_call = is_a_call.is_none_or(|before| !before.is_alphanumeric() && before != '-');
        if is_a_call && !own {
            return true;
        }
        rest = argument;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const CDA: &str = r#"<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="1.2.3"/><code code="11488-4"/>
        <recordTarget><patientRole><id root="1.2.250.1.213.1.4.10" extension="279035121518989"/></patientRole></recordTarget></ClinicalDocument>"#;

    fn style_sheet(content: &str) -> String {
        format!(
            r#"<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:d="urn:x"><d:c>{CDA}</d:c>{content}</xsl:stylesheet>"#
        )
    }

    #[test]
    fn reads_patient_id_and_type() {
        let header = Header::read(CDA.as_bytes()).unwrap();
        assert_eq!(header.id.as_deref(), Some("1.2.3"));
        assert_eq!(header.type_code.as_deref(), Some("11488-4"));
        assert_eq!(header.patient_ids, [("1.2.250.1.213.1.4.10".to_owned(), "279035121518989".to_owned())]);
        assert!(!header.is_self_presenting);
        let empty = Header::read(br#"<ClinicalDocument xmlns="urn:hl7-org:v3"/>"#).unwrap();
        assert_eq!(empty, Header::default());
    }

    #[test]
    fn refuses_what_is_dangerous_or_no_cda() {
        let dtd = r#"<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><ClinicalDocument xmlns="urn:hl7-org:v3">&e;</ClinicalDocument>"#;
        assert_eq!(Header::read(dtd.as_bytes()), Err(CdaFault::Dtd));
        assert!(matches!(Header::read(b"<a>&undefined;</a>"), Err(CdaFault::NotXml(_))));
        assert!(matches!(Header::read(b"%PDF-1.7"), Err(CdaFault::NotXml(_))));
        assert_eq!(Header::read(b"\xff\xfe"), Err(CdaFault::NotUtf8));
        assert_eq!(Header::read(b"<ClinicalDocument/>"), Err(CdaFault::NotCda));
    }

    #[test]
    fn judges_a_self_presenting_document_by_its_style_sheet() {
        let read = |content: &str| Header::read(style_sheet(content).as_bytes());
        let good = read(
            r##"<xsl:template match="/"><a href="https://example.org"/><img src="data:image/png;base64,AA"/><xsl:value-of select="document('')"/></xsl:template>"##,
        );
        assert!(good.unwrap().is_self_presenting);
        assert!(matches!(read("<script>alert(1)</script>"), Err(CdaFault::Script(_))));
        assert!(matches!(read(r#"<body onload="x()"/>"#), Err(CdaFault::Script(_))));
        assert!(matches!(read(r#"<a href="javascript:x()"/>"#), Err(CdaFault::Script(_))));
        assert!(matches!(read(r#"<xsl:import href="http://x/y.xsl"/>"#), Err(CdaFault::OutsideResource(_))));
        assert!(matches!(read(r#"<img src="http://x/pixel.png"/>"#), Err(CdaFault::OutsideResource(_))));
        assert!(matches!(
            read(r#"<xsl:variable name="v" select="document($file)"/>"#),
            Err(CdaFault::OutsideResource(_))
        ));
        assert_eq!(read(CDA), Err(CdaFault::SeveralDocuments));
    }
}
