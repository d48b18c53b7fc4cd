//! What can be set before a server starts, whichever it is.

use std::path::PathBuf;

use crate::{clock::Clock, grpc::Hooks};

/// The settings that all servers have.
#[derive(Debug)]
pub(crate) struct Basis<C> {
    pub(crate) socket: Option<PathBuf>,
    pub(crate) clock: Clock,
    pub(crate) pid: Option<u64>,
    pub(crate) first_pid: u32,
    pub(crate) largest_message: Option<usize>,
    pub(crate) hooks: Hooks<C>,
}

impl<C> Default for Basis<C> {
    fn default() -> Self {
        let (clock, hooks) = (Clock::real(), Hooks::default());
        Self { socket: None, clock, pid: None, first_pid: 4000, largest_message: None, hooks }
    }
}

/// Implements the setters for `Builder`, which has a `basis` and a `flavour`, with the module's `Call` and `Verdict`.
macro_rules! building {
    () => {
        impl Builder {
            /// Sets the path of the socket; the file must not exist yet. By default it is in a private folder below the
            /// system's folder for temporary files.
            pub fn socket(mut self, path: impl Into<std::path::PathBuf>) -> Self {
                self.basis.socket = Some(path.into());
                self
            }

            /// Sets the engine's clock, real time by default.
            pub fn clock(mut self, clock: crate::clock::Clock) -> Self {
                self.basis.clock = clock;
                self
            }

            /// Sets the engine to play, the newest containerd by default.
            pub fn flavour(mut self, flavour: Flavour) -> Self {
                self.flavour = flavour;
                self
            }

            /// Sets the PID that containerd says it has, by default this process's.
            pub fn pid(mut self, pid: u64) -> Self {
                self.basis.pid = Some(pid);
                self
            }

            /// Sets the PID of the first process, 4000 by default. Each one takes the next.
            pub fn first_pid(mut self, pid: u32) -> Self {
                self.basis.first_pid = pid;
                self
            }

            /// Sets the largest message that it sends, in bytes; for a larger one it has an error. By default
            /// 16 MiB, for CRI-O 80 MiB.
            pub fn largest_message(mut self, bytes: usize) -> Self {
                self.basis.largest_message = Some(bytes);
                self
            }

            /// Adds a hook that sees the very first call, too; see [`Server::on_call`].
            pub fn on_call(self, hook: impl Fn(&Call) -> Verdict + Send + Sync + 'static) -> Self {
                self.basis.hooks.on_call(std::sync::Arc::new(hook));
                self
            }
        }
    };
}

pub(crate) use building;
