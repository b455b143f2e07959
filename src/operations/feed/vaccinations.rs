//! Vaccination notes: what is asked of them, and the history that the server makes of those of a record (homologation 2.1-710, 3.2-550).

use aws_lc_rs::digest;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::draft::{Draft, DraftDocument};
use super::generated;
use super::kept::{Ids, Owner, submission};
use super::media::{self, Media};
use super::rules::Findings;
use crate::cda::{Head, KEEPER, Vaccination, vaccination_history};
use crate::error::{Failure, Reason, Refusal};
use crate::operations::Call;
use crate::rights::{HistoryGrant, VACCINATION_NOTE};
use crate::store::{
    HistoryVersion, KeptVaccinations, NewDocument, NewSubmission, NewVaccination, StoreError, Transaction, hex,
    made_key,
};

/// Bytes of what a note says, at most: each history of the record repeats it.
const MOST_FACTS: usize = 16 << 10;
/// Reactions, and translations of the vaccine's code, at most.
const MOST_ITEMS: usize = 20;

/// Judges a note (EX_2.1-2010, 2020, 2030).
///
/// # Errors
/// [`Reason::InvalidContent`]: no CDA document.
pub(super) fn check(document: &DraftDocument<'_>, findings: &mut Findings) -> Result<(), Refusal> {
    let at = || document.at("content[0].attachment");
    let vaccinations = read(document)?;
    let vaccination = match vaccinations.as_slice() {
        [one] => one,
        [] => {
            findings.strict(at(), "a vaccination note has the entry FR-Vaccination (EX_2.1-2010)");
            return Ok(());
        }
        _ => {
            findings.always(at(), "a vaccination note tells of one vaccination (EX_2.1-2010)");
            return Ok(());
        }
    };
    if vaccination.id.len() != 36 || Uuid::try_parse(&vaccination.id).is_err() {
        findings.always(at(), "the id of the vaccination is a UUID (EX_2.1-2030)");
    }
    if vaccination.day().is_empty() {
        findings.strict(at(), "the day of the vaccination is missing");
    }
    let lists = [vaccination.reactions.len(), vaccination.translations.len()];
    let long = serde_json::to_string(vaccination).map_or(usize::MAX, |facts| facts.len()) > MOST_FACTS;
    if long || lists.iter().any(|length| *length > MOST_ITEMS) {
        findings.always(at(), "what the note says of the vaccination is too long for a history");
    }
    let performer = vaccination.performer.as_ref().and_then(|performer| performer.id.as_ref());
    match performer {
        Some(performer) if !performer.extension.is_empty() && !document.names_author(&performer.extension) => {
            findings.strict(document.at("author"), "who vaccinated is among the authors (EX_2.1-2020)");
        }
        _ => {}
    }
    Ok(())
}

fn read(document: &DraftDocument<'_>) -> Result<Vec<Vaccination>, Refusal> {
    Vaccination::read_all(&document.content).map_err(|fault| {
        Refusal::at(Reason::InvalidContent, document.at("content[0].attachment"), fault.to_string())
    })
}

/// What is kept of a document that is a note, and of no other.
pub(super) fn of_note(
    document: &DraftDocument<'_>,
    new: &NewDocument,
) -> Result<Option<NewVaccination>, Failure> {
    if new.type_code != VACCINATION_NOTE || Media::of(media::bare(&new.content_type)) != Some(Media::Cda) {
        return Ok(None);
    }
    let Some(vaccination) = read(document)?.into_iter().next() else { return Ok(None) };
    Ok(Some(NewVaccination {
        document_id: new.id.clone(),
        record_id: new.record_id.clone(),
        vaccine: vaccination.cis().to_owned(),
        day: vaccination.day().to_owned(),
        facts: serde_json::to_string(&vaccination).map_err(Failure::internal)?,
    }))
}

/// The refusal of a note of what the record has a note of.
pub(super) fn known(submission: &NewSubmission, document_id: &str) -> Refusal {
    let of = submission.vaccinations.iter().find(|new| new.document_id == document_id);
    let (vaccine, day) = of.map_or(("", ""), |new| (new.vaccine.as_str(), new.day.as_str()));
    let why = format!("the record has a note of the vaccine {vaccine} (CIS) on {day}");
    Refusal::at(Reason::VaccinationKnown, "DocumentReference.content[0].attachment", why)
        .by("DMPFragmentCVAError: a vaccination is noted once")
}

/// Makes the history of a record anew, where its current notes say something else than the history that stands.
///
/// # Errors
/// The database's; a fault of ours, with its cause.
pub(in crate::operations) fn renew(
    call: &Call,
    transaction: &mut Transaction<'_>,
    grant: &HistoryGrant,
) -> Result<(), StoreError> {
    let Some(kept) = transaction.vaccinations(grant, call.services.store.vault(), call.now())? else {
        return Ok(());
    };
    let facts = match &kept.facts {
        Ok(facts) => facts.clone(),
        // Nobody is kept from feeding or deleting a note by what can be read of the others. What the history says of them is not known.
        Err(why) => {
            tracing::error!(why, "a vaccination history is not made anew: it ends");
            Vec::new()
        }
    };
    if facts.is_empty() {
        return match &kept.current {
            Some(current) => transaction.end_history(grant, current, call.now()),
            None => Ok(()),
        };
    }
    let digests: Vec<String> =
        facts.iter().map(|facts| hex(digest::digest(&digest::SHA256, facts.as_bytes()).as_ref())).collect();
    let made_of = digests.join(" ");
    if kept.current.as_ref().is_some_and(|current| current.made_of == made_of) {
        return Ok(());
    }
    // A history that tells of what is not there any more does not stay behind as an older version.
    let tells_no_more = |current: &HistoryVersion| {
        current.made_of.split(' ').any(|told| !digests.iter().any(|digest| digest == told))
    };
    let replaced = kept.current.as_ref().filter(|current| !tells_no_more(current));
    let (submission, bytes) = match made(call, &kept, &facts, replaced, grant, made_of) {
        Ok(made) => made,
        // The notes are what counts: nobody is kept from feeding or deleting one because of what is made of them.
        Err(failure) => {
            tracing::error!(%failure, "a vaccination history is not made anew");
            return match kept.current.as_ref().filter(|current| tells_no_more(current)) {
                Some(current) => transaction.end_history(grant, current, call.now()),
                None => Ok(()),
            };
        }
    };
    if let Some(current) = kept.current.as_ref().filter(|current| tells_no_more(current)) {
        transaction.end_history(grant, current, call.now())?;
    }
    let key = transaction.history_key(grant, call.services.store.vault())?;
    transaction.renew_history(grant, submission, &bytes, &key, &kept, replaced)
}

fn made(
    call: &Call,
    kept: &KeptVaccinations,
    facts: &[String],
    replaced: Option<&HistoryVersion>,
    grant: &HistoryGrant,
    made_of: String,
) -> Result<(NewSubmission, Vec<u8>), Failure> {
    let vaccinations: Vec<Vaccination> = facts
        .iter()
        .map(|facts| serde_json::from_str(facts))
        .collect::<Result<_, _>>()
        .map_err(Failure::internal)?;
    let bare = |id: &str| id.strip_prefix("urn:oid:").unwrap_or(id).to_owned();
    let (id, set_id) = (oid_of(&call.services.environment.next_id())?, oid_of(grant.record_id())?);
    let replaces = replaced.map(|replaced| bare(&replaced.unique_id));
    let patient = &kept.patient;
    let xml = vaccination_history(
        &Head {
            id: &id,
            set_id: &set_id,
            version: kept.versions + 1,
            replaces: replaces.as_deref(),
            at: &hl7_time(call.at()?),
            ins: (&bare(&patient.ins_system), &patient.ins_value),
            family: &patient.family_name,
            given: &patient.given_name,
            gender: &patient.gender,
            birth_date: &patient.birth_date,
        },
        &vaccinations,
    );
    let text = generated::described(xml.as_bytes(), "text/xml", &call.services.codes, call.now())?;
    let draft = Draft::of_document(&text)?;
    let ins = (patient.ins_system.clone(), patient.ins_value.clone());
    let ids = Ids::draw(call, draft.documents.len());
    let mut submission = submission(call, &draft, &Owner::server(grant, KEEPER.1), &ins, &ids)?;
    for new in &mut submission.documents {
        new.body_key = made_key(&new.binary_id);
        new.fed_as.clone_from(&made_of);
    }
    Ok((submission, xml.into_bytes()))
}

/// A UUID as an OID (ITU-T X.667: below 2.25).
fn oid_of(uuid: &str) -> Result<String, Failure> {
    let uuid = Uuid::parse_str(uuid).map_err(Failure::internal)?;
    Ok(format!("2.25.{}", uuid.as_u128()))
}

/// A `TS` of HL7 v3.
fn hl7_time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y%m%d%H%M%S+0000").to_string()
}
