//! The witness: a pidfd for each life.

use std::fmt;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_core::future::BoxFuture;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use whalewatcher_core::{Container, EngineIdentity, Witness, WitnessedLife};
use whalewatcher_host::process::{Proc, has_ended};

use crate::descriptors::leaves_room;
use crate::proof::{Doubt, pid_of, prove};

/// The kernel, which knows when the processes of containers end. See the crate's documentation.
#[derive(Debug, Default)]
pub struct Kernel {
    proc: Proc,
    /// The kinds of reasons that were logged.
    logged: AtomicU8,
}

/// Why a life is not watched.
#[derive(Debug)]
enum Unwatched {
    /// There is no such process any more.
    Ended,
    /// A fifth of the descriptors would not be free.
    Full,
    Doubt(Doubt),
    Failed(io::Error),
}

impl fmt::Display for Unwatched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended => f.write_str("its process has ended"),
            Self::Full => {
                f.write_str("a fifth of the descriptors is kept free; raise the limit with 'ulimit -n'")
            }
            Self::Doubt(doubt) => doubt.fmt(f),
            Self::Failed(error) => write!(f, "cannot open a pidfd: {error}"),
        }
    }
}

impl Unwatched {
    /// The bit of its kind in [`Kernel::logged`]; 0 for what is not worth a note.
    fn bit(&self) -> u8 {
        match self {
            Self::Ended => 0,
            Self::Full => 1,
            Self::Failed(_) => 2,
            Self::Doubt(doubt) => 4 << *doubt as u8,
        }
    }
}

impl Kernel {
    /// Creates a witness, for any number of watchers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&self, life: &Container, engine: Option<&EngineIdentity>) -> Result<Life, Unwatched> {
        let pid = i32::try_from(pid_of(life)).ok().and_then(Pid::from_raw).ok_or(Unwatched::Ended)?;
        let opened = pidfd_open(pid, PidfdFlags::empty());
        let pidfd = opened.map_err(|error| match error {
            rustix::io::Errno::SRCH => Unwatched::Ended,
            rustix::io::Errno::MFILE | rustix::io::Errno::NFILE => Unwatched::Full,
            error => Unwatched::Failed(error.into()),
        })?;
        if !leaves_room(&pidfd) {
            return Err(Unwatched::Full);
        }
        let proven = prove(&self.proc, life, engine);
        // What was read was that of the process behind the descriptor, if that has not ended: no other had its PID.
        if has_ended(pidfd.as_fd()).map_err(Unwatched::Failed)? {
            return Err(Unwatched::Ended);
        }
        proven.map_err(Unwatched::Doubt)?;
        let pidfd = readable(pidfd).map_err(Unwatched::Failed)?;
        Ok(Life { pidfd })
    }
}

impl Witness for Kernel {
    fn observe(&self, life: &Container, engine: Option<&EngineIdentity>) -> Option<Arc<dyn WitnessedLife>> {
        match self.open(life, engine) {
            Ok(life) => Some(Arc::new(life)),
            Err(reason) => {
                let bit = reason.bit();
                if bit & !self.logged.fetch_or(bit, Ordering::Relaxed) != 0 {
                    let endpoint = engine.map(|engine| engine.endpoint.as_str());
                    tracing::info!(endpoint, container = %life, %reason, "ends are known by the engine only");
                }
                None
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe because of types that return another descriptor each time, which OwnedFd does not"
)]
fn readable(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// A life that is watched.
struct Life {
    pidfd: AsyncFd<OwnedFd>,
}

impl WitnessedLife for Life {
    fn ended(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            // It fails if the runtime shuts down: then nothing is reported any more.
            while let Ok(mut readable) = self.pidfd.readable().await {
                if has_ended(self.pidfd.get_ref().as_fd()).unwrap_or(false) {
                    return;
                }
                readable.clear_ready();
            }
            pending::<()>().await;
        })
    }

    fn goes_on(&self) -> bool {
        has_ended(self.pidfd.get_ref().as_fd()).is_ok_and(|has_ended| !has_ended)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const ID: &str = "3f29f3a1a2a4d3b0c9b8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6";
    const LIMIT: Duration = Duration::from_secs(60);

    /// The kernel, with processes that are real and a `/proc` that says that all are in a container's group.
    struct Scene {
        kernel: Kernel,
        proc: tempfile::TempDir,
    }

    impl Scene {
        fn new() -> Self {
            let proc = tempfile::tempdir().unwrap();
            let scene = Self { kernel: Kernel { proc: Proc::at(proc.path()), ..Kernel::default() }, proc };
            scene.add(std::process::id());
            symlink(std::process::id().to_string(), scene.proc.path().join("self")).unwrap();
            scene
        }

        fn add(&self, pid: u32) {
            let folder = self.proc.path().join(pid.to_string());
            fs::create_dir_all(folder.join("ns")).unwrap();
            fs::write(folder.join("comm"), "web\n").unwrap();
            fs::write(folder.join("cgroup"), format!("0::/docker/{ID}\n")).unwrap();
            fs::write(folder.join("status"), format!("NSpid:\t{pid}\n")).unwrap();
            symlink("pid:[4026531836]", folder.join("ns/pid")).unwrap();
        }

        /// A process that lives until its input ends, and its container.
        fn start(&self) -> (Child, Container) {
            let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            self.add(child.id());
            let life = Container::new(ID, "web", child.id());
            (child, life)
        }
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_known() {
        let scene = Scene::new();
        let (mut child, life) = scene.start();
        let watched = scene.kernel.observe(&life, None).unwrap();
        assert!(watched.goes_on());
        child.kill().unwrap();
        // Its parent has not waited for it yet.
        timeout(LIMIT, watched.clone().ended()).await.unwrap();
        assert!(!watched.goes_on() && scene.kernel.observe(&life, None).is_none());
        child.wait().unwrap();
        assert!(!watched.goes_on() && scene.kernel.observe(&life, None).is_none());
        assert!(scene.kernel.observe(&Container::new(ID, "web", u32::MAX), None).is_none());
    }

    #[tokio::test]
    async fn dropping_a_life_closes_its_descriptor() {
        let scene = Scene::new();
        let (mut child, life) = scene.start();
        let open = || {
            fs::read_dir("/proc/self/fd")
                .unwrap()
                .filter(|entry| {
                    let target = entry.as_ref().ok().and_then(|entry| fs::read_link(entry.path()).ok());
                    target.is_some_and(|target| target.to_string_lossy().contains("pidfd"))
                })
                .count()
        };
        let watched: Vec<_> = (0..8).map(|_| scene.kernel.observe(&life, None).unwrap()).collect();
        let before = open();
        drop(watched);
        assert!(open() + 8 <= before, "{} of {before}", open());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn a_process_that_is_not_the_containers_is_not_watched() {
        let scene = Scene::new();
        let (mut child, life) = scene.start();
        let other = Container::new(ID.replace('3', "4"), "other", life.pid());
        assert!(scene.kernel.observe(&other, None).is_none());
        assert_ne!(scene.kernel.logged.load(Ordering::Relaxed), 0);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
