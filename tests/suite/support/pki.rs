//! One test PKI for the whole suite: RSA-4096 keys take their time.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use habilis::environment::Environment;
use habilis::sandbox;

/// The PKI that all tests may read and none may change; [`copy`] makes one of one's own.
pub fn shared_pki() -> &'static Path {
    static PKI: OnceLock<PathBuf> = OnceLock::new();
    PKI.get_or_init(|| {
        // Another set of holders is another PKI.
        let holders = format!("{:?}", sandbox::holders());
        let digest = holders.bytes().fold(5381_u64, |hash, byte| hash.wrapping_mul(33) ^ u64::from(byte));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("pki-{digest:016x}"));
        sandbox::make_pki(&folder, &Environment::system()).unwrap();
        folder
    })
}

/// A copy that a test may change.
pub fn copy(to: &Path) -> PathBuf {
    fn copy_folder(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy_folder(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }
    let folder = to.join("certs");
    copy_folder(shared_pki(), &folder);
    folder
}
