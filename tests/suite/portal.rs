//! The portal: pages and health, never health data, no client certificate.

use crate::support::{Engine, PATIENT, World};

#[test]
fn pages_health_and_metrics() {
    let world = World::start(Engine::Sqlite);
    let get = |path: &str| {
        let answer = reqwest::blocking::get(format!("http://{}{path}", world.listening.portal)).unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    };
    let (status, home) = get("/");
    assert_eq!(status, 200);
    assert!(home.contains("cps-medecin") && home.contains(PATIENT), "cards, and a patient of the first calls");
    assert!(home.contains("ne fait pas foi"), "the demonstration matrix is marked");
    let (_, docs) = get("/docs");
    for (method, path, _) in super::openapi::operations() {
        assert!(docs.contains(&format!("<code>{method} {path}</code>")), "{method} {path}");
    }
    assert_eq!(get("/openapi.json").1, habilis::api::openapi::json().unwrap());
    let (_, errors) = get("/errors");
    for reason in habilis::error::Reason::ALL {
        assert!(errors.contains(reason.french()), "{reason:?}");
    }
    assert_eq!(get("/errors.json").1, habilis::error::catalogue::to_json().unwrap());
    assert_eq!(get("/health/live"), (200, "live\n".into()));
    assert_eq!(get("/health/ready"), (200, "store: ok\nrevocation lists: ok\nstopping: no\n".into()));
    let (_, metrics) = get("/metrics");
    assert!(metrics.contains("habilis_commits_total "));
    assert!(!metrics.contains(PATIENT));
    assert_eq!(get("/fhir/metadata").0, 404, "the API is not here");
}
