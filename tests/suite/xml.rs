//! FHIR's XML over the listener: every FHIR route takes it and gives it, and it says what the JSON says.

use habilis::fhir::xml::to_xml;
use habilis::sandbox::example::{Example, consent};
use serde_json::Value;

use crate::on_both_engines;
use crate::support::{Answer, Client, Engine, FHIR_XML as XML, OTHER, TEST, World};

on_both_engines!(a_day_in_xml, every_fhir_route_answers_in_xml, refusals_are_in_xml_too);

/// The client speaks XML both ways.
fn send(client: &Client, method: &str, path: &str, json: Option<&str>) -> Answer {
    let body = json.map(|json| to_xml(json).unwrap());
    client.send(method, path, &[("Content-Type", XML), ("Accept", XML)], body).unwrap()
}

/// What an answer in XML says.
#[track_caller]
fn said(answer: &Answer) -> Value {
    assert_eq!(answer.header("content-type"), "application/fhir+xml; charset=utf-8", "{}", answer.text());
    answer.json()
}

fn patch(client: &Client, path: &str, operation: &str) -> Answer {
    let body = format!(r#"<diff xmlns:f="http://hl7.org/fhir">{operation}</diff>"#);
    let headers = [("Content-Type", "application/xml-patch+xml"), ("Accept", XML)];
    client.send("PATCH", path, &headers, Some(body)).unwrap()
}

/// Authorise, feed twice, find, read, mask, withdraw: in XML, beside the same in JSON.
fn a_day_in_xml(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin-b");
    let declared = send(&doctor, "POST", "/Consent", Some(&consent(TEST, OTHER)));
    assert_eq!(declared.status, 201, "{}", declared.text());
    let consent_id = said(&declared)["id"].as_str().unwrap().to_owned();

    let fed = send(&doctor, "POST", "", Some(&Example::new(TEST, OTHER, "X", "2.25.950").transaction()));
    assert_eq!(fed.status, 200, "{}", fed.text());
    assert_eq!(said(&fed)["entry"].as_array().unwrap().len(), 3);
    // The same in JSON is the same feed.
    let again = doctor.post("", Example::new(TEST, OTHER, "X", "2.25.950").transaction());
    assert_eq!(again.json()["entry"], said(&fed)["entry"]);
    let single =
        send(&doctor, "POST", "/DocumentReference", Some(&Example::new(TEST, OTHER, "Y", "2.25.951").single()));
    assert_eq!(single.status, 201, "{}", single.text());

    let path = format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current");
    let (by_xml, by_json) = (send(&doctor, "GET", &path, None), doctor.get(&path));
    assert_eq!(said(&by_xml), by_json.json());
    assert_eq!(by_json.found().0, 2);
    for format in ["xml", "application/fhir%2Bxml", "application/fhir+xml", "text/xml"] {
        assert_eq!(said(&doctor.get(&format!("{path}&_format={format}"))), by_json.json(), "{format}");
    }
    let form = format!("patient.identifier={TEST}%7C{OTHER}&status=current&_format=xml");
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let by_post = doctor.send("POST", "/DocumentReference/_search", &headers, Some(form)).unwrap();
    assert_eq!(said(&by_post)["total"], 2, "_format in a form");

    let binary = by_json.first_attachment();
    let (bytes, resource) = (doctor.get(&binary), send(&doctor, "GET", &binary, None));
    assert_eq!(bytes.status, 200);
    let resource = said(&resource);
    assert_eq!((&resource["resourceType"], &resource["contentType"]), (&"Binary".into(), &"text/xml".into()));

    // Masked by XML Patch, unmasked by Parameters in XML.
    let document = format!("/DocumentReference/{}", said(&single)["id"].as_str().unwrap());
    let label = r#"<f:securityLabel><f:coding><f:code value="MASQUE_PS"/></f:coding></f:securityLabel>"#;
    let masked = patch(&doctor, &document, &format!(r#"<add sel="f:DocumentReference">{label}</add>"#));
    assert_eq!(masked.status, 200, "{}", masked.text());
    assert!(masked.text().contains("MASQUE_PS") && masked.header("etag") == "W/\"2\"");
    let parameters = r#"{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"delete"},{"name":"path","valueString":"DocumentReference.securityLabel.where(coding.code='MASQUE_PS')"}]}]}"#;
    let unmasked = send(&doctor, "PATCH", &document, Some(parameters));
    assert_eq!(unmasked.status, 200, "{}", unmasked.text());
    assert!(!unmasked.text().contains("MASQUE_PS"));
    let title = r#"<replace sel="f:DocumentReference/f:content/f:attachment/f:title/@value">x</replace>"#;
    patch(&doctor, &document, title).assert_refused(405, "", "status, securityLabel and isArchived");

    let inactive = r#"<replace sel="f:Consent/f:status/@value">inactive</replace>"#;
    let withdrawn = patch(&doctor, &format!("/Consent/{consent_id}"), inactive);
    assert_eq!((withdrawn.status, &said(&withdrawn)["status"]), (200, &"inactive".into()));
    send(&doctor, "GET", &path, None).assert_refused(403, "DMPAccessForbidden", "authorisation");
}

/// Whatever FHIR route there is: where JSON is the answer, XML is one too, with the same content.
fn every_fhir_route_answers_in_xml(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let mut compared = 0;
    for (method, path, id) in crate::openapi::operations() {
        if !path.starts_with("/fhir") || path.contains(".well-known") {
            continue;
        }
        let path = path.strip_prefix("/fhir").unwrap().replace("{id}", "nothing");
        let headers = |accept| [("Accept", accept), ("X-Request-Id", "in-two-forms")];
        let json = doctor.send(&method, &path, &headers("application/fhir+json"), None).unwrap();
        let xml = doctor.send(&method, &path, &headers(XML), None).unwrap();
        assert_eq!(json.status, xml.status, "{id}");
        let (mut json, mut xml) = (json.json(), said(&xml));
        for one in [&mut json, &mut xml] {
            one.as_object_mut().unwrap().remove("id");
        }
        assert_eq!(json, xml, "{id}");
        compared += 1;
    }
    assert!(compared >= 17, "{compared}");
    let statement = said(&send(&doctor, "GET", "/metadata", None));
    let formats = statement["format"].as_array().unwrap();
    assert!(formats.contains(&"application/fhir+xml".into()), "{formats:?}");
}

fn refusals_are_in_xml_too(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let refused = |body: &str, phrase: &str| {
        let headers = [("Content-Type", XML), ("Accept", XML)];
        let answer = doctor.send("POST", "", &headers, Some(body.to_owned())).unwrap();
        answer.assert_refused(400, "", phrase);
    };
    refused("", "not XML that is taken");
    refused("<Bundle/>", "in the namespace http://hl7.org/fhir");
    refused(r#"<Bundle xmlns="http://hl7.org/fhir"><foo/></Bundle>"#, "Bundle.foo: no element of this type");
    refused(
        r#"<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]><Bundle xmlns="http://hl7.org/fhir"><id value="&x;"/></Bundle>"#,
        "not XML that is taken",
    );
    refused(
        r#"<Patient xmlns="http://hl7.org/fhir"><active value="true"/></Patient>"#,
        "resourceType is not Bundle",
    );
    let nobody = doctor.send("GET", "/nothing", &[("Accept", XML)], None).unwrap();
    nobody.assert_refused(404, "", "no such path");
    // JSON said to be XML, and XML said to be JSON.
    refused("{\"resourceType\":\"Bundle\"}", "not XML that is taken");
    let wrong = doctor.post("", r#"<Bundle xmlns="http://hl7.org/fhir"/>"#);
    wrong.assert_refused(400, "", "not acceptable JSON");
}
