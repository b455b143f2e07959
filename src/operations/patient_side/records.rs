//! Open, find, read, change, close, reopen and erase a record.

use std::sync::Arc;

use super::super::retention;
use super::{Operation, Outcome, PatientCall, PatientReader, Traced, operation, unknown};
use crate::audit::erased::signed_rule;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::consent::HeldConsent;
use crate::fhir::patient::RecordSummary;
use crate::identity::identifiers::Ins;
use crate::store::{AccessLine, ERASING, NewRecord, NewState, RecordKey, Step, Switches, family_key};

/// Open.
pub const OPEN: Operation = operation("MES open record");
/// Find by INS.
pub const FIND: Operation = operation("MES find record");
/// Read.
pub const READ: Operation = operation("MES read record");
/// Change, close, reopen.
pub const CHANGE: Operation = operation("MES change record");
/// Erase.
pub const ERASE: Operation = operation(ERASING[0]);
/// The history of accesses.
pub const ACCESSES: Operation = operation("MES read accesses");

/// Lines of the history that are shown at once (PDT-INF-527).
const MOST_ACCESSES: i64 = 100;

/// A patient whose record is opened.
#[derive(Clone, Debug)]
pub struct NewPatient {
    /// The INS.
    pub ins: Ins,
    /// Birth name.
    pub family_name: String,
    /// Given names.
    pub given_name: String,
    /// ISO date.
    pub birth_date: String,
    /// `male`, `female`, `unknown`.
    pub gender: String,
    /// FHIR elements telecom, address, contact, as a JSON object.
    pub administrative: String,
    /// Attached to Mon espace santé.
    pub attached: bool,
}

/// A change of a record.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Its state.
    pub state: Option<NewState>,
    /// Its switches.
    pub switches: Switches,
    /// What the patient wants to be told, as a JSON object.
    pub notifications: Option<String>,
}

/// A record and whom the patient made what.
#[derive(Debug)]
pub struct WholeRecord {
    /// The record.
    pub record: RecordSummary,
    /// Authorised, blocked, médecins traitants, with equal rights.
    pub professionals: Vec<HeldConsent>,
}

/// Opens a record.
///
/// # Errors
/// [`Reason::InvalidIns`], [`Reason::RecordExists`], or the store's.
pub async fn open(
    call: &PatientCall,
    patient: NewPatient,
) -> Result<Traced<Result<RecordSummary, Refusal>>, Failure> {
    if !patient.ins.key_is_right() {
        return Err(Refusal::at(Reason::InvalidIns, "ins.valeur", "the key of the INS is wrong").into());
    }
    let record = NewRecord {
        id: call.services.environment.next_id(),
        ins_system: patient.ins.system().to_owned(),
        ins_value: patient.ins.value().to_owned(),
        family_key: family_key(&patient.family_name),
        family_name: patient.family_name,
        given_name: patient.given_name,
        birth_date: patient.birth_date,
        gender: patient.gender,
        administrative: patient.administrative,
        open: true,
        closed_at: None,
        closing_reason: None,
        mon_espace_sante: patient.attached,
        opposed_to_feeding: false,
        opposed_to_bris_de_glace: false,
        opposed_to_centre_15: false,
        masked_open_in_emergencies: false,
        all_masked: false,
        created_at: call.now(),
    };
    let committing = call.clone();
    let work = move |transaction: &mut crate::store::Transaction<'_>| {
        let call = &committing;
        let grant = call.grant();
        let created = transaction.create_record(&grant, &record)?;
        let key = RecordKey::Id(record.id.clone());
        Ok(match transaction.whole_record(&grant, &key)? {
            Some(opened) if created => {
                let trace = call.trace.granted(201, grant.rule(), Some(&record.id), &[]);
                Step { value: Ok(opened), trace, keep: true }
            }
            _ => {
                let refusal = Refusal::new(Reason::RecordExists, "there is a record for this INS")
                    .by("one record a patient");
                let trace = call.trace.failed(&refusal.clone().into(), refusal.reason.status());
                Step { value: Err(refusal), trace, keep: false }
            }
        })
    };
    call.services.store.writer().commit(work).await
}

/// Reads a record, by INS or by our identifier; for a representative without what a professional declared in a secret connection.
///
/// # Errors
/// [`Reason::NotFound`], or the store's.
pub async fn read(
    call: &PatientCall,
    key: RecordKey,
    reader: PatientReader,
) -> Result<Traced<WholeRecord>, Failure> {
    let for_representative = reader == PatientReader::Representative;
    let grant = call.grant();
    let (rule, asking) = (grant.rule().to_owned(), call.clone());
    let found = call
        .services
        .store
        .read(move |store| {
            let Some(record) = store.whole_record(&grant, &key)? else { return Ok(None) };
            asking.admit(reader, &record)?;
            let professionals = store.professionals_of_patient(&grant, &record.id, for_representative)?;
            Ok(Some(WholeRecord { record, professionals }))
        })
        .await?
        .ok_or_else(unknown)?;
    let trace = call.trace.granted(200, &rule, Some(&found.record.id), &[]);
    call.services.store.writer().record(trace, found).await
}

/// Changes a record.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::VersionConflict`], or the store's.
pub async fn change(
    call: &PatientCall,
    id: String,
    if_match: Option<i64>,
    change: Change,
) -> Result<Traced<Result<RecordSummary, Refusal>>, Failure> {
    let now = call.now();
    call.change(id.clone(), if_match, move |transaction, grant, record| {
        match &change.state {
            // Closed already: when and why it was closed stays.
            Some(NewState::Closed { .. }) if !record.open => {}
            Some(NewState::Open) if record.open => {}
            Some(state) => transaction.set_state(grant, &id, state, now)?,
            None => {}
        }
        transaction.set_switches(grant, &id, change.switches)?;
        if let Some(preferences) = &change.notifications {
            transaction.set_notifications(grant, &id, preferences)?;
        }
        Ok(Outcome::Done(Vec::new()))
    })
    .await
}

/// Erases a record: documents, relations and traits are gone; its traces stay.
///
/// # Errors
/// [`Reason::NotFound`], [`Reason::VersionConflict`], or the store's.
pub async fn erase(
    call: &PatientCall,
    id: String,
    if_match: Option<i64>,
) -> Result<Traced<Result<RecordSummary, Refusal>>, Failure> {
    let (now, request_id, signer) =
        (call.now(), call.trace.request_id.clone(), Arc::clone(&call.services.signer));
    let erased = call
        .change_with(id.clone(), if_match, move |transaction, grant, _| {
            let grant = grant.erasure(&id);
            let erased = transaction.erase(&grant, &request_id, now)?;
            let said = format!("{}; {}", grant.rule(), erased.told());
            // Signed: a trace of an erasure cannot be made behind the server's back.
            let rule = signed_rule(&signer, ERASING[0], (&id, &request_id), now, &said);
            Ok(Outcome::With(rule, erased.bodies))
        })
        .await?;
    let mut bodies = Vec::new();
    let erased = erased.map(|erased| {
        erased.map(|(record, of_record)| {
            bodies = of_record.unwrap_or_default();
            record
        })
    });
    retention::remove_bodies(&call.services.store, bodies).await;
    call.services.store.forget_log().await;
    Ok(erased)
}

/// A page of the history of accesses, newest first.
#[derive(Debug)]
pub struct Accesses {
    /// A hundred at most.
    pub lines: Vec<AccessLine>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<i64>,
}

/// The last accesses, newest first, or those before a place. To a representative those of secret connections are not told.
///
/// # Errors
/// [`Reason::NotFound`], or the store's.
pub async fn accesses(
    call: &PatientCall,
    id: String,
    reader: PatientReader,
    before: Option<i64>,
) -> Result<Traced<Accesses>, Failure> {
    let grant = call.grant();
    let (rule, asking) = (grant.rule().to_owned(), call.clone());
    let key = RecordKey::Id(id.clone());
    let lines = call
        .services
        .store
        .read(move |store| {
            let record = store.whole_record(&grant, &key)?.ok_or_else(unknown)?;
            asking.admit(reader, &record)?;
            let representative = reader == PatientReader::Representative;
            let most = MOST_ACCESSES;
            let mut lines = store.accesses(&grant, &record.id, representative, before, most + 1)?;
            let more = i64::try_from(lines.len()).is_ok_and(|found| found > most);
            if more {
                lines.pop();
            }
            let next = lines.last().filter(|_| more).map(|last| last.sequence);
            Ok(Accesses { lines, next })
        })
        .await?;
    let trace = call.trace.granted(200, &rule, Some(&id), &[]);
    call.services.store.writer().record(trace, lines).await
}
