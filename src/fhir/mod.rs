//! The vocabulary of the wire: the FHIR resources that are read and written here, and nothing of HTTP.
//!
//! Received resources are never turned into a model and back: that would lose the form of numbers, the order of keys
//! and unknown extensions. They stay text; small structs read the few elements that rights, search and rules need, and
//! [`json::RawObject`] puts elements in or replaces them without touching the others.

pub mod audit_event;
pub mod bundle;
pub mod capability;
pub mod codes;
pub mod consent;
pub mod definitions;
pub mod document;
pub mod document_reference;
pub mod elements;
pub mod enclosed;
pub mod json;
pub mod outcome;
pub mod parameters;
pub mod patch;
pub mod patient;
pub mod primitives;
pub mod refresh;
pub mod submission_set;
pub mod subscription;
pub mod value_set;
pub mod xml;
