//! containerd, by itself, with its CRI plugin, or under a dockerd: its configuration and its start, and what
//! only it has.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::cri;
use super::daemon::Daemon;
use super::engine::EngineKind;
use super::http;
use super::installation::Installation;
use super::metrics;
use super::private::PrivateEngine;
use super::test_image::{image_archive, root_file_system};
use crate::output::output;

/// Plugins that are not used here and would make folders and sockets elsewhere on the host.
const DISABLED: [&str; 2] = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"];

impl PrivateEngine {
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

    /// How many requests were begun since it was started, by service and method, as in
    /// `runtime.v1.RuntimeService/Version`.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn requests(&self) -> Result<BTreeMap<String, u64>> {
        let path = self.log();
        let log = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let log = String::from_utf8_lossy(&log);
        let address = metrics::address(&log).context("its log does not report where its metrics are")?;
        let metrics = http::get(address, "/v1/metrics")?;
        ensure!(metrics.status == 200, "no metrics ({}): {}", metrics.status, metrics.text());
        Ok(metrics::requests(&metrics.text()))
    }

    /// Unpacks the test image, and brings the images of pods to where the CRI plugin looks for images; it
    /// learns of them by containerd's events.
    pub(super) fn provide_images(&self) -> Result<()> {
        let busybox = self.installation.program("busybox")?;
        let folder = self.root_file_system();
        let unpacked = tar::Archive::new(&root_file_system(busybox)?[..]).unpack(&folder);
        unpacked.with_context(|| format!("cannot unpack the test image into {}", folder.display()))?;
        if self.engine().kind != EngineKind::Cri {
            return Ok(());
        }
        let file = self.folder.join("images.tar");
        fs::write(&file, image_archive(busybox, &cri::IMAGES)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        output(self.ctr(cri::NAMESPACE)?.args(["images", "import"]).arg(&file))?;
        fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))
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
    if installation.engine().kind == EngineKind::Cri {
        cri::write_network(folder)?;
    }
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
