//! Runs over `../shared/data`, which is not part of the project: `scripts/shared-data` runs them (an extra step of
//! `.ci/run`), with `HABILIS_SHARED` naming the folder. Without it they are ignored; with a wrong one they fail.

mod certificates;
mod claims;
mod homologation;
mod limbo;
mod xml;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use habilis::tls::authority::Authority;
use habilis::tls::revocation::{IssuerList, Lists};

/// Lists that revoke nothing, for authorities whose own lists nobody can make.
fn empty_lists(authorities: &[Authority]) -> Lists {
    let list =
        || IssuerList { number: vec![1], this_update: 0, next_update: i64::MAX, revoked: HashSet::new() };
    authorities.iter().map(|authority| (authority.issuer_key(), Arc::new(list()))).collect()
}

/// A file of the shared data.
fn shared(path: &str) -> PathBuf {
    let folder = std::env::var("HABILIS_SHARED").expect("HABILIS_SHARED names the folder of the shared data");
    let path = PathBuf::from(folder).join(path);
    assert!(path.exists(), "{} is not there", path.display());
    path
}
