//! Who is told of what was done: by a real SMTP server, over TLS, and by the signed webhook.

use std::sync::Arc;

use base64::Engine as _;
use habilis::environment::Environment;
use habilis::notification::deliver::Notifier;
use habilis::sandbox::example::Example;
use serde_json::{Value, json};

use crate::homologation::bris_de_glace;
use crate::on_both_engines;
use crate::support::{Client, Engine, KEY, Options, PatientSide, Random, Sinks, TEST, World};

on_both_engines!(
    the_patient_and_the_medecin_traitant_are_told,
    preferences_and_rights_count_at_delivery,
    what_fails_is_tried_again_and_then_seen,
    nothing_is_lost_and_nothing_twice_unrecognised,
);

/// Treated by `cps-medecin`.
const TREATED: &str = "144027599900963";

/// What identifies nobody and tells nothing of health.
const NEVER: [&str; 8] = [
    "TRAITE",
    "THEODORE",
    TREATED,
    "810100000024",
    "infirmier",
    "11488-4",
    "Compte rendu",
    "DocumentReference",
];

/// Subject, text and Message-ID.
fn read(mail: &Value) -> (String, String, String) {
    let text = mail["text"].as_str().unwrap().replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    let head = head.replace("\n ", " ");
    let header = |name: &str| {
        let line = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with(&format!("{}:", name.to_ascii_lowercase())));
        line.map_or(String::new(), |line| line.split_once(": ").unwrap().1.to_owned())
    };
    let body = match header("Content-Transfer-Encoding").as_str() {
        "base64" => {
            let bytes =
                base64::engine::general_purpose::STANDARD.decode(body.split_whitespace().collect::<String>());
            String::from_utf8(bytes.unwrap()).unwrap()
        }
        "quoted-printable" => unquoted(body),
        _ => body.to_owned(),
    };
    (header("Subject"), body, header("Message-ID"))
}

fn unquoted(text: &str) -> String {
    let (mut bytes, text) = (Vec::new(), text.replace("=\n", ""));
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        match (first, after) {
            (b'=', [high, low, after @ ..]) => {
                let pair = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).unwrap(), 16).unwrap());
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn feed(client: &Client, unique_id: &str, labels: &[&str]) {
    let example = Example { labels, ..Example::new(TEST, TREATED, "X", unique_id) };
    let answer = client.post("/DocumentReference", example.single());
    assert_eq!(answer.status, 201, "{}", answer.text());
}

fn kinds(posts: &[Value]) -> Vec<String> {
    let kind = |post: &Value| {
        let body: Value = serde_json::from_str(post["body"].as_str().unwrap()).unwrap();
        body["nature"].as_str().unwrap().to_owned()
    };
    posts.iter().map(kind).collect()
}

/// One round of a notifier of our own, on the world's store and clock.
fn round(world: &World, notifier: &Notifier) -> usize {
    let services = world.services();
    actix_web::rt::System::new().block_on(async move { notifier.round(&services.store).await.unwrap() })
}

fn notifier(world: &World, sinks: &Sinks) -> Notifier {
    let services = world.services();
    actix_web::rt::System::new().block_on(async move { services.store.begin_notices().await.unwrap() });
    let clock: Arc<dyn habilis::environment::Clock> = world.clock.clone();
    Notifier::new(sinks.settings(), Environment::new(clock, Arc::new(Random))).unwrap()
}

fn state(world: &World, state: &str) -> i64 {
    world
        .text(&format!("SELECT CAST(count(*) AS TEXT) AS text FROM notice WHERE state = '{state}'"))
        .parse()
        .unwrap()
}

fn the_patient_and_the_medecin_traitant_are_told(engine: Engine) {
    let sinks = Sinks::start();
    // The server does it by itself.
    let world = World::start_with(engine, Options { notices: sinks.settings(), ..Options::default() });
    let (nurse, author) = (world.client("cps-infirmier"), world.client("cps-medecin-b"));
    nurse.authorise(TREATED);
    assert_eq!(nurse.find(TREATED).status, 200);
    assert_eq!(nurse.find(TREATED).status, 200);
    feed(&author, "2.25.970.1", &["N"]);
    assert_eq!(bris_de_glace(&world, "cps-medecin-b", TREATED).find(TREATED).status, 200);
    // A refusal, and what concerns no document, tells nobody anything.
    assert_eq!(world.client("cpe-secretaire").find(TREATED).status, 403);
    let mails = sinks.await_mails(4);
    let told: Vec<(String, String)> =
        mails.iter().map(|mail| (mail["to"][0].as_str().unwrap().to_owned(), read(mail).0)).collect();
    for (to, subject) in [
        ("patient@example.org", "Premier"),
        ("patient@example.org", "Nouveau document"),
        ("patient@example.org", "urgence"),
        ("docteur@mssante.example", "urgence"),
    ] {
        let found =
            told.iter().filter(|(address, words)| address == to && decoded(words).contains(subject)).count();
        assert_eq!(found, 1, "{to}, {subject}: {told:?}");
    }
    for mail in &mails {
        assert_eq!(mail["tls"], true);
        let (_, body, _) = read(mail);
        assert!(body.starts_with("Bonjour,"), "{body}");
        for never in NEVER {
            assert!(
                !body.contains(never) && !mail["text"].as_str().unwrap().contains(never),
                "{never}: {body}"
            );
        }
    }
    // The SI Mon espace santé learns who, over a signature that another key or body does not have.
    let posts = sinks.posts();
    let mut natures = kinds(&posts);
    natures.sort();
    assert_eq!(natures, ["alimentation", "premier_acces", "urgence"]);
    for post in &posts {
        let header = post["headers"]["habilis-signature"].as_str().unwrap();
        let (seconds, signature) = header.split_once(",v1=").unwrap();
        let (seconds, body) = (seconds.trim_start_matches("t="), post["body"].as_str().unwrap());
        let holds = |key: &[u8], body: &str| {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
            let made = aws_lc_rs::hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
            made.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>() == signature
        };
        assert!(holds(KEY, body) && !holds(b"another", body) && !holds(KEY, "{}"));
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(post["headers"]["idempotency-key"], body["id"]);
        assert!(["810100000024", "810100000040"].contains(&body["acteur"].as_str().unwrap()));
    }
}

/// A subject as it is read (RFC 2047).
fn decoded(subject: &str) -> String {
    let mut text = String::new();
    for word in subject.split(' ') {
        match word.strip_prefix("=?utf-8?b?").and_then(|word| word.strip_suffix("?=")) {
            Some(base64) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
                text.push_str(&String::from_utf8(bytes).unwrap());
            }
            None => text.push_str(&format!("{word} ")),
        }
    }
    text
}

fn preferences_and_rights_count_at_delivery(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let notifier = notifier(&world, &sinks);
    let (mes, author) = (PatientSide::of(&world), world.client("cps-medecin-b"));
    // What he does not want is made, and dropped when it would go out: his word counts at that moment.
    feed(&author, "2.25.971.1", &["N"]);
    mes.change(TREATED, json!({ "notifications": { "alimentation": false } }));
    assert_eq!(round(&world, &notifier), 0);
    assert_eq!((state(&world, "abandonne"), sinks.mails().len(), sinks.posts().len()), (2, 0, 0));
    mes.change(TREATED, json!({ "notifications": { "courriel": false } }));
    feed(&author, "2.25.971.2", &["N"]);
    assert_eq!(round(&world, &notifier), 1);
    assert_eq!((sinks.mails().len(), sinks.posts().len()), (0, 1));
    mes.change(TREATED, json!({ "notifications": {} }));
    // An announcement is waited for; then he is told.
    feed(&author, "2.25.971.3", &["N", "INVISIBLE_PATIENT"]);
    assert_eq!(round(&world, &notifier), 0);
    world.clock.advance(40);
    assert_eq!(round(&world, &notifier), 2);
    assert_eq!((sinks.mails().len(), sinks.posts().len()), (1, 2));
    // Of one that is deleted before its month is over, never.
    feed(&author, "2.25.971.5", &["N", "INVISIBLE_PATIENT"]);
    assert_eq!(round(&world, &notifier), 0);
    assert_eq!(author.delete_document("2.25.971.5").status, 200);
    world.clock.advance(40);
    let dropped = state(&world, "abandonne");
    assert_eq!((round(&world, &notifier), state(&world, "abandonne")), (0, dropped + 2));
    assert_eq!((sinks.mails().len(), sinks.posts().len()), (1, 2));
    // Who is no longer the médecin traitant is not told of an emergency any more.
    assert_eq!(bris_de_glace(&world, "cps-medecin-b", TREATED).find(TREATED).status, 200);
    mes.forget(TREATED, "810100000016");
    assert_eq!(round(&world, &notifier), 2);
    let mails = sinks.mails();
    assert!(mails.iter().all(|mail| mail["to"][0] == "patient@example.org"), "{mails:?}");
    // Nor is anybody told of a record that is closed.
    feed(&author, "2.25.971.4", &["N"]);
    mes.change(TREATED, json!({ "etat": "ferme" }));
    assert_eq!(round(&world, &notifier), 0);
    assert_eq!(state(&world, "attente"), 0);
    assert_eq!(world.rows("notice"), state(&world, "abandonne") + state(&world, "envoye"));
}

fn what_fails_is_tried_again_and_then_seen(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let notifier = notifier(&world, &sinks);
    let author = world.client("cps-medecin-b");
    feed(&author, "2.25.972.1", &["N"]);
    sinks.behave("451");
    assert_eq!(round(&world, &notifier), 0);
    assert_eq!(state(&world, "attente"), 2);
    // Not at once again; after a pause, and longer after each.
    sinks.behave("ok");
    assert_eq!(round(&world, &notifier), 0);
    world.clock.advance_seconds(31);
    assert_eq!(round(&world, &notifier), 2);
    assert_eq!((sinks.mails().len(), sinks.posts().len()), (1, 1));
    // What a relay refuses for good is not tried again; it stays, and the operator sees it. No address stands in what is kept of it.
    feed(&author, "2.25.972.2", &["N"]);
    sinks.behave("550");
    assert_eq!(round(&world, &notifier), 0);
    assert_eq!((state(&world, "echec"), state(&world, "attente")), (1, 1));
    let fault = world.text("SELECT fault AS text FROM notice WHERE state = 'echec'");
    assert_eq!(fault, "the relay answers 550");
    assert!(world.metrics().contains("habilis_notices{state=\"echec\"} 1"), "{}", world.metrics());
    // The webhook for two days; then it is dead too.
    let mut rounds = 0;
    while state(&world, "attente") > 0 {
        world.clock.advance_seconds(12 * 3600 + 1);
        assert_eq!(round(&world, &notifier), 0);
        rounds += 1;
        assert!(rounds < 20);
    }
    assert_eq!((state(&world, "echec"), rounds), (2, 11));
}

fn nothing_is_lost_and_nothing_twice_unrecognised(engine: Engine) {
    let sinks = Sinks::start();
    let world = World::start(engine);
    let author = world.client("cps-medecin-b");
    // Of what was done before notices were switched on nobody is told.
    feed(&author, "2.25.973.8", &["N"]);
    let (first, second) = (notifier(&world, &sinks), notifier(&world, &sinks));
    // Committed, and the process that would have told of it is no more: the next one does.
    for number in 0..5 {
        feed(&author, &format!("2.25.973.{number}"), &["N"]);
    }
    assert_eq!(round(&world, &first), 10);
    assert_eq!((round(&world, &first), round(&world, &second)), (0, 0), "once");
    assert_eq!((sinks.mails().len(), sinks.posts().len()), (5, 5));

    // Killed while the relay has the e-mail and has not answered: what was taken is another's after its lease, and comes with the same name.
    feed(&author, "2.25.973.9", &["N"]);
    sinks.behave("hold");
    let services = world.services();
    actix_web::rt::System::new().block_on(async {
        let killed =
            tokio::time::timeout(std::time::Duration::from_secs(3), first.round(&services.store)).await;
        assert!(killed.is_err(), "control: it was under way");
    });
    assert_eq!(sinks.mails().len(), 6);
    sinks.behave("ok");
    assert_eq!(round(&world, &second), 0, "the lease stands");
    world.clock.advance_seconds(301);
    // Of the two the one that was under way, and the webhook if it came behind.
    assert!((1..=2).contains(&round(&world, &second)));
    let ids: Vec<String> = sinks.mails().iter().map(|mail| read(mail).2).collect();
    assert_eq!((ids.len(), &ids[5]), (7, &ids[6]), "the same Message-ID");
    let distinct: std::collections::HashSet<&String> = ids.iter().collect();
    assert_eq!((distinct.len(), state(&world, "attente")), (6, 0));
}
