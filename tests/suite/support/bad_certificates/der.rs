//! The little DER that a certificate is made of, right or wrong.

use jiff::Timestamp;

/// Type, tag of the string, bytes.
pub type Attribute = (&'static str, u8, Vec<u8>);

pub const UTF8: u8 = 0x0c;
pub const PRINTABLE: u8 = 0x13;
pub const NULL: [u8; 2] = [0x05, 0];
pub const TRUE: [u8; 3] = [0x01, 1, 0xff];

/// A tagged value of any length: `src/pki/der.rs` stops at 64 KiB.
pub fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let mut der = vec![tag];
    if content.len() > 0x7f {
        der.push(0x80 | (length.len() - zeros) as u8);
        der.extend_from_slice(&length[zeros..]);
    } else {
        der.push(content.len() as u8);
    }
    der.extend_from_slice(content);
    der
}

pub fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

pub fn integer(content: &[u8]) -> Vec<u8> {
    tagged(0x02, content)
}

pub fn octets(content: &[u8]) -> Vec<u8> {
    tagged(0x04, content)
}

pub fn utf8(text: &str) -> Vec<u8> {
    tagged(UTF8, text.as_bytes())
}

/// A BIT STRING of named bits: DER counts none behind the last that is set.
pub fn flags(bits: u8) -> Vec<u8> {
    if bits == 0 { tagged(0x03, &[0]) } else { tagged(0x03, &[bits.trailing_zeros() as u8, bits]) }
}

/// A UTCTime.
pub fn time(second: i64) -> Vec<u8> {
    let text = Timestamp::from_second(second).unwrap().strftime("%y%m%d%H%M%SZ").to_string();
    tagged(0x17, text.as_bytes())
}

pub fn object_identifier(dotted: &str) -> Vec<u8> {
    let arcs: Vec<u64> = dotted.split('.').map(|arc| arc.parse().unwrap()).collect();
    let mut content = Vec::new();
    for arc in std::iter::once(arcs[0] * 40 + arcs[1]).chain(arcs[2..].iter().copied()) {
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

pub fn distinguished_name(relative: &[Vec<Attribute>]) -> Vec<u8> {
    let set = |attributes: &Vec<Attribute>| {
        let encode = |(of, tag, value): &Attribute| sequence(&[object_identifier(of), tagged(*tag, value)]);
        let mut parts: Vec<Vec<u8>> = attributes.iter().map(encode).collect();
        // DER orders the elements of a set.
        parts.sort();
        tagged(0x31, &parts.concat())
    };
    sequence(&relative.iter().map(set).collect::<Vec<_>>())
}
