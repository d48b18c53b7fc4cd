//! A private containerd, by itself for tests and for people to play with, with its CRI plugin, or under a dockerd: never
//! the host's, and nothing of it outside of the instance's folder. All methods block, and take `&self`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::cri;
use super::daemon::Daemon;
use super::docker::{self, DaemonFlags, is_running, running_pid};
use super::engine::{Engine, EngineKind};
use super::http;
use super::installation::Installation;
use super::instance::{END_LIMIT, Instance, Marker};
use super::metrics;
use super::test_image::{image_archive, root_file_system};

/// Plugins that are not used here and would make folders and sockets elsewhere on the host.
const DISABLED: [&str; 2] = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"];

/// A running private containerd. Dropping it ends its processes, shims and containers, and removes everything that it
/// made, also when a test panics.
#[derive(Debug)]
pub struct Containerd {
    // The order is that of dropping: the instance clears everything, then its children are reaped.
    instance: Mutex<Instance>,
    daemons: Mutex<Daemons>,
    installation: Installation,
    folder: PathBuf,
    cgroup: String,
    version: String,
}

#[derive(Debug, Default)]
struct Daemons {
    containerd: Option<Daemon>,
    dockerd: Option<Daemon>,
}

impl Containerd {
    /// Starts it and waits until it listens; its folder is made below `parent`, by default one of our own for
    /// temporary files. What dead runs left is cleared first.
    ///
    /// # Errors
    ///
    /// When the user is not root, or it does not start: then its last log lines are in the message, and nothing is
    /// left.
    pub fn start(installation: &Installation, parent: Option<&Path>) -> Result<Containerd> {
        let engine = installation.engine();
        ensure!(matches!(engine.kind, EngineKind::Containerd | EngineKind::Cri), "{engine} is no containerd");
        let instance = Instance::create(engine, parent)?;
        let folder = instance.folder().to_owned();
        installation.link_programs(&folder)?;
        let cgroup = instance.cgroup().to_owned();
        let containerd = Containerd {
            instance: Mutex::new(instance),
            daemons: Mutex::default(),
            installation: installation.clone(),
            folder,
            cgroup,
            version: installation.version()?,
        };
        containerd.start_again().with_context(|| format!("cannot start a private {engine}"))?;
        containerd.unpack_root_file_system()?;
        if engine.kind == EngineKind::Cri {
            containerd.import_images().with_context(|| format!("cannot import images into {engine}"))?;
        }
        Ok(containerd)
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

    /// The socket of its API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket(&self.folder)
    }

    /// The cgroup below which containers are to be, with a leading slash.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/{}", self.cgroup)
    }

    /// Where runc is to keep its state: its usual folder is the host's, and IDs there would clash with others'.
    #[must_use]
    pub fn runc_root(&self) -> PathBuf {
        self.folder.join("runc")
    }

    /// A folder with the root file system of the test image. Containers share it, so it is not for writing.
    #[must_use]
    pub fn root_file_system(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// `ctr` for a namespace.
    ///
    /// # Errors
    ///
    /// Never: it is one of the programs without which the engine is not found.
    pub fn ctr(&self, namespace: &str) -> Result<Command> {
        let mut command = self.installation.command("ctr")?;
        command.arg("--address").arg(self.socket()).args(["--namespace", namespace]);
        Ok(command)
    }

    /// What `ctr run` needs to keep a container within this instance; the arguments end with its root file system.
    #[must_use]
    pub fn ctr_run_arguments(&self, namespace: &str, id: &str) -> Vec<String> {
        let root = self.root_file_system().display().to_string();
        let runc_root = self.runc_root().display().to_string();
        let cgroup = format!("{}/{namespace}-{id}", self.cgroup());
        let arguments = ["--runc-root", &runc_root, "--cgroup", &cgroup, "--read-only", "--rootfs", &root]
            .map(str::to_owned);
        arguments.into()
    }

    /// The PID of containerd, while it runs.
    #[must_use]
    pub fn containerd_pid(&self) -> Option<u32> {
        running_pid(self.daemons().containerd.as_ref())
    }

    /// The PIDs of all its processes: daemons, shims, and what runs in its containers.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        Ok(self.marker().ownership().processes()?.into_iter().collect())
    }

    /// How many requests were begun since it was started, by service and method, as in `runtime.v1.RuntimeService/Version`.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn requests(&self) -> Result<BTreeMap<String, u64>> {
        let path = self.folder.join("containerd.log");
        let log = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let log = String::from_utf8_lossy(&log);
        let address = metrics::address(&log).context("its log does not report where its metrics are")?;
        let metrics = http::get(address, "/v1/metrics")?;
        ensure!(metrics.status == 200, "no metrics ({}): {}", metrics.status, metrics.text());
        Ok(metrics::requests(&metrics.text()))
    }

    /// Kills containerd with SIGKILL. Its shims and containers stay.
    ///
    /// # Errors
    ///
    /// When containerd is not running, or does not end.
    pub fn kill(&self) -> Result<()> {
        let containerd = self.daemons().containerd.take();
        containerd.context("containerd is not running")?.kill()
    }

    /// Starts containerd again after [`kill`](Containerd::kill), and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it still runs, or does not start.
    pub fn start_again(&self) -> Result<()> {
        let mut daemons = self.daemons();
        if is_running(daemons.containerd.as_ref()) {
            bail!("containerd is still running");
        }
        daemons.containerd = Some(start(&self.installation, &self.folder)?);
        Ok(())
    }

    /// Starts a dockerd on this containerd, with the test image, and returns its socket. It ends with the instance.
    ///
    /// # Errors
    ///
    /// When there is no dockerd, or one runs already, or it does not start.
    pub fn start_dockerd(&self) -> Result<PathBuf> {
        let mut daemons = self.daemons();
        if is_running(daemons.dockerd.as_ref()) {
            bail!("dockerd is still running");
        }
        let flags = DaemonFlags::default();
        let dockerd = docker::start_dockerd(&self.installation, &self.folder, &self.cgroup, None, &flags)?;
        daemons.dockerd = Some(dockerd);
        let socket = docker::socket(&self.folder);
        docker::load_test_image(&self.installation, &socket)?;
        Ok(socket)
    }

    /// Ends the dockerd that was started beside, with its containers.
    ///
    /// # Errors
    ///
    /// When none runs, or it does not end within a minute.
    pub fn stop_dockerd(&self) -> Result<()> {
        let dockerd = self.daemons().dockerd.take();
        dockerd.context("dockerd is not running")?.terminate(Duration::from_secs(60))
    }

    /// Ends everything and removes everything; dropping does the same, but can only print what goes wrong.
    ///
    /// # Errors
    ///
    /// When something does not end or cannot be removed. The next run tries again.
    pub fn stop(self) -> Result<()> {
        let mut daemons = self.daemons();
        self.instance().marker().ownership().kill_all(END_LIMIT)?;
        for daemon in [daemons.dockerd.take(), daemons.containerd.take()].into_iter().flatten() {
            daemon.kill()?;
        }
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

    /// Brings the images of pods to where the CRI plugin looks for images; it learns of them by containerd's events.
    fn import_images(&self) -> Result<()> {
        let archive = image_archive(self.installation.program("busybox")?, &cri::IMAGES)?;
        let file = self.folder.join("images.tar");
        fs::write(&file, archive).with_context(|| format!("cannot write {}", file.display()))?;
        let imported = self.ctr(cri::NAMESPACE)?.args(["images", "import"]).arg(&file).output();
        let imported = imported.context("cannot run ctr")?;
        let errors = String::from_utf8_lossy(&imported.stderr);
        ensure!(imported.status.success(), "ctr cannot import {}: {}", file.display(), errors.trim());
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
    }

    fn unpack_root_file_system(&self) -> Result<()> {
        let archive = root_file_system(self.installation.program("busybox")?)?;
        let folder = self.root_file_system();
        let unpacked = tar::Archive::new(&archive[..]).unpack(&folder);
        unpacked.with_context(|| format!("cannot unpack the test image into {}", folder.display()))
    }

    fn daemons(&self) -> MutexGuard<'_, Daemons> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instance(&self) -> MutexGuard<'_, Instance> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its socket in an instance's folder.
pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("containerd.sock")
}

/// Starts it and waits until it listens.
pub(crate) fn start(installation: &Installation, folder: &Path) -> Result<Daemon> {
    let newer = installation.version_of("containerd")?.split('.').next().is_some_and(|major| major != "1");
    let config = folder.join("containerd.toml");
    let text = configuration(folder, if newer { 3 } else { 2 }, installation.engine().kind);
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    let daemon = Daemon::start(installation, "containerd", folder, |command| {
        command.arg("--config").arg(&config).args(["--log-level", "info"]);
    })?;
    let socket = socket(folder);
    daemon.await_answer(|| UnixStream::connect(&socket).is_ok())?;
    Ok(daemon)
}

fn configuration(folder: &Path, version: u32, kind: EngineKind) -> String {
    let below = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let has_cri = kind == EngineKind::Cri;
    let without_cri = cri::PLUGINS.iter().filter(|_| !has_cri);
    let disabled: Vec<String> =
        DISABLED.iter().chain(without_cri).map(|plugin| format!("{plugin:?}")).collect();
    let disabled = disabled.join(", ");
    let mut text = format!(
        "version = {version}\nroot = {}\nstate = {}\ndisabled_plugins = [{disabled}]\n\n[grpc]\naddress = {}\n\n\
         [ttrpc]\naddress = {}\n",
        below("containerd/root"),
        below("containerd/state"),
        below("containerd.sock"),
        below("containerd.sock.ttrpc")
    );
    if kind != EngineKind::Docker {
        text.push_str(metrics::CONFIGURATION);
    }
    if has_cri {
        text.push_str(&cri::configuration(folder, version));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_below_the_instances_folder() {
        for (version, kind) in [(3, EngineKind::Containerd), (2, EngineKind::Cri), (3, EngineKind::Cri)] {
            let text = configuration(Path::new("/tmp/w/i"), version, kind);
            assert!(text.starts_with(&format!("version = {version}\n")));
            let is_image = |line: &str| line.starts_with("sandbox");
            for line in text.lines().filter(|line| line.contains('/') && !is_image(line)) {
                assert!(line.contains("\"/tmp/w/i/"), "{line}");
            }
        }
    }

    #[test]
    fn only_a_containerd_for_pods_has_the_plugin_for_them() {
        let plain = configuration(Path::new("/tmp/w/i"), 3, EngineKind::Containerd);
        let disabled = plain.lines().find(|line| line.starts_with("disabled_plugins")).unwrap();
        assert!(cri::PLUGINS.iter().all(|plugin| disabled.contains(plugin)), "{disabled}");
        let with_cri = configuration(Path::new("/tmp/w/i"), 3, EngineKind::Cri);
        let disabled = with_cri.lines().find(|line| line.starts_with("disabled_plugins")).unwrap();
        assert!(!cri::PLUGINS.iter().any(|plugin| disabled.contains(plugin)), "{disabled}");
    }
}
