//! The cases that are decided: callers, records and documents, one for each value that counts.

use habilis::identity::scope::Scopes;
use habilis::identity::{AccessMode, Actor, Authentication, Caller, CpaProfile, Profession, Session};
use habilis::rights::{
    Authorisation, Basis, DocumentFacts, DocumentStatus, Labels, RecordFacts, RecordState, Relation,
};

use super::reference::{self, ActorKind, Depositor, Document, Situation};

pub const ME: &str = "810100000016";
pub const STRUCTURE: &str = "1750000010";
pub const READABLE: &str = "11488-4";

fn professional(profession: &str, speciality: &str) -> Actor {
    Actor::Professional {
        id: ME.into(),
        profession: Profession::new(profession),
        specialities: vec![speciality.to_owned()],
        in_training: false,
    }
}

fn named(role: &str) -> Actor {
    Actor::NamedStaff { id: ME.into(), role: role.into() }
}

/// The caller of a kind. Establishments' people act for their structure.
pub fn caller(kind: ActorKind, mode: reference::Mode, secret: bool) -> Caller {
    let reinforced = Authentication::IndirectReinforced;
    let (actor, authentication) = match kind {
        ActorKind::Professional => (professional("60", "X"), Authentication::Card),
        ActorKind::Doctor => (professional("10", "SM26"), Authentication::Card),
        ActorKind::OccupationalDoctor => (professional("10", "SM25"), Authentication::Card),
        ActorKind::Staff => (Actor::Staff { id: ME.into(), structure: STRUCTURE.into() }, Authentication::Card),
        ActorKind::Support => {
            (Actor::AuthorisedStaff { id: ME.into(), profile: CpaProfile::HostDoctor }, Authentication::Card)
        }
        ActorKind::Indirect => (professional("10", "SM26"), Authentication::Indirect),
        ActorKind::AirProfessional => (professional("60", "X"), reinforced),
        ActorKind::AirDoctor => (professional("10", "SM26"), reinforced),
        ActorKind::AirOccupationalDoctor => (professional("10", "SM25"), reinforced),
        ActorKind::AirStaff => (named("SECRETARIAT_MEDICAL^1.2.250.1.213.1.1.4.6"), reinforced),
        ActorKind::AirRoleProfessional => (named("313^1.2.250.1.213.1.6.1.107"), reinforced),
    };
    let structure = match kind {
        ActorKind::Professional | ActorKind::Doctor | ActorKind::OccupationalDoctor | ActorKind::Support => {
            None
        }
        _ => Some(STRUCTURE.to_owned()),
    };
    let session = secret.then(|| session(None));
    let mode = match mode {
        reference::Mode::Normal => AccessMode::Normal,
        reference::Mode::BrisDeGlace => AccessMode::BrisDeGlace,
        reference::Mode::Centre15 => AccessMode::Centre15,
    };
    Caller { authentication, mode, structure, session, ..Caller::by_card(actor) }
}

pub fn session(record: Option<habilis::identity::identifiers::Ins>) -> Session {
    Session {
        id: "s".into(),
        scopes: Scopes::all(),
        record,
        motif: None,
        secret: true,
        single_use: false,
        expires_at: i64::MAX,
    }
}

/// The record of a situation.
pub fn record(situation: &Situation) -> RecordFacts {
    RecordFacts {
        id: "record".into(),
        state: if situation.closed { RecordState::Closed } else { RecordState::Open },
        opposed_to_feeding: situation.opposed_to_feeding,
        opposed_to_bris_de_glace: situation.opposed_to_bris_de_glace,
        opposed_to_centre_15: situation.opposed_to_centre_15,
        all_masked: false,
        masked_open_in_emergencies: situation.masked_open_in_emergencies,
        authorisation: match situation.authorisation {
            reference::Authorisation::None => Authorisation::None,
            reference::Authorisation::Valid => Authorisation::Valid,
            reference::Authorisation::Expired => Authorisation::Expired,
            reference::Authorisation::Blocked => Authorisation::Blocked,
        },
        basis: Basis::Person,
        relation: match situation.relation {
            reference::Relation::None => Relation::None,
            reference::Relation::MedecinTraitant => Relation::MedecinTraitant,
            reference::Relation::EqualRights => Relation::EqualRights,
        },
        birth_date: if situation.minor { "2017-05-19" } else { "1979-03-28" }.parse().ok(),
        attached: situation.attached,
        outside_the_session: situation.other_record,
    }
}

/// The document of a case, as the caller of that kind would have fed it.
pub fn document(kind: ActorKind, document: &Document) -> DocumentFacts {
    // INDIRECTE and staff feed for the structure; what a person feeds under its own name is nobody else's.
    let for_structure = matches!(
        kind,
        ActorKind::Staff | ActorKind::Indirect | ActorKind::AirStaff | ActorKind::AirRoleProfessional
    );
    let (author_id, author_structure) = match document.depositor {
        Depositor::Caller if kind == ActorKind::Indirect => (STRUCTURE, Some(STRUCTURE)),
        Depositor::Caller if for_structure => (ME, Some(STRUCTURE)),
        Depositor::Caller => (ME, None),
        Depositor::CallersStructure => ("3750000010/CPE0009", Some(STRUCTURE)),
        Depositor::Other => ("810100000024", None),
        Depositor::Patient => (habilis::store::PATIENT, None),
    };
    DocumentFacts {
        id: "document".into(),
        record_id: "record".into(),
        type_code: if document.readable_type { READABLE } else { "no such type" }.into(),
        status: match document.status {
            reference::Status::Current => DocumentStatus::Current,
            reference::Status::Superseded => DocumentStatus::Superseded,
            reference::Status::Deleted => DocumentStatus::EnteredInError,
        },
        labels: Labels {
            masked: document.masked,
            invisible_to_patient: document.invisible_to_patient,
            invisible_to_representatives: document.invisible_to_representatives,
        },
        archived: document.archived,
        author_id: author_id.into(),
        author_structure: author_structure.map(str::to_owned),
        by_patient: document.depositor == Depositor::Patient,
        version: 1,
    }
}
