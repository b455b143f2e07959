//! A document is what it is declared to be: bytes of another kind are refused, and nothing is kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use habilis::sandbox::example::Example;

use crate::on_both_engines;
use crate::support::{Engine, OTHER, TEST, World};

on_both_engines!(bytes_and_their_type, the_body_of_a_cda_document);

/// A DICOM file of a class, as far as its meta group.
fn dicom(class: &str) -> Vec<u8> {
    let mut bytes = vec![0; 128];
    bytes.extend(b"DICM\x02\0\x02\0UI");
    bytes.extend(u16::try_from(class.len()).unwrap().to_le_bytes());
    bytes.extend(class.as_bytes());
    bytes
}

/// What no document may be, and what this one is not.
fn code_of(phrase: &str) -> &'static str {
    match phrase.contains("takes no") || phrase.contains("FHIR R4") || phrase.contains("lies somewhere") {
        true => "XDSRepositoryMetadataError",
        false => "XDSRegistryMetadataError",
    }
}

fn bytes_and_their_type(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin");
    let kos = dicom("1.2.840.10008.5.1.4.1.1.88.59\0");
    let image = dicom("1.2.840.10008.5.1.4.1.1.2\0");
    let html = b"<html><script src=//x></script></html>".as_slice();
    for (number, (declared, bytes, refused)) in [
        ("application/pdf", b"%PDF-1.7\n".as_slice(), None),
        ("application/pdf", html, Some("the bytes are text/html, not application/pdf")),
        ("application/pdf", b"MZ\x90\0", Some("not application/pdf")),
        ("text/rtf", br"{\rtf1 x}", None),
        ("text/rtf", html, Some("the bytes are text/html, not application/rtf")),
        ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF", None),
        ("image/jpeg", b"%PDF-1.7\n", Some("the bytes are application/pdf, not image/jpeg")),
        ("image/tiff", b"II*\0\x08\0\0\0\0\0", None),
        ("image/tiff", b"\x89PNG\r\n\x1a\n\0\0\0", Some("the bytes are image/png, not image/tiff")),
        ("text/plain", "Œdème\n".as_bytes(), None),
        ("text/plain; charset=utf-8", "Œdème\n".as_bytes(), None),
        ("text/plain", b"a\0b", Some("control characters")),
        ("application/dicom", &kos, None),
        ("application/dicom", &image, Some("the DMP takes key object selections")),
        ("application/fhir+json", b"{}", Some("not a resource of FHIR R4")),
        ("image/png", b"\x89PNG\r\n\x1a\n", Some("the DMP takes no such media type")),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("2.25.700{number}");
        let example = Example::new(TEST, OTHER, "OUVERT", &id);
        let mut document = example.document_reference(bytes);
        document["content"][0]["attachment"]["contentType"] = declared.into();
        let before = (world.rows("document"), world.bodies());
        let fed = author.post("", example.transaction_of(document, bytes));
        match refused {
            None => assert_eq!(fed.status, 200, "{declared}: {}", fed.text()),
            Some(phrase) => {
                fed.assert_refused(422, code_of(phrase), phrase);
                assert_eq!((world.rows("document"), world.bodies()), before, "{declared}");
            }
        }
    }
}

fn the_body_of_a_cda_document(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin");
    let pdf = BASE64.encode("%PDF-1.7\n");
    let html = BASE64.encode("<html></html>");
    let elsewhere = r#"<text mediaType="application/pdf"><reference value="https://example.org/x"/></text>"#;
    for (number, (text, refused)) in [
        (format!(r#"<text mediaType="application/pdf" representation="B64">{pdf}</text>"#), None),
        (
            format!(r#"<text mediaType="application/pdf" representation="B64">{html}</text>"#),
            Some("the bytes are text/html, not application/pdf"),
        ),
        (
            format!(r#"<text mediaType="text/html" representation="B64">{html}</text>"#),
            Some("is of another media type (ASS_A12)"),
        ),
        (elsewhere.to_owned(), Some("lies somewhere else")),
    ]
    .into_iter()
    .enumerate()
    {
        let id = format!("2.25.710{number}");
        let example = Example::new(TEST, OTHER, "OUVERT", &id);
        let cda = example.cda();
        let (before, rest) = cda.split_once("<structuredBody").expect("a body");
        let (_, after) = rest.split_once("</structuredBody>").expect("its end");
        let cda = format!("{before}<nonXMLBody>{text}</nonXMLBody>{after}");
        let fed =
            author.post("", example.transaction_of(example.document_reference(cda.as_bytes()), cda.as_bytes()));
        match refused {
            None => assert_eq!(fed.status, 200, "{}", fed.text()),
            Some(phrase) => fed.assert_refused(422, code_of(phrase), phrase),
        }
    }
}
