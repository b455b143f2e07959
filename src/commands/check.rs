//! `habilis serve --check`: whether a server would start with a configuration, and what of it is at fault.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail, ensure};
use habilis::audit::checkpoint::Signer;
use habilis::environment::Environment;
use habilis::identity::tokens::Keys;
use habilis::store::{DatabaseConnection, DatabaseUrl, look};
use habilis::tls::verifier::ReloadableVerifier;
use habilis::tls::{Revocation, listener};

/// Looks at trust, certificate, tables, keys, folders of checkpoints and database, one after the other, and says of each what it came to. Nothing is written, no port is
/// taken, and nobody else is asked: not the object store, not Pro Santé Connect, not a mail relay.
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
    let token = Keys::read(&settings.sessions.key, &settings.sessions.older_keys);
    told("token keys", token.map(|_| settings.sessions.key.display().to_string()));
    let signer = Signer::read(&settings.audit.origin, &settings.audit.key);
    told("audit key", signer.map(|_| settings.audit.key.display().to_string()));
    for folder in &settings.audit.checkpoints {
        // It is made at the start, below one that is there.
        let there = folder.is_dir() || folder.parent().is_some_and(Path::is_dir);
        let shown = folder.display().to_string();
        told("checkpoints", if there { Ok(shown) } else { Err(anyhow!("{shown} cannot be made")) });
    }
    told("database", database(&settings.database));
    match faults {
        0 => Ok(()),
        faults => bail!("{faults} at fault: a server would not start, or not serve all"),
    }
}

/// Reached, and of which version. One that has no tables yet gets them at the start.
fn database(url: &DatabaseUrl) -> Result<String> {
    if let DatabaseUrl::Sqlite(path) = url
        && !path.exists()
    {
        ensure!(path.parent().is_some_and(Path::is_dir), "{} cannot be made", path.display());
        return Ok("it is made at the start".to_owned());
    }
    DatabaseConnection::open_for_reading(url)?;
    Ok(match look(url, |_| Ok(())) {
        Ok(()) => "of this version".to_owned(),
        Err(error) => format!("reached; {error:#}"),
    })
}
