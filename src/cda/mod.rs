//! The vocabulary of CDA R2: the header of a document, read to check what its metadata say.

mod header;
mod metadata;
mod style_sheet;

pub use header::{CdaFault, Header, Unstructured};
pub use metadata::{Code, Identifier, Metadata, Organisation, Patient, Person};
