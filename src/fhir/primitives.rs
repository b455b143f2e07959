//! What a primitive's value may be (FHIR R4, 2.24): held against every value that comes in.
//!
//! What is kept goes out again as it came, so that a value that is none would make our own answer no FHIR.

use super::elements;

/// Whether a text is a value of a type.
///
/// # Errors
/// What it is not.
pub fn text(r#type: &str, value: &str) -> Result<(), &'static str> {
    let holds = |held: bool, what: &'static str| if held { Ok(()) } else { Err(what) };
    holds(!value.is_empty(), "an empty text")?;
    match r#type {
        "string" | "markdown" => holds(value.chars().any(|c| !c.is_whitespace()), "a text of spaces alone"),
        "code" => {
            let single = !value.contains("  ") && !value.contains(['\t', '\n', '\r']);
            holds(single && value.trim() == value, "a code with spaces at its ends, or two together")
        }
        "id" => {
            let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
            holds(plain && value.len() <= 64, "no id: at most 64 of A-Z, a-z, 0-9, - and .")
        }
        "uri" | "url" | "canonical" => holds(!value.contains(char::is_whitespace), "a URI with spaces"),
        "oid" => holds(value.strip_prefix("urn:oid:").is_some_and(is_oid), "no OID: urn:oid:…"),
        "uuid" => {
            let hyphenated = |text: &str| text.len() == 36 && uuid::Uuid::try_parse(text).is_ok();
            holds(value.strip_prefix("urn:uuid:").is_some_and(hyphenated), "no UUID: urn:uuid:…")
        }
        "date" => holds(is_day(value), "no date: 2026, 2026-11 or 2026-11-22"),
        "dateTime" => {
            holds(is_day(value) || is_moment(value), "no dateTime: 2026-11-22, or 2026-11-22T10:00:00+01:00")
        }
        "instant" => holds(is_moment(value), "no instant: 2026-11-22T10:00:00+01:00"),
        "time" => holds(is_time(value), "no time: 10:00:00"),
        // base64Binary is decoded where its bytes are wanted, and may be long.
        _ => Ok(()),
    }
}

/// Whether a JSON number is a value of a type.
///
/// # Errors
/// What it is not.
pub fn number(r#type: &str, value: &str) -> Result<(), &'static str> {
    let whole = value.parse::<i32>();
    match (r#type, whole) {
        ("decimal", _) => Ok(()),
        ("unsignedInt", Ok(0..)) | ("positiveInt", Ok(1..)) | ("integer", Ok(_)) => Ok(()),
        ("unsignedInt", _) => Err("no whole number from 0 to 2147483647"),
        ("positiveInt", _) => Err("no whole number from 1 to 2147483647"),
        _ => Err("no whole number of 32 bits"),
    }
}

fn is_oid(text: &str) -> bool {
    let arc = |arc: &str| {
        !arc.is_empty()
            && arc.bytes().all(|byte| byte.is_ascii_digit())
            && (arc == "0" || !arc.starts_with('0'))
    };
    text.starts_with(['0', '1', '2']) && text.contains('.') && text.split('.').all(arc)
}

/// The digits and marks of a pattern, in which `0` is any digit.
fn is_like(text: &str, pattern: &str) -> bool {
    let fits = |(byte, wanted): (u8, u8)| match wanted {
        b'0' => byte.is_ascii_digit(),
        mark => byte == mark,
    };
    text.len() == pattern.len() && text.bytes().zip(pattern.bytes()).all(fits)
}

/// A year, a month or a day that the calendar has.
fn is_day(text: &str) -> bool {
    ["0000", "0000-00", "0000-00-00"].iter().any(|pattern| is_like(text, pattern))
        && elements::instant(text).is_ok()
}

/// A day with a time to the second and its zone.
fn is_moment(text: &str) -> bool {
    let Some((day, rest)) = text.split_once('T') else { return false };
    let zoned = match rest.strip_suffix('Z') {
        Some(time) => Some(time),
        None => rest
            .find(['+', '-'])
            .and_then(|at| rest.split_at_checked(at))
            .filter(|(_, zone)| is_like(zone, "+00:00") || is_like(zone, "-00:00"))
            .map(|(time, _)| time),
    };
    is_like(day, "0000-00-00") && zoned.is_some_and(is_time) && elements::instant(text).is_ok()
}

fn is_time(text: &str) -> bool {
    let (time, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        !fraction.is_empty() && fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let in_day = |from: usize, most: u8| {
        time.get(from..from + 2).and_then(|part| part.parse::<u8>().ok()).is_some_and(|part| part <= most)
    };
    is_like(time, "00:00:00") && digits && in_day(0, 23) && in_day(3, 59) && in_day(6, 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (r#type, values) in [
            ("string", &["a", " a\n"][..]),
            ("code", &["a", "a b", "urn:ihe:iti:xds:2013:order"]),
            ("id", &["a-B.9"]),
            ("uri", &["urn:oid:1.2", "x|y"]),
            ("oid", &["urn:oid:1.2.250.0"]),
            ("uuid", &["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"]),
            ("date", &["2026", "2026-11", "2024-02-29", "9999-12-31"]),
            (
                "dateTime",
                &[
                    "2026",
                    "2026-11-22",
                    "2026-11-22T10:00:00+01:00",
                    "2026-11-22T10:00:00.123Z",
                    "9999-12-31T23:59:59+01:00",
                ],
            ),
            ("instant", &["2026-11-22T10:00:00Z", "2026-11-22T23:59:59.999999-05:30"]),
            ("time", &["10:00:00", "23:59:59.5"]),
            ("base64Binary", &["AAAA"]),
        ] {
            for value in values {
                assert_eq!(text(r#type, value), Ok(()), "{type} {value}");
            }
        }
        for (r#type, values) in [
            ("string", &["", "  "][..]),
            ("code", &["", " a", "a ", "a  b", "a\tb"]),
            ("id", &["", "a_b", "é", &"a".repeat(65)]),
            ("uri", &["", "a b"]),
            ("oid", &["1.2", "urn:oid:1", "urn:oid:3.1", "urn:oid:1.02", "urn:oid:1..2"]),
            (
                "uuid",
                &[
                    "c757873d-ec9a-4326-a141-556f43239520",
                    "urn:uuid:x",
                    "urn:uuid:g757873d-ec9a-4326-a141-556f43239520",
                    "urn:uuid:c757873de-c9a-4326-a141-556f43239520",
                    "urn:uuid:c757873dec9a4326a141556f43239520",
                ],
            ),
            (
                "date",
                &["26", "9999-12-32", "2026-13", "2026-02-30", "2026-11-22T10:00:00Z", "12/06/2026", "+026"],
            ),
            ("dateTime", &["hier", "2026-11-22T10:00:00", "2026-11-22T10:00Z", "2026-11-22T25:00:00Z"]),
            (
                "instant",
                &["2026-11-22", "2026-11-22T10:00:00+1", "2026-11-22T10:00:00.Z", "2026-11-22t10:00:00Z"],
            ),
            ("time", &["10:00", "24:00:00", "10:60:00", "1é:00:0"]),
            ("base64Binary", &[""]),
        ] {
            for value in values {
                assert!(text(r#type, value).is_err(), "{type} « {value} »");
            }
        }
    }

    #[test]
    fn numbers() {
        for (r#type, value, holds) in [
            ("decimal", "1.10", true),
            ("decimal", "1e400", true),
            ("unsignedInt", "0", true),
            ("unsignedInt", "2147483647", true),
            ("unsignedInt", "2147483648", false),
            ("unsignedInt", "-1", false),
            ("positiveInt", "0", false),
            ("positiveInt", "1", true),
            ("integer", "-5", true),
            ("integer", "5.0", false),
            ("integer", "1e2", false),
        ] {
            assert_eq!(number(r#type, value).is_ok(), holds, "{type} {value}");
        }
    }
}
