//! An establishment's software: makes assertions and seals them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use openssl::pkey::PKey;
use openssl::x509::X509;
use serde_json::{Value, json};

/// Under which certificate an assertion is signed.
pub fn seal(certs: &Path, signer: &str, claims: &Value) -> String {
    let certificate = X509::from_pem(&std::fs::read(certs.join(format!("{signer}.pem"))).unwrap()).unwrap();
    let key = PKey::private_key_from_pem(&std::fs::read(certs.join(format!("{signer}.key"))).unwrap()).unwrap();
    let mut header = Header::new(Algorithm::RS256);
    header.x5c = Some(vec![STANDARD.encode(certificate.to_der().unwrap())]);
    let key = EncodingKey::from_rsa_der(&key.rsa().unwrap().private_key_to_der().unwrap());
    jsonwebtoken::encode(&header, claims, &key).unwrap()
}

/// The claims of the hospital of the sandbox about a doctor, as of an instant; to be altered by a test.
pub fn claims(issuer: &str, mode: &str, now: i64, jti: &str) -> Value {
    json!({
        "iss": "1750000010",
        "sub": "810100000016",
        "aud": issuer,
        "iat": now,
        "exp": now + 30,
        "jti": jti,
        "extensions": {
            "ihe_iua": {
                "subject_name": "CLAIRE BERNARD",
                "subject_organization_id": "1750000010",
                "subject_role": [
                    { "system": "urn:oid:1.2.250.1.71.1.2.7", "code": "10" },
                    { "system": "urn:oid:1.2.250.1.71.4.2.5", "code": "SM26" },
                ],
                "purpose_of_use": [{ "system": "urn:oid:1.2.250.1.213.1.1.4.248", "code": "normal" }],
            },
            "dmp": {
                "authentification_mode": mode,
                "secteur_activite": "SA01^1.2.250.1.71.4.2.4",
                "ressource_urn": "urn:dmp",
                "lps_nom": "Logiciel de démonstration",
                "lps_version": "2.3",
                "lps_id_homologation": "DEMO-DMP-0001",
                "authentification_primaire": { "method": "carte CPE", "at": now - 60 },
            },
        },
    })
}

/// Sets what a JSON pointer names; null removes it.
pub fn with(mut claims: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = claims.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name);
    } else {
        parent.insert(name.to_owned(), value);
    }
    claims
}
