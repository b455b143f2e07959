//! One thing a vendor can ask for, each in its file, free of HTTP.
//!
//! An operation takes a [`Call`] and what was asked, and gives a [`Traced`] value: the proof that its trace is durable.

pub mod by_clock;
pub mod close_record;
pub mod declare_authorisation;
pub mod feed;
pub mod find_documents;
pub mod find_patient;
pub mod find_submission_sets;
pub mod introspect;
pub mod list_own_records;
pub mod list_professionals;
pub mod open_session;
pub mod patient_side;
pub mod read_document;
pub mod read_patient;
pub mod read_traces;
pub mod refresh_documents;
pub mod retention;
pub mod revoke_authorisation;
pub mod session_request;
pub mod subscriptions;
pub mod test_existence;
pub mod update_document;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::audit::TraceContext;
pub use crate::audit::Traced;
use crate::audit::checkpoint::Signer;
use crate::environment::Environment;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::codes::Codes;
use crate::fhir::elements::PatientReference;
use crate::identity::Caller;
use crate::identity::directory::Directory;
use crate::identity::identifiers::{IdentifierChecks, Ins};
use crate::identity::patient_side::PatientSideList;
use crate::identity::pro_sante_connect::ProSanteConnect;
use crate::identity::scope::{Scopes, Transaction};
use crate::identity::software::SoftwareRegistry;
use crate::identity::tokens::Tokens;
use crate::notification::follow::AllowList;
use crate::rights::{RecordFacts, Supposition, Tables};
use crate::store::{Page, Reader, RecordKey, SearchCriteria, Store, SupposedPage};
use crate::tls::Revocation;

/// The budget from which an operation is paid: each caller has one of each, and searches never spend that of feeding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Does a record exist, which documents are there.
    Search,
    /// Retrieve, and what concerns no record.
    Read,
    /// Feed, declare.
    Feed,
    /// Open a session, ask about one.
    Token,
}

impl Budget {
    /// Every budget.
    pub const ALL: [Budget; 4] = [Budget::Search, Budget::Read, Budget::Feed, Budget::Token];

    /// As configuration and metrics name it.
    pub const fn name(self) -> &'static str {
        match self {
            Budget::Search => "search",
            Budget::Read => "read",
            Budget::Feed => "feed",
            Budget::Token => "token",
        }
    }
}

/// What an operation is called, which scope it wants of a token, and which budget pays it.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Its name in traces.
    pub name: &'static str,
    /// The scope that a token must hold.
    pub scope: Option<Transaction>,
    /// What pays it.
    pub budget: Budget,
    /// Its answers could tell by their time of what the caller may not see. Refusals could always.
    pub even: bool,
}

impl Operation {
    /// An operation on records.
    pub const fn new(name: &'static str, scope: Transaction, budget: Budget) -> Self {
        Self { name, scope: Some(scope), budget, even: matches!(budget, Budget::Search) }
    }

    /// An operation that concerns no record, and wants no scope.
    pub const fn without_scope(name: &'static str, budget: Budget) -> Self {
        Self { name, scope: None, budget, even: matches!(budget, Budget::Search) }
    }

    /// An operation that passes over what the caller may not see, though it is no search.
    pub const fn evenly(self) -> Self {
        Self { even: true, ..self }
    }
}

/// What sessions are opened and read with.
#[derive(Debug)]
pub struct Sessions {
    /// Our tokens.
    pub tokens: Tokens,
    /// Who exercises where. Swapped when its files change.
    pub directory: ArcSwap<Directory>,
    /// Practice software. Swapped when its file changes.
    pub software: ArcSwap<SoftwareRegistry>,
    /// The provider of e-CPS, if this server is a client of it.
    pub pro_sante_connect: Option<ProSanteConnect>,
    /// What is checked of identifiers.
    pub checks: IdentifierChecks,
    /// Authorities and what is revoked.
    pub revocation: Arc<Revocation>,
}

/// How closely a feed is held to the profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// What the published examples do is accepted; what could harm is refused all the same.
    Tolerant,
    /// PDSm 3.1.1 and the DMP's affinity domain, every fault named.
    Strict,
}

/// What every operation of a server works with.
#[derive(Debug)]
pub struct Services {
    /// Time and identifiers.
    pub environment: Environment,
    /// What decides.
    pub tables: Tables,
    /// Value sets.
    pub codes: Codes,
    /// Rows and bodies.
    pub store: Store,
    /// What sessions are opened and read with.
    pub sessions: Sessions,
    /// How closely a feed is held to the profiles.
    pub strictness: Strictness,
    /// Places for feeds that are being taken apart: as many as the machine has cores, twice.
    pub feeds: Arc<tokio::sync::Semaphore>,
    /// Certificates that speak for the patient.
    pub patient_side: PatientSideList,
    /// The key of the checkpoints: it signs what erasures say too.
    pub signer: Arc<Signer>,
    /// To which hosts subscriptions may have notifications sent.
    pub receivers: AllowList,
    /// How long an authorisation lasts, microseconds. No source gives the figure: `docs/decisions/0007`.
    pub authorisation_duration: i64,
}

/// One request: who calls, what the trace begins with, and what it works with.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who.
    pub caller: Arc<Caller>,
    /// The beginning of the trace.
    pub trace: TraceContext,
    /// What every operation works with.
    pub services: Arc<Services>,
    /// What the access token is for; `None`: there is no token, and nothing limits what the caller is for.
    pub scopes: Option<Scopes>,
}

impl Call {
    /// The instant of the request, microseconds.
    fn now(&self) -> i64 {
        self.trace.at
    }

    /// The instant of the request.
    fn at(&self) -> Result<jiff::Timestamp, Failure> {
        jiff::Timestamp::from_microsecond(self.now()).map_err(Failure::internal)
    }

    /// The same request, now that its parameters say which operation it is.
    ///
    /// # Errors
    /// [`Reason::InsufficientScope`].
    pub fn turn_to(&self, operation: Operation) -> Result<Self, Refusal> {
        if let (Some(wanted), Some(scopes)) = (operation.scope, self.scopes)
            && !scopes.hold(wanted)
        {
            let why = format!("the access token's scope does not hold {}", wanted.name());
            return Err(Refusal::new(Reason::InsufficientScope, why));
        }
        let trace = self.trace.of_operation(operation.name);
        Ok(Self { trace, ..self.clone() })
    }

    /// A token that opens one record says nothing of others, not even whether they exist.
    ///
    /// # Errors
    /// [`Reason::OtherRecord`].
    fn must_be_of_the_session(&self, key: &PatientKey) -> Result<(), Refusal> {
        let only = self.caller.session.as_ref().and_then(|session| session.record.as_ref());
        match (only, key.ins()) {
            (Some(only), Some(named)) if only != named => {
                Err(Refusal::new(Reason::OtherRecord, "the access token opens another record than this one"))
            }
            _ => Ok(()),
        }
    }

    /// The record that a reference names, as it stands towards the caller.
    ///
    /// # Errors
    /// [`Reason::InvalidIns`], [`Reason::UnknownRecord`], or the store's.
    fn record(&self, reader: &mut Reader<'_>, key: &PatientKey) -> Result<RecordFacts, Failure> {
        self.must_be_of_the_session(key)?;
        match reader.record_facts(&key.key, &self.caller, self.now())? {
            Some(facts) => Ok(facts),
            None => Err(key.unknown().into()),
        }
    }

    /// The record that a search names. None is an empty answer, as TD0.2 tells the same; but a key that no INS has is a fault of the request.
    ///
    /// # Errors
    /// [`Reason::InvalidIns`], or the store's.
    fn searched_record(
        &self,
        reader: &mut Reader<'_>,
        key: &PatientKey,
    ) -> Result<Option<RecordFacts>, Failure> {
        key.judged(reader.record_facts(&key.key, &self.caller, self.now())?)
    }

    /// The same, with the page that it would show if it stands towards the caller in one of these ways.
    ///
    /// # Errors
    /// [`Reason::InvalidIns`], or the store's.
    fn searched_page(
        &self,
        reader: &mut Reader<'_>,
        key: &PatientKey,
        suppositions: &[Supposition],
        criteria: &SearchCriteria,
        page: &Page,
    ) -> Result<(Option<RecordFacts>, Option<SupposedPage>), Failure> {
        let (found, supposed) =
            reader.facts_and_page(&key.key, &self.caller, suppositions, criteria, page, self.now())?;
        Ok((key.judged(found)?, supposed))
    }
}

/// A patient as named by a client.
#[derive(Clone, Debug)]
pub struct PatientKey {
    key: RecordKey,
    /// Where it stands in the request.
    expression: String,
}

impl PatientKey {
    /// Reads a reference of a resource.
    ///
    /// # Errors
    /// [`Reason::InvalidIns`].
    pub fn of_reference(reference: &PatientReference<'_>, expression: &str) -> Result<Self, Refusal> {
        match reference {
            PatientReference::Identifier { system, value } => Self::of_identifier(system, value, expression),
            PatientReference::Id(id) => Ok(Self::of_id(id, expression)),
        }
    }

    /// Reads system and value.
    ///
    /// # Errors
    /// [`Reason::InvalidIns`] when the form is not that of an INS. A wrong key is judged when no record answers to it:
    /// the published examples and samples use numbers with wrong keys, which a sandbox may hold as records.
    pub fn of_identifier(system: &str, value: &str, expression: &str) -> Result<Self, Refusal> {
        let ins = Ins::new(system, value)
            .map_err(|error| Refusal::at(Reason::InvalidIns, expression, error.to_string()))?;
        Ok(Self { key: RecordKey::Ins(ins), expression: expression.to_owned() })
    }

    /// Our own identifier.
    pub fn of_id(id: &str, expression: &str) -> Self {
        Self { key: RecordKey::Id(id.to_owned()), expression: expression.to_owned() }
    }

    /// The INS, when it was named so.
    pub fn ins(&self) -> Option<&Ins> {
        match &self.key {
            RecordKey::Ins(ins) => Some(ins),
            RecordKey::Id(_) => None,
        }
    }

    /// The refusal when no record answers to it.
    pub fn unknown(&self) -> Refusal {
        match &self.key {
            RecordKey::Ins(ins) if !ins.key_is_right() => Refusal::at(
                Reason::InvalidIns,
                &self.expression,
                "the last two digits are not the key of the first thirteen",
            ),
            _ => Refusal::at(Reason::UnknownRecord, &self.expression, "no record for this patient"),
        }
    }

    /// Whether a record that does not exist is a fault of the request rather than an empty answer.
    pub fn has_wrong_key(&self) -> bool {
        self.ins().is_some_and(|ins| !ins.key_is_right())
    }

    /// What a search found under it: none is an empty answer, but for a key that no INS has.
    fn judged(&self, found: Option<RecordFacts>) -> Result<Option<RecordFacts>, Failure> {
        match found {
            None if self.has_wrong_key() => Err(self.unknown().into()),
            found => Ok(found),
        }
    }
}

/// What names something by its id must be one: what is none is answered like an unknown one, and reaches no database.
///
/// # Errors
/// [`Reason::NotFound`].
fn must_be_an_id(text: &str) -> Result<(), Refusal> {
    match is_an_id(text) {
        true => Ok(()),
        false => Err(Refusal::new(Reason::NotFound, "no such resource").by("no such identifier")),
    }
}

/// FHIR's `id`.
fn is_an_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// A record that is nobody's, for the work that a decision is.
fn decoy() -> RecordFacts {
    RecordFacts::usual()
}
