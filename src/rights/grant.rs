//! What the rights layer grants. The fields are private and the constructors are the layer's own: holding one of these
//! values is the proof that a decision was made.

use std::sync::Arc;

use super::decision::Decision;
use super::documents::DocumentAction;
use super::facts::{DocumentFacts, DocumentStatus, Labels, Relation};
use super::matrix::ReadableTypes;

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

/// Which masked documents a scope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskedDocuments {
    /// None.
    None,
    /// Those that the caller fed.
    Own,
    /// All.
    All,
}

/// The documents of one record that one caller may see (TD3.1, TD3.2): the predicate of every query and every read.
#[derive(Clone, Debug)]
pub struct Scope {
    pub(super) record_id: String,
    pub(super) caller_id: String,
    pub(super) readable: Arc<ReadableTypes>,
    pub(super) masked: MaskedDocuments,
    pub(super) all_masked: bool,
    pub(super) hidden: bool,
    pub(super) archived: bool,
    pub(super) superseded: bool,
    pub(super) deleted: bool,
    pub(super) rule: String,
    pub(super) read_rule: String,
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
    Scope:
        /// The record.
        record_id -> str,
        /// PS_IdNat of who asks.
        caller_id -> str,
        /// The types that the matrix opens.
        readable -> ReadableTypes,
        /// Which masked documents.
        masked -> MaskedDocuments,
        /// Every document counts as masked.
        all_masked -> bool,
        /// With those hidden from the patient or the representatives.
        hidden -> bool,
        /// With the archived ones.
        archived -> bool,
        /// With the superseded ones.
        superseded -> bool,
        /// With the deleted ones.
        deleted -> bool,
        /// The rules that decided.
        rule -> str;
    ReadGrant:
        /// The document.
        document_id -> str,
        /// The rule that decided.
        rule -> str;
}

#[cfg(feature = "fault-injection")]
impl Scope {
    /// For the control of the random worlds: a scope that forgets its predicate, for who would filter behind the query.
    #[must_use]
    pub fn forgetful(&self, readable: Arc<ReadableTypes>) -> Self {
        Self {
            readable,
            masked: MaskedDocuments::All,
            hidden: true,
            archived: true,
            superseded: true,
            deleted: true,
            ..self.clone()
        }
    }
}

impl Scope {
    /// Whether the scope holds a document: what `store` says in SQL for many, said for one.
    pub fn admit(&self, document: &DocumentFacts) -> Decision<ReadGrant> {
        match self.outside(document) {
            Some(why) => {
                let why = match why {
                    Outside::Type => format!("{} × {} is not yes", self.readable.rule, document.type_code),
                    other => other.label().to_owned(),
                };
                Decision::Hide { rule: format!("{why}; {}", self.rule) }
            }
            None => {
                let rule = format!("{} × {}", self.read_rule, document.type_code);
                Decision::Permit(ReadGrant { document_id: document.id.clone(), rule })
            }
        }
    }

    /// Why a document is not in the scope.
    pub(super) fn outside(&self, document: &DocumentFacts) -> Option<Outside> {
        if document.record_id != self.record_id {
            return Some(Outside::Record);
        }
        if !self.readable.types.contains(&document.type_code) {
            return Some(Outside::Type);
        }
        let labels = document.labels;
        let own = document.author_id == self.caller_id && !document.by_patient;
        let masked = labels.masked || self.all_masked;
        let closed = match self.masked {
            MaskedDocuments::All => false,
            MaskedDocuments::Own => masked && !own,
            MaskedDocuments::None => masked,
        };
        if closed {
            return Some(Outside::Masked);
        }
        if (labels.invisible_to_patient || labels.invisible_to_representatives) && !self.hidden {
            return Some(Outside::HiddenFromPatient);
        }
        if document.archived && !self.archived {
            return Some(Outside::Archived);
        }
        match document.status {
            DocumentStatus::Superseded if !self.superseded => Some(Outside::Superseded),
            DocumentStatus::EnteredInError if !self.deleted => Some(Outside::Deleted),
            _ => None,
        }
    }
}

/// Why a document is not in a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    Record,
    Type,
    Masked,
    HiddenFromPatient,
    Archived,
    Superseded,
    Deleted,
}

impl Outside {
    const fn label(self) -> &'static str {
        match self {
            Outside::Record => "another record",
            Outside::Type => "type",
            Outside::Masked => "MASQUE_PS",
            Outside::HiddenFromPatient => "hidden from the patient",
            Outside::Archived => "archived",
            Outside::Superseded => "superseded",
            Outside::Deleted => "deleted (parameter reading-deleted-documents = false)",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each switch of a scope hides what it is for: no cell of today's sheets turns some of them off, a later one may.
    #[test]
    fn each_switch_hides_its_own() {
        let readable =
            ReadableTypes { id: String::new(), types: BTreeSet::from(["A".to_owned()]), rule: String::new() };
        let open = Scope {
            record_id: "r".into(),
            caller_id: "me".into(),
            readable: Arc::new(readable),
            masked: MaskedDocuments::All,
            all_masked: false,
            hidden: true,
            archived: true,
            superseded: true,
            deleted: true,
            rule: String::new(),
            read_rule: String::new(),
        };
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
        let labelled = |labels| DocumentFacts { labels, ..plain.clone() };
        let of_status = |status| DocumentFacts { status, ..plain.clone() };
        let masked = labelled(Labels { masked: true, ..Labels::default() });
        let documents = [
            (labelled(Labels { invisible_to_patient: true, ..Labels::default() }), Outside::HiddenFromPatient),
            (
                labelled(Labels { invisible_to_representatives: true, ..Labels::default() }),
                Outside::HiddenFromPatient,
            ),
            (DocumentFacts { archived: true, ..plain.clone() }, Outside::Archived),
            (of_status(DocumentStatus::Superseded), Outside::Superseded),
            (of_status(DocumentStatus::EnteredInError), Outside::Deleted),
            (masked.clone(), Outside::Masked),
        ];
        for (document, why) in &documents {
            assert_eq!(open.outside(document), None, "{why:?}");
            let closed = match why {
                Outside::HiddenFromPatient => Scope { hidden: false, ..open.clone() },
                Outside::Archived => Scope { archived: false, ..open.clone() },
                Outside::Superseded => Scope { superseded: false, ..open.clone() },
                Outside::Deleted => Scope { deleted: false, ..open.clone() },
                _ => Scope { masked: MaskedDocuments::None, ..open.clone() },
            };
            assert_eq!(closed.outside(document), Some(*why));
            assert_eq!(closed.outside(&plain), None, "{why:?}: and nothing else");
        }
        // Masked: the caller's own, or none; the patient's are nobody's own.
        let own = Scope { masked: MaskedDocuments::Own, ..open.clone() };
        let mine = DocumentFacts { author_id: "me".into(), ..masked.clone() };
        assert_eq!((own.outside(&mine), own.outside(&masked)), (None, Some(Outside::Masked)));
        let of_patient = DocumentFacts { by_patient: true, ..mine };
        assert_eq!(own.outside(&of_patient), Some(Outside::Masked));
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
