//! Who × what → a decision. Pure functions over plain values: no input, no output, no clock of their own.
//!
//! ```text
//! Caller ─┐
//! Tables ─┼─► decide_* ─► Decision ─► Permit(grant)   the store takes the grant as a parameter
//! Facts  ─┘                        ├► Hide            answered like something unknown, 404
//!                                  └► Refuse          403 or 422, with its reason
//! ```
//!
//! Every branch carries the rule that decided: a cell of the functional-rights sheet, a cell of the habilitation
//! matrix with its version, or an article. The trace and the refusal quote it. Grants have private fields and are made
//! in [`records`], [`documents`], [`retention`], [`subscriptions`] and [`by_clock`] alone, so a store call without a decision does not compile:
//!
//! ```compile_fail
//! let forged = habilis::rights::FeedGrant { record_id: "1".into(), author_id: "2".into(), structure: None, is_minor: false, rule: "".into() };
//! ```

mod by_clock;
mod decision;
mod documents;
mod facts;
mod functional;
mod grant;
mod matrix;
pub mod matrix_files;
mod parameters;
mod records;
mod retention;
mod scope;
mod subscriptions;
mod supposition;
mod traces;

pub use by_clock::{
    AuthorisationEnd, EndedLabel, LabelEnd, decide_announcement_end, decide_authorisation_end,
    decide_majority_end,
};
pub use decision::{Decision, Tables};
pub use documents::{DocumentAction, VACCINATION_HISTORY, VACCINATION_NOTE, one_month_after};
pub use facts::{
    Authorisation, Basis, DocumentFacts, DocumentStatus, Labels, RecordFacts, RecordState, Relation,
};
pub use functional::{Action, ActorCategory, Allowance, Cell, FunctionalRights, OCCUPATIONAL_SPECIALITIES};
pub use grant::{
    AdministrativeGrant, ClosureGrant, DeclarationGrant, ExistenceGrant, FeedGrant, GiveUpGrant, HistoryGrant,
    IdentitySearchGrant, Own, OwnRecordsGrant, PatientSideGrant, ProfessionalsGrant, ReadGrant, References,
    ReplaceGrant, RevocationGrant, SessionGrant, TracesGrant, TracesOf, UpdateGrant,
};
pub use matrix::{Column, HabilitationMatrix, MatrixCell, MatrixKind, MatrixVersion, ReadableTypes};
pub use parameters::{ArchivingByDoctors, Parameters};
pub use records::{FeedPurpose, ListOf};
pub use retention::{
    ClosedRecord, ErasureBasis, ErasureGrant, TraceErasureGrant, decide_retention, decide_trace_retention,
    ten_years_after, ten_years_before,
};
pub use scope::{MaskedDocuments, Scope, Sight};
pub use subscriptions::{OwnSubscriptionsGrant, SubscriptionGrant};
pub use supposition::{Standing, Supposition};
