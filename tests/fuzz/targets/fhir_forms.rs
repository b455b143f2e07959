//! Any text as a FHIR body, JSON or XML: what is taken in one form says the same in the other, and nothing else is taken.
#![no_main]

use habilis::fhir::xml::{check, to_json, to_xml};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &str| {
    if let Ok(json) = to_json(text) {
        // What XML says is written again and says the same. Its values are `check`'s to judge, as those of JSON are.
        let xml = to_xml(&json).expect("written again");
        assert_eq!(to_json(&xml).expect("read again"), json);
    }
    if habilis::fhir::json::admit(text).is_ok() && check(text).is_ok() {
        let xml = to_xml(text).expect("what is FHIR can be written");
        let again = to_json(&xml).expect("what was written can be read");
        let (before, after): (Value, Value) =
            (serde_json::from_str(text).unwrap(), serde_json::from_str(&again).unwrap());
        assert_eq!(before, after);
    }
});
