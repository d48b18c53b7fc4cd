//! podman, as it serves Docker's API: its configuration and its start. Its containers belong to no daemon:
//! they live on when it is killed.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::daemon::Daemon;
use super::http;
use super::installation::Installation;
use super::private::PrivateEngine;

/// What podman takes for runc.
const RUNC: &str = "bin/runc-within";

/// Writes what podman would otherwise look for in the host's `/etc/containers`.
pub(super) fn configure(folder: &Path, installation: &Installation) -> Result<()> {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))
            .and_then(|()| fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))
    };
    write("tmp/.keep", "")?;
    write("containers.conf", &configuration(folder, installation.library_path()))?;
    keep_runc_within(folder, installation.program("runc")?)?;
    // Its home is the instance's folder.
    write(".config/containers/policy.json", r#"{ "default": [{ "type": "insecureAcceptAnything" }] }"#)
}

/// Has runc keep its state in this folder: its usual one is the host's. The monitors of containers run it,
/// too, and with no other flags than its own.
fn keep_runc_within(folder: &Path, runc: &Path) -> Result<()> {
    let script = folder.join(RUNC);
    let text =
        format!("#!/bin/sh\nexec '{}' --root '{}' \"$@\"\n", runc.display(), folder.join("runc").display());
    fs::write(&script, text)
        .and_then(|()| fs::set_permissions(&script, Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot write {}", script.display()))
}

/// Limits that need no right to raise them, and locks that are not the host's, which are in shared memory. A
/// monitor gets no environment but this one, and starts podman when its container has ended.
fn configuration(folder: &Path, library_path: Option<&OsString>) -> String {
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let libraries = library_path.map(|path| format!("LD_LIBRARY_PATH={}", path.display()));
    let variables = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()].into_iter().chain(libraries);
    let variables: Vec<String> = variables.map(|variable| format!("{variable:?}")).collect();
    format!(
        "[containers]\n\
         default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
         [engine]\n\
         conmon_path = [{}]\n\
         conmon_env_vars = [{}]\n\
         lock_type = \"file\"\n\
         [network]\n\
         network_config_dir = {}\n",
        path("bin/conmon"),
        variables.join(", "),
        path("networks"),
    )
}

impl PrivateEngine {
    /// A private podman's program, with all that keeps it within the instance.
    ///
    /// # Errors
    ///
    /// When the engine is another one.
    pub fn podman(&self) -> Result<Command> {
        let mut command = self.installation.command("podman")?;
        keep_within(&mut command, &self.folder);
        Ok(command)
    }
}

fn keep_within(command: &mut Command, folder: &Path) {
    command.env("CONTAINERS_CONF", folder.join("containers.conf")).env("TMPDIR", folder.join("tmp"));
    command.env("HOME", folder);
    let paths = [
        ("--root", folder.join("root")),
        ("--runroot", folder.join("run")),
        ("--tmpdir", folder.join("libpod")),
        ("--runtime", folder.join(RUNC)),
    ];
    for (flag, path) in paths {
        command.arg(flag).arg(path);
    }
    command.args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]);
}

pub(super) fn serve(installation: &Installation, folder: &Path, socket: &Path) -> Result<Daemon> {
    let daemon = Daemon::start(installation, "podman", folder, |command| {
        keep_within(command, folder);
        command.args(["system", "service", "--time=0"]).arg(format!("unix://{}", socket.display()));
    })?;
    let pings = || http::request(socket, "GET", "/_ping", "text/plain", &[]);
    daemon.await_answer(|| pings().is_ok_and(|response| response.status == 200))?;
    Ok(daemon)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_it_is_reported_to_use_is_outside_of_its_folder() {
        let configuration = configuration(Path::new("/tmp/w/i"), Some(&OsString::from("/cache/lib")));
        let paths: Vec<_> = configuration.split('"').filter(|text| text.starts_with('/')).collect();
        assert_eq!(paths, ["/tmp/w/i/bin/conmon", "/tmp/w/i/networks"]);
        assert!(configuration.contains("\"LD_LIBRARY_PATH=/cache/lib\"]"), "{configuration}");
        assert!(configuration.contains("lock_type = \"file\""));
    }
}
