//! What the header of a CDA document says of it, for the metadata that are made from it (ITI-106, PCC TF-2: 4.1; the mapping of the
//! CI-SIS from header to XDS).

use roxmltree::Node;
use serde::{Deserialize, Serialize};

use super::header::{CdaFault, child, within};

/// `@root` and `@extension` of an id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identifier {
    /// An OID.
    pub root: String,
    /// Within it; empty where the root alone is the id.
    pub extension: String,
}

/// A coded element.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// `@code`.
    pub code: String,
    /// `@codeSystem`, an OID.
    pub system: String,
    /// `@displayName`.
    pub display: String,
}

/// An organisation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// The first id.
    pub id: Option<Identifier>,
    /// Its name.
    pub name: String,
    /// `standardIndustryClassCode`: the practice setting.
    pub setting: Option<Code>,
}

/// Who wrote the document or answers for it: a person or a device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The first id.
    pub id: Option<Identifier>,
    /// Family name; empty of a device.
    pub family: String,
    /// Given names.
    pub given: Vec<String>,
    /// Name of a device, where it is one.
    pub device: Option<String>,
    /// For whom.
    pub organisation: Option<Organisation>,
}

/// The patient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patient {
    /// Every id.
    pub ids: Vec<Identifier>,
    /// Birth name where it is told apart, else the first family name.
    pub family: String,
    /// Given names.
    pub given: Vec<String>,
    /// FHIR's code: `male`, `female`, `other`, `unknown`.
    pub gender: Option<&'static str>,
    /// A FHIR date.
    pub birth_date: Option<String>,
}

/// All that is read. What the header does not say is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `id`.
    pub id: Identifier,
    /// `setId`: the same in all versions.
    pub set_id: Option<Identifier>,
    /// `templateId/@root`, in order.
    pub templates: Vec<String>,
    /// `code`.
    pub r#type: Code,
    /// `title`.
    pub title: String,
    /// `effectiveTime`, a FHIR dateTime.
    pub creation: Option<String>,
    /// `confidentialityCode`.
    pub confidentiality: Option<Code>,
    /// `languageCode/@code`.
    pub language: Option<String>,
    /// `recordTarget`.
    pub patient: Patient,
    /// `author`.
    pub authors: Vec<Person>,
    /// `legalAuthenticator`.
    pub authenticator: Option<Person>,
    /// `custodian`.
    pub custodian: Option<Organisation>,
    /// `documentationOf/serviceEvent/code`.
    pub events: Vec<Code>,
    /// Start and end of the first service event that has one, FHIR dateTimes.
    pub period: (Option<String>, Option<String>),
    /// The practice setting of its performer.
    pub setting: Option<Code>,
    /// `componentOf/encompassingEncounter/location/healthCareFacility/code`.
    pub facility: Option<Code>,
    /// `relatedDocument`: kind (`RPLC`, `APND`, `XFRM`) and id.
    pub related: Vec<(String, Identifier)>,
    /// `inFulfillmentOf/order/id`.
    pub orders: Vec<Identifier>,
    /// The media type of a body that is no XML.
    pub body: Option<String>,
    /// The document is self-presenting.
    pub is_self_presenting: bool,
}

impl Metadata {
    /// Reads a document.
    ///
    /// # Errors
    /// Why the bytes are no acceptable CDA document.
    pub fn read(bytes: &[u8]) -> Result<Self, CdaFault> {
        within(bytes, |document, is_self_presenting| Ok(read(document, is_self_presenting)))
    }
}

fn read(document: Node<'_, '_>, is_self_presenting: bool) -> Metadata {
    let events: Vec<Node<'_, '_>> =
        children(document, "documentationOf").filter_map(|node| child(node, "serviceEvent")).collect();
    let timed = events.iter().find_map(|event| {
        let (start, end) = interval(child(*event, "effectiveTime")?);
        start.is_some().then_some((start, end))
    });
    let performers = events.iter().filter_map(|event| path(*event, &["performer", "assignedEntity"]));
    let facility = path(document, &["componentOf", "encompassingEncounter", "location", "healthCareFacility"]);
    Metadata {
        id: child(document, "id").map(identifier).unwrap_or_default(),
        set_id: child(document, "setId").map(identifier),
        templates: children(document, "templateId").map(|node| attribute(node, "root")).collect(),
        r#type: child(document, "code").map(code).unwrap_or_default(),
        title: child(document, "title").map(text).unwrap_or_default(),
        creation: child(document, "effectiveTime").and_then(|node| date_time(&attribute(node, "value"))),
        confidentiality: child(document, "confidentialityCode").map(code),
        language: child(document, "languageCode")
            .map(|node| attribute(node, "code"))
            .filter(|code| !code.is_empty()),
        patient: path(document, &["recordTarget", "patientRole"]).map(patient).unwrap_or_default(),
        authors: children(document, "author")
            .filter_map(|node| child(node, "assignedAuthor"))
            .map(person)
            .collect(),
        authenticator: path(document, &["legalAuthenticator", "assignedEntity"]).map(person),
        custodian: path(document, &["custodian", "assignedCustodian", "representedCustodianOrganization"])
            .map(organisation)
            .filter(|custodian| custodian.id.as_ref().is_some_and(|id| !id.extension.is_empty())),
        events: events.iter().filter_map(|event| child(*event, "code").map(code)).collect(),
        period: timed.unwrap_or_default(),
        setting: performers
            .filter_map(|entity| child(entity, "representedOrganization").map(organisation))
            .find_map(|organisation| organisation.setting),
        facility: facility.and_then(|node| child(node, "code")).map(code),
        related: children(document, "relatedDocument")
            .filter_map(|node| {
                let id = path(node, &["parentDocument", "id"]).map(identifier)?;
                Some((attribute(node, "typeCode"), id))
            })
            .collect(),
        orders: children(document, "inFulfillmentOf")
            .filter_map(|node| path(node, &["order", "id"]))
            .map(identifier)
            .collect(),
        body: path(document, &["component", "nonXMLBody", "text"]).map(|node| attribute(node, "mediaType")),
        is_self_presenting,
    }
}

pub(super) fn children<'a, 'input: 'a>(
    node: Node<'a, 'input>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| super::header::is(*child, super::header::HL7, name))
}

pub(super) fn path<'a, 'input>(node: Node<'a, 'input>, names: &[&str]) -> Option<Node<'a, 'input>> {
    names.iter().try_fold(node, |node, name| child(node, name))
}

pub(super) fn attribute(node: Node<'_, '_>, name: &str) -> String {
    node.attribute(name).unwrap_or_default().trim().to_owned()
}

/// The text of an element, its white space made single.
pub(super) fn text(node: Node<'_, '_>) -> String {
    let all: String = node.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect();
    all.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) fn identifier(node: Node<'_, '_>) -> Identifier {
    Identifier { root: attribute(node, "root"), extension: attribute(node, "extension") }
}

pub(super) fn code(node: Node<'_, '_>) -> Code {
    Code {
        code: attribute(node, "code"),
        system: attribute(node, "codeSystem"),
        display: attribute(node, "displayName"),
    }
}

fn organisation(node: Node<'_, '_>) -> Organisation {
    Organisation {
        id: child(node, "id").map(identifier),
        name: child(node, "name").map(text).unwrap_or_default(),
        setting: child(node, "standardIndustryClassCode").map(code),
    }
}

pub(super) fn person(node: Node<'_, '_>) -> Person {
    let name = path(node, &["assignedPerson", "name"]);
    let device = child(node, "assignedAuthoringDevice").map(|device| {
        let named = ["manufacturerModelName", "softwareName"];
        named.iter().find_map(|name| child(device, name).map(text)).unwrap_or_default()
    });
    Person {
        id: child(node, "id").map(identifier),
        family: name.and_then(|name| child(name, "family")).map(text).unwrap_or_default(),
        given: name.into_iter().flat_map(|name| children(name, "given")).map(text).collect(),
        device,
        organisation: child(node, "representedOrganization").map(organisation),
    }
}

fn patient(role: Node<'_, '_>) -> Patient {
    let Some(patient) = child(role, "patient") else {
        return Patient { ids: children(role, "id").map(identifier).collect(), ..Patient::default() };
    };
    let name = child(patient, "name");
    let named = |element: &'static str, qualifier: Option<&str>| {
        name.into_iter()
            .flat_map(move |name| children(name, element))
            .filter(|node| node.attribute("qualifier") == qualifier)
            .map(text)
            .collect::<Vec<_>>()
    };
    let first = |names: Vec<String>| names.into_iter().next();
    let family = first(named("family", Some("BR"))).or_else(|| first(named("family", None)));
    let given = match named("given", None) {
        given if given.is_empty() => named("given", Some("BR")),
        given => given,
    };
    Patient {
        ids: children(role, "id").map(identifier).collect(),
        family: family.unwrap_or_default(),
        given,
        gender: child(patient, "administrativeGenderCode").map(|node| match node.attribute("code") {
            Some("M") => "male",
            Some("F") => "female",
            Some("UN") => "other",
            _ => "unknown",
        }),
        birth_date: child(patient, "birthTime")
            .and_then(|node| date_time(&attribute(node, "value")))
            .and_then(|date| date.split('T').next().map(str::to_owned)),
    }
}

/// Start and end of an `IVL_TS`, or its one moment.
fn interval(node: Node<'_, '_>) -> (Option<String>, Option<String>) {
    let of = |name| child(node, name).and_then(|node| date_time(&attribute(node, "value")));
    (of("low").or_else(|| date_time(&attribute(node, "value"))), of("high"))
}

/// A `TS` of HL7 v3 as a FHIR dateTime, as exact as it is; a time without its zone says the day alone.
fn date_time(value: &str) -> Option<String> {
    let (digits, zone) = match value.find(['+', '-']) {
        Some(at) => value.split_at(at),
        None => (value, ""),
    };
    let digits = digits.split('.').next().unwrap_or_default();
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let zone_digits = zone.get(1..).unwrap_or_default();
    if !plain(digits) || !plain(zone_digits) || !matches!(digits.len(), 4 | 6 | 8 | 10 | 12 | 14) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to);
    let day = match (part(0, 4), part(4, 6), part(6, 8)) {
        (Some(year), None, _) => return Some(year.to_owned()),
        (Some(year), Some(month), None) => return Some(format!("{year}-{month}")),
        (Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        (None, ..) => return None,
    };
    let (Some(hours), Some(sign), Some(zone_hours)) = (part(8, 10), zone.get(..1), zone_digits.get(..2)) else {
        return Some(day);
    };
    let (minutes, seconds) = (part(10, 12).unwrap_or("00"), part(12, 14).unwrap_or("00"));
    let zone_minutes = zone_digits.get(2..4).unwrap_or("00");
    Some(format!("{day}T{hours}:{minutes}:{seconds}{sign}{zone_hours}:{zone_minutes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        for (value, expected) in [
            ("2021", Some("2021")),
            ("202104", Some("2021-04")),
            ("20210401", Some("2021-04-01")),
            ("20210401171000+0100", Some("2021-04-01T17:10:00+01:00")),
            ("202104011710-0400", Some("2021-04-01T17:10:00-04:00")),
            ("20210401171000.123+0100", Some("2021-04-01T17:10:00+01:00")),
            ("20210401171000", Some("2021-04-01")),
            ("", None),
            ("hier", None),
            ("2021040", None),
            ("2021+01é0", None),
        ] {
            assert_eq!(date_time(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_header() {
        let text = r#"<ClinicalDocument xmlns="urn:hl7-org:v3"><templateId root="1.1"/><templateId root="1.2"/>
            <id root="1.2.3"/><code code="11488-4" codeSystem="2.16.840.1.113883.6.1" displayName="CR"/><title> Un
            titre </title><effectiveTime value="20210401"/><languageCode code="fr-FR"/><setId root="1.2"/>
            <recordTarget><patientRole><id root="1.4" extension="279"/><id root="1.9" extension="x"/><patient><name><family qualifier="BR">DUPONT</family>
            <family qualifier="CL">MARTIN</family><given>ANNE LISE</given><given qualifier="BR">ANNE</given></name><administrativeGenderCode code="F"/><birthTime value="19790328"/></patient></patientRole></recordTarget>
            <author><assignedAuthor><id root="1.7" extension="81"/><assignedPerson><name><family>LI</family><given>Paul</given></name></assignedPerson>
            <representedOrganization><id root="1.8" extension="3"/><name>CABINET</name></representedOrganization></assignedAuthor></author>
            <author><assignedAuthor><assignedAuthoringDevice><softwareName>LPS</softwareName></assignedAuthoringDevice></assignedAuthor></author>
            <documentationOf><serviceEvent><code code="E"/></serviceEvent></documentationOf>
            <documentationOf><serviceEvent><effectiveTime><low value="2020"/><high value="2021"/></effectiveTime><performer><assignedEntity><representedOrganization>
            <standardIndustryClassCode code="AMBULATOIRE"/></representedOrganization></assignedEntity></performer></serviceEvent></documentationOf>
            <relatedDocument typeCode="RPLC"><parentDocument><id root="1.2.2"/></parentDocument></relatedDocument>
            <componentOf><encompassingEncounter><location><healthCareFacility><code code="SA07"/></healthCareFacility></location></encompassingEncounter></componentOf>
            </ClinicalDocument>"#;
        let read = Metadata::read(text.as_bytes()).unwrap();
        assert_eq!((read.title.as_str(), read.creation.as_deref()), ("Un titre", Some("2021-04-01")));
        assert_eq!(read.templates, ["1.1", "1.2"]);
        assert_eq!(
            (read.patient.family.as_str(), read.patient.given.join(",")),
            ("DUPONT", "ANNE LISE".into())
        );
        assert_eq!(
            (read.patient.gender, read.patient.birth_date.as_deref()),
            (Some("female"), Some("1979-03-28"))
        );
        assert_eq!(read.patient.ids.len(), 2);
        assert_eq!(read.authors[0].organisation.as_ref().unwrap().name, "CABINET");
        assert_eq!(read.authors[1].device.as_deref(), Some("LPS"));
        assert_eq!(read.period, (Some("2020".into()), Some("2021".into())));
        assert_eq!(read.setting.unwrap().code, "AMBULATOIRE");
        assert_eq!(read.facility.unwrap().code, "SA07");
        assert_eq!(
            read.related,
            [("RPLC".to_owned(), Identifier { root: "1.2.2".into(), extension: String::new() })]
        );
        assert_eq!(read.events.len(), 1);
        assert_eq!(read.authenticator, None);
    }
}
