//! Two lanes: an emergency is not held up by what is not one.
//!
//! Some read connections, and the end of the writer's queue, are for emergencies alone; the writer takes theirs first. The lane belongs to the
//! task that serves a request, so that no operation has to pass it on, and none can forget it.

use std::future::Future;

/// Which lane a request is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// All others.
    Ordinary,
    /// Modes `bris_de_glace` and `centre_15`.
    Emergency,
}

impl Lane {
    /// That of an emergency, or the other.
    pub const fn of(emergency: bool) -> Self {
        if emergency { Lane::Emergency } else { Lane::Ordinary }
    }
}

tokio::task_local! {
    static LANE: Lane;
}

/// Serves a request in a lane.
pub async fn in_lane<F: Future>(lane: Lane, work: F) -> F::Output {
    LANE.scope(lane, work).await
}

/// The lane of the task that asks; outside of a request, the ordinary one.
pub(super) fn current() -> Lane {
    #[cfg(feature = "fault-injection")]
    if crate::faults::one_lane() {
        return Lane::Ordinary;
    }
    LANE.try_with(|lane| *lane).unwrap_or(Lane::Ordinary)
}
