//! The vaccination history of a record (CI-SIS, VAC 2023.01; LOINC 11369-6), which the server writes from the notes (homologation 2.1-710,
//! 3.2-550).

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::metadata::{Code, Person};
use super::vaccination::Vaccination;

/// What its header says.
#[derive(Clone, Debug)]
pub struct Head<'a> {
    /// `id`, an OID.
    pub id: &'a str,
    /// `setId`, an OID: the same in all versions.
    pub set_id: &'a str,
    /// `versionNumber`.
    pub version: usize,
    /// The `id` of the version that it replaces.
    pub replaces: Option<&'a str>,
    /// When it is made, a `TS` of HL7 v3.
    pub at: &'a str,
    /// OID and value of the INS.
    pub ins: (&'a str, &'a str),
    /// Birth name.
    pub family: &'a str,
    /// Given name.
    pub given: &'a str,
    /// `male`, `female` or another.
    pub gender: &'a str,
    /// ISO date.
    pub birth_date: &'a str,
}

/// Whom the published example of the model names as custodian: the Assurance Maladie, which keeps the DMP (R1111-41). System, Struct_IdNat,
/// name.
pub const KEEPER: (&str, &str, &str) = ("1.2.250.1.71.4.2.2", "318003502400041", "Assurance Maladie");

/// Writes the history, one entry per vaccination, in the order given.
pub fn vaccination_history(head: &Head<'_>, vaccinations: &[Vaccination]) -> String {
    let mut xml = String::with_capacity(4096 + 4096 * vaccinations.len());
    header(&mut xml, head);
    xml.push_str(SECTION);
    for (number, vaccination) in vaccinations.iter().enumerate() {
        row(&mut xml, number + 1, vaccination);
    }
    xml.push_str("</tbody></table></text>");
    for (number, vaccination) in vaccinations.iter().enumerate() {
        entry(&mut xml, number + 1, vaccination);
    }
    xml.push_str("</section></component></structuredBody></component></ClinicalDocument>\n");
    xml
}

/// What cannot fail: a `String` takes all that is written to it.
macro_rules! put {
    ($xml:expr, $($rest:tt)*) => { let _ = write!($xml, $($rest)*); };
}

fn header(xml: &mut String, head: &Head<'_>) {
    let (root, extension, keeper) = KEEPER;
    let gender = match head.gender {
        "male" => r#"code="M" displayName="Masculin" codeSystem="2.16.840.1.113883.5.1""#,
        "female" => r#"code="F" displayName="Féminin" codeSystem="2.16.840.1.113883.5.1""#,
        _ => r#"nullFlavor="UNK""#,
    };
    put!(
        xml,
        r#"<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><realmCode code="FR"/><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/><templateId root="2.16.840.1.113883.2.8.2.1"/><templateId root="1.2.250.1.213.1.1.1.1"/><templateId root="1.3.6.1.4.1.19376.1.5.3.1.1.18.1.2"/><templateId root="1.2.250.1.213.1.1.1.37" extension="2023.01"/><id root="{id}"/><code code="11369-6" displayName="Historique des vaccinations" codeSystem="2.16.840.1.113883.6.1" codeSystemName="LOINC"/><title>Historique des vaccinations</title><effectiveTime value="{at}"/><confidentialityCode code="N" displayName="Normal" codeSystem="2.16.840.1.113883.5.25" codeSystemName="Confidentiality"/><languageCode code="fr-FR"/><setId root="{set_id}"/><versionNumber value="{version}"/>"#,
        id = escape(head.id),
        at = escape(head.at),
        set_id = escape(head.set_id),
        version = head.version,
    );
    put!(
        xml,
        r#"<recordTarget><patientRole><id root="{}" extension="{}"/><addr nullFlavor="NASK"/><telecom nullFlavor="NASK"/><patient classCode="PSN"><name><family qualifier="BR">{}</family><given>{}</given></name><administrativeGenderCode {gender}/><birthTime value="{}"/></patient></patientRole></recordTarget>"#,
        escape(head.ins.0),
        escape(head.ins.1),
        escape(head.family),
        escape(head.given),
        escape(head.birth_date.replace('-', "")),
    );
    put!(
        xml,
        r#"<author><time value="{at}"/><assignedAuthor><id root="{root}" extension="{extension}"/><assignedAuthoringDevice><manufacturerModelName>DMP</manufacturerModelName><softwareName>Historique des vaccinations</softwareName></assignedAuthoringDevice><representedOrganization><id root="{root}" extension="{extension}"/><name>{keeper}</name></representedOrganization></assignedAuthor></author><custodian><assignedCustodian><representedCustodianOrganization><id root="{root}" extension="{extension}"/><name>{keeper}</name></representedCustodianOrganization></assignedCustodian></custodian><legalAuthenticator><time value="{at}"/><signatureCode code="S"/><assignedEntity><id root="{root}" extension="{extension}"/><assignedPerson><name><family>{keeper}</family></name></assignedPerson><representedOrganization><id root="{root}" extension="{extension}"/><name>{keeper}</name></representedOrganization></assignedEntity></legalAuthenticator><documentationOf><serviceEvent classCode="ACT"><code code="11369-6" displayName="Historique des vaccinations" codeSystem="2.16.840.1.113883.6.1" codeSystemName="LOINC"/><effectiveTime><low value="{at}"/></effectiveTime><performer typeCode="PRF"><assignedEntity><id nullFlavor="NA"/><representedOrganization><standardIndustryClassCode code="AMO" displayName="Organisme d'assurance maladie obligatoire" codeSystem="1.2.250.1.213.1.1.4.9"/></representedOrganization></assignedEntity></performer></serviceEvent></documentationOf>"#,
        at = escape(head.at),
    );
    if let Some(replaced) = head.replaces {
        put!(
            xml,
            r#"<relatedDocument typeCode="RPLC"><parentDocument><id root="{}"/></parentDocument></relatedDocument>"#,
            escape(replaced)
        );
    }
    xml.push_str(r#"<componentOf><encompassingEncounter><effectiveTime nullFlavor="NA"/><location><healthCareFacility><code code="SA24" displayName="Organisme de sécurité sociale" codeSystem="1.2.250.1.71.4.2.4"/></healthCareFacility></location></encompassingEncounter></componentOf>"#);
}

const SECTION: &str = r#"<component><structuredBody><component><section><templateId root="2.16.840.1.113883.10.20.1.6"/><templateId root="1.3.6.1.4.1.19376.1.5.3.1.3.23"/><templateId root="1.2.250.1.213.1.1.2.147"/><code code="11369-6" displayName="Historique des vaccinations" codeSystem="2.16.840.1.113883.6.1" codeSystemName="LOINC"/><title>Historique des vaccinations</title><text><table border="0"><thead><tr><th>Date</th><th>Vaccin</th><th>Lot n°</th><th>Rang</th><th>Voie d'administration</th><th>Région d'administration</th><th>Réaction observée</th><th>Commentaire</th><th>Vaccinateur</th></tr></thead><tbody>"#;

/// What is read of a vaccination.
fn row(xml: &mut String, number: usize, vaccination: &Vaccination) {
    let shown = |code: &Option<Code>| code.as_ref().map_or(String::new(), |code| code.display.clone());
    let reactions: Vec<&str> = vaccination.reactions.iter().map(|reaction| reaction.display.as_str()).collect();
    let cells = [
        ("", date(&vaccination.time)),
        ("vaccin", name(vaccination).to_owned()),
        ("", vaccination.lot.clone()),
        ("", vaccination.rank.clone().unwrap_or_default()),
        ("", shown(&vaccination.route)),
        ("region", shown(&vaccination.site)),
        ("reaction", reactions.join(", ")),
        ("commentaire", vaccination.comment.clone()),
        ("", vaccination.performer.as_ref().map(person_name).unwrap_or_default()),
    ];
    xml.push_str("<tr>");
    for (what, text) in cells {
        match what {
            "" => {
                put!(xml, "<td>{}</td>", escape(&text));
            }
            _ => {
                put!(xml, r#"<td><content ID="{what}-{number}">{}</content></td>"#, escape(&text));
            }
        }
    }
    xml.push_str("</tr>");
}

fn name(vaccination: &Vaccination) -> &str {
    match vaccination.vaccine.display.as_str() {
        "" => &vaccination.name,
        display => display,
    }
}

fn person_name(person: &Person) -> String {
    let given = person.given.join(" ");
    [given.as_str(), person.family.as_str()].join(" ").trim().to_owned()
}

/// A `TS` as it is read: day, month or year, as exact as it is.
fn date(time: &str) -> String {
    match (time.get(..4), time.get(4..6), time.get(6..8)) {
        (Some(year), Some(month), Some(day)) => format!("{day}/{month}/{year}"),
        (Some(year), Some(month), None) => format!("{month}/{year}"),
        _ => time.to_owned(),
    }
}

fn entry(xml: &mut String, number: usize, vaccination: &Vaccination) {
    xml.push_str(r#"<entry><substanceAdministration classCode="SBADM" moodCode="EVN" negationInd="false"><templateId root="2.16.840.1.113883.10.20.1.24"/><templateId root="1.3.6.1.4.1.19376.1.5.3.1.4.12"/><templateId root="1.2.250.1.213.1.1.3.45"/>"#);
    put!(xml, r#"<id root="{}"/>"#, escape(&vaccination.id));
    if let Some(act) = &vaccination.act {
        coded(xml, "code", act, "");
    }
    put!(xml, r##"<text><reference value="#vaccin-{number}"/></text><statusCode code="completed"/>"##);
    match vaccination.time.as_str() {
        "" => xml.push_str(r#"<effectiveTime nullFlavor="UNK"/>"#),
        time => {
            put!(xml, r#"<effectiveTime value="{}"/>"#, escape(time));
        }
    }
    if let Some(route) = &vaccination.route {
        coded(xml, "routeCode", route, "");
    }
    if let Some(site) = &vaccination.site {
        let original = format!(r##"<originalText><reference value="#region-{number}"/></originalText>"##);
        coded(xml, "approachSiteCode", site, &original);
    }
    xml.push_str(r#"<consumable typeCode="CSM"><manufacturedProduct><templateId root="2.16.840.1.113883.10.20.1.53"/><templateId root="1.3.6.1.4.1.19376.1.5.3.1.4.7.2"/><templateId root="1.2.250.1.213.1.1.3.43"/><manufacturedMaterial>"#);
    let mut inside = format!(r##"<originalText><reference value="#vaccin-{number}"/></originalText>"##);
    for translation in &vaccination.translations {
        coded(&mut inside, "translation", translation, "");
    }
    coded(xml, "code", &vaccination.vaccine, &inside);
    for (element, text) in [("name", &vaccination.name), ("lotNumberText", &vaccination.lot)] {
        if !text.is_empty() {
            put!(xml, "<{element}>{}</{element}>", escape(text));
        }
    }
    xml.push_str("</manufacturedMaterial></manufacturedProduct></consumable>");
    if let Some(performer) = &vaccination.performer {
        self::performer(xml, performer);
    }
    if let Some(rank) = &vaccination.rank {
        put!(
            xml,
            r#"<entryRelationship typeCode="SUBJ"><observation classCode="OBS" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.1.46"/><templateId root="1.2.250.1.213.1.1.3.82"/><code code="30973-2" displayName="Rang de la vaccination" codeSystem="2.16.840.1.113883.6.1" codeSystemName="LOINC"/><statusCode code="completed"/><value xsi:type="INT" value="{}"/></observation></entryRelationship>"#,
            escape(rank)
        );
    }
    for reaction in &vaccination.reactions {
        xml.push_str(r#"<entryRelationship inversionInd="false" typeCode="CAUS"><observation classCode="OBS" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.1.28"/><templateId root="2.16.840.1.113883.10.20.1.54"/><templateId root="1.3.6.1.4.1.19376.1.5.3.1.4.5"/><templateId root="1.2.250.1.213.1.1.3.37"/><code code="418799008" displayName="symptôme rapporté par le patient ou le répondant" codeSystem="2.16.840.1.113883.6.96" codeSystemName="SNOMED CT"/>"#);
        put!(
            xml,
            r##"<text><reference value="#reaction-{number}"/></text><statusCode code="completed"/><effectiveTime nullFlavor="UNK"/>"##
        );
        coded(xml, "value xsi:type=\"CD\"", reaction, "");
        xml.push_str("</observation></entryRelationship>");
    }
    if !vaccination.comment.is_empty() {
        put!(
            xml,
            r##"<entryRelationship typeCode="SUBJ"><act classCode="ACT" moodCode="EVN"><templateId root="2.16.840.1.113883.10.20.1.40"/><templateId root="1.3.6.1.4.1.19376.1.5.3.1.4.2"/><templateId root="1.2.250.1.213.1.1.3.32"/><code code="48767-8" displayName="Commentaire" codeSystem="2.16.840.1.113883.6.1" codeSystemName="LOINC"/><text><reference value="#commentaire-{number}"/>{}</text><statusCode code="completed"/></act></entryRelationship>"##,
            escape(&vaccination.comment)
        );
    }
    xml.push_str("</substanceAdministration></entry>");
}

/// A coded element; `tag` may bring attributes of its own.
fn coded(xml: &mut String, tag: &str, code: &Code, inside: &str) {
    let element = tag.split(' ').next().unwrap_or(tag);
    match (code.code.as_str(), code.system.as_str()) {
        ("", _) | (_, "") => {
            put!(xml, r#"<{tag} nullFlavor="UNK">"#);
        }
        (value, system) => {
            let (value, system, display) = (escape(value), escape(system), escape(&code.display));
            put!(xml, r#"<{tag} code="{value}" displayName="{display}" codeSystem="{system}">"#);
        }
    }
    put!(xml, "{inside}</{element}>");
}

fn performer(xml: &mut String, person: &Person) {
    xml.push_str(r#"<performer typeCode="PRF"><assignedEntity classCode="ASSIGNED">"#);
    match &person.id {
        Some(id) if !id.root.is_empty() => {
            put!(xml, r#"<id root="{}" extension="{}"/>"#, escape(&id.root), escape(&id.extension));
        }
        _ => xml.push_str(r#"<id nullFlavor="UNK"/>"#),
    }
    xml.push_str("<assignedPerson><name>");
    for given in &person.given {
        put!(xml, "<given>{}</given>", escape(given));
    }
    put!(xml, "<family>{}</family></name></assignedPerson>", escape(&person.family));
    if let Some(organisation) = &person.organisation {
        xml.push_str("<representedOrganization>");
        if let Some(id) = organisation.id.as_ref().filter(|id| !id.root.is_empty()) {
            put!(xml, r#"<id root="{}" extension="{}"/>"#, escape(&id.root), escape(&id.extension));
        }
        put!(xml, "<name>{}</name></representedOrganization>", escape(&organisation.name));
    }
    xml.push_str("</assignedEntity></performer>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cda::{Header, Identifier};

    /// What the history says of a vaccination is what its note said.
    #[test]
    fn a_history_is_read_as_it_was_written() {
        let code = |code: &str, system: &str| Code {
            code: code.into(),
            system: system.into(),
            display: "<é & \"è\">".into(),
        };
        let whole = Vaccination {
            id: "41DAC707-7C96-47B7-B600-AC63D8002142".into(),
            act: Some(code("INITIMMUNIZ", "2.16.840.1.113883.5.4")),
            time: "20090928".into(),
            route: Some(code("20035000", "0.4.0.127.0.16.1.1.2.1")),
            site: Some(code("16217701000119102", "2.16.840.1.113883.6.96")),
            vaccine: code("68747507", "1.2.250.1.213.2.3.1"),
            translations: vec![code("J07AM", "2.16.840.1.113883.6.73")],
            name: "vaccins <tétaniques>".into(),
            lot: "44&66".into(),
            performer: Some(Person {
                id: Some(Identifier { root: "1.2".into(), extension: "8".into() }),
                family: "MÜLLER".into(),
                given: vec!["Charles".into()],
                device: None,
                organisation: Some(crate::cda::Organisation {
                    id: Some(Identifier { root: "1.3".into(), extension: "1".into() }),
                    name: "Cabinet".into(),
                    setting: None,
                }),
            }),
            rank: Some("2".into()),
            reactions: vec![code("R50.2", "2.16.840.1.113883.6.3")],
            comment: "a < b".into(),
        };
        let least =
            Vaccination { id: "2".into(), performer: Some(Person::default()), ..Vaccination::default() };
        let head = Head {
            id: "2.25.1",
            set_id: "2.25.2",
            version: 2,
            replaces: Some("2.25.3"),
            at: "20261127120000+0000",
            ins: ("1.2.250.1.213.1.4.10", "279035121518989"),
            family: "PAT-<TROIS>",
            given: "DOMINIQUE",
            gender: "female",
            birth_date: "1979-03-28",
        };
        let xml = vaccination_history(&head, &[whole.clone(), least.clone()]);
        assert!(xml.contains("<td>28/09/2009</td>"), "{xml}");
        let header = Header::read(xml.as_bytes()).unwrap();
        assert_eq!((header.id.as_deref(), header.type_code.as_deref()), (Some("2.25.1"), Some("11369-6")));
        let metadata = crate::cda::Metadata::read(xml.as_bytes()).unwrap();
        assert_eq!(
            (metadata.patient.family.as_str(), metadata.patient.birth_date.as_deref()),
            ("PAT-<TROIS>", Some("1979-03-28"))
        );
        assert_eq!(metadata.related[0].1.root, "2.25.3");
        let read = Vaccination::read_all(xml.as_bytes()).unwrap();
        assert_eq!(read[0], whole);
        let unknown = Identifier::default();
        assert_eq!(
            read[1],
            Vaccination {
                performer: Some(Person { id: Some(unknown), given: vec![], ..Person::default() }),
                vaccine: Code::default(),
                ..least
            }
        );
        assert_eq!((date("1975"), date("197503"), date("")), ("1975".into(), "03/1975".into(), String::new()));
    }
}
