//! The fixed cards and records of the contract, « sandbox fixtures ».

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::example;
use crate::api::portal::demonstration::PatientShown;
use crate::audit::TraceContext;
use crate::fhir::json::set;
use crate::identity::{Actor, Caller, Profession};
use crate::operations::feed::{self, Form};
use crate::operations::{Call, Services};
use crate::pki::{Holder, HolderKind, Validity};
use crate::rights::{Basis, PatientSideGrant, Relation};
use crate::store::{NewAuthorisation, NewRecord, Step, basis_code, family_key};

pub(super) const PRACTICE: (&str, &str) = ("1750000101", "CABINET DU DR BERNARD");
pub(super) const HOSPITAL: (&str, &str) = ("1750000010", "HOPITAL DE DEMONSTRATION");
pub(super) const SAMU: (&str, &str) = ("1750000028", "SAMU DE DEMONSTRATION");
pub(super) const TEST: &str = "urn:oid:1.2.250.1.213.1.4.10";
/// PS_IdNat of `cps-medecin` and `cps-medecin-b`.
const MEDECIN: &str = "810100000016";
const MEDECIN_B: &str = "810100000024";

/// The cards, by the names of their files.
pub fn holders() -> Vec<(&'static str, Holder)> {
    let professional = |family: &str, given: &str, rpps: &str, profession: u8, title: &str| Holder {
        family: Some(family.into()),
        given: Some(given.into()),
        id: Some(format!("8{rpps}")),
        profession: Some(profession),
        title: Some(title.into()),
        ..Holder::new(HolderKind::Cps)
    };
    let doctor = |family: &str, given: &str, rpps: &str, speciality: &str| Holder {
        specialities: vec![speciality.into()],
        ..professional(family, given, rpps, 10, "Médecin")
    };
    let staff = |kind, (structure, name): (&str, &str)| Holder {
        structure: Some(structure.into()),
        structure_name: Some(name.into()),
        ..Holder::new(kind)
    };
    let organisation = |kind, structure: &str, name: &str, common_name: &str| Holder {
        common_name: Some(common_name.into()),
        ..staff(kind, (structure, name))
    };
    let hospital = |kind, common_name| organisation(kind, HOSPITAL.0, HOSPITAL.1, common_name);
    vec![
        ("cps-medecin", doctor("BERNARD", "CLAIRE", "10100000016", "SM26")),
        ("cps-medecin-b", doctor("PETIT", "HUGO", "10100000024", "SM26")),
        ("cps-dentiste", professional("MOREAU", "LEA", "10100000032", 40, "Chirurgien-Dentiste")),
        ("cps-infirmier", professional("LEROY", "MARC", "10100000040", 60, "Infirmier")),
        ("cps-pharmacien", professional("ROUX", "INES", "10100000057", 21, "Pharmacien")),
        ("cps-sage-femme", professional("FOURNIER", "JULIE", "10100000065", 50, "Sage-Femme")),
        ("cps-kine", professional("GIRARD", "PAUL", "10100000073", 70, "Masseur-Kinésithérapeute")),
        ("cps-medecin-travail", doctor("BONNET", "ANNE", "10100000081", "SM25")),
        ("cps-regulateur", doctor("LAMBERT", "YANN", "10100000099", "SM59")),
        ("cpf-interne", Holder { kind: HolderKind::Cpf, ..doctor("FAURE", "EMMA", "10100000107", "SM26") }),
        (
            "cpe-secretaire",
            Holder {
                family: Some("ROUSSEL".into()),
                given: Some("NADIA".into()),
                id: Some("3750000101/CPE0001".into()),
                ..staff(HolderKind::Cpe, PRACTICE)
            },
        ),
        (
            "cpe-service",
            Holder { id: Some("3750000101/000000018".into()), ..staff(HolderKind::CpeService, PRACTICE) },
        ),
        (
            "cpa-support",
            Holder {
                family: Some("HENRY".into()),
                given: Some("LUC".into()),
                id: Some("500000000029751/CPA0001".into()),
                ..staff(HolderKind::Cpa, ("300000000029751", "SUPPORT DE DEMONSTRATION"))
            },
        ),
        ("org-hopital", hospital(HolderKind::OrganisationClient, "DPI de démonstration")),
        ("org-hopital-sign", hospital(HolderKind::OrganisationSeal, "Cachet de démonstration")),
        ("org-hopital-ssl", hospital(HolderKind::OrganisationServer, "dpi.hopital.example")),
        ("org-samu", organisation(HolderKind::OrganisationClient, SAMU.0, SAMU.1, "Régulation")),
        (
            "org-psc",
            organisation(HolderKind::OrganisationClient, "1750000036", "CENTRE DE SANTE", "LPS avec e-CPS"),
        ),
        (
            "org-mes",
            organisation(HolderKind::OrganisationClient, "1750000044", "MON ESPACE SANTE", "SI patient"),
        ),
        ("cps-revoque", doctor("REVOQUE", "REMI", "10100000115", "SM26")),
        ("cps-expire", Holder { validity: Validity::Over, ..doctor("EXPIRE", "ELSA", "10100000123", "SM26") }),
        ("cps-inconnu", doctor("INCONNU", "IVAN", "10100000131", "SM26")),
    ]
}

/// The API's own certificate.
pub(super) fn server() -> Holder {
    Holder {
        structure: Some("1750000010".into()),
        structure_name: Some("HABILIS".into()),
        common_name: Some("localhost".into()),
        hosts: vec!["localhost".into(), "127.0.0.1".into(), "::1".into()],
        ..Holder::new(HolderKind::OrganisationServer)
    }
}

/// Ourselves, as a client of Pro Santé Connect.
pub(super) fn ourselves() -> Holder {
    Holder {
        structure: Some("1750000010".into()),
        structure_name: Some("HABILIS".into()),
        common_name: Some("Habilis".into()),
        ..Holder::new(HolderKind::OrganisationClient)
    }
}

/// The directory: who exercises where. Those of Pro Santé Connect's stand-in, too.
pub(super) const PROFESSIONALS: &str = "\
810100000016\t10\t1750000101\tSM26
810100000016\t10\t1750000036\tSM26
810100000016\t10\t1750000010\tSM26
810100000024\t10\t\tSM26
810100000032\t40\t
810100000040\t60\t1750000036
810100000057\t21\t1750000036
810100000065\t50\t
810100000073\t70\t
810100000081\t10\t1750000010\tSM25
810100000099\t10\t1750000028\tSM59
";

/// The directory's structures: `1750000051` is a geographic site of the hospital.
pub(super) const STRUCTURES: &str = "\
1750000101\t\tno\tCABINET DU DR BERNARD
1750000010\t\tno\tHOPITAL DE DEMONSTRATION
1750000051\t1750000010\tno\tHOPITAL DE DEMONSTRATION, SITE NORD
1750000028\t\tyes\tSAMU DE DEMONSTRATION
1750000036\t\tno\tCENTRE DE SANTE
1750000044\t\tno\tMON ESPACE SANTE
";

/// The registry of software.
pub(super) const SOFTWARE: &str = "\
DEMO-DMP-0001\tLogiciel de démonstration\t1.0\t\tAlimentation,Consultation\tactif
DEMO-DMP-0002\tAlimenteur de démonstration\t1.0\t\tAlimentation\tactif
DEMO-DMP-0003\tLogiciel suspendu\t1.0\t\tAlimentation,Consultation\tsuspendu
";

/// The SI Mon espace santé of the sandbox, `org-mes`.
pub const PATIENT_SIDE: (&str, &str) = ("1750000044", "SI patient");

/// The patients of the contract, and what each is for. One has no record.
#[rustfmt::skip]
pub static SHOWN: [PatientShown; 13] = [
    PatientShown { ins: "279035121518989", family: "PAT-TROIS", given: "DOMINIQUE", birth_date: "1979-03-28", french: "Ouvert, adulte : le patient des exemples du CI-SIS.", english: "Open, adult: the patient of the CI-SIS samples." },
    PatientShown { ins: "185067599900166", family: "OUVERT", given: "OLIVIER", birth_date: "1985-06-15", french: "Ouvert, sans document, non rattaché à Mon espace santé : un professionnel peut le fermer (TD1.4).", english: "Open, no document, not attached to Mon espace santé: a professional may close it (TD1.4)." },
    PatientShown { ins: "260017599900293", family: "FERME", given: "FRANCINE", birth_date: "1960-01-20", french: "Fermé à la demande du patient.", english: "Closed at the patient's request." },
    PatientShown { ins: "172047599900387", family: "", given: "", birth_date: "", french: "Pas de dossier : un INS valide que nul n'a.", english: "No record: a valid INS that nobody has." },
    PatientShown { ins: "291087599900442", family: "BLOQUANTE", given: "BRIGITTE", birth_date: "1991-08-02", french: "A bloqué cps-medecin-b.", english: "Has blocked cps-medecin-b." },
    PatientShown { ins: "155127599900576", family: "SANSBRIS", given: "SERGE", birth_date: "1955-12-11", french: "S'oppose au bris de glace.", english: "Opposed to bris de glace (emergency access)." },
    PatientShown { ins: "248037599900630", family: "SANSQUINZE", given: "SUZANNE", birth_date: "1948-03-30", french: "S'oppose à l'accès du Centre 15.", english: "Opposed to Centre 15 (regulation)." },
    PatientShown { ins: "163097599900722", family: "URGENT", given: "ULYSSE", birth_date: "1963-09-07", french: "Ses documents masqués s'ouvrent en urgence ; il y en a un.", english: "Masked documents open in emergencies; there is one." },
    PatientShown { ins: "217057599900827", family: "MINEURE", given: "MANON", birth_date: "2017-05-19", french: "Mineure, deux représentants légaux : connexion secrète.", english: "Minor, two legal representatives: secret connection." },
    PatientShown { ins: "144027599900963", family: "TRAITE", given: "THEODORE", birth_date: "1944-02-14", french: "Médecin traitant : cps-medecin ; un document masqué par cps-medecin-b.", english: "Médecin traitant: cps-medecin; one document masked by cps-medecin-b." },
    PatientShown { ins: "283117599901088", family: "EXPIREE", given: "ELISE", birth_date: "1983-11-25", french: "L'autorisation de cps-medecin a expiré.", english: "The authorisation of cps-medecin has expired." },
    PatientShown { ins: "159077599901185", family: "OPPOSE", given: "OSCAR", birth_date: "1959-07-03", french: "S'oppose à l'alimentation.", english: "Opposed to feeding." },
    PatientShown { ins: "276067599901258", family: "MASQUEE", given: "MATHILDE", birth_date: "1976-06-21", french: "Tous ses documents sont masqués.", english: "Every document is masked." },
];

/// The records of the contract: INS, family name, given name, birth date.
pub fn records() -> impl Iterator<Item = (&'static str, &'static str, &'static str, &'static str)> {
    SHOWN
        .iter()
        .filter(|patient| !patient.family.is_empty())
        .map(|patient| (patient.ins, patient.family, patient.given, patient.birth_date))
}

/// Open, without documents, not attached to Mon espace santé.
const OUVERT: &str = "185067599900166";
const MINEURE: &str = "217057599900827";

/// Contacts, and the legal representatives of the minor, as FHIR elements of Patient.
fn administrative(ins: &str) -> String {
    let mut elements = json!({
        "address": [{ "line": ["1 rue de l'Essai"], "postalCode": "75001", "city": "PARIS", "country": "FR" }],
        "telecom": [{ "system": "email", "value": "patient@example.org" }],
    });
    if ins == MINEURE {
        let parent = |given: &str| {
            json!({
                "relationship": [{ "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "PRN" }] }],
                "name": { "family": "MINEURE", "given": [given] },
            })
        };
        set(&mut elements, "contact", json!([parent("PAULE"), parent("PIERRE")]));
    }
    elements.to_string()
}

/// First digit of the INS: 1 and 7 are men, 2 and 8 women.
fn gender(ins: &str) -> &'static str {
    match ins.as_bytes().first() {
        Some(b'1' | b'7') => "male",
        Some(b'2' | b'8') => "female",
        _ => "unknown",
    }
}

/// Creates what is not there yet.
pub(super) async fn fill(services: &Arc<Services>, more: Option<&Path>) -> Result<()> {
    let now = services.environment.now().as_microsecond();
    let mut created = Vec::new();
    for (ins, family, given, birth_date) in records() {
        let record = NewRecord {
            open: ins != "260017599900293",
            closed_at: (ins == "260017599900293").then_some(now),
            closing_reason: (ins == "260017599900293").then(|| "DEMANDE_PATIENT".to_owned()),
            opposed_to_feeding: ins == "159077599901185",
            opposed_to_bris_de_glace: ins == "155127599900576",
            opposed_to_centre_15: ins == "248037599900630",
            masked_open_in_emergencies: ins == "163097599900722",
            all_masked: ins == "276067599901258",
            // One record that a professional may close (TD1.4, note 10).
            mon_espace_sante: ins != OUVERT,
            administrative: administrative(ins),
            ..new_record(services, TEST, ins, family, given, birth_date)
        };
        if create(services, record.clone()).await? {
            created.push((ins, record.id));
        }
    }
    for (ins, id) in created {
        match ins {
            "291087599900442" => standing(services, &id, MEDECIN_B, true, i64::MAX).await?,
            "283117599901088" => standing(services, &id, MEDECIN, false, now - 1).await?,
            "144027599900963" => {
                medecin_traitant(services, &id, MEDECIN).await?;
                masked_document(services, ins, "TRAITE").await?;
            }
            "163097599900722" => masked_document(services, ins, "URGENT").await?,
            _ => {}
        }
    }
    match more {
        Some(path) => fill_more(services, path).await,
        None => Ok(()),
    }
}

/// System, value, family name, given name, birth date; tabs between; lines that begin with # are comments.
async fn fill_more(services: &Arc<Services>, path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [system, value, family, given, birth_date] = columns[..] else {
            bail!("{}: not five columns: « {line} »", path.display());
        };
        create(services, new_record(services, system, value, family, given, birth_date)).await?;
    }
    Ok(())
}

pub(super) fn new_record(
    services: &Services,
    system: &str,
    value: &str,
    family: &str,
    given: &str,
    birth_date: &str,
) -> NewRecord {
    NewRecord {
        id: services.environment.next_id(),
        ins_system: system.into(),
        ins_value: value.into(),
        family_name: family.into(),
        given_name: given.into(),
        birth_date: birth_date.into(),
        open: true,
        closed_at: None,
        closing_reason: None,
        mon_espace_sante: true,
        opposed_to_feeding: false,
        opposed_to_bris_de_glace: false,
        opposed_to_centre_15: false,
        masked_open_in_emergencies: false,
        all_masked: false,
        gender: gender(value).into(),
        family_key: family_key(family),
        administrative: "{}".into(),
        created_at: services.environment.now().as_microsecond(),
    }
}

/// The sandbox makes records as the patient's side does.
pub(super) fn patient_side(services: &Services) -> Result<PatientSideGrant> {
    let side = services.patient_side.first().context("no certificate speaks for the patient")?;
    Ok(services.tables.decide_patient_side(&side))
}

/// The trace of what the sandbox itself does.
pub(super) fn trace(services: &Services, operation: &'static str) -> TraceContext {
    let now = services.environment.now().as_microsecond();
    TraceContext::new(now, services.environment.next_id(), operation, "", None, None)
}

pub(super) async fn create(services: &Arc<Services>, record: NewRecord) -> Result<bool> {
    let grant = patient_side(services)?;
    let entry = trace(services, "sandbox: create record").granted(201, "sandbox", Some(&record.id), &[]);
    let created = services
        .store
        .writer()
        .commit(move |transaction| {
            let created = transaction.create_record(&grant, &record)?;
            Ok(Step { value: created, trace: entry.clone(), keep: created })
        })
        .await?;
    Ok(created.into_inner())
}

pub(super) async fn standing(
    services: &Arc<Services>,
    record: &str,
    holder: &str,
    blocked: bool,
    until: i64,
) -> Result<()> {
    let new = NewAuthorisation {
        record_id: record.into(),
        holder: holder.into(),
        blocked,
        since: 0,
        until,
        consent_id: services.environment.next_id(),
        consent: String::new(),
        basis: basis_code(Basis::Person),
        name: None,
        profession: None,
        declared_by: String::new(),
        secret: false,
    };
    let grant = patient_side(services)?;
    let entry = trace(services, "sandbox: patient's decision").granted(200, "sandbox", Some(record), &[]);
    let done = services
        .store
        .writer()
        .commit(move |transaction| {
            transaction.set_standing(&grant, &new)?;
            Ok(Step { value: (), trace: entry.clone(), keep: true })
        })
        .await?;
    done.into_inner();
    Ok(())
}

pub(super) async fn medecin_traitant(services: &Arc<Services>, record: &str, professional: &str) -> Result<()> {
    let (record, professional) = (record.to_owned(), professional.to_owned());
    let context = trace(services, "sandbox: médecin traitant");
    let entry = context.granted(200, "sandbox", Some(&record), &[]);
    let (grant, consent_id) = (patient_side(services)?, services.environment.next_id());
    let done = services
        .store
        .writer()
        .commit(move |transaction| {
            let relation = Relation::MedecinTraitant;
            transaction.name_professional(&grant, &record, &professional, relation, &consent_id, context.at)?;
            Ok(Step { value: (), trace: entry.clone(), keep: true })
        })
        .await?;
    done.into_inner();
    Ok(())
}

/// A document that `cps-medecin-b` fed and masked.
async fn masked_document(services: &Arc<Services>, ins: &str, family: &str) -> Result<()> {
    let unique_id = format!("2.25.1000{ins}");
    let document = example::Example {
        labels: &["N", "MASQUE_PS"],
        author: MEDECIN_B,
        ..example::Example::new(TEST, ins, family, &unique_id)
    };
    let call = call_of(services, MEDECIN_B, "PETIT HUGO", "sandbox: masked document");
    feed::run(&call, Form::Transaction, document.transaction()).await?.into_inner()?;
    Ok(())
}

/// A call that the sandbox makes as a doctor of its own.
pub(super) fn call_of(services: &Arc<Services>, id: &str, name: &str, operation: &'static str) -> Call {
    let caller = Caller {
        name: Some(name.into()),
        ..Caller::by_card(Actor::Professional {
            id: id.into(),
            profession: Profession::new(Profession::DOCTOR),
            specialities: Vec::new(),
            in_training: false,
        })
    };
    let now = services.environment.now().as_microsecond();
    let next_id = services.environment.next_id();
    Call {
        trace: TraceContext::new(now, next_id, operation, "", None, Some(&caller)),
        caller: Arc::new(caller),
        services: Arc::clone(services),
        scopes: None,
    }
}
