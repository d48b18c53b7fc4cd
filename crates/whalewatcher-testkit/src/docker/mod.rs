//! An engine that serves Docker's API on a unix socket, driven by calls.
//!
//! It serves what a watcher of containers uses (`/_ping`, `/version`, `/info`, `/containers/json`,
//! `/containers/{id}/json`, `/events`, with and without a version in the path) in the way that dockerd does,
//! with what surprises its clients:
//!
//! - The headers of `/events` are sent before the listener is registered.
//! - With `since`, the last 256 events are replayed, atomically with registering.
//! - A listener that is too slow is skipped without a word, once its queue of 1,024 events is full and has been
//!   for 100 ms.
//! - A restarted container keeps its ID; a `restarting` one counts as running, but has no process.
//! - An action may carry more behind a colon, and event filters then compare beginnings.
//!
//! Containers come and go by calls such as [`run`](Server::run), [`exit`](Server::exit) and
//! [`pause`](Server::pause); hooks ([`on_request`](Server::on_request), [`on_answer`](Server::on_answer),
//! [`on_event`](Server::on_event)) delay, replace, cut or lose what passes; [`truth`](Server::truth) is what a
//! watcher should have found out.
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
mod error;
mod events;
mod filters;
mod flavour;
mod hooks;
mod identity;
mod inspect;
mod list;
mod listening;
mod server;
mod stats;
mod transitions;
mod wire;

pub use crate::{clock::Clock, gate::Gate};

pub use self::{
    builder::Builder,
    container::{Alive, ContainerSpec, RestartPolicy, Update},
    error::Error,
    events::{Event, Fate},
    flavour::Flavour,
    hooks::{Arrival, HookId, Kind, Request, Verdict},
    server::Server,
    stats::{Requests, Stats},
};
