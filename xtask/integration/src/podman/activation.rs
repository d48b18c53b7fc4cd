//! A podman whose service is started by a connection to its socket, as systemd does it, and ends when it is idle.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::task::block_in_place;
use tokio::time::timeout;
use whalewatcher_core::{Fleet, Status};
use whalewatcher_discover::{Discovery, FindingKind, Options, PodmanDetector, discover};
use whalewatcher_drivers::docker::Plan;

use super::PodmanFixture;
use crate::announced::Announced;
use crate::fixture::{Fixture as _, settings};
use crate::made_up_host::MadeUpHost;
use crate::recorder::LIMIT;

/// Longer than the scenario takes.
const GRACE: Duration = Duration::from_secs(3600);

/// Gets the socket as its standard input, and hands it on as systemd does.
const HAND_ON: &str = r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@""#;

/// Listens in the place of a service that does not run.
struct Activator<'a> {
    fixture: &'a PodmanFixture,
    host: MadeUpHost,
    listener: UnixListener,
}

impl<'a> Activator<'a> {
    fn new(fixture: &'a PodmanFixture) -> Result<Activator<'a>> {
        let (host, path) = (MadeUpHost::new()?, fixture.socket("idle.sock"));
        let listener = UnixListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        host.link("run/podman/podman.sock", &path)?;
        host.manage(&listener)?;
        host.show([])?;
        Ok(Activator { fixture, host, listener })
    }

    /// Connects with a request that goes on: a connection without one does not keep podman from ending.
    fn connect(&self) -> Result<UnixStream> {
        let mut client = UnixStream::connect(self.fixture.socket("idle.sock"))?;
        client.write_all(b"GET /events HTTP/1.1\r\nHost: podman\r\n\r\n")?;
        Ok(client)
    }

    /// Starts the service once something connects.
    async fn activate(&self) -> Result<Child> {
        let mut connecting = [PollFd::new(&self.listener, PollFlags::IN)];
        let limit = Timespec::try_from(LIMIT)?;
        let count = block_in_place(|| poll(&mut connecting, Some(&limit)));
        ensure!(count? == 1, "nothing connects");
        let podman = self.fixture.engine().podman()?;
        let mut command = Command::new("sh");
        command.args(["-c", HAND_ON]).arg(podman.get_program()).args(podman.get_args());
        command.args(["system", "service", "--time=1"]);
        command.envs(podman.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::from(OwnedFd::from(self.listener.try_clone()?))).kill_on_drop(true);
        let service = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        self.host.show(service.id())?;
        Ok(service)
    }

    fn discover(&self, fleet: &Arc<Fleet>, change: impl FnOnce(Options) -> Options) -> Discovery {
        let options = self.host.options().without_detectors().with_detector(PodmanDetector::new());
        discover(fleet, change(options.with_settings(settings()).with_grace(GRACE)))
    }
}

pub(super) async fn a_service_that_ends_when_idle_is_no_exit_and_is_started_only_if_that_is_allowed(
    fixture: &PodmanFixture,
) -> Result<()> {
    fixture.driver().await?.run(Plan::named("lasting")).await?;
    let activator = Activator::new(fixture)?;
    let fleet = Arc::new(Fleet::new());
    let announced = Announced::start(&fleet);
    let discovery = activator.discover(&fleet, |options| options);
    timeout(LIMIT, discovery.settled()).await?;
    let kinds: Vec<_> = discovery.findings().iter().map(|finding| finding.kind).collect();
    ensure!(kinds == [FindingKind::NotStarted], "{:?}", discovery.findings());
    ensure!(activator.listener.accept().is_err(), "looking connects");

    for times in 1..3 {
        let client = activator.connect()?;
        let mut service = activator.activate().await?;
        announced.until_reported("synced", times).await?;
        ensure!(announced.so_far().count("started") == 1, "{}", announced.so_far().tail());
        // It does not end while it is watched.
        drop(client);
        let pid = service.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).context("it has ended")?;
        kill_process(pid, Signal::TERM)?;
        timeout(LIMIT, service.wait()).await??;
        activator.host.show([])?;
        announced.until_reported("disconnected", times).await?;
        let watcher = fleet.watchers().pop().context("it is a member")?;
        let held_back = |status: &Status| status.to_string().contains("would start one");
        timeout(LIMIT, watcher.follow_status().wait_for(held_back)).await?.context("it was removed")?;
        ensure!(activator.listener.accept().is_err(), "the watcher connects");
    }
    let ends = ["exited", "left"].map(|kind| announced.so_far().count(kind));
    ensure!(ends == [0, 0], "{}", announced.so_far().tail());
    drop(discovery);

    let discovery = activator.discover(&fleet, |options| options.with_activation(true));
    let mut service = activator.activate().await?;
    announced.until_reported("synced", 3).await?;
    drop(discovery);
    ensure!(timeout(LIMIT, service.wait()).await??.success(), "it does not end by itself when it is idle");
    announced.so_far().is_right()
}
