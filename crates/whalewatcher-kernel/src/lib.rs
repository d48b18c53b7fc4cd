//! Ends of containers, known by the Linux kernel.
//!
//! [`Kernel`] is a [`Witness`](whalewatcher_core::Witness): a watcher that has it watches each life of its
//! portfolio by a pidfd. So the end of a life is known within milliseconds, whether the engine runs, hangs or
//! is gone, and while it goes on, an engine that reports its end is not believed.
//!
//! ```no_run
//! # fn example() -> std::io::Result<()> {
//! use std::sync::Arc;
//! use whalewatcher_core::{Settings, Witness};
//! use whalewatcher_kernel::{Kernel, raise_descriptor_limit};
//!
//! raise_descriptor_limit()?;
//! let kernel: Arc<dyn Witness> = Arc::new(Kernel::new());
//! let settings = Settings::default().with_witness(kernel);
//! # Ok(()) }
//! ```
//!
//! # Which lives are watched
//!
//! A PID alone proves nothing: it may be of another PID namespace, or be used again. A life is watched if,
//! after its pidfd was opened,
//!
//! - the engine is on this host, and its PIDs are those of this program: its process has the same PID
//!   namespace, or this program has the one of the host, or discovery added the PIDs of this host;
//! - `/proc` was mounted in the PID namespace of this program, so that it shows the process behind the descriptor;
//! - the process is in a control group that is named by the container's ID;
//! - the process does not run a virtual machine or gVisor, whose end is not that of each container in it;
//! - the process has not ended.
//!
//! The start time is not enough instead: a virtual machine starts within the same second as its containers.
//! Other lives are not watched; the watcher's status counts them, and the first reason of each kind is logged
//! once.
//!
//! # Costs
//!
//! One descriptor for each life. A fifth of what the process may open is kept free; lives beyond that are not
//! watched. There is no task and no thread: the watch polls the descriptors through tokio, whose runtime
//! needs I/O enabled.
//!
//! Exit codes are the engine's: only kernels since 6.15 report them, and not through any library without unsafe code.
//!
//! The crate needs Linux 5.3. On other systems [`Kernel`] watches nothing.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(target_os = "linux")]
mod descriptors;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod proof;
#[cfg(not(target_os = "linux"))]
mod stub;

#[cfg(target_os = "linux")]
pub use descriptors::raise_descriptor_limit;
#[cfg(target_os = "linux")]
pub use kernel::Kernel;
#[cfg(not(target_os = "linux"))]
pub use stub::{Kernel, raise_descriptor_limit};
