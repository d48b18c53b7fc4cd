//! dockerd on a containerd of its own: how it is started, and how it gets the test image.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::containerd;
use super::daemon::Daemon;
use super::engine::Release;
use super::http;
use super::installation::Installation;
use super::test_image::{TEST_COMMAND, TEST_IMAGE, root_file_system};

/// Starts dockerd on the containerd of an instance's folder, and waits until it answers.
pub(super) fn start(
    installation: &Installation,
    folder: &Path,
    cgroup: &str,
    tcp: Option<SocketAddr>,
    live_restore: bool,
) -> Result<Daemon> {
    let socket = socket(folder);
    let config = folder.join("daemon.json");
    // An empty file is refused, and none at all would be the host's.
    let mut settings = serde_json::json!({});
    if installation.version_of("dockerd")?.starts_with("20.") {
        // Otherwise it writes a key into /etc/docker. Later versions have no key and refuse the setting.
        settings["deprecated-key-path"] = folder.join("key.json").display().to_string().into();
    }
    fs::write(&config, settings.to_string()).with_context(|| format!("cannot write {}", config.display()))?;
    let program = folder.join("bin/dockerd");
    let command = if tcp.is_none() && installation.engine().release == Release::Bookworm {
        // Scenarios make networks: they are in a namespace of its own, and end with it. Its loopback
        // interface is down at first.
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "\"$0\" ip link set lo up && exec \"$@\""]);
        command.arg(installation.program("busybox")?).arg(program);
        command
    } else {
        Command::new(program)
    };
    let daemon = Daemon::start_by(command, installation, "dockerd", folder, |command| {
        let paths = [
            ("--config-file", config),
            ("--data-root", folder.join("data")),
            ("--exec-root", folder.join("exec")),
            ("--pidfile", folder.join("pid")),
            ("--containerd", containerd::socket(folder)),
        ];
        for (flag, path) in paths {
            command.arg(flag).arg(path);
        }
        command.args(["--containerd-namespace", "moby", "--host", &format!("unix://{}", socket.display())]);
        // Nothing of the host's network is touched, and neither iptables nor docker-proxy has to be there.
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false", "--userland-proxy=false"]);
        command.args(["--exec-opt", "native.cgroupdriver=cgroupfs"]);
        command.arg("--cgroup-parent").arg(format!("/{cgroup}"));
        if let Some(address) = tcp {
            command.arg("--host").arg(format!("tcp://{address}")).arg("--tls=false");
        }
        if live_restore {
            command.arg("--live-restore");
        }
    })?;
    let pings = || http::request(&socket, "GET", "/_ping", "text/plain", &[]);
    daemon.await_answer(|| pings().is_ok_and(|response| response.status == 200))?;
    Ok(daemon)
}

/// dockerd's socket in an instance's folder.
pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("docker.sock")
}

/// Loads the image [`TEST_IMAGE`] into the dockerd at this socket.
pub(super) fn load_test_image(installation: &Installation, socket: &Path) -> Result<()> {
    let archive = root_file_system(installation.program("busybox")?)?;
    let command = serde_json::json!(TEST_COMMAND);
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let change = encoded(&format!("CMD {command}"));
    let target = format!("/images/create?fromSrc=-&repo={}&changes={change}", encoded(TEST_IMAGE));
    let response = http::request(socket, "POST", &target, "application/x-tar", &archive)?;
    // The status comes before the work, so a failure is in the body.
    let failed = response.status != 200 || response.text().contains("\"error\"");
    ensure!(!failed, "the test image was refused ({}): {}", response.status, response.text().trim());
    Ok(())
}
