//! `Patient`: that a record exists (TD0.2), how it stands towards the caller, and who the patient is (TD0.5, TD1.3a).

use serde_json::{Value, json};

use super::codes::system;
use super::elements::to_instant;
use super::json::{set, to_json};
use crate::rights::{Authorisation, Relation};

const DMP: &str = "https://interop.esante.gouv.fr/ig/fhir/dmp/StructureDefinition/";
const CLOSURE_REASON: &str = "https://interop.esante.gouv.fr/ig/fhir/dmp/CodeSystem/dmp-motif-fermeture";

/// A record and its holder. What of it is told depends on the form that is asked for.
#[derive(Clone, Debug)]
pub struct RecordSummary {
    /// Our identifier.
    pub id: String,
    /// System of the INS.
    pub ins_system: String,
    /// Value of the INS.
    pub ins_value: String,
    /// Whether the record is open.
    pub open: bool,
    /// When it was closed, microseconds.
    pub closed_at: Option<i64>,
    /// Code of the reason for closing.
    pub closing_reason: Option<String>,
    /// Attached to Mon espace santé.
    pub mon_espace_sante: bool,
    /// Birth name.
    pub family_name: String,
    /// Given names.
    pub given_name: String,
    /// ISO date.
    pub birth_date: String,
    /// `male`, `female`, `unknown`.
    pub gender: String,
    /// FHIR elements telecom, address, contact, as a JSON object.
    pub administrative: String,
    /// R1111-47.
    pub opposed_to_feeding: bool,
    /// L1111-17 I.
    pub opposed_to_bris_de_glace: bool,
    /// L1111-17 I.
    pub opposed_to_centre_15: bool,
    /// Opt-in.
    pub masked_open_in_emergencies: bool,
    /// Every document is masked.
    pub all_masked: bool,
    /// Rises with each change that the patient's side makes.
    pub version: i64,
}

/// How a record stands towards the caller (TD0.2): the four states of the test book.
pub const fn authorisation_code(authorisation: Authorisation) -> &'static str {
    match authorisation {
        Authorisation::Valid => "VALIDE",
        Authorisation::Expired => "EXPIRE",
        Authorisation::Blocked => "INTERDIT",
        Authorisation::None => "NON_EXISTE",
    }
}

impl RecordSummary {
    /// TD0.2: existence, traits, and how the record stands towards the caller. Software does not show the traits unasked
    /// (EX_0.2-1020).
    pub fn existence(&self, towards: Option<(Authorisation, Relation)>) -> String {
        let mut extensions = self.extensions();
        if let Some((authorisation, relation)) = towards {
            let treating = relation == Relation::MedecinTraitant;
            extensions.push(json!({ "url": url("dmp-medecin-traitant"), "valueBoolean": treating }));
            let state = authorisation_code(authorisation);
            extensions.push(json!({ "url": url("dmp-autorisation"), "valueCode": state }));
        }
        to_json(&self.resource(extensions))
    }

    /// TD0.5: who was found.
    pub fn traits(&self) -> String {
        to_json(&self.resource(self.extensions()))
    }

    /// TD1.3a: identity, contacts, representatives, and the two oppositions that a professional must know of.
    pub fn administrative(&self) -> String {
        let mut extensions = self.extensions();
        for (name, value) in [
            ("dmp-opposition-bris-de-glace", self.opposed_to_bris_de_glace),
            ("dmp-opposition-acces-urgence", self.opposed_to_centre_15),
        ] {
            extensions.push(json!({ "url": url(name), "valueBoolean": value }));
        }
        let mut resource = self.resource(extensions);
        let kept: serde_json::Map<String, Value> =
            serde_json::from_str(&self.administrative).unwrap_or_default();
        for element in ["telecom", "address", "contact"] {
            if let Some(value) = kept.get(element) {
                set(&mut resource, element, value.clone());
            }
        }
        to_json(&resource)
    }

    fn extensions(&self) -> Vec<Value> {
        let attached = json!({ "url": url("dmp-rattachement-mes"), "valueBoolean": self.mon_espace_sante });
        let mut extensions = vec![attached];
        if !self.open {
            let mut parts = Vec::new();
            if let Some(date) = self.closed_at.map(to_instant).and_then(|at| at.get(..10).map(str::to_owned)) {
                parts.push(json!({ "url": "dateFermeture", "valueDate": date }));
            }
            if let Some(code) = &self.closing_reason {
                let concept = json!({ "coding": [{ "system": CLOSURE_REASON, "code": code }] });
                parts.push(json!({ "url": "motifFermeture", "valueCodeableConcept": concept }));
            }
            extensions.push(json!({ "url": url("dmp-fermeture"), "extension": parts }));
        }
        extensions
    }

    fn resource(&self, extensions: Vec<Value>) -> Value {
        let mut resource = json!({
            "resourceType": "Patient",
            "id": self.id,
            "extension": extensions,
            "identifier": [{
                "use": "official",
                "type": { "coding": [{ "system": system::IDENTIFIER_TYPE, "code": ins_type(&self.ins_system) }] },
                "system": self.ins_system,
                "value": self.ins_value,
            }],
            "active": self.open,
        });
        let mut name = json!({ "use": "official" });
        if !self.family_name.is_empty() {
            set(&mut name, "family", self.family_name.as_str());
        }
        if !self.given_name.is_empty() {
            set(&mut name, "given", json!([self.given_name]));
        }
        set(&mut resource, "name", json!([name]));
        set(&mut resource, "gender", self.gender.as_str());
        if !self.birth_date.is_empty() {
            set(&mut resource, "birthDate", self.birth_date.as_str());
        }
        resource
    }
}

fn url(name: &str) -> String {
    format!("{DMP}{name}")
}

fn ins_type(ins_system: &str) -> &'static str {
    use crate::identity::identifiers::ins_system as known;
    match ins_system {
        known::TEST => "INS-NIR-TEST",
        known::DEMONSTRATION => "INS-NIR-DEMO",
        _ => "INS-NIR",
    }
}
