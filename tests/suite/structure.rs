//! The way of a request, kept by the imports: names of a library appear only where it belongs.

use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Where each library, and each layer of ours, may be named. Paths are below `src`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("actix_web::", &["api/", "server.rs", "server/", "main.rs", "sandbox/"]),
    ("actix_tls::", &["api/peer.rs"]),
    ("diesel::", &["store/"]),
    ("object_store::", &["store/bodies.rs"]),
    ("rustls::", &["tls/", "api/peer.rs", "identity/pro_sante_connect/", "sandbox/pro_sante_connect.rs"]),
    ("webpki::", &["tls/"]),
    (
        "reqwest::",
        &["tls/ocsp.rs", "identity/pro_sante_connect/", "notification/webhook.rs", "notification/follow.rs"],
    ),
    ("lettre::", &["notification/mail.rs"]),
    ("jsonwebtoken::", &["identity/"]),
    ("governor::", &["api/limits.rs"]),
    (
        "openssl::",
        &[
            "pki/",
            "tls/trust.rs",
            "tls/authority.rs",
            "tls/ocsp.rs",
            "sandbox/pro_sante_connect.rs",
            "identity/assertion/tests.rs",
        ],
    ),
    ("x509_parser::", &["certificate/", "tls/", "config.rs", "identity/assertion.rs"]),
    ("roxmltree::", &["cda/", "fhir/xml/", "fhir/patch/xml_patch.rs"]),
    ("clap::", &["main.rs", "commands/", "pki/holder.rs"]),
    ("csv::", &["rights/matrix_files/"]),
    ("json_patch::", &["fhir/patch.rs"]),
    ("indicatif::", &["main.rs", "commands/"]),
    ("utoipa::", &["api/"]),
    // Layers: who may know whom.
    ("crate::api", &["api/", "server.rs", "server/", "sandbox/", "config.rs"]),
    (
        "crate::operations",
        &["operations/", "api/", "notification/follow.rs", "server.rs", "server/", "sandbox/", "config.rs"],
    ),
    (
        "crate::store",
        &[
            "store/",
            "operations/",
            "audit/",
            "notification/",
            "api/",
            "server.rs",
            "server/",
            "sandbox/",
            "config.rs",
            // Traces, and where they lie.
            "homologation/call.rs",
            "homologation/report.rs",
        ],
    ),
    (
        "crate::tls",
        &[
            "tls/",
            "api/",
            "server.rs",
            "server/",
            "config.rs",
            "pki/folder.rs",
            "identity/",
            "operations/mod.rs",
            "notification/webhook.rs",
            "notification/follow.rs",
            "operations/subscriptions.rs",
            "sandbox/",
        ],
    ),
    (
        "crate::sealing",
        &["sealing/", "store/", "operations/feed/", "server.rs", "server/", "sandbox/", "config.rs"],
    ),
    ("crate::pki", &["pki/", "sandbox/"]),
    ("crate::sandbox", &["sandbox/"]),
];

#[test]
fn imports_follow_the_way_of_a_request() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut faults = Vec::new();
    for path in sources(&root) {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        for (line, code) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for (named, places) in ALLOWED {
                let begins = code.find(named).is_some_and(|at| {
                    !code[..at]
                        .ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
                });
                if begins && !places.iter().any(|place| name.starts_with(place)) {
                    faults.push(format!("{name}:{} names {named}", line + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_hold_one_idea() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["src", "tests", "benches"] {
        for path in sources(&root.join(folder)) {
            let lines = std::fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 650, "{}: {lines} lines", path.display());
        }
    }
}
