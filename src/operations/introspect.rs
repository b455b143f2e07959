//! `POST /oauth2/introspect` (RFC 7662): what a token of ours says, told to whom it was given.
//!
//! A token that is not of the connection's own certificate is « not active », as one that does not exist.

use super::open_session::Connection;
use super::{Budget, Operation, Traced};
use crate::error::Failure;
use crate::identity::Caller;

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::without_scope("introspect token", Budget::Token);

/// Reads a token. `None`: not active, for this connection.
///
/// # Errors
/// The store's.
pub async fn run(connection: &Connection, token: &str) -> Result<Traced<Option<Caller>>, Failure> {
    let services = &connection.services;
    let now = services.environment.now();
    let mut caller = services.sessions.tokens.caller(token, &connection.fingerprint, now).ok();
    if let Some(session) = caller.as_ref().and_then(|caller| caller.session.as_ref())
        && session.single_use
        && services.store.is_spent(spent_name(&session.id)).await?
    {
        caller = None;
    }
    let rule = if caller.is_some() { "RFC 7662: active" } else { "RFC 7662: not active" };
    let trace = match &caller {
        Some(caller) => connection.trace.now_known(caller),
        None => connection.trace.clone(),
    };
    services.store.writer().record(trace.granted(200, rule, None, &[]), caller).await
}

/// Under which name a token is spent.
pub fn spent_name(id: &str) -> String {
    format!("token/{id}")
}
