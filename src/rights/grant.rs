//! What the rights layer grants. The fields are private and the constructors are the layer's own: holding one of these
//! values is the proof that a decision was made.

use std::sync::Arc;

use super::decision::Decision;
use super::facts::{DocumentFacts, DocumentStatus};
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
    pub(super) rule: String,
}

/// May feed a record (TD2.1, TD2.2).
#[derive(Debug)]
pub struct FeedGrant {
    pub(super) record_id: String,
    pub(super) author_id: String,
    pub(super) structure: Option<String>,
    pub(super) rule: String,
}

/// May replace one document by another (TD2.1 with `relatesTo.code` `replaces`).
#[derive(Debug)]
pub struct ReplaceGrant {
    pub(super) record_id: String,
    pub(super) document_id: String,
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
    pub(super) hidden: bool,
    pub(super) archived: bool,
    pub(super) superseded: bool,
    pub(super) rule: String,
    pub(super) read_rule: String,
}

/// May read the bytes and the metadata of one document (TD3.2).
#[derive(Debug)]
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
        /// The rule that decided.
        rule -> str;
    FeedGrant:
        /// The record.
        record_id -> str,
        /// PS_IdNat of who feeds.
        author_id -> str,
        /// Struct_IdNat to which the deposit is attributed.
        structure -> Option<String>,
        /// The rule that decided.
        rule -> str;
    ReplaceGrant:
        /// The record.
        record_id -> str,
        /// The document to be superseded.
        document_id -> str,
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
        /// With those hidden from the patient or the representatives.
        hidden -> bool,
        /// With the archived ones.
        archived -> bool,
        /// With the superseded ones.
        superseded -> bool,
        /// The rules that decided.
        rule -> str;
    ReadGrant:
        /// The document.
        document_id -> str,
        /// The rule that decided.
        rule -> str;
}

impl Scope {
    /// Whether the scope holds a document: what `store` says in SQL for many, said for one.
    pub fn admit(&self, document: &DocumentFacts) -> Decision<ReadGrant> {
        let hide = |rule: &str| Decision::Hide { rule: format!("{rule}; {}", self.rule) };
        if document.record_id != self.record_id {
            return hide("another record");
        }
        if !self.readable.types.contains(&document.type_code) {
            return hide(&format!("{} × {} is not yes", self.readable.rule, document.type_code));
        }
        let labels = document.labels;
        let own = document.author_id == self.caller_id;
        if labels.masked
            && !(self.masked == MaskedDocuments::All || (self.masked == MaskedDocuments::Own && own))
        {
            return hide("MASQUE_PS");
        }
        if (labels.invisible_to_patient || labels.invisible_to_representatives) && !self.hidden {
            return hide("hidden from the patient");
        }
        if document.archived && !self.archived {
            return hide("archived");
        }
        match document.status {
            DocumentStatus::Superseded if !self.superseded => hide("superseded"),
            // The sheet would show deleted documents; the FHIR mapping hides them (identity-and-rights.md, 2).
            DocumentStatus::EnteredInError => hide("deleted"),
            _ => {
                let rule = format!("{} × {}", self.read_rule, document.type_code);
                Decision::Permit(ReadGrant { document_id: document.id.clone(), rule })
            }
        }
    }
}
