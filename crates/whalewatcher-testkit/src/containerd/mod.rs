//! An engine that serves containerd's API on a unix socket, driven by calls.
//!
//! It serves what a watcher of containers uses (namespaces and their list, containers and tasks one by one and as
//! lists, events, the server's identity and version) in the way that containerd does, with what surprises its
//! clients:
//!
//! - The response headers of a subscription come only with its first event.
//! - Events can be published by clients, too. Filters are evaluated by the server.
//! - A process that was started by exec ends with `/tasks/exit`, as a container's first process does;
//!   only their IDs distinguish them.
//! - A task has a process before it is started, and stays there, stopped, until it is deleted.
//! - IDs are unique only within their namespace, which calls have to name in their metadata. Keys here are
//!   `NAMESPACE/ID`, or just the ID in namespace `default`.
//! - Containers carry their whole OCI spec with them, and no message is larger than 16 MiB.
//!
//! Not played: grpc-go's closing of connections whose keep-alive pings come too often.
//!
//! Containers come and go by calls such as [`run`](Server::run), [`exit`](Server::exit) and
//! [`pause`](Server::pause); hooks ([`on_call`](Server::on_call), [`on_answer`](Server::on_answer),
//! [`on_event`](Server::on_event)) delay, replace, cut or lose what passes; [`truth`](Server::truth) is what a
//! watcher should have found out.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use whalewatcher_testkit::containerd::{Code, ContainerSpec, Method, Server, Verdict};
//!
//! let containerd = Server::builder().start()?;
//! let web = containerd.run(ContainerSpec::new("staging/4b1ab74f").nerdctl_name("web").project("shop", "web"))?;
//! containerd.pause(&web)?;
//!
//! // One namespace cannot be listed from now on.
//! containerd.on_call(|call| match call.method() {
//!     Method::TasksList if call.namespace() == Some("staging") => Verdict::error(Code::Unavailable, "out of luck"),
//!     _ => Verdict::Pass,
//! });
//!
//! println!("point your client at {}", containerd.endpoint());
//! assert!(containerd.truth()[0].paused);
//! # Ok::<(), whalewatcher_testkit::containerd::Error>(()) }).unwrap();
//! ```

#[cfg(feature = "cri")]
mod beneath;
mod builder;
mod call;
mod container;
mod engine;
mod events;
mod filters;
mod flavour;
mod oci;
mod requests;
mod server;
mod services;
mod transitions;

pub use crate::{
    clock::Clock,
    error::Error,
    gate::Gate,
    grpc::{Arrival, Fate, HookId, Reception, Verdict},
};
pub use tonic::Code;

#[cfg(feature = "cri")]
pub(crate) use self::beneath::Beneath;
pub use self::{
    builder::Builder,
    call::{Call, Method},
    container::{Alive, ContainerSpec},
    events::Event,
    flavour::Flavour,
    server::Server,
};

/// What the server has seen so far, at one moment.
pub type Stats = crate::grpc::Stats<Method>;

/// Requests by method and by the ID that they ask for.
pub type Requests = crate::grpc::Requests<Method>;
