//! Watches that end before their time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{EngineWatcher, watch};
use whalewatcher_moby::Client;

use crate::docker::check::check;
use crate::docker::churn::Churn;
use crate::docker::fixture::DockerFixture;
use crate::fixture::Fixture as _;
use crate::leaks::{Apart, descriptors, no_more_descriptors_than};
use crate::recorder::LIMIT;
use whalewatcher_drivers::docker::Plan;

/// How many watches are dropped at random moments.
const WATCHES: usize = 60;

/// Of how many others is measured how long it takes until they are live.
const MEASURED: usize = 5;

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
    check(fixture, &watched).await?;
    let apart = Apart::build()?;
    let before = descriptors()?;
    let endpoint = fixture.engine().docker_host();
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
    check(fixture, &watched).await
}

/// Drops or closes so many watches at random moments from before they connect to after they are live, and every tenth
/// surely when it is, and checks each time that no task is left. Returns how many of them were live already.
pub(crate) async fn dropped_at_random_moments<C: EngineClient>(
    apart: &Apart,
    watches: usize,
    client: impl Fn() -> Result<C>,
) -> Result<usize> {
    let (mut random, mut live) = (Rng::new(), 0);
    let mut longest = Duration::ZERO;
    for _ in 0..MEASURED {
        let (began, client) = (Instant::now(), client()?);
        apart.handle()?.spawn(async move { watch(client).ready().await }).await??;
        longest = longest.max(began.elapsed());
    }
    let moments = 0..u64::try_from(longest.as_micros())? * 3 / 2;
    for number in 0..watches {
        let client = client()?;
        let watching = apart.handle()?.spawn(async move { watch(client) }).await?;
        match number % 10 {
            0 => drop(watching.ready().await?),
            // The moment is the point: there is nothing to wait for.
            _ => sleep(Duration::from_micros(random.u64(moments.clone()))).await,
        }
        live += usize::from(watching.status().is_live());
        match random.u8(0..3) {
            0 => watching.close().await,
            _ => drop(watching),
        }
        apart.is_empty().await?;
    }
    Ok(live)
}

pub(super) async fn watches_dropped_at_random_during_churn_leave_nothing(
    fixture: &DockerFixture,
) -> Result<()> {
    fixture.release_driver();
    let apart = Apart::build()?;
    let before = descriptors()?;
    let docker = fixture.driver().await?;
    let churn = Churn::prepare(&docker, "churned", 6, fastrand::u64(..)).await?;
    let endpoint = fixture.engine().docker_host();
    let over = AtomicBool::new(false);
    let dropping = async {
        let dropped = dropped_at_random_moments(&apart, WATCHES, || Ok(Client::new(&endpoint)?)).await;
        over.store(true, Ordering::Relaxed);
        dropped
    };
    let is_over = || over.load(Ordering::Relaxed);
    let dropping = async {
        let live = dropping.await;
        over.store(true, Ordering::Relaxed);
        live
    };
    let (_, _, live) = tokio::join!(churn.run(&docker, 1, is_over), churn.run(&docker, 2, is_over), dropping);
    let live = live?;
    fixture.figure(format!(
        "{WATCHES} watches dropped, {live} of them when they were live already; {} transitions meanwhile",
        churn.transitions()
    ));
    drop(docker);
    fixture.release_driver();
    no_more_descriptors_than(&before).await?;
    let watched = fixture.watch().await?;
    check(fixture, &watched).await
}
