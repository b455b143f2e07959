//! What is written about each request.
//!
//! Every answer of the API listener has exactly one trace, durable before the first byte leaves. Two things hold that:
//! an operation returns [`Traced`], which only the writer makes after its commit; and `api::gate` refuses to let any
//! response out that did not come from one.
//!
//! What was written can be proven: each node's traces are the leaves of a Merkle tree ([`merkle`]), whose size and root are signed and kept
//! outside the database ([`checkpoint`], [`checkpointer`]); [`verify`] derives all of it again.

pub mod checkpoint;
pub mod checkpointer;
pub mod erased;
pub mod erasure;
pub mod merkle;
pub mod proof;
pub mod verify;

/// The kind of caller that is nobody: the server itself, by its clock.
pub const SERVER: &str = "server";

use crate::certificate::CertificateFacts;
use crate::error::{Failure, Reason};
use crate::identity::Caller;
pub use crate::store::{TraceEntry, Traced};

/// Who is connected, as far as it was recognised: the certificate's own facts, and the caller that they make.
#[derive(Clone, Debug)]
pub struct TraceContext {
    /// Microseconds since the epoch.
    pub at: i64,
    /// Echoed to the caller.
    pub request_id: String,
    /// Name of the operation.
    pub operation: &'static str,
    caller_kind: String,
    caller_id: String,
    caller_structure: Option<String>,
    certificate: String,
    mode: &'static str,
    authentication: String,
    role: Option<String>,
    sector: Option<String>,
    software: Option<String>,
    motif: Option<String>,
    session_id: Option<String>,
    secret: bool,
}

impl TraceContext {
    /// The beginning of a trace. `label` names the certificate, by issuer and serial number.
    pub fn new(
        at: i64,
        request_id: String,
        operation: &'static str,
        label: &str,
        certificate: Option<&CertificateFacts>,
        caller: Option<&Caller>,
    ) -> Self {
        let (caller_kind, caller_id) = match (caller, certificate) {
            (Some(caller), _) => (caller.to_string(), caller.id().to_owned()),
            (None, Some(facts)) => {
                // An organisation's identifier is its OU; its CN is free text.
                let id = facts.subject.structure.as_ref().unwrap_or(&facts.subject.common_name);
                ("certificate".to_owned(), id.clone())
            }
            (None, None) => ("none".to_owned(), String::new()),
        };
        Self {
            at,
            request_id,
            operation,
            caller_kind,
            caller_id,
            caller_structure: caller.and_then(|caller| caller.structure.clone()),
            certificate: label.to_owned(),
            mode: caller.map_or("", |caller| caller.mode.code()),
            authentication: caller.map_or_else(String::new, Caller::authentication_label),
            role: caller.and_then(Caller::role_label),
            sector: caller.and_then(|caller| caller.sector.clone()),
            software: caller.and_then(|caller| Some(caller.software.as_ref()?.label())),
            motif: caller.and_then(|caller| caller.session.as_ref()?.motif.clone()),
            session_id: caller.and_then(|caller| Some(caller.session.as_ref()?.id.clone())),
            secret: caller.is_some_and(|caller| caller.session.as_ref().is_some_and(|session| session.secret)),
        }
    }

    /// The beginning of the trace of what the server does by itself: nobody asked for it.
    pub fn of_server(at: i64, request_id: String, operation: &'static str) -> Self {
        let nobody = Self::new(at, request_id, operation, "", None, None);
        Self { caller_kind: SERVER.to_owned(), caller_id: "DMP".to_owned(), ..nobody }
    }

    /// The same beginning, of something that representatives do not learn of (R1111-50).
    #[must_use]
    pub fn kept_from_representatives(&self, secret: bool) -> Self {
        Self { secret: self.secret || secret, ..self.clone() }
    }

    /// The same beginning, now that it is known who acts: a token was asked for, and made.
    #[must_use]
    pub fn now_known(&self, caller: &Caller) -> Self {
        Self {
            certificate: self.certificate.clone(),
            ..Self::new(self.at, self.request_id.clone(), self.operation, "", None, Some(caller))
        }
    }

    /// The same beginning, now that the parameters say which operation it is.
    #[must_use]
    pub fn of_operation(&self, operation: &'static str) -> Self {
        Self { operation, ..self.clone() }
    }

    fn entry(&self, status: u16, outcome: &'static str, rule: String) -> TraceEntry {
        // PostgreSQL keeps no U+0000, and one trace that cannot be kept would fail its neighbours' commit.
        let clean =
            |text: &String| if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.clone() };
        TraceEntry {
            at: self.at,
            request_id: self.request_id.clone(),
            operation: self.operation,
            caller_kind: self.caller_kind.clone(),
            caller_id: clean(&self.caller_id),
            caller_structure: self.caller_structure.as_ref().map(clean),
            certificate: clean(&self.certificate),
            mode: self.mode,
            authentication: clean(&self.authentication),
            software: self.software.as_ref().map(clean),
            role: self.role.as_ref().map(clean),
            sector: self.sector.as_ref().map(clean),
            motif: self.motif.as_ref().map(clean),
            session_id: self.session_id.clone(),
            secret: self.secret,
            record_id: None,
            objects: String::new(),
            status: i32::from(status),
            outcome,
            rule,
        }
    }

    /// The trace of a connection that did not come about.
    pub fn refused_handshake(&self, reason: &str) -> TraceEntry {
        self.entry(0, "refused", format!("UnsuitableCertificate: handshake: {reason}"))
    }

    /// The trace of something granted.
    pub fn granted(&self, status: u16, rule: &str, record_id: Option<&str>, objects: &[String]) -> TraceEntry {
        TraceEntry {
            record_id: record_id.map(str::to_owned),
            objects: objects.join(" "),
            ..self.entry(status, "granted", rule.to_owned())
        }
    }

    /// The trace of a failure: a refusal with its rule, what was hidden as such.
    pub fn failed(&self, failure: &Failure, status: u16) -> TraceEntry {
        if let Failure::Refused(refusal) = failure
            && let Some(caller) = &refusal.caller
        {
            let mut refusal = refusal.clone();
            refusal.caller = None;
            return self.now_known(caller).failed(&Failure::Refused(refusal), status);
        }
        match failure {
            Failure::Refused(refusal) => {
                let outcome = if refusal.reason == Reason::NotFound { "hidden" } else { "refused" };
                let rule = format!("{:?}: {}", refusal.reason, refusal.rule);
                let concerns = refusal.concerns.as_deref();
                TraceEntry {
                    record_id: concerns.map(|concerns| concerns.record_id.clone()),
                    objects: concerns.and_then(|concerns| concerns.object.clone()).unwrap_or_default(),
                    ..self.entry(status, outcome, rule)
                }
            }
            Failure::Unavailable { .. } | Failure::Internal { .. } => {
                self.entry(status, "failed", "the server could not do its work".into())
            }
        }
    }
}
