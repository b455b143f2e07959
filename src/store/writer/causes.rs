//! Why a transaction failed, and what follows from it.

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::error::Failure;
use crate::sealing::SealingError;

/// A failed COMMIT whose rollback fails too is reported as the pair: what counts is why the commit failed.
pub(super) fn cause(error: DieselError) -> DieselError {
    match error {
        DieselError::RollbackErrorOnCommit { commit_error, .. } => cause(*commit_error),
        error => error,
    }
}

/// A unit's own failure: where it is a fault of ours, trying again would not help, and the answer does not say so.
pub(super) fn of_its_own(error: DieselError) -> Failure {
    match error {
        // A key that is missing here is there on another node, or will be.
        DieselError::QueryBuilderError(cause) if cause.is::<SealingError>() => Failure::unavailable(cause),
        DieselError::QueryBuilderError(cause) => {
            cause.downcast().map_or_else(Failure::internal, |failure| *failure)
        }
        DieselError::SerializationError(_) | DieselError::DeserializationError(_) => Failure::internal(error),
        error => Failure::unavailable(error),
    }
}

/// A unique key taken between look-up and insert is one of these: the next attempt sees the row.
pub(super) fn is_worth_another_attempt(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(
            DatabaseErrorKind::SerializationFailure | DatabaseErrorKind::UniqueViolation,
            _,
        ) => true,
        DieselError::DatabaseError(_, information) => information.message().contains("deadlock detected"),
        _ => false,
    }
}

/// As SQLite says it.
pub(super) fn has_no_room(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(_, information) if information.message().contains("database or disk is full"))
}

/// SQLite reports EIO so; after it, what the kernel holds and what the disk holds may differ.
pub(super) fn is_storage_error(error: &DieselError) -> bool {
    matches!(error, DieselError::DatabaseError(_, information) if information.message().contains("disk I/O error"))
}
