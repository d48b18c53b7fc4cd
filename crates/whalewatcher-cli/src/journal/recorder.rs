//! Writes a journal in a thread of its own, from a subscription of its own: a slow disk delays nothing else.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use whalewatcher_core::fleet::FleetPortfolio;
use whalewatcher_core::history::HistorySettings;
use whalewatcher_core::{
    COMPOSE_PROJECT_LABEL, Container, Event, EventKind, Fleet, Labels, POD_NAME_LABEL, POD_NAMESPACE_LABEL,
    POD_UID_LABEL, Watcher,
};

use super::file::JournalFile;
use super::{Mark, event, mark};
use crate::changes::Changes;
use crate::thread::spawn_detached;

/// After how long without a line one is written, so that the end of what is recorded is known.
pub(crate) const QUIET: Duration = Duration::from_secs(60);

/// How long the end of the program waits until the last events are written.
const END_LIMIT: Duration = Duration::from_millis(150);

/// The most bytes of a container's labels: of more, only those that name project and pod are written.
const LABELS: usize = 8 * 1024;

/// Takes notes for the user, and blocks nothing.
pub(crate) type Report = Arc<dyn Fn(String) + Send + Sync>;

/// The thread that writes a journal.
pub(crate) struct Recorder(watch::Receiver<u64>);

impl Recorder {
    /// Begins to record the events of a fleet. What cannot be written is reported once, and recorded no
    /// longer until it can.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub(crate) fn start(
        file: JournalFile,
        fleet: &Fleet,
        settings: HistorySettings,
        report: Report,
    ) -> anyhow::Result<Self> {
        let (alive, changes) = Changes::subscribe(fleet, settings);
        let (written, revision) = watch::channel(0);
        let runtime = Handle::current();
        spawn_detached("journal", move || {
            let mut journal = Journal { file, alive, report, has_failed: false };
            journal.record(changes, &runtime, &written);
        })?;
        Ok(Self(revision))
    }

    /// Waits until the events up to a revision are written, but not for long.
    pub(crate) async fn finish(self, revision: u64) {
        let _ = timeout(END_LIMIT, self.written(revision)).await;
    }

    /// Waits until the events up to a revision are written, or could not be.
    pub(super) async fn written(mut self, revision: u64) {
        let _ = self.0.wait_for(|written| *written >= revision).await;
    }
}

struct Journal {
    file: JournalFile,
    /// The sum of the events so far.
    alive: FleetPortfolio,
    report: Report,
    has_failed: bool,
}

impl Journal {
    fn record(&mut self, mut changes: Changes, runtime: &Handle, written: &watch::Sender<u64>) {
        let begun = self.begin();
        self.check(begun);
        loop {
            // A time limit that runs out loses no event.
            let Ok(next) = runtime.block_on(async { timeout(QUIET, changes.next()).await }) else {
                let quiet = self.resume(|journal| journal.file.append(&mark(Mark::Quiet)));
                self.check(quiet);
                continue;
            };
            let Some(change) = next else { return };
            self.alive.apply(&change);
            if is_recorded(&change.event.kind) {
                let appended = self.resume(|journal| journal.append(&*change.watcher, &change.event));
                self.check(appended);
            }
            written.send_replace(change.revision);
        }
    }

    /// Writes something; after a failure, what is alive in place of it.
    fn resume(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if !self.has_failed {
            return write(self);
        }
        self.begin()
    }

    /// Begins to record: with what is alive, because the last line may be from another run, or from before a failure.
    fn begin(&mut self) -> io::Result<()> {
        self.file.append(&mark(Mark::Begun))?;
        for member in self.alive.clone().members() {
            let watcher = &**member.watcher();
            for container in member.portfolio().containers() {
                let started = EventKind::Started(container.clone());
                self.append(watcher, &Event::new(SystemTime::now(), started))?;
            }
            let kind = match member.error() {
                Some(error) => EventKind::Disconnected { error: error.clone() },
                None if member.is_live() => {
                    EventKind::Synced { containers: member.portfolio().total(), unresolved: 0 }
                }
                None => continue,
            };
            self.append(watcher, &Event::new(SystemTime::now(), kind))?;
        }
        Ok(())
    }

    fn append(&mut self, watcher: &dyn Watcher, event: &Event) -> io::Result<()> {
        match self::event(watcher, &shortened(event))? {
            Some(line) => self.file.append(&line),
            None => Ok(()),
        }
    }

    fn check(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) if self.has_failed => {
                self.has_failed = false;
                (self.report)("the journal is written again".to_owned());
            }
            Err(error) if !self.has_failed => {
                self.has_failed = true;
                (self.report)(format!(
                    "cannot write the journal: {error}; going on without it until it can be written"
                ));
            }
            _ => {}
        }
    }
}

/// Returns whether `log` needs such an event.
fn is_recorded(kind: &EventKind) -> bool {
    match kind {
        EventKind::Updated { container, was } => {
            container.health() != was.health()
                || container.oom_killed() != was.oom_killed()
                || container.name() != was.name()
        }
        EventKind::Paused(_) | EventKind::Unpaused(_) => false,
        _ => true,
    }
}

/// Returns the event without what makes lines long: large labels, networks and ports.
fn shortened(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event.kind {
        EventKind::Started(container) | EventKind::Exited { container, .. } => shorten(container),
        EventKind::Updated { container, was } | EventKind::Moved { container, was, .. } => {
            shorten(container);
            shorten(was);
        }
        _ => {}
    }
    event
}

fn shorten(container: &mut Arc<Container>) {
    const KEPT: [&str; 3] = [POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL];
    let labels = container.labels();
    let mut short = Container::clone(container).with_networks([]).with_ports([]);
    if labels.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > LABELS {
        let pod = KEPT.iter().filter_map(|key| Some((*key, labels.get(key)?)));
        let project = Some((COMPOSE_PROJECT_LABEL, container.project())).filter(|(_, name)| !name.is_empty());
        short = short.with_labels(Labels::from_iter(pod.chain(project)));
    }
    *container = Arc::new(short);
}
