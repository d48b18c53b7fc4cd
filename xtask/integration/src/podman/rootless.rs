//! A podman whose service runs as another user than root, with namespaces of its own that end with it.

use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use whalewatcher_core::watch_with;
use whalewatcher_drivers::docker::{Driver, Plan};
use whalewatcher_podman::Client;
use xtask::cache::Cache;
use xtask::engines::{GivenPrograms, Installation, TEST_IMAGE};

use super::PodmanFixture;
use crate::docker::truth;
use crate::fixture::{Fixture as _, settings};
use crate::recorder::{LIMIT, Reader};
use crate::watched::Watched;

/// The user `nobody`.
const USER: u32 = 65534;

/// Copies the programs to where that user may read them, and becomes the service. The arguments are a folder, what
/// is in LD_LIBRARY_PATH, the image, and the programs.
const START: &str = r#"set -e
mount -t tmpfs -o mode=755 tmpfs /mnt
mkdir /mnt/bin /mnt/lib
IFS=:
for libraries in $2; do find "$libraries" -maxdepth 1 -name '*.so*' -exec cp {} /mnt/lib \;; done
unset IFS
export HOME="$1" IMAGE="$3" XDG_RUNTIME_DIR="$1" LD_LIBRARY_PATH=/mnt/lib PATH="/mnt/bin:$PATH"
shift 3
cp "$@" /mnt/bin
cd "$HOME"
mkdir -p .config/containers image/bin tmp
cp /mnt/bin/busybox image/bin/sh
ln -s sh image/bin/sleep
echo '{ "default": [{ "type": "insecureAcceptAnything" }] }' > .config/containers/policy.json
export TMPDIR="$HOME/tmp" CONTAINERS_CONF="$HOME/containers.conf"
cat > "$CONTAINERS_CONF" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
conmon_path = ["/mnt/bin/conmon"]
conmon_env_vars = ["LD_LIBRARY_PATH=/mnt/lib", "PATH=$PATH"]
lock_type = "file"
END
chown -R "$RUN_AS:$RUN_AS" .
set -- setpriv --pdeathsig KILL --reuid "$RUN_AS" --regid "$RUN_AS" --clear-groups podman --root "$HOME/root" --runroot "$HOME/run" \
    --tmpdir "$HOME/libpod" --runtime /mnt/bin/runc --storage-driver vfs --cgroup-manager cgroupfs --events-backend file
tar -C image --owner=0 --group=0 -c . | "$@" import - "docker.io/library/$IMAGE"
exec "$@" system service --time=0 "unix://$HOME/s"
"#;

struct Service {
    /// It ends with this.
    child: Child,
    folder: TempDir,
}

impl Service {
    async fn start(fixture: &PodmanFixture) -> Result<Service> {
        let engine = fixture.engine().engine();
        let installation = Installation::find(&Cache::open()?, engine, &GivenPrograms::default())?;
        let folder = tempfile::tempdir()?;
        chown(folder.path(), Some(USER), Some(USER))?;
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", START, "sh"]);
        command.env("RUN_AS", USER.to_string()).arg(folder.path());
        command.arg(installation.library_path().map_or("".as_ref(), |path| path.as_os_str())).arg(TEST_IMAGE);
        for program in ["podman", "conmon", "runc", "busybox"] {
            command.arg(installation.program(program)?);
        }
        let log = std::fs::File::create(folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().context("cannot start a rootless podman")?;
        let mut service = Service { child, folder };
        let deadline = Instant::now() + LIMIT;
        // No event shows when it listens.
        while UnixStream::connect(service.socket()).await.is_err() {
            let goes_on = service.child.try_wait()?.is_none() && Instant::now() < deadline;
            ensure!(goes_on, "it does not listen: {}", service.log());
            sleep(Duration::from_millis(20)).await;
        }
        Ok(service)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

pub(super) async fn a_rootless_podman_is_watched_and_what_it_failed_to_pause_is_not_paused(
    fixture: &PodmanFixture,
) -> Result<()> {
    let service = Service::start(fixture).await?;
    let docker = Driver::connect(&service.socket()).await?;
    let plan = |name: &str| Plan::named(name).running("sleep 1000");
    docker.run(plan("before")).await.with_context(|| service.log())?;
    let client = Client::new(format!("unix://{}", service.socket().display()))?;
    let watched = Watched::new(watch_with(client, settings()));
    watched.ready().await?;
    let mut reported = Reader::new(watched.recorder());
    let web = docker.run(plan("web")).await?;
    reported.expect("started web").await?;
    let error = docker.pause(&web).await.err().context("it was paused, though it has no cgroup")?;
    fixture.figure(format!("{error:#}"));
    let emitted = docker.await_events("pause", 1, ("container", &web));
    timeout(LIMIT, emitted).await.context("podman emitted no event of a pause")??;
    docker.kill(&web, "KILL").await?;
    reported.expect("exited web 137").await?;
    let alive = truth::ask(&docker).await?.alive;
    let alive: Vec<_> = alive.into_iter().map(|(id, one)| (id, one.pid, one.paused)).collect();
    let portfolio = watched.watching.portfolio();
    let shown: Vec<_> =
        portfolio.containers().map(|one| (one.id().to_string(), one.pid(), one.paused())).collect();
    ensure!(shown == alive, "{shown:?} is shown, and alive is {alive:?}\n{}", watched.recorder().tail());
    ensure!(reported.rest().is_empty(), "there was more: {:?}", reported.rest());
    Ok(())
}
