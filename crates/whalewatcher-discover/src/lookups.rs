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

    /// The most lookups at once: some may never end, and those keep a thread.
    const MAX_LOOKUPS: usize = 16;

    /// How long a lookup may take.
    const LIMIT: Duration = Duration::from_secs(2);

    type Answer = (u32, u64, Entered);

    /// Lookups of sockets in the roots of processes.
    pub(crate) struct Lookups {
        waiting: Vec<ToEnter>,
        running: FuturesUnordered<BoxFuture<'static, Answer>>,
        /// Answers that the looker does not know yet.
        answers: Vec<Answer>,
        /// Threads that may be started.
        threads: Arc<Semaphore>,
    }

    impl Default for Lookups {
        fn default() -> Self {
            Self {
                waiting: Vec::new(),
                running: FuturesUnordered::new(),
                answers: Vec::new(),
                threads: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            }
        }
    }

    impl Lookups {
        pub(crate) fn add(&mut self, sockets: Vec<ToEnter>, options: &Options) {
            self.waiting.extend(sockets);
            self.start(options);
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
        pub(crate) async fn answered(&mut self, options: &Options) {
            match self.running.next().await {
                Some(answer) => {
                    self.answers.push(answer);
                    self.start(options);
                }
                None => pending().await,
            }
        }

        fn start(&mut self, options: &Options) {
            while !self.waiting.is_empty()
                && let Ok(thread) = self.threads.clone().try_acquire_owned()
                && let Some(socket) = self.waiting.pop()
            {
                let (pid, inode) = (socket.pid, socket.inode);
                let (proc, root) = (Proc::at(&options.proc), options.root.clone());
                let entering = spawn_blocking(move || {
                    let _thread = thread;
                    enter(&proc, &root, &socket)
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
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    use std::future::pending;

    use crate::look::Looker;
    use crate::options::Options;

    /// Processes have no roots that could be entered.
    #[derive(Default)]
    pub(crate) struct Lookups;

    impl Lookups {
        pub(crate) fn is_idle(&self) -> bool {
            true
        }

        pub(crate) fn hand_over(&mut self, _: &mut Looker) {}

        pub(crate) async fn answered(&mut self, _: &Options) {
            pending().await
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::Lookups;
#[cfg(target_os = "linux")]
pub(crate) use linux::Lookups;
