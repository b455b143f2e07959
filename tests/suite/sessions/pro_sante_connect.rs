//! The professional behind an e-CPS token, and a provider that misbehaves.

use habilis::sandbox::CLIENT_ID;
use habilis::sandbox::pro_sante_connect::{Behaviour, TokenForm};
use serde_json::Value;

use super::{ACCESS_TOKEN, assert_error, claims_of, exists};
use crate::support::{Answer, Client, Engine, World};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

fn exchange(client: &Client, token: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![
        ("grant_type", EXCHANGE),
        ("subject_token", token),
        ("subject_token_type", ACCESS_TOKEN),
        ("scope", "TD0.2 TD0.3 ITI-65 ITI-105 ITI-67 ITI-68"),
    ];
    form.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    form.extend_from_slice(more);
    form.retain(|(_, value)| !value.is_empty());
    client.ask_token(&form)
}

pub fn sign_in(world: &World, login: &str) -> String {
    world.stand_in.sign_in(login, CLIENT_ID, TokenForm::Opaque).unwrap()
}

#[test]
fn pro_sante_connect_says_who_acts() {
    let world = World::start(Engine::Sqlite);
    let software = world.client("org-psc");
    exists(&software).assert_refused(401, "", "who acts");
    let subject = sign_in(&world, "claire.bernard");
    let answer = exchange(
        &software,
        &subject,
        &[
            ("lps_nom", "Logiciel de démonstration"),
            ("lps_version", "1.4"),
            ("lps_id_homologation", "DEMO-DMP-0001"),
        ],
    );
    assert_eq!(answer.json()["issued_token_type"], ACCESS_TOKEN, "{}", answer.text());
    let doctor = software.with_token(&answer.token());
    assert_eq!(exists(&doctor).status, 200);
    let trace = world.traces().pop().unwrap();
    assert_eq!(
        (trace.caller_kind.as_str(), trace.caller_id.as_str()),
        ("e-CPS", "810100000016"),
        "SubjectNameID, not sub"
    );
    assert_eq!(trace.authentication, "DIRECTE_PSC");
    assert_eq!(trace.caller_structure.as_deref(), Some("1750000036"));
    assert_eq!(trace.software.as_deref(), Some("Logiciel de démonstration 1.4 DEMO-DMP-0001"));
    // UserInfo is kept for the two minutes of the token, and not longer.
    let asked = (world.stand_in.introspections(), world.stand_in.user_infos());
    assert_eq!(exchange(&software, &subject, &[]).status, 200);
    assert_eq!((world.stand_in.introspections(), world.stand_in.user_infos()), asked);
    world.clock.advance_seconds(121);
    assert_error(&exchange(&software, &subject, &[]), 400, "invalid_grant", "not active");
    // Both printed token types; a JWT by the provider's keys.
    let subject = sign_in(&world, "marc.leroy");
    let jwt_type = "urn:ietf:params:oauth:token-type:jwt";
    assert_eq!(exchange(&software, &subject, &[("subject_token_type", jwt_type)]).status, 200);
    let kind =
        exchange(&software, &subject, &[("subject_token_type", "urn:ietf:params:oauth:token-type:saml2")]);
    assert_error(&kind, 400, "invalid_request", "subject_token_type");
    assert_error(&exchange(&software, &subject, &[("scope", "")]), 400, "invalid_request", "scope");
    let introspections = world.stand_in.introspections();
    let jwt = world.stand_in.sign_in("marc.leroy", CLIENT_ID, TokenForm::Jwt).unwrap();
    assert_eq!(exchange(&software, &jwt, &[]).status, 200);
    assert_eq!(world.stand_in.introspections(), introspections, "a JWT is not asked about");
    let broken = format!("{}x", &jwt[..jwt.len() - 2]);
    assert_error(&exchange(&software, &broken, &[]), 400, "invalid_grant", "signature");
    assert_error(&exchange(&software, "unknown-token", &[]), 400, "invalid_grant", "not active");
    // The certificate must be that of a registered client.
    assert_error(
        &exchange(&world.client("org-hopital"), &jwt, &[]),
        403,
        "unauthorized_client",
        "no Pro Santé Connect client",
    );
    assert_error(
        &exchange(&world.client("cps-medecin"), &jwt, &[]),
        403,
        "unauthorized_client",
        "organisation certificates",
    );
}

#[test]
fn several_situations_are_named() {
    let world = World::start(Engine::Sqlite);
    let software = world.client("org-psc");
    let two = sign_in(&world, "odile.double");
    assert_error(&exchange(&software, &two, &[]), 400, "invalid_request", "10C, 21C");
    assert_error(
        &exchange(&software, &two, &[("situation_exercice", "60C")]),
        403,
        "access_denied",
        "10C, 21C",
    );
    for (key, profession) in [("10C", "10"), ("21C", "21")] {
        let token = exchange(&software, &two, &[("situation_exercice", key)]).token();
        let read = software.ask_introspection(&token);
        assert_eq!(read["active"], true, "{read}");
        assert_eq!(read["sub"], "810100000149");
        let claims: Value = claims_of(&token);
        assert_eq!(claims["extensions"]["ihe_iua"]["subject_role"][0]["code"], profession);
    }
    let sites = sign_in(&world, "denis.deuxsites");
    assert_error(&exchange(&software, &sites, &[]), 400, "invalid_request", "1750000010, 1750000036");
    let token = exchange(&software, &sites, &[("structure", "1750000010")]).token();
    assert_eq!(claims_of(&token)["extensions"]["ihe_iua"]["subject_organization_id"], "1750000010");
    assert_eq!(exchange(&software, &sign_in(&world, "rose.doublon"), &[]).status, 200, "twice the same is one");
    assert_eq!(exchange(&software, &sign_in(&world, "emma.faure"), &[]).status, 200, "no activity");
    let regulating = sign_in(&world, "yann.lambert");
    assert_eq!(exchange(&software, &regulating, &[("purpose_of_use", "centre_15")]).status, 200);
    let other = sign_in(&world, "claire.bernard");
    assert_error(
        &exchange(&software, &other, &[("purpose_of_use", "centre_15")]),
        403,
        "access_denied",
        "regulating",
    );
}

#[test]
fn a_provider_that_misbehaves_lets_nobody_in() {
    let world = World::start(Engine::Sqlite);
    let software = world.client("org-psc");
    let opaque = || sign_in(&world, "claire.bernard");
    let jwt = || world.stand_in.sign_in("claire.bernard", CLIENT_ID, TokenForm::Jwt).unwrap();
    let token = opaque();
    world.stand_in.behave(Behaviour::Expired);
    assert_error(&exchange(&software, &token, &[]), 400, "invalid_grant", "not active");
    for (behaviour, phrase) in [
        (Behaviour::WrongKeyId, "unknown to the provider"),
        (Behaviour::Expired, "expired"),
        (Behaviour::OtherClient, "another client"),
        (Behaviour::OtherIssuer, "another issuer"),
    ] {
        world.stand_in.behave(behaviour);
        world.clock.advance_seconds(31);
        let token = jwt();
        world.stand_in.behave(Behaviour::Honest);
        assert_error(&exchange(&software, &token, &[]), 400, "invalid_grant", phrase);
    }
    for (behaviour, phrase) in
        [(Behaviour::OtherClient, "another client"), (Behaviour::OtherIssuer, "another issuer")]
    {
        let token = opaque();
        world.stand_in.behave(behaviour);
        assert_error(&exchange(&software, &token, &[]), 400, "invalid_grant", phrase);
    }
    for behaviour in
        [Behaviour::Down, Behaviour::NotJson, Behaviour::Late, Behaviour::TooLong, Behaviour::Unauthorised]
    {
        world.stand_in.behave(Behaviour::Honest);
        let token = opaque();
        world.stand_in.behave(behaviour);
        let answer = exchange(&software, &token, &[]);
        assert_eq!(answer.status, 503, "{behaviour:?}: {}", answer.text());
        assert_eq!(answer.json()["error"], "temporarily_unavailable");
        assert!(!answer.text().contains("Connect"), "the cause is not told");
    }
    // What UserInfo answers 401 is about the token; what introspection does (above) is about us.
    world.stand_in.behave(Behaviour::Honest);
    assert_eq!(exchange(&software, &jwt(), &[]).status, 200, "the keys are known");
    let token = jwt();
    world.stand_in.behave(Behaviour::Unauthorised);
    assert_error(&exchange(&software, &token, &[]), 400, "invalid_grant", "not active");
    world.stand_in.behave(Behaviour::RandomFaults);
    let (mut opened, mut later) = (0, 0);
    for _ in 0..120 {
        match exchange(&software, &opaque(), &[]).status {
            200 => opened += 1,
            503 => later += 1,
            other => panic!("{other}"),
        }
    }
    assert!(opened > 90 && later > 0, "{opened} opened, {later} to try again");
    world.stand_in.behave(Behaviour::Honest);
    assert_eq!(exchange(&software, &opaque(), &[]).status, 200, "control");
}
