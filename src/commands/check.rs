//! `habilis serve --check`: whether a server would start with a configuration, and what of it is at fault.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use habilis::environment::Environment;
use habilis::store::Store;
use habilis::tls::verifier::ReloadableVerifier;
use habilis::tls::{Revocation, listener};

/// Looks at one thing after the other, and says of each what it came to. Nothing is written, and no port is taken.
///
/// # Errors
/// Something is at fault: how many.
pub fn run(config: &Path) -> Result<()> {
    let environment = Environment::system();
    let now = environment.now();
    let settings = habilis::config::read(config)?;
    let mut faults = 0;
    let mut told = |what: &str, found: Result<String>| match found {
        Ok(found) => println!("{what}: {found}"),
        Err(error) => {
            faults += 1;
            println!("{what}: FAULT {error:#}");
        }
    };
    told("configuration", Ok(config.display().to_string()));
    let trust = settings.trust.load(now);
    let certificate = |trust: &habilis::tls::Trust| -> Result<String> {
        let verifier =
            ReloadableVerifier::new(trust, Arc::new(Revocation::default()), listener::crypto_provider())?;
        listener::server_config(&settings.certificate, &settings.key, Arc::new(verifier), environment.clock())?;
        Ok(settings.certificate.display().to_string())
    };
    match &trust {
        Ok(trust) => {
            told("trust", Ok(format!("{} authorities, {} lists", trust.authorities.len(), trust.lists.len())));
            for fault in &trust.faults {
                told("trust", Err(anyhow::anyhow!("{fault}")));
            }
            told("certificate", certificate(trust));
        }
        Err(error) => told("trust", Err(anyhow::anyhow!("{error:#}"))),
    }
    told("directory", settings.sessions.directory.read().map(|_| "read".to_owned()));
    told("software", settings.sessions.software.read().map(|_| "read".to_owned()));
    told("operator's keys", settings.encryption.vault().map(|_| settings.encryption.current.clone()));
    for path in [&settings.sessions.key, &settings.audit.key] {
        let readable = std::fs::read(path).map(|_| path.display().to_string());
        told("key", readable.with_context(|| path.display().to_string()));
    }
    told(
        "database",
        Store::pending_migrations(&settings.database)
            .map(|missing| format!("reached, {} migrations are missing", missing.len())),
    );
    match faults {
        0 => Ok(()),
        faults => bail!("{faults} at fault: a server would not start, or not serve all"),
    }
}
