//! The header of a CDA document: patient, unique id, type.
//!
//! roxmltree refuses a DTD, so there is no external entity and no entity expansion; the number of nodes is limited.
//! A self-presenting document is an XSLT style sheet that carries one ClinicalDocument; it may hold no script and may
//! fetch nothing (EX_2.1-1115).

use quick_xml::Reader;
use quick_xml::events::Event;
use roxmltree::{Document, Node, ParsingOptions};
use thiserror::Error;

const HL7: &str = "urn:hl7-org:v3";
const XSL: &str = "http://www.w3.org/1999/XSL/Transform";
/// The largest sample has 9,000 nodes.
const MAXIMUM_NODES: u32 = 400_000;
/// Elements inside one another, attributes of one element, namespace declarations of a document. roxmltree's work grows
/// with the square and the cube of these; the samples have 30, 20 and 60.
const MAXIMUM_DEPTH: usize = 200;
const MAXIMUM_ATTRIBUTES: usize = 100;
const MAXIMUM_NAMESPACES: usize = 1_000;

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
        bounded(text)?;
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

/// Refuses what would be dear to parse, by a reader that keeps nothing.
fn bounded(text: &str) -> Result<(), CdaFault> {
    // roxmltree makes room for as many nodes and attributes as there are such characters, before it looks at any limit.
    let most = MAXIMUM_NODES as usize * 4;
    if [b'<', b'='].into_iter().any(|mark| text.bytes().filter(|byte| *byte == mark).count() > most) {
        return Err(CdaFault::NotXml("too many nodes".into()));
    }
    let (mut depth, mut namespaces) = (0_usize, 0_usize);
    let mut reader = Reader::from_str(text);
    loop {
        let event = reader.read_event().map_err(|error| CdaFault::NotXml(error.to_string()))?;
        let element = match &event {
            Event::Start(element) => {
                depth += 1;
                element
            }
            Event::Empty(element) => element,
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                continue;
            }
            Event::DocType(_) => return Err(CdaFault::Dtd),
            Event::Eof => return Ok(()),
            _ => continue,
        };
        // Whether a name stands twice is roxmltree's to say: here it would cost a comparison with each.
        let mut attributes = 0;
        for attribute in element.attributes().with_checks(false).flatten() {
            attributes += 1;
            namespaces += usize::from(attribute.key.as_ref().starts_with(b"xmlns"));
            if attributes > MAXIMUM_ATTRIBUTES || namespaces > MAXIMUM_NAMESPACES {
                return Err(CdaFault::NotXml("too many attributes or namespaces".into()));
            }
        }
        if depth > MAXIMUM_DEPTH {
            return Err(CdaFault::NotXml("elements too deep inside one another".into()));
        }
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
    // All of them: a second recordTarget about another patient is a document of two.
    let patient_ids = document
        .children()
        .filter(|node| is(*node, HL7, "recordTarget"))
        .filter_map(|target| child(target, "patientRole"))
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

/// Elements of a page that run, load or lead away. `a` may lead away: a person clicks it.
const FORBIDDEN_ELEMENTS: [&str; 15] = [
    "script", "iframe", "frame", "frameset", "object", "embed", "applet", "link", "base", "form", "meta",
    "svg", "math", "audio", "video",
];
/// Attributes whose value is fetched.
const FETCHED_ATTRIBUTES: [&str; 9] =
    ["src", "href", "background", "data", "action", "poster", "srcset", "srcdoc", "formaction"];

/// What an XSLT processor or a browser would run or fetch. Whatever cannot be judged from the text is refused.
fn check_style_sheet(root: Node<'_, '_>, document: Node<'_, '_>) -> Result<(), CdaFault> {
    let instructions = root.document().root().descendants().filter_map(|node| node.pi());
    for instruction in instructions.filter(|instruction| instruction.target == "xml-stylesheet") {
        // Whatever looks like a link names the document itself.
        let links: Vec<String> = instruction
            .value
            .unwrap_or_default()
            .split("href")
            .skip(1)
            .map(|rest| rest.chars().filter(|c| !c.is_whitespace()).take(3).collect())
            .collect();
        if links.is_empty() || !links.iter().all(|link| link == "=\"#" || link == "='#") {
            return Err(outside("xml-stylesheet"));
        }
    }
    // The clinical content is data beside the style sheet, not a part of a template.
    let is_beside = |node: &Node<'_, '_>| *node == root || node.tag_name().namespace() != Some(XSL);
    if !document.ancestors().skip(1).filter(Node::is_element).all(|node| is_beside(&node)) {
        return Err(CdaFault::Script("the ClinicalDocument stands in a template".into()));
    }
    let clinical = document.range();
    for node in root.descendants().filter(Node::is_element) {
        let name = node.tag_name().name().to_ascii_lowercase();
        let is_xsl = node.tag_name().namespace() == Some(XSL);
        if clinical.contains(&node.range().start) {
            // A style sheet may copy it: nothing there that runs, either.
            let runs =
                node.attributes().any(|attribute| attribute.name().to_ascii_lowercase().starts_with("on"));
            if is_xsl || runs || name == "script" {
                return Err(CdaFault::Script(format!("<{name}> in the clinical content")));
            }
        } else if is_xsl {
            check_instruction(node, &name)?;
        } else {
            if name != "meta"
                || node.attributes().any(|attribute| attribute.name().eq_ignore_ascii_case("http-equiv"))
            {
                check_element(&name)?;
            }
            for attribute in node.attributes() {
                check_attribute(&name, attribute.name(), attribute.value())?;
                for expression in attribute.value().split('{').skip(1) {
                    check_expression(expression.split('}').next().unwrap_or_default())?;
                }
            }
            if name == "style" {
                if node.descendants().skip(1).any(|inner| inner.is_element()) {
                    return Err(outside("a computed style"));
                }
                let texts = node.descendants().filter(|inner| inner.is_text()).filter_map(|inner| inner.text());
                check_style(&texts.collect::<String>(), true)?;
            }
        }
    }
    Ok(())
}

fn check_instruction(node: Node<'_, '_>, name: &str) -> Result<(), CdaFault> {
    if matches!(name, "import" | "include" | "import-schema" | "result-document" | "processing-instruction") {
        return Err(outside(&format!("xsl:{name}")));
    }
    for attribute in node.attributes() {
        match attribute.name() {
            "disable-output-escaping" if attribute.value() != "no" => {
                return Err(CdaFault::Script("disable-output-escaping".into()));
            }
            "extension-element-prefixes"
                if attribute.value().split_whitespace().any(|prefix| prefix != "exsl") =>
            {
                return Err(CdaFault::Script("extension-element-prefixes".into()));
            }
            _ => check_expression(attribute.value())?,
        }
    }
    let made = node.attribute("name").unwrap_or_default();
    match name {
        "element" | "attribute" if made.contains('{') => {
            Err(CdaFault::Script(format!("xsl:{name} of a computed name")))
        }
        "element" => {
            let made = made.rsplit(':').next().unwrap_or_default().to_ascii_lowercase();
            if made == "style" { Err(outside("a computed style")) } else { check_element(&made) }
        }
        "attribute" => check_attribute("", made, &beginning(node, made.eq_ignore_ascii_case("style"))),
        _ => Ok(()),
    }
}

/// The literal text with which an `xsl:attribute` begins. What is computed first, or anywhere in a style, cannot be
/// judged and stands as something that no attribute may hold.
fn beginning(node: Node<'_, '_>, whole: bool) -> String {
    const COMPUTED: &str = "{computed}url(";
    let literal = |child: &Node<'_, '_>| child.is_text() || is(*child, XSL, "text");
    let blank = |child: &Node<'_, '_>| child.is_text() && child.text().unwrap_or_default().trim().is_empty();
    let children: Vec<Node<'_, '_>> =
        node.children().filter(|child| !blank(child) && !child.is_comment() && !child.is_pi()).collect();
    match children.first() {
        None => String::new(),
        Some(first) if literal(first) && (!whole || children.iter().all(literal)) => {
            let judged = if whole { children.as_slice() } else { children.get(..1).unwrap_or_default() };
            judged.iter().filter_map(|child| child.text()).collect()
        }
        Some(_) => COMPUTED.to_owned(),
    }
}

fn check_element(name: &str) -> Result<(), CdaFault> {
    if FORBIDDEN_ELEMENTS.contains(&name) { Err(CdaFault::Script(format!("<{name}>"))) } else { Ok(()) }
}

fn check_attribute(element: &str, name: &str, value: &str) -> Result<(), CdaFault> {
    let name = name.to_ascii_lowercase();
    if name.starts_with("on") {
        return Err(CdaFault::Script(format!("@{name}")));
    }
    // A browser passes over control characters and space in a scheme.
    let value: String = value.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
    let value = value.to_ascii_lowercase();
    if value.contains("javascript:") || value.contains("vbscript:") {
        return Err(CdaFault::Script(format!("@{name}")));
    }
    if name == "style" {
        return check_style(&value, false);
    }
    if !FETCHED_ATTRIBUTES.contains(&name.as_str()) {
        return Ok(());
    }
    let inside = value.is_empty() || value.starts_with('#') || value.starts_with("data:image/");
    let a_person_clicks = element == "a" && (value.starts_with("http://") || value.starts_with("https://"));
    if inside || a_person_clicks { Ok(()) } else { Err(outside(&format!("@{name}"))) }
}

fn check_style(style: &str, is_rules: bool) -> Result<(), CdaFault> {
    let style: String = style.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    let fetches = style.split("url(").skip(1).any(|url| {
        let url = url.trim_start_matches(['"', '\'']);
        !url.starts_with('#') && !url.starts_with("data:image/")
    });
    // A backslash can spell anything. Braces are of a rule, or in an attribute of an expression.
    let hides = ["@import", "expression(", "image-set(", "\\"].iter().any(|part| style.contains(part))
        || (!is_rules && style.contains('{'));
    if fetches || hides {
        return Err(outside("a style that fetches"));
    }
    Ok(())
}

/// Functions of XPath that read another document. `document('')` and `document('#…')` are the style sheet itself.
fn check_expression(expression: &str) -> Result<(), CdaFault> {
    const READING: [&str; 9] = [
        "document",
        "doc",
        "doc-available",
        "unparsed-text",
        "unparsed-text-available",
        "unparsed-text-lines",
        "collection",
        "uri-collection",
        "json-doc",
    ];
    for (position, _) in expression.match_indices('(') {
        let before = expression.get(..position).unwrap_or_default().trim_end();
        let argument = expression.get(position + 1..).unwrap_or_default().trim_start();
        let name = before.rsplit(|c: char| !c.is_alphanumeric() && c != '-').next().unwrap_or_default();
        let own = ["''", "\"\"", "'#", "\"#"].iter().any(|form| argument.starts_with(form));
        if READING.contains(&name) && !own {
            return Err(outside(&format!("{name}()")));
        }
        // Extension functions may do anything (Xalan runs programs); this one turns a fragment into nodes.
        let prefix = before.strip_suffix(name).and_then(|before| before.strip_suffix(':'));
        if prefix
            .is_some_and(|prefix| !(prefix.ends_with(':') || (prefix.ends_with("exsl") && name == "node-set")))
        {
            return Err(CdaFault::Script(format!("the extension function {name}()")));
        }
    }
    Ok(())
}

fn outside(what: &str) -> CdaFault {
    CdaFault::OutsideResource(what.to_owned())
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

    #[test]
    fn judges_a_self_presenting_document_by_its_style_sheet() {
        let read = |content: &str| Header::read(style_sheet(content).as_bytes());
        let good = read(
            r##"<xsl:template match="/"><a href="https://example.org"/><img src="data:image/png;base64,AA"/><xsl:value-of select="document('')"/></xsl:template>"##,
        );
        assert!(good.unwrap().is_self_presenting);
        for script in [
            "<script>alert(1)</script>",
            r#"<xsl:element name="script">alert(1)</xsl:element>"#,
            r#"<xsl:element name="{'scr'}ipt"/>"#,
            r#"<xsl:attribute name="onload">x()</xsl:attribute>"#,
            r#"<xsl:attribute name="{$n}">x()</xsl:attribute>"#,
            "<a href=\"java&#10;script:x()\"/>",
            r#"<iframe src="data:text/html,x"/>"#,
            r#"<meta http-equiv="refresh" content="0"/>"#,
            r#"<xsl:text disable-output-escaping="yes">&lt;script></xsl:text>"#,
            r#"<xsl:value-of select="rt:exec($o, 'x')"/>"#,
        ] {
            assert!(matches!(read(script), Err(CdaFault::Script(_))), "{script}: {:?}", read(script));
        }
        for fetch in [
            r#"<img src="{'http://x/p.png'}"/>"#,
            r#"<xsl:value-of select="document ('http://x')"/>"#,
            r#"<p title="{document('http://x')}"/>"#,
            r#"<xsl:attribute name="src">http://x</xsl:attribute>"#,
            r#"<xsl:attribute name="href"><xsl:value-of select="$u"/></xsl:attribute>"#,
            r#"<p style="background: url( http://x/p.png )"/>"#,
            "<style>@import 'x.css';</style>",
            "<style><xsl:text>@import 'x.css';</xsl:text></style>",
            r#"<p style="background:{concat('ur','l(http://x)')}"/>"#,
            r#"<xsl:attribute name="src"><xsl:value-of select="'http://x/'"/>#</xsl:attribute>"#,
            r#"<xsl:attribute name="style">color:<xsl:value-of select="$c"/></xsl:attribute>"#,
            r##"<?xml-stylesheet href="http://x" title='href="#'?>"##,
            r#"<xsl:value-of select="unparsed-text('file:///etc/passwd')"/>"#,
            r#"<?xml-stylesheet type="text/xsl" href="http://x/y.xsl"?>"#,
        ] {
            assert!(matches!(read(fetch), Err(CdaFault::OutsideResource(_))), "{fetch}: {:?}", read(fetch));
        }
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
