//! The commands of `--exec`: one for each change of a container.
//!
//! They have a subscription of their own, so that neither a slow command delays the output nor a stalled
//! output the commands.

use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use futures_util::future::FutureExt;
use jiff::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use whalewatcher_core::fleet::FleetEvent;
use whalewatcher_core::{Container, EventKind};

use super::beginning::Beginnings;
use super::queue::Queue;
use crate::changes::Changes;
use crate::hosts::host;
use crate::notes::note;
use crate::render::json;
use crate::render::texts::{WIDEST, pod};
use crate::render::width::cut;
use crate::selection::Selection;

/// How long the end of the program waits for commands that run.
pub(crate) const END_LIMIT: Duration = Duration::from_secs(10);

/// How long the end of the program waits until the note about them is written.
const NOTE_LIMIT: Duration = Duration::from_millis(150);

/// Waits up to [`END_LIMIT`] until these commands have ended.
pub(crate) async fn finish(running: &TaskTracker) {
    running.close();
    if timeout(END_LIMIT, running.wait()).await.is_err() {
        let (count, limit) = (running.len(), END_LIMIT.as_secs());
        let message = format!("--exec: {count} commands have not ended within {limit} s");
        // A standard error that is not read may be why they have not ended.
        let _ = timeout(NOTE_LIMIT, spawn_blocking(move || note(&message))).await;
    }
}

/// Reads changes and runs a command for each.
pub(super) struct Executor {
    shell_command: String,
    changes: Changes,
    selection: Selection,
    beginnings: Beginnings,
    queue: Queue<FleetEvent>,
    /// The containers of commands that have ended.
    ended: UnboundedReceiver<String>,
    sender: UnboundedSender<String>,
    running: TaskTracker,
    /// The revision of the last event that was read.
    revision: u64,
}

impl Executor {
    /// Creates an executor of the changes of a new subscription. Its commands are tasks of the tracker, and
    /// outlive the executor.
    pub(super) fn new(
        shell_command: String,
        selection: Selection,
        changes: Changes,
        running: TaskTracker,
    ) -> Self {
        let (sender, ended) = unbounded_channel();
        Self {
            shell_command,
            changes,
            selection,
            beginnings: Beginnings::default(),
            queue: Queue::default(),
            ended,
            sender,
            running,
            revision: 0,
        }
    }

    /// Runs commands until the fleet is closed. Cancel safe.
    pub(super) async fn run(&mut self) {
        loop {
            self.start_commands();
            tokio::select! {
                Some(container) = self.ended.recv() => self.queue.end(&container),
                // What is not read is bounded: the subscription lags, and its next events are what changed meanwhile.
                change = self.changes.next(), if self.queue.has_room() => match change {
                    Some(change) => self.handle(change),
                    None => return,
                },
            }
        }
    }

    /// Runs commands for all changes up to this revision, until the last one is started.
    pub(super) async fn run_until(&mut self, revision: u64) {
        loop {
            // The last event of the output is in the subscription too.
            while self.revision < revision
                && self.queue.has_room()
                && let Some(Some(change)) = self.changes.next().now_or_never()
            {
                self.handle(change);
            }
            self.start_commands();
            if self.queue.is_empty() {
                return;
            }
            if let Some(container) = self.ended.recv().await {
                self.queue.end(&container);
            }
        }
    }

    fn handle(&mut self, change: FleetEvent) {
        self.revision = change.revision;
        if let EventKind::Lagged { missed } = change.event.kind {
            let message = "the commands of --exec are slower than the events";
            let message = format!("{message}: skipped {missed} events; what they changed follows");
            self.running.spawn_blocking(move || note(&message));
        }
        let is_change = self.beginnings.is_change(&change);
        if let Some(container) = change.event.subject()
            && is_change
            && self.selection.shows(&*change.watcher, &change.event)
        {
            self.queue.push(unscoped(container).to_owned(), change);
        }
    }

    fn start_commands(&mut self) {
        while let Some((id, change)) = self.queue.start() {
            let (command, sender) = (command(&self.shell_command, &change), self.sender.clone());
            self.running.spawn(async move {
                if let Err(error) = run(command, &change).await {
                    // May block, which holds up the commands that follow and no event.
                    let _ = spawn_blocking(move || note(&format!("--exec: {error:#}"))).await;
                }
                // Fails if the executor has ended before its commands.
                let _ = sender.send(id);
            });
        }
    }
}

/// Runs a command to its end.
///
/// # Errors
///
/// If it cannot be started or fails.
async fn run(mut command: Command, change: &FleetEvent) -> anyhow::Result<()> {
    let event = &change.event;
    let what = || match event.subject() {
        Some(container) => {
            format!("the command for '{} {}'", cut(container.name(), WIDEST), event.kind.name())
        }
        None => format!("the command for '{}'", event.kind.name()),
    };
    let mut line = Vec::new();
    json::write_event(&mut line, &*change.watcher, event)?;
    let mut child = command.spawn().with_context(|| format!("cannot start {}", what()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // Fails if the command ends without reading.
        let _ = stdin.write_all(&line).await;
    }
    let status = child.wait().await?;
    anyhow::ensure!(status.success(), "{} failed: {status}", what());
    Ok(())
}

/// Returns the command for a change.
fn command(shell_command: &str, FleetEvent { watcher, event, .. }: &FleetEvent) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(shell_command).stdin(Stdio::piped());
    let engine_type = watcher.engine_type();
    let mut set = |name: &str, value: Option<String>| {
        let name = format!("WHALEWATCHER_{name}");
        match value {
            // A variable cannot contain it.
            Some(value) => command.env(name, value.replace('\0', "")),
            None => command.env_remove(name),
        };
    };
    let Some(container) = event.subject() else { return command };
    let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let code = match &event.kind {
        EventKind::Exited { code, .. } => *code,
        EventKind::CrashLoop(it) => it.code,
        _ => None,
    };
    set("EVENT", filled(event.kind.name()));
    set("TIME", time(event.time));
    set("ID", filled(container.id().as_str()));
    set("NAME", filled(container.name()));
    // A life that ended before it could be inspected has the PID 0.
    set("PID", Some(container.pid()).filter(|pid| *pid != 0).map(|pid| pid.to_string()));
    set("PROJECT", filled(container.project()));
    set("POD", filled(&pod(container)));
    set("IMAGE", container.image().and_then(|image| filled(image.name())));
    set("HEALTH", container.health().map(|health| health.as_str().to_owned()));
    set("EXIT_CODE", code.map(|code| code.to_string()));
    set("ENGINE", filled(engine_type));
    set("HOST", filled(&host(engine_type, watcher.endpoint())));
    command
}

fn time(time: SystemTime) -> Option<String> {
    Timestamp::try_from(time).ok().map(|time| time.to_string())
}

/// Returns the ID without the namespace of containerd, so that a container that moves to another engine stays
/// the same one.
fn unscoped(container: &Container) -> &str {
    let id = container.id().as_str();
    id.rsplit_once('/').map_or(id, |(_, id)| id)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use whalewatcher_core::history::HistorySettings;
    use whalewatcher_core::{EngineWatcher, Fleet};
    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    /// Far more than what waits and what a small subscription holds.
    const CHANGES: usize = 400;

    #[tokio::test]
    async fn commands_that_are_too_slow_skip_changes_and_end_with_the_newest_state() {
        let folder = tempfile::tempdir().unwrap();
        let (go, done) = (folder.path().join("go"), folder.path().join("done"));
        // All wait for the first one, which waits for a file.
        let command = format!(
            "until [ -e {} ]; do sleep 0.01; done; echo $WHALEWATCHER_EVENT >> {}",
            go.display(),
            done.display()
        );
        let (fleet, engine) = (Arc::new(Fleet::with_subscriber_queue(8)), Engine::new());
        engine.start(Container::new("1", "web", 7));
        let tracker = TaskTracker::new();
        let mut executor = Executor::new(
            command,
            Selection::default(),
            Changes::subscribe(&fleet, HistorySettings::default()).1,
            tracker.clone(),
        );
        let watcher = fleet.add(EngineWatcher::new(engine.clone())).unwrap();
        let changing = async {
            watcher.ready().await.unwrap();
            let mut portfolio = watcher.follow_portfolio();
            for change in 0..CHANGES {
                let paused = change % 2 == 0;
                engine.pause("1", paused);
                while portfolio.portfolio().by_id("1").is_none_or(|web| web.paused() != paused) {
                    portfolio.changed().await;
                }
            }
            engine.pause("1", true);
            while fleet.portfolio().by_id("1").next().is_none_or(|(_, web)| !web.paused()) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = executor.run() => panic!("the fleet is closed"),
            () = changing => {}
        }
        fs::write(go, "").unwrap();
        executor.run_until(fleet.portfolio().revision()).await;
        finish(&tracker).await;
        let done = fs::read_to_string(done).unwrap();
        let count = done.lines().count();
        assert!(count < CHANGES, "{count}");
        assert_eq!(done.lines().last(), Some("paused"));
    }
}
