//! The only SQL and the only body store.
//!
//! * reads run on a small pool of connections, one unit of work in one hop off the event loop;
//! * writes and traces go through [`writer`], which commits whatever waits in one durable transaction;
//! * short bodies lie in the database, others in an object store, written before the row that names them.
//!
//! Whatever returns or changes health data takes a grant of `rights` as a parameter.

pub mod backup;
mod bodies;
mod by_clock;
mod changes;
mod criteria;
mod cursors;
mod documents;
mod engine;
mod erasure;
mod folders;
mod indicators;
mod journal;
mod keys;
pub mod lane;
mod notices;
mod patients;
mod readers;
mod records;
mod relations;
mod reserve;
mod schema;
mod search;
mod small_bodies;
mod spent;
mod submission_sets;
mod submissions;
mod subscriptions;
mod supposed;
mod terms;
mod trace_log;
mod traces;
mod updates;
mod vaccinations;
mod versions;
mod writer;

use std::time::Duration;

use anyhow::Result;
use futures_util::{StreamExt, TryStreamExt};

use crate::audit::merkle::Frontier;
use crate::error::Failure;
use crate::rights::HabilitationMatrix;
use crate::sealing::{SealingKey, Vault};

pub(crate) use bodies::hex;
pub use bodies::{BodyName, BodyStore, BodyStoreLocation, SMALL, StoredBody};
pub use by_clock::{EndingAuthorisation, EndingDocument};
pub use changes::{Changes, Known, told_until};
pub use criteria::{
    DateRange, LabelTest, MOST_PREFIXES, NewTerm, PeriodRange, SearchCriteria, TermKind, TermTest,
};
/// What the database may answer instead of a result.
pub use diesel::result::Error as StoreError;
pub use documents::{DocumentSummary, KeptDocument, OpenedDocument, PATIENT, PatientDocument};
pub use engine::{DatabaseConnection, DatabaseUrl};
pub use erasure::{ERASING, Erased, ErasedTraces, ErasureRow};
pub use folders::{FolderChange, FolderKind};
pub use indicators::{Counted, Indicator};
pub use journal::{TraceEntry, TraceRow};
pub use keys::{FedRecord, WrappedAgain};
pub use notices::{NewNotice, NoticeRow, NoticeState, NoticesOf, Told};
pub use patients::{AccessLine, IdentityCriteria, NewState, Switches};
pub use readers::{Reader, look};
pub use records::{Hold, NewRecord, RecordKey, family_key};
pub use relations::{ListedRecord, NewAuthorisation, basis_code};
pub use search::{Page, PageCursor, SearchPage};
pub use small_bodies::{SmallBody, made_key};
pub use submission_sets::{SubmissionSetCriteria, SubmissionSetPage};
pub use submissions::{FedDocument, NewDocument, NewSubmission, Submitted};
pub use subscriptions::{
    EventRow, NewSubscription, Next, Onward, OpenedSubscription, SubscriptionCriteria, SubscriptionRow,
};
pub use supposed::SupposedPage;
pub use trace_log::LogState;
pub use traces::{TraceCriteria, TracePage};
pub use updates::{DocumentKey, UpdatedDocument};
pub use vaccinations::{HistoryVersion, KeptVaccinations, NewVaccination, SERVER};
pub use versions::PastVersion;
pub use writer::{Step, Traced, Transaction, Writer};

/// Bodies of up to so many bytes lie in the database, unless configured: measured in `benches/README.md`.
pub const SMALL_BODIES: u64 = 64 << 10;

/// The limits of a store.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    /// Read connections: one for each worker and for each feed that is being taken apart, so that none waits.
    pub readers: u32,
    /// Units of work that may wait for a commit; beyond it a caller gets 503.
    pub queue: usize,
    /// Units of work in one commit, at most.
    pub batch: usize,
    /// How long a read may wait for a connection; then 503.
    pub patience: Duration,
    /// Bytes on the disk that are kept for traces (SQLite); 0: none.
    pub reserve: u64,
    /// Bodies of up to so many bytes lie in the database, at most [`SMALL`].
    pub small_bodies: u64,
    /// The name under which this process writes its traces: each node has its own log.
    pub node: String,
}

impl Default for StoreLimits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let readers = u32::try_from(cores * 3 + 4).unwrap_or(u32::MAX);
        Self {
            readers,
            queue: 4096,
            batch: 64,
            patience: Duration::from_secs(1),
            reserve: 0,
            small_bodies: SMALL_BODIES,
            node: "1".to_owned(),
        }
    }
}

/// The store of one server.
#[derive(Clone, Debug)]
pub struct Store {
    readers: readers::Readers,
    /// PostgreSQL: for what is spent and counted, see [`readers::Readers::open_for_single_rows`].
    single_rows: Option<readers::Readers>,
    writer: Writer,
    bodies: BodyStore,
    small_bodies: u64,
    vault: Vault,
    url: DatabaseUrl,
}

impl Store {
    /// Opens database and bodies; migrates the database to the version of the program.
    ///
    /// # Errors
    /// The database cannot be reached, belongs to a newer program, or the body store does not work.
    pub fn open(url: &DatabaseUrl, bodies: BodyStore, vault: Vault, limits: &StoreLimits) -> Result<Self> {
        Self::migrate(url, |_| {})?;
        Self::of(url, bodies, vault, limits)
    }

    /// Brings a database to the version of the program, and tells each migration before it begins; how many there were.
    ///
    /// # Errors
    /// The database cannot be reached or changed, or belongs to a newer version of the program.
    pub fn migrate(url: &DatabaseUrl, told: impl FnMut(&str)) -> Result<usize> {
        let applied = engine::migrate(url, told)?;
        records::fill_family_keys(&mut DatabaseConnection::open_for_writing(url)?)?;
        Ok(applied)
    }

    /// The migrations that a database lacks.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    pub fn pending_migrations(url: &DatabaseUrl) -> Result<Vec<String>> {
        engine::pending(url)
    }

    /// Opens database and bodies beside a server that runs: nothing is migrated.
    ///
    /// # Errors
    /// As [`Store::open`]; the database belongs to another version of the program.
    pub fn open_beside(
        url: &DatabaseUrl,
        bodies: BodyStore,
        vault: Vault,
        limits: &StoreLimits,
    ) -> Result<Self> {
        engine::must_be_of_this_version(&mut DatabaseConnection::open_for_reading(url)?)?;
        Self::of(url, bodies, vault, limits)
    }

    fn of(url: &DatabaseUrl, bodies: BodyStore, vault: Vault, limits: &StoreLimits) -> Result<Self> {
        let single_rows = match url {
            DatabaseUrl::Sqlite(_) => None,
            DatabaseUrl::Postgres(_) => Some(readers::Readers::open_for_single_rows(url, limits)?),
        };
        let (readers, writer) = (readers::Readers::open(url, limits)?, Writer::start(url, limits)?);
        let small_bodies = limits.small_bodies.min(SMALL);
        Ok(Self { readers, single_rows, writer, bodies, small_bodies, vault, url: url.clone() })
    }

    /// Takes everything of ours out of a database: a sandbox begins again.
    ///
    /// # Errors
    /// The database cannot be reached or changed.
    pub fn reset(url: &DatabaseUrl) -> Result<()> {
        engine::revert(url)
    }

    /// Reads: one closure with one connection.
    ///
    /// # Errors
    /// Those of the closure; [`Failure::Unavailable`] when there is no connection in time.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: FnOnce(&mut Reader<'_>) -> Result<T, Failure> + Send + 'static,
    {
        self.readers.run(work).await
    }

    /// Reads on the calling thread, which may block.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_here<T>(&self, work: impl FnOnce(&mut Reader<'_>) -> Result<T, Failure>) -> Result<T, Failure> {
        self.readers.run_here(work)
    }

    /// The one path of writes and traces.
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Bodies that do not lie in the database.
    pub fn bodies(&self) -> &BodyStore {
        &self.bodies
    }

    /// Where a body that is fed will lie.
    pub fn body_key(&self, binary_id: &str, size: u64) -> String {
        if size <= self.small_bodies { small_bodies::row_key(binary_id) } else { BodyStore::key(binary_id) }
    }

    /// Brings the body of a document that is about to be kept to where its key says: to the body store, durable before the row that names it; or,
    /// sealed, into the hand of the caller, who keeps it in the commit of that row.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the store is full or away, or nothing can be sealed.
    pub async fn put_body(
        &self,
        document: &NewDocument,
        body: bytes::Bytes,
        key: &SealingKey,
    ) -> Result<Option<SmallBody>, Failure> {
        let NewDocument { record_id, binary_id, body_key, .. } = document;
        if small_bodies::is_in_database(body_key) {
            let sealed = SmallBody::sealed(record_id, binary_id, body_key, &body, key);
            return sealed.map(Some).map_err(keys::sealing);
        }
        self.bodies.put(body_key, body, key).await?;
        Ok(None)
    }

    /// Opens what [`Reader::small_body`] read.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: there is nothing, or it is not what was fed.
    pub fn small_body(&self, document: &OpenedDocument, bytes: Option<Vec<u8>>) -> Result<Vec<u8>, Failure> {
        small_bodies::opened(&self.body_name(document)?, bytes)
    }

    /// What a body is asked for by.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: its key cannot be opened.
    pub fn body_name(&self, document: &OpenedDocument) -> Result<BodyName, Failure> {
        Ok(BodyName {
            key: document.body_key.clone(),
            sha256: document.sha256.clone(),
            size: document.size,
            record_key: self.key_of(document)?,
        })
    }

    /// Keeps every set of types that the matrix can grant, so that queries can name them.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn register_readable_types(&self, url: &DatabaseUrl, matrix: &HabilitationMatrix) -> Result<()> {
        let mut connection = engine::DatabaseConnection::open_for_writing(url)?;
        documents::register_readable_types(&mut connection, matrix)
    }

    /// Removes bodies that no row names and that are older than `age`: what an interrupted feed left.
    ///
    /// # Errors
    /// The body store or the database does not answer.
    pub async fn sweep_orphans(&self, now: jiff::Timestamp, age: Duration) -> Result<u64, Failure> {
        let mut removed = 0;
        let mut old = self.bodies.older_than(now, age);
        loop {
            // By the hundred: a store of many millions is never listed into memory.
            let keys: Vec<String> = old.by_ref().take(500).try_collect().await?;
            if keys.is_empty() {
                break;
            }
            let orphans = self.read(move |reader| reader.not_named(keys)).await?;
            for key in orphans {
                self.bodies.remove(&key).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// SQLite: what was erased leaves the write-ahead log too, as far as nobody reads it at this moment.
    pub async fn forget_log(&self) {
        if let DatabaseUrl::Postgres(_) = self.url {
            return;
        }
        let url = self.url.clone();
        let done = tokio::task::spawn_blocking(move || engine::truncate_log(&url)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(
                error = format!("{error:#}"),
                "the write-ahead log is not cut: it is written over in time"
            );
        }
    }

    /// Waits until what was sent to the writer before is committed.
    ///
    /// # Errors
    /// [`Failure::Unavailable`]: the writer stopped.
    pub async fn settled(&self) -> Result<(), Failure> {
        self.writer.untraced_on_reserve(|_| Ok(())).await
    }

    /// Notes in the database how far a checkpoint of a node's log went.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub async fn note_checkpoint(&self, node: &str, frontier: &Frontier) -> Result<(), Failure> {
        let (node, frontier) = (node.to_owned(), frontier.clone());
        let work =
            move |connection: &mut DatabaseConnection| trace_log::note_checkpoint(connection, &node, &frontier);
        self.writer.untraced(work).await
    }

    /// Whether the store serves: a read works and the writer has not stopped.
    pub async fn is_ready(&self) -> bool {
        // A node that is full of slow reads still serves emergencies: it stays in the balancer's list.
        let ping = lane::in_lane(lane::Lane::Emergency, self.read(|reader| reader.ping()));
        self.writer.is_running() && ping.await.is_ok()
    }
}

/// A database error, kept for the log and answered with 503.
fn unavailable(error: diesel::result::Error) -> Failure {
    Failure::unavailable(format_args!("database: {error}"))
}
