//! TD3.2, ITI-68: a document's bytes, whole and in parts, in each form; and how they are named.

use habilis::sandbox::example::Example;

use crate::on_both_engines;
use crate::support::{Answer, Client, Engine, OTHER, TEST, World};

on_both_engines!(ranges_conditions_and_forms);

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
