//! ITI-106: a CDA document is fed, and its header says what is to be known of it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, Options, TEST, World};

on_both_engines_and_in_xml!(the_header_says_what_the_document_is, what_the_header_lacks, what_is_no_document);

fn body(content_type: &str, bytes: &str) -> String {
    let binary = json!({ "resourceType": "Binary", "contentType": content_type, "data": BASE64.encode(bytes) });
    json!({ "resourceType": "Parameters", "parameter": [{ "name": "document", "resource": binary }] })
        .to_string()
}

fn generate(client: &Client, cda: &str) -> Answer {
    client.post("/DocumentReference/$generate-metadata", body("text/xml", cda))
}

/// A header as practice software writes it.
fn cda(unique_id: &str) -> String {
    let example = Example::new(TEST, OTHER, "OUVERT", unique_id).cda();
    let person = r#"<assignedPerson><name><family>LI</family><given>Claire</given></name></assignedPerson>
        <representedOrganization><id root="1.2.250.1.71.4.2.2" extension="1750000101"/><name>CABINET LI</name></representedOrganization>"#;
    let more = r#"<custodian><assignedCustodian><representedCustodianOrganization><id root="1.2.250.1.71.4.2.2" extension="1750000101"/>
        <name>CABINET LI</name></representedCustodianOrganization></assignedCustodian></custodian>
        <legalAuthenticator><assignedEntity><id root="1.2.250.1.71.4.2.1" extension="810100000016"/></assignedEntity></legalAuthenticator>
        <inFulfillmentOf><order><id root="1.2.9" extension="O-7"/></order></inFulfillmentOf>
        <documentationOf><serviceEvent><code code="DEQP003" codeSystem="1.2.250.1.213.2.5" displayName="ECG"/>
        <effectiveTime><low value="20260612093000+0200"/><high value="20260612100000+0200"/></effectiveTime><performer><assignedEntity><representedOrganization>
        <standardIndustryClassCode code="AMBULATOIRE" codeSystem="1.2.250.1.213.1.1.4.9"/></representedOrganization></assignedEntity></performer></serviceEvent></documentationOf>
        <componentOf><encompassingEncounter><location><healthCareFacility><code code="SA07" codeSystem="1.2.250.1.71.4.2.4"/></healthCareFacility></location></encompassingEncounter></componentOf>
        <component><structuredBody>"#;
    example
        .replace("</assignedAuthor>", &format!("{person}</assignedAuthor>"))
        .replace("<component><structuredBody>", more)
        .replace("<effectiveTime", "<setId root=\"1.2.77\"/><effectiveTime")
        .replace(
            "<templateId root=\"1.2.250.1.213.1.1.1.1\"/>",
            "<templateId root=\"1.2.250.1.213.1.1.1.1\"/><templateId root=\"1.2.250.1.213.1.1.1.13\"/>",
        )
}

fn the_header_says_what_the_document_is(engine: Engine) {
    // Strict: what is made satisfies every rule of a feed.
    let world = World::start_with(engine, Options { strict: true, ..Options::default() });
    let author = world.client("cps-medecin");
    author.authorise(OTHER);
    let cda = cda("2.25.730");
    let made = generate(&author, &cda);
    assert_eq!(made.status, 200, "{}", made.text());
    let parameter = &made.json()["parameter"][0];
    assert_eq!(parameter["name"], "DocumentReference");
    let reference = parameter["valueReference"]["reference"].as_str().unwrap().to_owned();
    let read = author.get(&format!("/{reference}")).json();
    let code = |pointer: &str| {
        let coding = read.pointer(pointer).unwrap_or(&Value::Null);
        format!(
            "{} {}",
            coding["code"].as_str().unwrap_or_default(),
            coding["display"].as_str().unwrap_or_default()
        )
    };
    assert_eq!(read["masterIdentifier"]["value"], "urn:oid:2.25.730");
    assert_eq!(read["identifier"][0]["value"], "urn:oid:1.2.77");
    assert_eq!(code("/type/coding/0"), "11488-4 CR ou fiche de consultation ou de visite");
    assert_eq!(code("/category/0/coding/0"), "10 Compte rendu");
    assert_eq!(code("/securityLabel/0/coding/0"), "N Normal");
    assert_eq!(code("/content/0/format").split(' ').next(), Some("urn:asip:ci-sis:vsm:2012"));
    assert_eq!(code("/context/facilityType/coding/0").split(' ').next(), Some("SA07"));
    assert_eq!(code("/context/practiceSetting/coding/0"), "AMBULATOIRE Ambulatoire");
    assert_eq!(code("/context/event/0/coding/0"), "DEQP003 ECG");
    assert_eq!(read["context"]["event"][0]["coding"][0]["system"], "urn:oid:1.2.250.1.213.2.5");
    assert_eq!(read["context"]["period"]["start"], "2026-06-12T09:30:00+02:00");
    assert_eq!(read["context"]["related"][0]["identifier"]["value"], "O-7");
    assert_eq!(read["content"][0]["attachment"]["title"], "Compte rendu de consultation");
    assert_eq!(read["content"][0]["attachment"]["creation"], "2026-06-12T10:00:00+02:00");
    assert_eq!(read["content"][0]["attachment"]["size"], cda.len());
    assert_eq!(read["author"][0]["reference"], "#auteur1");
    let url = read["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    assert_eq!(author.get(&url).text(), cda, "the bytes as they came");
    // It is found as any other, by its author's name too.
    let found = author.get(&format!(
        "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&author.family=li&event=DEQP003"
    ));
    assert_eq!(found.found().0, 1);
    // The same again is what was answered.
    assert_eq!(generate(&author, &cda).json(), made.json());
    // The next version replaces it.
    let next = cda.replace("2.25.730", "2.25.731").replace(
        "<componentOf>",
        r#"<relatedDocument typeCode="RPLC"><parentDocument><id root="2.25.730"/></parentDocument></relatedDocument><componentOf>"#,
    );
    assert_eq!(generate(&author, &next).status, 200);
    assert_eq!(author.get(&format!("/{reference}")).json()["status"], "superseded");
}

fn what_the_header_lacks(engine: Engine) {
    let bare = Example::new(TEST, OTHER, "OUVERT", "2.25.732").cda();
    let strict = World::start_with(engine, Options { strict: true, ..Options::default() });
    let before = (strict.rows("document"), strict.bodies());
    let refused = generate(&strict.client("cps-medecin"), &bare);
    refused.assert_refused(422, "XDSRegistryMetadataError", "facility type");
    assert_eq!((strict.rows("document"), strict.bodies()), before);
    let tolerant = World::start(engine);
    assert_eq!(generate(&tolerant.client("cps-medecin"), &bare).status, 200);
    // The rules of a feed hold: whom it is about, who may, which types.
    let other = bare.replace(OTHER, "260017599900293").replace("2.25.732", "2.25.733");
    generate(&tolerant.client("cps-medecin"), &other).assert_refused(422, "", "closed");
    let unknown = bare.replace(OTHER, "172047599900387").replace("2.25.732", "2.25.734");
    assert_eq!(generate(&tolerant.client("cps-medecin"), &unknown).status, 404);
    let history = bare.replace("11488-4", "11369-6").replace("2.25.732", "2.25.735");
    generate(&tolerant.client("cps-medecin"), &history).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "not deposited by professionals",
    );
    let nobody = bare.replace("1.2.250.1.213.1.4.10", "1.2.3").replace("2.25.732", "2.25.736");
    generate(&tolerant.client("cps-medecin"), &nobody).assert_refused(400, "", "the patient is missing");
}

fn what_is_no_document(engine: Engine) {
    let world = World::start(engine);
    let before = world.rows("document");
    let author = world.client("cps-medecin");
    let post = |body: String| author.post("/DocumentReference/$generate-metadata", body);
    post(body("application/pdf", "%PDF-1.7")).assert_refused(
        422,
        "XDSRepositoryMetadataError",
        "made of a CDA document",
    );
    post(body("text/xml", "<a/>")).assert_refused(422, "XDSRepositoryMetadataError", "no ClinicalDocument");
    post(body("text/xml", "<!DOCTYPE a><a/>")).assert_refused(422, "XDSRepositoryMetadataError", "DTD");
    for wrong in [
        r#"{"resourceType":"Patient"}"#,
        r#"{"resourceType":"Parameters"}"#,
        r#"{"resourceType":"Parameters","parameter":[{"name":"document","resource":{"resourceType":"Patient"}}]}"#,
        r#"{"resourceType":"Parameters","parameter":[{"name":"url","valueUri":"http://169.254.169.254/"}]}"#,
    ] {
        assert_eq!(post(wrong.to_owned()).status, 400, "{wrong}");
    }
    assert_eq!(world.rows("document"), before);
}
