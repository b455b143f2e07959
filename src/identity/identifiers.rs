//! The French identifiers, by their syntax and keys. Source: `identity-and-rights.md` 4.

use std::fmt;

/// What is checked of an identifier beyond its form. The fictive numbers of some guides have wrong keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentifierChecks {
    /// Keys of RPPS, ADELI, FINESS, SIREN and SIRET.
    pub keys: bool,
    /// Takes the accounts that Pro Santé Connect gives to software makers (`ANS…`) for professionals: tests only.
    pub editor_accounts: bool,
}

impl IdentifierChecks {
    /// What real records want.
    pub const STRICT: Self = Self { keys: true, editor_accounts: false };

    fn key(self, number: &str) -> bool {
        !self.keys || has_luhn_key(number)
    }

    /// PS_IdNat of a professional: `8` and an RPPS of eleven digits with its key, or `0` and an ADELI number of nine
    /// characters.
    pub fn is_professional_id(self, id: &str) -> bool {
        match id.split_at_checked(1) {
            Some(("8", rpps)) => rpps.len() == 11 && digits(rpps) && self.key(rpps),
            Some(("0", adeli)) => adeli.len() == 9 && alphanumeric(adeli) && self.key(adeli),
            _ => self.editor_accounts && is_editor_account(id),
        }
    }

    /// PS_IdNat of a structure's staff: a prefix, the structure's number, `/` and the holder's register number.
    pub fn is_staff_id(self, id: &str) -> bool {
        let Some((structure, register)) = id.split_once('/') else { return false };
        let register_is_right =
            (1..=32).contains(&register.len()) && register.bytes().all(|byte| byte.is_ascii_alphanumeric());
        // The prefixes of a person are those of a structure, moved (TRE_G08, TRE_G07).
        let structure = match structure.split_at_checked(1) {
            Some(("1", cabinet)) => format!("0{cabinet}"),
            Some(("3", finess)) => format!("1{finess}"),
            Some(("4", siren)) => format!("2{siren}"),
            Some(("5", siret)) => format!("3{siret}"),
            Some(("6", cabinet)) => format!("4{cabinet}"),
            _ => return false,
        };
        register_is_right && self.is_structure_id(&structure)
    }

    /// Struct_IdNat: `0` ADELI and rank, `1` FINESS, `2` SIREN, `3` SIRET, `4` RPPS, rank and key.
    pub fn is_structure_id(self, id: &str) -> bool {
        match id.split_at_checked(1) {
            Some(("0", cabinet)) => match cabinet.split_at_checked(9) {
                Some((adeli, rank)) => {
                    rank.len() == 2 && digits(rank) && alphanumeric(adeli) && self.key(adeli)
                }
                None => false,
            },
            Some(("1", finess)) => finess.len() == 9 && alphanumeric(finess) && self.key(finess),
            Some(("2", siren)) => siren.len() == 9 && digits(siren) && self.key(siren),
            Some(("3", siret)) => {
                siret.len() == 14 && digits(siret) && (self.key(siret) || is_establishment_of_la_poste(siret))
            }
            Some(("4", cabinet)) => cabinet.len() == 14 && digits(cabinet) && self.key(cabinet),
            _ => false,
        }
    }
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Digits, and the letters of Corsica: `2A`, `2B` in a FINESS or ADELI number; test numbers have `0B`.
fn alphanumeric(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'A' | b'B'))
}

fn is_editor_account(id: &str) -> bool {
    id.strip_prefix("ANS").is_some_and(|number| (8..=14).contains(&number.len()) && digits(number))
}

/// Luhn's key; in a FINESS or ADELI number A counts as 1 and B as 2.
fn has_luhn_key(number: &str) -> bool {
    let mut sum = 0;
    for (position, byte) in number.bytes().rev().enumerate() {
        let mut value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'A' => 1,
            b'B' => 2,
            _ => return false,
        };
        if position % 2 == 1 {
            value *= 2;
            if value > 9 {
                value -= 9;
            }
        }
        sum += value;
    }
    !number.is_empty() && sum % 10 == 0
}

/// The post offices have more establishments than keys: their digits add up to a multiple of five.
fn is_establishment_of_la_poste(siret: &str) -> bool {
    siret.starts_with("356000000") && siret.bytes().map(|byte| u32::from(byte - b'0')).sum::<u32>() % 5 == 0
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

    /// Whether identifiers of a system are keys to records: all of these but the NIA.
    pub fn is_key(system: &str) -> bool {
        [NIR, TEST, DEMONSTRATION].contains(&system)
    }
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

    const STRICT: IdentifierChecks = IdentifierChecks::STRICT;
    const LENIENT: IdentifierChecks = IdentifierChecks { keys: false, editor_accounts: true };

    #[test]
    fn professional_ids() {
        for id in ["810100000016", "899900063480", "00B6077602", "00B7010446"] {
            assert!(STRICT.is_professional_id(id), "{id}");
        }
        assert!(!LENIENT.is_professional_id("00B60776021"), "too long");
        assert!(!LENIENT.is_professional_id("00C6077602"), "a letter that is none of a number");
        for id in [
            "00B6077603",
            "810100000017",
            "81010000001",
            "8101000000160",
            "30B0057881/CPET0002",
            "８10100000016",
            "8 10100000016",
        ] {
            assert!(!STRICT.is_professional_id(id), "{id}");
        }
        assert!(LENIENT.is_professional_id("810000000001"), "a fictive number of the guides");
        assert!(!LENIENT.is_professional_id("81000000000A"), "the form is always checked");
        assert!(LENIENT.is_professional_id("ANS20231122132732"));
        assert!(!STRICT.is_professional_id("ANS20231122132732"));
    }

    #[test]
    fn structure_ids() {
        for id in
            ["10B0057881", "318751275100020", "1750000010", "499700366240007", "339172288100052", "2187512751"]
        {
            assert!(STRICT.is_structure_id(id), "{id}");
        }
        // ADELI and rank.
        for (id, right) in [
            ("075000000201", true),
            ("02A123456299", true),
            ("075000000301", false),
            ("07500000020", false),
            ("0750000002001", false),
            ("07500000020A", false),
            ("07C000000201", false),
            ("0é50000002", false),
        ] {
            assert_eq!(STRICT.is_structure_id(id), right, "{id}");
            assert_eq!(STRICT.is_staff_id(&format!("1{}/C1", id.get(1..).unwrap())), right, "{id}");
        }
        // Corsica, and an establishment of La Poste (Luhn does not hold, the sum of five does).
        for id in ["12A0000154", "335600000000048", "335600000049837"] {
            assert!(STRICT.is_structure_id(id), "{id}");
        }
        for id in [
            "0002 187512751",
            "1",
            "",
            "1750000011",
            "175000001",
            "9750000010",
            "318751275100021",
            "1750000010é",
            "218751275A",
            "2187512750",
            "39970036624000A",
            "49970036624000A",
            "499700366240008",
            "356000000",
            "335600000000049",
        ] {
            assert!(!STRICT.is_structure_id(id), "{id}");
        }
        assert!(LENIENT.is_structure_id("11B0062023"), "a test number whose key is wrong");
    }

    #[test]
    fn staff_ids() {
        for id in [
            "30B0057881/CPET0002",
            "3750000101/000000018",
            "500000000029751/CPA0001",
            "4187512751/C1",
            "699700366240007/C1",
        ] {
            assert!(STRICT.is_staff_id(id), "{id}");
        }
        for id in [
            "3750000101",
            "3750000101/",
            "3750000102/CPE0001",
            "8750000101/CPE0001",
            "3750000101/CPE/1",
            "5187512751/C1",
            "7750000101/C1",
            "/C1",
        ] {
            assert!(!STRICT.is_staff_id(id), "{id}");
        }
    }

    #[test]
    fn keys_and_accounts() {
        assert!(has_luhn_key("18") && has_luhn_key("0") && !has_luhn_key("") && !has_luhn_key("1C"));
        // Ten at a doubled place would be nine less: five is the first that is.
        assert!(has_luhn_key("59") && has_luhn_key("42") && has_luhn_key("0B7010446") && !has_luhn_key("51"));
        for (account, right) in
            [("ANS12345678", true), ("ANS1234567", false), ("ANS1234567a", false), ("XANS12345678", false)]
        {
            assert_eq!(is_editor_account(account), right, "{account}");
        }
        let ins = Ins::new(ins_system::TEST, "279035121518989").unwrap();
        assert_eq!((ins.system(), ins.value()), ("urn:oid:1.2.250.1.213.1.4.10", "279035121518989"));
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
