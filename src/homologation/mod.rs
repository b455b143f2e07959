//! The homologation kit: what a vendor's software did, held against the rows of the DMP's homologation.
//!
//! A vendor opens a [`run::Run`] in the sandbox and gets cards and patients of its own. The server writes down each call
//! ([`seen::Seen`]); a report joins the calls of a run with their traces and judges each row of [`cases`] by them. Nothing of
//! it decides anything: a server of real records has no kit.

pub mod call;
pub mod cases;
pub mod judge;
pub mod kit;
pub mod report;
pub mod run;
pub mod seen;
