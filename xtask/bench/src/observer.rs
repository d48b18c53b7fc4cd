//! Who is told of changes: a subscriber of a watcher, or a minimal reader of the engine's events.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use futures_util::future::poll_fn;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{AbortHandle, spawn};
use tokio::time::timeout;
use whalewatcher_bench::floor::{Change, Follower, Kind};
use whalewatcher_core::{Event, EventKind, Subscription, WatchHandle, watch};
use whalewatcher_moby::Client;

use crate::real;
use crate::tap::{Arrivals, Tap};

/// How long to wait for what should have been told by now.
const PATIENCE: Duration = Duration::from_secs(10);

/// A change, and when it was to be seen.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) change: Change,
    /// When readers could see it.
    pub(crate) in_portfolio: Instant,
    /// When the subscriber was told.
    pub(crate) in_hands: Instant,
}

/// Somebody who is told of changes, through a tap of its own. It ends with this.
pub(crate) struct Observer {
    tap: Tap,
    seen: UnboundedReceiver<Result<Seen>>,
    task: AbortHandle,
    _watching: Option<WatchHandle<Client>>,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Observer {
    /// A subscriber of a watcher of the engine at this socket, which is ready. Within the runtime that is to do the work.
    pub(crate) async fn subscriber(socket: &Path) -> Result<Self> {
        let tap = Tap::of(socket)?;
        let watching = watch(Client::new(real::endpoint(tap.socket()))?);
        watching.ready().await?;
        tap.keep_the_stream_only();
        let (sender, seen) = unbounded_channel();
        let (_, changes) = watching.subscribe();
        let task = spawn(report(changes, sender)).abort_handle();
        Ok(Self { tap, seen, task, _watching: Some(watching) })
    }

    /// Who reads the event stream and sends the inspections, and does nothing else.
    pub(crate) async fn minimal(socket: &Path) -> Result<Self> {
        let tap = Tap::of(socket)?;
        let mut follower = Follower::new(&tap.socket().display().to_string()).await?;
        let (sender, seen) = unbounded_channel();
        let telling = async move {
            loop {
                let next = follower.next().await;
                let now = Instant::now();
                let seen = next.map(|change| Seen { change, in_portfolio: now, in_hands: now });
                let is_end = seen.is_err();
                if sender.send(seen).is_err() || is_end {
                    break;
                }
            }
        };
        Ok(Self { tap, seen, task: spawn(telling).abort_handle(), _watching: None })
    }

    /// The next change, for which it is not waited for ever.
    pub(crate) async fn next(&mut self) -> Result<Seen> {
        let seen = timeout(PATIENCE, self.seen.recv()).await.context("a change is not reported")?;
        seen.context("the observer has ended")?
    }

    /// When the engine told it of each change so far.
    pub(crate) fn arrivals(&self) -> Arrivals {
        self.tap.arrivals()
    }
}

async fn report(mut changes: Subscription, sender: UnboundedSender<Result<Seen>>) {
    loop {
        let mut waiting = None;
        let event = poll_fn(|context| {
            let woken = Arc::new(Woken { at: OnceLock::new(), task: context.waker().clone() });
            let polled = changes.poll_next_unpin(&mut Context::from_waker(&Waker::from(woken.clone())));
            if polled.is_pending() {
                waiting = Some(woken);
            }
            polled
        });
        let event = event.await;
        let now = Instant::now();
        // Who did not have to be woken was told of more at once.
        let published = waiting.and_then(|woken| woken.at.get().copied()).unwrap_or(now);
        let seen = event
            .context("the subscription ended")
            .and_then(|event| Ok(Seen { change: change(&event)?, in_portfolio: published, in_hands: now }));
        let is_end = seen.is_err();
        if sender.send(seen).is_err() || is_end {
            break;
        }
    }
}

/// Notes when somebody is woken: by whoever publishes, and right after readers can see what is published.
struct Woken {
    at: OnceLock<Instant>,
    task: Waker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        // The first time counts.
        let _ = self.at.set(Instant::now());
        self.task.wake_by_ref();
    }
}

fn change(event: &Event) -> Result<Change> {
    let (kind, container) = match &event.kind {
        EventKind::Started(container) => (Kind::Started, container),
        EventKind::Exited { container, .. } => (Kind::Exited, container),
        EventKind::Paused(container) => (Kind::Paused, container),
        EventKind::Unpaused(container) => (Kind::Unpaused, container),
        _ => bail!("a subscriber was reported: {event}"),
    };
    Ok(Change { id: container.id().to_string(), kind })
}
