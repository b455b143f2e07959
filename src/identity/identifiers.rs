//! The French identifiers, by their syntax and keys. Source: `identity-and-rights.md` 4.

use std::fmt;

/// Luhn's key, as RPPS, SIREN and SIRET carry it.
fn has_luhn_key(digits: &str) -> bool {
    let mut sum = 0;
    for (position, digit) in digits.chars().rev().enumerate() {
        let Some(mut value) = digit.to_digit(10) else { return false };
        if position % 2 == 1 {
            value *= 2;
            if value > 9 {
                value -= 9;
            }
        }
        sum += value;
    }
    !digits.is_empty() && sum % 10 == 0
}

/// PS_IdNat of a professional: `8` and an RPPS of eleven digits with its key, or `0` and an ADELI number of nine
/// characters.
pub fn is_professional_id(id: &str) -> bool {
    let alphanumeric = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    match id.split_at_checked(1) {
        Some(("8", rpps)) => rpps.len() == 11 && has_luhn_key(rpps),
        Some(("0", adeli)) => adeli.len() == 9 && alphanumeric(adeli),
        _ => false,
    }
}

/// Struct_IdNat: a prefix (0 ADELI, 1 FINESS, 2 SIREN, 3 SIRET, 4 RPPS) and the number.
pub fn is_structure_id(id: &str) -> bool {
    let Some((prefix, number)) = id.split_at_checked(1) else { return false };
    let form = number.chars().all(|c| c.is_ascii_digit() || c.is_ascii_uppercase());
    form && match prefix {
        "0" => number.len() == 11,
        "1" | "2" => number.len() == 9,
        "3" | "4" => number.len() == 14,
        _ => false,
    }
}

/// The systems of a patient's INS.
pub mod ins_system {
    /// INS-NIR, production.
    pub const NIR: &str = "urn:oid:1.2.250.1.213.1.4.8";
    /// INS-NIA: never a key to a record (CNDA 0.2-080).
    pub const NIA: &str = "urn:oid:1.2.250.1.213.1.4.9";
    /// INS-NIR, test.
    pub const TEST: &str = "urn:oid:1.2.250.1.213.1.4.10";
    /// INS-NIR, demonstration.
    pub const DEMONSTRATION: &str = "urn:oid:1.2.250.1.213.1.4.11";
}

/// A patient's national identifier: system and fifteen characters.
///
/// `Debug` does not show the value: an INS stands in no log.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Ins {
    system: &'static str,
    value: String,
    key_is_right: bool,
}

/// Why a text is no INS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnIns {
    /// The system is not one of an INS-NIR.
    #[error("the system is not that of an INS (urn:oid:1.2.250.1.213.1.4.8, .10 or .11)")]
    System,
    /// A NIA opens no record.
    #[error("a record is never opened on a NIA (urn:oid:1.2.250.1.213.1.4.9)")]
    Nia,
    /// Not thirteen characters and a key of two digits.
    #[error("an INS has 15 characters: 13 and a key of 2 digits")]
    Form,
}

impl Ins {
    /// Reads system and value.
    ///
    /// # Errors
    /// The system or the form is not that of an INS. A wrong key is no error here: [`Ins::key_is_right`] tells.
    pub fn new(system: &str, value: &str) -> Result<Self, NotAnIns> {
        let system = match system {
            ins_system::NIR => ins_system::NIR,
            ins_system::TEST => ins_system::TEST,
            ins_system::DEMONSTRATION => ins_system::DEMONSTRATION,
            ins_system::NIA => return Err(NotAnIns::Nia),
            _ => return Err(NotAnIns::System),
        };
        if value.len() != 15 || !value.is_ascii() {
            return Err(NotAnIns::Form);
        }
        // Corsica: 2A counts as 19 and 2B as 18.
        let (body, key) = value.split_at(13);
        let numeric = match body.get(5..7) {
            Some("2A") => body.replacen("2A", "19", 1),
            Some("2B") => body.replacen("2B", "18", 1),
            _ => body.to_owned(),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(&numeric) || !digits(key) {
            return Err(NotAnIns::Form);
        }
        let number: u64 = numeric.parse().map_err(|_| NotAnIns::Form)?;
        let expected = 97 - number % 97;
        Ok(Self { system, value: value.to_owned(), key_is_right: key.parse() == Ok(expected) })
    }

    /// The system, an `urn:oid:`.
    pub fn system(&self) -> &'static str {
        self.system
    }

    /// The fifteen characters.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether the last two digits are the key of the first thirteen.
    pub fn key_is_right(&self) -> bool {
        self.key_is_right
    }
}

impl fmt::Debug for Ins {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Ins(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn professional_ids() {
        assert!(is_professional_id("810100000016"));
        assert!(is_professional_id("899900063480"));
        assert!(is_professional_id("00B6077602"));
        assert!(!is_professional_id("810100000017"), "key");
        assert!(!is_professional_id("81010000001"), "length");
        assert!(!is_professional_id("30B0057881/CPET0002"), "staff");
        assert!(!is_professional_id("８10100000016"), "full-width digit");
    }

    #[test]
    fn structure_ids() {
        assert!(is_structure_id("10B0057881"));
        assert!(is_structure_id("318751275100020"));
        assert!(!is_structure_id("0002 187512751"));
        assert!(!is_structure_id("1"));
    }

    #[test]
    fn ins_keys() {
        for value in [
            "279035121518989",
            "277076322082910",
            "133061764035249",
            "188102B17295165",
            "109119319795014",
            "162018885045327",
            "229032857590484",
            "207100486108281",
        ] {
            assert!(Ins::new(ins_system::TEST, value).unwrap().key_is_right(), "{value}");
        }
        for value in ["123456789012345", "221042545611404", "222127505611201"] {
            assert!(!Ins::new(ins_system::TEST, value).unwrap().key_is_right(), "{value}");
        }
    }

    #[test]
    fn not_an_ins() {
        assert_eq!(Ins::new(ins_system::NIA, "279035121518989"), Err(NotAnIns::Nia));
        assert_eq!(Ins::new("urn:oid:1.2.3", "279035121518989"), Err(NotAnIns::System));
        for value in
            ["2790351215189", "27903512151898 ", "é79035121518989", "27903512151898X", "2790B5121518989"]
        {
            assert_eq!(Ins::new(ins_system::TEST, value), Err(NotAnIns::Form), "{value}");
        }
        assert_eq!(format!("{:?}", Ins::new(ins_system::TEST, "279035121518989").unwrap()), "Ins(…)");
    }
}
