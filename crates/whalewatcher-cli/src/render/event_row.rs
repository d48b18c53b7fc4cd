//! A row for an event, in columns that stay aligned from row to row.

use std::sync::Arc;
use std::time::SystemTime;

use anstyle::Style;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use whalewatcher_core::{Container, Event, EventKind, Printable, SeenBy};

use crate::render::age::age;
use crate::render::style::{BLUE, FAINT, GREEN, MAGENTA, PLAIN, RED, STRONG, Terminal, YELLOW};
use crate::render::texts::{self, SHORT_ID, WIDEST, display_name, pod, short_id};
use crate::render::width;

/// The width of `12:00:00`.
const TIME: usize = 8;
/// The width of `● unpaused`.
const WORD: usize = 10;
/// The width of time and word, with a blank after each.
const PREFIX: usize = TIME + 1 + WORD + 1;
/// The width of a remark such as `exit 137, 12m`, with the blank before it.
const REMARK: usize = 14;
/// The width of names below which other columns are dropped.
const SHORTEST_NAME: usize = 14;
/// The width that names have from the start if there is room, so that columns shift less often.
const USUAL_NAME: usize = 20;
/// The greatest width of projects on a terminal.
const LONGEST_PROJECT: usize = 12;

/// Formats rows in columns that fit all containers seen so far, so they only grow.
pub(crate) struct EventRows {
    terminal: Terminal,
    zone: TimeZone,
    /// The width of `[1]`, with the blank before it.
    engine: usize,
    name: usize,
    pod: usize,
    project: usize,
    pid: usize,
    /// The newest date that was written.
    date: String,
}

/// The columns and their widths.
#[derive(Debug, PartialEq)]
struct Columns {
    name: usize,
    pod: Option<usize>,
    project: Option<usize>,
    pid: Option<usize>,
    id: bool,
}

impl EventRows {
    /// Returns rows for a terminal, with times in this zone.
    pub(crate) fn new(terminal: Terminal, zone: TimeZone) -> Self {
        Self { terminal, zone, engine: 0, name: 0, pod: 0, project: 0, pid: 0, date: String::new() }
    }

    /// Widens the columns to fit a container.
    pub(crate) fn reserve(&mut self, container: &Container) {
        let cells = |text: &str| width::cells(text).min(WIDEST);
        self.name = self.name.max(cells(&display_name(container)));
        self.pod = self.pod.max(cells(&pod(container)));
        self.project = self.project.max(cells(&Printable(container.project()).to_string()));
        self.pid = self.pid.max(container.pid().to_string().len());
    }

    /// Returns the row of an event; `engine` is the engine's number if there are several.
    pub(crate) fn row(&mut self, event: &Event, engine: Option<usize>) -> String {
        self.remarked_row(event, engine, &remark(event))
    }

    /// Returns the row of an event that may be old, below the date if that differs from the one before. A
    /// remark replaces its own.
    pub(crate) fn dated_row(&mut self, event: &Event, engine: Option<usize>, remark: Option<&str>) -> String {
        let own = self::remark(event);
        self.date(event.time) + &self.remarked_row(event, engine, remark.unwrap_or(&own))
    }

    /// Returns a row that says that nothing was recorded; `None` stands for before the journal began.
    pub(crate) fn gap(&mut self, since: Option<SystemTime>, until: SystemTime) -> String {
        let since = match since {
            Some(since) if self.day(since) == self.day(until) => format!("from {} ", self.time(since)),
            Some(since) => format!("from {} {} ", self.day(since), self.time(since)),
            None => String::new(),
        };
        let text = format!("{}          nothing was recorded {since}until then", self.time(until));
        self.date(until) + &self.terminal.paint(YELLOW, &width::cut(&text, self.room())) + "\n"
    }

    /// Returns the date as a line, unless it is that of the last one.
    fn date(&mut self, time: SystemTime) -> String {
        let date = self.day(time);
        if self.date == date {
            return String::new();
        }
        self.date = date;
        self.terminal.paint(STRONG, &self.date) + "\n"
    }

    fn day(&self, time: SystemTime) -> String {
        Timestamp::try_from(time)
            .map_or("-".to_owned(), |time| time.to_zoned_datetime(self.zone.clone()).date().to_string())
    }

    fn remarked_row(&mut self, event: &Event, engine: Option<usize>, remark: &str) -> String {
        let engine = engine.map(|number| format!(" [{number}]")).unwrap_or_default();
        self.engine = self.engine.max(engine.len());
        let (mark, style) = mark(&event.kind);
        let word = format!("{mark} {}", event.kind.name());
        // `disconnected` and `crash_loop` are longer.
        let word = width::left(&word, WORD.max(width::cells(&word)));
        let rest = match event.container() {
            Some(container) => {
                self.reserve(container);
                self.cells(container, remark)
            }
            None => {
                let taken = TIME + engine.len() + 1 + width::cells(&word) + 1;
                width::cut(&self.summary(&event.kind), self.room().saturating_sub(taken))
            }
        };
        let time = self.terminal.paint(FAINT, &self.time(event.time));
        let line = format!("{time}{engine} {} {rest}", self.terminal.paint(style, &word));
        line.trim_end().to_owned() + "\n"
    }

    /// Returns name, pod, project, PID, ID and remark.
    fn cells(&self, container: &Arc<Container>, remark: &str) -> String {
        let Columns { name, pod: pod_width, project, pid, id } = self.columns();
        let mut line = width::left(&display_name(container), name);
        let mut left = self.room().saturating_sub(self.prefix() + name);
        let mut add = |style: Style, cell: &str| {
            line += &format!(" {}", self.terminal.paint(style, cell));
            left = left.saturating_sub(1 + width::cells(cell));
        };
        if let Some(width) = pod_width {
            add(PLAIN, &width::left(&pod(container), width));
        }
        if let Some(width) = project {
            add(PLAIN, &width::left(&Printable(container.project()).to_string(), width));
        }
        if let Some(width) = pid {
            // A life that ended before it could be inspected has the PID 0.
            let pid = Some(container.pid()).filter(|pid| *pid != 0);
            add(PLAIN, &width::right(&pid.map_or("-".to_owned(), |pid| pid.to_string()), width));
        }
        if id {
            add(FAINT, &width::left(&short_id(container.id()), SHORT_ID));
        }
        if !remark.is_empty() && left > 1 {
            line += &format!(" {}", width::cut(remark, left - 1));
        }
        line
    }

    /// Returns the text of an event about the watch itself, or about a crash loop.
    fn summary(&self, kind: &EventKind) -> String {
        match kind {
            EventKind::Synced { containers, unresolved } => {
                let are = if *containers == 1 { "container is" } else { "containers are" };
                match unresolved {
                    0 => format!("{containers} {are} alive"),
                    _ => format!("{containers} {are} known to be alive, {unresolved} cannot be inspected"),
                }
            }
            EventKind::Lagged { missed: 1 } => "missed 1 event; what it changed follows".to_owned(),
            EventKind::Lagged { missed } => format!("missed {missed} events; what they changed follows"),
            EventKind::Disconnected { error } => Printable(&error.to_string()).to_string(),
            EventKind::CrashLoop(it) => {
                let name = width::cut(&display_name(&it.container), WIDEST);
                if it.is_over {
                    return format!("{name}: over after {} lives", it.lives);
                }
                let code = it.code.map(|code| format!(", exit {code}")).unwrap_or_default();
                format!("{name}: {} lives since {}{code}", it.lives, self.time(it.since))
            }
            _ => String::new(),
        }
    }

    fn prefix(&self) -> usize {
        PREFIX + self.engine
    }

    fn room(&self) -> usize {
        self.terminal.width().unwrap_or(usize::MAX)
    }

    fn columns(&self) -> Columns {
        self.columns_in(self.terminal.width())
    }

    /// Returns columns that fit the containers seen so far. A narrow terminal first drops IDs, then projects,
    /// then PIDs, then pods, and then cuts names.
    fn columns_in(&self, width: Option<usize>) -> Columns {
        let seen = |width: usize| Some(width).filter(|width| *width > 0);
        let name = self.name.max(USUAL_NAME);
        let pod = seen(self.pod);
        let Some(width) = width else {
            return Columns { name, pod, project: seen(self.project), pid: Some(self.pid), id: true };
        };
        let project = seen(self.project.min(LONGEST_PROJECT));
        let id_cells = 1 + SHORT_ID;
        let pid_cells = 1 + self.pid;
        let project_cells = project.map_or(0, |width| 1 + width);
        let room = |extra| width.saturating_sub(self.prefix() + REMARK + extra);
        let shared = |extra| texts::share(room(extra), 1, self.name.min(SHORTEST_NAME)..=name, pod);
        if let Some((name, pod)) = shared(id_cells + pid_cells + project_cells) {
            Columns { name, pod, project, pid: Some(self.pid), id: true }
        } else if let Some((name, pod)) = shared(pid_cells + project_cells) {
            Columns { name, pod, project, pid: Some(self.pid), id: false }
        } else if let Some((name, pod)) = shared(pid_cells) {
            Columns { name, pod, project: None, pid: Some(self.pid), id: false }
        } else {
            let (name, pod) = shared(0).unwrap_or_else(|| (room(0).clamp(1, name), None));
            Columns { name, pod, project: None, pid: None, id: false }
        }
    }

    fn time(&self, time: SystemTime) -> String {
        Timestamp::try_from(time).map_or("--:--:--".to_owned(), |time| {
            time.to_zoned_datetime(self.zone.clone()).strftime("%H:%M:%S").to_string()
        })
    }
}

/// Returns the mark of an event: a filled circle for alive, an empty one for exited, a half one for paused.
fn mark(kind: &EventKind) -> (char, Style) {
    match kind {
        EventKind::Started(_) | EventKind::Unpaused(_) => ('●', GREEN),
        EventKind::Exited { .. } => ('○', RED),
        EventKind::Paused(_) => ('◐', YELLOW),
        EventKind::Updated { .. } | EventKind::Moved { .. } => ('◆', BLUE),
        EventKind::Joined => ('+', GREEN),
        EventKind::Left => ('-', RED),
        EventKind::Synced { .. } => ('✓', GREEN),
        EventKind::Disconnected { .. } => ('✗', RED),
        EventKind::Lagged { .. } => ('!', MAGENTA),
        EventKind::CrashLoop(crash_loop) if crash_loop.is_over => ('↻', GREEN),
        EventKind::CrashLoop(_) => ('↻', RED),
        _ => ('·', PLAIN),
    }
}

/// Returns the details of an event about a container.
fn remark(event: &Event) -> String {
    match &event.kind {
        EventKind::Exited { container, code } => {
            let code = code.map(|code| format!("exit {code}"));
            let oom = container.oom_killed().then(|| "oom".to_owned());
            let by_kernel = (event.seen_by == SeenBy::Kernel).then(|| "by kernel".to_owned());
            let cause = code.into_iter().chain(oom).chain(by_kernel).collect::<Vec<_>>().join(" ");
            let lived = container.started_at().map(|then| age(then, event.time));
            match (cause.is_empty(), lived) {
                (false, Some(lived)) => format!("{cause}, {lived}"),
                (true, Some(lived)) => format!("after {lived}"),
                (_, None) => cause,
            }
        }
        EventKind::Updated { container, was } => change(was, container),
        EventKind::Moved { from, .. } => format!("was of {}", Printable(from.engine_type())),
        _ => String::new(),
    }
}

/// Returns the first change between two states of a container in a few words.
fn change(was: &Container, now: &Container) -> String {
    if was.name() != now.name() {
        return width::cut(&format!("was {}", Printable(was.name())), WIDEST);
    }
    if was.health() != now.health() {
        return now.health().map_or("no healthcheck", |health| health.as_str()).to_owned();
    }
    let changes = [
        ("oom", was.oom_killed() != now.oom_killed()),
        ("labels", was.labels() != now.labels()),
        ("image", was.image() != now.image()),
        ("networks", was.networks() != now.networks()),
        ("ports", was.ports() != now.ports()),
        ("host PID", was.host_pid() != now.host_pid()),
        ("restart count", was.restart_count() != now.restart_count()),
    ];
    changes.into_iter().find_map(|(what, differs)| differs.then_some(what)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use whalewatcher_core::{
        COMPOSE_PROJECT_LABEL, CrashLoop, EngineError, ErrorKind, Health, Labels, Network, POD_NAME_LABEL,
        POD_NAMESPACE_LABEL, SANDBOX_LABEL,
    };

    use super::*;

    fn noon() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800)
    }

    fn web() -> Container {
        Container::new("0123456789abcdef", "shop-web-1", 4711)
            .with_labels(Labels::from_iter([(COMPOSE_PROJECT_LABEL, "shop")]))
            .with_started_at(noon() - Duration::from_secs(190))
    }

    fn rows() -> EventRows {
        EventRows::new(Terminal::none(), TimeZone::UTC)
    }

    fn row(rows: &mut EventRows, kind: EventKind) -> String {
        rows.row(&Event::new(noon(), kind), None)
    }

    fn updated(was: Container, container: Container) -> EventKind {
        EventKind::Updated { container: Arc::new(container), was: Arc::new(was) }
    }

    #[test]
    fn rows_have_the_same_columns() {
        let (mut rows, first) = (rows(), Arc::new(web()));
        let lone = Arc::new(Container::new("1", "lone", 7));
        let renamed = Arc::new(Container::new("1", "only", 7));
        let all = [
            row(&mut rows, EventKind::Started(first.clone())),
            row(&mut rows, EventKind::Exited { container: first, code: Some(137) }),
            row(&mut rows, EventKind::Paused(lone.clone())),
            row(&mut rows, EventKind::Unpaused(lone.clone())),
            row(&mut rows, EventKind::Updated { container: renamed, was: lone.clone() }),
            row(&mut rows, updated(web().with_health(Health::Starting), web().with_health(Health::Healthy))),
            row(&mut rows, updated(web(), web().with_networks([Network::new("shop")]))),
            row(
                &mut rows,
                EventKind::Exited { container: Arc::new(web().with_oom_killed(true)), code: Some(137) },
            ),
            row(&mut rows, EventKind::Exited { container: lone, code: None }),
        ];
        assert_eq!(
            all.concat(),
            "\
12:00:00 ● started  shop-web-1           shop 4711 0123456789ab
12:00:00 ○ exited   shop-web-1           shop 4711 0123456789ab exit 137, 3m
12:00:00 ◐ paused   lone                         7 1
12:00:00 ● unpaused lone                         7 1
12:00:00 ◆ updated  only                         7 1            was lone
12:00:00 ◆ updated  shop-web-1           shop 4711 0123456789ab healthy
12:00:00 ◆ updated  shop-web-1           shop 4711 0123456789ab networks
12:00:00 ○ exited   shop-web-1           shop 4711 0123456789ab exit 137 oom, 3m
12:00:00 ○ exited   lone                         7 1
"
        );
    }

    #[test]
    fn events_of_the_watch_are_rows() {
        let error = Arc::new(EngineError::new(ErrorKind::Disconnected, "gone\u{1b}[2J"));
        let mut rows = rows();
        assert_eq!(
            row(&mut rows, EventKind::Disconnected { error }),
            "12:00:00 ✗ disconnected gone\\u{1b}[2J\n"
        );
        assert_eq!(
            row(&mut rows, EventKind::Synced { containers: 3, unresolved: 0 }),
            "12:00:00 ✓ synced   3 containers are alive\n"
        );
        assert_eq!(
            row(&mut rows, EventKind::Synced { containers: 1, unresolved: 2 }),
            "12:00:00 ✓ synced   1 container is known to be alive, 2 cannot be inspected\n"
        );
        assert_eq!(
            row(&mut rows, EventKind::Lagged { missed: 12 }),
            "12:00:00 ! lagged   missed 12 events; what they changed follows\n"
        );
    }

    #[test]
    fn crash_loops_are_rows() {
        let loop_of = |over| {
            let began = CrashLoop::new(Arc::new(web()), 5, noon() - Duration::from_secs(61));
            EventKind::CrashLoop(Arc::new(began.with_code(Some(1)).with_over(over)))
        };
        let mut rows = rows();
        assert_eq!(
            row(&mut rows, loop_of(false)) + &row(&mut rows, loop_of(true)),
            "\
12:00:00 ↻ crash_loop shop-web-1: 5 lives since 11:58:59, exit 1
12:00:00 ↻ crash_loop shop-web-1: over after 5 lives
"
        );
    }

    #[test]
    fn rows_contain_the_number_of_the_engine() {
        let event = Event::new(noon(), EventKind::Synced { containers: 2, unresolved: 0 });
        assert_eq!(rows().row(&event, Some(1)), "12:00:00 [1] ✓ synced   2 containers are alive\n");
    }

    #[test]
    fn names_are_escaped() {
        let evil = Arc::new(Container::new("x\u{1b}c", "a\u{1b}[31m\nb\u{202e}", 1));
        let row = row(&mut rows(), EventKind::Started(evil));
        assert_eq!(row, "12:00:00 ● started  a\\u{1b}[31m\\nb\\u{202e} 1 x\\u{1b}c\n");
    }

    #[test]
    fn huge_names_are_cut_even_without_a_terminal() {
        let long = "x".repeat(1_000_000);
        let labels = Labels::from_iter([(COMPOSE_PROJECT_LABEL, long.as_str())]);
        let before = Container::new(long.as_str(), long.as_str(), 7).with_labels(labels.clone());
        let after = Container::new(long.as_str(), long.clone() + "y", 7).with_labels(labels);
        let mut rows = rows();
        let huge = row(&mut rows, updated(before, after));
        assert!(width::cells(&huge) < 450 && huge.contains("was xxx"), "{}", width::cells(&huge));
        let next = row(&mut rows, EventKind::Started(Arc::new(web())));
        assert!(width::cells(&next) < 350 && next.contains(" 4711 0123456789ab"), "{}", width::cells(&next));
    }

    #[test]
    fn a_narrow_terminal_drops_ids_then_projects_then_pids() {
        let mut rows = rows();
        rows.reserve(&web());
        rows.reserve(&Container::new("2", "a-name-of-twenty-six-cells", 1));
        let columns = |width| {
            let Columns { name, project, pid, id, .. } = rows.columns_in(Some(width));
            (name, project.is_some(), pid.is_some(), id)
        };
        assert_eq!(columns(120), (26, true, true, true));
        assert_eq!(columns(80), (23, true, true, true));
        assert_eq!(columns(70), (26, true, true, false));
        assert_eq!(columns(55), (16, false, true, false));
        assert_eq!(columns(50), (16, false, false, false));
        assert_eq!(columns(10), (1, false, false, false));
    }

    fn member(id: &str, name: &str, pod: &str) -> Arc<Container> {
        let labels = [(POD_NAMESPACE_LABEL, "default"), (POD_NAME_LABEL, pod)];
        let sandbox = (id == name).then_some((SANDBOX_LABEL, ""));
        Arc::new(
            Container::new(id, name, 7).with_labels(Labels::from_iter(labels.into_iter().chain(sandbox))),
        )
    }

    #[test]
    fn rows_contain_the_pod() {
        let (mut rows, sandbox) = (rows(), "0123456789abcdef".repeat(4));
        let all = [
            row(&mut rows, EventKind::Started(member(&sandbox, &sandbox, "web-0"))),
            row(&mut rows, EventKind::Started(member("1", "app", "web-0"))),
            row(&mut rows, EventKind::Exited { container: member("2", "b\n", "c\u{1b}"), code: Some(0) }),
            row(&mut rows, EventKind::Paused(Arc::new(Container::new("3", "lone", 7)))),
        ];
        assert_eq!(
            all.concat(),
            "\
12:00:00 ● started  (sandbox)            default/web-0 7 0123456789ab
12:00:00 ● started  app                  default/web-0 7 1
12:00:00 ○ exited   b\\n                  default/c\\u{1b} 7 2            exit 0
12:00:00 ◐ paused   lone                                 7 3
"
        );
    }

    #[test]
    fn a_narrow_terminal_drops_pids_before_pods() {
        let mut rows = rows();
        rows.reserve(&web());
        rows.reserve(&member("1", "app", "a-pod-of-twenty-nine"));
        let columns = |width| {
            let Columns { name, pod, project, pid, id } = rows.columns_in(Some(width));
            (name, pod, project.is_some(), pid.is_some(), id)
        };
        assert_eq!(columns(106), (20, Some(28), true, true, true));
        assert_eq!(columns(96), (10, Some(28), true, true, true));
        assert_eq!(columns(84), (10, Some(16), true, true, true));
        assert_eq!(columns(83), (10, Some(28), true, true, false));
        assert_eq!(columns(70), (10, Some(20), false, true, false));
        assert_eq!(columns(65), (10, Some(20), false, false, false));
        assert_eq!(columns(61), (10, Some(16), false, false, false));
        assert_eq!(columns(60), (20, None, false, false, false));
    }
}
