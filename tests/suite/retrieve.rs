//! TD3.2, ITI-68: a document's bytes, whole and in parts, in each form; and how they are named.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use habilis::sandbox::example::Example;

use crate::on_both_engines;
use crate::support::{Answer, Client, Engine, OTHER, TEST, World};

on_both_engines!(ranges_conditions_and_forms, a_long_document_is_sent_in_pieces);

/// Longer than two of the pieces in which a body is read, and no whole number of threes.
const LONG: usize = (1 << 20) + (256 << 10) + 1;

fn a_long_document_is_sent_in_pieces(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin-b");
    doctor.authorise(OTHER);
    let text: String = (0..LONG).map(|at| char::from(b'a' + (at % 23) as u8)).collect();
    let example = Example::new(TEST, OTHER, "X", "2.25.996");
    let mut document = example.document_reference(text.as_bytes());
    document["content"][0]["attachment"]["contentType"] = "text/plain".into();
    let fed = doctor.post("", example.transaction_of(document, text.as_bytes()));
    assert_eq!(fed.status, 200, "{}", fed.text());
    let url = doctor.find(OTHER).first_attachment();
    let get = |headers: &[(&str, &str)]| doctor.send("GET", &url, headers, None).unwrap();
    let whole = get(&[]);
    assert!(whole.status == 200 && whole.text() == text, "all of it, as it was fed");
    assert_eq!(whole.header("content-length"), LONG.to_string());
    for (range, expected) in [
        ("bytes=0-0", &text[..1]),
        ("bytes=524287-524288", &text[524_287..524_289]),
        ("bytes=500000-1200000", &text[500_000..=1_200_000]),
        ("bytes=-3", &text[LONG - 3..]),
    ] {
        let part = get(&[("Range", range)]);
        assert!(part.status == 206 && part.text() == expected, "{range}");
    }
    let encoded = BASE64.encode(&text);
    let json = get(&[("Accept", "application/fhir+json")]);
    assert_eq!((json.status, json.header("content-type")), (200, "application/fhir+json; charset=utf-8"));
    assert!(json.json()["data"] == encoded.as_str() && json.json()["contentType"] == "text/plain");
    let xml = get(&[("Accept", "application/fhir+xml")]);
    assert_eq!((xml.status, xml.header("content-type")), (200, "application/fhir+xml; charset=utf-8"));
    let id = url.rsplit('/').next().unwrap();
    let expected = format!(
        "<Binary xmlns=\"http://hl7.org/fhir\"><id value=\"{id}\"/><contentType value=\"text/plain\"/><data value=\"{encoded}\"/></Binary>"
    );
    assert!(xml.text() == expected, "{}", &xml.text()[..200]);
    // Altered in one byte, or cut short: nothing of it goes out.
    let path = world.body(id);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[LONG - 1] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    for headers in [&[][..], &[("Range", "bytes=-9")], &[("Accept", "application/fhir+json")]] {
        assert_eq!(get(headers).status, 503, "altered");
    }
    assert_eq!(get(&[("Range", "bytes=0-0")]).status, 206, "what is sealed apart from it opens without it");
    bytes[LONG - 1] ^= 1;
    bytes[50] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(get(&[("Range", "bytes=0-0")]).status, 503, "altered there");
    bytes.truncate(LONG - 5);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(get(&[]).status, 503, "cut short");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(get(&[]).status, 503, "gone");
}

fn ranges_conditions_and_forms(engine: Engine) {
    let world = World::start(engine);
    let doctor = world.client("cps-medecin-b");
    doctor.authorise(OTHER);
    let example = Example::new(TEST, OTHER, "X", "2.25.995");
    let fed = doctor.post("/DocumentReference", example.single()).json();
    let url = fed["content"][0]["attachment"]["url"].as_str().unwrap();
    let cda = example.cda();
    let get = |client: &Client, headers: &[(&str, &str)]| -> Answer {
        client.send("GET", url, headers, None).unwrap()
    };
    let whole = get(&doctor, &[]);
    assert_eq!((whole.status, whole.text()), (200, cda.as_str()));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let id = url.rsplit('/').next().unwrap();
    assert_eq!(
        whole.header("content-disposition"),
        format!("attachment; filename=\"{id}.xml\"; filename*=UTF-8''Compte%20rendu%20de%20consultation.xml")
    );
    let etag = whole.header("etag").to_owned();
    assert_eq!(etag.len(), 66, "{etag}");

    let part = get(&doctor, &[("Range", "bytes=5-9")]);
    assert_eq!((part.status, part.text()), (206, &cda[5..=9]));
    assert_eq!(part.header("content-range"), format!("bytes 5-9/{}", cda.len()));
    let end = get(&doctor, &[("Range", "bytes=-4"), ("If-Range", &etag)]);
    assert_eq!((end.status, end.text()), (206, &cda[cda.len() - 4..]));
    assert_eq!(
        get(&doctor, &[("Range", "bytes=0-1"), ("If-Range", "\"x\"")]).text(),
        cda,
        "of something else, all of it"
    );
    let beyond = get(&doctor, &[("Range", "bytes=999999-")]);
    beyond.assert_refused(416, "", &format!("the document has {} bytes", cda.len()));
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", cda.len()));
    let held = get(&doctor, &[("If-None-Match", &etag)]);
    assert_eq!((held.status, held.text(), held.header("etag")), (304, "", etag.as_str()));
    assert_eq!(get(&doctor, &[("If-None-Match", "\"x\"")]).status, 200);
    // A Binary has no parts.
    let json = get(&doctor, &[("Accept", "application/fhir+json"), ("Range", "bytes=0-1")]);
    assert_eq!((json.status, json.json()["contentType"].as_str()), (200, Some("text/xml")));
    let xml = get(&doctor, &[("Accept", "application/fhir+xml")]);
    assert_eq!(json.json()["data"], xml.json()["data"]);
    assert_eq!(get(&doctor, &[("Accept", "text/xml, application/fhir+json")]).text(), cda);
    get(&doctor, &[("Accept", "image/png")]).assert_refused(406, "", "text/xml");

    // Each of them has its trace, under the status that was answered.
    for answer in [&part, &beyond, &held] {
        let traces = world.traces_of(answer.request_id());
        assert_eq!((traces.len(), traces[0].status), (1, i32::from(answer.status)));
    }
    // No condition tells that there is something to who may not see it.
    let stranger = world.client("cps-infirmier");
    for headers in [("If-None-Match", etag.as_str()), ("If-None-Match", "*"), ("Range", "bytes=999999-")] {
        get(&stranger, &[headers]).assert_refused(404, "", "no such resource");
    }
}
