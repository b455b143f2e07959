//! Example documents of our own: a small CDA, and the feeds that carry it. They satisfy the profiles in strict mode.

#![expect(clippy::indexing_slicing, reason = "keys of JSON values that this module builds itself")]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::fhir::codes::system;
use crate::fhir::submission_set::{DESIGNATION_TYPE, SOURCE_ID};

/// Content types of JDV_J59 for an act of care.
const CONTENT_TYPES: &str = "https://mos.esante.gouv.fr/NOS/TRE_R209-TypeActivite/FHIR/TRE-R209-TypeActivite";

/// An example document.
#[derive(Clone, Debug)]
pub struct Example<'a> {
    /// System of the INS.
    pub ins_system: &'a str,
    /// Value of the INS.
    pub ins: &'a str,
    /// Family name of the patient.
    pub family: &'a str,
    /// Unique id, an OID.
    pub unique_id: &'a str,
    /// PS_IdNat of the author.
    pub author: &'a str,
    /// Struct_IdNat of the custodian.
    pub custodian: &'a str,
    /// JDV_J66.
    pub type_code: &'a str,
    /// JDV_J57.
    pub class_code: &'a str,
    /// Visibility.
    pub labels: &'a [&'a str],
    /// Unique id of the document that this one replaces.
    pub replaces: Option<&'a str>,
    /// Bytes of text in the CDA's body, about.
    pub size: usize,
}

impl<'a> Example<'a> {
    /// A report of a consultation by `cps-medecin`.
    pub fn new(ins_system: &'a str, ins: &'a str, family: &'a str, unique_id: &'a str) -> Self {
        Self {
            ins_system,
            ins,
            family,
            unique_id,
            author: "810100000016",
            custodian: "1750000101",
            type_code: "11488-4",
            class_code: "10",
            labels: &["N"],
            replaces: None,
            size: 200,
        }
    }

    /// The CDA document.
    pub fn cda(&self) -> String {
        let root = self.ins_system.trim_start_matches("urn:oid:");
        let sentence = "Consultation de suivi. Examen clinique sans particularité. ";
        let text = sentence.repeat(self.size.div_ceil(sentence.len()).max(1));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <ClinicalDocument xmlns=\"urn:hl7-org:v3\">\n\
             <realmCode code=\"FR\"/>\n\
             <typeId root=\"2.16.840.1.113883.1.3\" extension=\"POCD_HD000040\"/>\n\
             <templateId root=\"2.16.840.1.113883.2.8.2.1\"/>\n\
             <templateId root=\"1.2.250.1.213.1.1.1.1\"/>\n\
             <id root=\"{unique_id}\"/>\n\
             <code code=\"{type_code}\" codeSystem=\"2.16.840.1.113883.6.1\"/>\n\
             <title>Compte rendu de consultation</title>\n\
             <effectiveTime value=\"20260612100000+0200\"/>\n\
             <confidentialityCode code=\"N\" codeSystem=\"2.16.840.1.113883.5.25\"/>\n\
             <languageCode code=\"fr-FR\"/>\n\
             <recordTarget><patientRole><id root=\"{root}\" extension=\"{ins}\"/>\
             <patient><name><family qualifier=\"BR\">{family}</family></name></patient></patientRole></recordTarget>\n\
             <author><time value=\"20260612100000+0200\"/><assignedAuthor>\
             <id root=\"1.2.250.1.71.4.2.1\" extension=\"{author}\"/></assignedAuthor></author>\n\
             <component><structuredBody><component><section><text>{text}</text></section></component></structuredBody></component>\n\
             </ClinicalDocument>\n",
            unique_id = self.unique_id,
            type_code = self.type_code,
            ins = self.ins,
            family = self.family,
            author = self.author,
        )
    }

    /// The DocumentReference, without its attachment's `url` or `data`.
    pub fn document_reference(&self, bytes: &[u8]) -> Value {
        let nos = |name: &str| format!("https://mos.esante.gouv.fr/NOS/{name}/FHIR/{}", name.replace('_', "-"));
        let labels: Vec<Value> = self
            .labels
            .iter()
            .map(|code| {
                let table = if *code == "N" {
                    "TRE_A08-HL7Confidentiality"
                } else {
                    "TRE_A07-StatutVisibiliteDocument"
                };
                json!({ "coding": [{ "system": nos(table), "code": code }] })
            })
            .collect();
        let mut resource = json!({
            "resourceType": "DocumentReference",
            "meta": { "profile": ["https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-comprehensive-document-reference"] },
            "contained": [
                {
                    "resourceType": "Patient", "id": "patient",
                    "identifier": [{ "use": "official", "system": self.ins_system, "value": self.ins }],
                },
                {
                    "resourceType": "PractitionerRole", "id": "auteur",
                    "identifier": [{ "system": system::PROFESSIONAL, "value": self.author }],
                },
            ],
            "masterIdentifier": { "system": system::URI, "value": format!("urn:oid:{}", self.unique_id) },
            "identifier": [{ "system": system::URI, "value": format!("urn:oid:{}.1", self.unique_id) }],
            "status": "current",
            "type": { "coding": [{ "system": "http://loinc.org", "code": self.type_code }] },
            "category": [{ "coding": [{ "system": nos("TRE_A03-ClasseDocument"), "code": self.class_code }] }],
            "subject": { "reference": format!("Patient?identifier={}|{}", self.ins_system, self.ins) },
            "date": "2026-06-12T10:00:00+02:00",
            "author": [{ "reference": "#auteur" }],
            "authenticator": { "reference": "#auteur" },
            "custodian": { "identifier": { "system": system::STRUCTURE, "value": self.custodian } },
            "securityLabel": labels,
            "content": [{
                "attachment": {
                    "contentType": "text/xml",
                    "language": "fr-FR",
                    "size": bytes.len(),
                    "hash": BASE64.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref()),
                    "title": "Compte rendu de consultation",
                    "creation": "2026-06-12T10:00:00+02:00",
                },
                "format": { "system": nos("TRE_A06-FormatCodeComplementaire"), "code": "urn:ihe:iti:xds-sd:text:2008" },
            }],
            "context": {
                "period": { "start": "2026-06-12T09:30:00+02:00", "end": "2026-06-12T10:00:00+02:00" },
                "facilityType": { "coding": [{ "system": nos("TRE_R02-SecteurActivite"), "code": "SA07" }] },
                "practiceSetting": { "coding": [{ "system": nos("TRE_A01-CadreExercice"), "code": "AMBULATOIRE" }] },
                "sourcePatientInfo": { "reference": "#patient" },
            },
        });
        if let Some(replaced) = self.replaces {
            let identifier = json!({ "system": system::URI, "value": format!("urn:oid:{replaced}") });
            resource["relatesTo"] = json!([{ "code": "replaces", "target": { "identifier": identifier } }]);
        }
        resource
    }

    /// The feed as a transaction (ITI-65).
    pub fn transaction(&self) -> String {
        let bytes = self.cda().into_bytes();
        self.transaction_of(self.document_reference(&bytes), &bytes)
    }

    /// A transaction of a given DocumentReference and bytes.
    pub fn transaction_of(&self, mut document: Value, bytes: &[u8]) -> String {
        let content_type = document["content"][0]["attachment"]["contentType"].clone();
        document["content"][0]["attachment"]["url"] = "urn:uuid:00000000-0000-4000-8000-000000000003".into();
        let list = json!({
            "resourceType": "List",
            "meta": { "profile": ["https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-submissionset-comprehensive"] },
            "contained": [{
                "resourceType": "PractitionerRole", "id": "source",
                "identifier": [{ "system": system::PROFESSIONAL, "value": self.author }],
            }],
            "extension": [
                { "url": DESIGNATION_TYPE, "valueCodeableConcept": { "coding": [{ "system": CONTENT_TYPES, "code": "07" }] } },
                { "url": SOURCE_ID, "valueIdentifier": { "system": system::URI, "value": "urn:oid:1.2.250.1.213.9.9" } },
            ],
            "identifier": [{ "use": "usual", "system": system::URI, "value": format!("urn:oid:{}.2", self.unique_id) }],
            "status": "current",
            "mode": "working",
            "code": { "coding": [{ "system": system::LIST_TYPE, "code": "submissionset" }] },
            "subject": { "reference": format!("Patient?identifier={}|{}", self.ins_system, self.ins) },
            "date": "2026-06-12T10:05:00+02:00",
            "source": { "reference": "#source" },
            "entry": [{ "item": { "reference": "urn:uuid:00000000-0000-4000-8000-000000000002" } }],
        });
        let entry = |number: u8, resource: Value| {
            let kind = resource["resourceType"].clone();
            json!({
                "fullUrl": format!("urn:uuid:00000000-0000-4000-8000-00000000000{number}"),
                "resource": resource,
                "request": { "method": "POST", "url": kind },
            })
        };
        let binary =
            json!({ "resourceType": "Binary", "contentType": content_type, "data": BASE64.encode(bytes) });
        json!({
            "resourceType": "Bundle",
            "meta": { "profile": ["https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-comprehensive-provide-document-bundle"] },
            "type": "transaction",
            "entry": [entry(1, list), entry(2, document), entry(3, binary)],
        })
        .to_string()
    }

    /// The feed of a document alone (ITI-105).
    pub fn single(&self) -> String {
        let bytes = self.cda().into_bytes();
        let mut document = self.document_reference(&bytes);
        document["content"][0]["attachment"]["data"] = BASE64.encode(&bytes).into();
        document.to_string()
    }
}

/// The authorisation that a professional declares (TD0.3).
pub fn consent(ins_system: &str, ins: &str) -> String {
    json!({
        "resourceType": "Consent",
        "status": "active",
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
        "category": [{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }],
        "patient": { "identifier": { "system": ins_system, "value": ins } },
        "provision": { "type": "permit" },
    })
    .to_string()
}

/// The unique id of the example that the greeting feeds.
pub const UNIQUE_ID: &str = "2.25.290138847731029406441200213554896014337";

/// Writes the examples that the greeting names.
///
/// # Errors
/// The file system's.
pub fn write(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    const TEST: &str = "urn:oid:1.2.250.1.213.1.4.10";
    const INS: &str = "279035121518989";
    let example = Example::new(TEST, INS, "PAT-TROIS", UNIQUE_ID);
    let single_id = format!("{UNIQUE_ID}.105");
    let single = Example { unique_id: &single_id, ..example.clone() };
    for (name, text) in [
        ("alimentation.json", example.transaction()),
        ("alimentation-simple.json", single.single()),
        ("autorisation.json", consent(TEST, INS)),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
