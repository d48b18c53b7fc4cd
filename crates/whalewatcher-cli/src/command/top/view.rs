//! Draws what `top` shows: a function of the moment, the user's choice and the time.

use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use whalewatcher_core::history::PastLife;
use whalewatcher_core::{Container, Printable};

use super::model::{Choice, Cover, Moment, Place, Row, rows};
use crate::render::age::age;
use crate::render::texts::{display_name, pod, short_id};
use crate::render::width;

const FAINT: Style = Style::new().add_modifier(Modifier::DIM);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const MARKED: Style = Style::new().add_modifier(Modifier::REVERSED);

const HELP: &str = "\
Up, Down, k, j      select a container
PgUp, PgDown        a page up or down
Home, End, g, G     first or last container
Enter               its labels, ports, networks, PIDs and last lives
/                   filter by name, project, pod, image or ID
Esc                 no filter; back to the list
s                   sort by name, age, state or image
Ctrl-Z              suspend
q, Ctrl-C           quit

↻ marks a crash loop: CRASH_LOOP.

Containers are listed as their engines report them. There are no figures of
CPU or memory: 'docker stats' and 'podman stats' have them.";

/// How many rows of the list fit on a screen of this height.
pub(super) fn page(height: u16) -> usize {
    usize::from(height).saturating_sub(2).max(1)
}

/// Draws everything. Adjusts the offset, so that what is selected is visible.
pub(super) fn draw(frame: &mut Frame<'_>, moment: &Moment, choice: &mut Choice, now: SystemTime) {
    let area = frame.area();
    let cells = usize::from(area.width);
    let (mut lines, selected) = match choice.cover.clone() {
        Cover::None => {
            let rows = rows(moment, choice);
            let selected = rows.iter().position(|row| is_selected(row, choice));
            let columns = Columns::of(&rows, cells);
            let mut clock = now;
            let lines = rows.iter().map(|row| {
                // Its containers follow.
                if let Row::Engine { key, .. } = row {
                    clock = moment.engine_time(key, now);
                }
                columns.line(row, is_selected(row, choice), clock, cells)
            });
            (lines.collect::<Vec<_>>(), selected)
        }
        Cover::Help => {
            let help = HELP.replace("CRASH_LOOP", &choice.loops.in_words());
            (help.lines().map(|line| Line::from(line.to_owned())).collect(), None)
        }
        Cover::Details(place) => (details(moment, &place, moment.engine_time(&place.key, now), cells), None),
    };
    let page = page(area.height);
    if let Some(selected) = selected {
        // With the headlines above the first one.
        let from = if selected < page { 0 } else { choice.offset };
        choice.offset = from.clamp((selected + 1).saturating_sub(page), selected);
    }
    choice.offset = choice.offset.min(lines.len().saturating_sub(page));
    lines = lines.into_iter().skip(choice.offset).take(page).collect();
    put(frame, 0, head(moment, choice, cells));
    for (nth, line) in (1_u16..).zip(lines) {
        put(frame, nth, line);
    }
    put(frame, area.height.saturating_sub(1), foot(choice, cells));
}

fn put(frame: &mut Frame<'_>, row: u16, line: Line<'static>) {
    let area = frame.area();
    if row < area.height {
        frame.render_widget(line, Rect { y: area.y + row, height: 1, ..area });
    }
}

fn is_selected(row: &Row<'_>, choice: &Choice) -> bool {
    let Row::Container { place, .. } = row else { return false };
    choice.selected.as_ref().is_some_and(|it| (&it.key, &it.id) == (&place.key, &place.id))
}

fn head(moment: &Moment, choice: &Choice, cells: usize) -> Line<'static> {
    let (engines, loops) = (moment.alive.members().count(), moment.loops.len());
    let is_complete = moment.missing.is_empty() && moment.alive.members().all(|member| member.is_live());
    let known = if is_complete { "" } else { "known to be " };
    let plural = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let mut text = format!("whalewatcher: {} {known}alive", plural(moment.alive.total(), "container"));
    text += &format!(" on {}", plural(engines, "engine"));
    if loops > 0 {
        text += &format!(", {}", plural(loops, "crash loop"));
    }
    text += &format!("   by {}", choice.sort.name());
    Line::from(Span::styled(width::left(&text, cells), MARKED))
}

fn foot(choice: &Choice, cells: usize) -> Line<'static> {
    let filter = Printable(&choice.filter).to_string();
    let text = match choice.cover {
        Cover::None if choice.is_typing => format!("/{filter}█  Enter keeps the filter, Esc removes it"),
        Cover::None if !filter.is_empty() => format!("/{filter}  Esc removes the filter"),
        Cover::None => "? keys  / filter  s sort  Enter details  q quit".to_owned(),
        _ => "Esc back to the list".to_owned(),
    };
    Line::from(Span::styled(width::cut(&text, cells), FAINT))
}

/// The widths of the columns; those that do not fit are dropped.
struct Columns {
    name: usize,
    pod: Option<usize>,
    image: Option<usize>,
    id: bool,
    pid: bool,
}

const STATE: usize = 11;
const AGE: usize = 5;
const PID: usize = 8;
const ID: usize = 12;

impl Columns {
    fn of(rows: &[Row<'_>], cells: usize) -> Self {
        let widest = |text: fn(&Container) -> String| {
            let all = rows.iter().filter_map(|row| match row {
                Row::Container { container, .. } => Some(width::cells(&text(container))),
                _ => None,
            });
            all.max().unwrap_or_default().min(48)
        };
        let fixed = 4 + 2 + STATE + 2 + AGE;
        let mut room = cells.saturating_sub(fixed);
        let name = widest(display_name).max(8).min(room);
        room -= name;
        let mut take = |wanted: usize, least: usize| {
            let width = wanted.min(room.saturating_sub(2));
            (wanted > 0 && width >= least.min(wanted)).then(|| {
                room -= width + 2;
                width
            })
        };
        let pid = take(PID, PID).is_some();
        let pod = take(widest(pod), 16);
        let id = take(ID, ID).is_some();
        let image = take(widest(image), 10);
        Self { name, pod, image, id, pid }
    }

    fn line(&self, row: &Row<'_>, is_selected: bool, now: SystemTime, cells: usize) -> Line<'static> {
        match row {
            Row::Engine { key, version, state, is_live } => {
                let version = version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
                let name = format!("{}{version} at {}", key.engine_type(), key.endpoint());
                let name = width::cut(&Printable(&name).to_string(), cells);
                let room = cells.saturating_sub(width::cells(&name) + 2);
                let state = width::cut(&Printable(state).to_string(), room);
                let style = if *is_live { FAINT } else { Style::new().fg(Color::Red) };
                Line::from(vec![Span::styled(name, STRONG), Span::raw("  "), Span::styled(state, style)])
            }
            Row::Project(name) => {
                let name =
                    if name.is_empty() { "no project".to_owned() } else { Printable(name).to_string() };
                Line::from(Span::styled(format!("  {}", width::cut(&name, cells.saturating_sub(2))), STRONG))
            }
            Row::Note(text) => {
                let text = width::cut(&Printable(text).to_string(), cells);
                Line::from(Span::styled(text, Style::new().fg(Color::Yellow)))
            }
            Row::Container { container, started, crash_loop, .. } => {
                let (state, style) = match (crash_loop, container.paused(), container.health()) {
                    (Some(it), ..) => (format!("↻ {} lives", it.lives), Style::new().fg(Color::Red)),
                    (None, true, _) => ("◐ paused".to_owned(), Style::new().fg(Color::Yellow)),
                    (None, false, Some(health)) if health.as_str() == "unhealthy" => {
                        ("● unhealthy".to_owned(), Style::new().fg(Color::Red))
                    }
                    (None, false, Some(health)) => (format!("● {health}"), Style::new().fg(Color::Green)),
                    (None, false, None) => ("● running".to_owned(), Style::new().fg(Color::Green)),
                };
                let mut text = format!("    {}", width::left(&display_name(container), self.name));
                if let Some(width) = self.pod {
                    text += &format!("  {}", width::left(&pod(container), width));
                }
                if let Some(width) = self.image {
                    text += &format!("  {}", width::left(&image(container), width));
                }
                if self.id {
                    text += &format!("  {}", width::left(&short_id(container.id()), ID));
                }
                if self.pid {
                    text += &format!("  {}", width::right(&container.pid().to_string(), PID));
                }
                let since = started.map_or("-".to_owned(), |then| age(then, now));
                let rest = format!("  {}", width::right(&since, AGE));
                let state = format!("  {}", width::left(&state, STATE));
                let line = Line::from(vec![Span::raw(text), Span::styled(state, style), Span::raw(rest)]);
                if is_selected { line.style(MARKED) } else { line }
            }
        }
    }
}

fn image(container: &Container) -> String {
    container.image().map(|image| Printable(image.name()).to_string()).unwrap_or_default()
}

/// Returns the lines about one container.
fn details(moment: &Moment, place: &Place, now: SystemTime, cells: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut add = |name: &str, value: &str| {
        let value = width::cut(&Printable(value).to_string(), cells.saturating_sub(14));
        lines.push(Line::from(vec![Span::styled(width::left(name, 14), FAINT), Span::raw(value)]));
    };
    let alive = moment.alive.member(&place.key).and_then(|member| member.portfolio().by_id(&place.id));
    let Some(container) = alive else {
        add("Name", &place.name);
        add("State", "not alive any more");
        lines.extend(moment.lives.iter().map(|life| life_line(life, cells)));
        return lines;
    };
    add("Name", container.name());
    add("Engine", &format!("{} at {}", place.key.engine_type(), place.key.endpoint()));
    add("ID", container.id());
    add("Project", container.project());
    add("Pod", &pod(container));
    let image = container.image();
    add("Image", &image.map(|image| image.name().to_owned()).unwrap_or_default());
    add("PID", &container.pid().to_string());
    if let Some(pid) = container.host_pid() {
        add("PID on host", &pid.to_string());
    }
    let health = container.health().map(|health| format!(", {health}")).unwrap_or_default();
    add("State", &format!("{}{health}", if container.paused() { "paused" } else { "running" }));
    let started = moment.started_at(container);
    add("Started", &started.map_or("-".to_owned(), |then| format!("{}, {} ago", time(then), age(then, now))));
    if let Some(restarts) = container.restart_count() {
        add("Restarts", &restarts.to_string());
    }
    if let Some(it) = moment.loops.get(&(place.key.clone(), place.id.clone())) {
        add("Crash loop", &format!("{} lives since {}", it.lives, time(it.since)));
    }
    for network in container.networks() {
        let addresses = [network.ipv4().map(|ip| ip.to_string()), network.ipv6().map(|ip| ip.to_string())];
        let addresses = addresses.into_iter().flatten().collect::<Vec<_>>().join(", ");
        add("Network", &format!("{} {addresses}", network.name()));
    }
    for port in container.ports() {
        let inner = format!("{}/{}", port.private(), port.protocol().as_str());
        let outer =
            port.address().zip(port.public()).map(|(address, port)| std::net::SocketAddr::new(address, port));
        add("Port", &outer.map_or(inner.clone(), |outer| format!("{outer} -> {inner}")));
    }
    for (key, value) in container.labels().iter() {
        add("Label", &format!("{key}={value}"));
    }
    if moment.lives.is_empty() {
        lines.push(Line::from(Span::styled("No life of it has ended since top began.", FAINT)));
    } else {
        lines.push(Line::from(Span::styled("Its last lives:", STRONG)));
        lines.extend(moment.lives.iter().map(|life| life_line(life, cells)));
    }
    lines
}

fn life_line(life: &PastLife, cells: usize) -> Line<'static> {
    let until = if life.is_certain() { "until" } else { "some time until" };
    let started = life.started_at().map_or("-".to_owned(), time);
    let mut text = format!("  {started} {until} {}", time(life.ended_at()));
    if let Some(code) = life.exit_code() {
        text += &format!(", exit {code}");
    }
    if life.oom_killed() {
        text += ", oom";
    }
    Line::from(width::cut(&text, cells))
}

/// Returns date and time, in the zone of this machine.
fn time(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or("-".to_owned(), |time| {
        time.to_zoned_datetime(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    })
}
