//! The bytes of documents: an object store, local files with fsync or S3.
//!
//! A key is the SHA-256 of the bytes and the id of the Binary. So a body is never written over, two records never share
//! one (a shared body would tell that the other exists, and could not be erased with its record), and a sweep can tell
//! an orphan from a body whose row is about to come by its age alone.

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

use crate::error::Failure;

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

/// A body that is read in pieces as it is sent: memory holds two of them, however long it is.
#[derive(Clone, Debug)]
pub struct StoredBody {
    bodies: BodyStore,
    key: String,
    sha256: String,
    size: u64,
}

impl StoredBody {
    /// Reads all of it once, and checks that it is the one that was fed: before a byte of it goes out.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the store is away, the body gone or altered.
    pub async fn verify(&self) -> Result<(), Failure> {
        let mut pieces = Box::pin(self.clone().pieces(0, self.size));
        while let Some(piece) = pieces.next().await {
            piece?;
        }
        Ok(())
    }

    /// The bytes from `first` to before `end`. Of the whole, the last piece is held back until the digest is the one that was fed: an
    /// answer of altered bytes breaks off.
    pub fn pieces(self, first: u64, end: u64) -> impl Stream<Item = Result<Bytes, Failure>> {
        let whole = first == 0 && end == self.size;
        let state = (self, first, whole.then(|| digest::Context::new(&digest::SHA256)));
        futures_util::stream::try_unfold(state, move |(body, at, mut digest)| async move {
            if at >= end {
                return Ok(None);
            }
            let until = end.min(at.saturating_add(PIECE));
            let piece = body.bodies.objects.get_range(&Path::from(body.key.as_str()), at..until).await;
            let piece = piece.map_err(unavailable)?;
            let altered =
                || Failure::unavailable(format_args!("the body {} is not the one that was fed", body.key));
            if piece.len() as u64 != until - at {
                return Err(altered());
            }
            if let Some(digest) = &mut digest {
                digest.update(&piece);
            }
            if until == end
                && let Some(digest) = digest.take()
                && hex(digest.finish().as_ref()) != body.sha256
            {
                return Err(altered());
            }
            Ok(Some((piece, (body, until, digest))))
        })
    }
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
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_region(region);
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                Arc::new(builder.build().context("the S3 body store")?)
            }
        };
        Ok(Self { objects, folder: local })
    }

    /// The key of a body.
    pub fn key(sha256: &str, binary_id: &str) -> String {
        // 256 folders: a folder of its own for each body would cost a directory and its fsync each time.
        format!("{}/{sha256}-{binary_id}", sha256.get(..2).unwrap_or_default())
    }

    /// The id of the Binary in a key, after the digest.
    pub(super) fn binary_of(key: &str) -> Option<&str> {
        key.rsplit('/').next()?.split_once('-').map(|(_, binary_id)| binary_id)
    }

    /// Writes a body durably. Never over another.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the store is full or away.
    pub async fn put(&self, key: &str, body: Bytes) -> Result<(), Failure> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        self.objects
            .put_opts(&Path::from(key), PutPayload::from_bytes(body), options)
            .await
            .map(|_| ())
            .map_err(unavailable)
    }

    /// Reads a body of a known size, and checks that it is the one that was fed.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the store is away, the body gone or altered.
    pub async fn get(&self, key: &str, sha256: &str, size: u64) -> Result<Bytes, Failure> {
        let path = Path::from(key);
        let body = match &self.folder {
            Some(folder) if size <= SMALL => {
                let file = folder.path_to_filesystem(&path).map_err(unavailable)?;
                Bytes::from(std::fs::read(file).map_err(Failure::unavailable)?)
            }
            _ => {
                let body = self.objects.get(&path).await.map_err(unavailable)?;
                body.bytes().await.map_err(unavailable)?
            }
        };
        if hex(digest::digest(&digest::SHA256, &body).as_ref()) != sha256 {
            return Err(Failure::unavailable(format_args!("the body {key} is not the one that was fed")));
        }
        Ok(body)
    }

    /// A body of a known size, to be read in pieces.
    pub fn stored(&self, key: &str, sha256: &str, size: u64) -> StoredBody {
        StoredBody { bodies: self.clone(), key: key.to_owned(), sha256: sha256.to_owned(), size }
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
