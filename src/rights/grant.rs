//! What the rights layer grants. The fields are private and the constructors are the layer's own: holding one of these
//! values is the proof that a decision was made. `scope` has the one that is a predicate.

use super::documents::DocumentAction;
use super::facts::{DocumentFacts, Labels, Relation};

/// May learn that a record exists (TD0.2).
#[derive(Debug)]
pub struct ExistenceGrant {
    pub(super) rule: String,
}

/// May open a session in a mode (TD0.1): what a token is made from.
#[derive(Debug)]
pub struct SessionGrant {
    pub(super) rule: String,
}

/// May declare an authorisation on a record (TD0.3).
#[derive(Debug)]
pub struct DeclarationGrant {
    pub(super) record_id: String,
    pub(super) holder: String,
    pub(super) team: Vec<String>,
    pub(super) rule: String,
}

/// May take back authorisations on a record (TD0.3): those held by itself, or by the structure for which it acts.
#[derive(Debug)]
pub struct RevocationGrant {
    pub(super) record_id: String,
    pub(super) holders: Vec<String>,
    pub(super) rule: String,
}

/// May give up being médecin traitant of a record's holder (TD0.3).
#[derive(Debug)]
pub struct GiveUpGrant {
    pub(super) record_id: String,
    pub(super) professional: String,
    pub(super) rule: String,
}

/// May list the records on which these hold an authorisation (TD0.4).
#[derive(Clone, Debug)]
pub struct OwnRecordsGrant {
    pub(super) holders: Vec<String>,
    pub(super) not_blocked: Vec<String>,
    pub(super) treating: Vec<Relation>,
    pub(super) rule: String,
}

/// May look for a patient without INS (TD0.5): open records of patients who neither opposed it nor blocked the caller.
#[derive(Clone, Debug)]
pub struct IdentitySearchGrant {
    pub(super) holders: Vec<String>,
    pub(super) limit: u32,
    pub(super) rule: String,
}

/// May read the administrative data of a record (TD1.3a).
#[derive(Debug)]
pub struct AdministrativeGrant {
    pub(super) record_id: String,
    pub(super) rule: String,
}

/// May list who is authorised on a record, blocked from it, or médecin traitant (TD1.6).
#[derive(Debug)]
pub struct ProfessionalsGrant {
    pub(super) record_id: String,
    pub(super) rule: String,
}

/// Whose traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TracesOf {
    /// Those of one person: PS_IdNat. What was hidden from him is told as what does not exist.
    Caller(String),
    /// Everybody's.
    Everybody,
}

/// May read traces (ITI-81).
#[derive(Clone, Debug)]
pub struct TracesGrant {
    pub(super) of: TracesOf,
    pub(super) record_id: Option<String>,
    pub(super) rule: String,
}

impl TracesGrant {
    /// Whose.
    pub fn of(&self) -> &TracesOf {
        &self.of
    }

    /// On one record alone.
    pub fn record_id(&self) -> Option<&str> {
        self.record_id.as_deref()
    }

    /// The rule that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }
}

/// May close a record at the patient's request (TD1.4).
#[derive(Debug)]
pub struct ClosureGrant {
    pub(super) record_id: String,
    pub(super) rule: String,
}

/// Whose documents count as one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// Those that this person fed.
    Person(String),
    /// Those that this structure, or staff of it, fed (note 9).
    Structure(String),
}

impl Own {
    /// Whether a document is one's own.
    pub fn holds(&self, document: &DocumentFacts) -> bool {
        match self {
            Own::Person(id) => document.author_id == *id && !document.by_patient,
            Own::Structure(id) => {
                (document.author_structure.as_ref() == Some(id) || document.author_id == *id)
                    && !document.by_patient
            }
        }
    }
}

/// May look up the reference of its own documents, one by one (TD3.1b): without reading right, and cut down.
#[derive(Clone, Debug)]
pub struct References {
    pub(super) record_id: String,
    pub(super) own: Own,
    pub(super) one: bool,
    pub(super) rule: String,
}

/// May change a document: labels, archive, deletion (TD3.3a to d).
#[derive(Debug)]
pub struct UpdateGrant {
    pub(super) record_id: String,
    pub(super) document_id: String,
    pub(super) version: i64,
    pub(super) actions: Vec<DocumentAction>,
    pub(super) rule: String,
}

/// May do what the patient asks, as the SI Mon espace santé.
#[derive(Clone, Debug)]
pub struct PatientSideGrant {
    pub(super) rule: String,
}

/// May feed a record (TD2.1, TD2.2).
#[derive(Debug)]
pub struct FeedGrant {
    pub(super) record_id: String,
    pub(super) author_id: String,
    pub(super) structure: Option<String>,
    pub(super) is_minor: bool,
    pub(super) rule: String,
}

/// May have the vaccination history of a record made anew. Nobody is given it alone: it comes with what changes a note.
#[derive(Debug)]
pub struct HistoryGrant {
    record_id: String,
}

impl FeedGrant {
    /// The history of the record that is fed.
    pub fn vaccination_history(&self) -> HistoryGrant {
        HistoryGrant { record_id: self.record_id.clone() }
    }
}

impl UpdateGrant {
    /// The history of the record whose document changes.
    pub fn vaccination_history(&self) -> HistoryGrant {
        HistoryGrant { record_id: self.record_id.clone() }
    }
}

impl HistoryGrant {
    /// The record.
    pub fn record_id(&self) -> &str {
        &self.record_id
    }
}

/// May replace one document by another (TD2.1 with `relatesTo.code` `replaces`).
#[derive(Debug)]
pub struct ReplaceGrant {
    pub(super) record_id: String,
    pub(super) document_id: String,
    pub(super) version: i64,
    pub(super) keeps: Labels,
    pub(super) rule: String,
}

/// May read the bytes and the metadata of one document (TD3.2).
#[derive(Clone, Debug)]
pub struct ReadGrant {
    pub(super) document_id: String,
    pub(super) rule: String,
}

macro_rules! accessors {
    ($($grant:ident: $($(#[$doc:meta])* $field:ident -> $type:ty),+;)+) => {
        $(impl $grant {
            $($(#[$doc])* pub fn $field(&self) -> &$type { &self.$field })+
        })+
    };
}

accessors! {
    SessionGrant:
        /// The rule that decided.
        rule -> str;
    ExistenceGrant:
        /// The rule that decided.
        rule -> str;
    DeclarationGrant:
        /// The record.
        record_id -> str,
        /// Who is authorised: PS_IdNat, or Struct_IdNat for staff (note 1).
        holder -> str,
        /// Who else is deemed authorised: the other members of the care team, PS_IdNat and Struct_IdNat.
        team -> [String],
        /// The rule that decided.
        rule -> str;
    RevocationGrant:
        /// The record.
        record_id -> str,
        /// PS_IdNat and Struct_IdNat whose authorisation may go.
        holders -> [String],
        /// The rule that decided.
        rule -> str;
    GiveUpGrant:
        /// The record.
        record_id -> str,
        /// PS_IdNat.
        professional -> str,
        /// The rule that decided.
        rule -> str;
    OwnRecordsGrant:
        /// Whose authorisations.
        holders -> [String],
        /// Who must not be blocked: those and the caller himself.
        not_blocked -> [String],
        /// The relations of the holders that count like an authorisation.
        treating -> [Relation],
        /// The rule that decided.
        rule -> str;
    IdentitySearchGrant:
        /// PS_IdNat and Struct_IdNat that must not be blocked.
        holders -> [String],
        /// Hits, at most.
        limit -> u32,
        /// The rule that decided.
        rule -> str;
    AdministrativeGrant:
        /// The record.
        record_id -> str,
        /// The rule that decided.
        rule -> str;
    ProfessionalsGrant:
        /// The record.
        record_id -> str,
        /// The rule that decided.
        rule -> str;
    ClosureGrant:
        /// The record.
        record_id -> str,
        /// The rule that decided.
        rule -> str;
    References:
        /// The record.
        record_id -> str,
        /// Whose documents.
        own -> Own,
        /// Note (5): one reference a look-up.
        one -> bool,
        /// The rule that decided.
        rule -> str;
    UpdateGrant:
        /// The record.
        record_id -> str,
        /// The document.
        document_id -> str,
        /// The version that was decided on.
        version -> i64,
        /// What may be done.
        actions -> [DocumentAction],
        /// The rule that decided.
        rule -> str;
    PatientSideGrant:
        /// The rule that decided.
        rule -> str;
    FeedGrant:
        /// The record.
        record_id -> str,
        /// PS_IdNat of who feeds.
        author_id -> str,
        /// Struct_IdNat to which the deposit is attributed.
        structure -> Option<String>,
        /// The patient is a minor.
        is_minor -> bool,
        /// The rule that decided.
        rule -> str;
    ReplaceGrant:
        /// The record.
        record_id -> str,
        /// The document to be superseded.
        document_id -> str,
        /// The version that was decided on.
        version -> i64,
        /// The labels of the replaced version that stay, whatever the new one says: the caller could not take them off.
        keeps -> Labels,
        /// The rule that decided.
        rule -> str;
    ReadGrant:
        /// The document.
        document_id -> str,
        /// The rule that decided.
        rule -> str;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::facts::DocumentStatus;

    #[test]
    fn what_counts_as_ones_own() {
        let plain = DocumentFacts {
            id: "d".into(),
            record_id: "r".into(),
            type_code: "A".into(),
            status: DocumentStatus::Current,
            labels: Labels::default(),
            archived: false,
            author_id: "other".into(),
            author_structure: None,
            by_patient: false,
            version: 1,
        };
        let structure = DocumentFacts { author_structure: Some("s".into()), ..plain.clone() };
        for (own, document, expected) in [
            (Own::Person("other".into()), &plain, true),
            (Own::Person("me".into()), &plain, false),
            (Own::Structure("s".into()), &structure, true),
            (Own::Structure("other".into()), &structure, true),
            (Own::Structure("t".into()), &structure, false),
            (Own::Structure("s".into()), &DocumentFacts { by_patient: true, ..structure.clone() }, false),
            (Own::Person("other".into()), &DocumentFacts { by_patient: true, ..plain.clone() }, false),
        ] {
            assert_eq!(own.holds(document), expected, "{own:?}");
        }
    }
}
