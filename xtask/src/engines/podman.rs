//! A private podman that serves Docker's API, for tests and for people to play with. Its containers belong to no daemon:
//! they live on when it is killed. All methods block, and take `&self`.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};

use super::daemon::Daemon;
use super::docker::{is_running, load_test_image, running_pid};
use super::engine::{Engine, EngineKind};
use super::http::{self, Response};
use super::installation::Installation;
use super::instance::{Instance, Marker};

/// What podman takes for runc.
const RUNC: &str = "bin/runc-within";

/// A running private podman. Dropping it ends its processes and removes everything that it made, also when a test panics.
#[derive(Debug)]
pub struct Podman {
    // The order is that of dropping: the instance clears everything, then its child is reaped.
    instance: Mutex<Instance>,
    daemon: Mutex<Option<Daemon>>,
    installation: Installation,
    folder: PathBuf,
    cgroup: String,
    version: String,
}

impl Podman {
    /// Starts it and waits until it answers; its folder is made below `parent`, by default one of our own for temporary
    /// files. What dead runs left is cleared first.
    ///
    /// # Errors
    ///
    /// When the user is not root, or it does not start: then its last log lines are in the message, and nothing is left.
    pub fn start(installation: &Installation, parent: Option<&Path>) -> Result<Podman> {
        let engine = installation.engine();
        ensure!(engine.kind == EngineKind::Podman, "{engine} is no podman");
        let instance = Instance::create(engine, parent)?;
        let folder = instance.folder().to_owned();
        installation.link_programs(&folder)?;
        configure(&folder, installation)?;
        let cgroup = instance.cgroup().to_owned();
        let podman = Podman {
            instance: Mutex::new(instance),
            daemon: Mutex::default(),
            installation: installation.clone(),
            folder,
            cgroup,
            version: installation.version()?,
        };
        podman.start_again().with_context(|| format!("cannot start a private {engine}"))?;
        Ok(podman)
    }

    /// Which engine this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.installation.engine()
    }

    /// What its program says that it is.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The folder of everything that belongs to it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket of Docker's API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join("podman.sock")
    }

    /// The cgroup below which containers have to be made, with a leading slash: by itself podman makes them elsewhere.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/{}", self.cgroup)
    }

    /// The log of podman, over all its starts.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("podman.log")
    }

    /// The PID of what serves the API, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        running_pid(self.daemon().as_ref())
    }

    /// The PIDs of all its processes: what serves the API, the monitors of containers, and what runs in these.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        Ok(self.marker().ownership().processes()?.into_iter().collect())
    }

    /// Asks its API: `request("GET", "/info")`.
    ///
    /// # Errors
    ///
    /// When it does not answer. A status of failure is no error.
    pub fn request(&self, method: &str, target: &str) -> Result<Response> {
        http::request(&self.socket(), method, target, "application/json", &[])
    }

    /// Loads the image [`TEST_IMAGE`](super::TEST_IMAGE), whose containers run [`TEST_COMMAND`](super::TEST_COMMAND) by
    /// default.
    ///
    /// # Errors
    ///
    /// When busybox cannot be read or podman refuses the image.
    pub fn load_test_image(&self) -> Result<()> {
        load_test_image(&self.installation, &self.socket())
    }

    /// Kills what serves the API with SIGKILL. The containers stay.
    ///
    /// # Errors
    ///
    /// When it is not running, or does not end.
    pub fn kill(&self) -> Result<()> {
        let daemon = self.daemon().take();
        daemon.context("podman is not running")?.kill()
    }

    /// Serves the API again after [`kill`](Podman::kill), and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it still runs, or does not start.
    pub fn start_again(&self) -> Result<()> {
        let mut daemon = self.daemon();
        if is_running(daemon.as_ref()) {
            bail!("podman is still running");
        }
        *daemon = Some(serve(&self.installation, &self.folder, &self.socket())?);
        Ok(())
    }

    /// Ends everything and removes everything; dropping does the same, but can only print what goes wrong.
    ///
    /// # Errors
    ///
    /// When something does not end or cannot be removed. The next run tries again.
    pub fn stop(self) -> Result<()> {
        self.instance().clear()
    }

    /// What belongs to this instance, by which to look for its remains once it is stopped.
    #[must_use]
    pub fn marker(&self) -> Marker {
        self.instance().marker().clone()
    }

    /// Lets it outlive this process; `cargo xtask engines down` ends it.
    ///
    /// # Errors
    ///
    /// When its marker cannot be written.
    pub fn detach(self) -> Result<Marker> {
        let mut instance = self.instance();
        instance.detach()?;
        Ok(instance.marker().clone())
    }

    fn daemon(&self) -> MutexGuard<'_, Option<Daemon>> {
        self.daemon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instance(&self) -> MutexGuard<'_, Instance> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what podman would otherwise look for in the host's `/etc/containers`.
fn configure(folder: &Path, installation: &Installation) -> Result<()> {
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

/// Has runc keep its state in this folder: its usual one is the host's. The monitors of containers run it, too, and with no
/// other flags than its own.
fn keep_runc_within(folder: &Path, runc: &Path) -> Result<()> {
    let script = folder.join(RUNC);
    let text =
        format!("#!/bin/sh\nexec '{}' --root '{}' \"$@\"\n", runc.display(), folder.join("runc").display());
    fs::write(&script, text)
        .and_then(|()| fs::set_permissions(&script, Permissions::from_mode(0o700)))
        .with_context(|| format!("cannot write {}", script.display()))
}

/// Limits that need no right to raise them, and locks that are not the host's, which are in shared memory. A monitor gets no
/// environment but this one, and starts podman when its container has ended.
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

fn serve(installation: &Installation, folder: &Path, socket: &Path) -> Result<Daemon> {
    let daemon = Daemon::start(installation, "podman", folder, |command| {
        command.env("CONTAINERS_CONF", folder.join("containers.conf")).env("TMPDIR", folder.join("tmp"));
        let paths = [
            ("--root", folder.join("root")),
            ("--runroot", folder.join("run")),
            ("--tmpdir", folder.join("libpod")),
            ("--runtime", folder.join(RUNC)),
        ];
        for (flag, path) in paths {
            command.arg(flag).arg(path);
        }
        command.args(["--storage-driver", "overlay", "--cgroup-manager", "cgroupfs"]);
        command.args(["--events-backend", "file", "system", "service", "--time=0"]);
        command.arg(format!("unix://{}", socket.display()));
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
