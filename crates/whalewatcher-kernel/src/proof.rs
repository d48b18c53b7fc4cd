//! Whose process a PID is.

use std::fmt;

use whalewatcher_core::{Container, EngineIdentity, EngineKey};
use whalewatcher_host::process::{Proc, Process};

/// The PID namespace of the host: the kernel gives it this number since Linux 3.8 (`PROC_PID_INIT_INO`).
const HOST_NAMESPACE: &str = "pid:[4026531836]";

/// The names of processes that are engines.
const ENGINES: [&str; 5] = ["dockerd", "containerd", "podman", "crio", "k3s-server"];

/// How the names of processes begin that run virtual machines or gVisor. There the PID of a container may be
/// that of several.
const SANDBOXES: [&str; 6] =
    ["qemu", "cloud-hyperviso", "firecracker", "dragonball", "containerd-shim", "runsc"];

/// Why a process is not proven to be a container's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// The engine is on another host.
    Elsewhere,
    /// The engine's PIDs are not ours, or that is unknown.
    Namespace,
    /// The process cannot be looked at.
    Hidden,
    /// It is in no control group that is named by the container's ID.
    Group,
    /// It is that of a virtual machine, or of gVisor.
    Sandbox,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Elsewhere => "the engine is on another host",
            Self::Namespace => "the engine's PIDs are not those of this program, or that is unknown",
            Self::Hidden => "its process cannot be looked at",
            Self::Group => "its process is in no control group that is named by its ID",
            Self::Sandbox => "its process is that of a virtual machine or of gVisor",
        })
    }
}

/// Proves that the process that has the container's PID now is the container's, if the engine reports that
/// the container is alive.
pub(crate) fn prove(proc: &Proc, life: &Container, engine: Option<&EngineIdentity>) -> Result<(), Doubt> {
    let endpoint = engine.map_or("", |engine| engine.endpoint.as_str());
    if !EngineKey::new("", endpoint).host().is_empty() {
        return Err(Doubt::Elsewhere);
    }
    // What /proc shows of another PID namespace is not about the process that a pidfd of ours is opened for.
    let ourselves = proc.open_ourselves().map_err(|_| Doubt::Namespace)?;
    // Discovery looks up the PIDs of this host for an engine in another PID namespace.
    if life.host_pid().is_none() && !has_pids_of(&ourselves, proc, engine.and_then(|engine| engine.pid)) {
        return Err(Doubt::Namespace);
    }
    let process = proc.open(pid_of(life)).map_err(|_| Doubt::Hidden)?;
    // The ID without containerd's namespace.
    let id = life.id().rsplit('/').next().unwrap_or_default();
    if !process.is_in_group_of(id).map_err(|_| Doubt::Hidden)? {
        return Err(Doubt::Group);
    }
    let name = process.name().map_err(|_| Doubt::Hidden)?;
    match SANDBOXES.iter().any(|sandbox| name.starts_with(sandbox)) {
        true => Err(Doubt::Sandbox),
        false => Ok(()),
    }
}

/// The PID that the container's process has on this host.
pub(crate) fn pid_of(life: &Container) -> u32 {
    life.host_pid().unwrap_or(life.pid())
}

/// Whether the PIDs that the engine reports are those of this program.
fn has_pids_of(ourselves: &Process, proc: &Proc, engine: Option<u32>) -> bool {
    let Ok(ours) = ourselves.namespace("pid") else {
        return false;
    };
    let is_engine = |process: &Process| process.name().is_ok_and(|name| ENGINES.contains(&name.as_str()));
    let process = engine.and_then(|pid| proc.open(pid).ok()).filter(is_engine);
    match process.and_then(|process| process.namespace("pid").ok()) {
        Some(namespace) => namespace == ours,
        // The service manager listens for it, or it may not be looked at. Among the PIDs of the host are
        // those of all engines.
        None => ours == HOST_NAMESPACE,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    const ID: &str = "3f29f3a1a2a4d3b0c9b8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6";
    const OTHER: &str = "pid:[4026532200]";
    const OURS: u32 = 800;

    /// A made-up `/proc`, in which this program has a PID namespace.
    struct Host(tempfile::TempDir);

    impl Host {
        fn new(ours: &str) -> Self {
            let host = Self(tempfile::tempdir().unwrap());
            host.add(OURS, "test", "/", ours);
            symlink(OURS.to_string(), host.0.path().join("self")).unwrap();
            host
        }

        fn add(&self, pid: u32, name: &str, group: &str, namespace: &str) {
            let folder = self.0.path().join(pid.to_string());
            fs::create_dir_all(folder.join("ns")).unwrap();
            fs::write(folder.join("comm"), format!("{name}\n")).unwrap();
            fs::write(folder.join("cgroup"), format!("0::{group}\n")).unwrap();
            fs::write(folder.join("status"), format!("NSpid:\t{pid}\n")).unwrap();
            symlink(namespace, folder.join("ns/pid")).unwrap();
        }

        /// What is proven of the container with PID 7, if the engine has this PID and endpoint.
        fn prove(&self, engine: Option<u32>, endpoint: &str) -> Result<(), Doubt> {
            let mut identity = EngineIdentity::new("docker.com", endpoint);
            identity.pid = engine;
            prove(&Proc::at(self.0.path()), &Container::new(format!("moby/{ID}"), "web", 7), Some(&identity))
        }
    }

    #[test]
    fn the_control_group_names_the_container() {
        for (group, expected) in [
            (format!("/system.slice/docker-{ID}.scope"), Ok(())),
            (format!("/docker/{ID}/init.scope"), Ok(())),
            (format!("/../../kubepods/besteffort/pod1/{ID}"), Ok(())),
            ("/system.slice/docker-other.scope".to_owned(), Err(Doubt::Group)),
            ("/".to_owned(), Err(Doubt::Group)),
        ] {
            let host = Host::new(HOST_NAMESPACE);
            host.add(7, "web", &group, OTHER);
            assert_eq!(host.prove(None, "unix:///run/docker.sock"), expected, "{group}");
        }
    }

    #[test]
    fn in_a_container_only_an_engine_beside_it_has_the_same_pids() {
        for (ours, engines, engine, expected) in [
            // On the host, or in a container with `pid: host`; with socket activation the engine's PID is unknown.
            (HOST_NAMESPACE, Some(HOST_NAMESPACE), Some(900), Ok(())),
            (HOST_NAMESPACE, None, Some(900), Ok(())),
            (HOST_NAMESPACE, None, None, Ok(())),
            // An engine in a container.
            (HOST_NAMESPACE, Some(OTHER), Some(900), Err(Doubt::Namespace)),
            // In a container without `pid: host`, where PID 7 is a stranger.
            (OTHER, None, None, Err(Doubt::Namespace)),
            (OTHER, None, Some(900), Err(Doubt::Namespace)),
            // In a container with the engine.
            (OTHER, Some(OTHER), Some(900), Ok(())),
        ] {
            let host = Host::new(ours);
            host.add(7, "web", &format!("/docker/{ID}"), OTHER);
            if let Some(namespace) = engines {
                host.add(900, "dockerd", "/", namespace);
            }
            assert_eq!(
                host.prove(engine, "unix:///run/docker.sock"),
                expected,
                "{ours} {engines:?} {engine:?}"
            );
        }
    }

    #[test]
    fn a_proc_of_another_namespace_proves_nothing() {
        let host = Host::new(HOST_NAMESPACE);
        host.add(7, "web", &format!("/docker/{ID}"), OTHER);
        fs::write(host.0.path().join("self/status"), format!("NSpid:\t{OURS}\t1\n")).unwrap();
        let on_host = Container::new(ID, "web", 1).with_host_pid(7);
        let proven = |host: &Host| {
            [host.prove(None, "unix:///run/docker.sock"), prove(&Proc::at(host.0.path()), &on_host, None)]
        };
        assert_eq!(proven(&host), [Err(Doubt::Namespace); 2]);
        // One that does not show this program.
        fs::remove_file(host.0.path().join("self")).unwrap();
        assert_eq!(proven(&host), [Err(Doubt::Namespace); 2]);
    }

    #[test]
    fn a_process_that_is_no_engine_proves_nothing() {
        let host = Host::new(OTHER);
        host.add(7, "web", &format!("/docker/{ID}"), OTHER);
        host.add(900, "proxy", "/", OTHER);
        assert_eq!(host.prove(Some(900), "unix:///run/docker.sock"), Err(Doubt::Namespace));
    }

    #[test]
    fn the_pid_of_this_host_counts_where_it_is_known() {
        let host = Host::new(OTHER);
        host.add(70, "web", &format!("/docker/{ID}"), OTHER);
        let life = Container::new(ID, "web", 7).with_host_pid(70);
        assert_eq!(prove(&Proc::at(host.0.path()), &life, None), Ok(()));
    }

    #[test]
    fn remote_engines_sandboxes_and_processes_that_ended_are_not_proven() {
        let host = Host::new(HOST_NAMESPACE);
        assert_eq!(host.prove(None, "unix:///run/docker.sock"), Err(Doubt::Hidden));
        host.add(7, "runsc-sandbox", &format!("/docker/{ID}"), OTHER);
        assert_eq!(host.prove(None, "unix:///run/docker.sock"), Err(Doubt::Sandbox));
        for endpoint in ["tcp://far:2376", "ssh://me@far"] {
            assert_eq!(host.prove(None, endpoint), Err(Doubt::Elsewhere), "{endpoint}");
        }
    }
}
