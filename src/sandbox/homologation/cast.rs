//! Who plays a run: its patients, their documents, its cards.

use crate::homologation::run::Patient;
use crate::pki::{Holder, HolderKind};

use crate::sandbox::fixtures::{HOSPITAL, PRACTICE, SAMU};

/// A document that is there when a run begins.
pub(super) struct Prepared {
    pub(super) type_code: &'static str,
    pub(super) class_code: &'static str,
    pub(super) labels: &'static [&'static str],
    pub(super) archived: bool,
    /// Media type, format and bytes; a CDA document unless given.
    pub(super) bytes: Option<(&'static str, &'static str, &'static [u8])>,
}

impl Prepared {
    const DEFAULT: Self =
        Self { type_code: "11488-4", class_code: "10", labels: &["N"], archived: false, bytes: None };
}

impl Default for Prepared {
    fn default() -> Self {
        Self::DEFAULT
    }
}

pub(super) const PREPARED: [Prepared; 7] = [
    Prepared { type_code: "11506-3", class_code: "10", ..Prepared::DEFAULT },
    Prepared { type_code: "15507-7", class_code: "10", ..Prepared::DEFAULT },
    Prepared { type_code: "34112-3", class_code: "10", ..Prepared::DEFAULT },
    Prepared { type_code: "34112-3", class_code: "10", ..Prepared::DEFAULT },
    Prepared {
        type_code: "34112-3",
        class_code: "10",
        archived: true,
        bytes: Some(("text/rtf", "urn:ihe:iti-fr:xds-sd:rtf:2010", br"{\rtf1 Compte rendu}")),
        ..Prepared::DEFAULT
    },
    Prepared {
        type_code: "18748-4",
        class_code: "31",
        bytes: Some(("image/tiff", "urn:ihe:iti-fr:xds-sd:tiff:2010", b"II*\0\x08\0\0\0\0\0")),
        ..Prepared::DEFAULT
    },
    Prepared {
        type_code: "70004-7",
        class_code: "10",
        labels: &["N", "INVISIBLE_PATIENT"],
        bytes: Some(("text/plain", "urn:ihe:iti:xds-sd:text:2008", b"Compte rendu")),
        ..Prepared::DEFAULT
    },
];

/// What a patient of a run is for.
pub(super) struct Role {
    pub(super) name: &'static str,
    pub(super) given: &'static str,
    /// YYYY-MM-DD.
    pub(super) birth_date: &'static str,
    pub(super) what_for: &'static str,
}

pub(super) const ROLES: [Role; 12] = [
    Role {
        name: "ouvert",
        given: "OLIVIER",
        birth_date: "1985-06-15",
        what_for: "dossier ouvert, aucune autorisation",
    },
    Role {
        name: "autorise",
        given: "ALAIN",
        birth_date: "1979-03-28",
        what_for: "dossier ouvert, le premier médecin est autorisé",
    },
    Role {
        name: "complet",
        given: "CAMILLE",
        birth_date: "1972-11-04",
        what_for: "documents de plusieurs types, formats et visibilités ; le premier médecin est autorisé, le second bloqué ; n'y déposez rien, ses totaux sont attendus",
    },
    Role {
        name: "mineur",
        given: "MANON",
        birth_date: "2017-05-19",
        what_for: "mineur, le premier médecin est autorisé",
    },
    Role { name: "ferme", given: "FRANCIS", birth_date: "1960-01-20", what_for: "dossier fermé" },
    Role { name: "expire", given: "ELISE", birth_date: "1983-11-25", what_for: "autorisation expirée" },
    Role {
        name: "oppose",
        given: "OSCAR",
        birth_date: "1959-07-03",
        what_for: "alimentez deux documents, puis faites s'opposer le patient",
    },
    Role {
        name: "bloquant",
        given: "BRUNO",
        birth_date: "1991-08-02",
        what_for: "le second médecin est bloqué",
    },
    Role {
        name: "traite",
        given: "THEODORE",
        birth_date: "1944-02-14",
        what_for: "le premier médecin est médecin traitant ; un document masqué d'un autre auteur",
    },
    Role {
        name: "urgence",
        given: "ULYSSE",
        birth_date: "1963-09-07",
        what_for: "documents masqués ouverts en urgence",
    },
    Role {
        name: "sansquinze",
        given: "SUZANNE",
        birth_date: "1948-03-30",
        what_for: "opposé à l'accès du centre 15",
    },
    Role {
        name: "inexistant",
        given: "IGOR",
        birth_date: "1970-10-10",
        what_for: "INS qualifiée, aucun dossier",
    },
];

/// A patient whose identifiers no other run has.
pub(super) fn patient(number: u32, order: usize, role: &Role) -> Patient {
    let digits: String = role.birth_date.chars().filter(char::is_ascii_digit).collect();
    let women = ["complet", "mineur", "expire", "sansquinze", HOMONYM.name];
    let sex = if women.contains(&role.name) { 2 } else { 1 };
    // Whoever looks for the one patient of a day finds that of his run.
    let birth_date = match role.name {
        "ouvert" => format!("{}{:02}", role.birth_date.get(..8).unwrap_or_default(), 1 + number % 28),
        _ => role.birth_date.to_owned(),
    };
    // Year and month of birth; department and commune that say which run; the order says which patient.
    let body = format!(
        "{sex}{}{}{:02}{:03}{:03}",
        digits.get(2..4).unwrap_or_default(),
        digits.get(4..6).unwrap_or_default(),
        21 + number / 900,
        1 + number % 900,
        100 + order
    );
    let key = 97 - body.parse::<u64>().unwrap_or_default() % 97;
    let letters: String =
        format!("{number:04}").bytes().map(|digit| char::from(b'A' + (digit - b'0'))).collect();
    Patient {
        ins: format!("{body}{key:02}"),
        family: format!("{}-{letters}", role.name.to_ascii_uppercase()),
        given: role.given.to_owned(),
        birth_date,
        record_id: String::new(),
        what_for: role.what_for.to_owned(),
    }
}

/// One of many: a search by sex alone is too costly.
const HOMONYM: Role =
    Role { name: "homonyme", given: "HELENE", birth_date: "1950-05-05", what_for: "une parmi beaucoup" };

/// More women than an answer may name (`search-limit-without-ins`): of no run, and there once for all.
pub(super) fn homonyms() -> impl Iterator<Item = Patient> {
    (0..21).map(|order| patient(0, ROLES.len() + order, &HOMONYM))
}

/// A card of a run.
pub(super) struct Card {
    /// Name of its files, without that of the run.
    pub(super) name: &'static str,
    /// Whose it is, to be read.
    pub(super) whose: &'static str,
    pub(super) holder: Holder,
    /// Struct_IdNat where the directory says that the holder exercises.
    pub(super) activities: &'static [&'static str],
}

/// PS_IdNat of a professional of a run: 8 and an RPPS number, whose last digit is its key.
pub(super) fn professional_id(number: u32, order: u32) -> String {
    let body = format!("102{:07}", number * 10 + order);
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match place % 2 {
                0 if digit > 4 => digit * 2 - 9,
                0 => digit * 2,
                _ => digit,
            }
        })
        .sum();
    format!("8{body}{}", (10 - sum % 10) % 10)
}

/// The cards of a run.
pub(super) fn cards(number: u32) -> Vec<Card> {
    let professional =
        |order: u32, (family, given): (&str, &str), profession: u8, title: &str, speciality: &str| Holder {
            family: Some(family.into()),
            given: Some(given.into()),
            id: Some(professional_id(number, order)),
            profession: Some(profession),
            title: Some(title.into()),
            specialities: (!speciality.is_empty()).then(|| speciality.to_owned()).into_iter().collect(),
            ..Holder::new(HolderKind::Cps)
        };
    let doctor = |order, name, speciality| professional(order, name, 10, "Médecin", speciality);
    let organisation = |kind, (structure, name): (&str, &str), what: &str| Holder {
        structure: Some(structure.into()),
        structure_name: Some(name.into()),
        common_name: Some(format!("{what} R{number:04}")),
        ..Holder::new(kind)
    };
    let person = |name, whose, holder, activities| Card { name, whose, holder, activities };
    let other = |name, whose, holder| Card { name, whose, holder, activities: &[] };
    let (client, seal) = (HolderKind::OrganisationClient, HolderKind::OrganisationSeal);
    let secretary = Holder {
        family: Some("SECRET".into()),
        given: Some("NADIA".into()),
        id: Some(format!("3750000101/R{number:04}E")),
        structure: Some(PRACTICE.0.into()),
        structure_name: Some(PRACTICE.1.into()),
        ..Holder::new(HolderKind::Cpe)
    };
    vec![
        person(
            "cps-medecin",
            "CPS, premier médecin, en ville et à l'hôpital",
            doctor(0, ("PREMIER", "PAULE"), "SM26"),
            &[PRACTICE.0, HOSPITAL.0],
        ),
        person("cps-medecin-b", "CPS, second médecin", doctor(1, ("SECOND", "SIMON"), "SM26"), &[PRACTICE.0]),
        person(
            "cps-pharmacien",
            "CPS, pharmacien",
            professional(2, ("PHARE", "PIA"), 21, "Pharmacien", ""),
            &[PRACTICE.0],
        ),
        person(
            "cps-kine",
            "CPS, masseur-kinésithérapeute",
            professional(3, ("KIRA", "KARL"), 70, "Masseur-Kinésithérapeute", ""),
            &[PRACTICE.0],
        ),
        person(
            "cps-regulateur",
            "CPS, médecin régulateur du centre 15",
            doctor(4, ("REGULE", "RENE"), "SM59"),
            &[SAMU.0],
        ),
        other("cpe-secretaire", "CPE, secrétaire médicale", secretary),
        other(
            "org",
            "certificat d'établissement, authentification indirecte",
            organisation(client, HOSPITAL, "DPI"),
        ),
        other(
            "org-signature",
            "cachet d'établissement, pour les assertions",
            organisation(seal, HOSPITAL, "Cachet"),
        ),
        other(
            "org-samu",
            "certificat du centre 15, authentification indirecte",
            organisation(client, SAMU, "Régulation"),
        ),
        other(
            "org-samu-signature",
            "cachet du centre 15, pour les assertions",
            organisation(seal, SAMU, "Cachet SAMU"),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::identifiers::IdentifierChecks;

    #[test]
    fn identifiers_of_runs_are_valid_and_their_own() {
        let checks = IdentifierChecks { keys: true, editor_accounts: true };
        let mut seen = std::collections::HashSet::new();
        for number in [1, 2, 899, 900, 901, 9_999] {
            for (order, role) in ROLES.iter().enumerate() {
                let patient = patient(number, order, role);
                assert_eq!(patient.ins.len(), 15, "{}", patient.ins);
                let (body, key) = patient.ins.split_at(13);
                assert_eq!(97 - body.parse::<u64>().unwrap() % 97, key.parse::<u64>().unwrap());
                assert!(seen.insert(patient.ins.clone()), "{number} {}: {}", role.name, patient.ins);
            }
            for order in 0..4 {
                let id = professional_id(number, order);
                assert!(checks.is_professional_id(&id), "{id}");
                assert!(seen.insert(id));
            }
        }
        assert!(!checks.is_professional_id("810200000011"), "control: another key");
    }
}
