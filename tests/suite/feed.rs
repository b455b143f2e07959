//! Feeding: idempotent, atomic, exact, and refused with the finding named.

use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::on_both_engines;
use crate::support::{Engine, OTHER, Options, PATIENT, TEST, World};

on_both_engines!(
    append_and_transform_are_left_out_with_a_warning,
    the_same_again_is_answered_as_the_first_time,
    concurrent_feeds_of_one_unique_id_store_one,
    a_fault_in_one_entry_refuses_the_whole,
    received_values_stay_as_they_were,
    what_is_refused_in_any_mode,
    strict_names_each_fault,
    strict_takes_the_examples,
    a_document_is_replaced_by_its_author_alone,
    bodies_that_are_too_large_too_slow_or_encoded,
);

fn example(unique_id: &str) -> Example<'_> {
    Example::new(TEST, PATIENT, "PAT-TROIS", unique_id)
}

/// The rows and bodies of the fixtures.
const FIXTURES: i64 = 2;

fn the_same_again_is_answered_as_the_first_time(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let body = example("2.25.1").transaction();
    let (first, second) = (doctor.post("", body.clone()), doctor.post("", body));
    assert_eq!(first.status, 200);
    assert_eq!(first.bytes, second.bytes);
    let single = example("2.25.2").single();
    let (first, second) =
        (doctor.post("/DocumentReference", single.clone()), doctor.post("/DocumentReference", single));
    assert_eq!((first.status, second.status), (201, 201));
    assert_eq!(first.bytes, second.bytes);
    assert_eq!(first.header("location"), second.header("location"));
    assert_eq!(world.rows("document"), FIXTURES + 2);
    assert_eq!(world.bodies(), 4);

    // Other bytes, another record, another author: the id is taken.
    let other_bytes = Example { size: 900, ..example("2.25.1") }.transaction();
    doctor.post("", other_bytes).assert_refused(409, "XDSDuplicateUniqueIdInRegistry", "2.25.1");
    let other_record = Example::new(TEST, OTHER, "OUVERT", "2.25.1").transaction();
    doctor.post("", other_record).assert_refused(409, "XDSDuplicateUniqueIdInRegistry", "2.25.1");
    // The same bytes with another label are not what was stored: acknowledging them would leave open what was to be masked.
    let masked = Example { labels: &["N", "MASQUE_PS"], ..example("2.25.1") }.transaction();
    doctor.post("", masked).assert_refused(409, "XDSDuplicateUniqueIdInRegistry", "2.25.1");
    let mut patched: Value = serde_json::from_str(&example("2.25.1").transaction()).unwrap();
    patched["entry"].as_array_mut().unwrap().push(json!({"fullUrl":"urn:uuid:7","resource":{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},{"name":"path","valueString":"DocumentReference.status"},{"name":"value","valueCode":"superseded"}]}]},"request":{"method":"PATCH","url":"DocumentReference/x"}}));
    let patched = doctor.post("", patched.to_string());
    patched.assert_refused(409, "XDSDuplicateUniqueIdInRegistry", "2.25.1");
    let again_alone = doctor.post("/DocumentReference", example("2.25.1").single());
    again_alone.assert_refused(409, "XDSDuplicateUniqueIdInRegistry", "2.25.1");
    let other_author = world.client("cps-medecin-b").post("", example("2.25.1").transaction());
    other_author.assert_refused(409, "XDSDuplicateUniqueIdInRegistry", "2.25.1");
    assert_eq!(world.rows("document"), FIXTURES + 2);
    assert_eq!(world.bodies(), 4, "nothing is left of what was refused");
}

fn concurrent_feeds_of_one_unique_id_store_one(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    doctor.get("/metadata");
    let body = example("2.25.3").transaction();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (doctor, body) = (doctor.clone(), body.clone());
                scope.spawn(move || doctor.post("", body))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.bytes, answers[0].bytes);
    }
    assert_eq!(world.rows("document"), FIXTURES + 1);
    assert_eq!(world.rows("submission_set"), FIXTURES + 1);
    assert_eq!(world.bodies(), 3);
}

/// A transaction of two documents.
fn two(first: &str, second: &str) -> Value {
    let mut bundle: Value = serde_json::from_str(&example(first).transaction()).unwrap();
    let other: Value = serde_json::from_str(&example(second).transaction()).unwrap();
    let mut document = other["entry"][1].clone();
    let mut binary = other["entry"][2].clone();
    document["fullUrl"] = "urn:uuid:00000000-0000-4000-8000-000000000012".into();
    binary["fullUrl"] = "urn:uuid:00000000-0000-4000-8000-000000000013".into();
    document["resource"]["content"][0]["attachment"]["url"] = binary["fullUrl"].clone();
    let listed = json!({ "item": { "reference": document["fullUrl"] } });
    bundle["entry"][0]["resource"]["entry"].as_array_mut().unwrap().push(listed);
    // Binaries first: the order of entries is the client's.
    let entries = bundle["entry"].as_array_mut().unwrap();
    entries.insert(0, binary);
    entries.push(document);
    bundle
}

/// ITI-65, table 2:3.65.4.1.3-1: what is not supported of relatesTo is warned of, and the document is kept.
fn append_and_transform_are_left_out_with_a_warning(engine: Engine) {
    let world = World::start(engine);
    let author = world.client("cps-medecin");
    author.authorise(PATIENT);
    let target = author.post("/DocumentReference", example("2.25.740").single()).json()["id"].clone();
    let relation = |code: &str, id: &str| json!({ "code": code, "target": { "reference": format!("DocumentReference/{id}") } });
    let fed = |unique_id: &str, relations: Value| {
        let mut bundle: Value = serde_json::from_str(&example(unique_id).transaction()).unwrap();
        bundle["entry"][1]["resource"]["relatesTo"] = relations;
        author.post("", bundle.to_string())
    };
    let target = target.as_str().unwrap();
    for (unique_id, relations, codes, kept) in [
        ("2.25.741", json!([relation("appends", target)]), &["PartialAppendContentNotProcessed"][..], 0),
        // Whether the other document is there is told to nobody.
        ("2.25.742", json!([relation("transforms", "nothing")]), &["PartialTransformContentNotProcessed"], 0),
        (
            "2.25.743",
            json!([
                relation("appends", "nothing"),
                relation("replaces", target),
                relation("transforms", target)
            ]),
            &["PartialAppendContentNotProcessed", "PartialTransformContentNotProcessed"],
            1,
        ),
    ] {
        let answer = fed(unique_id, relations.clone());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let response = &answer.json()["entry"][1]["response"];
        let warned: Vec<&str> = response["outcome"]["issue"]
            .as_array()
            .unwrap()
            .iter()
            .map(|issue| {
                assert_eq!(issue["severity"], "warning");
                issue["details"]["coding"][0]["code"].as_str().unwrap()
            })
            .collect();
        assert_eq!(warned, codes);
        let location = response["location"].as_str().unwrap().split("/_history").next().unwrap();
        let read = author.get(&format!("/{location}")).json();
        assert_eq!(read["resourceType"], "DocumentReference", "{read}");
        assert_eq!(read["relatesTo"].as_array().map_or(0, Vec::len), kept, "{read}");
        assert_eq!(fed(unique_id, relations).json(), answer.json(), "the same again");
    }
    // Alone there is no place for a warning.
    let mut single: Value = serde_json::from_str(&example("2.25.744").single()).unwrap();
    single["relatesTo"] = json!([relation("appends", target)]);
    author.post("/DocumentReference", single.to_string()).assert_refused(
        422,
        "XDSRegistryMetadataError",
        "only replaces is taken",
    );
}

fn a_fault_in_one_entry_refuses_the_whole(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let mut faulty = two("2.25.10", "2.25.11");
    faulty["entry"][4]["resource"]["type"]["coding"][0]["code"] = "REMB".into();
    doctor.post("", faulty.to_string()).assert_refused(422, "XDSRegistryMetadataError", "REMB");
    assert_eq!((world.rows("document"), world.rows("submission_set"), world.bodies()), (FIXTURES, FIXTURES, 2));

    // The second is known already: none is stored, the first neither.
    assert_eq!(doctor.post("", example("2.25.11").transaction()).status, 200);
    let taken = doctor.post("", two("2.25.10", "2.25.11").to_string());
    taken.assert_refused(409, "XDSDuplicateUniqueIdInRegistry", "2.25.11");
    assert_eq!((world.rows("document"), world.bodies()), (FIXTURES + 1, 3));

    let both = doctor.post("", two("2.25.12", "2.25.13").to_string());
    assert_eq!(both.status, 200, "{}", both.text());
    let kinds: Vec<String> = both.json()["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["location"].as_str().unwrap().split('/').next().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["Binary", "List", "DocumentReference", "Binary", "DocumentReference"]);
    assert_eq!(doctor.post("", two("2.25.12", "2.25.13").to_string()).bytes, both.bytes);
}

fn received_values_stay_as_they_were(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    let extension = r#""extension":[{"url":"urn:x","valueDecimal":1.10},{"url":"urn:y","valueQuantity":{"value":2.500,  "unit":"\u00e9\t é"}}],"#;
    let body = example("2.25.20")
        .transaction()
        .replace(r#""masterIdentifier":"#, &format!("{extension}\"masterIdentifier\":"));
    assert_eq!(doctor.post("", body).status, 200);
    doctor.authorise(PATIENT);
    let found = doctor.find(PATIENT);
    assert!(found.text().contains(extension), "{}", found.text());
    let read = doctor.get(found.json()["entry"][0]["fullUrl"].as_str().unwrap());
    assert!(read.text().contains(extension));
    // What FHIR does not know is not kept: XML could not say it.
    let unknown = example("2.25.21")
        .transaction()
        .replace(r#""masterIdentifier":"#, r#""zz":{"b":1},"masterIdentifier":"#);
    doctor.post("", unknown).assert_refused(400, "", "Bundle.entry[1].resource.zz: no element of this type");
}

fn what_is_refused_in_any_mode(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin");
    // A name, the change to a good transaction, then status, code, phrase.
    type Change = fn(&mut Value);
    let faults: &[(&str, Change, u16, &str, &str)] = &[
        (
            "hash",
            |b| b["entry"][1]["resource"]["content"][0]["attachment"]["hash"] = "AAAA".into(),
            422,
            "XDSNonIdenticalHash",
            "SHA-1",
        ),
        (
            "size",
            |b| b["entry"][1]["resource"]["content"][0]["attachment"]["size"] = 3.into(),
            422,
            "XDSNonIdenticalHash",
            "size",
        ),
        (
            "unknown type",
            |b| b["entry"][1]["resource"]["type"]["coding"][0]["code"] = "1-1".into(),
            422,
            "XDSRegistryMetadataError",
            "JDV_J66",
        ),
        (
            "vaccination history",
            |b| b["entry"][1]["resource"]["type"]["coding"][0]["code"] = "11369-6".into(),
            422,
            "XDSRegistryMetadataError",
            "11369-6",
        ),
        (
            "deposited by patients",
            |b| b["entry"][1]["resource"]["type"]["coding"][0]["code"] = "DOCPAT03".into(),
            422,
            "XDSRegistryMetadataError",
            "DOCPAT03",
        ),
        (
            "CDA of another type",
            |b| b["entry"][1]["resource"]["type"]["coding"][0]["code"] = "11502-2".into(),
            422,
            "XDSRegistryMetadataError",
            "another code",
        ),
        (
            "CDA of another id",
            |b| b["entry"][1]["resource"]["masterIdentifier"]["value"] = "urn:oid:2.25.999".into(),
            422,
            "XDSRegistryMetadataError",
            "another id",
        ),
        (
            "no unique id",
            |b| {
                b["entry"][1]["resource"].as_object_mut().unwrap().remove("masterIdentifier");
                b["entry"][1]["resource"].as_object_mut().unwrap().remove("identifier");
            },
            422,
            "XDSRegistryMetadataError",
            "unique id",
        ),
        (
            "unique id no OID",
            |b| b["entry"][1]["resource"]["masterIdentifier"]["value"] = "urn:oid:1.2^3".into(),
            422,
            "XDSRegistryMetadataError",
            "OID",
        ),
        (
            "status",
            |b| b["entry"][1]["resource"]["status"] = "superseded".into(),
            422,
            "XDSRegistryMetadataError",
            "current",
        ),
        (
            "title",
            |b| b["entry"][1]["resource"]["content"][0]["attachment"]["title"] = "x".repeat(129).into(),
            422,
            "XDSRegistryMetadataError",
            "128",
        ),
        (
            "label",
            |b| b["entry"][1]["resource"]["securityLabel"][0]["coding"][0]["code"] = "MASQUE_PT".into(),
            422,
            "XDSRegistryMetadataError",
            "none of the DMP",
        ),
        (
            "cumul",
            |b| {
                b["entry"][1]["resource"]["securityLabel"] =
                    json!([{"coding":[{"code":"MASQUE_PS"}]},{"coding":[{"code":"INVISIBLE_PATIENT"}]}])
            },
            422,
            "XDSRegistryMetadataError",
            "exclude each other",
        ),
        ("date", |b| b["entry"][1]["resource"]["date"] = "hier".into(), 400, "", "no instant"),
        (
            "relates",
            |b| {
                b["entry"][1]["resource"]["relatesTo"] =
                    json!([{"code":"signs","target":{"reference":"DocumentReference/x"}}])
            },
            422,
            "XDSRegistryMetadataError",
            "replaces",
        ),
        (
            "media type",
            |b| {
                b["entry"][1]["resource"]["content"][0]["attachment"]["contentType"] = "text/html".into();
                b["entry"][2]["resource"]["contentType"] = "text/html".into();
            },
            422,
            "XDSRepositoryMetadataError",
            "no such media type",
        ),
        (
            "media types differ",
            |b| b["entry"][2]["resource"]["contentType"] = "application/pdf".into(),
            422,
            "XDSRegistryMetadataError",
            "Binary",
        ),
        ("base64", |b| b["entry"][2]["resource"]["data"] = "?".into(), 400, "", "base64"),
        (
            "no Binary",
            |b| {
                b["entry"].as_array_mut().unwrap().remove(2);
            },
            422,
            "XDSRegistryMetadataError",
            "Binary",
        ),
        (
            "a Binary too many",
            |b| {
                let mut more = b["entry"][2].clone();
                more["fullUrl"] = "urn:uuid:9".into();
                b["entry"].as_array_mut().unwrap().push(more);
            },
            422,
            "",
            "no DocumentReference names",
        ),
        (
            "no SubmissionSet",
            |b| {
                b["entry"].as_array_mut().unwrap().remove(0);
            },
            400,
            "",
            "SubmissionSet",
        ),
        (
            "list of others",
            |b| b["entry"][0]["resource"]["entry"] = json!([{ "item": { "display": "none of them" } }]),
            422,
            "XDSRegistryMetadataError",
            "exactly",
        ),
        (
            "folder",
            |b| b["entry"][0]["resource"]["code"]["coding"][0]["code"] = "worklist".into(),
            422,
            "",
            "a submissionset or a folder",
        ),
        ("method", |b| b["entry"][1]["request"]["method"] = "PUT".into(), 422, "", "PUT"),
        (
            "foreign entry",
            |b| {
                b["entry"].as_array_mut().unwrap().push(json!({"fullUrl":"urn:uuid:8","resource":{"resourceType":"Observation"},"request":{"method":"POST","url":"Observation"}}))
            },
            422,
            "",
            "Observation",
        ),
        ("batch", |b| b["type"] = "batch".into(), 400, "", "a Bundle of type transaction"),
        (
            "no patient",
            |b| {
                b["entry"][1]["resource"].as_object_mut().unwrap().remove("subject");
            },
            400,
            "",
            "patient",
        ),
        (
            "two patients",
            |b| {
                b["entry"][0]["resource"]["subject"]["reference"] =
                    format!("Patient?identifier={TEST}|{OTHER}").into()
            },
            422,
            "XDSRegistryMetadataError",
            "one patient",
        ),
        (
            "patch of a stranger",
            |b| {
                b["entry"].as_array_mut().unwrap().push(json!({"fullUrl":"urn:uuid:7","resource":{"resourceType":"Parameters","parameter":[{"name":"operation","part":[{"name":"type","valueCode":"replace"},{"name":"path","valueString":"DocumentReference.status"},{"name":"value","valueCode":"superseded"}]}]},"request":{"method":"PATCH","url":"DocumentReference/x"}}))
            },
            422,
            "",
            "supersedes",
        ),
    ];
    for (position, (name, change, status, code, phrase)) in faults.iter().enumerate() {
        let mut bundle: Value =
            serde_json::from_str(&example(&format!("2.25.50{position}")).transaction()).unwrap();
        change(&mut bundle);
        let answer = doctor.post("", bundle.to_string());
        println!("{name}: {} {}", answer.status, answer.text());
        answer.assert_refused(*status, code, phrase);
    }
    // Bytes that are not what they say.
    let of_other = Example::new(TEST, OTHER, "OUVERT", "2.25.600").cda();
    for (name, cda, code, phrase) in [
        ("another patient", of_other.as_str(), "XDSRegistryMetadataError", "another patient"),
        ("not XML", "%PDF-1.7", "XDSRepositoryMetadataError", "not acceptable XML"),
        ("not CDA", "<html/>", "XDSRepositoryMetadataError", "no ClinicalDocument"),
        (
            "DTD",
            "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><ClinicalDocument xmlns=\"urn:hl7-org:v3\">&e;</ClinicalDocument>",
            "XDSRepositoryMetadataError",
            "DTD",
        ),
    ] {
        let answer = doctor.post("", with_bytes("2.25.600", cda));
        println!("{name}: {}", answer.text());
        answer.assert_refused(422, code, phrase);
    }
    // What two readers could read in two ways.
    let twice = example("2.25.601").transaction().replacen(
        "\"status\":\"current\"",
        "\"status\":\"current\",\"status\":\"current\"",
        1,
    );
    doctor.post("", twice).assert_refused(400, "", "stands twice");
    doctor.post("", "{").assert_refused(400, "", "JSON");
    let html = doctor.send("POST", "", &[("Content-Type", "text/html")], Some("<Bundle/>".into())).unwrap();
    html.assert_refused(400, "", "application/fhir+json or application/fhir+xml");
    assert_eq!((world.rows("document"), world.rows("submission_set"), world.bodies()), (FIXTURES, FIXTURES, 2));
}

fn with_bytes(unique_id: &str, bytes: &str) -> String {
    let example = example(unique_id);
    example.transaction_of(example.document_reference(bytes.as_bytes()), bytes.as_bytes())
}

fn strict_names_each_fault(engine: Engine) {
    let world = World::start_with(engine, Options { strict: true, ..Options::default() });
    let doctor = world.client("cps-medecin");
    let mut bundle: Value = serde_json::from_str(&example("2.25.30").transaction()).unwrap();
    let list = bundle["entry"][0]["resource"].as_object_mut().unwrap();
    list.remove("identifier");
    list["contained"][0]["resourceType"] = "Practitioner".into();
    list["extension"][0]["valueCodeableConcept"]["coding"][0] = json!({ "system": "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument", "code": "11" });
    let document = bundle["entry"][1]["resource"].as_object_mut().unwrap();
    for element in ["custodian", "identifier", "securityLabel", "date"] {
        document.remove(element);
    }
    document["category"][0]["coding"][0]["code"] = "11".into();
    document["contained"][1]["identifier"][0]["value"] = "899700218896".into();
    document["context"]["facilityType"]["coding"][0]["code"] = "22232009".into();
    document["context"]["practiceSetting"]["coding"][0]["code"] = "394802001".into();
    document["context"].as_object_mut().unwrap().remove("period");
    document["content"][0]["format"]["code"] = "urn:ihe:iti:xds:2017:mimeTypeSufficient".into();
    for element in ["hash", "size", "language", "creation"] {
        document["content"][0]["attachment"].as_object_mut().unwrap().remove(element);
    }
    let answer = doctor.post("", bundle.to_string());
    assert_eq!(answer.status, 422, "{}", answer.text());
    let outcome = answer.json();
    let mut expressions: Vec<&str> = outcome["issue"]
        .as_array()
        .unwrap()
        .iter()
        .map(|issue| issue["expression"][0].as_str().unwrap())
        .collect();
    expressions.sort_unstable();
    let document = |element: &str| format!("Bundle.entry[1].resource.{element}");
    let mut expected: Vec<String> = [
        "author",
        "category",
        "content[0].attachment.creation",
        "content[0].attachment.hash",
        "content[0].attachment.language",
        "content[0].attachment.size",
        "content[0].format",
        "context.facilityType",
        "context.period.start",
        "context.practiceSetting",
        "custodian",
        "date",
        "identifier",
        "securityLabel",
    ]
    .map(document)
    .into_iter()
    .chain(["List.identifier", "List.source", "List.extension('ihe-designationType')"].map(str::to_owned))
    .collect();
    expected.sort_unstable();
    assert_eq!(expressions, expected);
    // Control: the same is accepted by a tolerant server.
    drop(world);
    let tolerant = World::start(engine);
    assert_eq!(tolerant.client("cps-medecin").post("", bundle.to_string()).status, 200);
}

fn strict_takes_the_examples(engine: Engine) {
    let world = World::start_with(engine, Options { strict: true, ..Options::default() });
    let doctor = world.client("cps-medecin");
    let answer = doctor.post("", example("2.25.31").transaction());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = doctor.post("/DocumentReference", example("2.25.32").single());
    assert_eq!(answer.status, 201, "{}", answer.text());
    // A secretary feeds for her practice; the custodian comes from her card.
    let secretary = world.client("cpe-secretaire");
    let mut bundle: Value = serde_json::from_str(&example("2.25.33").transaction()).unwrap();
    let document = bundle["entry"][1]["resource"].as_object_mut().unwrap();
    document.remove("custodian");
    secretary.post("", bundle.to_string()).assert_refused(422, "XDSRegistryMetadataError", "1750000101");
    let document = bundle["entry"][1]["resource"].as_object_mut().unwrap();
    document["contained"][1]["organization"] = json!({ "reference": "#cabinet" });
    let practice =
        json!({ "resourceType": "Organization", "id": "cabinet", "identifier": [{ "value": "1750000101" }] });
    document["contained"].as_array_mut().unwrap().push(practice);
    bundle["entry"][0]["resource"]["contained"][0]["identifier"][0]["value"] = "3750000101/CPE0001".into();
    let answer = secretary.post("", bundle.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    doctor.authorise(PATIENT);
    let found = doctor.get(&format!(
        "/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&status=current&identifier=urn:oid:2.25.33"
    ));
    let custodian = &found.json()["entry"][0]["resource"]["custodian"];
    assert_eq!(custodian["identifier"]["value"], "1750000101");
    assert_eq!(custodian["display"], "CABINET DU DR BERNARD");
}

fn a_document_is_replaced_by_its_author_alone(engine: Engine) {
    let world = World::start(engine);
    let (author, other) = (world.client("cps-medecin"), world.client("cps-medecin-b"));
    assert_eq!(author.post("", example("2.25.40").transaction()).status, 200);
    let second = Example { replaces: Some("2.25.40"), ..example("2.25.41") };
    other.post("", second.transaction()).assert_refused(422, "XDSRegistryMetadataError", "not known");
    let third = Example { replaces: Some("2.25.404"), ..example("2.25.42") };
    author.post("", third.transaction()).assert_refused(422, "XDSRegistryMetadataError", "not known");
    assert_eq!(world.rows("document"), FIXTURES + 1);

    assert_eq!(author.post("", second.transaction()).status, 200);
    author.authorise(PATIENT);
    assert_eq!(author.find(PATIENT).found().0, 1, "the old one is no longer current");
    let superseded =
        author.get(&format!("/DocumentReference?patient.identifier={TEST}%7C{PATIENT}&status=superseded"));
    assert_eq!(superseded.found().0, 1);
    let old = &superseded.json()["entry"][0]["resource"];
    assert_eq!((&old["status"], &old["meta"]["versionId"]), (&json!("superseded"), &json!("2")));
    assert_eq!(author.get(&superseded.first_attachment()).text(), example("2.25.40").cda());

    let again = Example { replaces: Some("2.25.40"), ..example("2.25.43") };
    author.post("", again.transaction()).assert_refused(422, "XDSRegistryMetadataError", "replaced already");
    // The same replacement again is the first answer again.
    assert_eq!(author.post("", second.transaction()).status, 200);
}

fn bodies_that_are_too_large_too_slow_or_encoded(engine: Engine) {
    let deadline = std::time::Duration::from_millis(600);
    let world = World::start_with(engine, Options { body_deadline: deadline, ..Options::default() });
    let doctor = world.client("cps-medecin");
    let huge = " ".repeat((64 << 20) + 1);
    doctor.post("", huge).assert_refused(413, "", "bytes");
    let encoded = doctor.send(
        "POST",
        "",
        &[("Content-Type", "application/fhir+json"), ("Content-Encoding", "gzip")],
        Some("{}".into()),
    );
    encoded.unwrap().assert_refused(400, "", "Content-Encoding");
    let status = trickle(&world, b"{");
    assert!(status.starts_with("HTTP/1.1 408"), "{status}");
}

/// Announces a long body and sends its first byte only.
fn trickle(world: &World, first: &[u8]) -> String {
    use std::io::{Read, Write};
    let config = std::sync::Arc::new(crate::support::tls_config(&world.certs, Some("cps-medecin")));
    let mut session = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut socket = std::net::TcpStream::connect(world.listening.api).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    stream
        .write_all(b"POST /fhir HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nContent-Length: 1000\r\n\r\n")
        .unwrap();
    stream.write_all(first).unwrap();
    let mut answer = [0; 256];
    let read = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..read]).into_owned()
}
