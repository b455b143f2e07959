//! Trust, directory and registry, read again when their files change.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::{DirectoryFiles, SoftwareFile};
use crate::api::Api;
use crate::operations::Services;
use crate::tls::verifier::ReloadableVerifier;
use crate::tls::{Trust, TrustFolder};

/// Reads directory and registry again when their files change. A bad table never replaces a good one.
pub(super) async fn reload_tables(directory: DirectoryFiles, software: SoftwareFile, services: Arc<Services>) {
    let files = directory.professionals.iter().chain(&directory.structures).chain(&software.path);
    let paths: Vec<PathBuf> = files.cloned().collect();
    if paths.is_empty() {
        return;
    }
    // Read once more after the start, and then when the files have changed and stand still again.
    let (mut seen, mut last) = (Seen::new(), modified_files(paths.iter().cloned()));
    loop {
        actix_web::rt::time::sleep(Duration::from_secs(1)).await;
        let now = modified_files(paths.iter().cloned());
        let still = now == last;
        last = now.clone();
        if now == seen || !still {
            continue;
        }
        seen = now;
        let (directory, software) = (directory.clone(), software.clone());
        // Each for itself: a suspension does not wait for a directory that is at fault.
        match tokio::task::spawn_blocking(move || (directory.read(), software.read())).await {
            Ok((directory, software)) => {
                match directory {
                    Ok(read) if read.is_empty() && !services.sessions.directory.load().is_empty() => {
                        tracing::error!("the directory is empty: the one in force stays");
                    }
                    Ok(directory) => services.sessions.directory.store(Arc::new(directory)),
                    Err(error) => tracing::error!(error = format!("{error:#}"), "directory not taken"),
                }
                match software {
                    Ok(read) if read.is_empty() && !services.sessions.software.load().is_empty() => {
                        tracing::error!("the registry of software is empty: the one in force stays");
                    }
                    Ok(software) => services.sessions.software.store(Arc::new(software)),
                    Err(error) => {
                        tracing::error!(error = format!("{error:#}"), "registry of software not taken")
                    }
                }
            }
            Err(panicked) => tracing::error!(%panicked, "tables not taken"),
        }
    }
}

/// Looks every second whether the trust has changed; what is bad is left aside and the good stays in force.
pub(super) async fn reload(
    (folder, mut seen): (TrustFolder, Seen),
    mut in_force: Trust,
    verifier: Arc<ReloadableVerifier>,
    api: Arc<Api>,
) {
    let (mut told, mut quiet) = (in_force.faults.join("; "), Duration::ZERO);
    loop {
        actix_web::rt::time::sleep(Duration::from_secs(1)).await;
        quiet += Duration::from_secs(1);
        let now = modified(&folder);
        // A file at fault may be one that was being written: it is looked at again, less and less often.
        let again = !told.is_empty() && (quiet.as_secs() <= 5 || quiet.as_secs().is_multiple_of(60));
        if now == seen && !again {
            continue;
        }
        if now != seen {
            (seen, quiet) = (now, Duration::ZERO);
        }
        let (loading, held, at) = (folder.clone(), in_force.clone(), api.services.environment.now());
        // A parser that panics takes this task's blocking thread with it and nothing else.
        let loaded = tokio::task::spawn_blocking(move || loading.load_beside(&held, at)).await;
        let replaced = match loaded {
            Ok(loaded) => loaded.map(|mut trust| {
                if let Err(error) = verifier.replace(&trust) {
                    // The authorities in force stay; the lists are taken all the same.
                    trust.faults.push(format!("{error:#}: the authorities in force stay"));
                    trust.authorities.clone_from(&in_force.authorities);
                }
                trust
            }),
            Err(panicked) => Err(anyhow::anyhow!("reading the lists panicked: {panicked}")),
        };
        let (fault, faults) = match replaced {
            Ok(trust) => {
                trust.enforce(&api.services.sessions.revocation);
                in_force = trust;
                (in_force.faults.join("; "), in_force.faults.len())
            }
            Err(error) => (format!("{error:#}"), 1),
        };
        api.trust_faults.store(faults as u64, Ordering::Relaxed);
        if fault.is_empty() {
            tracing::info!("trust and revocation lists reloaded");
        } else if fault != told {
            tracing::error!(%fault, "not everything of the trust is taken");
        }
        told = fault;
    }
}

/// Names, sizes and times of the files of trust.
pub(super) type Seen = Vec<(PathBuf, u64, Option<SystemTime>)>;

pub(super) fn modified(folder: &TrustFolder) -> Seen {
    let entries = std::fs::read_dir(&folder.revocation_lists).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path()).chain([folder.anchors.clone(), folder.authorities.clone()]);
    modified_files(paths)
}

fn modified_files(paths: impl Iterator<Item = PathBuf>) -> Seen {
    let mut files: Vec<_> = paths
        .filter_map(|path| {
            let metadata = std::fs::metadata(&path).ok()?;
            Some((path, metadata.len(), metadata.modified().ok()))
        })
        .collect();
    files.sort();
    files
}
