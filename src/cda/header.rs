//! The header of a CDA document: patient, unique id, type.
//!
//! roxmltree refuses a DTD, so there is no external entity and no entity expansion; the number of nodes is limited.
//! A self-presenting document is an XSLT style sheet that carries one ClinicalDocument; `style_sheet` judges it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use roxmltree::{Document, Node, ParsingOptions};
use thiserror::Error;

use super::style_sheet;
use crate::bounded_xml::{self, Bounds, OutOfBounds};

pub(super) const HL7: &str = "urn:hl7-org:v3";
pub(super) const XSL: &str = "http://www.w3.org/1999/XSL/Transform";
const MAXIMUM_NODES: u32 = Bounds::CDA.nodes as u32;

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
    /// How many authors there are that are persons or devices, and no mere organisation.
    pub authors: usize,
    /// The body, where it is a file of another kind (level 1, `nonXMLBody`).
    pub body: Option<Unstructured>,
}

/// The file that is the body of a CDA document of level 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstructured {
    /// `text/@mediaType`.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
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
    /// A body that is a file, and does not stand in the document as it should.
    #[error("the body of the document (nonXMLBody) {0}")]
    Body(&'static str),
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
        within(bytes, |document, is_self_presenting| {
            Ok(Header { is_self_presenting, ..clinical_document(document)? })
        })
    }
}

/// Reads something of the one ClinicalDocument that bytes hold, and whether it is self-presenting.
pub(super) fn within<T>(
    bytes: &[u8],
    read: impl FnOnce(Node<'_, '_>, bool) -> Result<T, CdaFault>,
) -> Result<T, CdaFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| CdaFault::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    bounded_xml::check(text, &Bounds::CDA).map_err(|out| match out {
        OutOfBounds::Dtd => CdaFault::Dtd,
        OutOfBounds::Xml(what) => CdaFault::NotXml(what),
    })?;
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAXIMUM_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| match error {
        roxmltree::Error::DtdDetected => CdaFault::Dtd,
        other => CdaFault::NotXml(other.to_string()),
    })?;
    let root = document.root_element();
    if is(root, HL7, "ClinicalDocument") {
        return read(root, false);
    }
    if is(root, XSL, "stylesheet") || is(root, XSL, "transform") {
        let mut documents = root.descendants().filter(|node| is(*node, HL7, "ClinicalDocument"));
        let document = documents.next().ok_or(CdaFault::NotCda)?;
        if documents.next().is_some() {
            return Err(CdaFault::SeveralDocuments);
        }
        style_sheet::check(root, document)?;
        return read(document, true);
    }
    Err(CdaFault::NotCda)
}

pub(super) fn is(node: Node<'_, '_>, namespace: &str, name: &str) -> bool {
    node.is_element() && node.tag_name().namespace() == Some(namespace) && node.tag_name().name() == name
}

pub(super) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| is(*child, HL7, name))
}

fn clinical_document(document: Node<'_, '_>) -> Result<Header, CdaFault> {
    let id = child(document, "id").and_then(|id| {
        let root = id.attribute("root")?;
        Some(match id.attribute("extension") {
            Some(extension) => format!("{root}^{extension}"),
            None => root.to_owned(),
        })
    });
    // All of them: a second recordTarget about another patient is a document of two.
    let patient_ids = document
        .children()
        .filter(|node| is(*node, HL7, "recordTarget"))
        .filter_map(|target| child(target, "patientRole"))
        .flat_map(|role| role.children().filter(|node| is(*node, HL7, "id")))
        .filter_map(|id| Some((id.attribute("root")?.to_owned(), id.attribute("extension")?.to_owned())))
        .collect();
    Ok(Header {
        id,
        type_code: child(document, "code").and_then(|code| code.attribute("code")).map(str::to_owned),
        patient_ids,
        is_self_presenting: false,
        authors: document
            .children()
            .filter(|node| is(*node, HL7, "author"))
            .filter_map(|author| child(author, "assignedAuthor"))
            .filter(|author| {
                let has = |name| child(*author, name).is_some();
                has("assignedPerson") || has("assignedAuthoringDevice") || !has("representedOrganization")
            })
            .count(),
        body: body(document)?,
    })
}

fn body(document: Node<'_, '_>) -> Result<Option<Unstructured>, CdaFault> {
    let body = child(document, "component").and_then(|component| child(component, "nonXMLBody"));
    let Some(body) = body else { return Ok(None) };
    let text = child(body, "text").ok_or(CdaFault::Body("is empty"))?;
    if child(text, "reference").is_some() {
        return Err(CdaFault::Body("lies somewhere else"));
    }
    let content: String = text.children().filter(Node::is_text).filter_map(|node| node.text()).collect();
    let bytes = match text.attribute("representation") {
        Some("B64") => {
            let compact: String = content.split_ascii_whitespace().collect();
            BASE64.decode(compact).map_err(|_| CdaFault::Body("is not base64"))?
        }
        None | Some("TXT") => content.into_bytes(),
        Some(_) => return Err(CdaFault::Body("has another representation than B64 and TXT")),
    };
    let media_type = text.attribute("mediaType").unwrap_or("text/plain").to_owned();
    Ok(Some(Unstructured { media_type, bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CDA: &str = r#"<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="1.2.3"/><code code="11488-4"/>
        <recordTarget><patientRole><id root="1.2.250.1.213.1.4.10" extension="279035121518989"/></patientRole></recordTarget></ClinicalDocument>"#;

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
    fn a_body_that_is_a_file() {
        let of = |text: &str| {
            let body = format!("<component><nonXMLBody>{text}</nonXMLBody></component></ClinicalDocument>");
            Header::read(CDA.replace("</ClinicalDocument>", &body).as_bytes()).map(|header| header.body)
        };
        let read = |media_type: &str, bytes: &[u8]| {
            Ok(Some(Unstructured { media_type: media_type.to_owned(), bytes: bytes.to_vec() }))
        };
        let pdf = r#"<text mediaType="application/pdf" representation="B64"> JVBE
            Ri0= </text>"#;
        assert_eq!(of(pdf), read("application/pdf", b"%PDF-"));
        assert_eq!(of("<text>a &amp; <![CDATA[b]]></text>"), read("text/plain", b"a & b"));
        assert_eq!(of(""), Err(CdaFault::Body("is empty")));
        let elsewhere = r#"<text mediaType="application/pdf"><reference value="https://x/"/></text>"#;
        assert_eq!(of(elsewhere), Err(CdaFault::Body("lies somewhere else")));
        assert_eq!(of(r#"<text representation="B64">*</text>"#), Err(CdaFault::Body("is not base64")));
        let other = of(r#"<text representation="HEX">00</text>"#);
        assert_eq!(other, Err(CdaFault::Body("has another representation than B64 and TXT")));
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
    fn refuses_what_is_dear_to_parse() {
        let nested = |count: usize, element: &dyn Fn(usize) -> String| {
            let open: String = (0..count).map(element).collect();
            format!(
                "<ClinicalDocument xmlns=\"urn:hl7-org:v3\">{open}{}</ClinicalDocument>",
                "</a>".repeat(count)
            )
        };
        let deep = nested(5_000, &|n| format!("<a xmlns:p{n}=\"u\">"));
        let attributes: String = (0..5_000).map(|n| format!(" a{n}=\"\"")).collect();
        let wide = format!("<ClinicalDocument xmlns=\"urn:hl7-org:v3\"{attributes}/>");
        for bomb in [deep, wide] {
            assert!(matches!(Header::read(bomb.as_bytes()), Err(CdaFault::NotXml(_))));
        }
        assert!(Header::read(nested(100, &|n| format!("<a b=\"{n}\">")).as_bytes()).is_ok(), "control");
    }
}
