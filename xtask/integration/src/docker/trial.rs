//! A watcher behind a proxy that breaks whatever passes, of an engine whose containers come and go, with subscribers of
//! every kind; and what has to hold each time that both have come to rest.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use whalewatcher_core::Backoff;
use whalewatcher_testkit::proxy::Proxy;

use crate::docker::check::check;
use crate::docker::chronicle::Chronicle;
use crate::docker::churn::{Churn, Slot, churn};
use crate::docker::fixture::{DockerFixture, Watched};
use crate::docker::truth;
use crate::fault_injector::{FaultInjector, Protocol};
use crate::fixture::{Fixture as _, settings};
use crate::leaks::{Apart, descriptors, no_more_descriptors_than};
use crate::random_steps::RandomSteps;
use crate::recorder::{LIMIT, Recorder};
use crate::scenarios::cut_off;
use whalewatcher_drivers::docker::Driver;

/// How many things are done to containers at once.
const AT_ONCE: usize = 8;

/// After how many things done to containers the next fault comes, at the soonest.
const TRANSITIONS_PER_FAULT: usize = 10;

/// How long the slow subscriber rests after each event: for good, until it is to hurry.
const REST: Duration = LIMIT;

/// After how many faults of a round one more subscriber joins.
const JOINS_AFTER: usize = 3;

/// See the module's documentation.
pub(crate) struct Trial<'a> {
    fixture: &'a DockerFixture,
    docker: Driver,
    /// What was open before.
    descriptors: BTreeSet<String>,
    /// Where the watcher runs.
    apart: Apart,
    pub(crate) proxy: Proxy,
    pub(crate) watched: Watched,
    pub(crate) churn: RandomSteps<Churn>,
    pub(crate) injector: FaultInjector,
    chronicle: Chronicle,
    changes: usize,
    joined: usize,
}

impl<'a> Trial<'a> {
    /// Prepares so many containers, and watches.
    pub(crate) async fn begin(fixture: &'a DockerFixture, containers: usize, seed: u64) -> Result<Trial<'a>> {
        fixture.release_driver();
        let apart = Apart::build()?;
        let descriptors = descriptors()?;
        let docker = fixture.driver().await?;
        let chronicle = Chronicle::begin(&docker).await?;
        let proxy = fixture.proxy()?;
        let limit = Duration::from_secs(2);
        let settings = settings()
            .with_backoff(Backoff::default().with_delays(Duration::from_millis(1), Duration::from_millis(50)))
            .with_limits(limit, limit, limit)
            .with_probes(Duration::from_millis(300), limit)
            .with_audits(Duration::from_millis(300))
            .with_subscriber_queue(8);
        let watched = fixture.begin_watch_in(apart.handle()?, &proxy.endpoint(), settings)?;
        let mut watched = watched.that_is_hindered();
        watched.recorders.push(Recorder::start("slow", watched.watching.subscribe(), REST));
        watched.ready().await?;
        let churn = churn(&docker, containers, seed).await?;
        let injector = FaultInjector::new(seed, Protocol::Http1)?;
        let (changes, joined) = (0, 0);
        Ok(Trial {
            fixture,
            docker,
            descriptors,
            apart,
            proxy,
            watched,
            churn,
            injector,
            chronicle,
            changes,
            joined,
        })
    }

    /// Lets so many faults and at least ten times as many transitions happen, with a subscriber that joins amid; then
    /// takes back all faults and [checks](Trial::check).
    pub(crate) async fn round(&mut self, faults: usize) -> Result<()> {
        self.play(faults).await?;
        self.check().await
    }

    async fn play(&mut self, faults: usize) -> Result<()> {
        self.joined += 1;
        let joiner = format!("joined as number {}", self.joined);
        let Trial { proxy, watched, churn, injector, .. } = self;
        let mut joined = None;
        let join = |number| {
            if number == JOINS_AFTER {
                joined = Some(Recorder::start(&joiner, watched.watching.subscribe(), Duration::ZERO));
            }
        };
        let playing = injector.play(proxy, watched, churn, (faults, TRANSITIONS_PER_FAULT), join);
        churn.during(AT_ONCE, playing).await?;
        self.watched.recorders.extend(joined);
        Ok(())
    }

    /// Lifts all faults, and checks that the portfolio is right, that all subscribers agree, and that all events they
    /// received really happened. Then forgets these events, so that this can be repeated without growing.
    async fn check(&mut self) -> Result<()> {
        let checked = self.is_right().await;
        checked.with_context(|| format!("after these faults:{}\n", self.injector.script()))?;
        self.injector.set_repaired();
        self.chronicle.forget().await?;
        self.watched.recorders.truncate(2);
        for recorder in &self.watched.recorders {
            recorder.forget();
        }
        self.watched.recorders[1].rest_for(REST);
        Ok(())
    }

    async fn is_right(&mut self) -> Result<()> {
        self.proxy.heal()?;
        self.churn.settle().await?;
        check(self.fixture, &self.watched).await?;
        self.chronicle.complete(&self.fixture.fence_name()).await?;
        for recorder in &self.watched.recorders {
            let record = recorder.record().clone();
            self.chronicle.bears_out(&record).with_context(|| recorder.tail())?;
        }
        self.changes = self.chronicle.changes();
        Ok(())
    }

    /// Runs this while the watcher is cut off and all its connections are closed. Then lets it connect again,
    /// which must report nothing of containers, since nothing happened.
    pub(crate) async fn cut_off<T>(&self, then: impl Future<Output = Result<T>>) -> Result<T> {
        let recorder = self.watched.recorder();
        let (reported, synced) = (recorder.len(), recorder.record().synced());
        let refusal = cut_off(&self.proxy).await?;
        let outcome = then.await?;
        self.proxy.lift(refusal)?;
        recorder.until("it is in sync again", |record| record.synced() > synced).await?;
        let reported = recorder.record().reported_since(reported);
        ensure!(reported.is_empty(), "reported though nothing happened: {reported:?}");
        Ok(outcome)
    }

    /// How many starts, ends, pauses and renames there were up to the last check.
    pub(crate) fn changes(&self) -> usize {
        self.changes
    }

    /// The watcher's tasks.
    pub(crate) fn tasks(&self) -> Result<usize> {
        Ok(self.apart.handle()?.metrics().num_alive_tasks())
    }

    /// Ends some containers, and sees that exactly the others remain; then drops the watcher, and sees that it leaves
    /// nothing.
    pub(crate) async fn end(mut self) -> Result<()> {
        let mut ids: Vec<String> = Vec::new();
        for id in self.churn.slots().iter().map(Slot::id) {
            if !self.docker.is_given_up(&id).await? {
                ids.push(id);
            }
        }
        let (going, staying) = ids.split_at(ids.len() / 2);
        for id in going {
            self.docker.remove(id).await?;
        }
        for id in staying {
            let paused = truth::alive(&self.docker, id).await?.is_some_and(|alive| alive.paused);
            match paused {
                true => self.docker.unpause(id).await?,
                // One that ends by itself does so again.
                false => self.docker.start(id).await?,
            }
        }
        self.check().await?;
        let portfolio = self.watched.watching.portfolio();
        let gone = going.iter().find(|id| portfolio.by_id(id).is_some());
        ensure!(gone.is_none(), "{gone:?} is still there");

        let Trial { fixture, docker, descriptors, apart, proxy, watched, churn, chronicle, .. } = self;
        drop(watched);
        apart.is_empty().await.context("after the watch was dropped")?;
        proxy.until_open(0).await;
        drop((docker, proxy, churn, chronicle));
        fixture.release_driver();
        no_more_descriptors_than(&descriptors).await.context("after the watch was dropped")
    }
}
