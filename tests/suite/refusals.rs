//! Every operation of the OpenAPI description × who must be refused, and who is served: a reviewed table.
//!
//! A new operation without a row fails here: [`request`] does not know how to call it.

use base64::Engine as _;
use habilis::sandbox::example::{self, Example};

use crate::support::{Answer, Client, Engine, FHIR_JSON, OTHER, TEST, World, assert_expected};

/// What the calls are about.
pub struct Target {
    pub document: String,
    pub binary: String,
    pub record: String,
    pub list: String,
}

const SUBSCRIBED: &str = "https://profiles.ihe.net/ITI/DSUBm/SubscriptionTopic/DSUBm-SubscriptionTopic-DocumentReference-PatientDependent";

/// A well-formed call of an operation. `id` is that of a document which the caller may see if anyone may.
pub fn request(
    client: &Client,
    operation: &str,
    Target { document, binary, record, list }: &Target,
    unique_id: &str,
) -> reqwest::Result<Answer> {
    let patient = format!("patient.identifier={TEST}%7C{OTHER}&status=current");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let json = [("Content-Type", FHIR_JSON)];
    let example = Example::new(TEST, OTHER, "OUVERT", unique_id);
    let patch = [("Content-Type", "application/json-patch+json")];
    let plain = [("Content-Type", "application/json")];
    let inactive = r#"[{"op":"replace","path":"/status","value":"inactive"}]"#.to_owned();
    let unchanged = r#"[{"op":"replace","path":"/status","value":"current"}]"#.to_owned();
    let mes = |path: &str| client.at_root(&format!("/mes/v1/dossiers{path}"));
    let ins =
        format!("{{\"ins\":{{\"systeme\":\"{TEST}\",\"valeur\":\"{OTHER}\"}},\"lecteur\":\"titulaire\"}}");
    let opened = format!(
        "{{\"ins\":{{\"systeme\":\"{TEST}\",\"valeur\":\"{OTHER}\"}},\"nom\":\"X\",\"prenom\":\"Y\",\"dateNaissance\":\"1990-01-01\"}}"
    );
    const CLASSES: &str = "https://mos.esante.gouv.fr/NOS/JDV_J57-ClassCode-DMP/FHIR/JDV-J57-ClassCode-DMP";
    match operation {
        "openSession" => client.send(
            "POST",
            &client.at_root("/oauth2/token"),
            &form,
            Some("grant_type=client_credentials&scope=TD0.2".to_owned()),
        ),
        "introspectToken" => {
            client.send("POST", &client.at_root("/oauth2/introspect"), &form, Some("token=x".to_owned()))
        }
        "tokenKeys" => client.send("GET", &client.at_root("/oauth2/jwks"), &[], None),
        "smartConfiguration" => {
            client.send("GET", &client.at_root("/.well-known/smart-configuration"), &[], None)
        }
        "smartConfigurationOfBase" => client.send("GET", "/.well-known/smart-configuration", &[], None),
        "metadata" => client.send("GET", "/metadata", &[], None),
        "searchPatient" => client.send("GET", &format!("/Patient?identifier={TEST}%7C{OTHER}"), &[], None),
        "searchPatientByPost" => {
            client.send("POST", "/Patient/_search", &form, Some(format!("identifier={TEST}%7C{OTHER}")))
        }
        "createConsent" => client.send("POST", "/Consent", &json, Some(example::consent(TEST, OTHER))),
        "provideDocumentBundle" => client.send("POST", "", &json, Some(example.transaction())),
        "publishDocument" => client.send("POST", "/DocumentReference", &json, Some(example.single())),
        "searchDocumentReference" => client.send("GET", &format!("/DocumentReference?{patient}"), &[], None),
        "searchDocumentReferenceByPost" => {
            client.send("POST", "/DocumentReference/_search", &form, Some(patient))
        }
        "readPatient" => client.send("GET", &format!("/Patient/{record}"), &[], None),
        // Of a record that is not there: what is closed would not open again for the next caller.
        "closeRecord" => client.send("POST", "/Patient/unknown/$fermer", &[], None),
        "patchConsent" => client.send("PATCH", "/Consent/unknown", &patch, Some(inactive)),
        "searchConsent" => {
            client.send("GET", &format!("/Consent?patient.identifier={TEST}%7C{OTHER}"), &[], None)
        }
        "searchConsentByPost" => {
            client.send("POST", "/Consent/_search", &form, Some(format!("patient.identifier={TEST}%7C{OTHER}")))
        }
        // A change that changes nothing: who knows the document gets it back.
        "patchDocumentReference" => {
            client.send("PATCH", &format!("/DocumentReference/{document}"), &patch, Some(unchanged))
        }
        "patchDocumentReferenceByIdentifier" => {
            let path = "/DocumentReference?identifier=urn:ietf:rfc:3986%7Curn:oid:2.25.404";
            client.send("PATCH", path, &patch, Some(unchanged))
        }
        "mesOpenRecord" => client.send("POST", &mes(""), &plain, Some(opened)),
        "mesFindRecord" => client.send("POST", &mes("/recherche"), &plain, Some(ins)),
        "mesReadRecord" => client.send("GET", &mes(&format!("/{record}?lecteur=titulaire")), &[], None),
        // Without If-Match: refused before anything is changed.
        "mesChangeRecord" => {
            client.send("PATCH", &mes(&format!("/{record}")), &plain, Some("{\"etat\":\"ouvert\"}".to_owned()))
        }
        "mesEraseRecord" => client.send("DELETE", &mes(&format!("/{record}")), &[], None),
        "mesSetProfessional" => {
            let path = mes(&format!("/{record}/professionnels/810100000024"));
            client.send("PUT", &path, &plain, Some("{\"statut\":\"bloque\"}".to_owned()))
        }
        "mesForgetProfessional" => client.send(
            "DELETE",
            &mes(&format!("/{record}/professionnels/810100000024?lecteur=titulaire")),
            &[],
            None,
        ),
        "mesListDocuments" => {
            client.send("GET", &mes(&format!("/{record}/documents?lecteur=titulaire")), &[], None)
        }
        "mesChangeDocument" => {
            let path = mes(&format!("/{record}/documents/{document}?lecteur=titulaire"));
            client.send("PATCH", &path, &plain, Some("{\"masque\":true}".to_owned()))
        }
        "mesReadAccesses" => {
            client.send("GET", &mes(&format!("/{record}/traces?lecteur=titulaire")), &[], None)
        }
        "refreshDocuments" => {
            let body = format!(
                r#"{{"resourceType":"Parameters","parameter":[{{"name":"patient","valueIdentifier":{{"system":"{TEST}","value":"{OTHER}"}}}},{{"name":"connus","valueId":"{document}"}}]}}"#
            );
            client.send("POST", "/DocumentReference/$actualiser", &json, Some(body))
        }
        "searchList" => client.send("GET", &format!("/List?{patient}&code=submissionset"), &[], None),
        "searchListByPost" => {
            client.send("POST", "/List/_search", &form, Some(format!("{patient}&code=submissionset")))
        }
        "searchAuditEvent" => {
            let path = format!("/AuditEvent?date=ge2020-01-01&entity.identifier={TEST}%7C{OTHER}&_count=0");
            client.send("GET", &path, &[], None)
        }
        "searchAuditEventByPost" => {
            client.send("POST", "/AuditEvent/_search", &form, Some("date=ge2020-01-01&_count=0".to_owned()))
        }
        "createSubscription" => {
            let asked = super::subscriptions::subscription(SUBSCRIBED, OTHER, "https://localhost:1/avis");
            client.send("POST", "/Subscription", &json, Some(asked.to_string()))
        }
        // Nobody's: who has subscriptions at all is told that there is none.
        "updateSubscription" => {
            let asked = super::subscriptions::subscription(SUBSCRIBED, OTHER, "https://localhost:1/avis");
            client.send("PUT", "/Subscription/unknown", &json, Some(asked.to_string()))
        }
        "deleteSubscription" => client.send("DELETE", "/Subscription/unknown", &[], None),
        "readSubscription" => client.send("GET", "/Subscription/unknown", &[], None),
        "statusOfSubscription" => client.send("GET", "/Subscription/unknown/$status", &[], None),
        "searchSubscription" => client.send("GET", "/Subscription?status=off", &[], None),
        "searchSubscriptionByPost" => {
            client.send("POST", "/Subscription/_search", &form, Some("status=off".to_owned()))
        }
        "readList" => client.send("GET", &format!("/List/{list}"), &[], None),
        "generateMetadata" => {
            let data = base64::engine::general_purpose::STANDARD.encode(example.cda());
            let body = format!(
                r#"{{"resourceType":"Parameters","parameter":[{{"name":"document","resource":{{"resourceType":"Binary","contentType":"text/xml","data":"{data}"}}}}]}}"#
            );
            client.send("POST", "/DocumentReference/$generate-metadata", &json, Some(body))
        }
        "documentReferenceHistory" => {
            client.send("GET", &format!("/DocumentReference/{document}/_history"), &[], None)
        }
        "readDocumentReferenceVersion" => {
            client.send("GET", &format!("/DocumentReference/{document}/_history/1"), &[], None)
        }
        // Of a document that is no Bundle: not there, whoever asks and may.
        "readBundle" => client.send("GET", &format!("/Bundle/{binary}"), &[], None),
        "searchValueSet" => client.send("GET", "/ValueSet", &[], None),
        "searchValueSetByPost" => client.send("POST", "/ValueSet/_search", &form, Some(String::new())),
        "readValueSet" => client.send("GET", "/ValueSet/JDV-J57-ClassCode-DMP", &[], None),
        "expandValueSet" => client.send("GET", &format!("/ValueSet/$expand?url={CLASSES}"), &[], None),
        "expandOneValueSet" => client.send("GET", "/ValueSet/JDV-J57-ClassCode-DMP/$expand", &[], None),
        "validateCode" => {
            client.send("GET", &format!("/ValueSet/$validate-code?url={CLASSES}&code=11"), &[], None)
        }
        "validateCodeOfOne" => {
            client.send("GET", "/ValueSet/JDV-J57-ClassCode-DMP/$validate-code?code=11", &[], None)
        }
        "expandValueSetByPost" | "validateCodeByPost" => {
            let operation = if operation == "expandValueSetByPost" { "expand" } else { "validate-code" };
            let code = r#"{"name":"code","valueCode":"11"}"#;
            let code = if operation == "expand" { String::new() } else { format!(",{code}") };
            let body = format!(
                r#"{{"resourceType":"Parameters","parameter":[{{"name":"url","valueUri":"{CLASSES}"}}{code}]}}"#
            );
            client.send("POST", &format!("/ValueSet/${operation}"), &json, Some(body))
        }
        "readDocumentReference" => client.send("GET", &format!("/DocumentReference/{document}"), &[], None),
        "readBinary" => client.send("GET", &format!("/Binary/{binary}"), &[], None),
        other => panic!("« {other} » is in the OpenAPI description and has no row in the refusal test"),
    }
}

/// As [`fed`], with the record.
pub fn target(world: &World, unique_id: &str) -> Target {
    let (document, binary) = fed(world, unique_id);
    let found = world.client("cps-medecin").get(&format!("/Patient?identifier={TEST}%7C{OTHER}"));
    let list = world.text(&format!("SELECT submission_set_id AS text FROM document WHERE id = '{document}'"));
    Target { document, binary, record: found.found().1.remove(0), list }
}

/// Feeds a document and gives the ids of DocumentReference and Binary.
pub fn fed(world: &World, unique_id: &str) -> (String, String) {
    let author = world.client("cps-medecin");
    let single =
        author.post("/DocumentReference", Example::new(TEST, OTHER, "OUVERT", unique_id).single()).json();
    let url = single["content"][0]["attachment"]["url"].as_str().unwrap().to_owned();
    (single["id"].as_str().unwrap().to_owned(), url.rsplit('/').next().unwrap().to_owned())
}

/// A client with a session of a kind, opened for this one call.
fn with_session(world: &World, session: &str, jti: &str) -> Client {
    use crate::support::establishment::{claims, seal};
    use habilis::environment::Clock;
    let issuer = format!("https://localhost:{}", world.listening.api.port());
    let asserted = |mode: &str| {
        let assertion =
            seal(&world.certs, "org-hopital-sign", &claims(&issuer, mode, world.clock.now().as_second(), jti));
        let hospital = world.client("org-hopital");
        let token = hospital
            .ask_token(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", &assertion),
            ])
            .token();
        hospital.with_token(&token)
    };
    match session {
        "e-CPS" => {
            let form = habilis::sandbox::pro_sante_connect::TokenForm::Opaque;
            let subject = world.stand_in.sign_in("ines.roux", habilis::sandbox::CLIENT_ID, form).unwrap();
            let software = world.client("org-psc");
            let token = software
                .ask_token(&[
                    ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                    ("subject_token", &subject),
                    ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                    (
                        "scope",
                        "TD0.2 TD0.3 TD0.4 TD1.3a TD1.4 TD1.6 TD3.3 ITI-65 ITI-105 ITI-66 ITI-67 ITI-68 ITI-81 ITI-110",
                    ),
                ])
                .token();
            software.with_token(&token)
        }
        "INDIRECTE" => asserted("INDIRECTE"),
        "AIR" => asserted("INDIRECTE_RENFORCEE"),
        _ => {
            let midwife = world.client("cps-sage-femme");
            let token = midwife
                .ask_token(&[
                    ("grant_type", "client_credentials"),
                    ("purpose_of_use", "bris_de_glace"),
                    ("motif", "inconscient"),
                    ("patient", &format!("{TEST}|{OTHER}")),
                ])
                .token();
            midwife.with_token(&token)
        }
    }
}

#[test]
fn every_operation_refuses_whom_it_must() {
    let world = World::start(Engine::Sqlite);
    let target = target(&world, "2.25.100");
    world.client("cps-medecin").authorise(OTHER);
    // Card, and what the column is for.
    let cards = [
        (None, "no certificate"),
        (Some("cps-revoque"), "revoked"),
        (Some("cps-expire"), "expired"),
        (Some("cps-inconnu"), "unknown root"),
        (Some("org-hopital-sign"), "seal"),
        (Some("org-hopital-ssl"), "SSL server"),
        (Some("org-hopital"), "organisation"),
        (Some("cpa-support"), "CPA"),
        (Some("cpe-secretaire"), "CPE"),
        (Some("cps-medecin-travail"), "occup. doctor"),
        (Some("cps-infirmier"), "no authorisation"),
        (Some("cps-medecin"), "authorised"),
        (Some("org-mes"), "SI MES"),
    ];
    let mut table =
        String::from("# Status of each operation for each caller. handshake: no connection at all.\n");
    table.push_str(&format!("{:<32}", "operation"));
    let sessions = ["e-CPS", "INDIRECTE", "AIR", "bris de glace"];
    for label in cards.iter().map(|(_, label)| *label).chain(sessions) {
        table.push_str(&format!("{label:<17}"));
    }
    table.push('\n');
    for (_, _, operation) in super::openapi::operations() {
        table.push_str(&format!("{operation:<32}"));
        for (position, (card, _)) in cards.iter().enumerate() {
            let client = Client::new(&world.certs, *card, world.listening.api.port());
            let cell = if operation == "createConsent" && *card == Some("cps-infirmier") {
                // Declaring it would give what the column lacks.
                "-".to_owned()
            } else {
                let unique_id = format!("2.25.101.{position}.{}", operation.len());
                match request(&client, &operation, &target, &unique_id) {
                    Ok(answer) => answer.status.to_string(),
                    Err(error) if error.is_connect() || error.is_request() => "handshake".to_owned(),
                    Err(error) => panic!("{operation} {card:?}: {error}"),
                }
            };
            table.push_str(&format!("{cell:<17}"));
        }
        for (position, session) in sessions.iter().enumerate() {
            let client = with_session(&world, session, &format!("{operation}-{session}"));
            let unique_id = format!("2.25.102.{position}.{}", operation.len());
            let answer = request(&client, &operation, &target, &unique_id).unwrap();
            table.push_str(&format!("{:<17}", answer.status));
        }
        table = table.trim_end().to_owned();
        table.push('\n');
    }
    assert_expected("http_status.txt", &table);
}

#[test]
fn unknown_paths_and_methods_are_refused_and_traced() {
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    let unknown = doctor.get("/Observation");
    unknown.assert_refused(404, "", "no such path");
    let method = doctor.send("DELETE", "/Patient", &[], None).unwrap();
    method.assert_refused(405, "", "method");
    let outside = doctor.get(&format!("https://localhost:{}/", world.listening.api.port()));
    outside.assert_refused(404, "", "no such path");
    for answer in [&unknown, &method, &outside] {
        assert_eq!(world.traces_of(answer.request_id()).len(), 1);
    }
}

#[test]
fn a_request_id_is_echoed_if_it_can_be() {
    let world = World::start(Engine::Sqlite);
    let doctor = world.client("cps-medecin");
    let send = |id: &str| doctor.send("GET", "/metadata", &[("X-Request-Id", id)], None).unwrap();
    assert_eq!(send("abc-1.2").request_id(), "abc-1.2");
    for id in ["a b", "<script>", &"x".repeat(65)] {
        let answer = send(id);
        assert_ne!(answer.request_id(), id);
        assert_eq!(answer.request_id().len(), 36);
    }
}
