//! The TD2 rows on what is fed: models, formats, metadata; vaccination notes, imaging.

use serde_json::{Value, json};

use super::feeding::{
    ANNOUNCED, MASKED, NORMAL, PDF, PDF_IN_CDA, PRACTICE, attributed, letter, of_type, status, statuses,
    strict, with_second,
};
use super::{
    DOCTOR_B, Example, KOS_FORMAT, MINOR, accepted, address, alone, created, document, e_cps, examination,
    manifest, of_bytes, self_presenting, session,
};
use crate::on_both_engines_and_in_xml;
use crate::support::{Client, Engine, OTHER, PatientSide, TEST, World};

on_both_engines_and_in_xml!(
    content_models,
    every_optional_element,
    mandatory_elements_alone,
    structured_documents,
    vaccination_notes,
    an_imaging_manifest_and_its_report,
);

fn content_models(engine: Engine) {
    let world = strict(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    // TNR-02: one document of each of several models, as a transaction; the bytes come back as they went. The models that ANS
    // publishes are fed over `shared/data` (`tests/expected/corpus.txt`).
    for (number, (type_code, class_code, format)) in [
        ("11488-4", "10", "urn:asipSante:modelesHorsProfils:2011"),
        ("11490-0", "10", "urn:asip:ci-sis:ldl-ses:2017"),
        ("18761-7", "11", "urn:asip:ci-sis:ldl-ees:2017"),
        ("11502-2", "10", "urn:ihe:lab:xd-lab:2008"),
        ("15507-7", "10", "urn:asip:ci-sis:fr-su:2024"),
    ]
    .into_iter()
    .enumerate()
    {
        let unique_id = format!("2.25.803.{number}");
        let example = of_type(&unique_id, (type_code, class_code), NORMAL);
        let bytes = example.cda().into_bytes();
        let described = of_bytes(&example, "text/xml", format, &bytes);
        let id = created(&doctor.post("", example.transaction_of(described.clone(), &bytes))).remove(0);
        let read = doctor.get(&format!("/DocumentReference/{id}")).json();
        let attachment = &read["content"][0]["attachment"];
        assert_eq!(attachment["hash"], described["content"][0]["attachment"]["hash"], "SHA-1 of the bytes");
        assert_eq!(attachment["size"], bytes.len());
        assert_eq!(read["content"][0]["format"]["code"], format);
        assert_eq!(doctor.get(&address(&read)).bytes, bytes, "{type_code}");
        // A type belongs to one class.
        let mut elsewhere = described;
        elsewhere["category"][0]["coding"][0]["code"] = "52".into();
        let elsewhere = doctor.post("", example.transaction_of(elsewhere, &bytes));
        elsewhere.assert_refused(422, "XDSRegistryMetadataError", "belongs to class");
    }
    // 2.1-014: a self-presenting document; its style sheet runs nothing and fetches nothing.
    let example = of_type("2.25.803.9", ("11502-2", "10"), NORMAL);
    let self_presenting = |more: &str| {
        let bytes = self_presenting(&example, more);
        let described = of_bytes(&example, "application/xslt+xml", "urn:ihe:lab:xd-lab:2008", &bytes);
        (doctor.post("/DocumentReference", alone(described, &bytes)), bytes)
    };
    for (more, phrase) in [
        ("<script>x()</script>", "script"),
        ("<link rel=\"stylesheet\" href=\"https://example.org/x.css\"/>", "link"),
        ("<img src=\"https://example.org/x.png\"/>", "src"),
        ("<iframe src=\"https://example.org/\"/>", "iframe"),
    ] {
        self_presenting(more).0.assert_refused(422, "XDSRepositoryMetadataError", phrase);
    }
    let (fed, bytes) = self_presenting("");
    assert_eq!(doctor.get(&address(&accepted(&fed))).bytes, bytes);
    // What is not self-presenting does not say so.
    let plain = of_type("2.25.803.10", ("11502-2", "10"), NORMAL);
    let bytes = plain.cda().into_bytes();
    let described = of_bytes(&plain, "application/xslt+xml", "urn:ihe:lab:xd-lab:2008", &bytes);
    doctor.post("/DocumentReference", alone(described, &bytes)).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "self-presenting",
    );
}

fn every_optional_element(engine: Engine) {
    let world = strict(engine);
    let doctor = world.client("cps-medecin");
    // 2.1-010: by card and with e-CPS, alone and in a transaction: version 1, current, each optional element as it was sent; the
    // feed searches nothing.
    for (number, client) in [(1, &doctor), (2, &e_cps(&world, "claire.bernard"))] {
        let rich = |unique_id: &str| {
            let (mut document, cda) = letter(unique_id);
            document["description"] = "Lettre de liaison, relue".into();
            document["context"]["event"] =
                json!([{ "coding": [{ "system": "urn:oid:1.2.250.1.213.2.5", "code": "DEQP003" }] }]);
            document["context"]["related"] = examination(&[("2013:order", "ORD-1")]);
            document["contained"][1]["practitioner"] = json!({ "display": "Claire Bernard" });
            document["contained"][1]["code"] =
                json!([{ "coding": [{ "system": "urn:oid:1.2.250.1.213.1.1.4.5", "code": "G15_10" }] }]);
            (document, cda)
        };
        let (single, transaction) = (format!("2.25.804.{number}"), format!("2.25.804.{number}0"));
        let (sent, cda) = rich(&single);
        let fed = client.post("/DocumentReference", alone(sent.clone(), &cda));
        let kept = accepted(&fed);
        for element in ["description", "contained", "context", "author", "authenticator", "date", "category"] {
            assert_eq!(kept[element], sent[element], "{element}");
        }
        assert_eq!(kept["category"][0]["coding"][0]["code"], "10");
        let operations: Vec<String> =
            world.traces_of(fed.request_id()).into_iter().map(|trace| trace.operation).collect();
        assert_eq!(operations.len(), 1, "{operations:?}");
        assert!(operations[0].starts_with("TD2"), "{operations:?}");
        let (sent, cda) = rich(&transaction);
        let bundle = document(OTHER, &transaction, NORMAL).transaction_of(sent, &cda);
        assert_eq!(statuses(&client.post("", bundle)), ["201 Created"; 3]);
        assert_eq!(status(&world, &transaction), "current");
    }
    assert_eq!(PatientSide::of(&world).documents(OTHER, "titulaire").len(), 4);
    // The caller is one of the authors. The test book wants 403; what a rule on metadata refuses is 422 (docs/errors.md).
    let (document, cda) = letter("2.25.804.3");
    let stranger = world.client("cps-medecin-b").post("/DocumentReference", alone(document, &cda));
    stranger.assert_refused(422, "XDSRegistryMetadataError", DOCTOR_B);
    // The unique id is an OID of at most 128 characters, without ^.
    let longest = format!("2.25.{}", "1".repeat(123));
    for (unique_id, refused) in
        [(longest.clone(), None), (format!("{longest}1"), Some("128")), ("2.25.1^x".to_owned(), Some("OID"))]
    {
        let (document, cda) = letter(&unique_id);
        let fed = doctor.post("/DocumentReference", alone(document, &cda));
        match refused {
            None => drop(accepted(&fed)),
            Some(phrase) => fed.assert_refused(422, "XDSRegistryMetadataError", phrase),
        }
    }
}

fn mandatory_elements_alone(engine: Engine) {
    let world = strict(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let formats: [(&str, &str, &[u8]); 5] = [
        ("text/plain", "urn:ihe:iti:xds-sd:text:2008", "Certificat établi ce jour.\n".as_bytes()),
        ("text/rtf", "urn:ihe:iti-fr:xds-sd:rtf:2010", br"{\rtf1 Certificat}"),
        ("application/pdf", PDF_IN_CDA, PDF),
        ("image/jpeg", "urn:ihe:iti-fr:xds-sd:jpeg:2010", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("image/tiff", "urn:ihe:iti-fr:xds-sd:tiff:2010", b"II*\0\x08\0\0\0\0\0"),
    ];
    // 2.1-011: nothing but what is mandatory, in each of the formats: what is optional is missed by nobody.
    for (number, (media_type, format, bytes)) in formats.into_iter().enumerate() {
        let unique_id = format!("2.25.805.{number}");
        let example = of_type(&unique_id, ("CERT_DECL", "52"), NORMAL);
        let mut document = of_bytes(&example, media_type, format, bytes);
        for optional in ["authenticator", "meta"] {
            document.as_object_mut().unwrap().remove(optional);
        }
        document["context"]["period"].as_object_mut().unwrap().remove("end");
        document["context"].as_object_mut().unwrap().remove("sourcePatientInfo");
        document["contained"].as_array_mut().unwrap().remove(0);
        for optional in ["hash", "size", "language"] {
            document["content"][0]["attachment"].as_object_mut().unwrap().remove(optional);
        }
        let kept = accepted(&doctor.post("/DocumentReference", alone(document, bytes)));
        assert_eq!(kept["content"][0]["attachment"]["contentType"], media_type);
        assert_eq!(doctor.get(&address(&kept)).bytes, bytes);
    }
    // What is mandatory is named where it is missing.
    let example = of_type("2.25.805.9", ("CERT_DECL", "52"), NORMAL);
    let bytes = example.cda().into_bytes();
    for (pointer, name, expression) in [
        ("", "custodian", "custodian"),
        ("", "date", "date"),
        ("/context/period", "start", "context.period.start"),
        ("/content/0/attachment", "title", "content[0].attachment.title"),
    ] {
        let mut document = example.document_reference(&bytes);
        document.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(name);
        let refused = doctor.post("/DocumentReference", alone(document, &bytes));
        assert_eq!((refused.status, refused.code().as_str()), (422, "XDSRegistryMetadataError"));
        let expected = json!([format!("DocumentReference.{expression}")]);
        assert_eq!(refused.json()["issue"][0]["expression"], expected, "{}", refused.text());
    }
    // A title is refused where it is too long, and never cut.
    for (length, status) in [(129, 422), (128, 201)] {
        let mut document = example.document_reference(&bytes);
        document["content"][0]["attachment"]["title"] = "é".repeat(length).into();
        let fed = doctor.post("/DocumentReference", alone(document, &bytes));
        assert_eq!(fed.status, status, "{}", fed.text());
        if status == 201 {
            assert_eq!(fed.json()["content"][0]["attachment"]["title"], "é".repeat(length));
        }
    }
}

fn structured_documents(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    // 2.1-013: a CDA document of level 3 and what is said of it agree; types that are not a professional's are refused.
    let example = of_type("2.25.806.1", ("11490-0", "10"), NORMAL);
    assert_eq!(statuses(&doctor.post("", example.transaction())), ["201 Created"; 3]);
    let example = of_type("2.25.806.2", ("11490-0", "10"), NORMAL);
    let bytes = example.cda().into_bytes();
    let fed = |change: &dyn Fn(&mut Value)| {
        let mut described = example.document_reference(&bytes);
        change(&mut described);
        doctor.post("", example.transaction_of(described, &bytes))
    };
    fed(&|document| document["type"]["coding"][0]["code"] = "11488-4".into()).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "another code",
    );
    let before = (world.rows("document"), world.bodies());
    for (type_code, class_code) in
        [("EXPPAT_1", "90"), ("EXPPAT_2", "90"), ("DOCPAT01", "11"), ("REMB", "60"), ("11369-6", "52")]
    {
        let reserved = of_type("2.25.806.3", (type_code, class_code), NORMAL);
        doctor.post("", reserved.transaction()).assert_refused(422, "XDSRegistryMetadataError", type_code);
    }
    assert_eq!((world.rows("document"), world.bodies()), before);
    assert_eq!(statuses(&fed(&|_| {})), ["201 Created"; 3], "control");
}

fn vaccination_notes(engine: Engine) {
    let world = World::start(engine);
    let (doctor, staff, mes) =
        (world.client("cps-medecin"), world.client("cpe-secretaire"), PatientSide::of(&world));
    let note = |ins, unique_id, labels| {
        let example = Example { type_code: "87273-9", class_code: "52", ..document(ins, unique_id, labels) };
        let bytes = example.cda().into_bytes();
        (of_bytes(&example, "text/xml", "urn:asip:ci-sis:vac-note:2021", &bytes), bytes)
    };
    let fed = |client: &Client, (document, bytes): (Value, Vec<u8>)| {
        client.post("/DocumentReference", alone(document, &bytes))
    };
    // What 2.1-710 refuses: a label beside N, a secret connection with the label or without it, a history by a client.
    for labels in [MASKED, ANNOUNCED] {
        fed(&doctor, note(OTHER, "2.25.810.1", labels)).assert_refused(
            422,
            "XDSRegistryMetadataError",
            "N and nothing else",
        );
    }
    let secret = session(&world, "cps-medecin", &[("connexion_secrete", "true")]);
    for (labels, phrase) in
        [(NORMAL, "secret connection"), (&["N", "INVISIBLE_REPRESENTANTS_LEGAUX"], "N and nothing else")]
    {
        fed(&secret, note(MINOR, "2.25.810.1", labels)).assert_refused(422, "XDSRegistryMetadataError", phrase);
    }
    let history = of_type("2.25.810.2", ("11369-6", "52"), NORMAL).single();
    doctor.post("/DocumentReference", history).assert_refused(422, "XDSRegistryMetadataError", "11369-6");
    accepted(&fed(&doctor, note(OTHER, "2.25.810.1", NORMAL)));
    // Nor does anybody mask it afterwards.
    doctor.authorise(OTHER);
    doctor.label("2.25.810.1", MASKED).assert_refused(422, "XDSRegistryMetadataError", "N and nothing else");

    // 2.2-720: the secretary sends it; who vaccinated and who wrote it stand beside her, all three kept.
    let (mut document, bytes) = note(OTHER, "2.25.810.3", NORMAL);
    for (id, value) in [("redactrice", DOCTOR_B), ("vaccinatrice", "810100000040")] {
        let role = json!({ "resourceType": "PractitionerRole", "id": id,
            "identifier": [{ "system": "urn:oid:1.2.250.1.71.4.2.1", "value": value }] });
        document["contained"].as_array_mut().unwrap().push(role);
        document["author"].as_array_mut().unwrap().push(json!({ "reference": format!("#{id}") }));
    }
    let kept = accepted(&fed(&staff, (document, bytes)));
    assert_eq!(kept["author"].as_array().map(Vec::len), Some(3));
    assert_eq!(attributed(&world, kept["id"].as_str().unwrap()).1, PRACTICE);
    // The test book lets each of them delete it; decision 0018: who fed is the author, being named proves nothing.
    world.client("cps-infirmier").delete_document("2.25.810.3").assert_refused(404, "", "no such resource");
    let replaced = Example { replaces: Some("2.25.810.3"), ..of_type("2.25.810.4", ("87273-9", "52"), NORMAL) };
    world.client("cps-medecin-b").post("/DocumentReference", replaced.single()).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "not known",
    );
    assert_eq!(staff.delete_document("2.25.810.3").status, 200);
    assert_eq!(mes.documents(OTHER, "titulaire").len(), 1);
}

fn an_imaging_manifest_and_its_report(engine: Engine) {
    let world = strict(engine);
    let doctor = world.client("cps-medecin");
    doctor.authorise(OTHER);
    let numbers = examination(&[
        ("2016:studyInstanceUID", "urn:oid:1.2.250.9.1"),
        ("2013:accession", "ACC-1"),
        ("2013:order", "ORD-1"),
    ]);
    // 2.1-800: the manifest and the report in one submission; both carry the numbers of the examination, and are found by each.
    let kos = of_type("2.25.811.1", ("IMG-KOS", "31"), NORMAL);
    let mut manifest_reference = of_bytes(&kos, "application/dicom", KOS_FORMAT, &manifest());
    let report = of_type("2.25.811.2", ("18748-4", "31"), NORMAL);
    let cda = report.cda().into_bytes();
    let mut report_reference = report.document_reference(&cda);
    for reference in [&mut manifest_reference, &mut report_reference] {
        reference["context"]["related"] = numbers.clone();
    }
    let bundle = with_second(
        &kos.transaction_of(manifest_reference, &manifest()),
        &report.transaction_of(report_reference, &cda),
    );
    let answer = doctor.post("", bundle.to_string());
    assert_eq!(statuses(&answer), ["201 Created"; 5]);
    let mut made = created(&answer);
    made.sort();
    for number in ["1.2.250.9.1", "ACC-1", "ORD-1"] {
        let found = doctor.get(&format!(
            "/DocumentReference?patient.identifier={TEST}%7C{OTHER}&status=current&related:identifier={number}"
        ));
        let mut ids = found.found().1;
        ids.sort();
        assert_eq!(ids, made, "{number}");
        let bundle = found.json();
        for entry in bundle["entry"].as_array().unwrap() {
            assert_eq!(entry["resource"]["context"]["related"], numbers);
            assert_eq!(entry["resource"]["category"][0]["coding"][0]["code"], "31");
        }
    }
}
