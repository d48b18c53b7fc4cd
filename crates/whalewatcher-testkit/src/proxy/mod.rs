//! A proxy between a client and an engine that injects faults, for tests of the client.
//!
//! It listens on a unix socket or a TCP port and passes bytes on to a unix socket or a TCP port, for any protocol. In
//! HTTP/1.1 it also knows which request is being answered, so that faults can be limited to the event stream, single
//! events can be dropped, and requests can be answered in the engine's place.
//!
//! A [`Fault`] is [injected](Proxy::inject) at any time, for all connections or for some, and lasts until it is
//! [lifted](Proxy::lift), all are [healed](Proxy::heal), or it has taken effect a given [number of
//! times](Fault::times). [Statistics](Stats) count what has passed, and can be [awaited](Proxy::until), so a test
//! need not sleep.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use whalewatcher_testkit::proxy::{Fault, Proxy};
//!
//! let proxy = Proxy::builder().upstream("unix:///run/docker.sock").start()?;
//! println!("point your client at {}", proxy.endpoint());
//!
//! // The event stream stalls without ending; requests still work.
//! proxy.inject(Fault::stall().on_requests("/events"))?;
//! // The next start event is dropped.
//! proxy.inject(Fault::drop_events(r#""Action":"start""#).times(1))?;
//! // The next two lists fail.
//! proxy.inject(Fault::answer(500, r#"{"message":"out of luck"}"#).on_requests("/containers/json").times(2))?;
//! proxy.heal()?;
//! # Ok::<(), whalewatcher_testkit::proxy::Error>(()) }).unwrap();
//! ```
//!
//! For soak tests, [`RandomFaults`] generates faults from a seed. Each fault displays as a line of JSON, and is parsed
//! from it:
//!
//! ```
//! use whalewatcher_testkit::proxy::{Fault, RandomFaults};
//!
//! let fault = RandomFaults::new(42).next_fault();
//! let again: Fault = fault.to_string().parse()?;
//! assert_eq!(fault, again);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod answers;
mod armed;
mod fault;
mod handle;
mod http;
mod lines;
mod link;
mod listener;
mod outlet;
mod random;
mod relay;
mod socket;
mod stats;

pub use self::{
    fault::{Direction, Fault, FaultKind, Refusal, Scope},
    handle::{Builder, Proxy},
    random::{Family, RandomFaults},
    socket::{Endpoint, Error},
    stats::{FaultId, Stats},
};
