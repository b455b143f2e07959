//! The body of a feed → its parts, by the closed slicing of MHD: what is not one of the known entries is refused.

use std::collections::HashMap;

use aws_lc_rs::digest;
use serde::Deserialize;

use super::{FHIR_DOCUMENT, decode_base64};
use crate::error::{Reason, Refusal};
use crate::fhir::bundle::{AnyResource, Binary, Transaction, TransactionEntry};
use crate::fhir::document_reference::{Contained, DocumentReference};
use crate::fhir::elements::{CodeableConcept, Reference};
use crate::fhir::json::{BorrowedText, RawObject, malformed, unreadable};
use crate::fhir::submission_set::SubmissionSet;
use crate::rights::FeedPurpose;
use crate::rights::Labels;
use crate::store::hex;

/// A feed, taken apart.
pub(super) struct Draft<'a> {
    /// The SubmissionSet: text and what is read of it. None in ITI-105.
    pub list: Option<(&'a str, SubmissionSet<'a>)>,
    /// Documents, in order.
    pub documents: Vec<DraftDocument<'a>>,
    /// Folders, in order.
    pub folders: Vec<DraftFolder<'a>>,
    /// The kind of each entry, for the answer.
    pub order: Vec<EntryKind>,
    /// Where each PATCH entry stands, and the id of the document that it supersedes.
    pub patches: Vec<(String, String)>,
}

/// One folder of a feed.
pub(super) struct DraftFolder<'a> {
    /// The List as received.
    pub text: &'a str,
    /// What is read of it.
    pub list: SubmissionSet<'a>,
    /// The folder that it adds to; `None`: it is made.
    pub update_of: Option<String>,
    /// How the submission set refers to it.
    full_url: String,
    path: String,
}

impl DraftFolder<'_> {
    /// What of it must be the same for a feed to be the same: which folder, what is filed, what it says of itself. A document of the same
    /// transaction counts by its place: its name there is drawn anew for each attempt.
    fn told(&self, draft: &Draft<'_>) -> String {
        let entries = self.list.entry.iter().map(|entry| {
            let literal = entry.item.literal();
            match draft
                .documents
                .iter()
                .position(|document| !literal.is_empty() && document.full_url == literal)
            {
                Some(place) => format!("#{place}"),
                None => match &entry.item.identifier {
                    Some(identifier) => format!("{}|{}", identifier.system(), identifier.value()),
                    None => literal.to_owned(),
                },
            }
        });
        let entries: Vec<String> = entries.collect();
        let itself = RawObject::parse(self.text).map_or(String::new(), |mut list| {
            list.remove("entry");
            list.to_text()
        });
        let itself = hex(digest::digest(&digest::SHA256, itself.as_bytes()).as_ref());
        format!("folder {} {itself} {}", self.update_of.as_deref().unwrap_or_default(), entries.join(" "))
    }

    /// FHIRPath of an element of the List.
    pub fn at(&self, element: &str) -> String {
        format!("{}.{element}", self.path)
    }
}

/// One document of a feed.
pub(super) struct DraftDocument<'a> {
    /// The DocumentReference as received.
    pub text: &'a str,
    /// What is read of it.
    pub resource: DocumentReference<'a>,
    /// The document's bytes.
    pub content: Vec<u8>,
    /// How Lists of the same transaction refer to it.
    pub full_url: String,
    /// Relations that are not taken in, and of which the answer warns (ITI-65, table 2:3.65.4.1.3-1).
    pub not_processed: Vec<NotProcessed>,
    /// The document is a Bundle of the transaction: its bytes are those of its text, which no client can know.
    pub is_bundle: bool,
    /// Media type of the Binary, in ITI-65.
    pub binary_content_type: Option<String>,
    /// FHIRPath of the resource in the body.
    path: String,
}

/// A relation to another document that the DMP does not keep: it knows replacement alone. The other document may be one that the reader
/// may not see, so that the relation is not kept either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotProcessed {
    Append,
    Transform,
}

impl NotProcessed {
    fn of(code: &str) -> Option<Self> {
        match code {
            "appends" => Some(Self::Append),
            "transforms" => Some(Self::Transform),
            _ => None,
        }
    }

    /// The warning's code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Append => "PartialAppendContentNotProcessed",
            Self::Transform => "PartialTransformContentNotProcessed",
        }
    }
}

/// What an entry of the answer is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    List,
    /// The document of this position, and what of it was not processed.
    Document(usize, Vec<NotProcessed>),
    /// The bytes of the document of this position.
    Binary(usize),
    /// The FHIR document of this position.
    Bundle(usize),
    /// The superseded document of this id.
    Patch(String),
    /// The folder of this position, which is made.
    Folder(usize),
    /// The folder of this id, which is added to.
    FolderUpdate(String),
}

impl DraftDocument<'_> {
    /// FHIRPath of an element of the resource.
    pub fn at(&self, element: &str) -> String {
        format!("{}.{element}", self.path)
    }
}

impl DraftDocument<'_> {
    /// Bytes of the document that stand in the resource itself (ITI-105); they are not kept in it.
    pub fn inline_data(&self) -> usize {
        let data = self.resource.attachment().and_then(|attachment| attachment.data.as_ref());
        data.map_or(0, |data| data.0.len())
    }

    /// How many authors there are that are no mere organisation: those that a CDA header counts.
    pub fn authors_apart_from_organisations(&self) -> usize {
        let is_organisation = |author: &&Reference<'_>| {
            let id = author.literal().strip_prefix('#');
            let target =
                id.and_then(|id| self.resource.contained.iter().find(|contained| contained.id.0 == id));
            let is_role_of_nobody = |target: &Contained<'_>| {
                target.practitioner.is_none() && target.organization.is_some() && target.identifier.is_empty()
            };
            target.is_some_and(|target| target.resource_type.0 == "Organization" || is_role_of_nobody(target))
        };
        self.resource.author.len() - self.resource.author.iter().filter(is_organisation).count()
    }

    /// Whether somebody of this identifier is an author, or contained beside them.
    pub fn names_author(&self, wanted: &str) -> bool {
        let contained = self.resource.contained.iter().flat_map(Contained::names);
        let logical = self.resource.author.iter().filter_map(|author| author.identifier.as_ref());
        contained.chain(logical).any(|identifier| identifier.value() == wanted)
    }

    /// What of a feed must be the same for its first answer to be given again, beside id, bytes, record and author: what
    /// rights and searches go by, and what else the feed did. A document that comes again with another label or type is
    /// not the one that was stored, and must not be acknowledged as it.
    pub fn fed_as(&self, labels: Labels, draft: &Draft<'_>) -> String {
        let resource = &self.resource;
        let code = |concept: Option<&CodeableConcept<'_>>| concept.map_or("", CodeableConcept::code).to_owned();
        let format = resource.content.first().and_then(|content| content.format.as_ref());
        let replaced = resource.relates_to.iter().map(|relation| match &relation.target.identifier {
            Some(identifier) => identifier.value(),
            None => relation.target.literal(),
        });
        let patched = draft.patches.iter().map(|(_, target)| target.as_str());
        let parts = [
            format!("{labels:?}"),
            if draft.list.is_some() { "ITI-65".into() } else { "ITI-105".into() },
            draft.documents.len().to_string(),
            code(Some(&resource.r#type)),
            code(resource.category.first()),
            code(resource.context.facility_type.as_ref()),
            code(resource.context.practice_setting.as_ref()),
            format.map_or("", |format| format.code()).to_owned(),
            resource.attachment().map_or(String::new(), |attachment| attachment.content_type.0.to_string()),
            replaced.collect::<Vec<_>>().join(" "),
            patched.collect::<Vec<_>>().join(" "),
        ];
        let folders = draft.folders.iter().map(|folder| folder.told(draft));
        // Behind the others: what was fed without them keeps its digest.
        let parts =
            parts.into_iter().chain(self.not_processed.iter().map(|one| one.code().to_owned())).chain(folders);
        let parts: Vec<String> = parts.collect();
        hex(digest::digest(&digest::SHA256, parts.join("\n").as_bytes()).as_ref())
    }
}

/// Documents that one folder takes at once.
const MAXIMUM_FILED: usize = 200;
/// Folders in one feed.
const MAXIMUM_FOLDERS: usize = 10;
/// Documents in one feed. More would keep every other writer waiting.
const MAXIMUM_DOCUMENTS: usize = 50;

impl<'a> Draft<'a> {
    /// ITI-65.
    pub fn of_transaction(body: &'a str) -> Result<Self, Refusal> {
        let transaction = Transaction::read(body)?;
        let mut draft = Draft {
            list: None,
            documents: Vec::new(),
            folders: Vec::new(),
            order: Vec::new(),
            patches: Vec::new(),
        };
        let mut binaries = Binaries::default();
        let mut document_urls = Vec::new();
        // A List, folders, and for each document a DocumentReference, a Binary and a PATCH.
        if transaction.entry.len() > 1 + MAXIMUM_FOLDERS + 3 * MAXIMUM_DOCUMENTS {
            let diagnostics = format!("a feed has at most {MAXIMUM_DOCUMENTS} documents");
            return Err(Refusal::at(Reason::InvalidMetadata, "Bundle.entry", diagnostics));
        }
        for (position, entry) in transaction.entry.iter().enumerate() {
            let path = format!("Bundle.entry[{position}]");
            let Some(resource) = entry.resource else {
                return Err(unsupported(&path, "an entry without a resource"));
            };
            let text = resource.get();
            let any: AnyResource<'_> =
                serde_json::from_str(text).map_err(|error| unreadable(&format!("{path}.resource"), &error))?;
            match (any.resource_type.0.as_ref(), method(entry)) {
                ("List", "POST") => {
                    let list = SubmissionSet::read(text)?;
                    match list.code.code() {
                        "folder" => {
                            draft.add_folder(text, list, None, entry, path)?;
                            continue;
                        }
                        "submissionset" if draft.list.is_none() => draft.list = Some((text, list)),
                        "submissionset" => return Err(unsupported(&path, "a second SubmissionSet")),
                        _ => return Err(unsupported(&path, "a List is a submissionset or a folder")),
                    }
                    draft.order.push(EntryKind::List);
                }
                ("List", "PUT") => {
                    let list = SubmissionSet::read(text)?;
                    let url = entry.request.as_ref().map_or("", |request| request.url.0.as_ref());
                    let id = url.strip_prefix("List/").filter(|id| !id.is_empty() && !id.contains(['/', '?']));
                    let (Some(id), "folder") = (id, list.code.code()) else {
                        return Err(unsupported(&path, "a PUT of a List adds to a folder, List/id"));
                    };
                    draft.add_folder(text, list, Some(id.to_owned()), entry, path)?;
                }
                ("DocumentReference", "POST") => {
                    let mut resource = DocumentReference::read(text)?;
                    let relations = resource.relates_to.iter();
                    let not_processed: Vec<NotProcessed> =
                        relations.filter_map(|relation| NotProcessed::of(&relation.code.0)).collect();
                    resource.relates_to.retain(|relation| NotProcessed::of(&relation.code.0).is_none());
                    draft.order.push(EntryKind::Document(draft.documents.len(), not_processed.clone()));
                    document_urls.push(entry.full_url.0.as_ref());
                    draft.documents.push(DraftDocument {
                        text,
                        resource,
                        not_processed,
                        content: Vec::new(),
                        full_url: entry.full_url.0.as_ref().to_owned(),
                        is_bundle: false,
                        binary_content_type: None,
                        path: format!("{path}.resource"),
                    });
                }
                ("Binary", "POST") => {
                    binaries.add(entry.full_url.0.as_ref(), text, &path, draft.order.len())?;
                    // Which document it belongs to is known at the end.
                    draft.order.push(EntryKind::Binary(usize::MAX));
                }
                // ITI-65, FHIR Document Publish: a Bundle in place of the Binary.
                ("Bundle", "POST") => {
                    binaries.add_document(entry.full_url.0.as_ref(), text, &path, draft.order.len())?;
                    draft.order.push(EntryKind::Bundle(usize::MAX));
                }
                ("Parameters", "PATCH") => {
                    let target = patched_document(entry, text, &path)?;
                    draft.order.push(EntryKind::Patch(target.clone()));
                    draft.patches.push((path, target));
                }
                (kind, method) => {
                    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
                    let method = known.into_iter().find(|known| *known == method).unwrap_or("that");
                    let why = format!("{method} of a {kind} is no part of a feed (ITI-65)");
                    return Err(unsupported(&path, &why));
                }
            }
        }
        if draft.list.is_none() {
            return Err(malformed("the transaction has no SubmissionSet (a List of code submissionset)"));
        }
        if draft.documents.is_empty() {
            return Err(malformed("the transaction has no DocumentReference"));
        }
        draft.attach(binaries)?;
        draft.check_entries_of_list(&document_urls)?;
        Ok(draft)
    }

    /// ITI-105.
    pub fn of_document(body: &'a str) -> Result<Self, Refusal> {
        let resource = DocumentReference::read(body)?;
        let path = "DocumentReference".to_owned();
        let attachment = resource.attachment();
        let expression = "DocumentReference.content[0].attachment.data";
        let data = attachment.and_then(|attachment| attachment.data.as_ref()).ok_or_else(|| {
            Refusal::at(Reason::InvalidMetadata, expression, "a document fed alone carries its bytes (ITI-105)")
        })?;
        if attachment.is_some_and(|attachment| attachment.url.is_some()) {
            let expression = "DocumentReference.content[0].attachment.url";
            let diagnostics = "a document fed alone has data and no url (ITI-105)";
            return Err(Refusal::at(Reason::InvalidMetadata, expression, diagnostics));
        }
        let content = decode_base64(&data.0, expression)?;
        Ok(Draft {
            list: None,
            documents: vec![DraftDocument {
                text: body,
                resource,
                content,
                full_url: String::new(),
                not_processed: Vec::new(),
                is_bundle: false,
                binary_content_type: None,
                path,
            }],
            order: vec![EntryKind::Document(0, Vec::new())],
            folders: Vec::new(),
            patches: Vec::new(),
        })
    }

    fn add_folder(
        &mut self,
        text: &'a str,
        list: SubmissionSet<'a>,
        update_of: Option<String>,
        entry: &TransactionEntry<'a>,
        path: String,
    ) -> Result<(), Refusal> {
        if list.entry.len() > MAXIMUM_FILED {
            return Err(unsupported(&path, "too many documents filed at once"));
        }
        if self.folders.len() >= MAXIMUM_FOLDERS {
            return Err(unsupported(&path, "too many folders in one feed"));
        }
        self.order.push(match &update_of {
            Some(id) => EntryKind::FolderUpdate(id.clone()),
            None => EntryKind::Folder(self.folders.len()),
        });
        // The text lives as long as the body; the borrowed name of the entry need not.
        let path = format!("{path}.resource");
        self.folders.push(DraftFolder {
            text,
            list,
            update_of,
            full_url: entry.full_url.0.as_ref().to_owned(),
            path,
        });
        Ok(())
    }

    /// Every patient named, with where.
    pub fn subjects(&self) -> impl Iterator<Item = (String, Option<&Reference<'a>>)> {
        let documents =
            self.documents.iter().map(|document| (document.at("subject"), document.resource.subject.as_ref()));
        // The SubmissionSet's subject may be absent; when it is there it is the same patient.
        let list = self
            .list
            .iter()
            .filter_map(|(_, list)| list.subject.as_ref())
            .map(|subject| ("List.subject".to_owned(), Some(subject)));
        let folders = self.folders.iter().map(|folder| (folder.at("subject"), folder.list.subject.as_ref()));
        documents.chain(list).chain(folders)
    }

    /// What the feed is, as far as opposition to feeding goes.
    pub fn purpose(&self) -> FeedPurpose {
        let replaces = |document: &DraftDocument<'_>| !document.resource.relates_to.is_empty();
        // Who files does more than replace.
        let replaces_alone = !self.documents.is_empty() && self.folders.is_empty();
        match replaces_alone && self.documents.iter().all(replaces) {
            true => FeedPurpose::Replacement,
            false => FeedPurpose::New,
        }
    }

    /// Whether the feed neither replaces a document nor patches one.
    pub fn replaces_nothing(&self) -> bool {
        self.patches.is_empty() && self.documents.iter().all(|document| document.resource.relates_to.is_empty())
    }

    fn attach(&mut self, mut binaries: Binaries<'_>) -> Result<(), Refusal> {
        for position in 0..self.documents.len() {
            let Some(document) = self.documents.get_mut(position) else { continue };
            let expression = document.at("content[0].attachment.url");
            let url = document
                .resource
                .attachment()
                .and_then(|attachment| attachment.url.as_ref())
                .map(|url| url.0.as_ref().to_owned());
            let binary = url.and_then(|url| binaries.take(&url)).ok_or_else(|| {
                let diagnostics = "names no Binary of the same transaction, each by one document";
                Refusal::at(Reason::InvalidMetadata, &expression, diagnostics)
            })?;
            let kind = match binary.resource {
                Bytes::Binary(resource) => {
                    document.content = decode_base64(&resource.data.0, &binary.expression)?;
                    let is_bundle = resource.content_type.0 == FHIR_DOCUMENT;
                    document.binary_content_type = Some(resource.content_type.0.into_owned());
                    // Read at Bundle/id, however it came.
                    if is_bundle { EntryKind::Bundle(position) } else { EntryKind::Binary(position) }
                }
                Bytes::Document(text) => {
                    document.is_bundle = true;
                    document.content = text.as_bytes().to_vec();
                    document.binary_content_type = Some(FHIR_DOCUMENT.to_owned());
                    EntryKind::Bundle(position)
                }
            };
            if let Some(entry) = self.order.get_mut(binary.position) {
                *entry = kind;
            }
        }
        match binaries.first_left() {
            Some(expression) => Err(unsupported(&expression, "a Binary that no DocumentReference names")),
            None => Ok(()),
        }
    }

    /// The SubmissionSet lists exactly the documents of the transaction.
    fn check_entries_of_list(&self, document_urls: &[&str]) -> Result<(), Refusal> {
        let Some((_, list)) = &self.list else { return Ok(()) };
        let is_folder =
            |url: &&str| self.folders.iter().any(|folder| !url.is_empty() && folder.full_url == **url);
        let literals = list.entry.iter().map(|entry| entry.item.literal());
        let mut listed: Vec<&str> = literals.filter(|url| !is_folder(url)).collect();
        let mut given = document_urls.to_vec();
        listed.sort_unstable();
        given.sort_unstable();
        if listed == given {
            return Ok(());
        }
        let diagnostics = "the SubmissionSet lists exactly the documents of the transaction, by fullUrl";
        Err(Refusal::at(Reason::InvalidMetadata, "List.entry", diagnostics))
    }
}

#[derive(Default)]
struct Binaries<'a> {
    by_url: HashMap<&'a str, DraftBinary<'a>>,
}

/// What a DocumentReference's url names in its transaction.
enum Bytes<'a> {
    Binary(Binary<'a>),
    /// A FHIR document, as text.
    Document(&'a str),
}

struct DraftBinary<'a> {
    resource: Bytes<'a>,
    expression: String,
    position: usize,
}

impl<'a> Binaries<'a> {
    fn add(&mut self, url: &'a str, text: &'a str, path: &str, position: usize) -> Result<(), Refusal> {
        let resource: Binary<'a> =
            serde_json::from_str(text).map_err(|error| unreadable(&format!("{path}.resource"), &error))?;
        let resource = Bytes::Binary(resource);
        self.keep(url, DraftBinary { resource, expression: format!("{path}.resource.data"), position }, path)
    }

    fn add_document(
        &mut self,
        url: &'a str,
        text: &'a str,
        path: &str,
        position: usize,
    ) -> Result<(), Refusal> {
        let resource = Bytes::Document(text);
        self.keep(url, DraftBinary { resource, expression: format!("{path}.resource"), position }, path)
    }

    fn keep(&mut self, url: &'a str, binary: DraftBinary<'a>, path: &str) -> Result<(), Refusal> {
        if url.is_empty() || self.by_url.insert(url, binary).is_some() {
            return Err(malformed(&format!("{path}.fullUrl is missing or stands twice")));
        }
        Ok(())
    }

    fn take(&mut self, url: &str) -> Option<DraftBinary<'a>> {
        self.by_url.remove(url)
    }

    fn first_left(&self) -> Option<String> {
        self.by_url.values().map(|binary| binary.expression.clone()).min()
    }
}

fn method<'e>(entry: &'e TransactionEntry<'_>) -> &'e str {
    entry.request.as_ref().map_or("", |request| request.method.0.as_ref())
}

fn unsupported(path: &str, diagnostics: &str) -> Refusal {
    Refusal::at(Reason::UnsupportedEntry, path, diagnostics.to_owned())
}

#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow, default)]
    parameter: Vec<Parameter<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameter<'a> {
    #[serde(borrow, default)]
    name: BorrowedText<'a>,
    #[serde(borrow, default)]
    part: Vec<Parameter<'a>>,
    #[serde(borrow, default)]
    value_code: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    value_string: Option<BorrowedText<'a>>,
}

/// `IHE.MHD.Patch.Parameters`: one operation, which replaces `DocumentReference.status` by `superseded`.
fn patched_document(entry: &TransactionEntry<'_>, text: &str, path: &str) -> Result<String, Refusal> {
    let parameters: Parameters<'_> =
        serde_json::from_str(text).map_err(|error| unreadable(&format!("{path}.resource"), &error))?;
    let value = |operation: &Parameter<'_>, name: &str| -> Option<String> {
        let part = operation.part.iter().find(|part| part.name.0 == name)?;
        part.value_code.as_ref().or(part.value_string.as_ref()).map(|value| value.0.as_ref().to_owned())
    };
    let supersedes = match &parameters.parameter[..] {
        [operation] if operation.name.0 == "operation" => {
            value(operation, "type").as_deref() == Some("replace")
                && value(operation, "path").as_deref() == Some("DocumentReference.status")
                && value(operation, "value").as_deref() == Some("superseded")
        }
        _ => false,
    };
    let url = entry.request.as_ref().map_or("", |request| request.url.0.as_ref());
    match url.strip_prefix("DocumentReference/") {
        Some(id) if supersedes => Ok(id.to_owned()),
        _ => Err(unsupported(path, "a PATCH entry sets DocumentReference.status to superseded, nothing else")),
    }
}
