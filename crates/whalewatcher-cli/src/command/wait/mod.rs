//! `whalewatcher wait`: until containers have started, exited, become healthy or are gone.

mod engines;
mod target;

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::future::FutureExt;
use tokio::time::timeout;
use whalewatcher_core::fleet::{FleetEvent, FleetPortfolio, FleetSubscription};
use whalewatcher_core::{Container, EventKind, Fleet, Printable};
use whalewatcher_etcd::Hub;

use self::engines::Engines;
use self::target::{Seen, Target};
use super::following::{Following, Outage, Outages, follow};
use crate::args::{State, WaitArgs, wrong};
use crate::hosts::Hosts;
use crate::notes::Notes;
use crate::output::{Output, is_closed};
use crate::selection::{Pattern, Selection, is_named};
use crate::warnings::Warned;

/// The status at the time limit, as that of `timeout`.
const TIMED_OUT: u8 = 124;

/// The status for an exit code that the engine does not report.
const UNKNOWN_CODE: u8 = 125;

/// The most events that are handled before the state is looked at.
const BATCH: usize = 1_024;

/// Waits for the containers, and prints what it sees of them.
///
/// All engines are subscribed to before any is listed, so nothing happens unseen.
pub(crate) async fn wait(
    fleet: &Arc<Fleet>,
    hosts: Hosts,
    arguments: &WaitArgs,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    if arguments.exit_code && arguments.state != State::Exited {
        return Err(wrong("--exit-code needs '--for exited', which is the default"));
    }
    let selection = Selection::new(&[], &arguments.filters)?;
    let following = follow(fleet, hosts, &selection)?;
    let mut waiting = Waiting::new(fleet, following, &selection, arguments)?;
    let (lines, seen) = mpsc::channel::<Seen>();
    let (output, is_quiet) = (output.clone(), arguments.quiet);
    let printed = tokio::spawn(async move {
        let write = output.write(move |writer| {
            for seen in seen.iter().filter(|_| !is_quiet) {
                if !writer.begin() {
                    break;
                }
                writer.write_all(line(&seen).as_bytes())?;
                writer.flush()?;
            }
            Ok(())
        });
        write.await
    });
    let mut codes = Vec::new();
    let waited = waiting.run(|seen| {
        codes.extend((seen.state == State::Exited).then_some(seen.code));
        // Fails if the output was closed, which is no reason to end.
        let _ = lines.send(seen);
    });
    let is_over = match arguments.timeout {
        Some(limit) => timeout(limit, waited).await.ok().transpose()?.is_some(),
        None => waited.await.map(|()| true)?,
    };
    drop(lines);
    match printed.await? {
        Err(error) if !is_closed(&error) => return Err(error),
        _ => {}
    }
    if let Some(limit) = arguments.timeout.filter(|_| !is_over) {
        waiting.note_unmet(limit);
    }
    waiting.notes.finish();
    Ok(match is_over {
        false => ExitCode::from(TIMED_OUT),
        true if arguments.exit_code => ExitCode::from(status(&codes)),
        true => ExitCode::SUCCESS,
    })
}

/// Returns the line for what was seen.
fn line(Seen { name, state, code }: &Seen) -> String {
    let name = Printable(name);
    match (state, code) {
        (State::Started, _) => format!("{name} started\n"),
        (State::Exited, Some(code)) => format!("{name} exited {code}\n"),
        (State::Exited, None) => format!("{name} exited\n"),
        (State::Healthy, _) => format!("{name} healthy\n"),
        (State::Gone, _) => format!("{name} gone\n"),
    }
}

/// Returns the status for these exit codes: of several the first that is not 0.
fn status(codes: &[Option<i32>]) -> u8 {
    match codes.iter().find(|code| **code != Some(0)) {
        Some(Some(code)) => u8::try_from(*code).unwrap_or(u8::MAX),
        Some(None) => UNKNOWN_CODE,
        None => 0,
    }
}

/// What is awaited, and what is known.
struct Waiting {
    targets: Vec<Target>,
    /// One of them is enough.
    any: bool,
    state: State,
    selection: Selection,
    alive: FleetPortfolio,
    changes: FleetSubscription,
    engines: Engines,
    outages: Outages,
    warnings: Warned,
    notes: Notes,
    /// The notes that were printed once.
    noted: BTreeSet<String>,
    _hubs: Vec<Hub>,
}

impl Waiting {
    fn new(
        fleet: &Arc<Fleet>,
        following: Following,
        selection: &Selection,
        arguments: &WaitArgs,
    ) -> anyhow::Result<Self> {
        let target = |name: &String| {
            let name = Pattern::new(name).map_err(|reason| wrong(Printable(&reason)))?;
            anyhow::Ok(Target::new(name, selection.clone(), arguments.state, arguments.any))
        };
        let targets = arguments.names.iter().map(target).collect::<Result<_, _>>()?;
        let Following { named, warnings, discovery, hubs } = following;
        let (alive, changes) = fleet.subscribe();
        let engines = Engines::new(fleet.clone(), selection.clone(), discovery);
        alive.members().for_each(|member| engines.follow(&**member.watcher()));
        Ok(Self {
            targets,
            any: arguments.any,
            state: arguments.state,
            selection: selection.clone(),
            alive,
            changes,
            engines,
            outages: Outages::new(named),
            _hubs: hubs,
            warnings,
            notes: Notes::new()?,
            noted: BTreeSet::new(),
        })
    }

    /// Runs until it has happened.
    ///
    /// # Errors
    ///
    /// If no engine can be watched.
    async fn run(&mut self, mut see: impl FnMut(Seen)) -> anyhow::Result<()> {
        loop {
            self.evaluate(&mut see);
            let met = self.targets.iter().filter(|target| target.is_met).count();
            if met == self.targets.len() || self.any && met > 0 {
                return Ok(());
            }
            self.note_unlikely();
            let change = tokio::select! {
                change = self.changes.next() => match change {
                    Some(change) => Some(change),
                    None => anyhow::bail!("the watch ended by itself"),
                },
                () = self.engines.changed() => None,
            };
            let Some(change) = change else { continue };
            let mut batch = vec![change];
            while batch.len() < BATCH
                && let Some(Some(change)) = self.changes.next().now_or_never()
            {
                batch.push(change);
            }
            self.handle(&batch, &mut see)?;
        }
    }

    fn handle(&mut self, batch: &[FleetEvent], see: &mut impl FnMut(Seen)) -> anyhow::Result<()> {
        // An engine that leaves takes its containers with it, although they may go on.
        let is_left = |(at, change): (usize, &FleetEvent)| {
            matches!(change.event.kind, EventKind::Left).then_some((change.key.clone(), at))
        };
        let left: HashMap<_, _> = batch.iter().enumerate().filter_map(is_left).collect();
        for (at, change) in batch.iter().enumerate() {
            self.alive.apply(change);
            if !self.selection.concerns(&*change.watcher) {
                continue;
            }
            if let EventKind::Joined = change.event.kind {
                self.warnings.warn_of(change.watcher.clone());
                self.engines.follow(&*change.watcher);
            }
            if let Some(Outage::Waiting(reason) | Outage::GoingOn(reason)) = self.outages.handle(change)? {
                self.notes.note(reason);
            }
            let is_leaving = left.get(&change.key).is_some_and(|left| at < *left);
            let targets = self.targets.iter_mut();
            targets.filter_map(|target| target.handle(change, is_leaving)).for_each(&mut *see);
        }
        Ok(())
    }

    fn evaluate(&mut self, see: &mut impl FnMut(Seen)) {
        for target in &mut self.targets {
            let over: Vec<_> =
                target.lost().filter(|key| self.engines.is_alive(key) == Some(false)).cloned().collect();
            over.iter().filter_map(|key| target.handle_loss(key)).for_each(&mut *see);
            let knowledge = self.engines.knowledge(&self.alive, &target.name);
            target.evaluate(&self.alive, knowledge).into_iter().for_each(&mut *see);
        }
    }

    /// Notes once why something may never happen.
    fn note_unlikely(&mut self) {
        let mut notes = Vec::new();
        for target in self.targets.iter().filter(|target| !target.is_met) {
            let name = target.name.text();
            let alive: Vec<_> = self.alive_of(target).collect();
            for lost in target.lost_names() {
                notes.push(format!("the engine of '{lost}' has gone, so '{lost}' may still be alive"));
            }
            let is_listed = self.engines.knowledge(&self.alive, &target.name).is_listed;
            match self.state {
                State::Exited | State::Healthy if is_listed && alive.is_empty() && target.is_unseen() => {
                    notes.push(format!("no live container '{name}' is known; waiting for it to start"));
                }
                State::Healthy => {
                    let without = alive.iter().filter(|container| container.health().is_none());
                    notes.extend(without.map(|container| {
                        format!("'{}' has no healthcheck, so it cannot become healthy", container.name())
                    }));
                }
                State::Gone if alive.is_empty() => {
                    notes.extend(self.engines.missing().map(|missing| {
                        format!("whether '{name}' is gone is unknown, since this may run: {missing}; --host names others")
                    }));
                }
                _ => {}
            }
        }
        for note in notes {
            if self.noted.len() < BATCH && self.noted.insert(note.clone()) {
                self.notes.note(note);
            }
        }
    }

    /// Notes at the time limit what has not happened.
    fn note_unmet(&self, limit: Duration) {
        for target in self.targets.iter().filter(|target| !target.is_met) {
            let what = match self.state {
                State::Started => "has not started",
                State::Exited => "has not exited",
                State::Healthy => "is not healthy",
                State::Gone if self.alive_of(target).next().is_some() => "is alive",
                State::Gone => "may be alive",
            };
            self.notes.note(format!("'{}' {what} after {limit:?}", target.name.text()));
        }
    }

    fn alive_of<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a Arc<Container>> {
        let all = self.alive.containers().filter(move |(member, container)| {
            is_named(container, &target.name) && self.selection.matches(&**member.watcher(), container)
        });
        all.map(|(_, container)| container)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use whalewatcher_core::{EngineKey, EngineWatcher};
    use whalewatcher_testkit::scripted::Engine;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::warnings::spawn_warnings;

    /// Far longer than anything that happens without a time limit.
    const LONG: Duration = Duration::from_secs(3_600);

    /// Waits for 'web', and returns what is seen.
    fn waiting(fleet: &Arc<Fleet>, state: &str) -> UnboundedReceiver<Seen> {
        let line = ["whalewatcher", "wait", "web", "--for", state];
        let Command::Wait(arguments) = Cli::try_parse_from(line).unwrap().command else { panic!("not wait") };
        let following =
            Following { named: None, warnings: spawn_warnings().unwrap(), discovery: None, hubs: Vec::new() };
        let mut waiting = Waiting::new(fleet, following, &Selection::default(), &arguments).unwrap();
        let (sender, seen) = unbounded_channel();
        tokio::spawn(async move { waiting.run(|seen| drop(sender.send(seen))).await });
        seen
    }

    async fn watch(fleet: &Fleet, engine: &Engine) -> EngineKey {
        let watcher = fleet.add(EngineWatcher::new(engine.clone())).unwrap();
        fleet.ready(LONG).await;
        watcher.key()
    }

    #[tokio::test(start_paused = true)]
    async fn containers_of_an_engine_that_leaves_are_neither_gone_nor_exited() {
        for (state, ends, code) in
            [("gone", true, None), ("gone", false, None), ("exited", true, None), ("exited", false, Some(3))]
        {
            let (fleet, engine, other) = (Arc::new(Fleet::new()), Engine::at("here"), Engine::at("there"));
            engine.start(Container::new("1", "web", 7));
            let mut seen = waiting(&fleet, state);
            let key = watch(&fleet, &engine).await;
            watch(&fleet, &other).await;
            fleet.remove(&key);
            let early = timeout(LONG, seen.recv()).await;
            assert!(early.is_err(), "{state}: {early:?}");
            if ends {
                engine.exit("1", Some(3));
            }
            watch(&fleet, &engine).await;
            if !ends {
                assert!(timeout(LONG, seen.recv()).await.is_err(), "{state}");
                engine.exit("1", Some(3));
            }
            let last = timeout(LONG, seen.recv()).await.unwrap().unwrap();
            assert_eq!((last.name.as_str(), last.code), ("web", code), "{state}");
            assert_eq!(seen.recv().await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_engine_that_is_away_runs_is_not_gone() {
        let (fleet, engine) = (Arc::new(Fleet::new()), Engine::at("here"));
        engine.start(Container::new("1", "web", 7));
        let mut seen = waiting(&fleet, "gone");
        watch(&fleet, &engine).await;
        engine.refuse(whalewatcher_core::ErrorKind::Unreachable, "away");
        engine.disconnect();
        engine.exit("1", None);
        assert!(timeout(LONG, seen.recv()).await.is_err());
        engine.accept();
        assert_eq!(timeout(LONG, seen.recv()).await.unwrap().unwrap().state, State::Gone);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_listed_is_not_gone() {
        let (fleet, engine) = (Arc::new(Fleet::new()), Engine::at("here"));
        engine.fail_listing("staging", true);
        let mut seen = waiting(&fleet, "gone");
        fleet.add(EngineWatcher::new(engine.clone())).unwrap();
        assert!(timeout(LONG, seen.recv()).await.is_err());
        engine.fail_listing("staging", false);
        assert_eq!(timeout(LONG, seen.recv()).await.unwrap().unwrap().state, State::Gone);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renamed_container_is_still_the_one_that_is_awaited() {
        let (fleet, engine) = (Arc::new(Fleet::new()), Engine::at("here"));
        engine.start(Container::new("1", "web", 7));
        let mut seen = waiting(&fleet, "exited");
        let watcher = fleet.watcher(&watch(&fleet, &engine).await).unwrap();
        engine.rename("1", "old");
        let mut portfolio = watcher.follow_portfolio();
        while portfolio.portfolio().by_name("old").is_none() {
            portfolio.changed().await;
        }
        engine.exit("1", Some(3));
        let last = seen.recv().await.unwrap();
        assert_eq!((last.name.as_str(), last.code), ("old", Some(3)));
    }

    #[test]
    fn the_status_is_the_first_code_that_is_not_0() {
        assert_eq!(status(&[]), 0);
        assert_eq!(status(&[Some(0), Some(0)]), 0);
        assert_eq!(status(&[Some(0), Some(3), Some(4)]), 3);
        assert_eq!(status(&[None, Some(3)]), UNKNOWN_CODE);
        assert_eq!((status(&[Some(-1)]), status(&[Some(256)])), (255, 255));
    }
}
