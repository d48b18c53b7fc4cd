//! On what, and amid what, it was measured.

use std::process::Command;
use std::thread::available_parallelism;

use procfs::{CpuInfo, Current as _, LoadAverage, Meminfo};
use rustix::system::uname;
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
            processor: processor().unwrap_or_else(|| "unknown".to_owned()),
            cores: available_parallelism().map_or(1, usize::from),
            memory_gib: Meminfo::current()
                .map_or(0.0, |memory| memory.mem_total as f64 / 1024.0 / 1024.0 / 1024.0),
            kernel: uname().release().to_string_lossy().into_owned(),
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

fn load() -> f64 {
    LoadAverage::current().map_or(f64::NAN, |load| load.one.into())
}

fn processor() -> Option<String> {
    CpuInfo::current().ok()?.model_name(0).map(str::to_owned)
}

fn rustc() -> Option<String> {
    let output = Command::new("rustc").arg("--version").output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
