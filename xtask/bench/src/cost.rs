//! How long a thread computes. What else the machine does meanwhile does not count, but for the caches.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How long this thread has computed so far.
#[must_use]
pub fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// For how many nanoseconds this thread computes to do that, for each of so many.
pub fn nanoseconds_each(count: usize, work: impl FnOnce()) -> f64 {
    let begin = computed();
    work();
    (computed() - begin).as_nanos() as f64 / count as f64
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn work_takes_time_and_twice_the_work_no_less() {
        let work = |turns: u64| {
            nanoseconds_each(1, || {
                black_box((0..black_box(turns)).map(black_box).sum::<u64>());
            })
        };
        let (one, hundred) = (work(100_000), work(10_000_000));
        assert!(one > 0.0 && hundred > one, "{one} ns, {hundred} ns");
    }
}
