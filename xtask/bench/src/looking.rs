//! What it costs to look for engines again and again, with 100 of them: processes that are named `dockerd`, and listen.

use std::env;
use std::io::{self, Read as _};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::time::sleep;
use whalewatcher_bench::figure::{Aim, Figure, Unit};
use whalewatcher_bench::sample::Sample;
use whalewatcher_core::{EngineError, EngineIdentity, EngineWatcher, Fleet, Settings};
use whalewatcher_discover::{Detected, Detector, Options, Socket, discover};
use whalewatcher_testkit::scripted::Engine;

use crate::bench::Effort;
use crate::process::{Running, Usage};

const ENGINES: usize = 100;
const SPAN: Duration = Duration::from_secs(30);
/// 0.2 % of a core.
const AIM: Aim = Aim::AtMost(2.0);

pub(crate) fn run(_: &str, _: &Effort) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let engines: Vec<_> = (0..ENGINES).map(|nth| listening(&folder, nth)).collect::<Result<_>>()?;
    let processes = std::fs::read_dir("/proc")?.count();
    let figures = Builder::new_current_thread().enable_all().build()?.block_on(async {
        let fleet = Arc::new(Fleet::new());
        let options = Options::default().without_detectors().with_detector(Anything);
        let options = options.with_endpoints([""; 0]).with_root(folder.path().join("none"));
        let discovery = discover(&fleet, options);
        discovery.settled().await;
        let before = Usage::of(std::process::id())?;
        sleep(SPAN).await;
        let computed = Usage::of(std::process::id())?.since(before).computed;
        let each = computed.as_secs_f64() / SPAN.as_secs_f64() * 1e3;
        let what = format!("looking for engines, {ENGINES} engines, per second");
        println!("{} engines found; entries in /proc: {processes}", fleet.watchers().len());
        let sample = Sample::once(each);
        anyhow::Ok(vec![Figure::new("looking", what, Unit::Milliseconds, sample).aiming_at(AIM)])
    })?;
    drop(engines);
    Ok(figures)
}

/// Takes whatever listens for an engine, and does not connect to it: only looking is measured.
struct Anything;

impl Detector for Anything {
    fn processes(&self) -> &[&str] {
        &["dockerd"]
    }

    fn sockets(&self) -> &[&str] {
        &["/run/user/*/docker.sock"]
    }

    fn detect<'a>(
        &'a self,
        socket: &'a Socket,
        settings: &'a Settings,
    ) -> BoxFuture<'a, Result<Detected, EngineError>> {
        Box::pin(async move {
            let settings = settings.clone().with_probes(None, Duration::from_secs(1)).with_audits(None);
            let engine = EngineWatcher::with_settings(Engine::at(socket.endpoint()), settings);
            Ok(Detected::new(EngineIdentity::new("scripted", socket.endpoint()), engine))
        })
    }
}

/// Starts a process that is named `dockerd` and listens. It ends with its input, too.
fn listening(folder: &TempDir, nth: usize) -> Result<Running> {
    let program = folder.path().join("dockerd");
    if nth == 0 {
        symlink(env::current_exe()?, &program)?;
    }
    let mut command = Command::new(&program);
    command.arg("--only-listen").arg(folder.path().join(format!("{nth}.sock")));
    let child = command.stdin(Stdio::piped()).spawn();
    Ok(Running(child.with_context(|| format!("cannot start {}", program.display()))?))
}

/// What that process does.
pub(crate) fn only_listen(path: &Path) -> Result<()> {
    let _listener = UnixListener::bind(path)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
