//! The form of sealed bytes: Tink's streaming AEAD, AES256-GCM-HKDF, segments of 64 KiB.
//!
//! ```text
//! 40 │ salt, 32 bytes │ beginning of the nonces, 7 │ segment │ tag, 16 │ segment │ tag │ … │ last segment │ tag
//! ```
//!
//! The key of a document is derived from that of its record, by the salt and the document's name; a nonce is its beginning, the number of the
//! segment, and whether it is the last. So no segment is taken for another, of another place or document, and none is cut off unseen
//! (Hoang, Reyhanitabar, Rogaway, Vizár 2015, « nonce-based OAE », STREAM). Each opens alone, for ranges.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::{SealingError, SealingKey};

const SALT: usize = 32;
const PREFIX: usize = 7;
const TAG: usize = 16;
/// What stands before the first segment.
pub const HEADER: usize = 1 + SALT + PREFIX;
/// The first segment is shorter by the header, so that all end at multiples of this.
const SEGMENT: usize = 64 << 10;

const ALTERED: SealingError = SealingError::NotOpened("a document");

struct Size32;

impl KeyType for Size32 {
    fn len(&self) -> usize {
        32
    }
}

fn derived(key: &SealingKey, salt: &[u8], name: &str) -> Result<LessSafeKey, SealingError> {
    let fault = |_| SealingError::NotSealed("no key is derived");
    let mut bytes = Zeroizing::new([0_u8; 32]);
    let pseudorandom = Salt::new(HKDF_SHA256, salt).extract(&key.0);
    let info = [name.as_bytes()];
    pseudorandom.expand(&info, Size32).map_err(fault)?.fill(bytes.as_mut()).map_err(fault)?;
    UnboundKey::new(&AES_256_GCM, bytes.as_slice()).map(LessSafeKey::new).map_err(fault)
}

fn nonce(prefix: &[u8; PREFIX], number: u32, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    let (beginning, rest) = bytes.split_at_mut(PREFIX);
    beginning.copy_from_slice(prefix);
    let (middle, end) = rest.split_at_mut(4);
    middle.copy_from_slice(&number.to_be_bytes());
    end.copy_from_slice(&[u8::from(last)]);
    Nonce::assume_unique_for_key(bytes)
}

/// Where the segments of a document of some size lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    plain: u64,
    segment: u64,
}

impl Segments {
    /// Of a document of so many bytes.
    pub const fn of(plain: u64) -> Self {
        Self { plain, segment: SEGMENT as u64 }
    }

    /// How many there are: one at least.
    pub const fn count(&self) -> u64 {
        let whole = self.plain + HEADER as u64;
        let each = self.segment - TAG as u64;
        // One at least: the header alone is longer than nothing.
        whole.div_ceil(each)
    }

    /// Bytes of all of it, sealed.
    pub const fn sealed(&self) -> u64 {
        self.plain + HEADER as u64 + self.count() * TAG as u64
    }

    /// How many bytes were sealed, by how many that made; `None`: so many are never made.
    pub fn plain_of(sealed: u64) -> Option<u64> {
        let count = sealed.div_ceil(SEGMENT as u64).max(1);
        let plain = sealed.checked_sub(HEADER as u64 + count * TAG as u64)?;
        (Self::of(plain).sealed() == sealed).then_some(plain)
    }

    /// The segment that holds a byte.
    pub const fn holding(&self, byte: u64) -> u64 {
        (byte + HEADER as u64) / (self.segment - TAG as u64)
    }

    /// Where a segment begins among the bytes of the document.
    pub const fn begins(&self, number: u64) -> u64 {
        (number * (self.segment - TAG as u64)).saturating_sub(HEADER as u64)
    }

    /// Where segments lie in the sealed bytes, from one to before another.
    pub fn place(&self, from: u64, to: u64) -> std::ops::Range<u64> {
        let begin = if from == 0 { HEADER as u64 } else { from * self.segment };
        begin..(to * self.segment).min(self.sealed())
    }

    /// How long a segment is, sealed.
    fn length(&self, number: u64) -> u64 {
        let place = self.place(number, number + 1);
        place.end.saturating_sub(place.start)
    }
}

/// Seals the bytes of a document under the name by which it lies in the store.
///
/// # Errors
/// [`SealingError::NotSealed`].
pub fn seal(key: &SealingKey, name: &str, plain: &[u8]) -> Result<Vec<u8>, SealingError> {
    let (mut salt, mut prefix) = ([0; SALT], [0; PREFIX]);
    let drawn = rand::fill(&mut salt).and_then(|()| rand::fill(&mut prefix));
    drawn.map_err(|_| SealingError::NotSealed("no randomness"))?;
    seal_with(key, name, plain, (&salt, &prefix), SEGMENT)
}

fn seal_with(
    key: &SealingKey,
    name: &str,
    plain: &[u8],
    (salt, prefix): (&[u8; SALT], &[u8; PREFIX]),
    segment: usize,
) -> Result<Vec<u8>, SealingError> {
    let too_long = |_| SealingError::NotSealed("more segments than there are numbers");
    let layout = Segments { plain: plain.len() as u64, segment: segment as u64 };
    let key = derived(key, salt, name)?;
    let mut sealed = Vec::with_capacity(usize::try_from(layout.sealed()).map_err(too_long)?);
    // The header's own length comes first.
    sealed.push(HEADER as u8);
    sealed.extend_from_slice(salt);
    sealed.extend_from_slice(prefix);
    let count = u32::try_from(layout.count()).map_err(too_long)?;
    let mut rest = plain;
    for number in 0..count {
        let held = layout.length(u64::from(number)) as usize - TAG;
        let (piece, after) = rest.split_at_checked(held).ok_or(SealingError::NotSealed("a segment"))?;
        let start = sealed.len();
        sealed.extend_from_slice(piece);
        let nonce = nonce(prefix, number, number + 1 == count);
        let body = sealed.get_mut(start..).unwrap_or_default();
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), body);
        sealed.extend_from_slice(tag.map_err(|_| SealingError::NotSealed("a segment"))?.as_ref());
        rest = after;
    }
    Ok(sealed)
}

/// Opens the segments of one document, each alone.
pub struct Opener {
    key: LessSafeKey,
    prefix: [u8; PREFIX],
    layout: Segments,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Opener").field("layout", &self.layout).finish_non_exhaustive()
    }
}

impl Opener {
    /// By the first bytes of what was sealed under a name, for a document of a known size.
    ///
    /// # Errors
    /// [`SealingError::NotOpened`]: they are no header.
    pub fn new(key: &SealingKey, name: &str, header: &[u8], layout: Segments) -> Result<Self, SealingError> {
        let (length, rest) = header.split_first().ok_or(ALTERED)?;
        let (salt, rest) = rest.split_at_checked(SALT).ok_or(ALTERED)?;
        let prefix = rest.get(..PREFIX).and_then(|prefix| prefix.try_into().ok()).ok_or(ALTERED)?;
        if usize::from(*length) != HEADER {
            return Err(ALTERED);
        }
        Ok(Self { key: derived(key, salt, name)?, prefix, layout })
    }

    /// Opens segments that lie behind one another, the first of them being of this number.
    ///
    /// # Errors
    /// [`SealingError::NotOpened`]: a segment is altered, of another place, or cut.
    pub fn open(&self, first: u64, mut sealed: &mut [u8]) -> Result<Vec<u8>, SealingError> {
        let mut plain = Vec::with_capacity(sealed.len());
        let mut number = first;
        loop {
            let last = number + 1 == self.layout.count();
            let length = usize::try_from(self.layout.length(number)).map_err(|_| ALTERED)?;
            let (segment, rest) = sealed.split_at_mut_checked(length).ok_or(ALTERED)?;
            let nonce = nonce(&self.prefix, u32::try_from(number).map_err(|_| ALTERED)?, last);
            let opened = self.key.open_in_place(nonce, Aad::empty(), segment).map_err(|_| ALTERED)?;
            plain.extend_from_slice(opened);
            sealed = rest;
            number += 1;
            match (sealed.is_empty(), last) {
                (true, _) => return Ok(plain),
                (false, true) => return Err(ALTERED),
                (false, false) => {}
            }
        }
    }

    /// Opens all of a document.
    ///
    /// # Errors
    /// As [`Opener::open`]; too few bytes or too many.
    pub fn open_all(
        key: &SealingKey,
        name: &str,
        mut sealed: Vec<u8>,
        plain: u64,
    ) -> Result<Vec<u8>, SealingError> {
        let layout = Segments::of(plain);
        if sealed.len() as u64 != layout.sealed() {
            return Err(ALTERED);
        }
        let (header, segments) = sealed.split_at_mut_checked(HEADER).ok_or(ALTERED)?;
        Self::new(key, name, header, layout)?.open(0, segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SealingKey = SealingKey([7; 32]);

    fn bytes(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at * 31 % 251) as u8).collect()
    }

    /// Sizes around each border of a segment.
    fn sizes() -> Vec<usize> {
        let first = SEGMENT - HEADER - TAG;
        let each = SEGMENT - TAG;
        vec![
            0,
            1,
            1_000,
            first - 1,
            first,
            first + 1,
            first + each - 1,
            first + each,
            first + each + 1,
            300_000,
        ]
    }

    #[test]
    fn what_was_sealed_is_opened_whatever_its_size() {
        for size in sizes() {
            let plain = bytes(size);
            let sealed = seal(&KEY, "a", &plain).unwrap();
            assert_eq!(sealed.len() as u64, Segments::of(size as u64).sealed(), "{size}");
            assert_eq!(Segments::plain_of(sealed.len() as u64), Some(size as u64), "{size}");
            assert_eq!(Opener::open_all(&KEY, "a", sealed, size as u64).unwrap(), plain, "{size}");
        }
    }

    #[test]
    fn each_segment_opens_alone() {
        for size in sizes() {
            let plain = bytes(size);
            let mut sealed = seal(&KEY, "a", &plain).unwrap();
            let layout = Segments::of(size as u64);
            let opener = Opener::new(&KEY, "a", &sealed[..HEADER], layout).unwrap();
            for number in (0..layout.count()).rev() {
                let place = layout.place(number, number + 1);
                let segment = &mut sealed[place.start as usize..place.end as usize];
                let begins = layout.begins(number) as usize;
                let opened = opener.open(number, segment).unwrap();
                assert_eq!(opened, plain[begins..begins + opened.len()], "{size}, segment {number}");
                if let Some(middle) = (!opened.is_empty()).then(|| begins + opened.len() / 2) {
                    assert_eq!(layout.holding(middle as u64), number);
                }
            }
        }
    }

    #[test]
    fn nothing_altered_cut_moved_or_of_something_else_is_opened() {
        let plain = bytes(2 * SEGMENT);
        let size = plain.len() as u64;
        let sealed = seal(&KEY, "a", &plain).unwrap();
        let open = |name: &str, key: &SealingKey, sealed: Vec<u8>, size: u64| {
            Opener::open_all(key, name, sealed, size).map(|_| ())
        };
        assert_eq!(open("a", &KEY, sealed.clone(), size), Ok(()), "control");
        for at in (0..sealed.len()).step_by(997).chain([0, 1, 39, 40, sealed.len() - 1]) {
            let mut altered = sealed.clone();
            altered[at] ^= 0x40;
            assert_eq!(open("a", &KEY, altered, size), Err(ALTERED), "byte {at}");
        }
        assert_eq!(open("b", &KEY, sealed.clone(), size), Err(ALTERED), "under another name");
        assert_eq!(open("a", &SealingKey([8; 32]), sealed.clone(), size), Err(ALTERED), "of another record");
        // Cut at the border of a segment, and the size in the row made to fit.
        let layout = Segments::of(size);
        let cut = layout.place(0, 2).end as usize;
        assert_eq!(open("a", &KEY, sealed[..cut].to_vec(), layout.begins(2)), Err(ALTERED), "cut");
        // Two segments of one length changed for one another.
        let (second, third) = (layout.place(1, 2), layout.place(2, 3));
        let longer = seal(&KEY, "a", &bytes(4 * SEGMENT)).unwrap();
        let mut swapped = longer.clone();
        swapped[second.start as usize..second.end as usize].copy_from_slice(&longer[2 * SEGMENT..3 * SEGMENT]);
        swapped[2 * SEGMENT..3 * SEGMENT].copy_from_slice(&longer[second.start as usize..second.end as usize]);
        assert_eq!(open("a", &KEY, swapped, 4 * size / 2), Err(ALTERED), "segments swapped");
        assert!(third.start > second.start);
        assert_eq!(open("a", &KEY, Vec::new(), size), Err(ALTERED), "nothing");
    }

    #[test]
    fn two_seals_of_the_same_bytes_differ() {
        assert_ne!(seal(&KEY, "a", b"x").unwrap(), seal(&KEY, "a", b"x").unwrap());
    }

    /// Made with Google's Tink for Python 1.16.1 (`scripts/tink-vector`), segments of 4 KiB.
    #[test]
    fn tink_reads_and_writes_the_same() {
        let vector = include_str!("tink.tsv");
        let mut seen = 0;
        for line in vector.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [key, name, size, sealed] = fields[..] else { panic!("{line}") };
            let unhex = |text: &str| -> Vec<u8> {
                (0..text.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
                    .collect()
            };
            let key = SealingKey(unhex(key).try_into().unwrap());
            let plain = bytes(size.parse().unwrap());
            let digest = |bytes: &[u8]| {
                let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
                digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            };
            let (header, of_all) = sealed.split_at(2 * HEADER);
            let header = unhex(header);
            let salt: &[u8; SALT] = header[1..1 + SALT].try_into().unwrap();
            let prefix: &[u8; PREFIX] = header[1 + SALT..].try_into().unwrap();
            let ours = seal_with(&key, name, &plain, (salt, prefix), 4096).unwrap();
            assert_eq!(digest(&ours), of_all, "{size} bytes");
            seen += 1;
        }
        assert_eq!(seen, 4);
    }
}
