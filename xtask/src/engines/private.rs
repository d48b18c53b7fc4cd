//! A running private engine of any kind: never the host's, and nothing of it outside of the instance's
//! folder. All methods block, and take `&self`, so that several threads can use one engine.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::daemon::Daemon;
use super::engine::{Engine, EngineKind};
use super::http::{self, Response};
use super::installation::Installation;
use super::instance::{Instance, Marker};
use super::{containerd, docker, podman};

/// How long dockerd may take to stop its containers and itself: it gives each container 10 s by itself.
const TERMINATE_LIMIT: Duration = Duration::from_secs(60);

/// What a private engine is like.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// An existing folder in which the instance's folder is made; by default one of our own for temporary files.
    pub parent: Option<PathBuf>,
    /// Whether dockerd also listens on a free TCP port of 127.0.0.1, without TLS.
    pub tcp: bool,
    /// Whether dockerd leaves its containers alive when it ends.
    pub live_restore: bool,
}

/// A running private engine with the test image. Dropping it ends its processes, shims and containers, and
/// removes everything that it made, also when a test panics.
#[derive(Debug)]
pub struct PrivateEngine {
    // The order is that of dropping: the instance clears everything, then its children are reaped.
    instance: Mutex<Instance>,
    /// By the names of their programs.
    daemons: Mutex<BTreeMap<&'static str, Daemon>>,
    pub(super) installation: Installation,
    pub(super) folder: PathBuf,
    pub(super) cgroup: String,
    tcp: Option<SocketAddr>,
    version: String,
}

impl PrivateEngine {
    /// Starts it and waits until it answers. What dead runs left is cleared first.
    ///
    /// # Errors
    ///
    /// When the user is not root, or it does not start: then its last log lines are in the message, and
    /// nothing is left.
    pub fn start(installation: &Installation, options: &Options) -> Result<PrivateEngine> {
        let kind = installation.engine().kind;
        ensure!(kind != EngineKind::Etcd, "etcd runs no containers");
        let instance = Instance::create(installation.engine(), options.parent.as_deref())?;
        let folder = instance.folder().to_owned();
        installation.link_programs(&folder)?;
        let cgroup = instance.cgroup().to_owned();
        let engine = PrivateEngine {
            instance: Mutex::new(instance),
            daemons: Mutex::default(),
            installation: installation.clone(),
            folder,
            cgroup,
            tcp: options.tcp.then(free_port).transpose()?,
            version: installation.version()?,
        };
        if kind == EngineKind::Podman {
            podman::configure(&engine.folder, installation)?;
        }
        engine
            .start_again(options.live_restore)
            .with_context(|| format!("cannot start a private {}", engine.engine()))?;
        match kind {
            EngineKind::Docker | EngineKind::Podman => {
                docker::load_test_image(installation, &engine.socket())?;
            }
            EngineKind::Containerd | EngineKind::Cri => engine.provide_images()?,
            EngineKind::Etcd => {}
        }
        Ok(engine)
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

    /// The version that its program reports.
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
        match self.engine().kind {
            EngineKind::Docker => docker::socket(&self.folder),
            EngineKind::Podman => self.folder.join("podman.sock"),
            EngineKind::Containerd | EngineKind::Cri | EngineKind::Etcd => containerd::socket(&self.folder),
        }
    }

    /// The endpoint of its API, as clients take it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Where dockerd listens besides its socket, if it was asked to.
    #[must_use]
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp
    }

    /// The log of its daemon, over all its starts.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join(self.engine().kind.daemon()).with_extension("log")
    }

    /// The cgroup that its containers belong below, with a leading slash. dockerd puts them there by itself.
    #[must_use]
    pub fn cgroup(&self) -> String {
        format!("/{}", self.cgroup)
    }

    /// The PID of its daemon, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid_of(self.engine().kind.daemon())
    }

    /// The PID of one of its daemons, while that runs.
    #[must_use]
    pub fn pid_of(&self, daemon: &str) -> Option<u32> {
        running_pid(self.daemons().get(daemon))
    }

    /// The PIDs of all its processes: daemons, shims or monitors, and what runs in its containers.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>> {
        Ok(self.marker().ownership().processes()?.into_iter().collect())
    }

    /// Asks an API that is Docker's: `request("GET", "/info")`.
    ///
    /// # Errors
    ///
    /// When it does not answer. A status of failure is no error.
    pub fn request(&self, method: &str, target: &str) -> Result<Response> {
        http::request(&self.socket(), method, target, "application/json", &[])
    }

    /// Posts JSON to such an API.
    ///
    /// # Errors
    ///
    /// When it does not answer. A status of failure is no error.
    pub fn post(&self, target: &str, body: &serde_json::Value) -> Result<Response> {
        http::request(&self.socket(), "POST", target, "application/json", body.to_string().as_bytes())
    }

    /// Kills its daemon with SIGKILL. Its containers stay, and so do shims and dockerd's containerd.
    ///
    /// # Errors
    ///
    /// When it is not running, or does not end.
    pub fn kill(&self) -> Result<()> {
        self.take(self.engine().kind.daemon())?.kill()
    }

    /// Asks its daemon to end with SIGTERM and waits for it: dockerd stops its containers first, unless it was started
    /// with `live_restore`.
    ///
    /// # Errors
    ///
    /// When it is not running, or does not end within a minute.
    pub fn terminate(&self) -> Result<()> {
        self.take(self.engine().kind.daemon())?.terminate(TERMINATE_LIMIT)
    }

    /// Starts its daemon again after [`kill`](Self::kill) or [`terminate`](Self::terminate), and waits until
    /// it answers. The option is dockerd's.
    ///
    /// # Errors
    ///
    /// When it still runs, or does not start.
    pub fn start_again(&self, live_restore: bool) -> Result<()> {
        let (installation, folder) = (&self.installation, &self.folder);
        let kind = installation.engine().kind;
        let mut daemons = self.daemons();
        ensure!(running_pid(daemons.get(kind.daemon())).is_none(), "{} is still running", kind.daemon());
        let daemon = match kind {
            EngineKind::Docker => {
                if running_pid(daemons.get("containerd")).is_none() {
                    daemons.remove("containerd");
                    daemons.insert("containerd", containerd::start(installation, folder)?);
                }
                docker::start(installation, folder, &self.cgroup, self.tcp, live_restore)?
            }
            EngineKind::Podman => podman::serve(installation, folder, &self.socket())?,
            EngineKind::Containerd | EngineKind::Cri => containerd::start(installation, folder)?,
            EngineKind::Etcd => bail!("etcd runs no containers"),
        };
        daemons.insert(kind.daemon(), daemon);
        Ok(())
    }

    /// Starts a dockerd on a private containerd, with the test image, and returns its socket. It ends with
    /// the instance.
    ///
    /// # Errors
    ///
    /// When there is no dockerd, or one runs already, or it does not start.
    pub fn start_dockerd(&self, live_restore: bool) -> Result<PathBuf> {
        let mut daemons = self.daemons();
        ensure!(running_pid(daemons.get("dockerd")).is_none(), "dockerd is still running");
        let socket = docker::socket(&self.folder);
        let is_first = !socket.exists();
        let dockerd = docker::start(&self.installation, &self.folder, &self.cgroup, None, live_restore)?;
        daemons.insert("dockerd", dockerd);
        if is_first {
            docker::load_test_image(&self.installation, &socket)?;
        }
        Ok(socket)
    }

    /// Kills the dockerd that was started on a private containerd. Its containers stay.
    ///
    /// # Errors
    ///
    /// When none runs, or it does not end.
    pub fn kill_dockerd(&self) -> Result<()> {
        self.take("dockerd")?.kill()
    }

    /// Ends the dockerd that was started on a private containerd, with its containers.
    ///
    /// # Errors
    ///
    /// When none runs, or it does not end within a minute.
    pub fn stop_dockerd(&self) -> Result<()> {
        self.take("dockerd")?.terminate(TERMINATE_LIMIT)
    }

    /// Ends everything and removes everything; dropping does the same, but can only print what goes wrong.
    ///
    /// # Errors
    ///
    /// When something does not end or cannot be removed. The next run tries again.
    pub fn stop(&self) -> Result<()> {
        self.instance().clear()?;
        let daemons = std::mem::take(&mut *self.daemons());
        daemons.into_values().try_for_each(Daemon::kill)
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
    pub fn detach(self) -> Result<()> {
        self.instance().detach()
    }

    fn take(&self, program: &'static str) -> Result<Daemon> {
        self.daemons().remove(program).with_context(|| format!("{program} is not running"))
    }

    fn daemons(&self) -> MutexGuard<'_, BTreeMap<&'static str, Daemon>> {
        self.daemons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instance(&self) -> MutexGuard<'_, Instance> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn running_pid(daemon: Option<&Daemon>) -> Option<u32> {
    daemon.filter(|daemon| daemon.is_running().unwrap_or(false)).map(Daemon::pid)
}

/// Returns a port that is free now. If another process takes it before dockerd does, dockerd fails to start
/// and says so.
fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free TCP port")?;
    listener.local_addr().context("cannot find a free TCP port")
}
