//! Room on the disk that is kept for traces: when it is full, nothing is written any more but what was read, by whom.
//!
//! SQLite alone: PostgreSQL's disk is not ours. A file of zeros lies beside the database; it is removed when a commit finds no room, and made again when
//! there is some.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::engine::DatabaseUrl;

/// The file of zeros.
#[derive(Clone, Debug)]
pub(super) struct Reserve {
    path: PathBuf,
    size: u64,
}

impl Reserve {
    /// Of so many bytes beside a database; `None`: none is kept.
    pub fn of(url: &DatabaseUrl, size: u64) -> Option<Self> {
        let DatabaseUrl::Sqlite(path) = url else { return None };
        let mut name = path.clone().into_os_string();
        name.push(".reserve");
        (size > 0).then(|| Self { path: name.into(), size })
    }

    /// Makes it where it is missing or short. `false`: there is no room for it.
    ///
    /// # Errors
    /// It cannot be made for another reason.
    pub fn make(&self) -> Result<bool> {
        if std::fs::metadata(&self.path).is_ok_and(|found| found.len() == self.size) {
            return Ok(true);
        }
        let Err(error) = self.write() else { return Ok(true) };
        self.release();
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Ok(false),
            _ => Err(error).with_context(|| format!("cannot make the reserve {}", self.path.display())),
        }
    }

    /// The disk is full: gives the room away, and makes it again, in the background, as soon as there is some. `full` is true until then, and nothing
    /// is done any more when nobody else has it.
    pub fn give_away(&self, full: &Arc<AtomicBool>) {
        const PAUSE: Duration = Duration::from_secs(1);
        // It is given away once, and one looks for room.
        if full.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!("the disk is full: nothing is written but traces, on the room that was kept for them");
        self.release();
        let (reserve, full) = (self.clone(), Arc::downgrade(full));
        let watch = move || {
            while let Some(full) = full.upgrade() {
                match reserve.fits_again().and_then(|fits| Ok(fits && reserve.make()?)) {
                    Ok(true) => {
                        full.store(false, Ordering::Relaxed);
                        tracing::warn!("there is room on the disk again");
                        return;
                    }
                    Ok(false) => {}
                    Err(error) => {
                        tracing::error!(error = format!("{error:#}"), "the reserve is not made again")
                    }
                }
                drop(full);
                std::thread::sleep(PAUSE);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("reserve".into()).spawn(watch) {
            tracing::error!(%error, "nobody looks for room on the disk: start again when there is some");
        }
    }

    /// Whether there is room for it and half as much again: what it gave away itself is not enough.
    fn fits_again(&self) -> Result<bool> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let available = fs4::available_space(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("how much room there is for {}", self.path.display()))?;
        Ok(available >= self.size + self.size / 2)
    }

    /// Gives its room away.
    fn release(&self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::error!(%error, path = %self.path.display(), "the reserve is not given away");
        }
    }

    fn write(&self) -> std::io::Result<()> {
        // Written, not merely longer: a hole in a file takes no room.
        let zeros = vec![0; 1 << 20];
        let mut file = std::fs::File::create(&self.path)?;
        let mut left = self.size;
        while left > 0 {
            let piece = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
            file.write_all(zeros.get(..piece).unwrap_or_default())?;
            left -= piece as u64;
        }
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_takes_room_and_gives_it_away() {
        let folder = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(folder.path().join("x.db"));
        let path = folder.path().join("x.db.reserve");
        let reserve = Reserve::of(&url, 3 << 20).unwrap();
        let whole = || std::fs::metadata(&path).is_ok_and(|found| found.len() == 3 << 20);
        assert!(reserve.make().unwrap() && whole());
        reserve.release();
        assert!(!path.exists());
        std::fs::write(&path, "short").unwrap();
        assert!(reserve.make().unwrap() && whole());
        // There is room here: it is made again, and the disk is no longer full.
        let full = Arc::new(AtomicBool::new(false));
        reserve.give_away(&full);
        let mut waited = 0;
        while full.load(Ordering::Relaxed) && waited < 1_000 {
            std::thread::sleep(Duration::from_millis(10));
            waited += 1;
        }
        assert!(!full.load(Ordering::Relaxed) && whole());
        assert!(Reserve::of(&url, 0).is_none());
    }
}
