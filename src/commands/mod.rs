//! Commands that need no server, one file each.

pub mod audit;
pub mod indicators;
pub mod matrix;
pub mod rights;
