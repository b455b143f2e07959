//! What of a feed is kept: rows and texts, made of what was received and of what the server sets.

use aws_lc_rs::digest;

use super::draft::Draft;
use super::{FHIR_DOCUMENT, content, terms, vaccinations};
use crate::error::Failure;
use crate::fhir::document_reference::{self, Place, ServerElements};
use crate::fhir::elements::{CodeableConcept, end_of, instant};
use crate::fhir::submission_set::{self, Sender};
use crate::operations::Call;
use crate::rights::{FeedGrant, HistoryGrant};
use crate::store::{NewDocument, NewSubmission, SERVER, hex};

/// The identifiers of a new submission.
pub(super) struct Ids {
    list: String,
    /// Of each DocumentReference and its Binary.
    documents: Vec<(String, String)>,
}

impl Ids {
    pub fn draw(call: &Call, documents: usize) -> Self {
        let next = || call.services.environment.next_id();
        Self { list: next(), documents: (0..documents).map(|_| (next(), next())).collect() }
    }
}

/// In whose name something is kept.
pub(super) struct Owner<'a> {
    record_id: &'a str,
    /// PS_IdNat of who feeds, or the server's name.
    author_id: &'a str,
    /// Struct_IdNat for which it is fed.
    structure: Option<&'a str>,
    /// Struct_IdNat and name of who keeps it, where the document does not say.
    custodian: Option<(&'a str, &'a str)>,
    sender: Sender<'a>,
}

impl<'a> Owner<'a> {
    /// The caller that may feed.
    pub fn of(call: &'a Call, grant: &'a FeedGrant) -> Self {
        let name = call.caller.structure_name.as_deref();
        Self {
            record_id: grant.record_id(),
            author_id: grant.author_id(),
            structure: grant.structure().as_deref(),
            custodian: call.caller.structure.as_deref().map(|id| (id, name.unwrap_or(id))),
            sender: Sender::Professional(grant.author_id()),
        }
    }

    /// The server itself, for the organisation that keeps the DMP.
    pub fn server(grant: &'a HistoryGrant, keeper: &'a str) -> Self {
        Self {
            record_id: grant.record_id(),
            author_id: SERVER,
            structure: None,
            custodian: None,
            sender: Sender::Organisation(keeper),
        }
    }
}

/// The submission as it is kept: the received texts with what the server sets.
pub(super) fn submission(
    call: &Call,
    draft: &Draft<'_>,
    owner: &Owner<'_>,
    ins: &(String, String),
    ids: &Ids,
) -> Result<NewSubmission, Failure> {
    let now = call.now();
    let documents = (0..draft.documents.len())
        .map(|position| new_document(call, draft, position, owner, ins, ids))
        .collect::<Result<Vec<_>, Failure>>()?;
    let document_ids: Vec<&str> = ids.documents.iter().map(|(id, _)| id.as_str()).collect();
    let resource = match &draft.list {
        Some((text, _)) => submission_set::accepted(text, &ids.list, owner.record_id, &document_ids, now)?,
        None => submission_set::made_by_server(
            &ids.list,
            owner.record_id,
            document_ids.first().copied().unwrap_or_default(),
            owner.sender,
            content_type(call, draft),
            now,
        ),
    };
    let mut found_by = terms::of_list(&resource, &ids.list)?;
    let mut vaccinations = Vec::new();
    for (document, new) in draft.documents.iter().zip(&documents) {
        vaccinations.extend(vaccinations::of_note(document, new)?);
        found_by.extend(terms::of_document(document.text, &new.id)?);
    }
    let date = draft.list.as_ref().and_then(|(_, list)| list.date.as_ref());
    let date = date.and_then(|date| instant(&date.0).ok()).unwrap_or(now);
    Ok(NewSubmission {
        id: ids.list.clone(),
        resource,
        created_at: now,
        date,
        documents,
        folders: Vec::new(),
        terms: found_by,
        vaccinations,
        bodies: Vec::new(),
    })
}

/// The content type of a submission that does not say its own: the sector of the document's facility, which JDV_J59 has too; else a
/// consultation.
fn content_type<'a>(call: &'a Call, draft: &'a Draft<'_>) -> (&'a str, &'a str) {
    let codes = &call.services.codes;
    let facility =
        draft.documents.first().and_then(|document| document.resource.context.facility_type.as_ref());
    let known = facility.and_then(|facility| codes.concept("JDV-J61", facility.code()));
    let known = known.filter(|facility| codes.content_type(facility.system, facility.code).is_some());
    known.or_else(|| codes.concept("JDV-J59", "07")).map_or(("", ""), |concept| (concept.system, concept.code))
}

fn new_document(
    call: &Call,
    draft: &Draft<'_>,
    position: usize,
    owner: &Owner<'_>,
    ins: &(String, String),
    ids: &Ids,
) -> Result<NewDocument, Failure> {
    let now = call.now();
    let codes = &call.services.codes;
    // Invariant: `rules::check` has refused a feed without these.
    let missing = || Failure::internal("a document passed the rules without what they require");
    let document = draft.documents.get(position).ok_or_else(missing)?;
    let (id, binary_id) = ids.documents.get(position).ok_or_else(missing)?;
    let resource = &document.resource;
    let r#type = codes.document_type(resource.r#type.code()).ok_or_else(missing)?;
    let unique_id = resource.unique_id().ok_or_else(missing)?;
    let attachment = resource.attachment().ok_or_else(missing)?;
    let labels = resource.labels().map_err(|_| missing())?;

    let sha256 = hex(digest::digest(&digest::SHA256, &document.content).as_ref());
    let hash = content::sha1_base64(&document.content);
    let size = u64::try_from(document.content.len()).map_err(Failure::internal)?;
    let text = document_reference::accepted(
        document.text,
        &ServerElements {
            id,
            last_updated: now,
            record_id: owner.record_id,
            ins: (&ins.0, &ins.1),
            binary_id,
            place: if attachment.content_type.0 == FHIR_DOCUMENT { Place::Bundle } else { Place::Binary },
            size,
            hash: &hash,
            class: (r#type.class, codes.class(r#type.class).unwrap_or_default()),
            custodian: owner.custodian,
        },
    )?;
    let link = document_reference::link_position(&text, binary_id)
        .and_then(|link| i32::try_from(link).ok())
        .ok_or_else(missing)?;
    let creation = attachment.creation.as_ref().map(|creation| creation.0.as_ref());
    let period = resource.context.period.as_ref();
    let start = period.and_then(|period| period.start.as_ref()).and_then(|start| instant(&start.0).ok());
    let end = period.and_then(|period| period.end.as_ref()).and_then(|end| end_of(&end.0).ok());
    let date_or_now = |text: Option<&str>| text.and_then(|text| instant(text).ok()).unwrap_or(now);
    let code = |concept: Option<&CodeableConcept<'_>>| concept.map_or("", CodeableConcept::code).to_owned();
    Ok(NewDocument {
        record_id: owner.record_id.to_owned(),
        date: date_or_now(resource.date.as_ref().map(|date| date.0.as_ref())),
        id: id.clone(),
        unique_id: unique_id.to_owned(),
        binary_id: binary_id.clone(),
        submission_set_id: ids.list.clone(),
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
        creation: date_or_now(creation),
        creation_end: creation.and_then(|text| end_of(text).ok()).unwrap_or(now + 1),
        period_start: start.or(end.map(|_| i64::MIN)),
        period_end: end,
        masked: labels.masked,
        invisible_to_patient: labels.invisible_to_patient,
        invisible_to_representatives: labels.invisible_to_representatives,
        archived: false,
        author_id: owner.author_id.to_owned(),
        author_structure: owner.structure.map(str::to_owned),
        created_at: now,
        body_key: call.services.store.body_key(binary_id, size),
        fed_as: document.fed_as(labels, draft),
        sha256,
        size: i64::try_from(size).map_err(Failure::internal)?,
        content_type: attachment.content_type.0.as_ref().to_owned(),
        link,
        resource: text,
        visible_from: labels.invisible_to_patient.then(|| crate::rights::one_month_after(now)),
        // Which one, the decision on it says.
        replaces_id: resource.relates_to.first().map(|_| String::new()),
        updated_at: now,
    })
}
