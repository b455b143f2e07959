//! UserInfo of Pro Santé Connect: who the professional is, and where he exercises.
//!
//! Absent values are empty strings; `exercices` may hold several professions, and the same one twice. The identity is
//! `SubjectNameID`, never `sub`. Source: `identity-and-rights.md` 2.

use serde::Deserialize;

use crate::certificate::is_invisible;
use crate::error::{Reason, Refusal};
use crate::identity::identifiers::IdentifierChecks;
use crate::identity::{Actor, Profession, role_detail};

/// What UserInfo says, as it came.
#[derive(Clone, Debug, Deserialize)]
pub struct UserInfo {
    /// Keycloak's identifier: ties UserInfo to the token, and names nobody.
    #[serde(default)]
    pub sub: String,
    #[serde(rename = "SubjectNameID", default)]
    name_id: String,
    #[serde(default)]
    family_name: String,
    #[serde(default)]
    given_name: String,
    #[serde(rename = "Secteur_Activite", default)]
    sector: String,
    #[serde(rename = "Acces_Regulation_Medicale", default)]
    regulation: String,
    #[serde(rename = "SubjectRefPro", default)]
    reference: Reference,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Reference {
    #[serde(default)]
    exercices: Vec<Exercice>,
}

#[derive(Clone, Debug, Deserialize)]
struct Exercice {
    #[serde(rename = "codeProfession", default)]
    profession: String,
    #[serde(rename = "codeCategorieProfessionnelle", default)]
    category: String,
    #[serde(rename = "codeSavoirFaire", default)]
    speciality: String,
    #[serde(rename = "nomDexercice", default)]
    family_name: String,
    #[serde(rename = "prenomDexercice", default)]
    given_name: String,
    #[serde(default)]
    activities: Vec<Activity>,
}

#[derive(Clone, Debug, Deserialize)]
struct Activity {
    #[serde(rename = "codeSecteurDactivite", default)]
    sector: String,
    #[serde(rename = "codeSectionPharmacien", default)]
    section: String,
    #[serde(rename = "numeroFinessSite", default)]
    finess: String,
    #[serde(rename = "numeroSiretSite", default)]
    siret: String,
    #[serde(rename = "raisonSocialeSite", default)]
    name: String,
    #[serde(rename = "ancienIdentifiantDeLaStructure", default)]
    structure: String,
}

/// The professional in the situation that was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Who, in which profession.
    pub actor: Actor,
    /// The second value of the role, where UserInfo has none.
    pub declared_role: Option<String>,
    /// Family and given name of exercise.
    pub name: String,
    /// Struct_IdNat, where the activity has one.
    pub structure: Option<String>,
    /// Name of the structure.
    pub structure_name: Option<String>,
    /// TRE_R02.
    pub sector: Option<String>,
    /// Regulates medical calls.
    pub regulates: bool,
}

impl Exercice {
    /// As a caller names it: profession and category, `10C`.
    fn key(&self) -> String {
        format!("{}{}", self.profession, self.category)
    }
}

impl Activity {
    /// What is no Struct_IdNat is none: the structure is a key to authorisations.
    fn structure(&self, checks: IdentifierChecks) -> Option<String> {
        self.named_structure().filter(|structure| checks.is_structure_id(structure))
    }

    fn named_structure(&self) -> Option<String> {
        match (self.structure.as_str(), self.finess.as_str(), self.siret.as_str()) {
            ("", "", "") => None,
            ("", "", siret) => Some(format!("3{siret}")),
            ("", finess, _) => Some(format!("1{finess}")),
            (structure, ..) => Some(structure.to_owned()),
        }
    }
}

impl UserInfo {
    /// The professional in one situation: profession (`10C`) and structure are named by the caller where there are
    /// several, and the second value of the role where UserInfo has none.
    ///
    /// # Errors
    /// [`Reason::UnknownProfessional`] without a national identifier or profession; [`Reason::InvalidTokenRequest`] when
    /// the situation has to be named; [`Reason::StructureNotLinked`] when the one named is not there.
    pub fn situation(
        &self,
        named: Option<&str>,
        structure: Option<&str>,
        speciality: Option<&str>,
        checks: IdentifierChecks,
    ) -> Result<Situation, Refusal> {
        if !checks.is_professional_id(&self.name_id) {
            return Err(unknown("SubjectNameID is not the PS_IdNat of a professional"));
        }
        let mut keys: Vec<String> = self.reference.exercices.iter().map(Exercice::key).collect();
        keys.sort();
        keys.dedup();
        let key = match (named, keys.as_slice()) {
            (_, []) => return Err(unknown("UserInfo names no profession (SubjectRefPro.exercices)")),
            (Some(named), keys) if keys.iter().any(|key| key == named) => named.to_owned(),
            (Some(_), keys) => {
                return Err(not_linked(format!("situation_exercice is one of {}", keys.join(", "))));
            }
            (None, [only]) => only.clone(),
            (None, keys) => {
                return Err(Refusal::new(
                    Reason::InvalidTokenRequest,
                    format!("several professions: name one in situation_exercice ({})", keys.join(", ")),
                )
                .by("CNDA 0.1-190: the situation of exercise is named"));
            }
        };
        let exercices: Vec<&Exercice> =
            self.reference.exercices.iter().filter(|exercice| exercice.key() == key).collect();
        let Some(first) = exercices.first() else { return Err(unknown("UserInfo names no profession")) };
        let activities: Vec<&Activity> = exercices.iter().flat_map(|exercice| &exercice.activities).collect();
        let activity = activity(&activities, structure, checks)?;
        let mut specialities: Vec<String> = match first.profession.as_str() {
            Profession::PHARMACIST => activity.map(|activity| activity.section.clone()).into_iter().collect(),
            _ => exercices.iter().map(|exercice| exercice.speciality.clone()).collect(),
        };
        specialities
            .retain(|code| (1..=8).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric()));
        specialities.sort();
        specialities.dedup();
        let profession = Profession::new(&first.profession);
        let in_training = first.category == "E";
        let detail = role_detail(&profession, in_training, specialities, speciality)?;
        if !(1..=3).contains(&first.profession.len()) || !first.profession.bytes().all(|b| b.is_ascii_digit()) {
            return Err(unknown("UserInfo names a profession that is no code of TRE_G15"));
        }
        let some = |text: &str| (!text.is_empty()).then(|| shown(text));
        let sector = activity.and_then(|activity| some(&activity.sector));
        let sector = sector.or_else(|| some(self.sector.split('^').next().unwrap_or_default()));
        let name = match (first.family_name.as_str(), first.given_name.as_str()) {
            ("", "") => format!("{} {}", self.family_name, self.given_name),
            (family, given) => format!("{family} {given}"),
        };
        Ok(Situation {
            actor: Actor::Professional {
                id: self.name_id.clone(),
                profession,
                specialities: detail.proven,
                in_training,
            },
            declared_role: detail.declared,
            name: shown(&name),
            structure: activity.and_then(|activity| activity.structure(checks)),
            structure_name: activity.and_then(|activity| some(&activity.name)),
            sector,
            regulates: self.regulation == "VRAI",
        })
    }

    /// The identity that it names.
    pub fn name_id(&self) -> &str {
        &self.name_id
    }
}

/// The activity in the structure named; where none is named there must be one structure only.
fn activity<'a>(
    activities: &[&'a Activity],
    structure: Option<&str>,
    checks: IdentifierChecks,
) -> Result<Option<&'a Activity>, Refusal> {
    if let Some(structure) = structure {
        let found = activities.iter().find(|activity| activity.structure(checks).as_deref() == Some(structure));
        return match found {
            Some(activity) => Ok(Some(activity)),
            None => Err(not_linked("the professional has no activity in this structure".to_owned())),
        };
    }
    let mut structures: Vec<String> =
        activities.iter().filter_map(|activity| activity.structure(checks)).collect();
    structures.sort();
    structures.dedup();
    if structures.len() > 1 {
        return Err(Refusal::new(
            Reason::InvalidTokenRequest,
            format!("several structures: name one in structure ({})", structures.join(", ")),
        )
        .by("CNDA 0.1-190: the situation of exercise is named"));
    }
    Ok(activities.iter().find(|activity| activity.structure(checks).is_some()).or(activities.first()).copied())
}

/// A text of the provider's, as it may stand in token and trace.
fn shown(text: &str) -> String {
    text.trim().chars().filter(|c| !is_invisible(*c)).take(200).collect()
}

fn unknown(why: &'static str) -> Refusal {
    Refusal::new(Reason::UnknownProfessional, why).by("Pro Santé Connect: UserInfo")
}

fn not_linked(why: String) -> Refusal {
    Refusal::new(Reason::StructureNotLinked, why).by("PS et structure non liés")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(exercices: &str) -> UserInfo {
        serde_json::from_str(&format!(
            r#"{{"sub":"f:x:y","SubjectNameID":"810100000016","family_name":"BERNARD","given_name":"CLAIRE",
                "Acces_Regulation_Medicale":"FAUX","SubjectRefPro":{{"exercices":[{exercices}]}}}}"#
        ))
        .unwrap()
    }

    fn exercice(profession: &str, speciality: &str, structures: &[&str]) -> String {
        let activities: Vec<String> = structures
            .iter()
            .map(|structure| {
                format!(
                    r#"{{"codeSecteurDactivite":"SA07","codeSectionPharmacien":"A","ancienIdentifiantDeLaStructure":"{structure}"}}"#
                )
            })
            .collect();
        format!(
            r#"{{"codeProfession":"{profession}","codeCategorieProfessionnelle":"C","codeSavoirFaire":"{speciality}","activities":[{}]}}"#,
            activities.join(",")
        )
    }

    fn refused(user: &UserInfo, named: Option<&str>, structure: Option<&str>) -> (Reason, String) {
        let refusal = user.situation(named, structure, None, IdentifierChecks::STRICT).unwrap_err();
        (refusal.reason, refusal.issues[0].diagnostics.to_string())
    }

    #[test]
    fn one_situation_needs_no_name_and_twice_the_same_is_one() {
        let one = exercice("10", "SM26", &["1750000036"]);
        for text in [one.clone(), format!("{one},{one}")] {
            let situation = user(&text).situation(None, None, None, IdentifierChecks::STRICT).unwrap();
            assert_eq!(situation.structure.as_deref(), Some("1750000036"));
            let Actor::Professional { profession, specialities, .. } = situation.actor else { panic!() };
            assert_eq!((profession.code(), specialities), ("10", vec!["SM26".to_owned()]));
        }
    }

    #[test]
    fn several_professions_or_structures_are_named() {
        let two = user(&format!(
            "{},{}",
            exercice("10", "SM54", &["1750000036"]),
            exercice("21", "", &["1750000036"])
        ));
        let (reason, why) = refused(&two, None, None);
        assert_eq!(reason, Reason::InvalidTokenRequest);
        assert!(why.contains("10C, 21C"), "{why}");
        assert_eq!(refused(&two, Some("60C"), None).0, Reason::StructureNotLinked);
        let pharmacist = two.situation(Some("21C"), None, None, IdentifierChecks::STRICT).unwrap();
        let Actor::Professional { specialities, .. } = pharmacist.actor else { panic!() };
        assert_eq!(specialities, ["A"], "the section of a pharmacist");
        let sites = user(&exercice("10", "SM26", &["1750000036", "1750000010"]));
        assert!(refused(&sites, None, None).1.contains("1750000010, 1750000036"));
        assert!(sites.situation(None, Some("1750000010"), None, IdentifierChecks::STRICT).is_ok());
        assert_eq!(refused(&sites, None, Some("1750000028")).0, Reason::StructureNotLinked);
    }

    /// What a situation is made of, and in which order its sources count.
    #[test]
    fn what_a_situation_says() {
        let told = |text: &str| {
            let user: UserInfo = serde_json::from_str(text).unwrap();
            match user.situation(None, None, None, IdentifierChecks::STRICT) {
                Ok(Situation {
                    actor,
                    declared_role: None,
                    name,
                    structure,
                    structure_name,
                    sector,
                    regulates,
                }) => {
                    let Actor::Professional { id, profession, specialities, in_training } = actor else {
                        panic!()
                    };
                    format!(
                        "{id} {} [{}] {in_training} « {name} » {} {} {} {regulates}",
                        profession.code(),
                        specialities.join(","),
                        structure.unwrap_or_default(),
                        structure_name.unwrap_or_default(),
                        sector.unwrap_or_default(),
                    )
                }
                Ok(other) => format!("{other:?}"),
                Err(refusal) => refusal.issues[0].diagnostics.to_string(),
            }
        };
        let user = |more: &str, exercices: &str| {
            told(&format!(
                r#"{{"SubjectNameID":"810100000016","family_name":"A","given_name":"B"{more},
                    "SubjectRefPro":{{"exercices":[{exercices}]}}}}"#
            ))
        };
        let doctor = |more: &str, activity: &str| {
            format!(
                r#"{{"codeProfession":"10","codeCategorieProfessionnelle":"C","codeSavoirFaire":"SM26"{more},"activities":[{{{activity}}}]}}"#
            )
        };
        let named = r#","nomDexercice":"BERNARD","prenomDexercice":"CLAIRE\u0007""#;
        for (more, exercices, expected) in [
            (
                r#","Acces_Regulation_Medicale":"VRAI","Secteur_Activite":"SA01^1.2.250.1.71.4.2.4""#,
                doctor(named, r#""numeroFinessSite":"750000010","raisonSocialeSite":" HOPITAL ""#),
                "810100000016 10 [SM26] false « BERNARD CLAIRE » 1750000010 HOPITAL SA01 true",
            ),
            (
                r#","Acces_Regulation_Medicale":"vrai""#,
                doctor("", r#""codeSecteurDactivite":"SA07","numeroSiretSite":"18751275100020""#),
                "810100000016 10 [SM26] false « A B » 318751275100020  SA07 false",
            ),
            (
                "",
                doctor(
                    r#","nomDexercice":"X""#,
                    r#""numeroFinessSite":"750000010","numeroSiretSite":"18751275100020""#,
                ),
                "810100000016 10 [SM26] false « X » 1750000010   false",
            ),
            // What is no Struct_IdNat is none, and no key to authorisations.
            (
                "",
                doctor("", r#""numeroFinessSite":"750000011""#),
                "810100000016 10 [SM26] false « A B »    false",
            ),
            // Two of the same profession: both specialities, and the activity that has a structure.
            (
                "",
                format!(
                    "{},{}",
                    doctor("", r#""raisonSocialeSite":"CHEZ SOI""#),
                    doctor("", r#""numeroFinessSite":"750000010""#).replace("SM26", "SM54")
                ),
                "810100000016 10 [SM26,SM54] false « A B » 1750000010   false",
            ),
            ("", doctor("", "").replace(r#""C""#, r#""E""#), "810100000016 10 [SM26] true « A B »    false"),
            (
                "",
                doctor("", "").replace("SM26", "SM26SM26"),
                "810100000016 10 [SM26SM26] false « A B »    false",
            ),
            ("", doctor("", "").replace("SM26", "SM26SM26S"), "a doctor names a speciality"),
            ("", doctor("", "").replace("SM26", "SM.6"), "a doctor names a speciality"),
            ("", doctor("", "").replace(r#""10""#, r#""1000""#), "no code of TRE_G15"),
            ("", doctor("", "").replace(r#""10""#, r#""1a""#), "no code of TRE_G15"),
            ("", doctor("", "").replace(r#""10""#, r#""""#), "no code of TRE_G15"),
            (
                "",
                doctor("", "").replace(r#""10""#, r#""100""#),
                "810100000016 100 [SM26] false « A B »    false",
            ),
        ] {
            let told = user(more, &exercices);
            let equal = if expected.starts_with('8') { told == expected } else { told.contains(expected) };
            assert!(equal, "« {told} », not « {expected} »");
        }
        assert_eq!(shown(&"x".repeat(300)).len(), 200);
        let user: UserInfo = serde_json::from_str(r#"{"SubjectNameID":"810100000016"}"#).unwrap();
        assert_eq!(user.name_id(), "810100000016");
    }

    #[test]
    fn no_identity_no_caller() {
        let editor = serde_json::from_str::<UserInfo>(
            r#"{"SubjectNameID":"ANS20261122000001","SubjectRefPro":{"exercices":[{"codeProfession":"80"}]}}"#,
        )
        .unwrap();
        assert_eq!(refused(&editor, None, None).0, Reason::UnknownProfessional);
        assert!(
            editor.situation(None, None, None, IdentifierChecks { keys: true, editor_accounts: true }).is_ok()
        );
        assert_eq!(refused(&user(""), None, None).0, Reason::UnknownProfessional);
    }
}
