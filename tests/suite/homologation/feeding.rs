//! The TD2 rows: feed and replace, by whom, with which metadata, contents and labels.

use serde_json::{Value, json};

use super::{
    DOCTOR, DOCTOR_B, Example, accepted, address, alone, as_staff, created, document, e_cps, establishment,
    feed, level_1, of_bytes,
};
use crate::on_both_engines_and_in_xml;
use crate::support::{Answer, Client, Engine, OTHER, Options, PatientSide, TEST, World};

on_both_engines_and_in_xml!(
    one_feed_for_each_kind_of_caller,
    sites_of_a_legal_entity,
    replaced_in_one_transaction,
    two_documents_in_one_submission,
    masked_and_announced,
    replaced_four_times,
    several_authors,
);

const HOSPITAL: &str = "1750000010";
pub const PRACTICE: &str = "1750000101";
pub const NORMAL: &[&str] = &["N"];
pub const MASKED: &[&str] = &["N", "MASQUE_PS"];
pub const ANNOUNCED: &[&str] = &["N", "INVISIBLE_PATIENT"];
pub const PDF: &[u8] = b"%PDF-1.4\n% PDF/A-1\n";
pub const PDF_IN_CDA: &str = "urn:ihe:iti:xds-sd:pdf:2008";

pub fn strict(engine: Engine) -> World {
    World::start_with(engine, Options { strict: true, ..Options::default() })
}

pub fn of_type<'a>(
    unique_id: &'a str,
    (type_code, class_code): (&'a str, &'a str),
    labels: &'a [&'a str],
) -> Example<'a> {
    Example { type_code, class_code, ..document(OTHER, unique_id, labels) }
}

/// A discharge letter, PDF/A-1 in a CDA document of level 1: its bytes, and what is said of them.
pub fn letter(unique_id: &str) -> (Value, Vec<u8>) {
    let example = of_type(unique_id, ("11490-0", "10"), NORMAL);
    let cda = level_1(&example, "application/pdf", PDF);
    (of_bytes(&example, "text/xml", PDF_IN_CDA, &cda), cda)
}

/// Adds an organisation to the authors of a document.
pub fn with_author_organisation(document: &mut Value, structure: &str) {
    let organisation = json!({ "resourceType": "Organization", "id": "structure",
        "identifier": [{ "system": "urn:oid:1.2.250.1.71.4.2.2", "value": structure }] });
    document["contained"].as_array_mut().unwrap().push(organisation);
    document["author"].as_array_mut().unwrap().push(json!({ "reference": "#structure" }));
}

/// To whom a document is attributed: who acted, and the structure that answers for it.
pub fn attributed(world: &World, id: &str) -> (String, String) {
    let column = |name: &str| {
        world.text(&format!("SELECT coalesce({name}, '') AS text FROM document WHERE id = '{id}'"))
    };
    (column("author_id"), column("author_structure"))
}

pub fn status(world: &World, unique_id: &str) -> String {
    world.text(&format!("SELECT status AS text FROM document WHERE unique_id = 'urn:oid:{unique_id}'"))
}

/// A transaction that replaces, with the PATCH entry that supersedes the older version.
fn superseding(bundle: &str, older: &str) -> Value {
    let mut bundle: Value = serde_json::from_str(bundle).unwrap();
    bundle["entry"].as_array_mut().unwrap().push(json!({
        "fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000009",
        "resource": { "resourceType": "Parameters", "parameter": [{ "name": "operation", "part": [
            { "name": "type", "valueCode": "replace" },
            { "name": "path", "valueString": "DocumentReference.status" },
            { "name": "value", "valueCode": "superseded" },
        ] }] },
        "request": { "method": "PATCH", "url": format!("DocumentReference/{older}") },
    }));
    bundle
}

/// The status of each entry of an answer.
pub fn statuses(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["type"], "transaction-response");
    let entries = answer["entry"].as_array().unwrap().iter();
    entries.map(|entry| entry["response"]["status"].as_str().unwrap().to_owned()).collect()
}

fn one_feed_for_each_kind_of_caller(engine: Engine) {
    let world = strict(engine);
    let staff = world.client("cpe-secretaire");
    let indirect = || establishment(&world, "INDIRECTE", &[]);
    // TNR-01#1: without any authorisation to read, by card, by a named employee's card and by an establishment.
    // 2.1-160: the establishment's is the structure's own, whoever is named as the user.
    // 2.2-010: and so is the employee's, who cannot read what she fed.
    for (unique_id, client, structure, author) in [
        ("2.25.800.1", &world.client("cps-medecin"), None, (DOCTOR, "")),
        ("2.25.800.2", &staff, Some(PRACTICE), ("3750000101/CPE0001", PRACTICE)),
        ("2.25.800.3", &indirect(), Some(HOSPITAL), (HOSPITAL, HOSPITAL)),
    ] {
        let (mut document, cda) = letter(unique_id);
        if let Some(structure) = structure {
            // Nobody answers for it who is not named among the authors.
            client.post("/DocumentReference", alone(document.clone(), &cda)).assert_refused(
                422,
                "XDSRegistryMetadataError",
                structure,
            );
            with_author_organisation(&mut document, structure);
        }
        let fed = client.post("/DocumentReference", alone(document, &cda));
        let id = accepted(&fed)["id"].as_str().unwrap().to_owned();
        assert!(
            fed.header("location").contains(&format!("DocumentReference/{id}")),
            "{}",
            fed.header("location")
        );
        assert_eq!(attributed(&world, &id), (author.0.to_owned(), author.1.to_owned()), "{unique_id}");
        let traces = world.traces_of(fed.request_id());
        assert_eq!(traces.len(), 1);
        assert_eq!(traces[0].caller_structure.as_deref(), structure);
        assert!(traces[0].objects.contains(&id));
    }
    staff.find(OTHER).assert_refused(403, "DMPAccessForbidden", "sheet");
    let own = world.text("SELECT binary_id AS text FROM document WHERE unique_id = 'urn:oid:2.25.800.2'");
    staff.get(&format!("/Binary/{own}")).assert_refused(403, "DMPAccessForbidden", "sheet");
    indirect().find(OTHER).assert_refused(403, "DMPAccessForbidden", "sheet");
    // Control: to whom the patient gives authorisation, all three are there.
    let reader = world.client("cps-infirmier");
    reader.authorise(OTHER);
    assert_eq!(reader.find(OTHER).found().0, 3);
}

fn sites_of_a_legal_entity(engine: Engine) {
    use habilis::environment::Clock;
    use habilis::pki::HolderKind;

    let world = World::start(engine);
    let folder = tempfile::tempdir().unwrap();
    let certs = crate::support::pki_copy(folder.path());
    const SITE: &str = "1750000051";
    for (name, kind) in [("site", HolderKind::OrganisationClient), ("site-sign", HolderKind::OrganisationSeal)]
    {
        super::sessions::issue(&certs, name, kind, SITE, "SITE NORD");
    }
    let issuer = format!("https://localhost:{}", world.listening.api.port());
    let claims = |certificate: &str, structure: &str| {
        let jti = format!("site-{}", super::uuid());
        let claims =
            crate::support::establishment::claims(&issuer, "INDIRECTE", world.clock.now().as_second(), &jti);
        let claims = super::with(claims, "/iss", json!(certificate));
        super::with(claims, "/extensions/ihe_iua/subject_organization_id", json!(structure))
    };
    let open = |card: &str, signer: &str, claims: &Value| {
        let client = Client::new(&certs, Some(card), world.listening.api.port());
        let assertion = super::seal(&certs, signer, claims);
        let answer = client.ask_token(&[("grant_type", super::BEARER), ("assertion", &assertion)]);
        (client, answer)
    };
    // 2.1-180: a site's own certificate; the legal entity's, which names one of its sites; the legal entity's, which names itself.
    for (unique_id, card, signer, certificate, structure) in [
        ("2.25.801.1", "site", "site-sign", SITE, SITE),
        ("2.25.801.2", "org-hopital", "org-hopital-sign", HOSPITAL, SITE),
        ("2.25.801.3", "org-hopital", "org-hopital-sign", HOSPITAL, HOSPITAL),
    ] {
        let (client, answer) = open(card, signer, &claims(certificate, structure));
        let client = client.with_token(&answer.token());
        let (mut document, cda) = letter(unique_id);
        with_author_organisation(&mut document, structure);
        let id = accepted(&client.post("/DocumentReference", alone(document, &cda)))["id"].clone();
        assert_eq!(attributed(&world, id.as_str().unwrap()).1, structure, "{unique_id}");
    }
    // A home for the elderly feeds for one of its sites: the third set-up is not for it.
    for (structure, status) in [(SITE, 201), (HOSPITAL, 403)] {
        let sector = json!("SA17^1.2.250.1.71.4.2.4");
        let claims = super::with(claims(HOSPITAL, structure), "/extensions/dmp/secteur_activite", sector);
        let (client, answer) = open("org-hopital", "org-hopital-sign", &claims);
        let (mut document, cda) = letter("2.25.801.4");
        with_author_organisation(&mut document, structure);
        let fed = client.with_token(&answer.token()).post("/DocumentReference", alone(document, &cda));
        assert_eq!(fed.status, status, "{}", fed.text());
        if status == 403 {
            fed.assert_refused(403, "DMPAccessForbidden", "one of its sites");
        }
    }
    // A site must belong to the legal entity of the certificate, and speaks for nobody but itself.
    for (card, signer, certificate, structure) in
        [("org-hopital", "org-hopital-sign", HOSPITAL, PRACTICE), ("site", "site-sign", SITE, HOSPITAL)]
    {
        let (_, answer) = open(card, signer, &claims(certificate, structure));
        answer.assert_refused(403, "DMPAccessForbidden", "one of its sites");
    }
}

fn replaced_in_one_transaction(engine: Engine) {
    let world = World::start(engine);
    let (author, other) = (world.client("cps-medecin"), world.client("cps-infirmier"));
    other.authorise(OTHER);
    // TNR-01#2: the new version, masked, and what becomes of the old one, in one transaction; without authorisation.
    let old = feed(&author, &document(OTHER, "2.25.802.1", NORMAL));
    assert_eq!(other.find(OTHER).found(), (1, vec![old.clone()]), "control");
    let newer = Example { replaces: Some("2.25.802.1"), size: 900, ..document(OTHER, "2.25.802.2", MASKED) };
    let bytes = newer.cda().into_bytes();
    let mut described = newer.document_reference(&bytes);
    described["content"][0]["attachment"]["title"] = "Compte rendu corrigé".into();
    let bundle = superseding(&newer.transaction_of(described, &bytes), &old);
    // One bad entry leaves the old one current, and nothing behind.
    let before = (world.rows("document"), world.bodies());
    let mut faulty = bundle.clone();
    faulty["entry"][3]["request"]["url"] = "DocumentReference/unknown".into();
    assert_eq!(author.post("", faulty.to_string()).status, 422);
    let mut faulty = bundle.clone();
    faulty["entry"][1]["resource"]["type"]["coding"][0]["code"] = "REMB".into();
    author.post("", faulty.to_string()).assert_refused(422, "XDSRegistryMetadataError", "REMB");
    assert_eq!((world.rows("document"), world.bodies()), before);
    assert_eq!(status(&world, "2.25.802.1"), "current");

    let answer = author.post("", bundle.to_string());
    assert_eq!(statuses(&answer), ["201 Created", "201 Created", "201 Created", "200 OK"]);
    let new = created(&answer).remove(0);
    assert_eq!(answer.json()["entry"][3]["response"]["location"], format!("DocumentReference/{old}").as_str());
    assert_eq!(status(&world, "2.25.802.1"), "superseded");
    assert_eq!(status(&world, "2.25.802.2"), "current");
    // Who is neither author nor médecin traitant finds neither of them, nor a count: the mask covers the older version.
    let everything =
        format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current,superseded");
    assert_eq!(other.get(&everything).found(), (0, vec![]));
    for id in [&old, &new] {
        other.get(&format!("/DocumentReference/{id}")).assert_refused(404, "", "no such resource");
    }
    author.authorise(OTHER);
    assert_eq!(author.get(&everything).found().0, 2);
    let read = author.get(&format!("/DocumentReference/{new}")).json();
    assert_eq!(read["content"][0]["attachment"]["title"], "Compte rendu corrigé");
    assert_eq!(author.get(&address(&read)).bytes, bytes);
}

/// A transaction of a second document beside the first: Lists, documents, bytes, in this order.
pub fn with_second(first: &str, second: &str) -> Value {
    let (document, binary) =
        ("urn:uuid:00000000-0000-4000-8000-000000000012", "urn:uuid:00000000-0000-4000-8000-000000000013");
    let (mut bundle, other): (Value, Value) =
        (serde_json::from_str(first).unwrap(), serde_json::from_str(second).unwrap());
    let mut more = other["entry"].as_array().unwrap()[1..].to_vec();
    more[0]["fullUrl"] = document.into();
    more[0]["resource"]["content"][0]["attachment"]["url"] = binary.into();
    more[1]["fullUrl"] = binary.into();
    let entries = bundle["entry"].as_array_mut().unwrap();
    entries.insert(2, more.remove(0));
    entries.extend(more);
    let item = json!({ "item": { "reference": document } });
    bundle["entry"][0]["resource"]["entry"].as_array_mut().unwrap().push(item);
    bundle
}

fn two_documents_in_one_submission(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let (letter, report) = (
        of_type("2.25.807.1", ("11490-0", "10"), NORMAL).transaction(),
        of_type("2.25.807.2", ("11488-4", "10"), NORMAL).transaction(),
    );
    // 2.1-020: one List, two documents, two Binaries: each is answered, in the order of the request, and the submission is one.
    let bundle = with_second(&letter, &report);
    let mut faulty = bundle.clone();
    faulty["entry"][2]["resource"]["content"][0]["attachment"]["hash"] = "AAAA".into();
    let before = (world.rows("document"), world.rows("submission_set"), world.bodies());
    doctor.post("", faulty.to_string()).assert_refused(422, "XDSNonIdenticalHash", "SHA-1");
    assert_eq!((world.rows("document"), world.rows("submission_set"), world.bodies()), before);

    let answer = doctor.post("", bundle.to_string());
    assert_eq!(statuses(&answer), ["201 Created"; 5]);
    let answered = answer.json();
    let locations = answered["entry"].as_array().unwrap().iter();
    let kinds: Vec<&str> = locations
        .clone()
        .map(|entry| entry["response"]["location"].as_str().unwrap().split('/').next().unwrap())
        .collect();
    assert_eq!(kinds, ["List", "DocumentReference", "DocumentReference", "Binary", "Binary"]);
    let found = doctor
        .get(&format!("/List?patient.identifier={TEST}%7C{OTHER}&code=submissionset&status=current"))
        .json();
    assert_eq!(found["total"], 1);
    let list = &found["entry"][0]["resource"];
    assert_eq!(list["date"], "2026-06-12T10:05:00+02:00", "of both");
    let mut named: Vec<&str> = list["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["item"]["reference"].as_str().unwrap().trim_start_matches("DocumentReference/"))
        .collect();
    let mut made = created(&answer);
    named.sort_unstable();
    made.sort();
    assert_eq!(named, made);
}

fn masked_and_announced(engine: Engine) {
    let world = World::start(engine);
    let (author, treating, other) =
        (world.client("cps-medecin"), world.client("cps-medecin-b"), world.client("cps-infirmier"));
    let mes = PatientSide::of(&world);
    mes.set(OTHER, DOCTOR_B, "medecin_traitant");
    for client in [&author, &other] {
        client.authorise(OTHER);
    }
    // 2.1-050: masked from the first: for the author, the médecin traitant and the patient; for another there is nothing, in no
    // result, total or page, nor by any address.
    let fed =
        accepted(&author.post("/DocumentReference", of_type("2.25.808.1", ("34874-8", "10"), MASKED).single()));
    let (id, bytes) = (fed["id"].as_str().unwrap(), address(&fed));
    feed(&author, &of_type("2.25.808.2", ("34874-8", "10"), NORMAL));
    for client in [&author, &treating] {
        assert_eq!(client.find(OTHER).found().0, 2);
        assert_eq!(client.get(&bytes).status, 200);
    }
    assert!(mes.documents(OTHER, "titulaire").contains(&id.to_owned()));
    let page =
        other.get(&format!("/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&_count=1"));
    assert_eq!((page.found().0, page.link("next")), (1, None));
    for path in [format!("/DocumentReference/{id}"), bytes] {
        other.get(&path).assert_refused(404, "", "no such resource");
    }
    let both = of_type("2.25.808.3", ("34874-8", "10"), &["N", "MASQUE_PS", "INVISIBLE_PATIENT"]).single();
    author.post("/DocumentReference", both).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "exclude each other",
    );

    // 2.1-060: announced: neither the patient nor his representatives see it, professionals with rights do; a month after the
    // deposit it shows by itself. That something changed is told after two weeks: notices are not there yet.
    let announced = feed(&author, &of_type("2.25.808.4", ("34112-3", "10"), ANNOUNCED));
    let told = || mes.documents(OTHER, "titulaire").contains(&announced);
    assert!(!told());
    let seen = other.get(&format!("/DocumentReference/{announced}")).json();
    assert!(seen["securityLabel"].to_string().contains("INVISIBLE_PATIENT"), "{seen}");
    world.clock.advance(27);
    assert!(!told());
    world.clock.advance(5);
    assert!(told());
}

fn replaced_four_times(engine: Engine) {
    let world = World::start(engine);
    let (card, mes) = (world.client("cps-medecin"), PatientSide::of(&world));
    let shown = |id: &String| mes.documents(OTHER, "titulaire").contains(id);
    for (number, authorised) in [(1, false), (2, true)] {
        if authorised {
            card.authorise(OTHER);
        }
        let client = if authorised { e_cps(&world, "claire.bernard") } else { card.clone() };
        let id = |version: u8| format!("2.25.809.{number}.{version}");
        let ids: Vec<String> = (0..=6).map(id).collect();
        let replacement = |version: usize, of: (usize, &str), title: &str, size: usize, labels: &[&str]| {
            let example =
                Example { replaces: Some(&ids[of.0]), size, ..document(OTHER, &ids[version], labels) };
            let bytes = example.cda().into_bytes();
            let mut described = example.document_reference(&bytes);
            described["content"][0]["attachment"]["title"] = title.into();
            client.post("", superseding(&example.transaction_of(described, &bytes), of.1).to_string())
        };
        let first = feed(&client, &document(OTHER, &ids[1], ANNOUNCED));
        // 2.1-140#1: another title; with authorisation or without. The new version is a document of its own.
        let answer = replacement(2, (1, &first), "Titre revu", 200, ANNOUNCED);
        assert_eq!(statuses(&answer), ["201 Created", "201 Created", "201 Created", "200 OK"]);
        let second = created(&answer).remove(0);
        assert_eq!((status(&world, &ids[1]), status(&world, &ids[2])), ("superseded".into(), "current".into()));
        assert!(!shown(&second), "announced still");
        // 2.1-140#2: other content under the same title; never of a version that is replaced already, nor under a unique id again.
        let again = replacement(3, (1, &first), "Titre revu", 900, ANNOUNCED);
        again.assert_refused(422, "XDSRegistryMetadataError", "replaced already");
        let again = replacement(2, (2, &second), "Titre revu", 900, ANNOUNCED);
        again.assert_refused(409, "XDSDuplicateUniqueIdInRegistry", &ids[2]);
        let third = created(&replacement(3, (2, &second), "Titre revu", 900, ANNOUNCED)).remove(0);
        // 2.1-140#3: both, and the patient sees it from now on; the version before is superseded, and stays announced.
        let fourth = created(&replacement(4, (3, &third), "Titre final", 1_200, NORMAL)).remove(0);
        assert!(shown(&fourth) && !shown(&third));
        // 2.1-140#4: what he could see is not hidden from him again; the whole is undone.
        let before = (world.rows("document"), world.bodies());
        let hidden = replacement(5, (4, &fourth), "Titre final", 1_200, ANNOUNCED);
        hidden.assert_refused(422, "XDSRegistryMetadataError", "not hidden again");
        assert_eq!((world.rows("document"), world.bodies()), before);
        assert_eq!(status(&world, &ids[4]), "current");
        assert!(shown(&fourth));
        if authorised {
            // The chain is there for who may read it, link by link.
            let mut at = fourth;
            for older in [&third, &second, &first] {
                let read = client.get(&format!("/DocumentReference/{at}")).json();
                assert_eq!(read["relatesTo"][0]["code"], "replaces");
                let target = format!("relatesto={older}&patient.identifier={TEST}%7C{OTHER}");
                let found = client.get(&format!("/DocumentReference?{target}&status=current,superseded"));
                assert_eq!(found.found().1, [at]);
                at = older.clone();
            }
            let current: Vec<String> = client.find(OTHER).found().1;
            assert_eq!(current.len(), 2, "one of each chain");
        }
    }
}

fn several_authors(engine: Engine) {
    let world = strict(engine);
    // 2.1-900: a doctor wrote it, a secretary sends it: both are authors of the document, she is the source of the submission.
    let client = establishment(&world, "INDIRECTE", &as_staff());
    let one_author = letter("2.25.812").1;
    let second = "</author><author><assignedAuthor><id root=\"1.2.250.1.71.4.2.1\" extension=\"3750000010/CPE0001\"/></assignedAuthor></author>";
    let cda = String::from_utf8(one_author.clone()).unwrap().replacen("</author>", second, 1).into_bytes();
    let bundle_of = |structure: &str, cda: &[u8], source: &str| {
        let example = of_type("2.25.812", ("11490-0", "10"), NORMAL);
        let mut document = of_bytes(&example, "text/xml", PDF_IN_CDA, cda);
        let role = json!({ "resourceType": "PractitionerRole", "id": "secretaire",
            "identifier": [{ "system": "urn:oid:1.2.250.1.71.4.2.1", "value": "3750000010/CPE0001" }] });
        document["contained"].as_array_mut().unwrap().push(role);
        document["author"].as_array_mut().unwrap().push(json!({ "reference": "#secretaire" }));
        with_author_organisation(&mut document, structure);
        let text = super::document(OTHER, "2.25.812", NORMAL).transaction_of(document, cda);
        let mut bundle: Value = serde_json::from_str(&text).unwrap();
        bundle["entry"][0]["resource"]["contained"][0]["identifier"][0]["value"] = source.into();
        bundle.to_string()
    };
    let bundle = |structure: &str| bundle_of(structure, &cda, "3750000010/CPE0001");
    for (cda, source, phrase) in [
        (&one_author, "3750000010/CPE0001", "the CDA header has 1 authors, the metadata 2"),
        (&cda, DOCTOR_B, "who sends is who is authenticated"),
    ] {
        let answer = client.post("", bundle_of(HOSPITAL, cda, source));
        answer.assert_refused(422, "XDSRegistryMetadataError", phrase);
    }
    let elsewhere = client.post("", bundle(PRACTICE));
    elsewhere.assert_refused(422, "XDSRegistryMetadataError", &format!("who feeds is an author: {HOSPITAL}"));
    let id = created(&client.post("", bundle(HOSPITAL))).remove(0);
    assert_eq!(attributed(&world, &id).1, HOSPITAL);
    let reader = world.client("cps-infirmier");
    reader.authorise(OTHER);
    for author in [DOCTOR, "3750000010/CPE0001", HOSPITAL] {
        let found = reader.get(&format!(
            "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&author:identifier={author}"
        ));
        assert_eq!(found.found().1, [id.as_str()], "{author}");
    }
    let lists = format!("/List?patient.identifier={TEST}%7C{OTHER}&code=submissionset&status=current");
    assert_eq!(reader.get(&format!("{lists}&source=3750000010/CPE0001")).found().0, 1);
    assert_eq!(reader.get(&format!("{lists}&source={DOCTOR}")).found().0, 0);
}
