//! What the bytes of a document are, whatever is declared of them.
//!
//! A professional opens a document by its declared type. One that is something else is either a fault of the sender, and then
//! unreadable, or an attempt on the reader's machine.

use crate::cda::{Header, Unstructured};
use crate::identity::identifiers::ins_system;

/// The SOP class of a key object selection, the only DICOM object of the DMP (JDV_J60).
const KEY_OBJECT_SELECTION: &str = "1.2.840.10008.5.1.4.1.1.88.59";

/// A media type that the DMP takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// A CDA document, plain or self-presenting: its header is read elsewhere.
    Cda,
    Pdf,
    Text,
    Rtf,
    Jpeg,
    Tiff,
    /// DICOM, a key object selection.
    Dicom,
    /// A FHIR document.
    FhirDocument,
}

impl Media {
    /// Of a media type without its parameters.
    pub fn of(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "text/xml" | "application/xml" | "application/xslt+xml" => Self::Cda,
            "application/pdf" => Self::Pdf,
            "text/plain" => Self::Text,
            "text/rtf" | "application/rtf" => Self::Rtf,
            "image/jpeg" => Self::Jpeg,
            "image/tiff" => Self::Tiff,
            "application/dicom" => Self::Dicom,
            super::FHIR_DOCUMENT => Self::FhirDocument,
            _ => return None,
        })
    }

    /// Whether it may be the body of a CDA document of level 1 (ASS_A12).
    fn is_body(self) -> bool {
        matches!(self, Self::Pdf | Self::Text | Self::Rtf | Self::Jpeg | Self::Tiff)
    }

    /// Whether bytes are of this type. `charset` is that of the declared type.
    ///
    /// # Errors
    /// Why they are not.
    pub fn check(self, bytes: &[u8], charset: Option<&str>) -> Result<(), String> {
        let found = || found(bytes);
        let is = |media_type: &str| is(media_type, bytes);
        match self {
            // Read elsewhere, as a whole.
            Self::Cda | Self::FhirDocument => Ok(()),
            // Behind a mark of order or blanks at most: a page that names PDF somewhere is none.
            Self::Pdf => match bytes
                .strip_prefix(b"\xef\xbb\xbf")
                .unwrap_or(bytes)
                .trim_ascii_start()
                .starts_with(b"%PDF-")
            {
                true => Ok(()),
                false if found() == "application/pdf" => {
                    Err("the bytes do not begin as application/pdf".into())
                }
                false => is("application/pdf"),
            },
            Self::Rtf => is("application/rtf"),
            Self::Jpeg => is("image/jpeg"),
            Self::Tiff
                if [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"].iter().any(|magic| bytes.starts_with(*magic)) =>
            {
                Ok(())
            }
            Self::Tiff => is("image/tiff"),
            Self::Text => text(bytes, charset),
            Self::Dicom => match sop_class(bytes) {
                Some(KEY_OBJECT_SELECTION) => Ok(()),
                Some(other) => {
                    Err(format!("a DICOM object of class {other}: the DMP takes key object selections"))
                }
                None => Err(format!("the bytes are {}, not a DICOM file", found())),
            },
        }
    }
}

/// What bytes are, by how they begin.
fn found(bytes: &[u8]) -> &'static str {
    infer::get(bytes).map_or("something else", |found| found.mime_type())
}

fn is(media_type: &str, bytes: &[u8]) -> Result<(), String> {
    match found(bytes) {
        found if found == media_type => Ok(()),
        found => Err(format!("the bytes are {found}, not {media_type}")),
    }
}

/// A media type without its parameters.
pub(super) fn bare(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim()
}

/// The body of a CDA document of level 1.
///
/// # Errors
/// Why it is none that the DMP takes.
pub(super) fn check_body(body: &Unstructured) -> Result<(), String> {
    let media_type = body.media_type.split(';').next().unwrap_or_default().trim();
    match Media::of(media_type).filter(|media| media.is_body()) {
        Some(media) => media.check(&body.bytes, Some("utf-8")),
        None => Err("the body of a CDA document is of another media type (ASS_A12)".into()),
    }
}

/// A file that a FHIR document encloses, in base64: one that the DMP takes alone or in a CDA document, or a picture in PNG.
///
/// # Errors
/// Why it is none that the DMP takes.
pub(super) fn check_enclosed(declared: &str, data: &str, ins: (&str, &str)) -> Result<(), String> {
    let mut parts = declared.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let charset =
        parts.find_map(|part| part.split_once('=').filter(|(name, _)| name.eq_ignore_ascii_case("charset")));
    let bytes = super::decode_base64(data, "data").map_err(|_| "not base64".to_owned())?;
    match Media::of(media_type) {
        Some(Media::Cda) => {
            let header = Header::read(&bytes).map_err(|fault| fault.to_string())?;
            let other = |(root, value): &(String, String)| {
                let system = format!("urn:oid:{root}");
                ins_system::is_key(&system) && (system != ins.0 || value != ins.1)
            };
            if header.patient_ids.iter().any(other) {
                return Err("a CDA document is about another patient".to_owned());
            }
            header.body.as_ref().map_or(Ok(()), check_body)
        }
        Some(media) if media != Media::FhirDocument => {
            media.check(&bytes, Some(charset.map_or("utf-8", |(_, charset)| charset)))
        }
        None if media_type == "image/png" => is(media_type, &bytes),
        _ => Err("the DMP takes no such media type".into()),
    }
}

/// Plain text, without the control characters by which a terminal or a viewer could be led astray.
fn text(bytes: &[u8], charset: Option<&str>) -> Result<(), String> {
    const CONTROLS: &str = "the bytes hold control characters: they are no plain text";
    // NEL ends a line; the others of C1 say what those of C0 say behind an escape.
    let is_c1 = |c: char| matches!(c, '\u{80}'..='\u{84}' | '\u{86}'..='\u{9f}');
    let is_control = |byte: &u8| matches!(byte, 0..=8 | 11 | 14..=31 | 127);
    if bytes.iter().any(is_control) {
        return Err(CONTROLS.into());
    }
    match charset.map(str::to_ascii_lowercase).as_deref() {
        None | Some("utf-8" | "us-ascii") => match std::str::from_utf8(bytes) {
            Ok(text) if text.chars().any(is_c1) => Err(CONTROLS.into()),
            Ok(_) => Ok(()),
            Err(_) => Err("the text is not UTF-8, and its type declares no other charset".into()),
        },
        Some("iso-8859-1" | "iso-8859-15") if bytes.iter().any(|byte| is_c1(char::from(*byte))) => {
            Err(CONTROLS.into())
        }
        Some("iso-8859-1" | "iso-8859-15" | "windows-1252") => Ok(()),
        Some(_) => Err("the charset is not known".into()),
    }
}

/// `MediaStorageSOPClassUID` (0002,0002) of a DICOM file (PS3.10, 7.1): its meta group is always explicit and little-endian.
fn sop_class(bytes: &[u8]) -> Option<&str> {
    let mut rest = bytes.get(128..)?.strip_prefix(b"DICM")?;
    loop {
        let (head, value) = rest.split_at_checked(8)?;
        let &[group, 0, element, 0, first, second, low, high] = head else { return None };
        if group != 2 {
            return None;
        }
        let (length, value) = match &[first, second] {
            b"OB" | b"OW" | b"UN" | b"UT" | b"SQ" => {
                let (length, value) = value.split_first_chunk::<4>()?;
                (usize::try_from(u32::from_le_bytes(*length)).ok()?, value)
            }
            _ => (usize::from(u16::from_le_bytes([low, high])), value),
        };
        let (value, after) = value.split_at_checked(length)?;
        if element == 2 {
            return std::str::from_utf8(value).ok().map(|uid| uid.trim_end_matches(['\0', ' ']));
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";

    /// A DICOM file's meta group: its length, its version, its class.
    fn dicom(class: &str) -> Vec<u8> {
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM\x02\0\0\0UL\x04\0\x4e\0\0\0\x02\0\x01\0OB\0\0\x02\0\0\0\0\x01\x02\0\x02\0UI");
        bytes.extend(u16::try_from(class.len()).unwrap().to_le_bytes());
        bytes.extend(class.as_bytes());
        bytes
    }

    #[test]
    fn bytes_and_their_type() {
        let kos = dicom("1.2.840.10008.5.1.4.1.1.88.59\0");
        let image = dicom("1.2.840.10008.5.1.4.1.1.2");
        let html = b"<!DOCTYPE html><script>alert(1)</script>";
        for (declared, bytes, charset, expected) in [
            ("application/pdf", b"%PDF-1.7\n1 0 obj".as_slice(), None, Ok(())),
            ("application/pdf", JPEG, None, Err("the bytes are image/jpeg, not application/pdf")),
            ("application/pdf", html, None, Err("the bytes are text/html, not application/pdf")),
            (
                "application/pdf",
                b"<p/><!-- %PDF-1.7 -->",
                None,
                Err("the bytes do not begin as application/pdf"),
            ),
            ("application/pdf", b"\xef\xbb\xbf\n%PDF-1.7", None, Ok(())),
            ("application/pdf", b"not one", None, Err("the bytes are something else, not application/pdf")),
            ("text/rtf", br"{\rtf1\ansi}", None, Ok(())),
            ("application/rtf", br"{\rtf1\ansi}", None, Ok(())),
            ("image/jpeg", JPEG, None, Ok(())),
            ("image/jpeg", b"%PDF-1.7", None, Err("the bytes are application/pdf, not image/jpeg")),
            ("image/tiff", b"II*\0\x08\0\0\0\0\0\0\0\0\0", None, Ok(())),
            ("image/tiff", b"II*\0\x08\0\0\0\x43\x52", None, Ok(())),
            ("image/tiff", b"MM\0*\0\0\0\x08\0\0\0\0\0\0", None, Ok(())),
            ("application/dicom", &kos, None, Ok(())),
            (
                "application/dicom",
                &image,
                None,
                Err("a DICOM object of class 1.2.840.10008.5.1.4.1.1.2: the DMP takes key object selections"),
            ),
            ("application/dicom", &kos[..160], None, Err("the bytes are application/dicom, not a DICOM file")),
            ("application/dicom", b"DICM", None, Err("the bytes are something else, not a DICOM file")),
            ("text/plain", "Œdème\r\n\tbilatéral".as_bytes(), None, Ok(())),
            ("text/plain", b"\x1b[2J", None, Err("the bytes hold control characters: they are no plain text")),
            (
                "text/plain",
                b"a\0b",
                Some("utf-8"),
                Err("the bytes hold control characters: they are no plain text"),
            ),
            (
                "text/plain",
                b"\xe9t\xe9",
                None,
                Err("the text is not UTF-8, and its type declares no other charset"),
            ),
            ("text/plain", b"\xe9t\xe9", Some("ISO-8859-1"), Ok(())),
            ("text/plain", "a\u{85}b".as_bytes(), None, Ok(())),
            (
                "text/plain",
                "a\u{9b}2J".as_bytes(),
                None,
                Err("the bytes hold control characters: they are no plain text"),
            ),
            (
                "text/plain",
                b"a\x9b2J",
                Some("iso-8859-15"),
                Err("the bytes hold control characters: they are no plain text"),
            ),
            ("text/plain", b"a\x9cuvre", Some("windows-1252"), Ok(())),
            ("text/plain", b"ete", Some("utf-7"), Err("the charset is not known")),
        ] {
            let media = Media::of(declared).unwrap();
            assert_eq!(media.check(bytes, charset), expected.map_err(str::to_owned), "{declared}");
        }
        assert_eq!(Media::of("text/html"), None);
    }

    #[test]
    fn the_body_of_a_document_of_level_1() {
        let body = |media_type: &str, bytes: &[u8]| {
            check_body(&Unstructured { media_type: media_type.to_owned(), bytes: bytes.to_vec() })
        };
        assert_eq!(body("application/pdf", b"%PDF-1.4"), Ok(()));
        assert!(body("application/pdf", JPEG).unwrap_err().contains("image/jpeg"));
        for media_type in ["text/html", "application/dicom", "text/xml", ""] {
            assert!(body(media_type, b"<x/>").unwrap_err().contains("ASS_A12"), "{media_type}");
        }
    }
}
