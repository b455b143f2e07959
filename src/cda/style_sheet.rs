//! The style sheet of a self-presenting document: it may hold no script and fetch nothing (EX_2.1-1115).
//!
//! Nothing here runs it; but who reads the document may. What cannot be judged from the text is refused.

use roxmltree::Node;

use super::header::{CdaFault, XSL, is};

/// Elements of a page that run, load or lead away. `a` may lead away: a person clicks it.
const FORBIDDEN_ELEMENTS: [&str; 15] = [
    "script", "iframe", "frame", "frameset", "object", "embed", "applet", "link", "base", "form", "meta",
    "svg", "math", "audio", "video",
];
/// Attributes whose value is fetched.
const FETCHED_ATTRIBUTES: [&str; 9] =
    ["src", "href", "background", "data", "action", "poster", "srcset", "srcdoc", "formaction"];

/// What an XSLT processor or a browser would run or fetch. Whatever cannot be judged from the text is refused.
pub(super) fn check(root: Node<'_, '_>, document: Node<'_, '_>) -> Result<(), CdaFault> {
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
    use crate::cda::Header;

    const CDA: &str = r#"<ClinicalDocument xmlns="urn:hl7-org:v3"><id root="1.2.3"/><code code="11488-4"/>
        <recordTarget><patientRole><id root="1.2.250.1.213.1.4.10" extension="279035121518989"/></patientRole></recordTarget></ClinicalDocument>"#;

    fn style_sheet(content: &str) -> String {
        format!(
            r#"<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:d="urn:x"><d:c>{CDA}</d:c>{content}</xsl:stylesheet>"#
        )
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
