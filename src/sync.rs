//! What threads share: of `std` and `arc_swap`, and in the test of schedules (feature `schedules`) stand-ins that give way to another thread before
//! each step, so that every order of steps can be played (`docs/reliability.md`, D10).

#[cfg(not(all(test, feature = "schedules")))]
pub use self::built::*;
#[cfg(all(test, feature = "schedules"))]
pub use self::played::*;

#[cfg(not(all(test, feature = "schedules")))]
mod built {
    pub use arc_swap::ArcSwap;
    pub use std::sync::Mutex;
    pub use std::sync::atomic::AtomicBool;

    /// A step between two others, at which another thread may run.
    #[inline]
    pub const fn point() {}
}

#[cfg(all(test, feature = "schedules"))]
mod played {
    use std::sync::{Arc, PoisonError};

    pub use shuttle::sync::Mutex;
    pub use shuttle::sync::atomic::AtomicBool;

    /// Lets any other thread run.
    pub fn point() {
        shuttle::thread::yield_now();
    }

    /// `arc_swap::ArcSwap`, as far as it is used: a swap that others can come before, also within [`ArcSwap::rcu`].
    #[derive(Debug, Default)]
    pub struct ArcSwap<T>(Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        /// What is held.
        pub fn load(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }

        /// Holds something else.
        pub fn store(&self, value: Arc<T>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
        }

        /// Holds what follows from what is held, asked again where another came before.
        pub fn rcu<R: Into<Arc<T>>>(&self, mut next: impl FnMut(&Arc<T>) -> R) -> Arc<T> {
            loop {
                let held = self.load();
                let value = next(&held).into();
                let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if Arc::ptr_eq(&slot, &held) {
                    *slot = value;
                    return held;
                }
            }
        }
    }
}

/// Plays a test under many schedules, half of them at random, half by priorities that change a few times (PCT): `HABILIS_SCHEDULES` of them, from
/// `HABILIS_SEED`. A schedule that fails panics, and is printed for `shuttle::replay`.
#[cfg(all(test, feature = "schedules"))]
pub fn play(test: impl Fn() + Copy + Send + Sync + 'static) {
    use shuttle::scheduler::{PctScheduler, RandomScheduler};
    use shuttle::{Config, Runner};

    let set = |name: &str, usual| std::env::var(name).map_or(usual, |value| value.parse().unwrap());
    let (schedules, seed) = (set("HABILIS_SCHEDULES", 2_000), set("HABILIS_SEED", 1));
    let half = usize::try_from(schedules / 2).unwrap();
    let ran = Runner::new(RandomScheduler::new_from_seed(seed, half), Config::new()).run(test)
        + Runner::new(PctScheduler::new_from_seed(seed, 3, half), Config::new()).run(test);
    println!("{ran} schedules, seed {seed}");
}

/// A control: among as many schedules there is one under which the test fails.
#[cfg(all(test, feature = "schedules"))]
pub fn must_fail(test: impl Fn() + Copy + Send + Sync + std::panic::RefUnwindSafe + 'static) {
    std::panic::catch_unwind(|| play(test)).expect_err("no schedule shows what is wrong");
}
