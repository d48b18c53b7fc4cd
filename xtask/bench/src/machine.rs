//! On what, and amid what, it was measured.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    cores: usize,
    memory_gib: f64,
    kernel: String,
    rustc: String,
    /// How many programs wanted a core at once in the minute before: above the number of cores, wall-clock figures are
    /// of little worth.
    load_before: f64,
    load_after: Option<f64>,
}

impl Machine {
    /// This machine, before anything is measured.
    pub(crate) fn here() -> Self {
        Self {
            processor: entry("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: available_parallelism().map_or(1, usize::from),
            memory_gib: memory().unwrap_or_default(),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            rustc: rustc().unwrap_or_else(|| "unknown".to_owned()),
            load_before: load(),
            load_after: None,
        }
    }

    /// All was measured.
    pub(crate) fn note_end(&mut self) {
        self.load_after = Some(load());
    }

    pub(crate) fn describe(&self) -> String {
        let Self { processor, cores, memory_gib, kernel, rustc, load_before, load_after } = self;
        let after = load_after.map(|load| format!(" to {load:.1}")).unwrap_or_default();
        format!(
            "{processor}, {cores} cores, {memory_gib:.0} GiB; Linux {kernel}; {rustc}; load {load_before:.1}{after}"
        )
    }
}

/// The value in a file of lines like `key : value`.
fn entry(path: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let (_, value) =
        text.lines().filter_map(|line| line.split_once(':')).find(|(found, _)| found.trim() == key)?;
    Some(value.trim().to_owned())
}

fn memory() -> Option<f64> {
    let kilobytes: f64 = entry("/proc/meminfo", "MemTotal")?.split(' ').next()?.parse().ok()?;
    Some(kilobytes / 1024.0 / 1024.0)
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}

fn load() -> f64 {
    first_line("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
