//! Commands that need no server, one file each.

pub mod audit;
pub mod matrix;
pub mod rights;
