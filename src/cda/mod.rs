//! The vocabulary of CDA R2: the header of a document, read to check what its metadata say.

mod header;
mod style_sheet;

pub use header::{CdaFault, Header, Unstructured};
