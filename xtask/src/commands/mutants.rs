//! `cargo xtask mutants`: whether the tests notice when what decides about the picture is wrong.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use xtask::interrupt;

use super::cargo::{MUTANTS, shown, target_folder};

/// How long the tests may take with one mutant in, in seconds. One that makes them hang is noticed by that.
const TEST_LIMIT: &str = "90";

/// How long a mutant may take to be built, in seconds.
const BUILD_LIMIT: &str = "600";

/// How much is tried at random, and in the worlds of the explorer. Nearly all mutants die of tests that try one thing.
const FEWER: [(&str, &str); 2] = [("WHALEWATCHER_STATES", "3000"), ("PROPTEST_CASES", "64")];

/// cargo-mutants exits with 3 when no mutant survived but some were noticed only because the tests did not end.
const ONLY_TIMEOUTS: i32 = 3;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Change this part of the code only
    #[arg(long, value_name = "PART")]
    part: Option<Part>,
    /// Passed on to cargo-mutants, such as `-- --re Follower`
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The reconciler, the driver, subscriptions, portfolios
    Core,
    /// What decodes Docker's answers
    Moby,
    /// What adapters share, with containerd's event service
    Adapter,
    /// What decodes containerd's answers
    Containerd,
    /// What decodes the answers of CRI runtimes, and chooses where changes come from
    Cri,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let output = target_folder()?.join("mutants");
    let chosen = Part::value_variants().iter().filter(|part| options.part.is_none_or(|only| only == **part));
    let mut survived = Vec::new();
    for part in chosen {
        if !part.run(&output, &options.arguments)? {
            survived.push(part.package());
        }
    }
    ensure!(survived.is_empty(), "mutants survived in {}: see {}", survived.join(", "), output.display());
    Ok(())
}

impl Part {
    fn package(self) -> &'static str {
        match self {
            Self::Core => "whalewatcher-core",
            Self::Moby => "whalewatcher-moby",
            Self::Adapter => "whalewatcher-adapter",
            Self::Containerd => "whalewatcher-containerd",
            Self::Cri => "whalewatcher-cri",
        }
    }

    fn files(self) -> &'static [&'static str] {
        match self {
            Self::Core => &[
                "reconciler/mod",
                "reconciler/audit",
                "reconciler/deadlines",
                "reconciler/events",
                "reconciler/inspection",
                "reconciler/lists",
                "reconciler/record",
                "reconciler/resync",
                "reconciler/tombstones",
                "watch/driver",
                "watch/connected",
                "watch/subscription",
                "portfolio/difference",
                "portfolio/pods",
                "portfolio/mod",
                "persistent/hash_trie",
                "portfolio/members",
                "portfolio/index",
                "watch/probe",
                "watch/status",
                "settings/backoff",
                "model/container_id",
            ],
            Self::Moby => &[
                "api/audit",
                "api/events",
                "api/handshake",
                "api/missed_exits",
                "api/probe",
                "api/subscription",
                "decode/event",
                "decode/identity",
                "decode/inspection",
                "decode/json",
                "decode/labels",
                "decode/list",
                "decode/partial_event",
                "decode/uptime",
                "http/answer",
                "http/lines",
                "limits",
            ],
            Self::Adapter => &[
                "containerd/decode",
                "containerd/namespace",
                "containerd/service",
                "endpoint",
                "excerpt",
                "grpc/body",
                "grpc/status",
                "grpc/weight",
                "grpc/greeting",
                "lives",
                "socket",
            ],
            Self::Containerd => &["container", "list", "inspect", "namespace", "connection", "limits"],
            Self::Cri => &[
                "cache/lists",
                "cache/mod",
                "connection",
                "decode/container",
                "decode/info",
                "decode/runtime",
                "decode/time",
                "limits",
                "rpc/containerd",
                "rpc/inspect",
                "rpc/list",
                "source/containerd_events",
                "source/cri_events/event",
                "source/cri_events/mod",
                "source/mod",
                "source/ownership",
                "source/poll",
            ],
        }
    }

    /// The tests that have to notice; the fastest first, for the others do not run if these fail.
    fn tests(self) -> &'static [&'static str] {
        match self {
            Self::Core => &["--lib", "--test", "watcher", "--test", "histories"],
            Self::Moby => &["--lib", "--test", "wire", "--test", "endless"],
            Self::Adapter | Self::Containerd | Self::Cri => &["--lib", "--test", "wire"],
        }
    }

    /// Whether every mutant was noticed.
    fn run(self, output: &Path, arguments: &[OsString]) -> Result<bool> {
        let output = output.join(self.package());
        fs::create_dir_all(&output).with_context(|| format!("cannot make {}", output.display()))?;
        let mut mutants = MUTANTS.ready()?;
        mutants.args(["--package", self.package(), "--timeout", TEST_LIMIT, "--build-timeout", BUILD_LIMIT]);
        for file in self.files() {
            mutants.arg("--file").arg(format!("crates/{}/src/{file}.rs", self.package()));
        }
        if self == Self::Cri {
            mutants.args(["--features", "containerd"]);
        }
        if self == Self::Adapter {
            // The event service is tested over the wire, by the adapter to containerd.
            mutants.args(["--features", "whalewatcher-adapter/containerd"]);
            mutants.args(["--test-package", "whalewatcher-adapter,whalewatcher-containerd"]);
        }
        // To cargo and not to its tests, so that no other tests are built.
        mutants.args(self.tests().iter().map(|argument| format!("--cargo-arg={argument}")));
        mutants.arg("--output").arg(output).args(arguments);
        // Where it is shared, cargo gives the mutants' programs the names of those from this checkout, and they mix.
        mutants.envs(FEWER).env_remove("CARGO_TARGET_DIR");
        let status = interrupt::run(&mut mutants)?;
        let reported = matches!(status.code(), Some(0 | 2 | ONLY_TIMEOUTS));
        ensure!(reported, "`{}` failed ({status})", shown(&mutants));
        Ok(status.code() != Some(2))
    }
}
