//! The view of adapter authors: the traits that an adapter to a container engine implements, and their contract.
//!
//! An adapter is two types:
//!
//! - An [`EngineClient`] is what an application configures, such as an endpoint or a packer of rucksacks. It holds no
//!   connection.
//! - An [`EngineConnection`] is one connection. The watcher asks the client for a new one whenever it (re)connects, and
//!   drops it when the connection is lost or the watch ends.
//!
//! The watcher does everything else: it limits the time of every call, retries with a back-off, compares
//! lists with the portfolio, and publishes. So an adapter neither retries nor remembers containers. It sends
//! requests, decodes the answers and reports errors.
//!
//! The package `whalewatcher` has a complete adapter as its example `adapter`, and `whalewatcher-testkit` has
//! a scripted engine that implements these traits in memory.
//!
//! # Calls on a connection
//!
//! 1. [`EngineClient::before_attempt`] and [`EngineClient::connect`], then [`EngineConnection::identity`].
//! 2. [`EngineConnection::events`], once. The stream is polled until it yields [`EngineEvent::Subscribed`],
//!    and from then on continuously, during all other calls.
//! 3. [`EngineConnection::list`], once. The watcher is ready as soon as all details of each listed container are known.
//! 4. [`EngineConnection::inspect`] for each container of which a [`ListingEntry::Partial`] or an event lacks
//!    details: at most 16 at once, up to 64 while some take more than 500 ms, and at most one for each
//!    container.
//! 5. [`EngineConnection::probe`] whenever no event came for 4 s, and [`EngineConnection::audit`] every 60 s
//!    and after each [`EngineEvent::Gap`].
//!
//! The figures are those of the default [`Settings`](crate::Settings). One task polls all futures and the
//! stream, in any order. None of them may depend on the progress of another, and none may block the thread.
//!
//! # The contract
//!
//! The watcher's promises rest on these guarantees.
//!
//! **Nothing is lost between subscription and list.** [`EngineEvent::Subscribed`] is yielded when it is
//! proven that every later change reaches the stream: by an answer of the engine that no earlier state could
//! give, or by an event that the adapter caused itself. On many engines an accepted request alone is no
//! proof. Where there is no proof, the adapter yields `Subscribed` when the subscription is expected to be
//! established, and [`EngineEvent::Gap`] when it certainly is: a second list then finds what the first one
//! missed.
//!
//! **The events of one container come in the order in which they happened.** Events of different containers
//! may overtake each other.
//!
//! **No event is lost silently.** For an event that cannot be decoded but contains a container's ID, the
//! adapter yields [`EngineEvent::Touched`], and the container is inspected. For an event without an ID, or
//! where events may be missing, it yields [`EngineEvent::Gap`] or an error. Events that cannot concern the
//! initial process of a container are skipped, such as the exit of another process in it.
//!
//! **A fallback is reported.** Where there is no event stream, the adapter may list repeatedly, and yield
//! events for the differences. It yields [`EngineEvent::Source`] and, with the reason,
//! [`EngineEvent::Fallback`]; and both again, with `None`, when the fallback ends.
//!
//! **The end of the stream is the end of the connection.** So is an error in it. The adapter does not
//! reconnect by itself.
//!
//! **Only a clear "not alive" ends a life.** A list contains everything that is alive at some time between
//! request and answer. A container with unknown details is a [`ListingEntry::Partial`], not absent; a scope
//! of the engine that cannot be listed, such as a namespace, is [`Unlisted`]; if nothing can be listed, that
//! is an error. `inspect` returns `None` only if the engine answers that the container does not exist or has
//! no process. A failed, truncated or malformed answer is an error.
//!
//! **An ID names one container at a time.** Many engines also find containers by name or by a prefix of an
//! ID. An answer about another container than the requested one is an error.
//!
//! **Where an ID has one life, the adapter says so** by [`EngineConnection::has_one_life_per_id`], and does
//! not remember what is over: the watcher ignores starts, list entries and answers that come after an exit.
//!
//! **Unknown details are left out, never guessed.** A time is the engine's own, or `None`. The PID is that of
//! the container's initial process, as the watcher's host sees it; 0 means in a [`ListingEntry::Partial`]
//! that the list does not contain it, and in an inspection that the life has ended. Lives of one container
//! are distinguished by their start times, or else by their PIDs.
//!
//! **Dropping is enough.** Each future, the stream and the connection may be dropped at any await point.
//! Nothing continues afterwards: no task, no descriptor, no request that is repeated later. Libraries that
//! spawn tasks can be given the [`Spawner`] of a [`Tasks`] that the connection owns.
//!
//! **Input is bounded.** Engines are not trusted: everything that is read has a limit, and no input makes the
//! adapter panic. Texts of the engine in error messages are shortened and [escaped](crate::Printable).
//!
//! **The application's code may panic.** A panic in a hook or in the adapter ends the watch with that reason.
//! Packers of rucksacks are called through [`pack`], so that a panic costs only that rucksack.
//!
//! **No time limits of its own.** The watcher limits whole calls. An adapter that limits a part of a call,
//! such as one of many requests, derives the limit from the [`Settings`](crate::Settings) that
//! [`EngineClient::connect`] receives.
//!
//! **No harm to others.** The adapter makes no call that takes something from other clients of the engine, as
//! reading a shared queue does.
//!
//! # Polling
//!
//! An adapter to an engine without events returns [`poll`] from [`EngineConnection::events`]. It lists the
//! engine repeatedly and yields events for the differences. In addition to the contract above it relies on
//! these guarantees:
//!
//! - A list distinguishes the lives of a container, by their PID or start time. A restart between two lists
//!   is missed if both lives look the same.
//! - A list contains everything that is to be noticed as a change. A name, labels or a pause that only an
//!   inspection contains is noticed with the next audit if the container is a [`ListingEntry::Partial`] and
//!   something else of it differs.
//! - An inspection is not older than a list that was answered before the inspection was requested.
//! - A list is cheap enough for the interval. The watcher's own lists come in addition.
//!
//! Polling cannot report lives that begin and end between two lists, and no exit codes. A change is noticed
//! after the interval at the latest, plus the time that a list takes.

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
