//! The national directory, as far as a call needs it: who exercises where, and what the structures are.
//!
//! Two tables with tabs, lines that begin with `#` being comments:
//!
//! ```text
//! professionals   PS_IdNat, profession (TRE_G15), Struct_IdNat, role detail   one line an activity
//! structures      Struct_IdNat, legal entity (Struct_IdNat or empty), regulation (yes or no), name
//! ```
//!
//! The structure may be empty. The fourth column may be left out: specialities of a doctor (TRE_R01), section of a pharmacist
//! (TRE_G05), with commas. Without tables nobody is known: indirect authentication with proof is refused (EX_AIR-020), a card names no structure
//! beside its own, and an establishment's certificate stands for itself alone.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail, ensure};

/// See the module.
#[derive(Debug, Default)]
pub struct Directory {
    professionals: HashMap<Box<str>, Vec<Activity>>,
    structures: HashMap<Box<str>, Structure>,
    /// Those that a site names.
    legal_entities: HashSet<Box<str>>,
}

#[derive(Debug)]
struct Activity {
    profession: Box<str>,
    /// Empty: the directory knows no structure.
    structure: Box<str>,
    /// Empty: the directory does not say.
    detail: Vec<Box<str>>,
}

/// A structure of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Structure {
    /// The legal entity to which a geographic site belongs.
    pub legal_entity: Option<String>,
    /// A SAMU's regulation centre.
    pub regulation: bool,
    /// Name.
    pub name: String,
}

impl Directory {
    /// Reads the two tables.
    ///
    /// # Errors
    /// Names the line that cannot be read.
    pub fn parse(professionals: &str, structures: &str) -> Result<Self> {
        let mut directory = Self::default();
        for line in rows(professionals) {
            let columns: Vec<&str> = line.split('\t').collect();
            let (id, profession, structure, detail) = match columns[..] {
                [id, profession, structure] => (id, profession, structure, ""),
                [id, profession, structure, detail] => (id, profession, structure, detail),
                _ => bail!("professionals: not three or four columns: « {line} »"),
            };
            let detail = detail.split(',').filter(|code| !code.is_empty()).map(Box::from).collect();
            ensure!(!id.is_empty() && !profession.is_empty(), "professionals: « {line} »");
            let activity = Activity { profession: profession.into(), structure: structure.into(), detail };
            directory.professionals.entry(id.into()).or_default().push(activity);
        }
        for line in rows(structures) {
            let columns: Vec<&str> = line.split('\t').collect();
            let [id, legal_entity, regulation, name] = columns[..] else {
                bail!("structures: not four columns: « {line} »");
            };
            let regulation = match regulation {
                "yes" => true,
                "no" => false,
                other => bail!("structures: « {other} » is neither yes nor no"),
            };
            let legal_entity = (!legal_entity.is_empty()).then(|| legal_entity.to_owned());
            directory.legal_entities.extend(legal_entity.as_deref().map(Box::from));
            let structure = Structure { legal_entity, regulation, name: name.to_owned() };
            let previous = directory.structures.insert(id.into(), structure);
            ensure!(previous.is_none(), "structures: {id} stands twice");
        }
        Ok(directory)
    }

    /// Whether the directory knows this professional in this profession.
    pub fn knows(&self, professional: &str, profession: &str) -> bool {
        self.activities(professional).any(|activity| *activity.profession == *profession)
    }

    /// Whether the professional exercises in this structure, in this profession: there itself, or at one of its sites. Who
    /// is listed at a legal entity is not thereby at each of its sites.
    pub fn exercises(&self, professional: &str, profession: &str, structure: &str) -> bool {
        self.activities(professional).any(|activity| {
            let there = &*activity.structure;
            *activity.profession == *profession
                && !there.is_empty()
                && (there == structure || self.is_site_of(there, structure))
        })
    }

    /// The regulation centre where the professional exercises in this profession, if there is one.
    pub fn regulation_centre_of(&self, professional: &str, profession: &str) -> Option<&str> {
        let there = self.activities(professional).filter(|activity| *activity.profession == *profession);
        there.map(|activity| &*activity.structure).find(|structure| self.is_regulation_centre(structure))
    }

    /// Specialities or section of the professional in this profession, as far as the directory says; in a structure, those
    /// of the activities there or at its sites.
    pub fn role_detail(&self, professional: &str, profession: &str, structure: Option<&str>) -> Vec<String> {
        let there = |activity: &Activity| {
            structure.is_none_or(|structure| {
                *activity.structure == *structure || self.is_site_of(&activity.structure, structure)
            })
        };
        let activities = self
            .activities(professional)
            .filter(|activity| *activity.profession == *profession && there(activity));
        let mut codes: Vec<String> =
            activities.flat_map(|activity| &activity.detail).map(|code| code.to_string()).collect();
        codes.sort();
        codes.dedup();
        codes
    }

    /// Whether a professional exercises in a structure, whatever the profession; one of the structure's own staff
    /// (PS_IdNat `3<FINESS>/…`) is of it by number.
    pub fn works_in(&self, professional: &str, structure: &str) -> bool {
        let staff = || {
            let (own, _) = professional.split_once('/')?;
            Some(own.get(1..)? == structure.get(1..)?)
        };
        let there = |activity: &Activity| {
            *activity.structure == *structure || self.is_site_of(&activity.structure, structure)
        };
        staff().unwrap_or(false) || self.activities(professional).any(there)
    }

    /// The structures for which somebody might act: the one that is named or else those of the activities, and the legal entity of
    /// each. Empty where that is no more than the one that is named.
    pub fn might_act_for(&self, professional: &str, named: Option<&str>) -> Vec<String> {
        let mut structures: Vec<&str> = match named {
            Some(named) => vec![named],
            None => self.activities(professional).map(|activity| &*activity.structure).collect(),
        };
        let entities: Vec<&str> = structures
            .iter()
            .filter_map(|structure| self.structures.get(*structure)?.legal_entity.as_deref())
            .collect();
        structures.extend(entities);
        structures.sort_unstable();
        structures.dedup();
        structures.retain(|structure| !structure.is_empty() && Some(*structure) != named);
        structures.into_iter().map(str::to_owned).collect()
    }

    /// The profession of somebody, where it is one and the same in all his activities.
    pub fn profession(&self, professional: &str) -> Option<String> {
        let mut professions = self.activities(professional).map(|activity| activity.profession.to_string());
        let first = professions.next()?;
        professions.all(|other| other == first).then_some(first)
    }

    /// The name of a structure.
    pub fn structure_name(&self, structure: &str) -> Option<&str> {
        self.structures.get(structure).map(|structure| &*structure.name)
    }

    /// Whether this is a regulation centre.
    pub fn is_regulation_centre(&self, structure: &str) -> bool {
        self.structures.get(structure).is_some_and(|structure| structure.regulation)
    }

    /// Whether the first is a geographic site of the second, which is a legal entity (« EJ/EG »).
    pub fn is_site_of(&self, site: &str, legal_entity: &str) -> bool {
        self.structures.get(site).is_some_and(|site| site.legal_entity.as_deref() == Some(legal_entity))
    }

    /// Whether this is a legal entity that has geographic sites.
    pub fn has_sites(&self, structure: &str) -> bool {
        self.legal_entities.contains(structure)
    }

    /// Nobody and nothing.
    pub fn is_empty(&self) -> bool {
        self.professionals.is_empty() && self.structures.is_empty()
    }

    /// A structure.
    pub fn structure(&self, id: &str) -> Option<&Structure> {
        self.structures.get(id)
    }

    fn activities(&self, professional: &str) -> impl Iterator<Item = &Activity> {
        self.professionals.get(professional).into_iter().flatten()
    }
}

fn rows(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Directory {
        Directory::parse(
            "810100000016\t10\t1750000101\tSM26\n810100000024\t10\t1750000010\n810100000099\t10\t1750000028\n810100000040\t60\t\n",
            "1750000101\t\tno\tCABINET\n1750000028\t1750000010\tyes\tSAMU\n1750000010\t\tno\tHOPITAL\n",
        )
        .unwrap()
    }

    #[test]
    fn who_exercises_where() {
        let directory = directory();
        assert!(directory.exercises("810100000016", "10", "1750000101"));
        assert!(!directory.exercises("810100000016", "21", "1750000101"), "another profession");
        assert!(!directory.exercises("810100000016", "10", "1750000028"), "another structure");
        assert!(directory.exercises("810100000099", "10", "1750000010"), "the legal entity of the site");
        assert!(directory.exercises("810100000024", "10", "1750000010"));
        assert!(
            !directory.exercises("810100000024", "10", "1750000028"),
            "at the legal entity, not at each site"
        );
        assert!(!directory.exercises("810100000040", "60", ""), "no structure is none");
        assert!(directory.knows("810100000040", "60"));
        assert!(!directory.knows("810100000999", "10"));
    }

    #[test]
    fn what_a_structure_is() {
        let directory = directory();
        assert_eq!(directory.regulation_centre_of("810100000099", "10"), Some("1750000028"));
        assert_eq!(directory.regulation_centre_of("810100000099", "60"), None, "another profession");
        assert_eq!(directory.regulation_centre_of("810100000016", "10"), None);
        assert_eq!(directory.role_detail("810100000016", "10", None), ["SM26"]);
        assert_eq!(directory.role_detail("810100000016", "10", Some("1750000101")), ["SM26"]);
        assert!(directory.role_detail("810100000016", "10", Some("1750000010")).is_empty(), "said elsewhere");
        assert!(directory.is_site_of("1750000028", "1750000010"));
        assert!(!directory.is_site_of("1750000010", "1750000028"));
    }

    /// For whom one might act: the structures of one's activities, and their legal entities; of a structure that is named, its own.
    #[test]
    fn for_whom_one_might_act() {
        let directory = directory();
        let might = |professional, named| directory.might_act_for(professional, named);
        assert_eq!(might("810100000016", None), ["1750000101"]);
        assert_eq!(might("810100000099", None), ["1750000010", "1750000028"], "the site and its legal entity");
        assert_eq!(might("810100000099", Some("1750000028")), ["1750000010"]);
        assert_eq!(might("810100000016", Some("1750000101")), [""; 0]);
        assert_eq!(might("810100000040", None), [""; 0], "no structure is none");
        assert_eq!(might("810100000999", None), [""; 0]);
        assert_eq!(directory.profession("810100000040").as_deref(), Some("60"));
        assert_eq!(directory.profession("810100000999"), None);
        assert_eq!(directory.structure_name("1750000010"), Some("HOPITAL"));
        assert_eq!(directory.structure_name("1750000011"), None);
        assert_eq!(directory.structure("1750000028").unwrap().legal_entity.as_deref(), Some("1750000010"));
        assert_eq!(directory.structure("1750000011"), None);
        assert!(!directory.is_empty() && Directory::default().is_empty());
        for (professionals, structures) in [("8x\t10\t\n", ""), ("", "1750000010\t\tno\tHOPITAL\n")] {
            assert!(!Directory::parse(professionals, structures).unwrap().is_empty(), "half of it");
        }
        assert!(Directory::parse("# comment\n\n  \n", "#\n").unwrap().is_empty());
        let two = Directory::parse("8x\t10\t\n8x\t21\t\n8y\t10\t\n8y\t10\t1750000010\n", "").unwrap();
        assert_eq!((two.profession("8x"), two.profession("8y")), (None, Some("10".to_owned())));
        assert!(directory.works_in("3750000101/CPE0001", "1750000101"), "staff by their number");
        assert!(!directory.works_in("3750000101/CPE0001", "1750000010"));
        assert!(directory.works_in("810100000016", "1750000101"), "by activity");
        assert!(!directory.works_in("810100000016", "1750000010"));
        assert!(directory.works_in("810100000099", "1750000010"), "at a site");
    }

    #[test]
    fn a_table_that_is_wrong_is_named() {
        for (professionals, structures) in
            [("x\t10", ""), ("", "1\t\tmaybe\tX"), ("", "1\t\tno\tX\n1\t\tno\tX")]
        {
            assert!(Directory::parse(professionals, structures).is_err());
        }
    }
}
