//! What software gets of an imaging manifest (KOS) that it cannot show: a CDA document of plain text (homologation 3.2-800).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use quick_xml::escape::escape;

/// What is told of an examination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examination<'a> {
    /// `id` of the notice, an OID.
    pub id: &'a str,
    /// LOINC or DMP code of the manifest's type, and its name.
    pub r#type: (&'a str, &'a str),
    /// Title of the manifest.
    pub title: &'a str,
    /// Day of the examination, `YYYY-MM-DD` or longer; empty where it is not said.
    pub date: &'a str,
    /// OID and value of the INS.
    pub ins: (&'a str, &'a str),
    /// Modalities (DICOM): names.
    pub modalities: Vec<&'a str>,
    /// Regions of the body and acts: names.
    pub regions: Vec<&'a str>,
}

/// Writes the notice.
pub fn imaging_notice(examination: &Examination<'_>) -> String {
    let listed = |names: &[&str]| if names.is_empty() { "non précisé".to_owned() } else { names.join(", ") };
    let date = examination.date.get(..10).unwrap_or(examination.date);
    let text = format!(
        "AVERTISSEMENT : ce document est le manifeste d'un examen d'imagerie (DICOM, KOS), que votre logiciel ne sait pas afficher.\n\
         Les images et le compte rendu de l'examen se consultent avec un logiciel qui accepte « application/dicom ».\n\n\
         Examen : {}\nDate : {}\nModalité : {}\nRégion anatomique : {}\n",
        examination.title,
        if date.is_empty() { "non précisée" } else { date },
        listed(&examination.modalities),
        listed(&examination.regions),
    );
    let mut xml = String::from(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><realmCode code="FR"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/><templateId root="2.16.840.1.113883.2.8.2.1"/><templateId root="1.2.250.1.213.1.1.1.1"/>"#,
    );
    // A `String` takes all that is written to it.
    let _ = writeln!(
        xml,
        r#"<id root="{}"/><code code="{}" displayName="{}"/><title>{}</title><effectiveTime value="{}"/><confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/><languageCode code="fr-FR"/><recordTarget><patientRole><id root="{}" extension="{}"/></patientRole></recordTarget><component><nonXMLBody><text mediaType="text/plain" representation="B64">{}</text></nonXMLBody></component></ClinicalDocument>"#,
        escape(examination.id),
        escape(examination.r#type.0),
        escape(examination.r#type.1),
        escape(examination.title),
        escape(date.replace('-', "")),
        escape(examination.ins.0),
        escape(examination.ins.1),
        BASE64.encode(text),
    );
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cda::Header;

    #[test]
    fn the_notice_is_a_document_of_plain_text() {
        let examination = Examination {
            id: "2.25.1",
            r#type: ("IMG-KOS", "Références d'objets d'un examen d'imagerie"),
            title: "IRM <genou>",
            date: "2026-11-20T10:00:00Z",
            ins: ("1.2.250.1.213.1.4.10", "279035121518989"),
            modalities: vec!["MR"],
            regions: vec!["Genou", "Gauche"],
        };
        let header = Header::read(imaging_notice(&examination).as_bytes()).unwrap();
        assert_eq!(header.type_code.as_deref(), Some("IMG-KOS"));
        let body = header.body.unwrap();
        let text = String::from_utf8(body.bytes).unwrap();
        for told in [
            "AVERTISSEMENT",
            "IRM <genou>",
            "Date : 2026-11-20\n",
            "Modalité : MR\n",
            "Région anatomique : Genou, Gauche\n",
        ] {
            assert!(text.contains(told), "{text}");
        }
        let least = Header::read(imaging_notice(&Examination::default()).as_bytes()).unwrap();
        assert!(String::from_utf8(least.body.unwrap().bytes).unwrap().contains("Modalité : non précisé\n"));
    }
}
