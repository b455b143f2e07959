//! The TD3.2 rows: the bytes of a document, for whom, as what.

use serde_json::{Value, json};

use super::{
    Example, KOS_FORMAT, accepted, address, alone, document, e_cps, establishment, level_1, manifest, of_bytes,
    self_presenting,
};
use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(
    what_a_search_found,
    authorised_when_it_is_read,
    announced_archived_and_masked,
    cda_as_it_was_sent,
    once_by_reinforced_assertion,
    an_imaging_manifest,
);

/// TRAITE: `cps-medecin` is his médecin traitant.
const TREATED: &str = "144027599900963";
const NORMAL: &[&str] = &["N"];
const TIFF: &[u8] = b"II*\0\x08\0\0\0\0\0";
const TIFF_FORMAT: &str = "urn:ihe:iti-fr:xds-sd:tiff:2010";

fn of_type<'a>(
    ins: &'a str,
    unique_id: &'a str,
    (type_code, class_code): (&'a str, &'a str),
    labels: &'a [&'a str],
) -> Example<'a> {
    Example { type_code, class_code, ..document(ins, unique_id, labels) }
}

/// Feeds bytes; the document as the server has it.
fn fed(client: &Client, example: &Example<'_>, (media_type, format): (&str, &str), bytes: &[u8]) -> Value {
    let described = of_bytes(example, media_type, format, bytes);
    accepted(&client.post("/DocumentReference", alone(described, bytes)))
}

/// The bytes are those that were fed, and what is said of them is true.
#[track_caller]
fn assert_bytes(answer: &Answer, document: &Value, bytes: &[u8]) {
    use base64::Engine as _;
    let attachment = &document["content"][0]["attachment"];
    assert_eq!((answer.status, answer.bytes.as_slice()), (200, bytes));
    assert_eq!(attachment["contentType"], answer.header("content-type"));
    assert_eq!(attachment["size"], bytes.len());
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &answer.bytes);
    let hash = base64::engine::general_purpose::STANDARD.encode(hash.as_ref());
    assert_eq!(attachment["hash"], hash);
}

fn accepting(client: &Client, address: &str, accept: &str) -> Answer {
    client.send("GET", address, &[("Accept", accept)], None).unwrap()
}

fn what_a_search_found(engine: Engine) {
    let world = World::start(engine);
    let (author, reader) = (world.client("cps-medecin-b"), world.client("cps-medecin"));
    let certificate = of_type(OTHER, "2.25.840.1", ("CERT_DECL", "52"), NORMAL);
    let level_1 = level_1(&certificate, "application/pdf", b"%PDF-1.4\n");
    let pdf = ("text/xml", "urn:ihe:iti:xds-sd:pdf:2008");
    fed(&author, &certificate, pdf, &level_1);
    let biology = of_type(OTHER, "2.25.840.2", ("11502-2", "10"), NORMAL);
    let level_3 = self_presenting(&biology, "");
    fed(&author, &biology, ("application/xslt+xml", "urn:ihe:lab:xd-lab:2008"), &level_3);

    // TNR-03#3: a document of level 1 and a self-presenting one of level 3, found and then read: native bytes.
    reader.authorise(OTHER);
    for (type_code, bytes) in [("CERT_DECL", &level_1), ("11502-2", &level_3)] {
        let found = reader.get(&format!(
            "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&type={type_code}"
        ));
        assert_eq!(found.found().0, 1);
        let document = found.json()["entry"][0]["resource"].clone();
        assert_bytes(&reader.get(&found.first_attachment()), &document, bytes);
    }
    // 3.2-420: the style sheet is in it still; and no browser that opens the address runs it here.
    let address = reader
        .get(&format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&type=11502-2"));
    let read = reader.get(&address.first_attachment());
    assert_eq!(read.header("content-type"), "application/xslt+xml");
    assert!(read.text().contains("<xsl:template"));
    assert_eq!(read.header("x-content-type-options"), "nosniff");
    assert_eq!(read.header("content-security-policy"), "default-src 'none'; sandbox");
    assert!(read.header("content-disposition").starts_with("attachment"));
}

fn authorised_when_it_is_read(engine: Engine) {
    let world = World::start(engine);
    let (author, mes) = (world.client("cps-medecin-b"), PatientSide::of(&world));
    let report = of_type(OTHER, "2.25.841", ("18748-4", "31"), NORMAL);
    let document = fed(&author, &report, ("image/tiff", TIFF_FORMAT), TIFF);
    // 3.2-010: by card and with e-CPS; written down; decided when it is read, whatever a search found before.
    let reader = world.client("cps-medecin");
    reader.authorise(OTHER);
    assert_eq!(reader.find(OTHER).found().0, 1);
    let bytes = address(&document);
    for client in [&reader, &e_cps(&world, "claire.bernard")] {
        let read = accepting(client, &bytes, "image/tiff");
        assert_bytes(&read, &document, TIFF);
        let traces = world.traces_of(read.request_id());
        assert_eq!((traces.len(), traces[0].operation.as_str()), (1, "TD3.2 retrieve"));
        assert!(traces[0].objects.contains(document["id"].as_str().unwrap()));
    }
    mes.set(OTHER, super::DOCTOR, "bloque");
    accepting(&reader, &bytes, "image/tiff").assert_refused(404, "", "no such resource");
    mes.forget(OTHER, super::DOCTOR);
    accepting(&reader, &bytes, "image/tiff").assert_refused(404, "", "no such resource");
    reader.authorise(OTHER);
    assert_bytes(&accepting(&reader, &bytes, "image/tiff"), &document, TIFF);
}

fn announced_archived_and_masked(engine: Engine) {
    let world = World::start(engine);
    let (treating, author, other) =
        (world.client("cps-medecin"), world.client("cps-medecin-b"), world.client("cpf-interne"));
    for client in [&author, &other] {
        client.authorise(TREATED);
    }
    // 3.2-020: what the patient is to be told first: the label stands in the result, so that the software can warn, and the document
    // is read. The patient has no access of his own here, and his side does not have it.
    let text = "Résultat à annoncer.\n".as_bytes();
    let example = of_type(TREATED, "2.25.842.1", ("70004-7", "10"), &["N", "INVISIBLE_PATIENT"]);
    let announced = fed(&author, &example, ("text/plain", "urn:ihe:iti:xds-sd:text:2008"), text);
    let found = other.find(TREATED);
    assert_eq!(found.found().0, 1);
    assert!(found.json()["entry"][0]["resource"]["securityLabel"].to_string().contains("INVISIBLE_PATIENT"));
    assert_bytes(&other.get(&found.first_attachment()), &announced, text);
    let id = announced["id"].as_str().unwrap().to_owned();
    assert!(!PatientSide::of(&world).documents(TREATED, "titulaire").contains(&id));

    // 3.2-030: archived, found with isArchived=true, read as any other.
    let rtf: &[u8] = br"{\rtf1 Compte rendu}";
    let example = of_type(TREATED, "2.25.842.2", ("34112-3", "10"), NORMAL);
    let archived = fed(&author, &example, ("text/rtf", "urn:ihe:iti-fr:xds-sd:rtf:2010"), rtf);
    let extension = json!([{ "op": "add", "path": "/extension", "value": [{
        "url": "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived",
        "valueBoolean": true,
    }] }]);
    assert_eq!(author.patch_document("2.25.842.2", &extension).status, 200);
    let found = other.get(&format!(
        "/DocumentReference?patient.identifier={TEST}%7C{TREATED}&status=current&isArchived=true"
    ));
    assert_eq!(found.found().0, 1);
    assert_bytes(&other.get(&found.first_attachment()), &archived, rtf);

    // 3.2-150: masked: the médecin traitant and the author read it; for another doctor the address is like one that never was.
    let jpeg: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF";
    let example = of_type(TREATED, "2.25.842.3", ("11490-0", "10"), &["N", "MASQUE_PS"]);
    let masked = fed(&author, &example, ("image/jpeg", "urn:ihe:iti-fr:xds-sd:jpeg:2010"), jpeg);
    for client in [&treating, &author] {
        assert_bytes(&client.get(&address(&masked)), &masked, jpeg);
    }
    let absent = other.get("/Binary/00000000-0000-4000-8000-000000000000");
    let hidden = other.get(&address(&masked));
    hidden.assert_refused(404, "", "no such resource");
    let without_id = |answer: &Answer| answer.text().replace(answer.request_id(), "");
    assert_eq!(without_id(&hidden), without_id(&absent));
}

fn cda_as_it_was_sent(engine: Engine) {
    let world = World::start(engine);
    let (author, reader) = (world.client("cps-medecin-b"), world.client("cps-infirmier"));
    reader.authorise(OTHER);
    // 3.2-400: a child's certificate of the eighth day: not a byte is changed, comments and spaces included; as it was declared.
    for (number, media_type) in ["text/xml", "application/xml"].into_iter().enumerate() {
        let unique_id = format!("2.25.843.{number}");
        let example = of_type(OTHER, &unique_id, ("CERT_DECL", "52"), NORMAL);
        let bytes = example.cda().replace("<title>", "<!-- CS8 -->\r\n\t<title  >").into_bytes();
        let document = fed(&author, &example, (media_type, "urn:asip:ci-sis:cse-cs8:2017"), &bytes);
        for accept in [media_type, "*/*"] {
            assert_bytes(&accepting(&reader, &address(&document), accept), &document, &bytes);
        }
    }
}

fn once_by_reinforced_assertion(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin-b");
    let report = of_type(TREATED, "2.25.844", ("18748-4", "31"), NORMAL);
    let document = fed(&author, &report, ("image/tiff", TIFF_FORMAT), TIFF);
    // 3.2-600: the token of the search is spent by it; the read wants its own.
    let searching = establishment(&world, "INDIRECTE_RENFORCEE", &[]);
    let found = searching.find(TREATED);
    assert!(found.found().1.contains(&document["id"].as_str().unwrap().to_owned()));
    accepting(&searching, &address(&document), "image/tiff").assert_refused(401, "", "used already");
    let reading = establishment(&world, "INDIRECTE_RENFORCEE", &[]);
    assert_bytes(&accepting(&reading, &address(&document), "image/tiff"), &document, TIFF);
    accepting(&reading, &address(&document), "image/tiff").assert_refused(401, "", "used already");
}

fn an_imaging_manifest(engine: Engine) {
    let world = World::start(engine);
    let (author, reader) = (world.client("cps-medecin-b"), world.client("cps-medecin"));
    reader.authorise(OTHER);
    let kos = of_type(OTHER, "2.25.845", ("IMG-KOS", "31"), NORMAL);
    let mut described = of_bytes(&kos, "application/dicom", KOS_FORMAT, &manifest());
    described["context"]["event"] = json!([
        { "coding": [{ "system": "urn:oid:1.2.840.10008.2.16.4", "code": "MR", "display": "Imagerie par résonance magnétique" }] },
        { "coding": [{ "system": "http://snomed.info/sct", "code": "72696002", "display": "Genou" }] },
    ]);
    let document = accepted(&author.post("/DocumentReference", alone(described, &manifest())));
    // 3.2-800: software for imaging gets the DICOM object; other software a CDA document of plain text that warns, with modality and
    // regions; what neither is, is 406.
    let read = accepting(&reader, &address(&document), "application/dicom");
    assert_bytes(&read, &document, &manifest());
    accepting(&reader, &address(&document), "image/png").assert_refused(406, "", "application/dicom");
    for accept in ["text/xml", "application/xml"] {
        let notice = accepting(&reader, &address(&document), accept);
        assert_eq!((notice.status, notice.header("content-type")), (200, "text/xml"), "{}", notice.text());
        let header = habilis::cda::Header::read(&notice.bytes).unwrap();
        assert_eq!(header.patient_ids[0].1, OTHER);
        let text = String::from_utf8(header.body.unwrap().bytes).unwrap();
        for told in
            ["AVERTISSEMENT", "Modalité : Imagerie par résonance magnétique", "Région anatomique : Genou"]
        {
            assert!(text.contains(told), "{text}");
        }
        let trace = world.traces_of(notice.request_id()).remove(0);
        assert!(
            trace.rule.ends_with("told of in a CDA document: the software takes no DICOM"),
            "{}",
            trace.rule
        );
    }
    for accept in ["text/xml, application/dicom", "text/xml;q=0.1, */*", ""] {
        assert_bytes(&accepting(&reader, &address(&document), accept), &document, &manifest());
    }
    // Who fed it can take it back, and then there is nothing at its address.
    assert_eq!(author.delete_document("2.25.845").status, 200);
    reader.get(&address(&document)).assert_refused(404, "", "no such resource");
}
