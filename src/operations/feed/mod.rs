//! TD2.1, TD2.2: feeding, as a transaction (ITI-65) or a single document (ITI-105).
//!
//! 1. [`draft`]: the body → its parts, by the closed slicing of MHD;
//! 2. the record, and the decision: may this caller feed it;
//! 3. [`content`] and [`rules`]: bytes, hash, CDA header, metadata;
//! 4. fed before? then the first answer again;
//! 5. long bodies into the body store, then rows, short bodies and trace in one commit, then the answer.

mod content;
mod draft;
mod folders;
mod generated;
mod kept;
mod media;
mod rules;
mod shape;
mod terms;
mod vaccinations;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use self::draft::{Draft, EntryKind};
use self::kept::{Ids, Owner, submission};
pub(super) use self::vaccinations::renew as renew_vaccination_history;
use super::{Budget, Call, Operation, PatientKey, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::bundle::ResponseEntry;
use crate::fhir::document_reference;
use crate::fhir::elements::{PatientReference, Reference};
use crate::fhir::outcome;
use crate::identity::scope;
use crate::rights::{FeedGrant, FeedPurpose, Labels, RecordFacts, ReplaceGrant, VACCINATION_NOTE};
use crate::sealing::WrappedKey;
use crate::store::{
    DocumentKey, FedDocument, FedRecord, FolderKind, Hold, KeptDocument, NewSubmission, Reader, RecordKey,
    Step, StoreError, Submitted, Transaction,
};

/// The name of ITI-65 in traces.
pub const PROVIDE: Operation =
    Operation::new("TD2 provide document bundle", scope::Transaction::ProvideBundle, Budget::Feed);
/// The name of ITI-105 in traces.
pub const PUBLISH: Operation =
    Operation::new("TD2 simplified publish", scope::Transaction::Publish, Budget::Feed);

/// The name of ITI-106 in traces.
pub const GENERATE: Operation =
    Operation::new("TD2 generate metadata", scope::Transaction::Publish, Budget::Feed);

/// The media type of a FHIR document.
pub const FHIR_DOCUMENT: &str = "application/fhir+json";

/// What a feed is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fed {
    /// One per entry of the transaction, in its order.
    pub entries: Vec<ResponseEntry>,
    /// Microseconds.
    pub last_modified: i64,
    /// `DocumentReference.id` of each document.
    pub document_ids: Vec<String>,
    /// The first DocumentReference as kept: what ITI-105 answers.
    pub published: Option<Published>,
}

/// A DocumentReference as kept, and where its link begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The text.
    pub resource: String,
    /// See [`crate::fhir::bundle::SearchEntry::link`].
    pub link: Option<usize>,
    /// `meta.versionId`.
    pub version: i64,
}

/// The form of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// ITI-106: a CDA document alone, whose header says the rest.
    Document,
    /// ITI-65.
    Transaction,
    /// ITI-105.
    Single,
}

impl Form {
    /// HTTP status of the answer to a feed that was kept.
    pub const fn status(self) -> u16 {
        match self {
            Form::Transaction | Form::Document => 200,
            Form::Single => 201,
        }
    }
}

/// All that one commit needs.
struct Prepared {
    grant: FeedGrant,
    purpose: FeedPurpose,
    replaced: Vec<ReplaceGrant>,
    submission: NewSubmission,
    /// The bytes of each document of the submission.
    bodies: Vec<Bytes>,
    /// The record's key, where it has one already.
    key: Option<WrappedKey>,
    order: Vec<EntryKind>,
}

enum Preparation {
    New(Box<Prepared>),
    Replayed { fed: Vec<FedDocument>, order: Vec<EntryKind>, rule: String, record_id: String },
}

/// Whether the caller's column lets it feed at all: asked before anything is read or looked up.
///
/// # Errors
/// [`Reason::NoFunctionalRight`], [`Reason::StructureNotLinked`].
pub fn permitted_at_all(call: &Call) -> Result<(), Refusal> {
    call.services.tables.decide_feeding_at_all(&call.caller).granted()?;
    // Homes for the elderly feed for one of their sites: the legal entity that names itself does not say where the patient lives.
    let structure = call.caller.structure.as_deref().unwrap_or_default();
    let is_legal_entity = || call.services.sessions.directory.load().has_sites(structure);
    if call.caller.sector.as_deref() == Some(HOMES_FOR_THE_ELDERLY) && is_legal_entity() {
        let why = "in sector SA17 a legal entity feeds for one of its sites, and not for itself";
        return Err(Refusal::new(Reason::StructureNotLinked, why).by("CNDA 2.1-180: third set-up"));
    }
    Ok(())
}

/// TRE_R02.
const HOMES_FOR_THE_ELDERLY: &str = "SA17";

/// Feeds. A refusal inside the result has its trace already.
///
/// # Errors
/// The refusals of step 1 to 4, or the store's.
pub async fn run(call: &Call, form: Form, body: String) -> Result<Traced<Result<Fed, Refusal>>, Failure> {
    permitted_at_all(call)?;
    // Decoding, hashing and parsing are work of the processor: they wait for a place of their own.
    let place = Arc::clone(&call.services.feeds).acquire_owned().await.map_err(Failure::internal)?;
    let preparing = call.clone();
    let preparation = tokio::task::spawn_blocking(move || {
        let prepared = prepare(&preparing, form, &body);
        drop(place);
        prepared
    })
    .await
    .map_err(Failure::internal)??;
    match preparation {
        Preparation::New(prepared) => keep(call, form, *prepared).await,
        Preparation::Replayed { fed, order, rule, record_id } => {
            let answer = Fed::again(&fed, &order);
            let rule = format!("{rule}; fed before, byte for byte");
            let trace = call.trace.granted(form.status(), &rule, Some(&record_id), &answer.document_ids);
            call.services.store.writer().record(trace, Ok(answer)).await
        }
    }
}

/// Steps 1 to 4. A connection is held for two short looks, not while bytes are hashed and parsed.
fn prepare(call: &Call, form: Form, body: &str) -> Result<Preparation, Failure> {
    let store = &call.services.store;
    let generated;
    let draft = match form {
        Form::Transaction => Draft::of_transaction(body)?,
        Form::Document => {
            generated = generated::publish_of(body, &call.services.codes, call.now())?;
            Draft::of_document(&generated)?
        }
        Form::Single => Draft::of_document(body)?,
    };
    let (record, grant, fed) = store.read_here(|reader| {
        let record = the_one_record(call, &draft, reader)?;
        let decision = call.services.tables.decide_feed(&call.caller, &record, draft.purpose(), call.at()?);
        let grant = decision.granted().map_err(|refusal| refusal.concerning(&record.id, None))?;
        let fed = reader.fed_record(&grant)?;
        Ok((record, grant, fed))
    })?;
    let FedRecord { ins, key } = fed;
    let about = |refusal: Refusal| refusal.concerning(&record.id, None);
    rules::check(call, &draft, &ins, *grant.is_minor()).map_err(about)?;

    let ids = Ids::draw(call, draft.documents.len());
    let mut submission = submission(call, &draft, &Owner::of(call, &grant), &ins, &ids)?;
    let unique_ids: Vec<&str> = submission.documents.iter().map(|new| new.unique_id.as_str()).collect();
    match submission.compare(store.read_here(|reader| reader.fed_before(&unique_ids))?) {
        Some(Submitted::Replayed(fed)) => {
            return Ok(Preparation::Replayed {
                fed,
                order: draft.order,
                rule: grant.rule().to_owned(),
                record_id: record.id,
            });
        }
        Some(Submitted::UniqueIdTaken(unique_id)) => return Err(about(unique_id_taken(&unique_id)).into()),
        _ => {}
    }
    let replaced =
        match draft.replaces_nothing() {
            true => Vec::new(),
            false => store.read_here(|reader| replaced(call, &draft, &record, &grant, reader)).map_err(
                |failure| match failure {
                    Failure::Refused(refusal) => about(*refusal).into(),
                    other => other,
                },
            )?,
        };
    submission.folders = store
        .read_here(|reader| folders::changes(call, &draft, &record, &submission, reader))
        .map_err(|failure| match failure {
            Failure::Refused(refusal) => about(*refusal).into(),
            other => other,
        })?;
    for change in &submission.folders {
        if let FolderKind::New { resource, .. } = &change.kind {
            submission.terms.extend(terms::of_list(resource, &change.id)?);
        }
    }
    let purpose = draft.purpose();
    let replacing = submission.documents.iter_mut().filter(|new| new.replaces_id.is_some());
    for (new, (grant, announced_until)) in replacing.zip(&replaced) {
        new.take_over(grant, *announced_until)?;
    }
    let replaced = replaced.into_iter().map(|(grant, _)| grant).collect();
    let bodies = draft.documents.into_iter().map(|document| Bytes::from(document.content)).collect();
    Ok(Preparation::New(Box::new(Prepared {
        grant,
        purpose,
        replaced,
        submission,
        bodies,
        key,
        order: draft.order,
    })))
}

/// Long bodies first, then rows, short bodies and trace in one commit.
async fn keep(call: &Call, form: Form, prepared: Prepared) -> Result<Traced<Result<Fed, Refusal>>, Failure> {
    let store = &call.services.store;
    let Prepared { grant, purpose, replaced, mut submission, bodies, key, order } = prepared;
    store.writer().has_room()?;
    let record_key = store.record_key(&grant, key).await?;
    let mut in_body_store = Vec::new();
    for (document, body) in submission.documents.iter().zip(bodies) {
        match store.put_body(document, body, &record_key).await? {
            Some(small) => submission.bodies.push(small),
            None => in_body_store.push(document.body_key.clone()),
        }
    }
    let notes = std::mem::take(&mut submission.vaccinations).into_iter();
    submission.vaccinations = notes.map(|note| note.sealed(&record_key)).collect::<Result<_, _>>()?;
    let answer = Fed::of(&submission, &order);
    let (kept_call, kept_answer, at) = (call.clone(), answer.clone(), call.at()?);
    let traced = store
        .writer()
        .commit(move |transaction| {
            let trace = &kept_call.trace;
            // The patient may have closed, opposed or blocked since the decision: it is made again where it counts.
            let of_vaccinations = !submission.vaccinations.is_empty();
            let alone = !replaced.is_empty() || !submission.folders.is_empty() || of_vaccinations;
            let hold = if alone { Hold::Alone } else { Hold::Shared };
            let (record, grant) = match decide_again(&kept_call, &grant, purpose, at, transaction, hold)? {
                Ok(decided) => decided,
                Err(refusal) => return Ok(refused(trace, refusal)),
            };
            let mut changed = replaced_otherwise(&kept_call, &record, &grant, &submission, at, transaction)?;
            if changed.is_none() {
                changed = folders::filed_otherwise(&kept_call, &record, &submission, at, transaction)?;
            }
            let submitted = transaction.submit(&grant, &replaced, &submission)?;
            let granted = |rule: &str, answer: &Fed| {
                trace.granted(form.status(), rule, Some(grant.record_id()), &answer.document_ids)
            };
            Ok(match submitted {
                Submitted::Stored if let Some(refusal) = changed => refused(trace, refusal),
                Submitted::Stored => {
                    let mut rule = grant.rule().to_owned();
                    if of_vaccinations || !replaced.is_empty() {
                        renew_vaccination_history(&kept_call, transaction, &grant.vaccination_history())?;
                    }
                    for replaced in &replaced {
                        rule = format!("{rule}; {}", replaced.rule());
                    }
                    for change in &submission.folders {
                        rule = format!("{rule}; {}", folders::told(change));
                    }
                    Step { trace: granted(&rule, &kept_answer), value: Ok(kept_answer.clone()), keep: true }
                }
                Submitted::Replayed(fed) => {
                    let answer = Fed::again(&fed, &order);
                    let rule = format!("{}; fed before, byte for byte", grant.rule());
                    Step { trace: granted(&rule, &answer), value: Ok(answer), keep: false }
                }
                Submitted::UniqueIdTaken(unique_id) => {
                    refused(trace, unique_id_taken(&unique_id).concerning(grant.record_id(), None))
                }
                Submitted::VaccinationKnown(id) => {
                    refused(trace, vaccinations::known(&submission, &id).concerning(grant.record_id(), None))
                }
                Submitted::ReplacedMeanwhile(id) => {
                    let diagnostics = format!("the document {id} has been replaced meanwhile");
                    let refusal = Refusal::new(Reason::InvalidMetadata, diagnostics);
                    refused(trace, refusal.concerning(grant.record_id(), Some(&id)))
                }
            })
        })
        .await?;
    let traced = traced.map(|result| (matches!(&result, Ok(fed) if *fed == answer), result));
    Ok(settle(call, traced, in_body_store).await)
}

fn decide_again(
    call: &Call,
    grant: &FeedGrant,
    purpose: FeedPurpose,
    at: jiff::Timestamp,
    transaction: &mut Transaction<'_>,
    hold: Hold,
) -> Result<Result<(RecordFacts, FeedGrant), Refusal>, StoreError> {
    let key = RecordKey::Id(grant.record_id().to_owned());
    let Some(record) = transaction.record_facts(&key, &call.caller, call.now(), hold)? else {
        return Ok(Err(Refusal::new(Reason::UnknownRecord, "the record is gone")));
    };
    let decision = call.services.tables.decide_feed(&call.caller, &record, purpose, at);
    Ok(match decision.granted() {
        Ok(grant) => Ok((record, grant)),
        Err(refusal) => Err(refusal.concerning(&record.id, None)),
    })
}

/// Why a replacement may no longer be what it was prepared as: refused now, or more of its labels would have to be kept.
fn replaced_otherwise(
    call: &Call,
    record: &RecordFacts,
    grant: &FeedGrant,
    submission: &NewSubmission,
    at: jiff::Timestamp,
    transaction: &mut Transaction<'_>,
) -> Result<Option<Refusal>, StoreError> {
    for new in &submission.documents {
        let Some(older) = &new.replaces_id else { continue };
        // What is gone or changed, `submit` finds by its version.
        let Some(kept) = transaction.document(&DocumentKey::Id(older.clone()), call.now())? else { continue };
        let tables = &call.services.tables;
        let decision = tables.decide_replacement(&call.caller, record, grant, &kept.facts, new.labels(), at);
        let refusal = match decision.granted() {
            Ok(again) if *again.keeps() == Labels::default() => continue,
            Ok(again) => {
                let diagnostics = format!("rights on the document {older} have changed meanwhile");
                Refusal::new(Reason::InvalidMetadata, diagnostics).by(again.rule().to_owned())
            }
            Err(refusal) => refusal,
        };
        return Ok(Some(refusal.concerning(&record.id, Some(older))));
    }
    Ok(None)
}

/// Bodies that no row names are removed at once where possible; the sweep takes the rest.
async fn settle(
    call: &Call,
    traced: Traced<(bool, Result<Fed, Refusal>)>,
    bodies: Vec<String>,
) -> Traced<Result<Fed, Refusal>> {
    let mut orphaned = false;
    let traced = traced.map(|(kept, result)| {
        orphaned = !kept;
        result
    });
    if orphaned {
        for key in bodies {
            if let Err(error) = call.services.store.bodies().remove(&key).await {
                tracing::warn!(%error, "an orphaned body stays until the sweep");
            }
        }
    }
    traced
}

fn refused(trace: &crate::audit::TraceContext, refusal: Refusal) -> Step<Result<Fed, Refusal>> {
    let status = refusal.reason.status();
    let entry = trace.failed(&refusal.clone().into(), status);
    Step { value: Err(refusal), trace: entry, keep: false }
}

fn unique_id_taken(unique_id: &str) -> Refusal {
    Refusal::at(
        Reason::UniqueIdTaken,
        "DocumentReference.masterIdentifier",
        format!("{unique_id} belongs to another document"),
    )
    .by("ITI-65: a unique id names the same bytes for ever")
}

/// All parts of a feed are about one patient.
fn the_one_record(call: &Call, draft: &Draft<'_>, reader: &mut Reader<'_>) -> Result<RecordFacts, Failure> {
    let mut record: Option<RecordFacts> = None;
    let mut seen: Vec<String> = Vec::new();
    for (expression, subject) in draft.subjects() {
        let missing = || Refusal::at(Reason::MalformedBody, &expression, "the patient is missing");
        let subject: &Reference<'_> = subject.ok_or_else(missing)?;
        let reference = PatientReference::read(subject, &expression)
            .map_err(|issue| Refusal { issues: vec![issue], ..missing() })?;
        let named = format!("{reference:?}");
        if seen.contains(&named) {
            continue;
        }
        seen.push(named);
        let key = PatientKey::of_reference(&reference, &expression)?;
        let found = call.record(reader, &key)?;
        match &record {
            Some(first) if first.id != found.id => {
                let diagnostics = "the parts of a feed are about one patient";
                return Err(Refusal::at(Reason::InvalidMetadata, &expression, diagnostics).into());
            }
            Some(_) => {}
            None => record = Some(found),
        }
    }
    record.ok_or_else(|| Refusal::new(Reason::MalformedBody, "the feed holds no document").into())
}

/// What the feed replaces: each with its decision, and until when its announcement goes, microseconds.
fn replaced(
    call: &Call,
    draft: &Draft<'_>,
    record: &RecordFacts,
    grant: &FeedGrant,
    reader: &mut Reader<'_>,
) -> Result<Vec<(ReplaceGrant, Option<i64>)>, Failure> {
    let mut grants = Vec::new();
    let at = call.at()?;
    for document in &draft.documents {
        for relation in &document.resource.relates_to {
            let expression = document.at("relatesTo[0].target");
            let unknown = || {
                Refusal::at(Reason::InvalidMetadata, &expression, "the document to be replaced is not known")
            };
            let kept = look_up(&relation.target, reader, call.now())?.ok_or_else(unknown)?;
            let labels = document.resource.labels().unwrap_or_default();
            let tables = &call.services.tables;
            let decision = tables.decide_replacement(&call.caller, record, grant, &kept.facts, labels, at);
            let replacing = decision.granted().map_err(|refusal| match refusal.reason {
                Reason::NotFound => unknown().by(refusal.rule),
                _ => refusal,
            })?;
            // It would take over what hides the older one, and a note is N and nothing else.
            if document.resource.r#type.code() == VACCINATION_NOTE && *replacing.keeps() != Labels::default() {
                let why = "a vaccination note does not replace a document that is masked or hidden";
                return Err(Refusal::at(Reason::UpdateNotAllowed, &expression, why).by("EX_2.1-2005").into());
            }
            grants.push((replacing, kept.announced_until()));
        }
    }
    let granted = |id: &str| grants.iter().any(|(grant, _): &(ReplaceGrant, _)| grant.document_id() == id);
    for (expression, target) in &draft.patches {
        if !granted(target) {
            let diagnostics = "a PATCH entry supersedes a document that the same feed replaces";
            return Err(Refusal::at(Reason::UnsupportedEntry, expression, diagnostics).into());
        }
    }
    Ok(grants)
}

fn look_up(target: &Reference<'_>, reader: &mut Reader<'_>, now: i64) -> Result<Option<KeptDocument>, Failure> {
    if let Some(id) = target.literal().strip_prefix("DocumentReference/") {
        return reader.document(id, now);
    }
    match &target.identifier {
        Some(identifier) => reader.document_of_unique_id(identifier.value(), now),
        None => Ok(None),
    }
}

impl Fed {
    fn of(submission: &NewSubmission, order: &[EntryKind]) -> Self {
        let documents: Vec<(&str, &str)> = submission
            .documents
            .iter()
            .map(|document| (document.id.as_str(), document.binary_id.as_str()))
            .collect();
        let mut answer = Self::answer(&submission.id, &documents, submission.created_at, order);
        answer.published = submission.documents.first().map(|document| Published {
            resource: document.resource.clone(),
            link: usize::try_from(document.link).ok(),
            version: document.version,
        });
        answer
    }

    /// The first answer, from what was kept then. What became of the document since is not told: that is for who may read it.
    fn again(fed: &[FedDocument], order: &[EntryKind]) -> Self {
        let documents: Vec<(&str, &str)> =
            fed.iter().map(|document| (document.id.as_str(), document.binary_id.as_str())).collect();
        let Some(first) = fed.first() else { return Self::answer("", &documents, 0, order) };
        let mut answer = Self::answer(&first.submission_set_id, &documents, first.created_at, order);
        let published = match first.version {
            1 => (first.resource.clone(), usize::try_from(first.link).ok()),
            _ => (document_reference::reference(&first.resource), None),
        };
        answer.published = Some(Published { resource: published.0, link: published.1, version: first.version });
        answer
    }

    fn answer(list_id: &str, documents: &[(&str, &str)], last_modified: i64, order: &[EntryKind]) -> Self {
        let created = |location: String| ResponseEntry { status: "201 Created", location, outcome: None };
        let entry = |kind: &EntryKind| match kind {
            EntryKind::List => created(format!("List/{list_id}/_history/1")),
            EntryKind::Document(position, not_processed) => {
                let id = documents.get(*position).map_or("", |(id, _)| id);
                let codes: Vec<&str> = not_processed.iter().map(|one| one.code()).collect();
                ResponseEntry {
                    outcome: (!codes.is_empty()).then(|| outcome::not_processed(&codes)),
                    ..created(format!("DocumentReference/{id}/_history/1"))
                }
            }
            EntryKind::Binary(position) => {
                let id = documents.get(*position).map_or("", |(_, binary_id)| binary_id);
                created(format!("Binary/{id}/_history/1"))
            }
            EntryKind::Bundle(position) => {
                let id = documents.get(*position).map_or("", |(_, binary_id)| binary_id);
                created(format!("Bundle/{id}/_history/1"))
            }
            EntryKind::Folder(position) => {
                created(format!("List/{}/_history/1", folders::id_of(list_id, *position)))
            }
            EntryKind::FolderUpdate(id) => {
                ResponseEntry { status: "200 OK", location: format!("List/{id}"), outcome: None }
            }
            EntryKind::Patch(id) => {
                ResponseEntry { status: "200 OK", location: format!("DocumentReference/{id}"), outcome: None }
            }
        };
        Self {
            entries: order.iter().map(entry).collect(),
            last_modified,
            document_ids: documents.iter().map(|(id, _)| (*id).to_owned()).collect(),
            published: None,
        }
    }
}

fn decode_base64(data: &str, expression: &str) -> Result<Vec<u8>, Refusal> {
    // FHIR allows blanks between the groups.
    let decoded = match data.bytes().any(|byte| byte.is_ascii_whitespace()) {
        true => BASE64.decode(data.split_ascii_whitespace().collect::<String>()),
        false => BASE64.decode(data),
    };
    decoded.map_err(|error| Refusal::at(Reason::MalformedBody, expression, format!("not base64: {error}")))
}
