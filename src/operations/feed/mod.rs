//! TD2.1, TD2.2: feeding, as a transaction (ITI-65) or a single document (ITI-105).
//!
//! 1. [`draft`]: the body → its parts, by the closed slicing of MHD;
//! 2. the record, and the decision: may this caller feed it;
//! 3. [`content`] and [`rules`]: bytes, hash, CDA header, metadata;
//! 4. fed before? then the first answer again;
//! 5. bodies into the body store, then rows and trace in one commit, then the answer.

mod content;
mod draft;
mod rules;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use self::draft::{Draft, DraftDocument, EntryKind};
use super::{Call, PatientKey, Traced};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::bundle::ResponseEntry;
use crate::fhir::document_reference::{self, ServerElements};
use crate::fhir::elements::{CodeableConcept, PatientReference, Reference, instant};
use crate::fhir::submission_set;
use crate::rights::{FeedGrant, RecordFacts, ReplaceGrant};
use crate::store::{BodyStore, FedDocument, KeptDocument, NewDocument, NewSubmission, Reader, Step, Submitted};

/// The name of ITI-65 in traces.
pub const PROVIDE: &str = "TD2 provide document bundle";
/// The name of ITI-105 in traces.
pub const PUBLISH: &str = "TD2 simplified publish";

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
}

/// The form of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// ITI-65.
    Transaction,
    /// ITI-105.
    Single,
}

/// All that one commit needs.
struct Prepared {
    grant: FeedGrant,
    replaced: Vec<ReplaceGrant>,
    submission: NewSubmission,
    bodies: Vec<(String, Bytes)>,
    order: Vec<EntryKind>,
}

enum Preparation {
    New(Box<Prepared>),
    Replayed { fed: Vec<FedDocument>, order: Vec<EntryKind>, rule: String, record_id: String },
}

/// Feeds. A refusal inside the result has its trace already.
///
/// # Errors
/// The refusals of step 1 to 4, or the store's.
pub async fn run(call: &Call, form: Form, body: String) -> Result<Traced<Result<Fed, Refusal>>, Failure> {
    let preparing = call.clone();
    let preparation = call.services.store.read(move |reader| prepare(&preparing, form, &body, reader)).await?;
    match preparation {
        Preparation::New(prepared) => keep(call, *prepared).await,
        Preparation::Replayed { fed, order, rule, record_id } => {
            let answer = Fed::again(&fed, &order);
            let rule = format!("{rule}; fed before, byte for byte");
            let trace = call.trace.granted(201, &rule, Some(&record_id), &answer.document_ids);
            call.services.store.writer().record(trace, Ok(answer)).await
        }
    }
}

fn prepare(call: &Call, form: Form, body: &str, reader: &mut Reader<'_>) -> Result<Preparation, Failure> {
    let draft = match form {
        Form::Transaction => Draft::of_transaction(body)?,
        Form::Single => Draft::of_document(body)?,
    };
    let record = the_one_record(call, &draft, reader)?;
    let grant = call.services.tables.decide_feed(&call.caller, &record).granted()?;
    let ins = reader.ins_of(&grant)?;
    rules::check(call, &draft, &ins)?;

    let ids = Ids::draw(call, draft.documents.len());
    let submission = submission(call, &draft, &grant, &ins, &ids)?;
    let unique_ids: Vec<&str> = submission.documents.iter().map(|new| new.unique_id.as_str()).collect();
    match submission.compare(reader.fed_before(&unique_ids)?) {
        Some(Submitted::Replayed(fed)) => {
            return Ok(Preparation::Replayed {
                fed,
                order: draft.order,
                rule: grant.rule().to_owned(),
                record_id: record.id,
            });
        }
        Some(Submitted::UniqueIdTaken(unique_id)) => return Err(unique_id_taken(&unique_id).into()),
        _ => {}
    }
    let replaced = replaced(call, &draft, &grant, reader)?;
    let bodies = draft
        .documents
        .into_iter()
        .zip(&submission.documents)
        .map(|(document, new)| (new.body_key.clone(), Bytes::from(document.content)))
        .collect();
    Ok(Preparation::New(Box::new(Prepared { grant, replaced, submission, bodies, order: draft.order })))
}

/// Bodies first, then rows and trace in one commit.
async fn keep(call: &Call, prepared: Prepared) -> Result<Traced<Result<Fed, Refusal>>, Failure> {
    let store = &call.services.store;
    let Prepared { grant, replaced, submission, bodies, order } = prepared;
    for (key, body) in &bodies {
        store.bodies().put(key, body.clone()).await?;
    }
    let answer = Fed::of(&submission, &order);
    let (kept_call, kept_answer) = (call.clone(), answer.clone());
    let traced = store
        .writer()
        .commit(move |transaction| {
            let submitted = transaction.submit(&grant, &replaced, &submission)?;
            let trace = &kept_call.trace;
            let granted = |rule: &str, answer: &Fed| {
                trace.granted(201, rule, Some(grant.record_id()), &answer.document_ids)
            };
            Ok(match submitted {
                Submitted::Stored => {
                    let mut rule = grant.rule().to_owned();
                    for replaced in &replaced {
                        rule = format!("{rule}; {}", replaced.rule());
                    }
                    Step { trace: granted(&rule, &kept_answer), value: Ok(kept_answer.clone()), keep: true }
                }
                Submitted::Replayed(fed) => {
                    let answer = Fed::again(&fed, &order);
                    let rule = format!("{}; fed before, byte for byte", grant.rule());
                    Step { trace: granted(&rule, &answer), value: Ok(answer), keep: false }
                }
                Submitted::UniqueIdTaken(unique_id) => refused(trace, unique_id_taken(&unique_id)),
                Submitted::ReplacedMeanwhile(id) => refused(
                    trace,
                    Refusal::new(
                        Reason::InvalidMetadata,
                        format!("the document {id} has been replaced meanwhile"),
                    ),
                ),
            })
        })
        .await?;
    let traced = traced.map(|result| (matches!(&result, Ok(fed) if *fed == answer), result));
    Ok(settle(call, traced, bodies).await)
}

/// Bodies that no row names are removed at once where possible; the sweep takes the rest.
async fn settle(
    call: &Call,
    traced: Traced<(bool, Result<Fed, Refusal>)>,
    bodies: Vec<(String, Bytes)>,
) -> Traced<Result<Fed, Refusal>> {
    let mut orphaned = false;
    let traced = traced.map(|(kept, result)| {
        orphaned = !kept;
        result
    });
    if orphaned {
        for (key, _) in bodies {
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

/// What the feed replaces, each with its decision.
fn replaced(
    call: &Call,
    draft: &Draft<'_>,
    grant: &FeedGrant,
    reader: &mut Reader<'_>,
) -> Result<Vec<ReplaceGrant>, Failure> {
    let mut grants = Vec::new();
    for document in &draft.documents {
        for relation in &document.resource.relates_to {
            let expression = document.at("relatesTo[0].target");
            let unknown = || {
                Refusal::at(Reason::InvalidMetadata, &expression, "the document to be replaced is not known")
            };
            let kept = look_up(&relation.target, reader)?.ok_or_else(unknown)?;
            let decision = call.services.tables.decide_replacement(grant, &kept.facts);
            grants.push(decision.granted().map_err(|refusal| match refusal.reason {
                Reason::NotFound => unknown().by(refusal.rule),
                _ => refusal,
            })?);
        }
    }
    let granted = |id: &str| grants.iter().any(|grant: &ReplaceGrant| grant.document_id() == id);
    for (expression, target) in &draft.patches {
        if !granted(target) {
            let diagnostics = "a PATCH entry supersedes a document that the same feed replaces";
            return Err(Refusal::at(Reason::UnsupportedEntry, expression, diagnostics).into());
        }
    }
    Ok(grants)
}

fn look_up(target: &Reference<'_>, reader: &mut Reader<'_>) -> Result<Option<KeptDocument>, Failure> {
    if let Some(id) = target.literal().strip_prefix("DocumentReference/") {
        return reader.document(id);
    }
    match &target.identifier {
        Some(identifier) => reader.document_of_unique_id(identifier.value()),
        None => Ok(None),
    }
}

/// The identifiers of a new submission.
struct Ids {
    list: String,
    documents: Vec<(String, String)>,
}

impl Ids {
    fn draw(call: &Call, documents: usize) -> Self {
        let next = || call.services.environment.next_id();
        Self { list: next(), documents: (0..documents).map(|_| (next(), next())).collect() }
    }
}

fn submission(
    call: &Call,
    draft: &Draft<'_>,
    grant: &FeedGrant,
    ins: &(String, String),
    ids: &Ids,
) -> Result<NewSubmission, Failure> {
    let now = call.now();
    let documents = draft
        .documents
        .iter()
        .zip(&ids.documents)
        .enumerate()
        .map(|(position, (document, id))| new_document(call, document, position, grant, ins, &ids.list, id))
        .collect::<Result<Vec<_>, Failure>>()?;
    let document_ids: Vec<&str> = ids.documents.iter().map(|(id, _)| id.as_str()).collect();
    let resource = match &draft.list {
        Some((text, _)) => submission_set::accepted(text, &ids.list, grant.record_id(), &document_ids, now)?,
        None => submission_set::made_by_server(
            &ids.list,
            grant.record_id(),
            document_ids.first().copied().unwrap_or_default(),
            grant.author_id(),
            None,
            now,
        ),
    };
    Ok(NewSubmission { id: ids.list.clone(), resource, created_at: now, documents })
}

fn new_document(
    call: &Call,
    document: &DraftDocument<'_>,
    position: usize,
    grant: &FeedGrant,
    ins: &(String, String),
    list_id: &str,
    (id, binary_id): &(String, String),
) -> Result<NewDocument, Failure> {
    let now = call.now();
    let codes = &call.services.codes;
    let resource = &document.resource;
    // Invariant: `rules::check` has refused a feed without these.
    let missing = || Failure::internal("a document passed the rules without what they require");
    let r#type = codes.document_type(resource.r#type.code()).ok_or_else(missing)?;
    let unique_id = resource.unique_id().ok_or_else(missing)?;
    let attachment = resource.attachment().ok_or_else(missing)?;
    let labels = resource.labels().map_err(|_| missing())?;

    let sha256 = hex(digest::digest(&digest::SHA256, &document.content).as_ref());
    let hash = content::sha1_base64(&document.content);
    let structure_name = call.caller.structure_name.as_deref();
    let custodian = grant.structure().as_deref().map(|id| (id, structure_name.unwrap_or(id)));
    let size = u64::try_from(document.content.len()).map_err(Failure::internal)?;
    let text = document_reference::accepted(
        document.text,
        &ServerElements {
            id,
            last_updated: now,
            record_id: grant.record_id(),
            ins: (&ins.0, &ins.1),
            binary_id,
            size,
            hash: &hash,
            class: (r#type.class, codes.class(r#type.class).unwrap_or_default()),
            custodian,
        },
    )?;
    let link = document_reference::link_position(&text, binary_id)
        .and_then(|link| i32::try_from(link).ok())
        .ok_or_else(missing)?;
    let date_or_now = |text: Option<&str>| text.and_then(|text| instant(text).ok()).unwrap_or(now);
    let code = |concept: Option<&CodeableConcept<'_>>| concept.map_or("", CodeableConcept::code).to_owned();
    Ok(NewDocument {
        record_id: grant.record_id().to_owned(),
        date: date_or_now(resource.date.as_ref().map(|date| date.0.as_ref())),
        id: id.clone(),
        unique_id: unique_id.to_owned(),
        binary_id: binary_id.clone(),
        submission_set_id: list_id.to_owned(),
        position: i32::try_from(position).map_err(Failure::internal)?,
        version: 1,
        status: "current",
        type_code: r#type.code.to_owned(),
        class_code: match resource.category.first() {
            Some(category) => category.code().to_owned(),
            None => r#type.class.to_owned(),
        },
        format_code: resource
            .content
            .first()
            .and_then(|content| content.format.as_ref())
            .map_or(String::new(), |format| format.code().to_owned()),
        facility_code: code(resource.context.facility_type.as_ref()),
        setting_code: code(resource.context.practice_setting.as_ref()),
        creation: date_or_now(attachment.creation.as_ref().map(|creation| creation.0.as_ref())),
        masked: labels.masked,
        invisible_to_patient: labels.invisible_to_patient,
        invisible_to_representatives: labels.invisible_to_representatives,
        archived: false,
        author_id: grant.author_id().to_owned(),
        author_structure: grant.structure().clone(),
        created_at: now,
        body_key: BodyStore::key(&sha256, binary_id),
        sha256,
        size: i64::try_from(size).map_err(Failure::internal)?,
        content_type: attachment.content_type.0.as_ref().to_owned(),
        link,
        resource: text,
    })
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
        });
        answer
    }

    /// The first answer, from what was kept then.
    fn again(fed: &[FedDocument], order: &[EntryKind]) -> Self {
        let documents: Vec<(&str, &str)> =
            fed.iter().map(|document| (document.id.as_str(), document.binary_id.as_str())).collect();
        let Some(first) = fed.first() else { return Self::answer("", &documents, 0, order) };
        let mut answer = Self::answer(&first.submission_set_id, &documents, first.created_at, order);
        let link = usize::try_from(first.link).ok();
        answer.published = Some(Published { resource: first.resource.clone(), link });
        answer
    }

    fn answer(list_id: &str, documents: &[(&str, &str)], last_modified: i64, order: &[EntryKind]) -> Self {
        let created = |location: String| ResponseEntry { status: "201 Created", location };
        let entry = |kind: &EntryKind| match kind {
            EntryKind::List => created(format!("List/{list_id}/_history/1")),
            EntryKind::Document(position) => {
                let id = documents.get(*position).map_or("", |(id, _)| id);
                created(format!("DocumentReference/{id}/_history/1"))
            }
            EntryKind::Binary(position) => {
                let id = documents.get(*position).map_or("", |(_, binary_id)| binary_id);
                created(format!("Binary/{id}/_history/1"))
            }
            EntryKind::Patch(id) => {
                ResponseEntry { status: "200 OK", location: format!("DocumentReference/{id}") }
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

fn hex(bytes: &[u8]) -> String {
    crate::store::hex(bytes)
}

fn decode_base64(data: &str, expression: &str) -> Result<Vec<u8>, Refusal> {
    let decoded = BASE64.decode(data);
    decoded.map_err(|error| Refusal::at(Reason::MalformedBody, expression, format!("not base64: {error}")))
}
