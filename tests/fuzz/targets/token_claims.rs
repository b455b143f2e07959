//! Any JSON as the claims of a token, of an assertion, of UserInfo, and any form as a token request.
#![no_main]

use habilis::identity::assertion::{Claims, Reader};
use habilis::identity::directory::Directory;
use habilis::identity::identifiers::IdentifierChecks;
use habilis::identity::pro_sante_connect::UserInfo;
use habilis::identity::tokens::AccessToken;
use habilis::identity::{AccessMode, Actor, Authentication};
use habilis::operations::session_request::TokenRequest;
use habilis::tls::Revocation;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(token) = serde_json::from_slice::<AccessToken>(bytes)
        && let Some(caller) = token.caller()
    {
        assert!(caller.session.is_some(), "a token is a session");
    }
    if let Ok(claims) = serde_json::from_slice::<Claims>(bytes) {
        let directory = Directory::parse("810100000016\t10\t1750000010\n", "1750000010\t\tno\tX\n").unwrap();
        let reader = Reader {
            revocation: &Revocation::default(),
            directory: &directory,
            checks: IdentifierChecks::STRICT,
            client: "1750000010",
            issuer: "https://localhost:8443",
            now: jiff::Timestamp::from_second(1_795_000_000).unwrap(),
        };
        if let Ok(assertion) = reader.judge(&claims) {
            assert_eq!(assertion.structure, "1750000010");
            assert!(assertion.expires_at > 1_795_000_000 && assertion.issued_at <= 1_795_000_005);
            assert_ne!(assertion.mode, AccessMode::Centre15, "not a regulation centre");
            if assertion.mode == AccessMode::BrisDeGlace {
                assert!(assertion.record.is_some() && assertion.motif.is_some());
                assert_eq!(assertion.authentication, Authentication::IndirectReinforced);
            }
            if let Actor::NamedStaff { id, .. } = &assertion.actor {
                assert!(id.starts_with("1750000010/"));
            }
        }
    }
    if let Ok(user) = serde_json::from_slice::<UserInfo>(bytes)
        && let Ok(situation) = user.situation(None, None, None, IdentifierChecks::STRICT)
        && let Actor::Professional { id, .. } = situation.actor
    {
        assert!(IdentifierChecks::STRICT.is_professional_id(&id));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let parameters = text.split('&').filter_map(|pair| pair.split_once('='));
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let _ = TokenRequest::read(parameters);
    }
});
