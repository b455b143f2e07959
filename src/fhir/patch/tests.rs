//! Patches in each form, and what they may not be.

use super::*;

const TEXT: &str = r#"{"resourceType":"DocumentReference","id":"d","status":"current","title":"t","securityLabel":[{"coding":[{"code":"N"}]},{"coding":[{"code":"INVISIBLE_PATIENT"}]}]}"#;

fn kept(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn json(patch: Value) -> Result<Vec<DocumentAction>, Refusal> {
    let labels = Labels { invisible_to_patient: true, ..Labels::default() };
    Patch::of_json_patch(&patch.to_string())?.actions(&kept(TEXT), labels, DocumentStatus::Current)
}

fn path(
    kind: &str,
    path: &str,
    name: Option<&str>,
    value: Option<Value>,
) -> Result<Vec<DocumentAction>, Refusal> {
    let labels = Labels { invisible_to_patient: true, ..Labels::default() };
    let mut part =
        vec![json!({ "name": "type", "valueCode": kind }), json!({ "name": "path", "valueString": path })];
    part.extend(name.map(|name| json!({ "name": "name", "valueString": name })));
    part.extend(value.map(|value| {
        let key = if value.is_boolean() {
            "valueBoolean"
        } else if value.is_string() {
            "valueCode"
        } else {
            "valueCodeableConcept"
        };
        let mut object = json!({ "name": "value" });
        object[key] = value;
        object
    }));
    let text = json!({ "resourceType": "Parameters", "parameter": [{ "name": "operation", "part": part }] });
    Patch::of_parameters(&text.to_string())?.actions(&kept(TEXT), labels, DocumentStatus::Current)
}

fn concept(code: &str) -> Value {
    json!({ "coding": [{ "code": code }] })
}

#[test]
fn a_json_patch_becomes_actions() {
    use DocumentAction::{Archive, Delete, HideFromRepresentatives, Mask, ShowToPatient};
    let one =
        |op: &str, path: &str, value: Value| json(json!([{ "op": op, "path": path, "value": value }])).unwrap();
    assert_eq!(one("replace", "/status", json!("entered-in-error")), [Delete]);
    assert_eq!(one("replace", "/securityLabel", json!([concept("N")])), [ShowToPatient]);
    assert_eq!(one("add", "/securityLabel/-", concept("MASQUE_PS")), [Mask]);
    assert_eq!(one("replace", "/securityLabel", json!([concept("MASQUE_PS")])), [Mask, ShowToPatient]);
    let hide = concept("INVISIBLE_REPRESENTANTS_LEGAUX");
    assert_eq!(one("add", "/securityLabel/-", hide), [HideFromRepresentatives]);
    assert_eq!(one("add", "/extension", json!([{ "url": IS_ARCHIVED, "valueBoolean": true }])), [Archive]);
    assert_eq!(one("replace", "/status", json!("current ")), [], "as the guide prints it");
    let draft = r#"/extension[url:"https://x/SearchParameter/PDSm-isArchived"]/valueBoolean"#;
    let with_extension = TEXT.replace("\"title\"", "\"extension\":[],\"title\"");
    let patch = Patch::of_json_patch(&json!([{ "op": "replace", "path": draft, "value": "true" }]).to_string())
        .unwrap();
    let labels = Labels { invisible_to_patient: true, ..Labels::default() };
    assert_eq!(patch.actions(&kept(&with_extension), labels, DocumentStatus::Current).unwrap(), [Archive]);
}

#[test]
fn a_fhirpath_patch_becomes_actions() {
    use DocumentAction::{Archive, Delete, Mask, ShowToPatient};
    assert_eq!(
        path("replace", "DocumentReference.status", None, Some(json!("entered-in-error"))).unwrap(),
        [Delete]
    );
    assert_eq!(
        path("add", "DocumentReference", Some("securityLabel"), Some(concept("MASQUE_PS"))).unwrap(),
        [Mask]
    );
    assert_eq!(path("delete", "DocumentReference.securityLabel[1]", None, None).unwrap(), [ShowToPatient]);
    let code = "DocumentReference.securityLabel.where(coding.code='INVISIBLE_PATIENT')";
    assert_eq!(path("delete", code, None, None).unwrap(), [ShowToPatient]);
    let archive = format!("DocumentReference.extension.where(url='{IS_ARCHIVED}').value");
    assert_eq!(path("replace", &archive, None, Some(json!(true))).unwrap(), [Archive]);
}

#[test]
fn what_may_not_change_is_refused() {
    let reason = |refused: Result<Vec<DocumentAction>, Refusal>| refused.unwrap_err().reason;
    assert_eq!(
        reason(json(json!([{ "op": "replace", "path": "/title", "value": "x" }]))),
        Reason::ElementNotUpdatable
    );
    assert_eq!(reason(json(json!([{ "op": "remove", "path": "/title" }]))), Reason::ElementNotUpdatable);
    assert_eq!(
        reason(json(json!([{ "op": "add", "path": "/extension", "value": [{ "url": "x" }] }]))),
        Reason::ElementNotUpdatable
    );
    assert_eq!(
        reason(path("replace", "DocumentReference.title", None, Some(json!("x")))),
        Reason::ElementNotUpdatable
    );
    assert_eq!(
        reason(json(json!([{ "op": "replace", "path": "/status", "value": "superseded" }]))),
        Reason::UpdateNotAllowed
    );
    assert_eq!(
        reason(json(json!([{ "op": "replace", "path": "/securityLabel", "value": "restricted" }]))),
        Reason::UpdateNotAllowed
    );
    assert_eq!(
        reason(json(json!([{ "op": "replace", "path": "/securityLabel", "value": [concept("MASQUE_PT")] }]))),
        Reason::UpdateNotAllowed
    );
    assert_eq!(reason(json(json!({}))), Reason::MalformedBody);
    assert!(Patch::of_parameters("{\"resourceType\":\"Parameters\"}").is_err());
    let many = vec![json!({ "op": "test", "path": "/status", "value": "current" }); MOST_OPERATIONS + 1];
    assert_eq!(reason(json(json!(many))), Reason::MalformedBody);
}

/// Nothing of the document but the three elements is read, moved or told: a test or a copy of another would be an oracle.
#[test]
fn a_patch_reads_no_other_element() {
    let reason = |operation: Value| json(json!([operation])).unwrap_err();
    for operation in [
        json!({ "op": "copy", "from": "/title", "path": "/securityLabel/-" }),
        json!({ "op": "copy", "from": "", "path": "/securityLabel/-" }),
        json!({ "op": "move", "from": "/title", "path": "/status" }),
        json!({ "op": "test", "path": "/title", "value": "t" }),
        json!({ "op": "test", "path": "", "value": "t" }),
        json!({ "op": "add", "path": "/statusX", "value": "t" }),
    ] {
        assert_eq!(reason(operation.clone()).reason, Reason::ElementNotUpdatable, "{operation}");
    }
    // Operations that cannot be undone once they have begun: refused, and nothing more.
    let undone = json!([
        { "op": "add", "path": "/extension/-", "value": { "url": "x" } },
        { "op": "test", "path": "/status", "value": "x" },
    ]);
    assert_eq!(json(undone).unwrap_err().reason, Reason::UpdateNotAllowed);
    assert_eq!(reason(json!({ "op": "remove", "path": "/securityLabel/9" })).reason, Reason::UpdateNotAllowed);
}

/// What cannot be read as labels is refused: read as none, it would show what was to be hidden.
#[test]
fn labels_are_never_lost_by_a_slip() {
    for value in [concept("MASQUE_PS"), json!({}), json!(true), json!(7), json!([{ "coding": [] }]), json!("N")]
    {
        let refused = json(json!([{ "op": "replace", "path": "/securityLabel", "value": value }]));
        assert_eq!(refused.unwrap_err().reason, Reason::UpdateNotAllowed, "{value}");
    }
    assert_eq!(
        json(json!([{ "op": "remove", "path": "/securityLabel" }])).unwrap(),
        [DocumentAction::ShowToPatient]
    );
    for other in [
        "DocumentReference.securityLabel.where(coding.code='INVISIBLE_PATIENT').coding[0].display",
        "DocumentReference.securityLabel.where(coding.code!='N')",
        "DocumentReference.securityLabelX['INVISIBLE_PATIENT']",
        "DocumentReference.securityLabel[9]",
        "DocumentReference.securityLabel.where(coding.code='MASQUE_PS')",
        "DocumentReference.extension.where(url!='isArchived')",
    ] {
        let refused = path("delete", other, None, None).unwrap_err();
        assert_eq!(refused.reason, Reason::ElementNotUpdatable, "{other}");
    }
    // One concept with two labels is none that can be named by one of them.
    let two = TEXT
        .replace(r#"{"coding":[{"code":"N"}]},"#, "")
        .replace(r#"[{"code":"INVISIBLE_PATIENT"}]"#, r#"[{"code":"N"},{"code":"INVISIBLE_PATIENT"}]"#);
    let parts = json!([
        { "name": "type", "valueCode": "delete" },
        { "name": "path", "valueString": "DocumentReference.securityLabel.where(coding.code='N')" },
    ]);
    let text = json!({ "resourceType": "Parameters", "parameter": [{ "name": "operation", "part": parts }] });
    let labels = Labels { invisible_to_patient: true, ..Labels::default() };
    let refused =
        Patch::of_parameters(&text.to_string()).unwrap().actions(&kept(&two), labels, DocumentStatus::Current);
    assert_eq!(refused.unwrap_err().reason, Reason::ElementNotUpdatable);
    let archived = json!({ "url": IS_ARCHIVED, "valueBoolean": "true" });
    let refused = json(json!([{ "op": "add", "path": "/extension/-", "value": archived }]));
    assert_eq!(refused.unwrap_err().reason, Reason::UpdateNotAllowed, "no boolean");
    let draft = r#"/extension[url:"https://x/SearchParameter/PDSm-isArchived"]/valueBoolean"#;
    for operation in [
        json!({ "op": "test", "path": draft, "value": true }),
        json!({ "op": "replace", "path": draft, "value": "True" }),
        json!({ "op": "replace", "path": draft }),
    ] {
        assert_eq!(json(json!([operation])).unwrap_err().reason, Reason::MalformedBody);
    }
}

/// The archive's path as the draft guide prints it, and nothing that only resembles it; how many operations there may be.
#[test]
fn the_drafts_archive_path_and_limits() {
    use DocumentAction::{Archive, Unarchive};
    const DRAFT: &str = "/extension[url:\"https://x/PDSm-isArchived\"]/valueBoolean";
    let archived = format!(
        r#"{{"resourceType":"DocumentReference","status":"current","extension":[{{"url":"{IS_ARCHIVED}","valueBoolean":true}}],"securityLabel":[{{"coding":[{{"code":"N"}}]}}]}}"#
    );
    let apply = |text: &str, patch: Value| {
        Patch::of_json_patch(&patch.to_string())?.actions(
            &kept(text),
            Labels::default(),
            DocumentStatus::Current,
        )
    };
    let one = |op: &str, path: &str, value: Value| json!([{ "op": op, "path": path, "value": value }]);
    for (text, op, value, expected) in [
        (TEXT, "replace", json!(" true "), vec![Archive]),
        (TEXT, "add", json!(true), vec![Archive]),
        (TEXT, "replace", json!(false), vec![]),
        (&archived, "replace", json!("false"), vec![Unarchive]),
        (&archived, "remove", json!(null), vec![Unarchive]),
        (&archived, "add", json!(true), vec![]),
    ] {
        assert_eq!(apply(text, one(op, DRAFT, value.clone())).unwrap(), expected, "{op} {value}");
    }
    for (op, value) in
        [("replace", json!("oui")), ("replace", json!(1)), ("test", json!(true)), ("move", json!(true))]
    {
        let refusal = apply(TEXT, one(op, DRAFT, value)).unwrap_err();
        assert_eq!(refusal.reason, Reason::MalformedBody, "{op}");
    }
    for path in ["/extension[isArchived", "/x/isArchived/valueBoolean", "/extension[url:\"x\"]/valueBoolean"] {
        assert!(apply(TEXT, one("add", path, json!(true))).is_err(), "{path}");
    }
    let many = |count: usize| {
        let test = json!({ "op": "test", "path": "/status", "value": "current" });
        apply(TEXT, Value::Array(vec![test; count])).map_err(|refusal| refusal.reason)
    };
    assert_eq!(many(MOST_OPERATIONS), Ok(vec![]));
    assert_eq!(many(MOST_OPERATIONS + 1), Err(Reason::MalformedBody));
    // By FHIRPath: a place that is not there, and a concept that carries several labels.
    assert!(path("delete", "DocumentReference.securityLabel[2]", None, None).is_err());
    let two = r#"{"status":"current","securityLabel":[{"coding":[{"code":"N"},{"code":"MASQUE_PS"}]}]}"#;
    let parameters = json!({ "resourceType": "Parameters", "parameter": [{ "name": "operation", "part": [
        { "name": "type", "valueCode": "delete" },
        { "name": "path", "valueString": "DocumentReference.securityLabel.where(coding.code='MASQUE_PS')" },
    ] }] });
    let patch = Patch::of_parameters(&parameters.to_string()).unwrap();
    let labels = Labels { masked: true, ..Labels::default() };
    let refusal = patch.actions(&kept(two), labels, DocumentStatus::Current).unwrap_err();
    assert_eq!(refusal.reason, Reason::ElementNotUpdatable);
}

/// The same changes by XML Patch.
#[test]
fn an_xml_patch_becomes_actions() {
    let patch = |operations: &str| {
        let text = format!(r#"<diff xmlns:f="http://hl7.org/fhir" xmlns:x="urn:x">{operations}</diff>"#);
        let labels = Labels { invisible_to_patient: true, ..Labels::default() };
        Patch::of_xml_patch(&text)?.actions(&kept(TEXT), labels, DocumentStatus::Current)
    };
    let label = |code: &str| {
        format!(r#"<f:securityLabel><f:coding><f:code value="{code}"/></f:coding></f:securityLabel>"#)
    };
    let archive = |value: &str| {
        format!(r#"<f:extension url="{IS_ARCHIVED}"><f:valueBoolean value="{value}"/></f:extension>"#)
    };
    let root = "f:DocumentReference";
    use DocumentAction::{Archive, Delete, Mask, ShowToPatient};
    for (operations, expected) in [
        (format!(r#"<replace sel="{root}/f:status/@value">entered-in-error</replace>"#), vec![Delete]),
        (
            r#"<replace sel="/DocumentReference/status/@value">entered-in-error</replace>"#.to_owned(),
            vec![Delete],
        ),
        (format!(r#"<remove sel="{root}/f:securityLabel[2]"/>"#), vec![ShowToPatient]),
        (
            format!(r#"<remove sel="{root}/f:securityLabel[f:coding/f:code/@value='INVISIBLE_PATIENT']"/>"#),
            vec![ShowToPatient],
        ),
        (
            format!(r#"<replace sel="{root}/f:securityLabel[2]">{}</replace>"#, label("MASQUE_PS")),
            vec![Mask, ShowToPatient],
        ),
        (
            format!(r#"<replace sel="{root}/f:securityLabel[2]/f:coding/f:code/@value">MASQUE_PS</replace>"#),
            vec![Mask, ShowToPatient],
        ),
        (format!(r#"<add sel="{root}">{}{}</add>"#, label("MASQUE_PS"), archive("true")), vec![Mask, Archive]),
        (
            format!(
                r#"<replace sel="{root}/f:extension[@url='{IS_ARCHIVED}']/f:valueBoolean/@value">true</replace>"#
            ),
            vec![Archive],
        ),
        (format!(r#"<remove sel="{root}/f:extension[@url='{IS_ARCHIVED}']"/>"#), vec![]),
    ] {
        assert_eq!(patch(&operations).unwrap(), expected, "{operations}");
    }
    for operations in [
        format!(r#"<replace sel="{root}/f:title/@value">x</replace>"#),
        r#"<replace sel="f:Patient/f:status/@value">x</replace>"#.to_owned(),
        r#"<replace sel="x:DocumentReference/f:status/@value">x</replace>"#.to_owned(),
        format!(r#"<replace sel="{root}/f:status">x</replace>"#),
        format!(r#"<remove sel="{root}/f:securityLabel"/>"#),
        format!(r#"<remove sel="{root}/f:securityLabel[0]"/>"#),
        format!(r#"<remove sel="{root}/f:securityLabel[9]"/>"#),
        format!(r#"<remove sel="{root}/f:securityLabel[2][1]"/>"#),
        format!(r#"<remove sel="{root}/f:securityLabel[2]/"/>"#),
        format!(r#"<add sel="{root}"><f:title value="x"/></add>"#),
        format!(r#"<add sel="{root}" type="@id">x</add>"#),
        format!(r#"<replace sel="{root}/f:extension[@url='{IS_ARCHIVED}']/f:valueBoolean/@value">1</replace>"#),
        format!(r#"<add sel="{root}/f:securityLabel[1]">{}</add>"#, label("N")),
    ] {
        let refusal = patch(&operations).unwrap_err();
        assert_eq!(refusal.reason, Reason::ElementNotUpdatable, "{operations}");
    }
    for text in ["", "<diff/>", "<x/>", r#"<diff><remove/></diff>"#, "<!DOCTYPE x><diff/>"] {
        assert_eq!(Patch::of_xml_patch(text).unwrap_err().reason, Reason::MalformedBody, "{text}");
    }
    let foreign = r#"<add sel="DocumentReference"><securityLabel/></add>"#;
    assert_eq!(patch(foreign).unwrap_err().reason, Reason::MalformedBody);
    let consent = |held: &str| xml_sets_status(&format!("<diff>{held}</diff>"), "Consent", "inactive");
    let sets = r#"<replace sel="Consent/status/@value">inactive</replace>"#;
    assert!(consent(sets).unwrap());
    assert!(!consent(&sets.repeat(2)).unwrap());
    assert!(!consent(r#"<replace sel="Consent/status/@value">active</replace>"#).unwrap());
}

#[test]
fn what_a_patch_touches_is_known_without_the_document() {
    let touched = |patch: Value| Patch::of_json_patch(&patch.to_string()).unwrap().touches();
    let all = touched(json!([
        { "op": "replace", "path": "/status", "value": "entered-in-error" },
        { "op": "remove", "path": "/securityLabel/0" },
        { "op": "add", "path": "/extension/-", "value": {} },
    ]));
    assert_eq!(all, Touched { status: true, labels: true, archive: true });
    let status = touched(json!([{ "op": "replace", "path": "/status", "value": "x" }]));
    assert_eq!(status, Touched { status: true, ..Touched::default() });
    let operation = |path: &str, name: Option<&str>| Operation {
        kind: "add".into(),
        path: path.into(),
        name: name.map(str::to_owned),
        value: None,
    };
    let path = |path: &str, name| Patch::FhirPath(vec![operation(path, name)]).touches();
    assert!(path("DocumentReference.status", None).status);
    assert!(path("DocumentReference", Some("securityLabel")).labels);
    assert!(path("DocumentReference.extension.where(url='x')", None).archive);
    assert!(path("DocumentReference.title", None).archive, "whatever else: decided, then refused");
}
