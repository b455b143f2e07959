//! Which documents of a record a caller may see: the grant that is a predicate.

use std::borrow::Cow;
use std::sync::Arc;

use jiff::Timestamp;

use super::decision::{Decision, Tables, Towards};
use super::facts::{DocumentFacts, DocumentStatus, RecordFacts};
use super::functional::{Action, ActorCategory, Allowance};
use super::grant::ReadGrant;
use super::matrix::ReadableTypes;
use crate::error::Refusal;
use crate::identity::{AccessMode, Caller};

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

/// What a caller sees of a record, whichever it is: the part of a [`Scope`] of which the predicate is made. It opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    caller_id: String,
    readable: Arc<ReadableTypes>,
    masked: MaskedDocuments,
    all_masked: bool,
    hidden: bool,
    archived: bool,
    superseded: bool,
    deleted: bool,
}

/// The documents of one record that one caller may see (TD3.1, TD3.2): the predicate of every query and every read.
#[derive(Clone, Debug)]
pub struct Scope {
    record_id: String,
    sight: Sight,
    rule: String,
    read_rule: String,
}

impl Tables {
    /// TD3.1, TD3.2: which documents of the record the caller may see.
    pub fn decide_scope(&self, caller: &Caller, record: &RecordFacts, now: Timestamp) -> Decision<Scope> {
        scope(&self.towards(caller, record, now)).into()
    }
}

/// What a caller sees, and the rules that say so.
pub(super) struct Seen<'a> {
    pub(super) sight: Sight,
    searching: &'a str,
    standing: &'static str,
    reading: Cow<'a, str>,
}

pub(super) fn scope(towards: &Towards<'_>) -> Result<Scope, Refusal> {
    let Seen { sight, searching, standing, reading } = seen(towards)?;
    let types = &sight.readable.rule;
    let read_rule = format!("{reading}; {standing}; {types}");
    let rule = format!("{searching}; {standing}; {types}");
    Ok(Scope { record_id: towards.record.id.clone(), sight, rule, read_rule })
}

pub(super) fn seen<'a>(towards: &Towards<'a>) -> Result<Seen<'a>, Refusal> {
    let (tables, caller, record) = (towards.tables, towards.caller, towards.record);
    let searching = &towards.cell(Action::SearchMetadata)?.rule;
    towards.gates()?;
    let standing = towards.will()?;
    let reads = reading_column(towards);
    let allowance = |action| reads.map(|column| tables.functional.cell(action, column, caller.mode).allowance);
    let allows = |action| allowance(action) == Some(Allowance::Yes);
    let masked = match allowance(Action::ReadMasked) {
        Some(Allowance::Yes) => MaskedDocuments::All,
        Some(Allowance::PatientOptIn) if record.masked_open_in_emergencies => MaskedDocuments::All,
        // The author keeps access to his own masked documents in an emergency too.
        Some(Allowance::OwnDocuments | Allowance::PatientOptIn) => MaskedDocuments::Own,
        _ => MaskedDocuments::None,
    };
    let (readable, reading): (_, Cow<'a, str>) = match reads {
        Some(column) if allows(Action::ReadNotMasked) => (
            tables.matrix.readable(caller, towards.now),
            Cow::Borrowed(&tables.functional.cell(Action::ReadNotMasked, column, caller.mode).rule),
        ),
        // May list, may not read (occupational doctor): nothing is shown, the stricter reading.
        _ => {
            let rule = match towards.cell(Action::ReadNotMasked) {
                Ok(cell) => Cow::Borrowed(&*cell.rule),
                Err(refusal) => refusal.rule.into_owned().into(),
            };
            (Arc::new(ReadableTypes::none()), rule)
        }
    };
    let sight = Sight {
        caller_id: caller.id().to_owned(),
        readable,
        masked,
        // Who sees the masked ones sees the same whether or not all are.
        all_masked: record.all_masked && masked != MaskedDocuments::All,
        hidden: allows(Action::ReadHidden),
        archived: allows(Action::ReadArchived),
        superseded: allows(Action::ReadSuperseded),
        deleted: tables.parameters.reading_deleted_documents && allows(Action::ReadDeleted),
    };
    Ok(Seen { sight, searching, standing, reading })
}

/// The column for the reading cells: the caller's own, but for the occupational doctor where a parameter lets him read.
fn reading_column(towards: &Towards<'_>) -> Option<ActorCategory> {
    match towards.category? {
        ActorCategory::OccupationalDoctor
            if towards.tables.parameters.occupational_doctor_reads
                && towards.caller.mode == AccessMode::Normal =>
        {
            Some(ActorCategory::Doctor)
        }
        column => Some(column),
    }
}

#[cfg(feature = "fault-injection")]
impl Scope {
    /// For the control of the random worlds: a scope that forgets its predicate, for who would filter behind the query.
    #[must_use]
    pub fn forgetful(&self, readable: Arc<ReadableTypes>) -> Self {
        let sight = Sight {
            readable,
            masked: MaskedDocuments::All,
            hidden: true,
            archived: true,
            superseded: true,
            deleted: true,
            ..self.sight.clone()
        };
        Self { sight, ..self.clone() }
    }
}

impl Sight {
    /// PS_IdNat of who asks.
    pub fn caller_id(&self) -> &str {
        &self.caller_id
    }

    /// The types that the matrix opens.
    pub fn readable(&self) -> &ReadableTypes {
        &self.readable
    }

    /// Which masked documents.
    pub fn masked(&self) -> MaskedDocuments {
        self.masked
    }

    /// Every document counts as masked, for who does not see masked ones.
    pub fn all_masked(&self) -> bool {
        self.all_masked
    }

    /// With those hidden from the patient or the representatives.
    pub fn hidden(&self) -> bool {
        self.hidden
    }

    /// With the archived ones.
    pub fn archived(&self) -> bool {
        self.archived
    }

    /// With the superseded ones.
    pub fn superseded(&self) -> bool {
        self.superseded
    }

    /// With the deleted ones.
    pub fn deleted(&self) -> bool {
        self.deleted
    }

    /// Why a document is not seen, whichever record it is of.
    fn hides(&self, document: &DocumentFacts) -> Option<Outside> {
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

impl Scope {
    /// The record.
    pub fn record_id(&self) -> &str {
        &self.record_id
    }

    /// What is seen of it.
    pub fn sight(&self) -> &Sight {
        &self.sight
    }

    /// The rules that decided.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Whether the scope holds a document: what `store` says in SQL for many, said for one.
    pub fn admit(&self, document: &DocumentFacts) -> Decision<ReadGrant> {
        match self.outside(document) {
            Some(why) => {
                let why = match why {
                    Outside::Type => {
                        format!("{} × {} is not yes", self.sight.readable.rule, document.type_code)
                    }
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
        self.sight.hides(document)
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
    use crate::rights::facts::Labels;

    /// Each switch of a sight hides what it is for: no cell of today's sheets turns some of them off, a later one may.
    #[test]
    fn each_switch_hides_its_own() {
        let readable =
            ReadableTypes { id: String::new(), types: BTreeSet::from(["A".to_owned()]), rule: String::new() };
        let open = Sight {
            caller_id: "me".into(),
            readable: Arc::new(readable),
            masked: MaskedDocuments::All,
            all_masked: false,
            hidden: true,
            archived: true,
            superseded: true,
            deleted: true,
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
            assert_eq!(open.hides(document), None, "{why:?}");
            let closed = match why {
                Outside::HiddenFromPatient => Sight { hidden: false, ..open.clone() },
                Outside::Archived => Sight { archived: false, ..open.clone() },
                Outside::Superseded => Sight { superseded: false, ..open.clone() },
                Outside::Deleted => Sight { deleted: false, ..open.clone() },
                _ => Sight { masked: MaskedDocuments::None, ..open.clone() },
            };
            assert_eq!(closed.hides(document), Some(*why));
            assert_eq!(closed.hides(&plain), None, "{why:?}: and nothing else");
        }
        // Masked: the caller's own, or none; the patient's are nobody's own.
        let own = Sight { masked: MaskedDocuments::Own, ..open.clone() };
        let mine = DocumentFacts { author_id: "me".into(), ..masked.clone() };
        assert_eq!((own.hides(&mine), own.hides(&masked)), (None, Some(Outside::Masked)));
        let of_patient = DocumentFacts { by_patient: true, ..mine };
        assert_eq!(own.hides(&of_patient), Some(Outside::Masked));
    }
}
