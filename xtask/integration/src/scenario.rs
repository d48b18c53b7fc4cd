//! Scenarios, and how they run.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};
use whalewatcher_drivers::is_engines_own;

use crate::fixture::Fixture;

/// No scenario takes longer unless something hangs.
const SCENARIO_LIMIT: Duration = Duration::from_secs(900);

/// How many times something is tried at which the engine itself fails. What a watcher does is tried once.
const TRIES: usize = 3;

/// What scenarios run on, one after the other.
pub(crate) trait Ground: Sized + 'static {
    /// What is played on it.
    const SCENARIOS: &'static [Scenario<Self>];

    /// Removes whatever a scenario left.
    async fn clear(&self) -> Result<()>;

    /// Describes what they run on, with its version.
    fn describe(&self) -> String;

    /// Returns the lines to print with a scenario's outcome.
    fn take_figures(&self) -> Vec<String>;
}

impl<F: Fixture> Ground for F {
    const SCENARIOS: &'static [Scenario<F>] = F::SCENARIOS;

    async fn clear(&self) -> Result<()> {
        Fixture::clear(self).await
    }

    fn describe(&self) -> String {
        Fixture::describe(self)
    }

    fn take_figures(&self) -> Vec<String> {
        Fixture::take_figures(self)
    }
}

/// A sentence about what a watcher does, and how to see whether it is true.
pub(crate) struct Scenario<S> {
    pub(crate) path: &'static str,
    pub(crate) play: for<'a> fn(&'a S) -> LocalBoxFuture<'a, Result<()>>,
}

macro_rules! scenarios {
    ($($path:path,)*) => {
        &[$(Scenario { path: stringify!($path), play: |fixture| Box::pin($path(fixture)) },)*]
    };
}
pub(crate) use scenarios;

impl<S: Ground> Scenario<S> {
    fn name(&self) -> &'static str {
        self.path.rsplit("::").next().unwrap_or(self.path).trim()
    }

    fn sentence(&self) -> String {
        self.name().replace('_', " ")
    }

    fn matches(&self, filter: &str) -> bool {
        self.name().contains(filter) || self.sentence().contains(filter)
    }

    /// Plays it, and plays it again if the engine itself failed at what the scenario asked of it.
    async fn run(&self, fixture: &S) -> Result<()> {
        let mut tries = 1;
        loop {
            match self.run_once(fixture).await {
                Err(error) if tries < TRIES && is_engines_own(&error) => {
                    println!("again           {}\n  the engine failed: {error:#}", self.sentence());
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Plays it and clears the fixture after it, however it went.
    async fn run_once(&self, fixture: &S) -> Result<()> {
        let playing = AssertUnwindSafe(timeout(SCENARIO_LIMIT, (self.play)(fixture))).catch_unwind();
        let outcome = match playing.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(anyhow!("it did not end within {} s", SCENARIO_LIMIT.as_secs())),
            Err(_) => Err(anyhow!("it panicked")),
        };
        outcome.and(clear(fixture).await.context("cannot clear the fixture"))
    }
}

/// Clears the fixture, and again if the engine fails at that.
async fn clear<S: Ground>(fixture: &S) -> Result<()> {
    let mut tries = 1;
    loop {
        match timeout(SCENARIO_LIMIT, fixture.clear()).await.unwrap_or_else(|error| Err(error.into())) {
            Err(error) if tries < TRIES => {
                println!("again           clearing up\n  the engine failed: {error:#}");
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Has something happen on a fixture, and ends the engine however that went.
pub(crate) fn run_on<S: Fixture>(
    fixture: &S,
    performance: impl AsyncFnOnce(&S) -> Result<usize>,
) -> Result<usize> {
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let outcome = runtime.block_on(performance(fixture));
    fixture.release_driver();
    // What still runs in it may not outlive the engine that it asks.
    runtime.shutdown_timeout(Duration::from_secs(5));
    let struck = fixture.engine().stop();
    outcome.and_then(|failed| struck.map(|()| failed))
}

/// Runs the scenarios that match a filter, and returns how many failed.
pub(crate) async fn run_all<S: Ground>(engine: &str, fixture: &S, filters: &[String]) -> Result<usize> {
    println!("{engine}: {}", fixture.describe());
    let chosen =
        |scenario: &&Scenario<S>| filters.is_empty() || filters.iter().any(|filter| scenario.matches(filter));
    let began = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    for scenario in S::SCENARIOS.iter().filter(chosen) {
        let began = Instant::now();
        let outcome = scenario.run(fixture).await;
        let seconds = began.elapsed().as_secs_f32();
        match outcome {
            Ok(()) => {
                println!("ok     {seconds:5.1} s  {}", scenario.sentence());
                passed += 1;
            }
            Err(error) => {
                println!("FAILED {seconds:5.1} s  {}", scenario.sentence());
                println!("  {error:#}");
                println!(
                    "  to repeat it: cargo xtask integration --engine {engine} '{}'",
                    scenario.sentence()
                );
                failed += 1;
            }
        }
        for figure in fixture.take_figures() {
            println!("                {figure}");
        }
    }
    println!("{engine}: {passed} passed, {failed} failed in {:.0} s", began.elapsed().as_secs_f32());
    Ok(failed)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use anyhow::bail;
    use whalewatcher_drivers::EngineFailure;

    use super::*;

    /// Counts how often it is played on and cleared, and fails to be cleared so many times.
    #[derive(Default)]
    struct Boards {
        played: Cell<usize>,
        cleared: Cell<usize>,
        unclear: usize,
    }

    impl Ground for Boards {
        const SCENARIOS: &'static [Scenario<Boards>] = &[];

        fn describe(&self) -> String {
            String::new()
        }

        fn take_figures(&self) -> Vec<String> {
            Vec::new()
        }

        async fn clear(&self) -> Result<()> {
            self.cleared.set(self.cleared.get() + 1);
            if self.cleared.get() > self.unclear { Ok(()) } else { bail!("it is being removed") }
        }
    }

    /// Notes that it is played on, and whether that is for the first or second time.
    fn enter(boards: &Boards) -> bool {
        boards.played.set(boards.played.get() + 1);
        boards.played.get() <= 2
    }

    fn engine_failure() -> anyhow::Error {
        anyhow!("ttrpc: closed").context(EngineFailure("cannot stop a pod".to_owned())).context("in round 1")
    }

    #[tokio::test]
    async fn a_scenario_is_played_again_when_the_engine_itself_fails() {
        let boards = Boards::default();
        let play: Scenario<Boards> = Scenario {
            path: "tests::the_engine_fails_twice",
            play: |boards| Box::pin(async { if enter(boards) { Err(engine_failure()) } else { Ok(()) } }),
        };
        play.run(&boards).await.unwrap();
        assert_eq!((boards.played.get(), boards.cleared.get()), (3, 3));

        let boards = Boards::default();
        let play: Scenario<Boards> = Scenario {
            path: "tests::the_engine_fails_always",
            play: |boards| {
                enter(boards);
                Box::pin(async { Err(engine_failure()) })
            },
        };
        assert!(is_engines_own(&play.run(&boards).await.unwrap_err()));
        assert_eq!(boards.played.get(), TRIES);
    }

    #[tokio::test]
    async fn what_a_watcher_gets_wrong_once_is_a_failure() {
        let boards = Boards::default();
        let play = Scenario {
            path: "tests::the_watcher_fails_twice",
            play: |boards: &Boards| {
                Box::pin(async { if enter(boards) { bail!("two starts") } else { Ok(()) } })
            },
        };
        assert_eq!(play.run(&boards).await.unwrap_err().to_string(), "two starts");
        assert_eq!(boards.played.get(), 1);
    }

    #[tokio::test]
    async fn clearing_up_is_tried_again() {
        for (unclear, cleared) in [(0, true), (TRIES - 1, true), (TRIES, false)] {
            let boards = Boards { unclear, ..Boards::default() };
            assert_eq!(clear(&boards).await.is_ok(), cleared);
        }
    }
}
