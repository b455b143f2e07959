//! When an answer may leave: so that its time does not tell what its body does not.
//!
//! What a caller may not see is looked for, found and decided on; what does not exist is not found. The work differs by some
//! hundredths of a millisecond, and by more where a search passes over much that is hidden. So an answer that depends on it
//! leaves a fixed time after its request came in, whatever the work was; where the work took longer, after twice that time, four
//! times and so on. And up to a fifth of it later, as it is drawn: a processor that slept longer wakes some microseconds later
//! (`docs/decisions/0025`).

use std::time::{Duration, Instant};

/// The pace of answers that could tell of what is hidden.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long after its request such an answer leaves. Zero: at once.
    even: Duration,
}

/// After how many times the pace an answer may leave: the first that its work leaves room for. What takes longer than all of them
/// waits a random part of the pace.
const STEPS: [u32; 5] = [1, 2, 4, 8, 16];

/// When a request came in: all of it, where it has a body. Who sends one slowly does not choose how its work falls on the steps.
#[derive(Clone, Copy, Debug)]
pub struct Arrival(Instant);

impl Arrival {
    /// Now. A monotonic clock: the time of day may be set meanwhile.
    pub fn now() -> Self {
        Self(Instant::now())
    }
}

impl Pace {
    /// Answers leave so long after their requests.
    pub const fn new(even: Duration) -> Self {
        Self { even }
    }

    /// Waits until an answer may leave.
    pub async fn hold(&self, arrival: Arrival, random: u64) {
        let wait = self.wait(arrival.0.elapsed(), random);
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    /// How long an answer waits whose work took so long.
    fn wait(&self, work: Duration, random: u64) -> Duration {
        // Drawn before the step is chosen: where the work comes near one, its edge is not where it was the time before.
        let later = part(self.even / 5, random);
        let mut steps = STEPS.iter().map(|times| self.even * *times + later);
        match steps.find(|step| *step >= work) {
            Some(step) => step - work,
            None => part(self.even, random),
        }
    }
}

/// Between nothing and all of it, evenly.
fn part(whole: Duration, random: u64) -> Duration {
    let nanoseconds = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random.checked_rem(nanoseconds).unwrap_or_default())
}

/// Waits to a few microseconds. A timer of tokio waits whole milliseconds from when its thread goes to sleep: how long a request
/// took before that would show after it, too.
#[cfg(target_os = "linux")]
async fn sleep(wait: Duration) {
    if let Err(error) = by_the_kernel(wait).await {
        // No descriptor is left: no answer is lost, and what it waits tells nothing of its work.
        tracing::warn!(%error, "an answer keeps its pace by a coarse timer");
        tokio::time::sleep(COARSE).await;
    }
}

#[cfg(not(target_os = "linux"))]
async fn sleep(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Long beside what work takes.
#[cfg(target_os = "linux")]
const COARSE: Duration = Duration::from_millis(100);

#[cfg(target_os = "linux")]
async fn by_the_kernel(wait: Duration) -> std::io::Result<()> {
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let once = Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec::try_from(wait).map_err(|_| std::io::ErrorKind::InvalidInput)?,
    };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &once)?;
    #[expect(deprecated, reason = "unsound where the descriptor is not owned; its successor is an unsafe fn")]
    let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
    timer.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_work_was() {
        let milliseconds = Duration::from_millis;
        let pace = Pace::new(milliseconds(5));
        for work in [0, 1, 4, 5] {
            assert_eq!(milliseconds(work) + pace.wait(milliseconds(work), 0), milliseconds(5));
            assert_eq!(
                milliseconds(work) + pace.wait(milliseconds(work), 900_000),
                Duration::from_micros(5_900)
            );
            assert_eq!(milliseconds(work) + pace.wait(milliseconds(work), 1_000_000), milliseconds(5));
        }
        // What takes longer leaves after twice the time, and so on.
        for (work, leaves) in [(6, 10), (10, 10), (11, 20), (21, 40), (41, 80), (80, 80)] {
            assert_eq!(milliseconds(work) + pace.wait(milliseconds(work), 0), milliseconds(leaves));
        }
        // The edge of a step is drawn with it.
        assert_eq!(milliseconds(5) + pace.wait(milliseconds(5), 900_000), Duration::from_micros(5_900));
        assert_eq!(
            Duration::from_micros(5_500) + pace.wait(Duration::from_micros(5_500), 900_000),
            Duration::from_micros(5_900)
        );
        // What takes longer than that is followed by what is drawn, and by less than the pace.
        for (random, waits) in [(0, 0), (2_000_000, 2_000_000), (5_000_000, 0), (5_000_001, 1)] {
            assert_eq!(pace.wait(milliseconds(81), random), Duration::from_nanos(waits));
        }
        assert!(pace.wait(milliseconds(81), u64::MAX) < milliseconds(5));
        // Switched off.
        assert_eq!(Pace::new(Duration::ZERO).wait(milliseconds(7), 3), Duration::ZERO);
        assert_eq!(Pace::new(Duration::ZERO).wait(Duration::ZERO, 3), Duration::ZERO);
    }

    #[tokio::test]
    async fn an_answer_is_held_to_a_fraction_of_a_millisecond() {
        let pace = Pace::new(Duration::from_micros(2_300));
        let arrival = Arrival::now();
        pace.hold(arrival, 0).await;
        assert!(arrival.0.elapsed() >= Duration::from_micros(2_300));
    }
}
