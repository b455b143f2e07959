//! Statements of the log that diesel would prepare anew each time, written out: every request waits for them.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, BigInt, Binary, Bool, HasSqlType, Integer, Nullable, Text};

use super::{Placed, size};
use crate::audit::merkle::Frontier;
use crate::store::engine::DatabaseConnection;

/// The log goes on from where it is known to be; no row, where another process wrote to it.
pub(super) struct GoesOn<'a> {
    node: &'a str,
    known: i64,
    next: i64,
    frontier: Vec<u8>,
}

impl<'a> GoesOn<'a> {
    pub(super) fn of(node: &'a str, known: &Frontier, next: &Frontier) -> Self {
        Self { node, known: size(known), next: size(next), frontier: next.to_bytes() }
    }
}

impl<DB> QueryFragment<DB> for GoesOn<'_>
where
    DB: diesel::backend::Backend + HasSqlType<BigInt> + HasSqlType<Binary> + HasSqlType<Text>,
    i64: ToSql<BigInt, DB>,
    Vec<u8>: ToSql<Binary, DB>,
    str: ToSql<Text, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql("UPDATE trace_log SET size = ");
        out.push_bind_param::<BigInt, _>(&self.next)?;
        out.push_sql(", frontier = ");
        out.push_bind_param::<Binary, _>(&self.frontier)?;
        out.push_sql(" WHERE node = ");
        out.push_bind_param::<Text, str>(self.node)?;
        out.push_sql(" AND size = ");
        out.push_bind_param::<BigInt, _>(&self.known)
    }
}

impl QueryId for GoesOn<'_> {
    type QueryId = GoesOn<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<DatabaseConnection> for GoesOn<'_> {}

/// On PostgreSQL, log and traces at once: a transaction of its own where there is none, and one round trip. No trace is kept where the log
/// does not go on from where it is known to be.
pub(super) struct AppendsAtOnce<'a> {
    log: GoesOn<'a>,
    at: Vec<i64>,
    status: Vec<i32>,
    secret: Vec<bool>,
    leaf: Vec<i64>,
    leaf_hash: Vec<&'a [u8]>,
    /// In the order of [`TEXTS`].
    texts: [Vec<&'a str>; 10],
    /// In the order of [`OPTIONAL_TEXTS`].
    optional_texts: [Vec<Option<&'a str>>; 7],
}

const TEXTS: &str =
    "request_id, operation, caller_kind, caller_id, certificate, mode, authentication, objects, outcome, rule";
const OPTIONAL_TEXTS: &str = "caller_structure, role, sector, software, motif, session_id, record_id";

impl<'a> AppendsAtOnce<'a> {
    pub(super) fn of(log: GoesOn<'a>, placed: &'a [Placed<'a>]) -> Self {
        let entries = || placed.iter().map(|one| &one.entry);
        Self {
            log,
            at: entries().map(|entry| entry.at).collect(),
            status: entries().map(|entry| entry.status).collect(),
            secret: entries().map(|entry| entry.secret).collect(),
            leaf: placed.iter().map(|one| one.leaf).collect(),
            leaf_hash: placed.iter().map(|one| &one.leaf_hash[..]).collect(),
            texts: [
                entries().map(|entry| &*entry.request_id).collect(),
                entries().map(|entry| entry.operation).collect(),
                entries().map(|entry| &*entry.caller_kind).collect(),
                entries().map(|entry| &*entry.caller_id).collect(),
                entries().map(|entry| &*entry.certificate).collect(),
                entries().map(|entry| entry.mode).collect(),
                entries().map(|entry| &*entry.authentication).collect(),
                entries().map(|entry| &*entry.objects).collect(),
                entries().map(|entry| entry.outcome).collect(),
                entries().map(|entry| &*entry.rule).collect(),
            ],
            optional_texts: [
                entries().map(|entry| entry.caller_structure.as_deref()).collect(),
                entries().map(|entry| entry.role.as_deref()).collect(),
                entries().map(|entry| entry.sector.as_deref()).collect(),
                entries().map(|entry| entry.software.as_deref()).collect(),
                entries().map(|entry| entry.motif.as_deref()).collect(),
                entries().map(|entry| entry.session_id.as_deref()).collect(),
                entries().map(|entry| entry.record_id.as_deref()).collect(),
            ],
        }
    }
}

impl QueryFragment<Pg> for AppendsAtOnce<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let columns = || ["at, status, secret, leaf, leaf_hash, ", TEXTS, ", ", OPTIONAL_TEXTS].into_iter();
        out.push_sql("WITH log AS (");
        self.log.walk_ast(out.reborrow())?;
        out.push_sql(" RETURNING node) INSERT INTO trace (node, ");
        columns().for_each(|columns| out.push_sql(columns));
        out.push_sql(") SELECT log.node, one.* FROM log, unnest(");
        out.push_bind_param::<Array<BigInt>, _>(&self.at)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Integer>, _>(&self.status)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Bool>, _>(&self.secret)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<BigInt>, _>(&self.leaf)?;
        out.push_sql(", ");
        out.push_bind_param::<Array<Binary>, _>(&self.leaf_hash)?;
        for texts in &self.texts {
            out.push_sql(", ");
            out.push_bind_param::<Array<Text>, _>(texts)?;
        }
        for texts in &self.optional_texts {
            out.push_sql(", ");
            out.push_bind_param::<Array<Nullable<Text>>, _>(texts)?;
        }
        out.push_sql(") AS one (");
        columns().for_each(|columns| out.push_sql(columns));
        // The order of commit is that of the log.
        out.push_sql(") ORDER BY one.leaf");
        Ok(())
    }
}

impl QueryId for AppendsAtOnce<'_> {
    type QueryId = AppendsAtOnce<'static>;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl RunQueryDsl<PgConnection> for AppendsAtOnce<'_> {}
