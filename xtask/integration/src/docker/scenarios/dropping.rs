//! Watches that end before their time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use whalewatcher_core::EngineWatcher;
use whalewatcher_moby::Client;

use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;
use crate::leaks::{Apart, descriptors, no_more_descriptors_than};
use crate::recorder::LIMIT;
use whalewatcher_drivers::docker::Plan;

/// After what time without a wish to be polled a watch has nothing more to do.
const IDLE: Duration = Duration::from_millis(200);

/// Notes when a future asks to be polled.
#[derive(Default)]
struct Wakes(Notify);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls a future so many times, each time when it asks for it, and then drops it. Whether it asked so often.
async fn polled(future: impl Future, times: usize) -> bool {
    let mut future = pin!(future);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    for _ in 0..times {
        // Polled within this task, for tokio's timers and sockets to be at hand.
        let step = poll_fn(|_| Poll::Ready(future.as_mut().poll(&mut Context::from_waker(&waker)))).await;
        if step.is_ready() || timeout(IDLE, wakes.0.notified()).await.is_err() {
            return false;
        }
    }
    true
}

pub(super) async fn watch_dropped_at_any_step_leaves_nothing(fixture: &DockerFixture) -> Result<()> {
    let docker = fixture.driver().await?;
    let plans = (0..8).map(|number| Plan::named(format!("dropped-{number}")));
    docker.run_all(plans).await?;
    let watched = fixture.watch().await?;
    fixture.check(&watched).await?;
    let apart = Apart::build()?;
    let before = descriptors()?;
    let endpoint = fixture.endpoint();
    let again = EngineWatcher::new(Client::new(&endpoint)?);
    let (joined, mut subscription) = again.subscribe();
    let again = Arc::new(again);
    let mut steps = 0;
    loop {
        let (client, same) = (Client::new(&endpoint)?, again.clone());
        let steps_of_both = apart.handle()?.spawn(async move {
            let fresh = EngineWatcher::new(client);
            let fresh = polled(fresh.watch(CancellationToken::new()), steps).await;
            // The same one, time and again: it goes on with what it knows.
            (fresh, polled(same.watch(CancellationToken::new()), steps).await)
        });
        let (fresh, same) = timeout(LIMIT, steps_of_both).await.context("a dropped watch hangs")??;
        apart.is_empty().await.with_context(|| format!("after {steps} steps"))?;
        no_more_descriptors_than(&before).await.with_context(|| format!("after {steps} steps"))?;
        if !fresh && !same && again.portfolio() == watched.watching.portfolio() {
            break;
        }
        steps += 1;
        ensure!(steps < 500, "it never has nothing more to do, or does not get there");
    }
    fixture.figure(format!("dropped after 0 to {steps} steps, when it had nothing more to do"));
    ensure!(steps > 5, "only {steps} steps");
    again.close();
    let mut fold = joined;
    while let Some(event) = subscription.next().await {
        fold.apply(&event.kind);
    }
    ensure!(fold == again.portfolio(), "what the dropped watches reported does not add up");
    fixture.check(&watched).await
}
