//! Commands that need no server, one file each.

pub mod audit;
pub mod backup;
pub mod check;
pub mod homologation;
pub mod indicators;
pub mod keys;
pub mod matrix;
pub mod migrate;
pub mod place;
pub mod retention;
pub mod rights;
