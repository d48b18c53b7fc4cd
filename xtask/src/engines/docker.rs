//! A private dockerd with a containerd of its own, for tests and for people to play with. All methods block, and
//! take `&self`, so that several threads can use one engine.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::containerd;
use super::daemon::Daemon;
use super::engine::{Engine, EngineKind};
use super::http::{self, Response, percent_encoded};
use super::installation::Installation;
use super::instance::{END_LIMIT, Instance, Marker};
use super::test_image::{TEST_COMMAND, TEST_IMAGE, root_file_system};

/// How long dockerd may take to stop its containers and itself: it gives each container 10 s by itself.
const TERMINATE_LIMIT: Duration = Duration::from_secs(60);

/// How one start of dockerd differs from another.
#[derive(Clone, Debug, Default)]
pub struct DaemonFlags {
    /// Whether containers live on while dockerd is away.
    pub live_restore: bool,
    /// More flags for dockerd's command line.
    pub more: Vec<String>,
}

/// What a private engine is like.
#[derive(Clone, Debug, Default)]
pub struct DockerOptions {
    /// An existing folder in which the instance's folder is made; by default one of our own for temporary files.
    pub parent: Option<PathBuf>,
    /// Whether it also listens on a free TCP port of 127.0.0.1, without TLS.
    pub tcp: bool,
    /// Flags of the first start.
    pub flags: DaemonFlags,
}

/// What the engine says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerVersion {
    /// Of dockerd.
    pub engine: String,
    /// The newest version of its API.
    pub api: String,
    /// The oldest version of its API.
    pub oldest_api: String,
}

/// A running private engine. Dropping it ends its processes and removes everything that it made, also when a test
/// panics.
#[derive(Debug)]
pub struct Docker {
    // The order is that of dropping: the instance clears everything, then its children are reaped.
    instance: Mutex<Instance>,
    daemons: Mutex<Daemons>,
    installation: Installation,
    folder: PathBuf,
    cgroup: String,
    tcp: Option<SocketAddr>,
    version: DockerVersion,
}

#[derive(Debug, Default)]
struct Daemons {
    containerd: Option<Daemon>,
    dockerd: Option<Daemon>,
}

impl Docker {
    /// Starts containerd and dockerd and waits until dockerd answers. What dead runs left is cleared first.
    ///
    /// # Errors
    ///
    /// When the user is not root, or one of them does not start: then its last log lines are in the message, and
    /// nothing is left.
    pub fn start(installation: &Installation, options: &DockerOptions) -> Result<Docker> {
        let engine = installation.engine();
        ensure!(engine.kind == EngineKind::Docker, "{engine} is no docker");
        let instance = Instance::create(engine, options.parent.as_deref())?;
        let folder = instance.folder().to_owned();
        installation.link_programs(&folder)?;
        let cgroup = instance.cgroup().to_owned();
        let tcp = if options.tcp { Some(free_port()?) } else { None };
        let mut docker = Docker {
            instance: Mutex::new(instance),
            daemons: Mutex::default(),
            installation: installation.clone(),
            folder,
            cgroup,
            tcp,
            version: DockerVersion { engine: String::new(), api: String::new(), oldest_api: String::new() },
        };
        docker.start_again(&options.flags).with_context(|| format!("cannot start a private {engine}"))?;
        docker.version = docker.ask_version()?;
        Ok(docker)
    }

    /// Which engine this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.installation.engine()
    }

    /// Where its programs are.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// What it said about itself when it was first started.
    #[must_use]
    pub fn version(&self) -> &DockerVersion {
        &self.version
    }

    /// The folder of everything that belongs to it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket of Docker's API.
    #[must_use]
    pub fn docker_socket(&self) -> PathBuf {
        socket(&self.folder)
    }

    /// The value for `DOCKER_HOST`.
    #[must_use]
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.docker_socket().display())
    }

    /// Where it listens beside its socket, if it was asked to.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// The socket of its containerd.
    #[must_use]
    pub fn containerd_socket(&self) -> PathBuf {
        containerd::socket(&self.folder)
    }

    /// The log of dockerd, over all its starts.
    #[must_use]
    pub fn dockerd_log(&self) -> PathBuf {
        self.folder.join("dockerd.log")
    }

    /// The name of the cgroup, below the root of each hierarchy, that its containers are in.
    #[must_use]
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// The PID of dockerd, while it runs.
    #[must_use]
    pub fn dockerd_pid(&self) -> Option<u32> {
        running_pid(self.daemons().dockerd.as_ref())
    }

    /// The PID of its containerd, while it runs.
    #[must_use]
    pub fn containerd_pid(&self) -> Option<u32> {
        running_pid(self.daemons().containerd.as_ref())
    }

    /// Asks its API: `request("GET", "/info", None)`. Bodies are JSON.
    ///
    /// # Errors
    ///
    /// When it does not answer. A status of failure is no error.
    pub fn request(&self, method: &str, target: &str, body: Option<&serde_json::Value>) -> Result<Response> {
        let body = body.map(serde_json::Value::to_string).unwrap_or_default();
        http::request(&self.docker_socket(), method, target, "application/json", body.as_bytes())
    }

    /// Loads the image [`TEST_IMAGE`], whose containers run [`TEST_COMMAND`] by default.
    ///
    /// # Errors
    ///
    /// When busybox cannot be read or the engine refuses the image.
    pub fn load_test_image(&self) -> Result<()> {
        load_test_image(&self.installation, &self.docker_socket())
    }

    /// Kills dockerd with SIGKILL. Its containerd and its containers stay.
    ///
    /// # Errors
    ///
    /// When dockerd is not running, or does not end.
    pub fn kill(&self) -> Result<()> {
        let dockerd = self.daemons().dockerd.take();
        dockerd.context("dockerd is not running")?.kill()
    }

    /// Asks dockerd to end with SIGTERM and waits for it: it stops its containers first, unless it was started
    /// with `live_restore`. Its containerd stays.
    ///
    /// # Errors
    ///
    /// When dockerd is not running, or does not end within a minute.
    pub fn terminate(&self) -> Result<()> {
        let dockerd = self.daemons().dockerd.take();
        dockerd.context("dockerd is not running")?.terminate(TERMINATE_LIMIT)
    }

    /// Starts dockerd again after [`kill`](Docker::kill) or [`terminate`](Docker::terminate), and its containerd
    /// too if it has ended, and waits until dockerd answers.
    ///
    /// # Errors
    ///
    /// When dockerd still runs, or one of them does not start.
    pub fn start_again(&self, flags: &DaemonFlags) -> Result<()> {
        let mut daemons = self.daemons();
        if is_running(daemons.dockerd.as_ref()) {
            bail!("dockerd is still running");
        }
        if !is_running(daemons.containerd.as_ref()) {
            daemons.containerd = None;
            daemons.containerd = Some(containerd::start(&self.installation, &self.folder)?);
        }
        daemons.dockerd =
            Some(start_dockerd(&self.installation, &self.folder, &self.cgroup, self.tcp, flags)?);
        Ok(())
    }

    /// Kills dockerd, containerd, the shims and everything in the containers with SIGKILL.
    fn kill_all(&self) -> Result<()> {
        let mut daemons = self.daemons();
        self.instance().marker().ownership().kill_all(END_LIMIT)?;
        for daemon in [daemons.dockerd.take(), daemons.containerd.take()].into_iter().flatten() {
            daemon.kill()?;
        }
        Ok(())
    }

    /// Ends everything and removes everything; dropping does the same, but can only print what goes wrong.
    ///
    /// # Errors
    ///
    /// When something does not end or cannot be removed. The next run tries again.
    pub fn stop(self) -> Result<()> {
        self.kill_all()?;
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

    fn ask_version(&self) -> Result<DockerVersion> {
        let answer = self.request("GET", "/version", None)?.json()?;
        let field = |name: &str| {
            answer[name].as_str().map(str::to_owned).with_context(|| format!("no {name}: {answer}"))
        };
        Ok(DockerVersion {
            engine: field("Version")?,
            api: field("ApiVersion")?,
            oldest_api: field("MinAPIVersion")?,
        })
    }

    fn daemons(&self) -> MutexGuard<'_, Daemons> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instance(&self) -> MutexGuard<'_, Instance> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts dockerd on the containerd of an instance's folder, and waits until it answers.
pub(super) fn start_dockerd(
    installation: &Installation,
    folder: &Path,
    cgroup: &str,
    tcp: Option<SocketAddr>,
    flags: &DaemonFlags,
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
    let daemon = Daemon::start(installation, "dockerd", folder, |command| {
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
        if flags.live_restore {
            command.arg("--live-restore");
        }
        command.args(&flags.more);
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
    let change = percent_encoded(&format!("CMD {command}"));
    let target = format!("/images/create?fromSrc=-&repo={}&changes={change}", percent_encoded(TEST_IMAGE));
    let response = http::request(socket, "POST", &target, "application/x-tar", &archive)?;
    // The status comes before the work, so a failure is in the body.
    let failed = response.status != 200 || response.text().contains("\"error\"");
    ensure!(!failed, "the test image was refused ({}): {}", response.status, response.text().trim());
    Ok(())
}

pub(super) fn is_running(daemon: Option<&Daemon>) -> bool {
    running_pid(daemon).is_some()
}

pub(super) fn running_pid(daemon: Option<&Daemon>) -> Option<u32> {
    daemon.filter(|daemon| daemon.is_running().unwrap_or(false)).map(Daemon::pid)
}

/// Returns a port that is free now. If another process takes it before dockerd does, dockerd fails to start and says so.
fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free TCP port")?;
    listener.local_addr().context("cannot find a free TCP port")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_found_port_is_free() {
        assert!(TcpListener::bind(free_port().unwrap()).is_ok());
    }
}
