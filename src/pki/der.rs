//! The little DER that the `openssl` crate has no builder for: a multi-valued name, a few extension values.

/// A tagged value.
fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        // Invariant of each arm: the length fits.
        length @ 0..=0x7f => der.push(length as u8),
        length @ 0x80..=0xff => der.extend([0x81, length as u8]),
        length => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    der.extend_from_slice(content);
    der
}

fn concatenated(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tagged(0x30, &concatenated(parts))
}

/// DER orders the elements of a set.
fn set(mut parts: Vec<Vec<u8>>) -> Vec<u8> {
    parts.sort();
    tagged(0x31, &concatenated(&parts))
}

pub(super) fn utf8(text: &str) -> Vec<u8> {
    tagged(0x0c, text.as_bytes())
}

pub(super) fn printable(text: &str) -> Vec<u8> {
    tagged(0x13, text.as_bytes())
}

pub(super) fn integer(value: u8) -> Vec<u8> {
    // Values above 0x7f would need a leading zero; the codes used here are below.
    tagged(0x02, &[value & 0x7f])
}

pub(super) fn octets(value: &[u8]) -> Vec<u8> {
    tagged(0x04, value)
}

pub(super) fn ia5_context(number: u8, text: &str) -> Vec<u8> {
    tagged(0x80 | number, text.as_bytes())
}

pub(super) fn context(number: u8, content: &[u8]) -> Vec<u8> {
    tagged(0xa0 | number, content)
}

pub(super) fn object_identifier(dotted: &str) -> Vec<u8> {
    let mut arcs = dotted.split('.').filter_map(|arc| arc.parse::<u64>().ok());
    let (first, second) = (arcs.next().unwrap_or_default(), arcs.next().unwrap_or_default());
    let mut content = Vec::new();
    for arc in std::iter::once(first * 40 + second).chain(arcs) {
        let mut base128 = vec![(arc & 0x7f) as u8];
        let mut rest = arc >> 7;
        while rest > 0 {
            base128.push(0x80 | (rest & 0x7f) as u8);
            rest >>= 7;
        }
        content.extend(base128.into_iter().rev());
    }
    tagged(0x06, &content)
}

/// One name attribute, object identifier and text.
pub(super) type Attribute = (&'static str, String);

/// A distinguished name: each inner list is one relative name, multi-valued where it has several.
pub(super) fn name(relative: &[Vec<Attribute>]) -> Vec<u8> {
    const COUNTRY: &str = "2.5.4.6";
    let sets: Vec<Vec<u8>> = relative
        .iter()
        .map(|attributes| {
            let attribute = |(oid, text): &Attribute| {
                let value = if *oid == COUNTRY { printable(text) } else { utf8(text) };
                sequence(&[object_identifier(oid), value])
            };
            set(attributes.iter().map(attribute).collect())
        })
        .collect();
    sequence(&sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_x690_says() {
        assert_eq!(object_identifier("1.2.250.1.71"), [0x06, 5, 0x2a, 0x81, 0x7a, 0x01, 0x47]);
        assert_eq!(object_identifier("2.5.4.3"), [0x06, 3, 0x55, 0x04, 0x03]);
        assert_eq!(octets(&[0; 200])[..3], [0x04, 0x81, 200]);
        assert_eq!(octets(&[0; 300])[..4], [0x04, 0x82, 1, 44]);
    }
}
