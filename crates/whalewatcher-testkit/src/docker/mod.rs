//! An engine that serves Docker's API on a unix socket, driven by method calls.
//!
//! It serves the requests of a watcher of containers (`/_ping`, `/version`, `/info`, `/containers/json`,
//! `/containers/{id}/json`, `/events`, with and without a version in the path) as dockerd does, including what
//! surprises its clients:
//!
//! - The headers of `/events` are sent before the listener is registered.
//! - With `since`, the last 256 events are replayed, atomically with registering.
//! - A listener that is too slow is silently skipped once its queue of 1,024 events has been full for 100 ms.
//! - A restarted container keeps its ID; a `restarting` one counts as running, but has no process.
//! - An action may have details behind a colon, and event filters then compare beginnings.
//!
//! Calls such as [`run`](Server::run), [`exit`](Server::exit) and [`pause`](Server::pause) change containers; hooks
//! ([`on_request`](Server::on_request), [`on_answer`](Server::on_answer), [`on_event`](Server::on_event)) delay,
//! replace, cut or lose requests, answers and events; [`truth`](Server::truth) returns what a watcher should report.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use whalewatcher_testkit::docker::{ContainerSpec, Kind, Server, Verdict};
//!
//! let docker = Server::builder().start()?;
//! let web = docker.run(ContainerSpec::new("shop-web-1").project("shop", "web"))?;
//! docker.pause(&web)?;
//!
//! // Inspections fail from now on.
//! docker.on_request(|request| match request.kind() {
//!     Kind::Inspect => Verdict::error(500, "out of luck"),
//!     _ => Verdict::Pass,
//! });
//!
//! println!("point your client at {}", docker.endpoint());
//! assert!(docker.truth()[0].paused);
//! # Ok::<(), whalewatcher_testkit::docker::Error>(()) }).unwrap();
//! ```

mod api;
mod body;
mod builder;
mod container;
mod engine;
mod events;
mod filters;
mod flavour;
mod hooks;
mod identity;
mod inspect;
mod libpod;
mod list;
mod listening;
mod server;
mod stats;
mod transitions;
mod wire;

pub use crate::{
    clock::Clock,
    error::Error,
    gate::Gate,
    hooks::{Arrival, HookId},
};

pub use self::{
    builder::Builder,
    container::{Alive, ContainerSpec, RestartPolicy, Update},
    events::{Event, Fate},
    flavour::Flavour,
    hooks::{Kind, Request, Verdict},
    server::Server,
    stats::{Requests, Stats},
};
