//! Any bytes as a revocation list: what is taken is complete, numbered and dated; what no authority signed is not taken.
#![no_main]

use habilis::tls::trust;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(facts) = trust::facts(bytes) {
        assert!(!facts.list.number.is_empty(), "a list has a number");
        assert!(facts.list.revoked.iter().all(|serial| !serial.is_empty()));
    }
    let now = jiff::Timestamp::from_second(1_795_000_000).unwrap();
    assert!(trust::read_list(bytes, &[], now).is_err(), "without an authority no list is taken");
});
