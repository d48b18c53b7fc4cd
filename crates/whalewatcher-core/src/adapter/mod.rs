//! For authors of adapters: what an adapter to one kind of container engine provides, and what it must guarantee.
//!
//! An adapter is two types:
//!
//! - An [`EngineClient`] is what an application configures, such as an endpoint or a packer of rucksacks. It holds no
//!   connection.
//! - An [`EngineConnection`] is one connection. The watcher asks the client for a new one whenever it (re)connects, and
//!   drops it when the connection is lost or the watch ends.
//!
//! The watcher does everything else: it limits the time of every call, tries again with a back-off, compares lists with what
//! is known, asks again for what failed, and publishes. So an adapter repeats nothing and remembers nothing about
//! containers. It asks the engine, decodes the answer and reports errors.
//!
//! The package `whalewatcher` has a whole adapter as its example `adapter`, and `whalewatcher-testkit` has a scripted engine
//! that implements these traits in memory.
//!
//! # What happens on a connection
//!
//! 1. [`EngineClient::before_attempt`] and [`EngineClient::connect`], then
//!    [`EngineConnection::identity`].
//! 2. [`EngineConnection::events`], once, which is read until it yields [`EngineEvent::Subscribed`]. From here on it is read
//!    all the time, whatever else goes on.
//! 3. [`EngineConnection::list`], once. With it the watcher is ready as soon as each container is known in full.
//! 4. [`EngineConnection::inspect`] for each container that a [`ListingEntry::Partial`] or an event leaves open: at most 16 at
//!    once, up to 64 while some take more than 500 ms, and at most one for any container.
//! 5. [`EngineConnection::probe`] whenever no event came for 4 s, and [`EngineConnection::audit`] every 60 s and after each
//!    [`EngineEvent::Gap`].
//!
//! The figures are those of the default [`Settings`](crate::Settings). All futures and the stream are polled by one task, in
//! any order. None of them may depend on the progress of another, and none may block the thread.
//!
//! # The contract
//!
//! What a watcher promises rests on these guarantees.
//!
//! **Nothing is lost between subscription and list.** [`EngineEvent::Subscribed`] is yielded when it is proven that every
//! later change reaches the stream: by an answer of the engine that no earlier state could give, or by an event that the
//! adapter caused itself. An accepted request alone is no proof on many engines. Where there is no proof, the adapter yields
//! `Subscribed` when the subscription should stand, and [`EngineEvent::Gap`] when it certainly does: a second list then
//! finds what the first one missed.
//!
//! **The events of one container come in the order in which they happened.** Different containers may overtake each other.
//!
//! **No event is lost in silence.** Where an event cannot be decoded but names its container, the adapter yields
//! [`EngineEvent::Changed`], and the container is inspected. Where it names none, or events may be missing, it yields
//! [`EngineEvent::Gap`] or an error. Events that cannot concern the initial process of a container are skipped, such as the
//! exit of another process in it.
//!
//! **A worse way is reported.** Where there is no event stream to be had the adapter may list again and again, and inspect what
//! differs. It yields [`EngineEvent::Source`] and, with the reason, [`EngineEvent::Fallback`]; and both again, with `None`, once
//! changes are learned of as usual.
//!
//! **The end of the stream is the end of the connection.** So is an error in it. The adapter does not reconnect by itself.
//!
//! **Only a clear "not alive" ends a life.** A list contains everything that is alive at some moment between question and
//! answer. A container whose details are unknown is a [`ListingEntry::Partial`], not absent; a part of the engine that cannot be
//! listed, such as a namespace, is [`Unlisted`]; if nothing can be listed, that is an error. `inspect` returns `None` only if
//! the engine says that the container does not exist or has no process. A failed, truncated or malformed answer is an error.
//!
//! **An ID names one container at a time.** Many engines also find containers by name or by the beginning of an ID; an
//! answer about another container than the one that was asked for is an error: it says nothing of the one that was.
//!
//! **What is unknown is left out, never guessed.** A time is the engine's own, or `None`. The PID is that of the container's
//! initial process, as the watcher's host sees it; 0 means in a [`ListingEntry::Partial`] that the list does not contain it, and
//! in an inspection that the life is over. Lives of one container are distinguished by their start times, or else by their PIDs.
//!
//! **Dropping is enough.** Each future, the stream and the connection may be dropped at any await point. Nothing goes on
//! afterwards: no task, no descriptor, no request that is repeated later. Libraries that spawn tasks can be given the
//! [`Spawner`] of a [`Tasks`] that the connection owns.
//!
//! **Input is bounded.** Engines are not trusted: whatever is read has a limit, and nothing that they send makes the adapter
//! panic. Texts of the engine in error messages are shortened and [escaped](crate::Printable).
//!
//! **The application's code may panic.** A panic in a hook or in the adapter ends the watch, with that reason. Packers of
//! rucksacks are called by [`pack`], so that a panic costs no more than that rucksack.
//!
//! **No time limits of its own.** The watcher's limits hold for whole calls. Where an adapter limits a part of one, such as
//! one of many requests, it derives that from the [`Settings`](crate::Settings) that [`EngineClient::connect`] is given.
//!
//! **No harm to others.** A call that takes something from other clients of the engine, as reading a shared queue does, is
//! not made.

//!
//! # Polling
//!
//! An adapter to an engine without events returns [`poll`] from [`EngineConnection::events`]. It lists the engine again and again,
//! and yields events for what differs. In addition to the contract above it rests on these guarantees:
//!
//! - A list distinguishes the lives of a container, by their PID or start time. A restart between two lists is missed where two
//!   lives look the same.
//! - A list contains all that is to be noticed as a change: a name, labels or a pause that only an inspection contains is
//!   noticed with the next audit if the container is a [`ListingEntry::Partial`] and something else of it differs.
//! - An inspection is not older than a list that was answered before it was asked for.
//! - A list is cheap enough for the engine to be asked for that often. It is asked for in addition to those of the watcher.
//!
//! What polling cannot report: lives that begin and end between two lists, and exit codes. A change is noticed after the interval
//! at the latest, plus the time that a list takes.

mod hook;
mod pack;
mod poll;
mod tasks;

pub use hook::Hook;
pub(crate) use pack::message;
pub use pack::{Rucksack, pack};
pub use poll::poll;
pub use tasks::{Spawner, Tasks};

pub use crate::engine::{
    ChangeSource, EngineClient, EngineConnection, EngineEvent, Listing, ListingEntry, Unlisted,
};
pub use crate::model::{EngineError, EngineIdentity, ErrorKind};
