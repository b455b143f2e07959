//! The vocabulary of CDA R2: the header of a document, read to check what its metadata say; vaccination notes, and the history that is
//! made of them.

mod header;
mod imaging_notice;
mod metadata;
mod style_sheet;
mod vaccination;
mod vaccination_history;

pub use header::{CdaFault, Header, Unstructured};
pub use imaging_notice::{Examination, imaging_notice};
pub use metadata::{Code, Identifier, Metadata, Organisation, Patient, Person};
pub use vaccination::Vaccination;
pub use vaccination_history::{Head, KEEPER, vaccination_history};
