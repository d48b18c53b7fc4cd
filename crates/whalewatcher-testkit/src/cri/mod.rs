//! A runtime that serves the CRI (`runtime.v1`) on a unix socket, driven by calls.
//!
//! It serves what a watcher of containers uses (version and status, lists and verbose statuses of sandboxes and
//! containers, container events) in the ways of containerd 1.6, 1.7 and 2.1 and of CRI-O, with what surprises their
//! clients:
//!
//! - containerd 1.7 has one queue of events for all subscribers: each event goes to only one of them, so a
//!   second client robs the first. containerd 2 sends all events to each, and keeps those without a
//!   subscriber for the next one. 1.6 does not know the method, CRI-O ends the stream at once unless it is
//!   configured otherwise.
//! - The response headers of a subscription come only with its first event.
//! - PIDs are in the JSON text of verbose statuses only, which looks different in each runtime. What has
//!   ended has PID 0.
//! - containerd has its own API on the same socket, with a container and a task in namespace `k8s.io` for each sandbox
//!   and each container. Its events report a start before the CRI does: [`begin_start`](Server::begin_start),
//!   [`begin_pod`](Server::begin_pod) and [`begin_exit`](Server::begin_exit) stop at that moment. See
//!   [`containerd`](Server::containerd).
//! - An event carries the statuses of a whole pod, but none of a removed sandbox. CRI-O emits no events for these.
//! - No message is larger than 16 MiB, of CRI-O 80 MiB.
//!
//! Not played: calls that change anything (pods are driven by calls such as [`run_pod`](Server::run_pod) and
//! [`exit`](Server::exit)), images, and grpc-go's closing of connections whose keep-alive pings come too often.
//!
//! Hooks ([`on_call`](Server::on_call), [`on_answer`](Server::on_answer), [`on_event`](Server::on_event)) delay,
//! replace, cut or lose what passes; [`truth`](Server::truth) is what a watcher should have found out.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use whalewatcher_testkit::cri::{Code, ContainerSpec, Flavour, Info, Method, PodSpec, Server};
//!
//! let runtime = Server::builder().flavour(Flavour::CrioWithEvents).start()?;
//! let pod = runtime.run_pod(PodSpec::new("web").namespace("shop"))?;
//! let nginx = runtime.run(&pod, ContainerSpec::new("nginx").annotation("team", "blue"))?;
//!
//! // One status fails twice, the other one contains no PID.
//! runtime.fail_next(Method::ContainerStatus, 2, Code::Unavailable, "out of luck");
//! runtime.set_info(&pod, Info::WithoutPid)?;
//!
//! println!("point your client at {}", runtime.endpoint());
//! assert_eq!(runtime.truth().len(), 2);
//! # let _ = nginx;
//! # Ok::<(), whalewatcher_testkit::cri::Error>(()) }).unwrap();
//! ```

mod builder;
mod call;
mod driving;
mod engine;
mod events;
mod filters;
mod flavour;
mod info;
mod messages;
mod record;
mod requests;
mod server;
mod services;
mod spec;
mod transitions;

pub use crate::{
    clock::Clock,
    error::Error,
    gate::Gate,
    grpc::{Arrival, Fate, HookId, Reception, Verdict},
};
pub use tonic::Code;
pub use whalewatcher_api::cri::v1::{ContainerEventResponse, ContainerEventType};

pub use self::{
    builder::Builder,
    call::{Call, Method},
    flavour::Flavour,
    info::Info,
    server::Server,
    spec::{Alive, ContainerSpec, Pod, PodSpec},
};

/// What the server has seen so far, at one moment. Calls to containerd's own API are counted by the server of that.
pub type Stats = crate::grpc::Stats<Method>;

/// Requests by method and by the ID that they ask for.
pub type Requests = crate::grpc::Requests<Method>;
