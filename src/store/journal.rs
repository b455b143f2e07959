//! The trace: one row per request, append-only, written by the writer in the same durable commit as the effect.

use diesel::prelude::*;

use super::engine::DatabaseConnection;
use super::schema::trace;

/// What is kept of one request.
#[derive(Clone, Debug, Insertable)]
#[diesel(table_name = trace, treat_none_as_default_value = false)]
pub struct TraceEntry {
    /// Microseconds since the epoch.
    pub at: i64,
    /// Echoed to the caller as `X-Request-Id`.
    pub request_id: String,
    /// Name of the operation: `TD3.2 retrieve` …
    pub operation: &'static str,
    /// `CPS`, `CPF`, `CPE`, `CPA`, `e-CPS`, `PS` or `staff` (named by an establishment), `certificate`, or `none`.
    pub caller_kind: String,
    /// PS_IdNat or Struct_IdNat; empty when nobody was recognised.
    pub caller_id: String,
    /// Struct_IdNat for which the caller acts.
    pub caller_structure: Option<String>,
    /// Issuer and serial number of the certificate.
    pub certificate: String,
    /// `normal`, `bris_de_glace`, `centre_15`.
    pub mode: &'static str,
    /// `DIRECTE`, `DIRECTE_PSC`, `INDIRECTE`, `INDIRECTE_RENFORCEE` (with how and when the person was authenticated);
    /// empty when nobody was recognised.
    pub authentication: String,
    /// Profession or role, and its second value.
    pub role: Option<String>,
    /// Sector of activity, TRE_R02.
    pub sector: Option<String>,
    /// Name, version and homologation id of the software, where it named itself.
    pub software: Option<String>,
    /// Why a record was opened in an emergency.
    pub motif: Option<String>,
    /// Identifier of the access token (`jti`).
    pub session_id: Option<String>,
    /// Secret connection.
    pub secret: bool,
    /// The record concerned, our identifier.
    pub record_id: Option<String>,
    /// Identifiers of the objects concerned, separated by spaces.
    pub objects: String,
    /// HTTP status of the answer.
    pub status: i32,
    /// `granted`, `refused`, `hidden` or `failed`.
    pub outcome: &'static str,
    /// The rule that decided.
    pub rule: String,
}

/// A row as it is read back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = trace)]
pub struct TraceRow {
    /// Order of commit within the database.
    pub sequence: i64,
    /// See [`TraceEntry::request_id`].
    pub request_id: String,
    /// See [`TraceEntry::operation`].
    pub operation: String,
    /// See [`TraceEntry::caller_kind`].
    pub caller_kind: String,
    /// See [`TraceEntry::caller_id`].
    pub caller_id: String,
    /// See [`TraceEntry::mode`].
    pub mode: String,
    /// See [`TraceEntry::authentication`].
    pub authentication: String,
    /// See [`TraceEntry::role`].
    pub role: Option<String>,
    /// See [`TraceEntry::sector`].
    pub sector: Option<String>,
    /// See [`TraceEntry::software`].
    pub software: Option<String>,
    /// See [`TraceEntry::motif`].
    pub motif: Option<String>,
    /// See [`TraceEntry::session_id`].
    pub session_id: Option<String>,
    /// See [`TraceEntry::secret`].
    pub secret: bool,
    /// See [`TraceEntry::certificate`].
    pub certificate: String,
    /// See [`TraceEntry::caller_structure`].
    pub caller_structure: Option<String>,
    /// See [`TraceEntry::record_id`].
    pub record_id: Option<String>,
    /// See [`TraceEntry::objects`].
    pub objects: String,
    /// See [`TraceEntry::status`].
    pub status: i32,
    /// See [`TraceEntry::outcome`].
    pub outcome: String,
    /// See [`TraceEntry::rule`].
    pub rule: String,
    /// See [`TraceEntry::at`].
    pub at: i64,
    /// The node that wrote it; none: written before there was a log.
    pub node: Option<String>,
    /// Its place in the node's log, from 0.
    pub leaf: Option<i64>,
    /// Its hash in the node's tree (RFC 6962, 2.1).
    pub leaf_hash: Option<Vec<u8>>,
    /// The request that erased what it said; place, hash and record are left of it.
    pub erased_by: Option<String>,
}

impl TraceRow {
    /// The traces of one request.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_request(connection: &mut DatabaseConnection, request_id: &str) -> QueryResult<Vec<TraceRow>> {
        trace::table.filter(trace::request_id.eq(request_id)).select(TraceRow::as_select()).load(connection)
    }

    /// The traces of requests by their names, over one certificate, oldest first: for the sandbox's portal.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_requests(
        connection: &mut DatabaseConnection,
        certificate: &str,
        request_ids: &[&str],
    ) -> QueryResult<Vec<TraceRow>> {
        trace::table
            .filter(trace::certificate.eq(certificate))
            .filter(trace::request_id.eq_any(request_ids))
            .order(trace::sequence.asc())
            .select(TraceRow::as_select())
            .load(connection)
    }

    /// The traces of calls over these certificates, oldest first: for the sandbox's homologation kit.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn of_certificates(
        connection: &mut DatabaseConnection,
        certificates: &[&str],
    ) -> QueryResult<Vec<TraceRow>> {
        trace::table
            .filter(trace::certificate.eq_any(certificates))
            .order(trace::sequence.asc())
            .select(TraceRow::as_select())
            .load(connection)
    }

    /// All traces, oldest first. For tests and operators' tools; nothing of it leaves over HTTP.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn all(connection: &mut DatabaseConnection) -> QueryResult<Vec<TraceRow>> {
        trace::table.order(trace::sequence.asc()).select(TraceRow::as_select()).load(connection)
    }
}
