//! The patient's side, private to the SI Mon espace santé: JSON under `/mes/v1`.
//!
//! Its certificate is on a list of its own (`[patient-side]`). `ETag` carries the version of the record; every change carries it back
//! in `If-Match`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Value, json};

use super::respond::Answer;
use super::{gate, request, respond};
use crate::audit::Traced;
use crate::error::{Failure, Reason, Refusal};
use crate::fhir::consent::HeldConsent;
use crate::fhir::elements::to_instant;
use crate::fhir::json::{malformed, set, to_json};
use crate::fhir::patient::RecordSummary;
use crate::identity::identifiers::Ins;
use crate::operations::patient_side::professionals::{self, Standing};
use crate::operations::patient_side::records::{self, Change, NewPatient};
use crate::operations::patient_side::{PatientCall, PatientReader, documents};
use crate::store::{NewState, RecordKey, Switches};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InsBody {
    systeme: String,
    valeur: String,
}

impl InsBody {
    fn read(&self) -> Result<Ins, Refusal> {
        Ins::new(&self.systeme, &self.valeur)
            .map_err(|error| Refusal::at(Reason::InvalidIns, "ins", error.to_string()))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OpenBody {
    ins: InsBody,
    nom: String,
    prenom: String,
    date_naissance: String,
    #[serde(default)]
    sexe: Option<String>,
    #[serde(default = "attached")]
    rattache: bool,
    #[serde(default)]
    administratif: AdministrativeBody,
}

/// FHIR elements of Patient.
#[derive(Default, Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
struct AdministrativeBody {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    telecom: Vec<serde_json::Map<String, Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    address: Vec<serde_json::Map<String, Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contact: Vec<serde_json::Map<String, Value>>,
}

const fn attached() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FindBody {
    ins: InsBody,
    lecteur: ReaderCode,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReaderCode {
    Titulaire,
    Representant,
}

impl From<ReaderCode> for PatientReader {
    fn from(code: ReaderCode) -> Self {
        match code {
            ReaderCode::Titulaire => PatientReader::Holder,
            ReaderCode::Representant => PatientReader::Representative,
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct ChangeBody {
    etat: Option<StateBody>,
    opposition_alimentation: Option<bool>,
    opposition_bris_de_glace: Option<bool>,
    opposition_centre_15: Option<bool>,
    masques_ouverts_en_urgence: Option<bool>,
    documents_masques: Option<bool>,
    notifications: Option<serde_json::Map<String, Value>>,
}

impl ChangeBody {
    /// `{}` would change nothing but the version.
    const fn is_empty(&self) -> bool {
        self.etat.is_none()
            && self.opposition_alimentation.is_none()
            && self.opposition_bris_de_glace.is_none()
            && self.opposition_centre_15.is_none()
            && self.masques_ouverts_en_urgence.is_none()
            && self.documents_masques.is_none()
            && self.notifications.is_none()
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateBody {
    Ouvert,
    Ferme,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StandingBody {
    statut: StandingCode,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StandingCode {
    Bloque,
    Autorise,
    MedecinTraitant,
    DroitsEquivalents,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DocumentBody {
    masque: Option<bool>,
    archive: Option<bool>,
    supprime: bool,
}

/// A body of the patient's side, by its shape. What it does not know is refused: a switch that is misspelt would stay as it was.
async fn body<T: serde::de::DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<T, Failure> {
    let mut held = request::small_json_body(request, payload).await?;
    let text = held.take();
    serde_json::from_str(&text).map_err(|error| {
        // Where, and not what: a value may be an INS.
        let why = format!(
            "an element is missing, unknown or of another shape (line {}, column {})",
            error.line(),
            error.column()
        );
        malformed(&why).into()
    })
}

/// A name as it is shown in software everywhere: some characters that can be seen, and not many.
fn name(element: &'static str, name: String) -> Result<String, Refusal> {
    let name = name.trim();
    let fits = (1..=100).contains(&name.chars().count());
    let shown = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    if fits && name.chars().all(shown) {
        return Ok(name.to_owned());
    }
    Err(Refusal::at(
        Reason::MalformedBody,
        element,
        "a name has 1 to 100 characters, each of which can be seen",
    ))
}

/// A day, not in the future: who is a minor is told by it.
fn birth_date(text: &str, now: i64) -> Result<String, Refusal> {
    let day: Option<jiff::civil::Date> =
        text.parse().ok().filter(|day: &jiff::civil::Date| day.to_string() == text);
    let today = to_instant(now);
    match day {
        Some(day) if today.get(..10).is_some_and(|today| *day.to_string() <= *today) => Ok(day.to_string()),
        _ => Err(Refusal::at(
            Reason::MalformedBody,
            "dateNaissance",
            "a date of birth is a day that has been, 1979-03-28",
        )),
    }
}

/// What names something in a path. What cannot be an identifier names nothing.
fn path_id(id: String) -> Result<String, Refusal> {
    match id.is_empty() || id.len() > 128 || id.contains('\0') {
        false => Ok(id),
        true => Err(Refusal::new(Reason::NotFound, "no such resource").by("no such identifier")),
    }
}

fn summary(record: &RecordSummary) -> Value {
    let mut value = json!({
        "id": record.id,
        "version": record.version,
        "ins": { "systeme": record.ins_system, "valeur": record.ins_value },
        "nom": record.family_name,
        "prenom": record.given_name,
        "dateNaissance": record.birth_date,
        "sexe": record.gender,
        "etat": if record.open { "ouvert" } else { "ferme" },
        "rattache": record.mon_espace_sante,
        "oppositionAlimentation": record.opposed_to_feeding,
        "oppositionBrisDeGlace": record.opposed_to_bris_de_glace,
        "oppositionCentre15": record.opposed_to_centre_15,
        "masquesOuvertsEnUrgence": record.masked_open_in_emergencies,
        "documentsMasques": record.all_masked,
    });
    if let Some(closed_at) = record.closed_at {
        set(&mut value, "fermeLe", to_instant(closed_at));
    }
    if let Some(reason) = &record.closing_reason {
        set(&mut value, "motifFermeture", reason.as_str());
    }
    value
}

fn professional(held: &HeldConsent, now: i64) -> Value {
    let status = match (held.role, held.denied, held.is_active(now)) {
        (Some("MEDECIN_TRAITANT"), ..) => "medecin_traitant",
        (Some(_), ..) => "droits_equivalents",
        (None, true, _) => "bloque",
        (None, false, true) => "autorise",
        (None, false, false) => "expire",
    };
    let mut value = json!({
        "id": held.holder,
        "statut": status,
        "equipeDeSoins": held.care_team,
        "depuis": to_instant(held.since.max(0)),
    });
    if let Some(name) = &held.name {
        set(&mut value, "nom", name.as_str());
    }
    if let Some(until) = held.until.filter(|until| *until < i64::MAX) {
        set(&mut value, "jusqua", to_instant(until));
    }
    value
}

fn answer(status: u16, record: &RecordSummary, value: &Value) -> Answer {
    Answer::json(status, to_json(value)).with(header::ETAG, format!("W/\"{}\"", record.version))
}

fn changed(call: &PatientCall, result: Traced<Result<RecordSummary, Refusal>>) -> Traced<Answer> {
    let request_id = call.trace.request_id.clone();
    result.map(|result| match result {
        Ok(record) => answer(200, &record, &summary(&record)),
        Err(refusal) => respond::failure(&refusal.into(), &request_id),
    })
}

/// `lecteur=titulaire|representant`.
fn reader(request: &HttpRequest) -> Result<PatientReader, Refusal> {
    reader_of(request::query(request)?)
}

fn reader_of(parameters: request::Parameters) -> Result<PatientReader, Refusal> {
    let mut reader = None;
    for (name, value) in parameters {
        reader = match (name.as_str(), value.as_str(), reader) {
            ("lecteur", "titulaire", None) => Some(PatientReader::Holder),
            ("lecteur", "representant", None) => Some(PatientReader::Representative),
            _ => return Err(super::search_parameters::invalid(&name, "lecteur is titulaire or representant")),
        };
    }
    reader.ok_or_else(|| {
        // Whoever does not say who reads would be shown too much.
        Refusal::at(Reason::MissingSearchParameter, "lecteur", "lecteur is titulaire or representant")
    })
}

/// Open a record.
#[utoipa::path(
    post, path = "/mes/v1/dossiers", tag = "Mon espace santé", operation_id = "mesOpenRecord",
    request_body(content = super::openapi::Claims, content_type = "application/json", description = "ins {systeme, valeur}, nom, prenom, dateNaissance, sexe, rattache, administratif"),
    responses(
        (status = 201, description = "Opened; ETag is the version", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 408, response = super::openapi::Outcome),
        (status = 409, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn open(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    gate::serve_patient_side(&request, records::OPEN, async |call| {
        let body: OpenBody = body(&request, payload).await?;
        let birth_date = birth_date(&body.date_naissance, call.trace.at)?;
        let gender = body.sexe.unwrap_or_else(|| "unknown".to_owned());
        if !["male", "female", "unknown"].contains(&gender.as_str()) {
            return Err(Refusal::at(Reason::MalformedBody, "sexe", "male, female or unknown").into());
        }
        let patient = NewPatient {
            ins: body.ins.read()?,
            family_name: name("nom", body.nom)?,
            given_name: name("prenom", body.prenom)?,
            birth_date,
            gender,
            administrative: to_json(&body.administratif),
            attached: body.rattache,
        };
        let opened = records::open(&call, patient).await?;
        let request_id = call.trace.request_id.clone();
        Ok(opened.map(|opened| match opened {
            Ok(record) => answer(201, &record, &summary(&record)),
            Err(refusal) => respond::failure(&refusal.into(), &request_id),
        }))
    })
    .await
}

/// Find a record by INS.
#[utoipa::path(
    post, path = "/mes/v1/dossiers/recherche", tag = "Mon espace santé", operation_id = "mesFindRecord",
    request_body(content = super::openapi::Claims, content_type = "application/json", description = "ins {systeme, valeur}, lecteur (titulaire, representant)"),
    responses(
        (status = 200, description = "The record and its professionals", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 413, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn find(request: HttpRequest, payload: web::Payload) -> HttpResponse {
    gate::serve_patient_side(&request, records::FIND, async |call| {
        let body: FindBody = body(&request, payload).await?;
        whole(&call, RecordKey::Ins(body.ins.read()?), body.lecteur.into()).await
    })
    .await
}

/// Read a record.
#[utoipa::path(
    get, path = "/mes/v1/dossiers/{id}", tag = "Mon espace santé", operation_id = "mesReadRecord",
    params(("id" = String, Path, description = "The record"), ("lecteur" = String, Query, description = "titulaire or representant")),
    responses(
        (status = 200, description = "The record and its professionals", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn read(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve_patient_side(&request, records::READ, async |call| {
        let reader = reader(&request)?;
        whole(&call, RecordKey::Id(path_id(id.into_inner())?), reader).await
    })
    .await
}

async fn whole(call: &PatientCall, key: RecordKey, reader: PatientReader) -> Result<Traced<Answer>, Failure> {
    let now = call.trace.at;
    let found = records::read(call, key, reader).await?;
    Ok(found.map(|found| {
        let mut value = summary(&found.record);
        let professionals = found.professionals.iter().map(|held| professional(held, now));
        set(&mut value, "professionnels", professionals.collect::<Vec<Value>>());
        answer(200, &found.record, &value)
    }))
}

/// Change a record: close, reopen, oppose, mask all, choose notices.
#[utoipa::path(
    patch, path = "/mes/v1/dossiers/{id}", tag = "Mon espace santé", operation_id = "mesChangeRecord",
    params(("id" = String, Path, description = "The record"), ("If-Match" = String, Header, description = "Version that is meant")),
    request_body(content = super::openapi::Claims, content_type = "application/json", description = "etat (ouvert, ferme), oppositionAlimentation, oppositionBrisDeGlace, oppositionCentre15, masquesOuvertsEnUrgence, documentsMasques, notifications"),
    responses(
        (status = 200, description = "The record", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 412, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn change(request: HttpRequest, id: web::Path<String>, payload: web::Payload) -> HttpResponse {
    gate::serve_patient_side(&request, records::CHANGE, async |call| {
        let if_match = request::if_match(&request)?;
        let body: ChangeBody = body(&request, payload).await?;
        if body.is_empty() {
            return Err(malformed("a change says what changes").into());
        }
        let change = Change {
            state: body.etat.map(|state| match state {
                StateBody::Ouvert => NewState::Open,
                StateBody::Ferme => NewState::Closed { reason: "DEMANDE_PATIENT".to_owned() },
            }),
            switches: Switches {
                opposed_to_feeding: body.opposition_alimentation,
                opposed_to_bris_de_glace: body.opposition_bris_de_glace,
                opposed_to_centre_15: body.opposition_centre_15,
                masked_open_in_emergencies: body.masques_ouverts_en_urgence,
                all_masked: body.documents_masques,
            },
            notifications: body.notifications.map(|preferences| to_json(&preferences)),
        };
        Ok(changed(&call, records::change(&call, path_id(id.into_inner())?, if_match, change).await?))
    })
    .await
}

/// Erase a record. What was in it is gone; its traces stay.
#[utoipa::path(
    delete, path = "/mes/v1/dossiers/{id}", tag = "Mon espace santé", operation_id = "mesEraseRecord",
    params(("id" = String, Path, description = "The record"), ("If-Match" = String, Header, description = "Version that is meant")),
    responses(
        (status = 200, description = "Erased", content_type = "application/json", body = super::openapi::Claims),
        (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 412, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn erase(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve_patient_side(&request, records::ERASE, async |call| {
        let if_match = request::if_match(&request)?;
        let id = path_id(id.into_inner())?;
        let request_id = call.trace.request_id.clone();
        let erased = records::erase(&call, id.clone(), if_match).await?;
        Ok(erased.map(|erased| match erased {
            Ok(_) => Answer::json(200, to_json(&json!({ "id": id, "etat": "efface" }))),
            Err(refusal) => respond::failure(&refusal.into(), &request_id),
        }))
    })
    .await
}

/// Say what a professional is: blocked, authorised, médecin traitant, with equal rights.
#[utoipa::path(
    put, path = "/mes/v1/dossiers/{id}/professionnels/{professionnel}", tag = "Mon espace santé", operation_id = "mesSetProfessional",
    params(("id" = String, Path, description = "The record"), ("professionnel" = String, Path, description = "PS_IdNat; Struct_IdNat to block or authorise"), ("If-Match" = String, Header, description = "Version that is meant")),
    request_body(content = super::openapi::Claims, content_type = "application/json", description = "statut: bloque, autorise, medecin_traitant, droits_equivalents"),
    responses(
        (status = 200, description = "The record", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 412, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 422, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn set_professional(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> HttpResponse {
    gate::serve_patient_side(&request, professionals::SET, async |call| {
        let if_match = request::if_match(&request)?;
        let (id, professional) = path.into_inner();
        let body: StandingBody = body(&request, payload).await?;
        let standing = match body.statut {
            StandingCode::Bloque => Standing::Blocked,
            StandingCode::Autorise => Standing::Authorised,
            StandingCode::MedecinTraitant => Standing::MedecinTraitant,
            StandingCode::DroitsEquivalents => Standing::EqualRights,
        };
        let (id, professional) = (path_id(id)?, path_id(professional)?);
        Ok(changed(&call, professionals::set(&call, id, if_match, professional, standing).await?))
    })
    .await
}

/// Take back what was said of a professional.
#[utoipa::path(
    delete, path = "/mes/v1/dossiers/{id}/professionnels/{professionnel}", tag = "Mon espace santé", operation_id = "mesForgetProfessional",
    params(("id" = String, Path, description = "The record"), ("professionnel" = String, Path, description = "PS_IdNat or Struct_IdNat"), ("lecteur" = String, Query, description = "titulaire or representant"), ("If-Match" = String, Header, description = "Version that is meant")),
    responses(
        (status = 200, description = "The record", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome), (status = 403, response = super::openapi::Outcome),
        (status = 404, response = super::openapi::Outcome), (status = 412, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn forget_professional(request: HttpRequest, path: web::Path<(String, String)>) -> HttpResponse {
    gate::serve_patient_side(&request, professionals::FORGET, async |call| {
        let if_match = request::if_match(&request)?;
        let reader = reader(&request)?;
        let (id, professional) = path.into_inner();
        let (id, professional) = (path_id(id)?, path_id(professional)?);
        Ok(changed(&call, professionals::forget(&call, id, if_match, professional, reader).await?))
    })
    .await
}

/// List the documents, as the holder or a representative may see them.
#[utoipa::path(
    get, path = "/mes/v1/dossiers/{id}/documents", tag = "Mon espace santé", operation_id = "mesListDocuments",
    params(("id" = String, Path, description = "The record"), ("lecteur" = String, Query, description = "titulaire or representant")),
    responses(
        (status = 200, description = "Documents", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn list_documents(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve_patient_side(&request, documents::LIST, async |call| {
        let reader = reader(&request)?;
        let listed = documents::list(&call, path_id(id.into_inner())?, reader).await?;
        Ok(listed.map(|listed| {
            let documents: Vec<Value> = listed
                .iter()
                .map(|document| {
                    json!({
                        "id": document.id,
                        "type": document.type_code,
                        "statut": document.status,
                        "masque": document.masked,
                        "invisibleRepresentants": document.invisible_to_representatives,
                        "archive": document.archived,
                        "deposeParLePatient": document.author_id == crate::store::PATIENT,
                        "auteur": document.author_id,
                        "deposeLe": to_instant(document.created_at),
                    })
                })
                .collect();
            Answer::json(200, to_json(&json!({ "total": documents.len(), "documents": documents })))
        }))
    })
    .await
}

/// Mask a document, or make it readable again; archive or delete what the patient deposited.
#[utoipa::path(
    patch, path = "/mes/v1/dossiers/{id}/documents/{document}", tag = "Mon espace santé", operation_id = "mesChangeDocument",
    params(("id" = String, Path, description = "The record"), ("document" = String, Path, description = "DocumentReference.id"), ("lecteur" = String, Query, description = "titulaire or representant"), ("If-Match" = String, Header, description = "Version of the record that is meant")),
    request_body(content = super::openapi::Claims, content_type = "application/json", description = "masque, archive, supprime"),
    responses(
        (status = 200, description = "The record", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 408, response = super::openapi::Outcome), (status = 412, response = super::openapi::Outcome),
        (status = 413, response = super::openapi::Outcome), (status = 422, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn change_document(
    request: HttpRequest,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> HttpResponse {
    gate::serve_patient_side(&request, documents::CHANGE, async |call| {
        let if_match = request::if_match(&request)?;
        let reader = reader(&request)?;
        let (id, document) = path.into_inner();
        let (id, document) = (path_id(id)?, path_id(document)?);
        let body: DocumentBody = body(&request, payload).await?;
        let says = body.masque.is_some() || body.archive.is_some();
        if says == body.supprime {
            return Err(malformed("a change masks or archives, or else deletes").into());
        }
        let change = documents::Change { masked: body.masque, archived: body.archive, deleted: body.supprime };
        Ok(changed(&call, documents::change(&call, id, if_match, document, change, reader).await?))
    })
    .await
}

/// The last hundred accesses; to a representative without those of secret connections. `suite`, from the answer before, gives the next hundred, and so
/// on to the first.
#[utoipa::path(
    get, path = "/mes/v1/dossiers/{id}/traces", tag = "Mon espace santé", operation_id = "mesReadAccesses",
    params(("id" = String, Path, description = "The record"), ("lecteur" = String, Query, description = "titulaire or representant"), ("suite" = Option<i64>, Query, description = "from the page before")),
    responses(
        (status = 200, description = "Accesses, newest first", content_type = "application/json", body = super::openapi::Claims),
        (status = 400, response = super::openapi::Outcome), (status = 401, response = super::openapi::Outcome),
        (status = 403, response = super::openapi::Outcome), (status = 404, response = super::openapi::Outcome),
        (status = 503, response = super::openapi::Outcome),
    )
)]
pub async fn accesses(request: HttpRequest, id: web::Path<String>) -> HttpResponse {
    gate::serve_patient_side(&request, records::ACCESSES, async |call| {
        let mut parameters = request::query(&request)?;
        let place = parameters.iter().position(|(name, _)| name == "suite");
        let before = match place.map(|place| parameters.remove(place).1.parse()) {
            Some(Err(_)) => return Err(super::search_parameters::invalid("suite", "not a number").into()),
            Some(Ok(before)) => Some(before),
            None => None,
        };
        let reader = reader_of(parameters)?;
        let accesses = records::accesses(&call, path_id(id.into_inner())?, reader, before).await?;
        Ok(accesses.map(|accesses| {
            let lines: Vec<Value> = accesses
                .lines
                .iter()
                .map(|line| {
                    json!({
                        "le": to_instant(line.at),
                        "action": line.operation,
                        "acteur": line.caller_id,
                        "type": line.caller_kind,
                        "structure": line.caller_structure,
                        "mode": line.mode,
                        "motif": line.motif,
                        "resultat": line.outcome,
                    })
                })
                .collect();
            Answer::json(
                200,
                to_json(&json!({ "total": lines.len(), "traces": lines, "suite": accesses.next })),
            )
        }))
    })
    .await
}
