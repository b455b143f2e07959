//! The value sets of the DMP: found, expanded, asked whether they hold a code.

use crate::on_both_engines_and_in_xml;
use crate::support::{Engine, World};

on_both_engines_and_in_xml!(software_builds_its_lists, what_is_asked_wrongly);

const CLASSES: &str = "https://mos.esante.gouv.fr/NOS/JDV_J57-ClassCode-DMP/FHIR/JDV-J57-ClassCode-DMP";
const A03: &str = "https://mos.esante.gouv.fr/NOS/TRE_A03-ClasseDocument/FHIR/TRE-A03-ClasseDocument";

fn software_builds_its_lists(engine: Engine) {
    let world = World::start(engine);
    // An organisation alone may ask, too: no record is concerned.
    for card in ["cps-medecin", "org-hopital"] {
        let client = world.client(card);
        let all = client.get("/ValueSet");
        assert_eq!((all.status, all.json()["total"].as_u64()), (200, Some(8)), "{}", all.text());
        let one = client.get(&format!("/ValueSet?url={CLASSES}"));
        assert_eq!(one.found(), (1, vec!["JDV-J57-ClassCode-DMP".to_owned()]));
        let set = client.get("/ValueSet/JDV-J57-ClassCode-DMP").json();
        assert_eq!((set["url"].as_str(), set["version"].as_str()), (Some(CLASSES), Some("2023-09-22")));
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let posted = client.send("POST", "/ValueSet/_search", &form, Some(format!("url={CLASSES}"))).unwrap();
        assert_eq!(posted.found().0, 1);
    }
    let client = world.client("cps-medecin");
    let whole = client.get(&format!("/ValueSet/$expand?url={CLASSES}")).json();
    let codes = |set: &serde_json::Value| -> Vec<String> {
        let contains = set["expansion"]["contains"].as_array().into_iter().flatten();
        contains.map(|one| one["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(whole["expansion"]["total"], 12);
    assert_eq!(codes(&whole).len(), 12);
    assert_eq!(whole["expansion"]["contains"][1]["display"], "Synthèse");
    assert_eq!(whole["expansion"]["contains"][1]["system"], A03);
    let found = client.get("/ValueSet/JDV-J57-ClassCode-DMP/$expand?filter=SYNTH").json();
    assert_eq!(codes(&found), ["11"]);
    let page = client.get("/ValueSet/JDV-J57-ClassCode-DMP/$expand?offset=10&count=5").json();
    assert_eq!((page["expansion"]["total"].as_u64(), codes(&page).len()), (Some(12), 2));
    let none = client.get("/ValueSet/JDV-J57-ClassCode-DMP/$expand?filter=zzz").json();
    assert!(none["expansion"].get("contains").is_none());
    let asked = format!(
        r#"{{"resourceType":"Parameters","parameter":[{{"name":"url","valueUri":"{CLASSES}|2023-09-22"}},{{"name":"count","valueInteger":1}}]}}"#
    );
    assert_eq!(codes(&client.post("/ValueSet/$expand", asked).json()), ["10"]);

    let says = |answer: crate::support::Answer| {
        let parameters = answer.json();
        let parameters = parameters["parameter"].as_array().unwrap().clone();
        let of = |name: &str| {
            let one = parameters.iter().find(|one| one["name"] == name)?;
            Some(one["valueString"].as_str().map_or(one["valueBoolean"].to_string(), str::to_owned))
        };
        (of("result").unwrap(), of("display"), of("message"))
    };
    let ask = |rest: &str| says(client.get(&format!("/ValueSet/$validate-code?url={CLASSES}&{rest}")));
    assert_eq!(ask("code=11"), ("true".into(), Some("Synthèse".into()), None));
    assert_eq!(ask(&format!("code=11&system={A03}")).0, "true");
    assert_eq!(ask("code=11&display=synthèse").0, "true", "in any case");
    assert_eq!(ask("code=11&display=Synthèse").0, "true");
    assert_eq!(
        ask("code=11&system=http://x"),
        ("false".into(), None, Some("« http://x|11 » n'est pas dans JDV-J57-ClassCode-DMP".into()))
    );
    let other = ask("code=11&display=Bilan");
    assert_eq!(other, ("false".into(), Some("Synthèse".into()), Some("le libellé est « Synthèse »".into())));
    assert_eq!(says(client.get("/ValueSet/JDV-J57-ClassCode-DMP/$validate-code?code=99")).0, "false");
    let coding = format!(
        r#"{{"resourceType":"Parameters","parameter":[{{"name":"url","valueUri":"{CLASSES}"}},{{"name":"coding","valueCoding":{{"system":"{A03}","code":"10"}}}}]}}"#
    );
    assert_eq!(says(client.post("/ValueSet/$validate-code", coding)).0, "true");
}

fn what_is_asked_wrongly(engine: Engine) {
    let world = World::start(engine);
    let client = world.client("cps-medecin");
    for (path, status, phrase) in [
        ("/ValueSet/nothing", 404, "no such value set"),
        ("/ValueSet/nothing/$expand", 404, "no such value set"),
        ("/ValueSet/$expand?url=http://x", 404, "no such value set"),
        ("/ValueSet/$expand", 400, "the address of the value set"),
        ("/ValueSet/$validate-code?code=11", 400, "the address of the value set"),
        ("/ValueSet/JDV-J57-ClassCode-DMP/$validate-code", 400, "carries code"),
        ("/ValueSet/JDV-J57-ClassCode-DMP/$expand?count=-1", 400, "a whole number"),
        ("/ValueSet/JDV-J57-ClassCode-DMP/$expand?offset=x", 400, "a whole number"),
        ("/ValueSet/JDV-J57-ClassCode-DMP/$expand?filter=a&filter=b", 400, "each once"),
        ("/ValueSet?name=x", 400, "each once"),
    ] {
        client.get(path).assert_refused(status, "", phrase);
    }
    client.post("/ValueSet/$expand", r#"{"resourceType":"Patient"}"#).assert_refused(400, "", "not Parameters");
    let nothing = r#"{"resourceType":"Parameters","parameter":[{"name":"url"}]}"#;
    client.post("/ValueSet/$expand", nothing).assert_refused(400, "", "");
}
