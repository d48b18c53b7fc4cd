//! Looks up sockets in the roots of processes, each in a thread that may block.

#[cfg(target_os = "linux")]
mod linux {
    use std::future::pending;
    use std::sync::Arc;
    use std::time::Duration;

    use futures_util::StreamExt;
    use futures_util::future::{BoxFuture, FutureExt};
    use futures_util::stream::FuturesUnordered;
    use tokio::sync::Semaphore;
    use tokio::task::spawn_blocking;
    use tokio::time::timeout;
    use whalewatcher_host::process::Proc;

    use crate::enter::enter;
    use crate::finding::FindingKind;
    use crate::look::Looker;
    use crate::options::Options;
    use crate::processes::{Entered, ToEnter};

    /// Looks a socket up; may block.
    type Enter = dyn Fn(&ToEnter) -> Entered + Send + Sync;

    /// The most lookups at once: some may never end, and those keep a thread.
    const MAX_LOOKUPS: usize = 16;

    /// How long a lookup may take.
    const LIMIT: Duration = Duration::from_secs(2);

    type Answer = (u32, u64, Entered);

    /// Lookups of sockets in the roots of processes.
    pub(crate) struct Lookups {
        enter: Arc<Enter>,
        waiting: Vec<ToEnter>,
        running: FuturesUnordered<BoxFuture<'static, Answer>>,
        /// Answers that the looker does not know yet.
        answers: Vec<Answer>,
        /// Threads that may be started.
        threads: Arc<Semaphore>,
    }

    impl Lookups {
        pub(crate) fn new(options: &Options) -> Self {
            let (proc, root) = (Proc::at(&options.proc), options.root.clone());
            Self::with(move |socket| enter(&proc, &root, socket))
        }

        fn with(enter: impl Fn(&ToEnter) -> Entered + Send + Sync + 'static) -> Self {
            Self {
                enter: Arc::new(enter),
                waiting: Vec::new(),
                running: FuturesUnordered::new(),
                answers: Vec::new(),
                threads: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            }
        }

        pub(crate) fn add(&mut self, sockets: Vec<ToEnter>) {
            self.waiting.extend(sockets);
            self.start();
        }

        /// Returns whether the looker knows all answers, except for those that wait for threads that may never end.
        pub(crate) fn is_idle(&self) -> bool {
            let is_blocked = self.threads.available_permits() == 0;
            self.running.is_empty() && self.answers.is_empty() && (self.waiting.is_empty() || is_blocked)
        }

        /// Gives the looker the answers so far.
        pub(crate) fn hand_over(&mut self, looker: &mut Looker) {
            looker.entered(std::mem::take(&mut self.answers));
        }

        /// Resolves when there is another answer. Cancel safe.
        pub(crate) async fn answered(&mut self) {
            match self.running.next().await {
                Some(answer) => {
                    self.answers.push(answer);
                    self.start();
                }
                None => pending().await,
            }
        }

        fn start(&mut self) {
            while !self.waiting.is_empty()
                && let Ok(thread) = self.threads.clone().try_acquire_owned()
                && let Some(socket) = self.waiting.pop()
            {
                let (pid, inode) = (socket.pid, socket.inode);
                let enter = self.enter.clone();
                let entering = spawn_blocking(move || {
                    let _thread = thread;
                    enter(&socket)
                });
                let entered = async move {
                    let entered = match timeout(LIMIT, entering).await {
                        Ok(entered) => entered.unwrap_or(Entered::Nothing),
                        Err(_) => {
                            let reason = "looking it up takes too long".to_owned();
                            Entered::Refused(FindingKind::Unresponsive, reason)
                        }
                    };
                    (pid, inode, entered)
                };
                self.running.push(entered.boxed());
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::pin::pin;
        use std::sync::{Mutex, mpsc};

        use futures_util::poll;

        use super::*;

        fn socket(proc: &Proc, pid: u32) -> ToEnter {
            let process = Arc::new(proc.open(1).unwrap());
            ToEnter { pid, inode: u64::from(pid), process, path: "/run/docker.sock".into() }
        }

        #[tokio::test(start_paused = true)]
        async fn a_lookup_that_hangs_is_given_up_and_others_go_on_once_there_are_threads() {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("1")).unwrap();
            let proc = Proc::at(folder.path());
            let (release, gate) = mpsc::channel::<()>();
            let gate = Mutex::new(gate);
            let mut lookups = Lookups::with(move |_| {
                let _ = gate.lock().unwrap().recv();
                Entered::Nothing
            });
            let most = u32::try_from(MAX_LOOKUPS).unwrap();
            lookups.add((0..=most).map(|pid| socket(&proc, pid)).collect());
            assert!(!lookups.is_idle());
            assert!(poll!(pin!(lookups.answered())).is_pending());
            tokio::time::advance(LIMIT).await;
            for given_up in 1..=MAX_LOOKUPS {
                lookups.answered().await;
                assert_eq!(lookups.answers.len(), given_up);
            }
            let is_given_up =
                |(_, _, entered): &Answer| matches!(entered, Entered::Refused(FindingKind::Unresponsive, _));
            assert!(lookups.answers.iter().all(is_given_up));
            lookups.answers.clear();
            assert!(lookups.is_idle(), "nothing can be done for the one that waits");
            drop(release);
            let threads = lookups.threads.clone();
            drop(threads.acquire_many(most).await.unwrap());
            lookups.add(Vec::new());
            lookups.answered().await;
            assert!(matches!(lookups.answers[..], [(0, 0, Entered::Nothing)]), "the last one is looked up");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::future::pending;

    use crate::look::Looker;
    use crate::options::Options;

    /// Processes have no roots that could be entered.
    pub(crate) struct Lookups;

    impl Lookups {
        pub(crate) fn new(_: &Options) -> Self {
            Self
        }

        pub(crate) fn is_idle(&self) -> bool {
            true
        }

        pub(crate) fn hand_over(&mut self, _: &mut Looker) {}

        pub(crate) async fn answered(&mut self) {
            pending().await
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Lookups;
#[cfg(target_os = "linux")]
pub(crate) use linux::Lookups;
