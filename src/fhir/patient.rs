//! `Patient` as TD0.2 answers it: that a record exists, and whether it is open.

use serde_json::json;

use super::codes::system;
use super::elements::to_instant;
use super::json::to_json;

const CLOSURE: &str = "https://interop.esante.gouv.fr/ig/fhir/dmp/StructureDefinition/dmp-fermeture";
const CLOSURE_REASON: &str = "https://interop.esante.gouv.fr/ig/fhir/dmp/CodeSystem/dmp-motif-fermeture";
const MON_ESPACE_SANTE: &str =
    "https://interop.esante.gouv.fr/ig/fhir/dmp/StructureDefinition/dmp-rattachement-mes";

/// What TD0.2 tells of a record. The identity traits are not told to who only tests existence (EX_0.2-1020).
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
}

impl RecordSummary {
    /// The resource.
    pub fn to_text(&self) -> String {
        let mut extensions = vec![json!({ "url": MON_ESPACE_SANTE, "valueBoolean": self.mon_espace_sante })];
        if !self.open {
            let mut parts = Vec::new();
            if let Some(date) = self.closed_at.map(to_instant).and_then(|at| at.get(..10).map(str::to_owned)) {
                parts.push(json!({ "url": "dateFermeture", "valueDate": date }));
            }
            if let Some(code) = &self.closing_reason {
                let concept = json!({ "coding": [{ "system": CLOSURE_REASON, "code": code }] });
                parts.push(json!({ "url": "motifFermeture", "valueCodeableConcept": concept }));
            }
            extensions.push(json!({ "url": CLOSURE, "extension": parts }));
        }
        to_json(&json!({
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
        }))
    }
}

fn ins_type(ins_system: &str) -> &'static str {
    use crate::identity::identifiers::ins_system as known;
    match ins_system {
        known::TEST => "INS-NIR-TEST",
        known::DEMONSTRATION => "INS-NIR-DEMO",
        _ => "INS-NIR",
    }
}
