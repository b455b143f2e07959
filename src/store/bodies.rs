//! The bytes of documents: an object store, local files with fsync or S3.
//!
//! A body lies under the id of its Binary, sealed with the key of its record ([`crate::sealing`]). So a body is never written over, two
//! records never share one (a shared body would tell that the other exists, and could not be erased with its record), its name says
//! nothing of its bytes, and a sweep can tell an orphan from a body whose row is about to come by its age alone. Bodies of before there
//! were keys lie under the digest of their bytes too, and are read as they are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use super::keys::sealing;
use crate::error::Failure;
use crate::sealing::{HEADER, Opener, SealingKey, Segments, seal};

/// Where bodies lie.
#[derive(Clone, Debug)]
pub enum BodyStoreLocation {
    /// A folder of local files.
    Folder(PathBuf),
    /// A bucket of an S3-compatible store; credentials from the environment (`AWS_ACCESS_KEY_ID` …).
    S3 {
        /// Bucket.
        bucket: String,
        /// Region.
        region: String,
        /// Endpoint of a store that is not AWS.
        endpoint: Option<String>,
    },
}

/// The store of bodies.
#[derive(Clone, Debug)]
pub struct BodyStore {
    objects: Arc<dyn ObjectStore>,
    /// The same store, when it is a folder: small bodies are read from it without a way to another thread.
    folder: Option<Arc<LocalFileSystem>>,
}

/// Bodies up to this size are read where the request is, and are sent from memory.
pub const SMALL: u64 = 256 << 10;
/// By how much a longer one is read.
const PIECE: u64 = 512 << 10;

/// How the names of sealed bodies begin. A program of before there were keys reads the id of the Binary behind the first hyphen: its sweep finds the
/// row, and does not take the body for an orphan.
const SEALED: &str = "sealed-";

/// What became of a body that was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It is in the other store.
    There,
    /// It is in the other store, from before: it is not in this one any more, or not as it was.
    OnlyThere,
    /// It is in neither.
    Nowhere,
}

/// Which body, and what opens it.
#[derive(Clone, Debug)]
pub struct BodyName {
    /// Where it lies.
    pub key: String,
    /// Digest of what was fed, hexadecimal.
    pub sha256: String,
    /// Bytes of what was fed.
    pub size: u64,
    /// The key of its record; none: it was never sealed.
    pub record_key: Option<SealingKey>,
}

/// A body that is read in pieces as it is sent: memory holds two of them, however long it is.
#[derive(Clone, Debug)]
pub struct StoredBody {
    bodies: BodyStore,
    name: BodyName,
    opener: Option<Arc<Opener>>,
}

impl StoredBody {
    /// Reads the bytes from `first` to before `end` once, and sees whether they are those that were fed: before one of them goes out. What is
    /// sealed says so segment by segment; of what never was, all is read.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the store is away, the body gone or altered.
    pub async fn verify(&self, first: u64, end: u64) -> Result<(), Failure> {
        let (first, end) = if self.opener.is_some() { (first, end) } else { (0, self.name.size) };
        let mut pieces = Box::pin(self.clone().pieces(first, end));
        while let Some(piece) = pieces.next().await {
            piece?;
        }
        Ok(())
    }

    /// The bytes from `first` to before `end`. Of the whole, the last piece is held back until the digest is the one that was fed: an
    /// answer of altered bytes breaks off.
    pub fn pieces(self, first: u64, end: u64) -> impl Stream<Item = Result<Bytes, Failure>> {
        let whole = first == 0 && end == self.name.size;
        let state = (self, first, whole.then(|| digest::Context::new(&digest::SHA256)));
        futures_util::stream::try_unfold(state, move |(body, at, mut digest)| async move {
            if at >= end {
                return Ok(None);
            }
            let piece = body.piece(at, end).await?;
            let until = at + piece.len() as u64;
            if piece.is_empty() {
                return Err(body.altered());
            }
            if let Some(digest) = &mut digest {
                digest.update(&piece);
            }
            if until == end
                && let Some(digest) = digest.take()
                && hex(digest.finish().as_ref()) != body.name.sha256
            {
                return Err(body.altered());
            }
            Ok(Some((piece, (body, until, digest))))
        })
    }

    /// Bytes from a place on, [`PIECE`] or so of them, and none behind `end`.
    async fn piece(&self, at: u64, end: u64) -> Result<Bytes, Failure> {
        let Some(opener) = &self.opener else {
            let until = end.min(at.saturating_add(PIECE));
            let piece = self.bodies.range(&self.name.key, at..until).await?;
            return if piece.len() as u64 == until - at { Ok(piece) } else { Err(self.altered()) };
        };
        let layout = Segments::of(self.name.size);
        let (from, last) = (layout.holding(at), layout.holding(end - 1).min(layout.holding(at + PIECE)));
        let place = layout.place(from, last + 1);
        let mut sealed = Vec::from(self.bodies.range(&self.name.key, place).await?);
        let plain = Bytes::from(opener.open(from, &mut sealed).map_err(sealing)?);
        let begins = layout.begins(from);
        let skipped = usize::try_from(at - begins).map_err(Failure::internal)?;
        let until = usize::try_from(end - begins).map_err(Failure::internal)?.min(plain.len());
        if skipped >= until {
            return Err(self.altered());
        }
        Ok(plain.slice(skipped..until))
    }

    fn altered(&self) -> Failure {
        altered(&self.name.key)
    }
}

fn altered(key: &str) -> Failure {
    Failure::unavailable(format_args!("the body {key} is not the one that was fed"))
}

impl BodyStore {
    /// Opens it.
    ///
    /// # Errors
    /// The folder cannot be made, or the configuration of S3 is incomplete.
    pub fn open(location: &BodyStoreLocation) -> Result<Self> {
        let mut local = None;
        let objects: Arc<dyn ObjectStore> = match location {
            BodyStoreLocation::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("cannot make the folder {}", folder.display()))?;
                // fsync is off by default.
                let folder = Arc::new(LocalFileSystem::new_with_prefix(folder)?.with_fsync(true));
                local = Some(Arc::clone(&folder));
                folder
            }
            BodyStoreLocation::S3 { bucket, region, endpoint } => {
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_region(region)
                    // One body at a time is removed, and not every store knows the other request.
                    .with_disable_bulk_delete(true);
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                Arc::new(builder.build().context("the S3 body store")?)
            }
        };
        Ok(Self { objects, folder: local })
    }

    /// Where the body of a Binary lies.
    pub fn key(binary_id: &str) -> String {
        // 256 folders: a folder of its own for each body would cost a directory and its fsync each time.
        format!("{}/{}", binary_id.get(..2).unwrap_or_default(), Self::sealed_name(binary_id))
    }

    /// The last part of the key of a sealed body.
    pub(super) fn sealed_name(binary_id: &str) -> String {
        format!("{SEALED}{binary_id}")
    }

    /// The id of the Binary in a key: behind « sealed », or behind the digest where it was never sealed.
    pub(super) fn binary_of(key: &str) -> Option<&str> {
        key.rsplit('/').next()?.split_once('-').map(|(_, binary_id)| binary_id)
    }

    /// Whether the body of a key is sealed.
    pub(super) fn is_sealed(key: &str) -> bool {
        key.rsplit('/').next().is_some_and(|name| name.starts_with(SEALED))
    }

    /// Seals a body and writes it durably. Never over another.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the store is full or away, or nothing can be sealed.
    pub async fn put(&self, key: &str, body: Bytes, record_key: &SealingKey) -> Result<(), Failure> {
        let sealed = if body.len() as u64 <= SMALL {
            seal(record_key, key, &body).map_err(sealing)?
        } else {
            // As long as many requests: on a thread of its own.
            let (record_key, name) = (record_key.clone(), key.to_owned());
            let work = tokio::task::spawn_blocking(move || seal(&record_key, &name, &body));
            work.await.map_err(Failure::internal)?.map_err(sealing)?
        };
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.objects
            .put_opts(&Path::from(key), PutPayload::from(sealed), options)
            .await
            .map(|_| ())
            .map_err(unavailable)
    }

    /// Reads a body, and checks that it is the one that was fed.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the store is away, the body gone or altered.
    pub async fn get(&self, name: &BodyName) -> Result<Bytes, Failure> {
        let path = Path::from(name.key.as_str());
        let body = match &self.folder {
            Some(folder) if name.size <= SMALL => {
                let file = folder.path_to_filesystem(&path).map_err(unavailable)?;
                Bytes::from(std::fs::read(file).map_err(Failure::unavailable)?)
            }
            _ => {
                let body = self.objects.get(&path).await.map_err(unavailable)?;
                body.bytes().await.map_err(unavailable)?
            }
        };
        let body = match name.sealed()? {
            Some(key) => {
                Bytes::from(Opener::open_all(key, &name.key, Vec::from(body), name.size).map_err(sealing)?)
            }
            None => body,
        };
        if is_digest(&body, &name.sha256) { Ok(body) } else { Err(altered(&name.key)) }
    }

    /// A body to be read in pieces.
    ///
    /// # Errors
    /// As [`BodyStore::get`].
    pub async fn stored(&self, name: BodyName) -> Result<StoredBody, Failure> {
        let opener = match name.sealed()? {
            Some(key) => {
                let header = self.range(&name.key, 0..HEADER as u64).await?;
                let opener = Opener::new(key, &name.key, &header, Segments::of(name.size)).map_err(sealing)?;
                Some(Arc::new(opener))
            }
            None => None,
        };
        Ok(StoredBody { bodies: self.clone(), name, opener })
    }

    async fn range(&self, key: &str, place: std::ops::Range<u64>) -> Result<Bytes, Failure> {
        self.objects.get_range(&Path::from(key), place).await.map_err(unavailable)
    }

    /// Copies a body as it lies, sealed, to another store, unless it is there already. `length` is what it has to be: what is shorter or longer, here or
    /// there, is taken for missing.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: either store is away, or full.
    pub async fn copy_to(&self, other: &BodyStore, key: &str, length: u64) -> Result<Copied, Failure> {
        let path = Path::from(key);
        let here = self.length(&path).await?;
        let there = other.length(&path).await?;
        match (here == Some(length), there == Some(length)) {
            (true, true) => return Ok(Copied::There),
            (false, true) => return Ok(Copied::OnlyThere),
            (false, false) => return Ok(Copied::Nowhere),
            (true, false) => {}
        }
        if there.is_some() {
            other.remove(key).await?;
        }
        let body = match self.objects.get(&path).await {
            Ok(body) => body.bytes().await.map_err(unavailable)?,
            // Erased at this moment.
            Err(object_store::Error::NotFound { .. }) => return Ok(Copied::Nowhere),
            Err(error) => return Err(unavailable(error)),
        };
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match other.objects.put_opts(&path, PutPayload::from(body), options).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(Copied::There),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Bytes of a body as it lies; `None`: it is not there.
    async fn length(&self, path: &Path) -> Result<Option<u64>, Failure> {
        match self.objects.head(path).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Removes a body; one that is not there is no error.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn remove(&self, key: &str) -> Result<(), Failure> {
        match self.objects.delete(&Path::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// The keys of bodies that were written longer than `age` ago.
    pub(super) fn older_than(
        &self,
        now: jiff::Timestamp,
        age: Duration,
    ) -> impl Stream<Item = Result<String, Failure>> + Unpin + use<> {
        let limit = now.as_second().saturating_sub(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        self.objects
            .list(None)
            .try_filter(move |meta| std::future::ready(meta.last_modified.timestamp() < limit))
            .map_ok(|meta| meta.location.to_string())
            .map_err(unavailable)
            .boxed()
    }
}

impl BodyName {
    /// What opens it; `None`: it lies as it was fed.
    fn sealed(&self) -> Result<Option<&SealingKey>, Failure> {
        match (BodyStore::is_sealed(&self.key), &self.record_key) {
            (false, _) => Ok(None),
            (true, Some(key)) => Ok(Some(key)),
            (true, None) => Err(Failure::unavailable(format_args!("the body {} has no key", self.key))),
        }
    }
}

/// Whether a digest, hexadecimal, is that of these bytes.
pub(super) fn is_digest(bytes: &[u8], sha256: &str) -> bool {
    hex(digest::digest(&digest::SHA256, bytes).as_ref()) == sha256
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Invariant: writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unavailable(error: object_store::Error) -> Failure {
    Failure::unavailable(format_args!("body store: {error}"))
}
