//! What other processes take of the machine, as the kernel counts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::param::clock_ticks_per_second;

/// For how many seconds a process has computed, with its threads that have ended; in ticks of the kernel, of 10 ms.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let ticks = ticks(&stat).with_context(|| format!("{path} does not report"))?;
    Ok(ticks as f64 / clock_ticks_per_second() as f64)
}

fn ticks(stat: &str) -> Option<u64> {
    // The program's name is in parentheses and may hold anything; these are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// What the threads that a process has now took so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// For how long they computed.
    pub(crate) computed: Duration,
    /// How often they went to sleep, and so were woken.
    pub(crate) wakes: u64,
}

impl Usage {
    /// Of a process, to the nanosecond while it sleeps.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}/task");
        let mut all = Self::default();
        for task in fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
            let task = Self::of_task(&task.context("cannot read a task")?.path())?;
            all = Self { computed: all.computed + task.computed, wakes: all.wakes + task.wakes };
        }
        Ok(all)
    }

    /// What came since that.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { computed: self.computed - before.computed, wakes: self.wakes - before.wakes }
    }

    fn of_task(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let computed = nanoseconds(&read("schedstat")?).context("a schedstat does not report")?;
        let wakes = sleeps(&read("status")?).context("a status does not report")?;
        Ok(Self { computed: Duration::from_nanos(computed), wakes })
    }
}

fn nanoseconds(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

fn sleeps(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn ticks_are_found_after_a_name_with_parentheses() {
        let stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 50 7 8 9 20 0 1 0 12345 999 0";
        assert_eq!(ticks(stat), Some(57));
        assert_eq!(ticks("42 (a) S 1"), None);
    }

    #[test]
    fn computing_is_measured() {
        let own = std::process::id();
        let (before, begin) = (cpu_seconds(own).unwrap(), whalewatcher_bench::cost::computed());
        let mut sum = 0_u64;
        while whalewatcher_bench::cost::computed() - begin < Duration::from_millis(60) {
            sum = black_box(sum.wrapping_add(1));
        }
        let seconds = cpu_seconds(own).unwrap() - before;
        assert!(seconds >= 0.04, "{seconds} s");
    }

    #[test]
    fn wake_ups_are_counted() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut letter = [0];
        let mut echo = || {
            input.write_all(b"x").unwrap();
            output.read_exact(&mut letter).unwrap();
        };
        let stat = format!("/proc/{}/stat", child.id());
        let until_asleep = || {
            while !fs::read_to_string(&stat).unwrap().contains(") S ") {
                std::thread::yield_now();
            }
        };
        until_asleep();
        let before = Usage::of(child.id()).unwrap();
        echo();
        until_asleep();
        let usage = Usage::of(child.id()).unwrap().since(before);
        assert!(usage.wakes > 0 && usage.computed > Duration::ZERO, "{usage:?}");
        drop((input, output));
        child.wait().unwrap();
    }
}
