use super::*;

const JSON: &str = r##"{"resourceType":"Patient","id":"p1","meta":{"profile":["http://a","http://b"]},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">é &amp; <b>gras</b></div>"},"contained":[{"resourceType":"Organization","id":"o","name":"A & B <\"'>"}],"extension":[{"url":"http://x","valueDecimal":1.10},{"url":"http://y","extension":[{"url":"z","valueBoolean":false}]}],"active":true,"name":[{"id":"n","family":"BERNARD\tDE\nX","given":["Claire",null,"Ana"],"_given":[null,{"extension":[{"url":"http://g","valueCode":"unknown"}]},{"id":"g3"}]}],"_birthDate":{"extension":[{"url":"http://b","valueString":" deux  espaces "}]}}"##;

const XML: &str = r##"<Patient xmlns="http://hl7.org/fhir"><id value="p1"/><meta><profile value="http://a"/><profile value="http://b"/></meta><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">é &amp; <b>gras</b></div></text><contained><Organization><id value="o"/><name value="A &amp; B &lt;&quot;'&gt;"/></Organization></contained><extension url="http://x"><valueDecimal value="1.10"/></extension><extension url="http://y"><extension url="z"><valueBoolean value="false"/></extension></extension><active value="true"/><name id="n"><family value="BERNARD&#9;DE&#10;X"/><given value="Claire"/><given><extension url="http://g"><valueCode value="unknown"/></extension></given><given id="g3" value="Ana"></given></name><birthDate><extension url="http://b"><valueString value=" deux  espaces "/></extension></birthDate></Patient>"##;

#[test]
fn the_same_content_both_ways() {
    assert_eq!(to_xml(JSON).unwrap(), XML);
    assert_eq!(to_json(XML).unwrap(), JSON);
    assert_eq!(check(JSON), Ok(()));
    // Space, comments, another prefix and another order of elements say the same.
    let spaced = XML.replace("><", "> \n<!-- x --><").replace("<div xmlns", "<div  xmlns");
    let spaced = spaced.replace("é &amp; <b> \n<!-- x --></b>", "é &amp; <b></b>");
    assert!(to_json(&spaced).unwrap().contains(r#""given":["Claire",null,"Ana"]"#));
    let prefixed = r#"<?xml version="1.0" encoding="UTF-8"?><f:Binary xmlns:f="http://hl7.org/fhir"><f:data value="AAAA"/><f:id value="b"/></f:Binary>"#;
    assert_eq!(to_json(prefixed).unwrap(), r#"{"resourceType":"Binary","id":"b","data":"AAAA"}"#);
}

#[test]
fn what_is_no_fhir_in_json() {
    let told = |json: &str| to_xml(json).unwrap_err().to_string();
    for (json, expected) in [
        (r#"[]"#, ": not an object"),
        (r#"{}"#, ": no resourceType"),
        (r#"{"resourceType":"Coding"}"#, ": no resource type of FHIR R4"),
        (r#"{"resourceType":"Patient","foo":1}"#, "Patient.foo: no element of this type"),
        (r#"{"resourceType":"Patient","_name":[{"id":"x"}]}"#, "Patient._name: no element of this type"),
        (r#"{"resourceType":"Patient","name":{"family":"x"}}"#, "Patient.name: not an array, and it repeats"),
        (r#"{"resourceType":"Patient","name":[]}"#, "Patient.name: an empty array"),
        (r#"{"resourceType":"Patient","name":[null]}"#, "Patient.name[0]: null with nothing beside it"),
        (r#"{"resourceType":"Patient","name":[{}]}"#, "Patient.name[0]: an empty object"),
        (r#"{"resourceType":"Patient","_birthDate":{}}"#, "Patient.birthDate: an empty object"),
        (r#"{"resourceType":"Patient","name":[[]]}"#, "Patient.name[0]: not an object"),
        (r#"{"resourceType":"Patient","name":[{"family":["x"]}]}"#, "Patient.name[0].family: not a text"),
        (r#"{"resourceType":"Patient","active":"true"}"#, "Patient.active: not true or false"),
        (r#"{"resourceType":"Patient","active":null}"#, "Patient.active: not true or false"),
        (
            r#"{"resourceType":"Patient","multipleBirthInteger":"1"}"#,
            "Patient.multipleBirthInteger: not a number",
        ),
        (
            r#"{"resourceType":"Patient","birthDate":"a\u0001b"}"#,
            "Patient.birthDate: a character that FHIR does not allow",
        ),
        (
            r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div>x</div>"}}"#,
            "Patient.text.div: not one div of XHTML",
        ),
        (
            r#"{"resourceType":"Patient","text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"/><x/>"}}"#,
            "Patient.text.div: not one div of XHTML",
        ),
        (
            r#"{"resourceType":"Patient","extension":[{"url":"u","_url":{"id":"x"}}]}"#,
            "Patient.extension[0].url: an attribute has no extensions",
        ),
        (
            r#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","name":[{"resourceType":"x"}]}}]}"#,
            "Bundle.entry[0].resource.name[0].resourceType: no element of this type",
        ),
    ] {
        assert_eq!(told(json), expected, "{json}");
        assert_eq!(check(json).unwrap_err().to_string(), expected);
    }
    let deep = format!(
        r#"{{"resourceType":"Patient","extension":{}"x"{}}}"#,
        r#"[{"url":"u","extension":"#.repeat(40),
        "}]".repeat(40)
    );
    assert!(told(&deep).ends_with("nested too deep"), "{}", told(&deep));
}

#[test]
fn what_is_no_fhir_in_xml() {
    let patient = |held: &str| format!(r#"<Patient xmlns="http://hl7.org/fhir">{held}</Patient>"#);
    let told = |xml: &str| to_json(xml).unwrap_err().to_string();
    for (held, expected) in [
        (r#"<foo value="1"/>"#, "Patient.foo: no element of this type"),
        (r#"<active xmlns="urn:x" value="true"/>"#, "Patient.active: no element of this type"),
        (r#"<active value="1"/>"#, "Patient.active: not true or false"),
        (r#"<multipleBirthInteger value="01"/>"#, "Patient.multipleBirthInteger: not a number"),
        (r#"<active value="true"/><active value="true"/>"#, "Patient.active[1]: it does not repeat"),
        (r#"<active/>"#, "Patient.active: an element without a value"),
        (r#"<active value="true">x</active>"#, "Patient.active: a text between the elements"),
        (r#"<active value="true" x="1"/>"#, "Patient.active: an attribute that it does not have"),
        (r#"<name><id value="x"/></name>"#, "Patient.name[0].id: no element of this type"),
        (
            r#"<extension url="u"><url value="v"/><valueCode value="x"/></extension>"#,
            "Patient.extension[0].url: no element of this type",
        ),
        (r#"<name/>"#, "Patient.name[0]: an element without content"),
        (r#"<name url="x"><family value="x"/></name>"#, "Patient.name[0]: an attribute that it does not have"),
        (r#"<contained/>"#, "Patient.contained[0]: not one resource"),
        (r#"<contained><Patient/><Patient/></contained>"#, "Patient.contained[0]: not one resource"),
        (
            r#"<contained><Coding/></contained>"#,
            "Patient.contained[0]: no resource type of FHIR R4 in the namespace http://hl7.org/fhir",
        ),
        (r#"<text><div>x</div></text>"#, "Patient.text.div: not one div of XHTML that declares its namespace"),
    ] {
        assert_eq!(told(&patient(held)), expected, "{held}");
    }
    for xml in [
        "",
        "{}",
        "<Patient/>",
        r#"<Patient xmlns="http://hl7.org/fhir">"#,
        r#"<Patient xmlns="http://hl7.org/fhir" id="x"/>"#,
    ] {
        assert!(to_json(xml).is_err(), "{xml}");
    }
    for bomb in [
        r#"<!DOCTYPE x [<!ENTITY a "aaaa">]><Patient xmlns="http://hl7.org/fhir"><id value="&a;"/></Patient>"#
            .to_owned(),
        r#"<!DOCTYPE x SYSTEM "http://localhost/x"><Patient xmlns="http://hl7.org/fhir"/>"#.to_owned(),
        patient(r#"<id value="&xxe;"/>"#),
        patient(&"<name>".repeat(100_000)),
        patient(&"<name><text value='x'/></name>".repeat(300_000)),
    ] {
        let told = told(&bomb);
        assert!(told.starts_with("line 1") && told.contains("not XML"), "{told}");
    }
    let deep = patient(&format!("{}{}", "<extension url='u'>".repeat(100), "</extension>".repeat(100)));
    assert!(told(&deep).ends_with("nested too deep"));
}

#[test]
fn numbers() {
    for text in ["0", "-1", "1.10", "0.0", "1e5", "1.2E-7", "-0.5e+3"] {
        assert!(is_number(text), "{text}");
    }
    for text in ["", "-", "01", "1.", ".5", "1e", "+1", "1 ", "NaN", "0x1", "--1", "1e5e5"] {
        assert!(!is_number(text), "{text}");
    }
}

/// What FHIR's list of elements and attributes has not, is active; an address of a script too.
#[test]
fn narratives_are_inert() {
    let is_inert = |inside: &str| {
        let text = format!("<div xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"fr\">{inside}</div>");
        super::is_inert(&super::narrative(&text).unwrap())
    };
    for inert in [
        "<p style=\"color:red\">x</p>",
        "<p style=\"color:red !important; scroll-behavior:smooth\">x</p>",
        "<a href=\"https://example.org/a:b\">x</a>",
        "<a href=\"Patient/1?a=b:c\" title=\"t\">x</a>",
        "<img src=\"data:image/png;base64,AA==\" alt=\"a\"/>",
        "<table border=\"1\"><tr><td colspan=\"2\">x</td></tr></table>",
    ] {
        assert!(is_inert(inert), "{inert}");
    }
    for active in [
        "<script>x</script>",
        "<svg/>",
        "<SCRIPT/>",
        "<video src=\"x\"/>",
        "<p onclick=\"x\"/>",
        "<p formaction=\"x\"/>",
        "<a href=\"java&#10;script:x\"/>",
        "<a href=\" JavaScript:x\"/>",
        "<a href=\"data:text/html,x\"/>",
        "<img src=\"data:image/svg+xml,x\"/>",
        "<p style=\"background:url(https://example.org)\"/>",
        "<p style=\"background:image-set('https://example.org' 1x)\"/>",
        "<p style=\"@import 'x'\"/>",
        "<p style=\"background:\\75rl(x)\"/>",
        "<x xmlns=\"http://www.w3.org/2000/svg\"/>",
        "<p xmlns:x=\"http://www.w3.org/1999/xlink\" x:href=\"y\"/>",
    ] {
        assert!(!is_inert(active), "{active}");
    }
}
