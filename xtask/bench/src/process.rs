//! What other processes take of the machine, as the kernel counts it.

use std::env;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context as _, Result};
use procfs::process::Process;
use procfs::ticks_per_second;

/// A process that is killed when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the path of a program that is built beside this one.
pub(crate) fn beside(name: &str) -> Result<PathBuf> {
    Ok(env::current_exe().context("cannot report where this program is")?.with_file_name(name))
}

/// For how many seconds a process has computed, with its threads that have ended; in ticks of the kernel, of 10 ms.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = Process::new(pid.try_into()?).and_then(|process| process.stat());
    let stat = stat.with_context(|| format!("the kernel does not report of process {pid}"))?;
    Ok((stat.utime + stat.stime) as f64 / ticks_per_second() as f64)
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
        let mut all = Self::default();
        for task in Process::new(pid.try_into()?)?.tasks()? {
            let task = task?;
            all.computed += Duration::from_nanos(task.schedstat()?.sum_exec_runtime);
            all.wakes += task.status()?.voluntary_ctxt_switches.context("a status does not report")?;
        }
        Ok(all)
    }

    /// What came since that.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { computed: self.computed - before.computed, wakes: self.wakes - before.wakes }
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;

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
        let process = Process::new(child.id().try_into().unwrap()).unwrap();
        let until_asleep = || {
            while process.stat().unwrap().state != 'S' {
                std::thread::yield_now();
            }
        };
        until_asleep();
        let before = Usage::of(child.id()).unwrap();
        input.write_all(b"x").unwrap();
        output.read_exact(&mut [0]).unwrap();
        until_asleep();
        let usage = Usage::of(child.id()).unwrap().since(before);
        assert!(usage.wakes > 0 && usage.computed > Duration::ZERO, "{usage:?}");
        drop((input, output));
        child.wait().unwrap();
    }
}
