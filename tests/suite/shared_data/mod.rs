//! Runs over `../shared/data`, which is not part of the project: `scripts/shared-data` runs them (an extra step of
//! `.ci/run`), with `HABILIS_SHARED` naming the folder. Without it they are ignored; with a wrong one they fail.

mod certificates;
mod claims;
mod limbo;

use std::path::PathBuf;

/// A file of the shared data.
fn shared(path: &str) -> PathBuf {
    let folder = std::env::var("HABILIS_SHARED").expect("HABILIS_SHARED names the folder of the shared data");
    let path = PathBuf::from(folder).join(path);
    assert!(path.exists(), "{} is not there", path.display());
    path
}
