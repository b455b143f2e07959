//! The log of a node: its traces in order, each with its hash, and how far its tree goes. Kept in the commit of the traces.

mod statements;

use diesel::prelude::*;

use super::engine::DatabaseConnection;
use super::journal::{TraceEntry, TraceRow};
use super::readers::Reader;
use super::schema::{trace, trace_log};
use super::unavailable;
use crate::audit::merkle::{Frontier, Hash, leaf_hash};
use crate::error::Failure;
use statements::{AppendsAtOnce, GoesOn};

/// What a writer knows of its node's log.
#[derive(Clone, Debug)]
pub(super) struct TraceLog {
    node: String,
    /// As of the last commit of ours; none: to be read.
    frontier: Option<Frontier>,
}

/// A trace with its place.
#[derive(Insertable)]
#[diesel(table_name = trace, treat_none_as_default_value = false)]
struct Placed<'a> {
    #[diesel(embed)]
    entry: TraceEntry,
    node: &'a str,
    leaf: i64,
    leaf_hash: Vec<u8>,
}

impl TraceLog {
    pub fn of(node: &str) -> Self {
        Self { node: node.to_owned(), frontier: None }
    }

    /// Appends traces, in the transaction; the log as it is if that is committed.
    pub fn append(
        &self,
        connection: &mut DatabaseConnection,
        entries: &[&TraceEntry],
    ) -> QueryResult<Option<Frontier>> {
        if entries.is_empty() {
            return Ok(self.frontier.clone());
        }
        if let Some(frontier) = self.append_at_once(connection, entries)? {
            return Ok(Some(frontier));
        }
        let known = match (&*connection, &self.frontier) {
            (DatabaseConnection::Sqlite(_), Some(frontier)) => Some(frontier.clone()),
            // Not known, or not as it was known.
            _ => self.read(connection)?,
        };
        let mut frontier = known.clone().unwrap_or_default();
        let placed = self.place(entries, &mut frontier);
        let kept = match known {
            Some(known) => self.replace(connection, &known, &frontier)?,
            None => self.create(connection, &frontier)?,
        };
        let (placed, frontier) = match kept {
            true => (placed, frontier),
            // Another process writes under this node's name: what it wrote comes first. Its row is held until our commit.
            false => {
                let known = self.read(connection)?.ok_or(diesel::result::Error::NotFound)?;
                let mut frontier = known.clone();
                let placed = self.place(entries, &mut frontier);
                if !self.replace(connection, &known, &frontier)? {
                    return Err(diesel::result::Error::NotFound);
                }
                (placed, frontier)
            }
        };
        insert(connection, placed)?;
        Ok(Some(frontier))
    }

    /// The same log, of which it is not known how far it goes.
    pub fn to_be_read(&self) -> Self {
        Self::of(&self.node)
    }

    /// Appends traces in one statement, which needs no transaction around it. `None`, and nothing is kept: on SQLite, where how far the log
    /// goes is not known, or where another process wrote to it.
    pub fn append_at_once(
        &self,
        connection: &mut DatabaseConnection,
        entries: &[&TraceEntry],
    ) -> QueryResult<Option<Frontier>> {
        let (DatabaseConnection::Postgres(postgres), Some(known)) = (connection, &self.frontier) else {
            return Ok(None);
        };
        if entries.is_empty() {
            return Ok(None);
        }
        let mut frontier = known.clone();
        let placed = self.place(entries, &mut frontier);
        let log = GoesOn::of(&self.node, known, &frontier);
        let kept = AppendsAtOnce::of(log, &placed).execute(postgres)?;
        Ok((kept == placed.len()).then_some(frontier))
    }

    /// After a commit: how far the log goes. After a failure, it is read again.
    pub fn committed(&mut self, frontier: Option<Frontier>) {
        self.frontier = frontier;
    }

    fn place<'a>(&'a self, entries: &[&'a TraceEntry], frontier: &mut Frontier) -> Vec<Placed<'a>> {
        let place = |entry: &&'a TraceEntry| {
            let leaf = frontier.size();
            let hash = Fields::from(*entry).hash(&self.node, leaf);
            frontier.push(hash);
            let leaf = i64::try_from(leaf).unwrap_or(i64::MAX);
            Placed { entry: (*entry).clone(), node: &self.node, leaf, leaf_hash: hash.to_vec() }
        };
        entries.iter().map(place).collect()
    }

    /// Reads how far the log goes, and holds it.
    fn read(&self, connection: &mut DatabaseConnection) -> QueryResult<Option<Frontier>> {
        let query = trace_log::table.filter(trace_log::node.eq(&self.node)).select(trace_log::frontier);
        let bytes: Option<Vec<u8>> = match connection {
            DatabaseConnection::Sqlite(sqlite) => query.first(sqlite).optional()?,
            DatabaseConnection::Postgres(postgres) => query.for_update().first(postgres).optional()?,
        };
        bytes.map(|bytes| Frontier::from_bytes(&bytes).ok_or_else(unreadable)).transpose()
    }

    fn replace(
        &self,
        connection: &mut DatabaseConnection,
        known: &Frontier,
        next: &Frontier,
    ) -> QueryResult<bool> {
        let changed = GoesOn::of(&self.node, known, next).execute(connection)?;
        Ok(changed == 1)
    }

    fn create(&self, connection: &mut DatabaseConnection, next: &Frontier) -> QueryResult<bool> {
        let row = (
            trace_log::node.eq(&self.node),
            trace_log::size.eq(size(next)),
            trace_log::frontier.eq(next.to_bytes()),
            trace_log::checkpoint.eq(Frontier::default().to_bytes()),
        );
        let insert = diesel::insert_into(trace_log::table).values(row).on_conflict_do_nothing();
        let made = match connection {
            DatabaseConnection::Sqlite(sqlite) => insert.execute(sqlite)?,
            DatabaseConnection::Postgres(postgres) => insert.execute(postgres)?,
        };
        Ok(made == 1)
    }
}

fn size(frontier: &Frontier) -> i64 {
    i64::try_from(frontier.size()).unwrap_or(i64::MAX)
}

fn unreadable() -> diesel::result::Error {
    diesel::result::Error::DeserializationError("the log's frontier cannot be read".into())
}

/// In one statement on PostgreSQL, where each is a round trip: where [`TraceLog::append_at_once`] did not come to it.
fn insert(connection: &mut DatabaseConnection, placed: Vec<Placed<'_>>) -> QueryResult<()> {
    match connection {
        DatabaseConnection::Sqlite(sqlite) => {
            for one in placed {
                diesel::insert_into(trace::table).values(one).execute(sqlite)?;
            }
        }
        DatabaseConnection::Postgres(postgres) => {
            diesel::insert_into(trace::table).values(placed).execute(postgres)?;
        }
    }
    Ok(())
}

/// What of a trace its hash covers: every column but the order of commit, which the database gives, in this order, each with its length.
struct Fields<'a> {
    texts: [Option<&'a str>; 17],
    at: i64,
    status: i32,
    secret: bool,
}

impl Fields<'_> {
    /// The hash of the trace at its place.
    fn hash(&self, node: &str, leaf: u64) -> Hash {
        // The form's version, so that a later one cannot be taken for this.
        let mut bytes = vec![1];
        let mut text = |text: Option<&str>| {
            // An absent text is not an empty one.
            bytes.push(u8::from(text.is_some()));
            let text = text.unwrap_or_default();
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        text(Some(node));
        self.texts.iter().for_each(|one| text(*one));
        bytes.extend_from_slice(&leaf.to_be_bytes());
        bytes.extend_from_slice(&self.at.to_be_bytes());
        bytes.extend_from_slice(&self.status.to_be_bytes());
        bytes.push(u8::from(self.secret));
        leaf_hash(&bytes)
    }
}

impl<'a> From<&'a TraceEntry> for Fields<'a> {
    fn from(entry: &'a TraceEntry) -> Self {
        Self {
            texts: [
                Some(&entry.request_id),
                Some(entry.operation),
                Some(&entry.caller_kind),
                Some(&entry.caller_id),
                entry.caller_structure.as_deref(),
                Some(&entry.certificate),
                Some(entry.mode),
                Some(&entry.authentication),
                entry.role.as_deref(),
                entry.sector.as_deref(),
                entry.software.as_deref(),
                entry.motif.as_deref(),
                entry.session_id.as_deref(),
                entry.record_id.as_deref(),
                Some(&entry.objects),
                Some(entry.outcome),
                Some(&entry.rule),
            ],
            at: entry.at,
            status: entry.status,
            secret: entry.secret,
        }
    }
}

impl<'a> From<&'a TraceRow> for Fields<'a> {
    fn from(row: &'a TraceRow) -> Self {
        Self {
            texts: [
                Some(&row.request_id),
                Some(&row.operation),
                Some(&row.caller_kind),
                Some(&row.caller_id),
                row.caller_structure.as_deref(),
                Some(&row.certificate),
                Some(&row.mode),
                Some(&row.authentication),
                row.role.as_deref(),
                row.sector.as_deref(),
                row.software.as_deref(),
                row.motif.as_deref(),
                row.session_id.as_deref(),
                row.record_id.as_deref(),
                Some(&row.objects),
                Some(&row.outcome),
                Some(&row.rule),
            ],
            at: row.at,
            status: row.status,
            secret: row.secret,
        }
    }
}

/// The texts that a hash covers, in its order.
const HASHED: [&str; 17] = [
    "requestId",
    "operation",
    "callerKind",
    "callerId",
    "structure",
    "certificate",
    "mode",
    "authentication",
    "role",
    "sector",
    "software",
    "motif",
    "session",
    "recordId",
    "objects",
    "outcome",
    "rule",
];

impl TraceRow {
    /// Everything that its hash covers but its place, in the order of the hash: a text that is absent is null.
    pub fn hashed(&self) -> serde_json::Map<String, serde_json::Value> {
        let fields = Fields::from(self);
        let texts = HASHED.iter().zip(fields.texts).map(|(name, text)| ((*name).to_owned(), text.into()));
        let mut hashed: serde_json::Map<String, serde_json::Value> = texts.collect();
        hashed.insert("at".into(), self.at.into());
        hashed.insert("status".into(), self.status.into());
        hashed.insert("secret".into(), self.secret.into());
        hashed
    }

    /// The counterpart of [`TraceRow::hashed`]; `None`: something is missing or of another type.
    pub fn of_hashed(
        hashed: &serde_json::Map<String, serde_json::Value>,
        node: &str,
        leaf: u64,
    ) -> Option<Self> {
        let optional = |name: &str| match hashed.get(name)? {
            serde_json::Value::Null => Some(None),
            serde_json::Value::String(text) => Some(Some(text.clone())),
            _ => None,
        };
        let text = |name: &str| optional(name)?;
        Some(Self {
            request_id: text("requestId")?,
            operation: text("operation")?,
            caller_kind: text("callerKind")?,
            caller_id: text("callerId")?,
            caller_structure: optional("structure")?,
            certificate: text("certificate")?,
            mode: text("mode")?,
            authentication: text("authentication")?,
            role: optional("role")?,
            sector: optional("sector")?,
            software: optional("software")?,
            motif: optional("motif")?,
            session_id: optional("session")?,
            record_id: optional("recordId")?,
            objects: text("objects")?,
            outcome: text("outcome")?,
            rule: text("rule")?,
            at: hashed.get("at")?.as_i64()?,
            status: i32::try_from(hashed.get("status")?.as_i64()?).ok()?,
            secret: hashed.get("secret")?.as_bool()?,
            node: Some(node.to_owned()),
            leaf: i64::try_from(leaf).ok(),
            ..Self::default()
        })
    }

    /// The hash that the row should have, at the place that it names; `None`: it names none.
    pub fn right_hash(&self) -> Option<Hash> {
        let leaf = u64::try_from(self.leaf?).ok()?;
        Some(Fields::from(self).hash(self.node.as_deref()?, leaf))
    }
}

/// How far the log of a node goes, as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The node.
    pub node: String,
    /// How many traces.
    pub size: i64,
    /// The tree of them all; none where it cannot be read.
    pub frontier: Option<Frontier>,
    /// The tree as of the last checkpoint.
    pub checkpoint: Option<Frontier>,
}

impl LogState {
    /// Of every node.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn all(connection: &mut DatabaseConnection) -> QueryResult<Vec<Self>> {
        let rows: Vec<(String, i64, Vec<u8>, Vec<u8>)> = trace_log::table
            .order(trace_log::node.asc())
            .select((trace_log::node, trace_log::size, trace_log::frontier, trace_log::checkpoint))
            .load(connection)?;
        let read = |(node, size, frontier, checkpoint): (String, i64, Vec<u8>, Vec<u8>)| Self {
            node,
            size,
            frontier: Frontier::from_bytes(&frontier),
            checkpoint: Frontier::from_bytes(&checkpoint),
        };
        Ok(rows.into_iter().map(read).collect())
    }

    /// Rows of before there was a log.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn unlogged(connection: &mut DatabaseConnection) -> QueryResult<i64> {
        trace::table.filter(trace::node.is_null()).count().get_result(connection)
    }

    /// Rows of a node that are not in its log: without a place, below its beginning, or behind its end, if the log as it now is does not
    /// go so far.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn rows_beside(connection: &mut DatabaseConnection, node: &str) -> QueryResult<i64> {
        // Rows first: what comes in meanwhile is in the log that is read behind them.
        let of_node = || trace::table.filter(trace::node.eq(node));
        let misplaced: i64 =
            of_node().filter(trace::leaf.is_null().or(trace::leaf.lt(0))).count().get_result(connection)?;
        let last: Option<Option<i64>> = of_node()
            .order(trace::leaf.desc())
            .filter(trace::leaf.is_not_null())
            .select(trace::leaf)
            .first(connection)
            .optional()?;
        let size: Option<i64> = trace_log::table
            .filter(trace_log::node.eq(node))
            .select(trace_log::size)
            .first(connection)
            .optional()?;
        let behind = last.flatten().is_some_and(|last| last >= size.unwrap_or_default());
        Ok(misplaced + i64::from(behind))
    }

    /// Nodes of which there are rows.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn nodes_of_rows(connection: &mut DatabaseConnection) -> QueryResult<Vec<String>> {
        // One step of the index for each node: « distinct » would read all rows.
        let mut nodes: Vec<String> = Vec::new();
        loop {
            let mut query = trace::table
                .filter(trace::node.is_not_null())
                .select(trace::node.assume_not_null())
                .into_boxed();
            if let Some(last) = nodes.last().cloned() {
                query = query.filter(trace::node.gt(last));
            }
            match query.order(trace::node.asc()).first::<String>(connection).optional()? {
                Some(node) => nodes.push(node),
                None => return Ok(nodes),
            }
        }
    }
}

impl TraceRow {
    /// Rows of a node's log, from one place on, so many at most, in order.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn page(
        connection: &mut DatabaseConnection,
        node: &str,
        from: i64,
        most: i64,
    ) -> QueryResult<Vec<TraceRow>> {
        trace::table
            .filter(trace::node.eq(node))
            .filter(trace::leaf.ge(from))
            .order(trace::leaf.asc())
            .limit(most)
            .select(TraceRow::as_select())
            .load(connection)
    }
}

/// The place of a trace in its log, and its hash, as the row has them.
pub type PlacedHash = (Option<i64>, Option<Vec<u8>>);

impl Reader<'_> {
    /// How far the log of a node goes; `None`: nothing was written under that name.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn log_state(&mut self, node: &str) -> Result<Option<LogState>, Failure> {
        let states = LogState::all(self.connection).map_err(unavailable)?;
        Ok(states.into_iter().find(|state| state.node == node))
    }

    /// Hashes of a node's log from one place on, so many at most, each with its place.
    ///
    /// # Errors
    /// [`Failure::Unavailable`].
    pub fn leaf_hashes(&mut self, node: &str, from: u64, most: i64) -> Result<Vec<PlacedHash>, Failure> {
        trace::table
            .filter(trace::node.eq(node))
            .filter(trace::leaf.ge(i64::try_from(from).unwrap_or(i64::MAX)))
            .order(trace::leaf.asc())
            .limit(most)
            .select((trace::leaf, trace::leaf_hash))
            .load(self.connection)
            .map_err(unavailable)
    }
}

/// Notes how far a checkpoint went.
pub(super) fn note_checkpoint(
    connection: &mut DatabaseConnection,
    node: &str,
    frontier: &Frontier,
) -> QueryResult<()> {
    diesel::update(trace_log::table.filter(trace_log::node.eq(node)))
        .set(trace_log::checkpoint.eq(frontier.to_bytes()))
        .execute(connection)?;
    Ok(())
}
