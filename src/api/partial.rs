//! Conditions and ranges of a GET (RFC 9110, 13 and 14), for a document's own bytes.

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::error::{Reason, Refusal};
use crate::operations::read_document::Part;

/// The entity tag of bytes: they never change under their address.
pub fn etag(sha256: &str) -> String {
    format!("\"{sha256}\"")
}

/// How much of a document a request wants.
///
/// # Errors
/// [`Reason::RangeNotSatisfiable`].
pub fn wanted(request: &HttpRequest, sha256: &str, size: u64) -> Result<Part, Refusal> {
    let text = |name: header::HeaderName| {
        let values = request.headers().get_all(name);
        values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
    };
    let conditions = (text(header::IF_NONE_MATCH), text(header::IF_RANGE), text(header::RANGE));
    part((&conditions.0, &conditions.1, &conditions.2), &etag(sha256), size).ok_or_else(|| {
        let why = format!("the document has {size} bytes");
        Refusal { whole: Some(size), ..Refusal::new(Reason::RangeNotSatisfiable, why) }
    })
}

/// Whether the client holds a document already, by `If-None-Match`.
pub fn holds_it(request: &HttpRequest, sha256: &str) -> bool {
    let values = request.headers().get_all(header::IF_NONE_MATCH);
    let text = values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",");
    part((&text, "", ""), &etag(sha256), 1) == Some(Part::NotModified)
}

/// `None`: a range that it does not have.
fn part((if_none_match, if_range, range): (&str, &str, &str), etag: &str, size: u64) -> Option<Part> {
    let matches = |one: &str| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == etag
    };
    if !if_none_match.is_empty() && if_none_match.split(',').any(matches) {
        return Some(Part::NotModified);
    }
    // Of something else than the client holds, all of it.
    if range.is_empty() || (!if_range.is_empty() && if_range != etag) {
        return Some(Part::Whole);
    }
    // Several ranges, or another unit: a server may give the whole.
    let Some(one) = range.strip_prefix("bytes=").filter(|ranges| !ranges.contains(',')) else {
        return Some(Part::Whole);
    };
    let Some((first, last)) = one.trim().split_once('-') else { return Some(Part::Whole) };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok());
    Some(match (number(first).flatten(), number(last).flatten()) {
        (Some(first), last) if last.is_some() || one.ends_with('-') => match last.unwrap_or(u64::MAX) {
            last if last < first => Part::Whole,
            _ if first >= size => return None,
            last => Part::Range(first, last.min(size - 1)),
        },
        (None, Some(0)) if first.is_empty() => return None,
        (None, Some(behind)) if first.is_empty() && size > 0 => {
            Part::Range(size.saturating_sub(behind), size - 1)
        }
        _ => Part::Whole,
    })
}

/// `Content-Disposition` of a document: never shown in place; a name in ASCII for whoever reads no other (RFC 6266).
pub fn disposition(title: &str, content_type: &str, id: &str) -> String {
    let extension = match content_type.split(';').next().unwrap_or_default().trim() {
        "application/pdf" => ".pdf",
        "text/xml" | "application/xml" | "application/xslt+xml" => ".xml",
        "text/plain" => ".txt",
        "text/rtf" | "application/rtf" => ".rtf",
        "image/jpeg" => ".jpg",
        "image/tiff" => ".tif",
        "application/dicom" => ".dcm",
        "application/fhir+json" => ".json",
        _ => "",
    };
    // What a file system or a shell might take for something else is left out.
    let plain =
        |c: &char| !c.is_control() && !matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%');
    let name: String = title.trim().chars().filter(plain).take(100).collect();
    let plain = format!("attachment; filename=\"{id}{extension}\"");
    if name.is_empty() || name.chars().any(crate::certificate::is_invisible) {
        return plain;
    }
    let mut encoded = String::new();
    for byte in name.bytes().chain(extension.bytes()) {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    format!("{plain}; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let of = |if_none_match: &str, if_range: &str, range: &str| {
            part((if_none_match, if_range, range), "\"a\"", 10)
        };
        for (range, expected) in [
            ("", Some(Part::Whole)),
            ("bytes=0-0", Some(Part::Range(0, 0))),
            ("bytes=2-5", Some(Part::Range(2, 5))),
            ("bytes=2-", Some(Part::Range(2, 9))),
            ("bytes=2-99", Some(Part::Range(2, 9))),
            ("bytes=-3", Some(Part::Range(7, 9))),
            ("bytes=-99", Some(Part::Range(0, 9))),
            ("bytes=9-", Some(Part::Range(9, 9))),
            ("bytes=10-", None),
            ("bytes=-0", None),
            ("bytes=5-2", Some(Part::Whole)),
            ("bytes=0-1,3-4", Some(Part::Whole)),
            ("bytes=x-2", Some(Part::Whole)),
            ("bytes=2-x", Some(Part::Whole)),
            ("bytes=-", Some(Part::Whole)),
            ("bytes=", Some(Part::Whole)),
            ("lines=1-2", Some(Part::Whole)),
            ("bytes=99999999999999999999-", Some(Part::Whole)),
        ] {
            assert_eq!(of("", "", range), expected, "{range}");
        }
        assert_eq!(of("\"b\", W/\"a\"", "", "bytes=0-1"), Some(Part::NotModified));
        assert_eq!(of("*", "", ""), Some(Part::NotModified));
        assert_eq!(of("\"b\"", "", "bytes=0-1"), Some(Part::Range(0, 1)));
        assert_eq!(of("", "\"a\"", "bytes=0-1"), Some(Part::Range(0, 1)));
        assert_eq!(of("", "\"b\"", "bytes=0-1"), Some(Part::Whole));
        assert_eq!(part(("", "", "bytes=0-"), "\"a\"", 0), None);
        assert_eq!(part(("", "", "bytes=-1"), "\"a\"", 0), Some(Part::Whole));
    }

    #[test]
    fn names() {
        assert_eq!(disposition("", "application/pdf; x=y", "b"), "attachment; filename=\"b.pdf\"");
        assert_eq!(
            disposition(" Compte rendu d'été ", "text/xml", "b"),
            "attachment; filename=\"b.xml\"; filename*=UTF-8''Compte%20rendu%20d%27%C3%A9t%C3%A9.xml"
        );
        assert_eq!(
            disposition("../..\\x\r\nSet-Cookie: y", "text/plain", "b"),
            "attachment; filename=\"b.txt\"; filename*=UTF-8''....xSet-Cookie%20y.txt"
        );
        assert_eq!(disposition("a\u{202e}fdp", "application/pdf", "b"), "attachment; filename=\"b.pdf\"");
    }
}
