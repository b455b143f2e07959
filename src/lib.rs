//! Habilis: the professional-side server of the French shared medical record (DMP, Mon espace santé) over FHIR.
//!
//! The modules stand in the order in which a request meets them:
//!
//! | module | what goes in → what comes out |
//! | --- | --- |
//! | [`tls`] | bytes on the wire → a chain that was verified |
//! | [`certificate`] | the chain → the facts printed on it, and its kind |
//! | [`identity`] | facts → who is acting |
//! | [`rights`] | who × what → a decision, which carries its rule and, if it permits, a grant |
//! | [`operations`] | one thing a vendor can ask for, free of HTTP |
//! | [`store`] | grants → rows and bodies, durable |
//! | [`audit`] | what is written about each request |
//! | [`api`] | the only place that knows HTTP |
//!
//! [`fhir`] and [`cda`] are the vocabulary; [`pki`] makes the test cards, [`sandbox`] the demonstration, [`homologation`] judges
//! what a vendor's software did there. The guide is
//! `ARCHITECTURE.md`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod tls;

pub mod certificate;

pub mod identity;

pub mod rights;

pub mod operations;

pub mod store;

pub mod sealing;

pub mod audit;

pub mod notification;

pub mod api;

pub mod pki;
pub mod sandbox;

pub mod homologation;

pub mod config;
pub mod server;

pub mod fhir;

pub mod cda;

mod bounded_xml;
mod sync;

pub mod environment;
pub mod error;
#[cfg(feature = "fault-injection")]
pub mod faults;
