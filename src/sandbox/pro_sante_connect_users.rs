//! The fictive professionals whom the stand-in of Pro Santé Connect knows, and what it says of them: UserInfo, and the
//! claims of a session.
//!
//! The names of the fields are Pro Santé Connect's (`identity-and-rights.md` 2); the people are ours. Who also holds a
//! card of the sandbox has the same number there. An absent value is an empty string, never null.

use std::sync::Arc;

use serde_json::{Value, json};

/// Whoever can sign in.
#[derive(Debug)]
pub struct Professional {
    /// What is typed at sign-in. `sub` ends with it, so that nobody can take `sub` for the identity.
    pub user_name: &'static str,
    /// `SubjectNameID`: PS_IdNat, but for the account of an editor.
    pub name_id: &'static str,
    /// The whole UserInfo.
    pub user_info: Value,
}

impl Professional {
    /// Whether this is a login of theirs: user name or PS_IdNat.
    pub fn has_login(&self, login: &str) -> bool {
        self.user_name == login || self.name_id == login
    }
}

/// What an access token stands for. Instants are in seconds since 1970.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who signed in.
    pub professional: Arc<Professional>,
    /// For which client.
    pub client_id: String,
    /// `jti`.
    pub id: String,
    /// When the token was issued.
    pub issued: i64,
    /// From when on it is worth nothing.
    pub expires: i64,
}

impl Session {
    /// What introspection and the payload of a JWT have in common, `iss` and `azp` being given.
    pub fn claims(&self, issuer: &str, client: &str) -> Value {
        json!({
            "exp": self.expires,
            "iat": self.issued,
            "auth_time": self.issued,
            "jti": self.id,
            "iss": issuer,
            "sub": subject(self.professional.user_name),
            "typ": "Bearer",
            "azp": client,
            "acr": "eidas1",
            "SubjectNameID": self.professional.name_id,
        })
    }
}

/// `sub`: `f:<realm>:<user name>`.
fn subject(user_name: &str) -> String {
    format!("f:3d0c6f52-7a4e-4b19-8f63-2c91e5a07d48:{user_name}")
}

/// Where someone works.
#[derive(Clone, Copy)]
struct Structure {
    /// FINESS of the site, nine digits.
    finess: &'static str,
    name: &'static str,
    /// TRE_R02.
    sector: &'static str,
}

/// As the certificates `org-psc`, `org-hopital` and `org-samu` name them.
const HEALTH_CENTRE: Structure = Structure { finess: "750000036", name: "CENTRE DE SANTE", sector: "SA05" };
const HOSPITAL: Structure = Structure { finess: "750000010", name: "HOPITAL DE DEMONSTRATION", sector: "SA01" };
const SAMU: Structure = Structure { finess: "750000028", name: "SAMU DE DEMONSTRATION", sector: "SA01" };

/// One profession that someone exercises, with one activity for each structure.
#[derive(Clone, Copy)]
struct Exercise {
    /// TRE_G15.
    profession: &'static str,
    /// TRE_R09: C civil, E student.
    category: &'static str,
    /// TRE_R01, or empty.
    know_how: &'static str,
    /// TRE_G05, of a pharmacist.
    section: &'static str,
    structures: &'static [Structure],
}

const DOCTOR: Exercise =
    Exercise { profession: "10", category: "C", know_how: "SM26", section: "", structures: &[HEALTH_CENTRE] };
const NURSE: Exercise = Exercise { profession: "60", know_how: "", ..DOCTOR };
const PHARMACIST: Exercise = Exercise { profession: "21", know_how: "", section: "A", ..DOCTOR };
const STUDENT: Exercise = Exercise { category: "E", know_how: "", structures: &[], ..DOCTOR };

#[derive(Clone, Copy)]
struct Person {
    user_name: &'static str,
    name_id: &'static str,
    civility: &'static str,
    given: &'static str,
    family: &'static str,
    regulates: bool,
}

/// All of them, in a fixed order.
pub fn professionals() -> Vec<Professional> {
    let woman = |user_name, name_id, given, family| Person {
        user_name,
        name_id,
        civility: "MME",
        given,
        family,
        regulates: false,
    };
    let man = |user_name, name_id, given, family| Person {
        civility: "M",
        ..woman(user_name, name_id, given, family)
    };
    vec![
        woman("claire.bernard", "810100000016", "CLAIRE", "BERNARD").with(&[DOCTOR]),
        man("marc.leroy", "810100000040", "MARC", "LEROY").with(&[NURSE]),
        woman("ines.roux", "810100000057", "INES", "ROUX").with(&[PHARMACIST]),
        // Two professions: 10C and 21C. Only the caller can tell which one acts.
        woman("odile.double", "810100000149", "ODILE", "DOUBLE")
            .with(&[Exercise { know_how: "SM54", ..DOCTOR }, Exercise { section: "D", ..PHARMACIST }]),
        // One profession in two structures.
        man("denis.deuxsites", "810100000156", "DENIS", "DEUXSITES")
            .with(&[Exercise { structures: &[HEALTH_CENTRE, HOSPITAL], ..DOCTOR }]),
        // The same exercise twice, word for word: one exercise.
        woman("rose.doublon", "810100000164", "ROSE", "DOUBLON").with(&[DOCTOR, DOCTOR]),
        // In training: no activity, hence no structure.
        woman("emma.faure", "810100000107", "EMMA", "FAURE").with(&[STUDENT]),
        Person { regulates: true, ..man("yann.lambert", "810100000099", "YANN", "LAMBERT") }
            .with(&[Exercise { know_how: "SM59", structures: &[SAMU], ..DOCTOR }]),
        // An editor's test account: all is well with it but its identifier, which is no national one.
        man("ANS20261122000001", "ANS20261122000001", "EDGAR", "EDITEUR").with(&[DOCTOR]),
    ]
}

impl Person {
    /// With the professions that the person exercises.
    fn with(self, exercises: &[Exercise]) -> Professional {
        let mut roles: Vec<String> = Vec::new();
        for exercise in exercises {
            let role = format!("{}^1.2.250.1.213.1.1.5.5", exercise.profession);
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        let first = exercises.first().and_then(|exercise| exercise.structures.first());
        let origin = if self.name_id.starts_with('8') { "RPPS" } else { "EDIT" };
        let exercises: Vec<Value> = exercises.iter().map(|exercise| self.exercise(exercise)).collect();
        let user_info = json!({
            "sub": subject(self.user_name),
            "SubjectNameID": self.name_id,
            "preferred_username": self.name_id,
            "given_name": self.given,
            "family_name": self.family,
            "email_verified": false,
            "otherIds": [{ "identifiant": self.name_id, "origine": origin, "qualite": 1 }],
            "SubjectRole": roles,
            "SubjectOrganization": first.map_or("", |structure| structure.name),
            "SubjectOrganizationID": first.map_or_else(String::new, Structure::technical_id),
            "Secteur_Activite":
                first.map_or_else(String::new, |at| format!("{}^1.2.250.1.71.4.2.4", at.sector)),
            "Mode_Acces_Raison": "",
            "Acces_Regulation_Medicale": if self.regulates { "VRAI" } else { "FAUX" },
            "Palier_Authentification": "APPPRIP3^1.2.250.1.213.1.5.1.1.1",
            "PSI_Locale": "1.2.250.1.213.1.3.1.1",
            "UITVersion": "1.0",
            "SubjectRefPro": { "codeCivilite": self.civility, "exercices": exercises },
        });
        Professional { user_name: self.user_name, name_id: self.name_id, user_info }
    }

    fn exercise(&self, exercise: &Exercise) -> Value {
        let titled = exercise.profession == "10" && exercise.category == "C";
        let activities: Vec<Value> =
            exercise.structures.iter().map(|structure| exercise.activity(structure)).collect();
        json!({
            "codeProfession": exercise.profession,
            "codeCategorieProfessionnelle": exercise.category,
            "codeCiviliteDexercice": if titled { "DR" } else { "" },
            "nomDexercice": self.family,
            "prenomDexercice": self.given,
            "codeTypeSavoirFaire": if exercise.know_how.is_empty() { "" } else { "S" },
            "codeSavoirFaire": exercise.know_how,
            "activities": activities,
        })
    }
}

impl Structure {
    /// `identifiantTechniqueDeLaStructure`.
    fn technical_id(&self) -> String {
        format!("F{}", self.finess)
    }

    /// Struct_IdNat: `1` and the FINESS.
    fn national_id(&self) -> String {
        format!("1{}", self.finess)
    }
}

/// The fields of an activity; those without a value here are empty.
const ACTIVITY_FIELDS: [&str; 30] = [
    "codeModeExercice",
    "codeSecteurDactivite",
    "codeSectionPharmacien",
    "codeRole",
    "codeGenreActivite",
    "numeroSiretSite",
    "numeroSirenSite",
    "numeroFinessSite",
    "numeroFinessetablissementJuridique",
    "identifiantTechniqueDeLaStructure",
    "ancienIdentifiantDeLaStructure",
    "raisonSocialeSite",
    "enseigneCommercialeSite",
    "complementDestinataire",
    "complementPointGeographique",
    "numeroVoie",
    "indiceRepetitionVoie",
    "codeTypeDeVoie",
    "libelleVoie",
    "mentionDistribution",
    "bureauCedex",
    "codePostal",
    "codeCommune",
    "codeDepartement",
    "codePays",
    "telephone",
    "telephone2",
    "telecopie",
    "adresseEMail",
    "autoriteDenregistrement",
];

impl Exercise {
    fn activity(&self, structure: &Structure) -> Value {
        let value = |field: &str| match field {
            // Salaried.
            "codeModeExercice" => "S".to_owned(),
            "codeSecteurDactivite" => structure.sector.to_owned(),
            "codeSectionPharmacien" => self.section.to_owned(),
            "codeGenreActivite" => "GENR01".to_owned(),
            "numeroFinessSite" => structure.finess.to_owned(),
            "identifiantTechniqueDeLaStructure" => structure.technical_id(),
            "ancienIdentifiantDeLaStructure" => structure.national_id(),
            "raisonSocialeSite" => structure.name.to_owned(),
            "codeDepartement" => "75".to_owned(),
            "autoriteDenregistrement" => {
                let order = match self.profession {
                    "21" => "CNOP",
                    "60" => "CNOI",
                    _ => "CNOM",
                };
                format!("{order}/{order}/ARS")
            }
            _ => String::new(),
        };
        ACTIVITY_FIELDS.iter().map(|&field| (field, value(field))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::identity::identifiers::IdentifierChecks;

    fn has_null(value: &Value) -> bool {
        match value {
            Value::Null => true,
            Value::Array(items) => items.iter().any(has_null),
            Value::Object(fields) => fields.values().any(has_null),
            _ => false,
        }
    }

    fn of(user_name: &str) -> Value {
        let found = professionals().into_iter().find(|professional| professional.user_name == user_name);
        found.unwrap().user_info
    }

    #[test]
    fn identifiers_are_national_but_the_editors() {
        let professionals = professionals();
        let logins: HashSet<_> = professionals.iter().flat_map(|one| [one.user_name, one.name_id]).collect();
        assert_eq!(logins.len(), 2 * professionals.len() - 1, "each login names one");
        for professional in professionals {
            let editor = professional.name_id == "ANS20261122000001";
            assert_eq!(
                IdentifierChecks::STRICT.is_professional_id(professional.name_id),
                !editor,
                "{}",
                professional.name_id
            );
            assert_eq!(professional.user_info["SubjectNameID"], professional.name_id);
            assert_eq!(professional.user_info["sub"], subject(professional.user_name));
            assert!(!has_null(&professional.user_info), "{}", professional.user_name);
        }
    }

    #[test]
    fn activities_name_their_structure() {
        for professional in professionals() {
            for exercise in professional.user_info["SubjectRefPro"]["exercices"].as_array().unwrap() {
                for activity in exercise["activities"].as_array().unwrap() {
                    let id = activity["ancienIdentifiantDeLaStructure"].as_str().unwrap();
                    assert!(IdentifierChecks::STRICT.is_structure_id(id), "{id}");
                    assert!(activity.as_object().unwrap().values().all(Value::is_string));
                }
            }
        }
    }

    #[test]
    fn the_cases_that_the_stand_in_is_for() {
        let exercises = |user_name| of(user_name)["SubjectRefPro"]["exercices"].as_array().unwrap().clone();
        let two = exercises("odile.double");
        assert_eq!([&two[0]["codeProfession"], &two[1]["codeProfession"]], ["10", "21"]);
        assert_eq!(two.len(), 2);
        assert_eq!(exercises("denis.deuxsites")[0]["activities"].as_array().unwrap().len(), 2);
        let duplicate = exercises("rose.doublon");
        assert_eq!(duplicate.len(), 2);
        assert_eq!(duplicate[0], duplicate[1]);
        let student = exercises("emma.faure");
        assert_eq!(student[0]["codeCategorieProfessionnelle"], "E");
        assert_eq!(student[0]["activities"], json!([]));
        assert_eq!(of("emma.faure")["SubjectOrganization"], "");
        assert_eq!(of("yann.lambert")["Acces_Regulation_Medicale"], "VRAI");
        assert_eq!(of("claire.bernard")["Acces_Regulation_Medicale"], "FAUX");
    }
}
