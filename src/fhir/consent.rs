//! `Consent` as TD0.3 uses it: the professional declares that the patient authorised it.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::codes::system;
use super::document_reference::Period;
use super::elements::{Identifier, PatientReference, Reference, end_of, instant, to_instant};
use super::json::{BorrowedText, RawObject, malformed, quoted, set, to_json, unreadable};
use crate::error::{Issue, Reason, Refusal};

/// The elements that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Consent<'a> {
    #[serde(borrow, default)]
    resource_type: BorrowedText<'a>,
    #[serde(borrow, default)]
    status: BorrowedText<'a>,
    /// The patient.
    #[serde(borrow, default)]
    pub patient: Option<Reference<'a>>,
    #[serde(borrow, default, rename = "provision")]
    provision_text: Option<&'a RawValue>,
    #[serde(skip)]
    provision: Option<Provision<'a>>,
    #[serde(borrow, default)]
    modifier_extension: Option<&'a RawValue>,
    #[serde(borrow, default)]
    implicit_rules: Option<&'a RawValue>,
    #[serde(borrow, default)]
    contained: Vec<&'a RawValue>,
}

/// A contained `CareTeam`: the professionals whom R1111-46 deems authorised with the one who declares. What would narrow it (a period, a
/// modifier) is refused rather than kept and granted wide.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CareTeam<'a> {
    #[serde(borrow, default)]
    resource_type: BorrowedText<'a>,
    #[serde(borrow, default)]
    id: BorrowedText<'a>,
    #[serde(borrow, default)]
    status: Option<BorrowedText<'a>>,
    #[serde(borrow, default)]
    participant: Vec<Participant<'a>>,
    #[serde(borrow, default, rename = "name")]
    _name: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "category")]
    _category: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "meta")]
    _meta: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "subject")]
    _subject: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "identifier")]
    _identifier: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "text")]
    _text: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "language")]
    _language: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "managingOrganization")]
    _managing_organization: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Participant<'a> {
    #[serde(borrow, default, rename = "id")]
    _id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    member: Reference<'a>,
    #[serde(borrow, default, rename = "role")]
    _role: Option<&'a RawValue>,
}

/// What a declaration may say. A narrower one (a purpose, a class of data, a nested denial) is refused rather than kept
/// and granted wide.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Provision<'a> {
    #[serde(borrow, default)]
    r#type: BorrowedText<'a>,
    #[serde(borrow, default)]
    actor: Vec<ConsentActor<'a>>,
    #[serde(borrow, default)]
    period: Option<Period<'a>>,
    #[serde(borrow, default, rename = "id")]
    _id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "extension")]
    _extension: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentActor<'a> {
    #[serde(borrow, default)]
    reference: Reference<'a>,
    #[serde(borrow, default, rename = "role")]
    _role: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "id")]
    _id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "extension")]
    _extension: Option<&'a RawValue>,
}

impl<'a> Consent<'a> {
    /// Reads a declaration: `status` active, `provision.type` permit.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`] when it is no Consent, [`Reason::InvalidMetadata`] when it declares something else.
    pub fn read(text: &'a str) -> Result<Self, Refusal> {
        let mut read: Self = serde_json::from_str(text).map_err(|error| unreadable("not a Consent", &error))?;
        if let Some(provision) = read.provision_text {
            let narrower = |error| {
                let diagnostics = format!("not a declaration that can be granted as it says: {error}");
                Refusal::at(Reason::InvalidMetadata, "Consent.provision", diagnostics)
            };
            read.provision = Some(serde_json::from_str(provision.get()).map_err(narrower)?);
        }
        if read.resource_type.0 != "Consent" {
            return Err(malformed("resourceType is not Consent"));
        }
        if read.patient.is_none() {
            return Err(Refusal::at(Reason::MalformedBody, "Consent.patient", "the patient is missing"));
        }
        let mut issues = Vec::new();
        if read.status.0 != "active" {
            issues.push(Issue::at("Consent.status", "a declaration is active"));
        }
        if read.provision.as_ref().is_none_or(|provision| provision.r#type.0 != "permit") {
            issues.push(Issue::at("Consent.provision.type", "a declaration permits"));
        }
        if read.implicit_rules.is_some() {
            issues.push(Issue::at("Consent.implicitRules", "no implicit rules are known here"));
        }
        if read.modifier_extension.is_some() {
            issues.push(Issue::at("Consent.modifierExtension", "no modifier extension is known here"));
        }
        Refusal::of(Reason::InvalidMetadata, issues).map_or(Ok(read), Err)
    }

    /// When the authorisation ends at the latest, microseconds: as declared, and not after `latest`.
    ///
    /// # Errors
    /// [`Reason::InvalidMetadata`]: the period is malformed, over, or not begun.
    pub fn until(&self, now: i64, latest: i64) -> Result<i64, Refusal> {
        const PERIOD: &str = "Consent.provision.period";
        let Some(period) = self.provision.as_ref().and_then(|provision| provision.period.as_ref()) else {
            return Ok(latest);
        };
        let invalid = |diagnostics: String| Refusal::at(Reason::InvalidMetadata, PERIOD, diagnostics);
        if let Some(start) = &period.start
            && instant(&start.0).map_err(invalid)? > now
        {
            return Err(invalid("an authorisation begins when it is declared".into()));
        }
        let Some(end) = &period.end else { return Ok(latest) };
        match end_of(&end.0).map_err(invalid)? {
            end if end <= now => Err(invalid("the period is over".into())),
            end => Ok(end.min(latest)),
        }
    }

    /// The patient.
    ///
    /// # Errors
    /// [`Reason::MalformedBody`] when the reference is of no known form.
    pub fn patient(&'a self) -> Result<PatientReference<'a>, Refusal> {
        let missing = || Refusal::at(Reason::MalformedBody, "Consent.patient", "the patient is missing");
        let reference = self.patient.as_ref().ok_or_else(missing)?;
        PatientReference::read(reference, "Consent.patient")
            .map_err(|issue| Refusal { issues: vec![issue], ..missing() })
    }

    /// The members of the care team that the declaration names: system and identifier of each. `None`: it names no team.
    ///
    /// # Errors
    /// [`Reason::InvalidMetadata`]: a member without an identifier, or more of them than a team has.
    pub fn care_team(&self) -> Result<Option<Vec<(String, String)>>, Refusal> {
        const MOST: usize = 100;
        let actors = self.provision.as_ref().map_or(&[][..], |provision| &provision.actor);
        let [actor] = actors else { return Ok(None) };
        let Some(id) = actor.reference.literal().strip_prefix('#') else { return Ok(None) };
        let invalid = |expression: &'static str, why: &'static str| {
            Err(Refusal::at(Reason::InvalidMetadata, expression, why))
        };
        let [text] = self.contained.as_slice() else {
            return invalid(
                "Consent.contained",
                "a declaration for a care team contains that CareTeam, and nothing else",
            );
        };
        let team: CareTeam<'_> = serde_json::from_str(text.get()).map_err(|error| {
            let why = format!("not a care team that can be authorised as it says: {error}");
            Refusal::at(Reason::InvalidMetadata, "Consent.contained", why)
        })?;
        if team.resource_type.0 != "CareTeam" || team.id.0 != id {
            return invalid("Consent.provision.actor.reference", "no contained CareTeam has this id");
        }
        if team.status.as_ref().is_some_and(|status| status.0 != "active") {
            return invalid("Consent.contained.status", "a care team that is authorised is active");
        }
        if team.participant.len() > MOST {
            return invalid("Consent.contained.participant", "a care team has at most 100 members here");
        }
        let mut members = Vec::new();
        for participant in &team.participant {
            match &participant.member.identifier {
                Some(identifier) if !identifier.value().is_empty() => {
                    members.push((identifier.system().to_owned(), identifier.value().to_owned()));
                }
                _ => return invalid("Consent.contained.participant.member", "a member is named by identifier"),
            }
        }
        Ok(Some(members))
    }

    /// The actor's identifier; none means the caller.
    pub fn actor(&self) -> Option<&Identifier<'a>> {
        let actor = self.provision.as_ref()?.actor.first()?;
        actor.reference.identifier.as_ref()
    }

    /// Whether an actor is named in another way than by its identifier.
    pub fn has_unreadable_actor(&self) -> bool {
        let actors = self.provision.as_ref().map_or(&[][..], |provision| &provision.actor);
        let literal = actors.iter().any(|actor| !actor.reference.literal().is_empty());
        actors.len() > 1 || literal || (actors.len() == 1 && self.actor().is_none())
    }
}

/// A Consent as it stands in a list: an authorisation, a blocking, or what makes somebody médecin traitant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldConsent {
    /// `Consent.id`.
    pub id: String,
    /// The record.
    pub record_id: String,
    /// PS_IdNat or Struct_IdNat.
    pub holder: String,
    /// The holder is a structure.
    pub is_structure: bool,
    /// The holder's name, where it is known.
    pub name: Option<String>,
    /// TRE_G15, where it is known.
    pub profession: Option<String>,
    /// `MEDECIN_TRAITANT`, `DROITS_EQUIVALENTS`; an authorisation has none.
    pub role: Option<&'static str>,
    /// Blocked by the patient.
    pub denied: bool,
    /// Given to the care team.
    pub care_team: bool,
    /// Microseconds.
    pub since: i64,
    /// Microseconds; a status has no end.
    pub until: Option<i64>,
    /// Declared in a secret connection.
    pub secret: bool,
    /// When the holder last did something with the record, microseconds, where that was looked up.
    pub last_action: Option<i64>,
}

const ROLES: &str = "https://interop.esante.gouv.fr/ig/fhir/dmp/CodeSystem/dmp-role-autorisation";

/// When the holder last did something with the record (TD1.6). Ours: the draft guide has none.
const LAST_ACTION: &str = "https://interop.esante.gouv.fr/ig/fhir/dmp/StructureDefinition/dmp-derniere-action";

impl HeldConsent {
    /// Whether it is in force.
    pub fn is_active(&self, now: i64) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    /// The resource. `inactive`: after it was taken back.
    pub fn to_text(&self, now: i64, taken_back: bool) -> String {
        const PROFESSIONS: &str =
            "https://mos.esante.gouv.fr/NOS/TRE_G15-ProfessionSante/FHIR/TRE-G15-ProfessionSante";
        let (kind, holder_system) = match self.is_structure {
            false => ("Practitioner", system::PROFESSIONAL),
            true => ("Organization", system::STRUCTURE),
        };
        let mut reference =
            json!({ "type": kind, "identifier": { "system": holder_system, "value": self.holder } });
        if let Some(name) = &self.name {
            set(&mut reference, "display", name.as_str());
        }
        let role = match (self.role, self.care_team) {
            (Some(role), _) => role,
            (None, true) => "EQUIPE_DE_SOINS",
            (None, false) => "AUTORISATION",
        };
        let mut codings = vec![json!({ "system": ROLES, "code": role })];
        if let Some(profession) = &self.profession {
            codings.push(json!({ "system": PROFESSIONS, "code": profession }));
        }
        let mut period = json!({ "start": to_instant(self.since.max(0)) });
        if let Some(until) = self.until.filter(|until| *until < i64::MAX) {
            set(&mut period, "end", to_instant(until));
        }
        let active = self.is_active(now) && !taken_back;
        let mut consent = json!({
            "resourceType": "Consent",
            "id": self.id,
            "status": if active { "active" } else { "inactive" },
            "scope": scope(),
            "category": category(),
            "patient": { "reference": format!("Patient/{}", self.record_id) },
            "dateTime": to_instant(self.since.max(0)),
            "policyRule": policy_rule(),
            "provision": {
                "type": if self.denied { "deny" } else { "permit" },
                "period": period,
                "actor": [{ "role": { "coding": codings }, "reference": reference }],
            },
        });
        if let Some(at) = self.last_action {
            set(
                &mut consent,
                "extension",
                json!([{ "url": LAST_ACTION, "valueDateTime": to_instant(at.max(0)) }]),
            );
        }
        to_json(&consent)
    }
}

fn scope() -> Value {
    json!({ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] })
}

fn category() -> Value {
    json!([{ "coding": [{ "system": "http://loinc.org", "code": "59284-0" }] }])
}

/// FHIR wants a Consent to say by which policy it is (ppc-1): who is to see the record opts in.
fn policy_rule() -> Value {
    json!({ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN" }] })
}

/// A Consent that was taken back, as far as its answer tells.
pub fn taken_back(id: &str, record_id: &str) -> String {
    to_json(&json!({
        "resourceType": "Consent",
        "id": id,
        "status": "inactive",
        "scope": scope(),
        "category": category(),
        "patient": { "reference": format!("Patient/{record_id}") },
        "policyRule": policy_rule(),
    }))
}

/// The text that is kept and answered: as received, with the server's id and meta, until when it counts, and whom it authorises: `actor`,
/// system and identifier, where it names nobody.
///
/// # Errors
/// [`Reason::MalformedBody`] when the text is no object.
pub fn accepted(
    text: &str,
    id: &str,
    record_id: &str,
    actor: &(&str, &str),
    last_updated: i64,
    until: i64,
) -> Result<String, Refusal> {
    let mut consent = RawObject::parse(text)?;
    let mut provision = RawObject::parse(consent.get("provision").unwrap_or("{}"))?;
    let period = json!({ "start": to_instant(last_updated), "end": to_instant(until) });
    provision.set("period", to_json(&period), Some("type"));
    if provision.get("actor").is_none() {
        let role = json!({ "coding": [{ "system": ROLES, "code": "AUTORISATION" }] });
        let reference = json!({ "identifier": { "system": actor.0, "value": actor.1 } });
        provision.set("actor", to_json(&json!([{ "role": role, "reference": reference }])), Some("period"));
    }
    consent.set("provision", provision.to_text(), None);
    let meta = format!("{{\"versionId\":\"1\",\"lastUpdated\":\"{}\"}}", to_instant(last_updated));
    consent.set("id", quoted(id), Some("resourceType"));
    consent.set("meta", meta, Some("id"));
    consent.set("patient", to_json(&json!({ "reference": format!("Patient/{record_id}") })), Some("category"));
    consent.set("dateTime", quoted(&to_instant(last_updated)), Some("patient"));
    // What R4 wants of every Consent, where the client left it out.
    let said = |consent: &RawObject<'_>, key: &str| consent.get(key).is_some();
    for (key, value, after) in [("scope", scope(), "status"), ("category", category(), "scope")] {
        if !said(&consent, key) {
            consent.set(key, to_json(&value), Some(after));
        }
    }
    if !said(&consent, "policy") && !said(&consent, "policyRule") {
        consent.set("policyRule", to_json(&policy_rule()), Some("dateTime"));
    }
    Ok(consent.to_text())
}
