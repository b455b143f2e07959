//! UserInfo of Pro Santé Connect as it was published: each maps to a caller, or says why it does not.

use habilis::identity::Actor;
use habilis::identity::identifiers::IdentifierChecks;
use habilis::identity::pro_sante_connect::UserInfo;
use habilis::identity::tokens::bound;

fn text(name: &str) -> String {
    std::fs::read_to_string(super::shared(&format!("claims/{name}"))).unwrap()
}

fn user(name: &str) -> UserInfo {
    serde_json::from_str(&text(name)).unwrap()
}

/// The provider of tests gives editors' accounts (`ANS…`) for professionals; ours takes them in the sandbox alone.
const TESTS: IdentifierChecks = IdentifierChecks { keys: true, editor_accounts: true };

#[test]
#[ignore = "needs ../shared/data: scripts/shared-data"]
fn the_published_claims_map_to_callers() {
    let who = |name: &str, situation: Option<&str>, structure: Option<&str>, speciality: Option<&str>| {
        let situation = user(name).situation(situation, structure, speciality, TESTS);
        match situation {
            Ok(situation) => {
                let Actor::Professional { id, profession, specialities, .. } = situation.actor else {
                    panic!()
                };
                format!(
                    "{id} {} {} {}",
                    profession.code(),
                    specialities.iter().chain(&situation.declared_role).cloned().collect::<Vec<_>>().join("+"),
                    situation.structure.unwrap_or_default()
                )
            }
            Err(refusal) => format!("{:?}: {}", refusal.reason, refusal.issues[0].diagnostics),
        }
    };
    // A doctor at two structures, given twice: the structure is named.
    let two = "userinfo_psc_medecin_2activites.json";
    let refused = who(two, None, None, None);
    assert!(refused.starts_with("InvalidTokenRequest: several structures"), "{refused}");
    assert_eq!(who(two, None, Some("10B0172805"), None), "899700366240 10 SM26 10B0172805");
    assert_eq!(who(two, Some("10C"), Some("499700366240007"), None), "899700366240 10 SM26 499700366240007");
    // UserInfo cut down to a profession: the caller names the speciality.
    let cut = "userinfo_psc_min.json";
    let refused = who(cut, None, None, None);
    assert!(refused.starts_with("InvalidTokenRequest: a doctor names a speciality"), "{refused}");
    assert_eq!(who(cut, None, None, Some("SM26")), "899700218896 10 SM26 ");
    // An editor's account: a professional for tests alone.
    let editor = "userinfo_psc_pedicure_edit.json";
    assert_eq!(who(editor, None, None, None), "ANS20231122132732 80  499700237045007");
    let strict = user(editor).situation(None, None, None, IdentifierChecks::STRICT).unwrap_err();
    assert!(strict.issues[0].diagnostics.contains("PS_IdNat"));
    // A doctor of the editors with many activities, some without an identifier: two structures are left to name.
    let many = "userinfo_psc_medecin.json";
    let refused = who(many, None, None, None);
    assert!(refused.starts_with("InvalidTokenRequest: several structures"), "{refused}");
    assert_eq!(who(many, None, Some("300000000016972"), None), "ANS20210107161422 10 SM54 300000000016972");
}

#[test]
#[ignore = "needs ../shared/data: scripts/shared-data"]
fn the_thumbprint_of_the_guide_is_refused_by_name() {
    let example: serde_json::Value = serde_json::from_str(&text("cnf_example_ans.json")).unwrap();
    let printed = example["cnf"]["x5t#S256"].as_str().unwrap();
    let refusal = bound(Some(printed), &[0; 32]).unwrap_err();
    assert!(refusal.issues[0].diagnostics.contains("as the ANS guide prints it"));
}
