//! `whalewatcher log`: what a journal recorded.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

use jiff::tz::TimeZone;
use whalewatcher_core::history::{History, HistorySettings};
use whalewatcher_core::{EngineKey, Event, EventKind, Printable};

use crate::args::{FilterArgs, Format, LogArgs};
use crate::journal::{Line, Mark, QUIET, Reader, What};
use crate::notes;
use crate::output::{Output, Writer};
use crate::render::event_row::EventRows;
use crate::render::json::{self, Gap, Logged};
use crate::render::style::Terminal;
use crate::selection::Selection;

/// Prints what a journal recorded. The status is 1 if it has nothing of the names.
pub(crate) async fn log(args: LogArgs, output: &Output) -> anyhow::Result<ExitCode> {
    let selection = Selection::new(&args.names, &FilterArgs::default())?;
    let now = SystemTime::now();
    let since = args.since.and_then(|since| now.checked_sub(since));
    let path = args.journal;
    let (sender, found) = std::sync::mpsc::sync_channel(1);
    output
        .write(move |writer| {
            let mut reader = Reader::open(&path)?;
            let mut log = Log::new(since, selection);
            while let Some(line) = reader.next()? {
                log.take(line);
            }
            log.end(now);
            if reader.skipped > 0 {
                let lines = if reader.skipped == 1 { "line" } else { "lines" };
                let path = path.display().to_string();
                notes::note(&format!("skipped {} malformed {lines} of {}", reader.skipped, Printable(&path)));
            }
            let _ = sender.send(log.entries.iter().any(|entry| matches!(entry, Entry::Event { .. })));
            write(writer, log, args.format)
        })
        .await?;
    let has_found = found.try_recv().unwrap_or_default();
    if has_found || args.names.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    notes::note("the journal has nothing of that name");
    Ok(ExitCode::FAILURE)
}

/// What is shown.
enum Entry {
    Event {
        key: EngineKey,
        event: Event,
        kind: Kind,
    },
    /// Nothing was recorded; `None` stands for before the journal began.
    Gap(Option<SystemTime>, SystemTime),
}

/// How an event is to be understood.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// As it was reported.
    Reported,
    /// The container was running already.
    Found,
    /// It ended at some time before.
    Uncertain,
}

/// Folds the lines of a journal.
struct Log {
    since: Option<SystemTime>,
    selection: Selection,
    history: History,
    /// When the newest line was written.
    newest: Option<SystemTime>,
    /// The engines that were disconnected since they were last in sync.
    disconnected: BTreeMap<EngineKey, bool>,
    entries: VecDeque<Entry>,
}

impl Log {
    fn new(since: Option<SystemTime>, selection: Selection) -> Self {
        let settings = HistorySettings::default().with_lives(usize::MAX).with_bytes(usize::MAX);
        let history = History::new(settings);
        Self {
            since,
            selection,
            history,
            newest: None,
            disconnected: BTreeMap::new(),
            entries: VecDeque::new(),
        }
    }

    fn take(&mut self, line: Line) {
        let Line { at, what } = line;
        match what {
            What::Mark(Mark::Begun) => {
                self.gap(self.newest, at);
                self.history.handle_interruption(self.newest.unwrap_or(at));
                self.disconnected.clear();
            }
            What::Mark(_) => {
                if self.newest.is_none() {
                    self.gap(None, at);
                }
            }
            What::Event(event) => {
                if self.newest.is_none() {
                    self.gap(None, at);
                }
                self.event(at, event);
            }
        }
        self.newest = Some(at);
    }

    /// Nothing was recorded after the newest line, unless a watch still writes.
    fn end(&mut self, now: SystemTime) {
        if self.newest.is_none_or(|newest| newest + QUIET + QUIET < now) {
            self.gap(self.newest, now);
        }
    }

    fn gap(&mut self, since: Option<SystemTime>, until: SystemTime) {
        let is_early = self.since.is_some_and(|since| until < since);
        // That a journal has a beginning is worth a line only if more was asked for.
        if !is_early && (since.is_some() || self.since.is_some()) {
            self.entries.push_back(Entry::Gap(since, until));
        }
    }

    fn event(&mut self, at: SystemTime, event: Event) {
        let Some(engine) = &event.engine else { return };
        let key = EngineKey::new(engine.engine_type.as_str(), engine.endpoint.as_str());
        let was_known = event.container().is_some_and(|container| self.history.is_alive(&key, container));
        let before = self.history.lives().len();
        self.history.handle_event(&key, &event, at);
        // Those that the program found itself are in the journal.
        while self.history.poll_event().is_some() {}
        let kind = match &event.kind {
            EventKind::Started(_) if was_known => None,
            EventKind::Started(it) if self.history.was_found(&key, it.id()) => Some(Kind::Found),
            EventKind::Started(_) => Some(Kind::Reported),
            EventKind::Exited { .. } => match self.history.lives().last() {
                Some(life) if !life.is_certain() => Some(Kind::Uncertain),
                _ => Some(Kind::Reported),
            },
            EventKind::Updated { container, was } => (container.health() != was.health()
                || container.oom_killed() != was.oom_killed())
            .then_some(Kind::Reported),
            EventKind::Disconnected { .. } => {
                let is_first = self.disconnected.insert(key.clone(), true) != Some(true);
                is_first.then_some(Kind::Reported)
            }
            EventKind::Synced { .. } => self.disconnected.remove(&key).map(|_| Kind::Reported),
            EventKind::Lagged { .. } | EventKind::CrashLoop(_) => Some(Kind::Reported),
            _ => None,
        };
        if !matches!(event.kind, EventKind::Exited { .. }) {
            // What an interruption has ended.
            let ended: Vec<_> =
                self.history.lives().skip(before).map(|life| life.container().clone()).collect();
            for container in ended {
                let exited = Event::new(event.time, EventKind::Exited { container, code: None });
                self.push(at, &key, exited.with_engine(event.engine.clone()), Kind::Uncertain);
            }
        }
        if let Some(kind) = kind {
            self.push(at, &key, event, kind);
        }
    }

    fn push(&mut self, at: SystemTime, key: &EngineKey, event: Event, kind: Kind) {
        let is_late = self.since.is_none_or(|since| at >= since);
        if is_late && self.selection.selects_recorded(&event) {
            self.entries.push_back(Entry::Event { key: key.clone(), event, kind });
        }
    }
}

fn write(writer: &mut Writer, log: Log, format: Format) -> anyhow::Result<()> {
    let mut keys: Vec<_> = log.entries.iter().filter_map(key).cloned().collect();
    keys.sort();
    keys.dedup();
    let terminal = Terminal::of_stdout();
    let mut rows = EventRows::new(terminal, TimeZone::system());
    if keys.len() > 1 && format == Format::Text {
        for (nth, key) in keys.iter().enumerate() {
            writeln!(writer, "[{}] {key}", nth + 1)?;
        }
    }
    for entry in log.entries {
        if !writer.begin() {
            return Ok(());
        }
        match (entry, format) {
            (Entry::Event { event, kind, .. }, Format::Json) => {
                let (found, uncertain) = (kind == Kind::Found, kind == Kind::Uncertain);
                json::write_logged(writer, &Logged::Event { event: &event, found, uncertain })?;
            }
            (Entry::Gap(since, until), Format::Json) => {
                json::write_logged(writer, &Logged::Gap(Gap::new(since, until)))?;
            }
            (Entry::Event { key, event, kind }, Format::Text) => {
                let number = keys.iter().position(|known| *known == key).map(|nth| nth + 1);
                let number = number.filter(|_| keys.len() > 1);
                let remark = match kind {
                    Kind::Reported => None,
                    Kind::Found => Some("was running"),
                    Kind::Uncertain => Some("some time before"),
                };
                writer.write_all(rows.dated_row(&event, number, remark).as_bytes())?;
            }
            (Entry::Gap(since, until), Format::Text) => {
                writer.write_all(rows.gap(since, until).as_bytes())?;
            }
        }
    }
    Ok(())
}

fn key(entry: &Entry) -> Option<&EngineKey> {
    match entry {
        Entry::Event { key, .. } => Some(key),
        Entry::Gap(..) => None,
    }
}
