//! Who reads the logs of traces, and how far: each reader has a cursor for each node, moved in the transaction that keeps what its traces give.

use std::collections::HashMap;

use diesel::prelude::*;

use super::engine::DatabaseConnection;
use super::journal::TraceRow;
use super::schema::{log_cursor, trace_log};

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogReader {
    /// Notices to the patient and the médecin traitant.
    Notices,
    /// Subscriptions of software.
    Subscriptions,
}

impl LogReader {
    const fn name(self) -> &'static str {
        match self {
            LogReader::Notices => "notices",
            LogReader::Subscriptions => "subscriptions",
        }
    }

    /// Where the reader begins on a database on which it never read: behind the traces that are there.
    pub fn begin_behind(self, connection: &mut DatabaseConnection) -> QueryResult<()> {
        let mine = log_cursor::table.filter(log_cursor::reader.eq(self.name()));
        if mine.count().get_result::<i64>(connection)? > 0 {
            return Ok(());
        }
        let mut ends: Vec<(String, i64)> =
            trace_log::table.select((trace_log::node, trace_log::size)).load(connection)?;
        // That it has begun, where there is no log yet: logs that come later are read from their first trace.
        ends.push((String::new(), 0));
        for (node, size) in ends {
            self.begin(connection, &node, size)?;
        }
        Ok(())
    }

    /// Begins anew behind the traces that are there: what nobody was there to be told of is read by nobody.
    pub fn begin_again(self, connection: &mut DatabaseConnection) -> QueryResult<()> {
        diesel::delete(log_cursor::table.filter(log_cursor::reader.eq(self.name()))).execute(connection)?;
        self.begin_behind(connection)
    }

    /// Whether there are traces that the reader has not read: at rest nothing is opened or written for it.
    pub fn is_behind(self, connection: &mut DatabaseConnection) -> QueryResult<bool> {
        let read: HashMap<String, i64> = log_cursor::table
            .filter(log_cursor::reader.eq(self.name()))
            .select((log_cursor::node, log_cursor::leaf))
            .load::<(String, i64)>(connection)?
            .into_iter()
            .collect();
        let logs: Vec<(String, i64)> =
            trace_log::table.select((trace_log::node, trace_log::size)).load(connection)?;
        Ok(logs.iter().any(|(node, size)| read.get(node).is_none_or(|leaf| leaf < size)))
    }

    /// Where the reader begins with the log of a node, unless it has.
    fn begin(self, connection: &mut DatabaseConnection, node: &str, leaf: i64) -> QueryResult<()> {
        let row = (log_cursor::reader.eq(self.name()), log_cursor::node.eq(node), log_cursor::leaf.eq(leaf));
        let insert = diesel::insert_into(log_cursor::table).values(row).on_conflict_do_nothing();
        match connection {
            DatabaseConnection::Sqlite(sqlite) => insert.execute(sqlite)?,
            DatabaseConnection::Postgres(postgres) => insert.execute(postgres)?,
        };
        Ok(())
    }

    /// The next traces of every node, each node's in a transaction of its own; `keep` keeps what they give. How many there were.
    pub fn read(
        self,
        connection: &mut DatabaseConnection,
        batch: i64,
        mut keep: impl FnMut(&mut DatabaseConnection, &[TraceRow]) -> QueryResult<()>,
    ) -> QueryResult<usize> {
        let nodes: Vec<String> = trace_log::table.select(trace_log::node).load(connection)?;
        let mut read = 0;
        for node in nodes {
            connection.begin()?;
            match self.read_node(connection, &node, batch, &mut keep) {
                Ok(of_node) => {
                    connection.commit()?;
                    read += of_node;
                }
                Err(error) => {
                    connection.rollback()?;
                    return Err(error);
                }
            }
        }
        Ok(read)
    }

    fn read_node(
        self,
        connection: &mut DatabaseConnection,
        node: &str,
        batch: i64,
        keep: &mut impl FnMut(&mut DatabaseConnection, &[TraceRow]) -> QueryResult<()>,
    ) -> QueryResult<usize> {
        self.begin(connection, node, 0)?;
        let mine = log_cursor::table.find((self.name(), node)).select(log_cursor::leaf);
        let held: Option<i64> = match connection {
            DatabaseConnection::Sqlite(sqlite) => mine.first(sqlite).optional()?,
            DatabaseConnection::Postgres(postgres) => {
                mine.for_update().skip_locked().first(postgres).optional()?
            }
        };
        // Another node is at it.
        let Some(from) = held else { return Ok(0) };
        let rows = TraceRow::page(connection, node, from, batch)?;
        let Some(next) = rows.last().and_then(|row| row.leaf) else { return Ok(0) };
        keep(connection, &rows)?;
        diesel::update(log_cursor::table.find((self.name(), node)))
            .set(log_cursor::leaf.eq(next + 1))
            .execute(connection)?;
        Ok(rows.len())
    }
}
