//! Which engine is meant: its kind, and the Debian release whose packages it comes from. Engines are named by
//! release and not by version, because a release moves on.

use std::fmt;
use std::str::FromStr;

use anyhow::{Error, Result, bail};

use super::packages::KEYRING_PACKAGE;

/// What kind of container engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineKind {
    /// dockerd, with a containerd of its own.
    Docker,
    /// containerd by itself.
    Containerd,
    /// containerd with its CRI plugin, as it serves a kubelet.
    Cri,
    /// podman, as it serves Docker's API.
    Podman,
    /// etcd, which runs no containers: hosts publish theirs in it.
    Etcd,
}

/// Where an engine's programs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Release {
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
    /// Debian's unstable release, which may stop working on an older host any day.
    Sid,
    /// Programs that the host has, or that are in a folder named by a flag.
    Given,
}

/// An engine as it is named on the command line: `docker@bookworm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Engine {
    /// What kind of engine.
    pub kind: EngineKind,
    /// Where its programs come from.
    pub release: Release,
}

/// Proxies to put in front of one dockerd, with the libraries that a small host lacks.
const PROXIES: [&str; 5] =
    ["nginx", "haproxy", "liblua5.3-0", "libopentracing1", "libopentracing-c-wrapper0"];

/// Compares what it finds at one dockerd with what the program finds there.
const PROMETHEUS: &str = "prometheus";

/// What it takes to reach one dockerd through ssh: the server, and Docker's client, which newer releases have
/// in a package of its own.
const SSH: [&str; 3] = ["openssh-server", "libwrap0", "docker.io"];

impl Engine {
    /// Every engine that can be fetched.
    pub const ALL: [Engine; 12] = [
        Engine { kind: EngineKind::Docker, release: Release::Bookworm },
        Engine { kind: EngineKind::Docker, release: Release::Trixie },
        Engine { kind: EngineKind::Docker, release: Release::Sid },
        Engine { kind: EngineKind::Containerd, release: Release::Bookworm },
        Engine { kind: EngineKind::Containerd, release: Release::Trixie },
        Engine { kind: EngineKind::Containerd, release: Release::Sid },
        // Debian 12's, which is 1.6, knows no events of pods.
        Engine { kind: EngineKind::Cri, release: Release::Trixie },
        Engine { kind: EngineKind::Cri, release: Release::Sid },
        // Debian 13's, which is 5.4, wants libraries of its own that Debian 12 has not.
        Engine { kind: EngineKind::Podman, release: Release::Bookworm },
        Engine { kind: EngineKind::Etcd, release: Release::Bookworm },
        Engine { kind: EngineKind::Etcd, release: Release::Trixie },
        Engine { kind: EngineKind::Etcd, release: Release::Sid },
    ];

    /// Whether it is no failure when this engine cannot be fetched or started, even in CI.
    #[must_use]
    pub fn may_be_missing(self) -> bool {
        self.release == Release::Sid
    }

    /// The Debian packages that it is made of. Of runc it is always Debian 12's: newer ones want a newer libc.
    #[must_use]
    pub fn packages(self) -> Vec<(Release, &'static str)> {
        if self.release == Release::Given {
            return Vec::new();
        }
        let own: &[&'static str] = match self.kind {
            // A dockerd can be started beside a containerd of ours, too.
            EngineKind::Docker | EngineKind::Containerd => &["docker.io", "containerd"],
            EngineKind::Cri => &["containerd"],
            EngineKind::Podman => {
                &["podman", "conmon", "libassuan0", "libglib2.0-0", "libgpgme11", "libsubid4"]
            }
            EngineKind::Etcd => &["etcd-server"],
        };
        let own = own.iter().map(|package| (self.release, *package));
        if self.kind == EngineKind::Etcd {
            return own.chain([(Release::Bookworm, KEYRING_PACKAGE)]).collect();
        }
        // The libraries are those that Debian 12's dockerd and runc need and a small host lacks.
        let shared = ["runc", "busybox-static", "libdevmapper1.02.1", "libseccomp2", KEYRING_PACKAGE];
        let mut packages: Vec<_> = own.chain(shared.map(|package| (Release::Bookworm, package))).collect();
        if self.kind == EngineKind::Docker && self.release == Release::Bookworm {
            packages.push((self.release, PROMETHEUS));
        }
        if self.kind == EngineKind::Docker && self.release == Release::Trixie {
            packages.extend(PROXIES.iter().chain(&SSH).map(|package| (Release::Bookworm, *package)));
        }
        packages
    }
}

impl EngineKind {
    /// The name before the `@`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            EngineKind::Docker => "docker",
            EngineKind::Containerd => "containerd",
            EngineKind::Cri => "cri",
            EngineKind::Podman => "podman",
            EngineKind::Etcd => "etcd",
        }
    }

    /// The program that is the engine, and that knows its version.
    #[must_use]
    pub fn daemon(self) -> &'static str {
        match self {
            EngineKind::Docker => "dockerd",
            EngineKind::Containerd | EngineKind::Cri => "containerd",
            EngineKind::Podman => "podman",
            EngineKind::Etcd => "etcd",
        }
    }
}

impl Release {
    /// The name after the `@`, for Debian's releases also their name in the archive.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Release::Bookworm => "bookworm",
            Release::Trixie => "trixie",
            Release::Sid => "sid",
            Release::Given => "given",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that tables can align it.
        formatter.pad(&format!("{}@{}", self.kind.name(), self.release.name()))
    }
}

impl FromStr for Engine {
    type Err = Error;

    fn from_str(name: &str) -> Result<Engine> {
        let given = [
            EngineKind::Docker,
            EngineKind::Containerd,
            EngineKind::Cri,
            EngineKind::Podman,
            EngineKind::Etcd,
        ];
        let given = given.map(|kind| Engine { kind, release: Release::Given });
        let mut known = Engine::ALL.into_iter().chain(given);
        if let Some(engine) = known.find(|engine| engine.to_string() == name) {
            return Ok(engine);
        }
        let names = |engines: &[Engine], between: &str| {
            engines.iter().map(Engine::to_string).collect::<Vec<_>>().join(between)
        };
        bail!(
            "no such engine: {name} (there are {}, and {} for programs of the host or of --engine-path)",
            names(&Engine::ALL, ", "),
            names(&given, ", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_is_found_by_its_name() {
        for engine in Engine::ALL {
            assert_eq!(engine.to_string().parse::<Engine>().unwrap(), engine);
        }
        for (name, kind) in [
            ("docker@given", EngineKind::Docker),
            ("containerd@given", EngineKind::Containerd),
            ("cri@given", EngineKind::Cri),
            ("podman@given", EngineKind::Podman),
            ("etcd@given", EngineKind::Etcd),
        ] {
            assert_eq!(name.parse::<Engine>().unwrap(), Engine { kind, release: Release::Given });
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "docker@buzz".parse::<Engine>().unwrap_err().to_string();
        assert!(error.contains("docker@buzz") && error.contains("docker@bookworm"), "{error}");
    }

    #[test]
    fn runc_is_always_debian_twelves() {
        for engine in Engine::ALL.into_iter().filter(|engine| engine.kind != EngineKind::Etcd) {
            let runc = engine.packages().into_iter().find(|(_, package)| *package == "runc");
            assert_eq!(runc, Some((Release::Bookworm, "runc")));
        }
    }
}
