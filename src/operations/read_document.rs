//! TD3.2, ITI-68: the bytes of a document, or its DocumentReference.

use aws_lc_rs::digest;
use bytes::Bytes;
use uuid::Uuid;

use super::{Budget, Call, Operation, Traced};
use crate::cda::{Examination, imaging_notice};
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::document_reference::DocumentReference;
use crate::fhir::elements::Coding;
use crate::identity::scope::Transaction;
use crate::rights::{DocumentFacts, Scope};
use crate::store::{KeptDocument, OpenedDocument, Reader, RecordKey, SMALL, StoredBody, hex};

/// The name of reading bytes in traces.
pub const RETRIEVE: Operation = Operation::new("TD3.2 retrieve", Transaction::Retrieve, Budget::Read);
/// The name of reading metadata in traces.
pub const READ: Operation = Operation::new("TD3.1 read metadata", Transaction::Find, Budget::Read).evenly();

/// The name of reading older versions in traces.
pub const HISTORY: Operation = Operation::new("TD3.1 read history", Transaction::Find, Budget::Read).evenly();

/// What the bytes of a document are, before they are read.
#[derive(Debug)]
pub struct Described<'a> {
    /// As declared by who fed it.
    pub content_type: &'a str,
    /// Digest of the bytes, hexadecimal.
    pub sha256: &'a str,
    /// Bytes.
    pub size: u64,
}

/// How much of a document is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// From the first of these bytes to the last (RFC 9110, 14).
    Range(u64, u64),
    /// Nothing: the client holds it already.
    NotModified,
    /// Of an imaging manifest, for software that takes no DICOM: a CDA document that says what there is.
    Notice,
}

impl Part {
    /// Of so many bytes, the first that is wanted, and the one behind the last.
    const fn bounds(self, size: u64) -> (u64, u64) {
        match self {
            Part::Whole | Part::Notice => (0, size),
            Part::Range(first, last) => (first, last.saturating_add(1)),
            Part::NotModified => (0, 0),
        }
    }

    /// HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Part::Whole | Part::Notice => 200,
            Part::Range(..) => 206,
            Part::NotModified => 304,
        }
    }
}

/// A body with its media type.
#[derive(Debug)]
pub struct Body {
    /// `Binary.id`.
    pub binary_id: String,
    /// As declared by who fed it.
    pub content_type: String,
    /// `attachment.title`; empty with no bytes.
    pub title: String,
    /// Digest of the whole, hexadecimal.
    pub sha256: String,
    /// Bytes of the whole.
    pub size: u64,
    /// How much of it this is.
    pub part: Part,
    /// As received, the part that is wanted.
    pub content: Content,
}

/// The bytes of a document.
#[derive(Debug)]
pub enum Content {
    /// A short one, or nothing.
    Held(Bytes),
    /// A long one: read in pieces as it is sent.
    Stored(StoredBody),
}

/// What of a document may be held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// A short one.
    Short,
    /// All of it: it is written in another form.
    All,
}

impl Body {
    /// HTTP status, text and digest of a document that is held whole.
    ///
    /// # Errors
    /// [`Failure::Internal`]: it is no text, or not held.
    pub fn into_text(self) -> Result<(u16, String, String), Failure> {
        let Content::Held(bytes) = self.content else {
            return Err(Failure::internal("a document is not held"));
        };
        let text = String::from_utf8(Vec::from(bytes)).map_err(Failure::internal)?;
        Ok((self.part.status(), text, self.sha256))
    }

    /// The first byte that is wanted, and the one behind the last.
    pub fn bounds(&self) -> (u64, u64) {
        self.part.bounds(self.size)
    }
}

/// Reads the bytes of a Binary, or a part of them. `choose` says, once the caller may see it, how much is wanted, or that its media type
/// will not do.
///
/// # Errors
/// [`Reason::NotFound`] for the unknown and the hidden alike, [`Reason::NoFunctionalRight`], [`Reason::NotAcceptable`],
/// [`Reason::RangeNotSatisfiable`], or the store's.
pub async fn retrieve(
    call: &Call,
    binary_id: String,
    held: Held,
    choose: impl FnOnce(&Described<'_>) -> Result<Part, Refusal>,
) -> Result<Traced<Body>, Failure> {
    let ((document, small), id, record_id, rule) = open(
        call,
        &binary_id.clone(),
        move |reader, now| reader.document_of_binary(&binary_id, now),
        |reader, _, document, _| {
            // Nothing of it is shown but its title: what it replaces is not even looked up.
            let small = reader.small_body(&document)?;
            Ok((document, small))
        },
    )
    .await?;
    let (content_type, sha256, size) = (&document.content_type, &document.sha256, document.size);
    let described = Described { content_type, sha256, size };
    let part = choose(&described).map_err(|refusal| refusal.concerning(&record_id, Some(&id)))?;
    let (content, title) = match part {
        Part::Whole | Part::Range(..) => {
            let store = &call.services.store;
            // What is wanted of it is read: that it is what was fed is seen before a byte of it goes out.
            let content = if !document.is_in_database() && size > SMALL && held == Held::Short {
                let stored = store.bodies().stored(store.body_name(&document)?).await?;
                let (first, end) = part.bounds(size);
                stored.verify(first, end).await?;
                Content::Stored(stored)
            } else {
                let all = match document.is_in_database() {
                    true => Bytes::from(store.small_body(&document, small)?),
                    false => store.bodies().get(&store.body_name(&document)?).await?,
                };
                Content::Held(match part {
                    Part::Range(first, last) => {
                        range(&all, first, last).ok_or_else(|| Failure::internal("a range"))?
                    }
                    _ => all,
                })
            };
            (
                content,
                title(&document.resource)
                    .map_err(|refusal| Failure::internal(format!("document {id}: {refusal}")))?,
            )
        }
        Part::NotModified => (Content::Held(Bytes::new()), String::new()),
        Part::Notice => return notice(call, &document, &id, &record_id, &rule).await,
    };
    let trace = call.trace.granted(part.status(), &rule, Some(&record_id), &[id]);
    let body = Body {
        binary_id: document.binary_id,
        content_type: document.content_type,
        title,
        sha256: document.sha256,
        size: document.size,
        part,
        content,
    };
    call.services.store.writer().record(trace, body).await
}

/// The notice of an imaging manifest, in place of it.
async fn notice(
    call: &Call,
    document: &OpenedDocument,
    id: &str,
    record_id: &str,
    rule: &str,
) -> Result<Traced<Body>, Failure> {
    let fault = |refusal: Refusal| Failure::internal(format!("document {id}: {refusal}"));
    let resource = DocumentReference::read(&document.resource).map_err(fault)?;
    let subject = resource.subject.as_ref().and_then(|subject| subject.identifier.as_ref());
    let codings = || resource.context.event.iter().flat_map(|event| &event.coding);
    let is_modality =
        |coding: &&Coding<'_>| coding.system().contains(MODALITIES) || coding.system().ends_with("/DCM");
    let attachment = resource.attachment();
    let uuid = Uuid::new_v5(&Uuid::NAMESPACE_OID, document.binary_id.as_bytes()).as_u128();
    let xml = imaging_notice(&Examination {
        id: &format!("2.25.{uuid}"),
        r#type: (resource.r#type.code(), resource.r#type.display()),
        title: attachment.and_then(|attachment| attachment.title.as_ref()).map_or("", |title| title.0.as_ref()),
        date: attachment.and_then(|attachment| attachment.creation.as_ref()).map_or("", |date| date.0.as_ref()),
        ins: subject.map_or(("", ""), |ins| (ins.system().trim_start_matches("urn:oid:"), ins.value())),
        modalities: codings().filter(is_modality).map(Coding::display).collect(),
        regions: codings().filter(|coding| !is_modality(coding)).map(Coding::display).collect(),
    });
    let rule = format!("{rule}; told of in a CDA document: the software takes no DICOM");
    let trace = call.trace.granted(Part::Notice.status(), &rule, Some(record_id), &[id.to_owned()]);
    let body = Body {
        binary_id: document.binary_id.clone(),
        content_type: "text/xml".into(),
        title: title(&document.resource).map_err(fault)?,
        sha256: hex(digest::digest(&digest::SHA256, xml.as_bytes()).as_ref()),
        size: xml.len() as u64,
        part: Part::Notice,
        content: Content::Held(Bytes::from(xml)),
    };
    call.services.store.writer().record(trace, body).await
}

/// The OID of DICOM's own codes, in `urn:oid:…`.
const MODALITIES: &str = "1.2.840.10008.2.16.4";

fn title(resource: &str) -> Result<String, Refusal> {
    let document = DocumentReference::read(resource)?;
    let title = document.attachment().and_then(|attachment| attachment.title.as_ref());
    Ok(title.map_or(String::new(), |title| title.0.to_string()))
}

fn range(all: &Bytes, first: u64, last: u64) -> Option<Bytes> {
    let (first, last) = (usize::try_from(first).ok()?, usize::try_from(last).ok()?);
    (first <= last && last < all.len()).then(|| all.slice(first..=last))
}

/// Reads a DocumentReference.
///
/// # Errors
/// As [`retrieve`].
pub async fn read(call: &Call, id: String) -> Result<Traced<OpenedDocument>, Failure> {
    let (now, looked_up) = (call.now(), id.clone());
    let look_up = move |reader: &mut Reader<'_>, now| reader.document(&looked_up, now);
    let show = move |reader: &mut Reader<'_>, scope: &Scope, document, _: &DocumentFacts| {
        reader.shown(scope, document, now)
    };
    let (document, id, record_id, rule) = open(call, &id, look_up, show).await?;
    let trace = call.trace.granted(200, &rule, Some(&record_id), &[id]);
    call.services.store.writer().record(trace, document).await
}

/// What a DocumentReference was, version for version, the newest first; or one version of it. A version is there for who may see the
/// document now and might have seen it then: a mask that was taken off hides what stood under it.
///
/// # Errors
/// As [`retrieve`]; [`Reason::NotFound`] too where no version may be seen.
pub async fn history(
    call: &Call,
    id: String,
    only: Option<i64>,
) -> Result<Traced<Vec<OpenedDocument>>, Failure> {
    let (now, looked_up) = (call.now(), id.clone());
    let look_up = move |reader: &mut Reader<'_>, now| reader.document(&looked_up, now);
    let show =
        move |reader: &mut Reader<'_>, scope: &Scope, document: OpenedDocument, facts: &DocumentFacts| {
            let mut versions = Vec::new();
            if only.is_none_or(|only| only == document.version) {
                versions.push(reader.shown(scope, document.clone(), now)?);
            }
            for past in reader.past_versions(&facts.id, only)? {
                let Ok(grant) = scope.admit(&past.facts(facts)).granted() else { continue };
                let Some(past) = past.open(&grant, &document) else { continue };
                versions.push(reader.shown(scope, past, now)?);
            }
            match versions.is_empty() {
                true => Err(Refusal::new(Reason::NotFound, "no such resource").by("no such version").into()),
                false => Ok(versions),
            }
        };
    let (versions, id, record_id, rule) = open(call, &id, look_up, show).await?;
    let trace = call.trace.granted(200, &rule, Some(&record_id), &[id]);
    call.services.store.writer().record(trace, versions).await
}

async fn open<T, F, S>(
    call: &Call,
    id: &str,
    look_up: F,
    show: S,
) -> Result<(T, String, String, String), Failure>
where
    T: Send + 'static,
    F: FnOnce(&mut Reader<'_>, i64) -> Result<Option<KeptDocument>, Failure> + Send + 'static,
    S: FnOnce(&mut Reader<'_>, &Scope, OpenedDocument, &DocumentFacts) -> Result<T, Failure> + Send + 'static,
{
    call.services.tables.decide_reading_at_all(&call.caller).granted()?;
    super::must_be_an_id(id)?;
    let reading = call.clone();
    call.services
        .store
        .read(move |reader| {
            let call = &reading;
            let unknown = || Refusal::new(Reason::NotFound, "no such resource").by("no such identifier");
            let document = look_up(reader, call.now())?;
            // The unknown takes the time of the hidden: a record is looked up and decided on all the same.
            let record_id = document.as_ref().map_or("", |document| &document.facts.record_id).to_owned();
            let record = reader.record_facts(&RecordKey::Id(record_id), &call.caller, call.now())?;
            let at = call.at()?;
            let (Some(document), Some(record)) = (document, record) else {
                drop(call.services.tables.decide_scope(&call.caller, &super::decoy(), at).granted());
                return Err(unknown().into());
            };
            let about = |refusal: Refusal| refusal.concerning(&record.id, Some(&document.facts.id));
            let scope = call.services.tables.decide_scope(&call.caller, &record, at);
            let scope = scope.granted_or_unknown().map_err(about)?;
            let grant = scope.admit(&document.facts).granted().map_err(about)?;
            let facts = document.facts.clone();
            let opened =
                document.open(&grant).ok_or_else(|| Failure::internal("a grant for another document"))?;
            let opened = show(reader, &scope, opened, &facts)?;
            Ok((opened, facts.id, record.id, grant.rule().to_owned()))
        })
        .await
}
