//! A table of containers for people: grouped by project, those without one last; within a project by pod, sandboxes first.

use std::fmt::Write;
use std::time::SystemTime;

use whalewatcher_core::{Container, Portfolio, Printable, Project};

use crate::render::age::age;
use crate::render::columns::{self, SHORT_ID, WIDEST, display_name, pod, short_id};
use crate::render::style::{FAINT, GREEN, PLAIN, STRONG, Terminal, YELLOW};
use crate::render::width;

/// The width of a state.
const STATE: usize = "● running".len() - '●'.len_utf8() + 1;
const INDENT: usize = 2;
const GAP: usize = 2;
/// The width of names below which other columns are dropped.
const SHORTEST_NAME: usize = 12;

/// Returns the table; `None` if there is no container to show.
pub(crate) fn table(
    portfolio: &Portfolio,
    shown: impl Fn(&Container) -> bool,
    now: SystemTime,
    terminal: Terminal,
) -> Option<String> {
    let groups = groups(portfolio, shown);
    if groups.is_empty() {
        return None;
    }
    let rows = |containers: Vec<&Container>| {
        containers.into_iter().map(|container| Row::of(container, now)).collect()
    };
    let groups: Vec<(_, Vec<Row>)> =
        groups.into_iter().map(|(project, containers)| (project, rows(containers))).collect();
    let columns =
        Columns::of(&groups.iter().flat_map(|(_, rows)| rows).collect::<Vec<_>>(), terminal.width());
    let mut text = columns.headline(terminal);
    for (name, rows) in groups {
        let name = Printable(name).to_string();
        let (name, style) = if name.is_empty() { ("no project", FAINT) } else { (name.as_str(), STRONG) };
        let name = width::cut(name, terminal.width().unwrap_or(WIDEST));
        let _ = writeln!(text, "{}", terminal.paint(style, &name));
        for row in &rows {
            text += &columns.line(row, terminal);
        }
    }
    Some(text)
}

/// Returns the containers to show by project, those without one last.
fn groups(portfolio: &Portfolio, shown: impl Fn(&Container) -> bool) -> Vec<(&str, Vec<&Container>)> {
    let groups = portfolio.projects().map(|project| (project.name(), by_pod(project, &shown)));
    let mut groups: Vec<_> = groups.filter(|(_, containers)| !containers.is_empty()).collect();
    groups.sort_by_key(|(project, _)| project.is_empty());
    groups
}

/// Returns the containers of a project to show ordered by pod, within a pod the sandbox first, then by name; those without a pod
/// last.
fn by_pod(project: &Project, shown: impl Fn(&Container) -> bool) -> Vec<&Container> {
    let containers = project.containers().filter(|container| shown(container)).map(|container| {
        let pod = container.pod();
        ((pod.is_none(), pod, !container.is_sandbox()), &**container)
    });
    let mut containers: Vec<_> = containers.collect();
    containers.sort_by_key(|(place, _)| *place);
    containers.into_iter().map(|(_, container)| container).collect()
}

/// The cells of a container.
struct Row {
    name: String,
    /// Empty without a pod.
    pod: String,
    id: String,
    pid: String,
    paused: bool,
    age: String,
}

impl Row {
    fn of(container: &Container, now: SystemTime) -> Self {
        Self {
            name: display_name(container),
            pod: pod(container),
            id: short_id(container.id()),
            pid: container.pid().to_string(),
            paused: container.paused(),
            age: container.started_at().map_or("-".to_owned(), |then| age(then, now)),
        }
    }
}

/// The columns, and their widths where these differ.
#[derive(Debug, PartialEq)]
struct Columns {
    name: usize,
    pod: Option<usize>,
    id: bool,
    pid: Option<usize>,
    age: usize,
}

impl Columns {
    /// Returns columns as wide as their contents. A narrow terminal first drops IDs, then PIDs, then pods, and then cuts names.
    fn of(rows: &[&Row], width: Option<usize>) -> Self {
        let widest = |heading: &str, cell: fn(&Row) -> &str| {
            rows.iter().map(|row| width::cells(cell(row))).fold(heading.len(), usize::max)
        };
        let name = widest("NAME", |row| &row.name).min(WIDEST);
        let pod = rows.iter().any(|row| !row.pod.is_empty());
        let pod = pod.then(|| widest("POD", |row| &row.pod).min(WIDEST));
        let (pid, age) = (widest("PID", |row| &row.pid), widest("AGE", |row| &row.age));
        let id_cells = GAP + SHORT_ID;
        let pid_cells = GAP + pid;
        let others = INDENT + GAP + STATE + GAP + age;
        let room = |extra| width.unwrap_or(usize::MAX).saturating_sub(others + extra);
        let shared = |extra| columns::share(room(extra), GAP, name.min(SHORTEST_NAME)..=name, pod);
        if let Some((name, pod)) = shared(id_cells + pid_cells) {
            Self { name, pod, id: true, pid: Some(pid), age }
        } else if let Some((name, pod)) = shared(pid_cells) {
            Self { name, pod, id: false, pid: Some(pid), age }
        } else {
            let (name, pod) = shared(0).unwrap_or_else(|| (room(0).clamp(1, name), None));
            Self { name, pod, id: false, pid: None, age }
        }
    }

    fn headline(&self, terminal: Terminal) -> String {
        let mut line = width::left("NAME", INDENT + self.name);
        if let Some(width) = self.pod {
            line += &format!("  {}", width::left("POD", width));
        }
        if self.id {
            line += &format!("  {}", width::left("ID", SHORT_ID));
        }
        if let Some(width) = self.pid {
            line += &format!("  {}", width::right("PID", width));
        }
        line += &format!("  {}  {}", width::left("STATE", STATE), width::right("AGE", self.age));
        terminal.paint(FAINT, &line) + "\n"
    }

    fn line(&self, row: &Row, terminal: Terminal) -> String {
        let mut line = format!("{:INDENT$}{}", "", width::left(&row.name, self.name));
        if let Some(width) = self.pod {
            line += &format!("  {}", width::left(&row.pod, width));
        }
        if self.id {
            line += &format!("  {}", terminal.paint(FAINT, &width::left(&row.id, SHORT_ID)));
        }
        if let Some(width) = self.pid {
            line += &format!("  {}", width::right(&row.pid, width));
        }
        let (state, style) = if row.paused { ("◐ paused", YELLOW) } else { ("● running", GREEN) };
        line += &format!("  {}", terminal.paint(style, &width::left(state, STATE)));
        line += &format!("  {}\n", terminal.paint(PLAIN, &width::right(&row.age, self.age)));
        line
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use whalewatcher_core::{
        COMPOSE_PROJECT_LABEL, Labels, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, SANDBOX_LABEL,
    };

    use super::*;

    fn container(id: &str, name: &str, project: &str, age: u64, now: SystemTime) -> Container {
        let labels = (!project.is_empty()).then_some((COMPOSE_PROJECT_LABEL, project));
        Container::new(id, name, 4711)
            .with_labels(Labels::from_iter(labels))
            .with_started_at(now - Duration::from_secs(age))
    }

    fn render(all: &Portfolio, now: SystemTime) -> String {
        table(all, |_| true, now, Terminal::none()).unwrap()
    }

    #[test]
    fn tables_are_grouped_by_project() {
        let now = SystemTime::now();
        let all = Portfolio::from_iter([
            container("0123456789abcdef", "registry", "", 3 * 86_400, now),
            container("1123456789abcdef", "shop-web-1", "shop", 185, now),
            container("2123456789abcdef", "shop-db-1", "shop", 7_300, now).with_paused(true),
            Container::new("3", "鯨\n", 17),
        ]);
        let expected = "\
NAME          ID             PID  STATE      AGE
shop
  shop-db-1   2123456789ab  4711  ◐ paused    2h
  shop-web-1  1123456789ab  4711  ● running   3m
no project
  registry    0123456789ab  4711  ● running   3d
  鯨\\n        3               17  ● running    -
";
        assert_eq!(render(&all, now), expected);
        let shop = table(&all, |container| container.project() == "shop", now, Terminal::none()).unwrap();
        assert_eq!(shop.lines().count(), 4);
    }

    fn member(id: &str, name: &str, (namespace, pod, uid): (&str, &str, &str), now: SystemTime) -> Container {
        let labels = [(POD_NAMESPACE_LABEL, namespace), (POD_NAME_LABEL, pod), (POD_UID_LABEL, uid)];
        let sandbox = (id == name).then_some((SANDBOX_LABEL, ""));
        container(id, name, "", 60, now).with_labels(Labels::from_iter(labels.into_iter().chain(sandbox)))
    }

    #[test]
    fn containers_of_a_pod_follow_its_sandbox() {
        let now = SystemTime::now();
        let (web, dns) = (("default", "web-0", "2"), ("kube-system", "dns", "1"));
        let replaced = ("default", "web-0", "1");
        let long = "f00d456789abcdef".repeat(4);
        let all = Portfolio::from_iter([
            container("0", "a-lone-one", "", 60, now),
            member("1", "app", web, now),
            member("2", "app", replaced, now),
            member("3", "coredns", dns, now),
            member("4", "zap", web, now),
            member(&long, &long, web, now),
            member("5", "5", dns, now),
            member("6", "6", replaced, now),
        ]);
        let expected = "\
NAME          POD              ID             PID  STATE      AGE
no project
  (sandbox)   default/web-0    6             4711  ● running   1m
  app         default/web-0    2             4711  ● running   1m
  (sandbox)   default/web-0    f00d456789ab  4711  ● running   1m
  app         default/web-0    1             4711  ● running   1m
  zap         default/web-0    4             4711  ● running   1m
  (sandbox)   kube-system/dns  5             4711  ● running   1m
  coredns     kube-system/dns  3             4711  ● running   1m
  a-lone-one                   0             4711  ● running   1m
";
        assert_eq!(render(&all, now), expected);
    }

    #[test]
    fn pods_are_escaped_and_cut() {
        let now = SystemTime::now();
        let long = "x".repeat(1_000_000);
        let all = Portfolio::from_iter([
            member("1", "a", ("b\u{1b}[2J", "c\n\u{202e}", ""), now),
            member("2", "a", (&long, &long, ""), now),
        ]);
        let table = render(&all, now);
        assert_eq!(table.lines().count(), 4, "{table}");
        assert!(table.contains(r"b\u{1b}[2J/c\n\u{202e}  ") && table.contains("xxx…"), "{table}");
        assert!(table.lines().all(|line| width::cells(line) <= 180 && !line.contains('\u{1b}')), "{table}");
    }

    #[test]
    fn a_narrow_terminal_drops_pids_before_pods() {
        let now = SystemTime::now();
        let pod = ("kube-system", "coredns-5d78c9869d-abcde", "1");
        let row = Row::of(&member("1", "coredns", pod, now), now);
        let columns = |width| {
            let Columns { name, pod, id, pid, .. } = Columns::of(&[&row], Some(width));
            (name, pod, id, pid.is_some())
        };
        assert_eq!(columns(83), (7, Some(36), true, true));
        assert_eq!(columns(63), (7, Some(16), true, true));
        assert_eq!(columns(62), (7, Some(29), false, true));
        assert_eq!(columns(48), (7, Some(21), false, false));
        assert_eq!(columns(43), (7, Some(16), false, false));
        assert_eq!(columns(42), (7, None, false, false));
        for width in 25..120 {
            let columns = Columns::of(&[&row], Some(width));
            for line in [columns.headline(Terminal::none()), columns.line(&row, Terminal::none())] {
                assert!(width::cells(line.trim_end_matches('\n')) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_narrow_terminal_drops_ids_then_pids_then_cuts_names() {
        let now = SystemTime::now();
        let long = Row::of(&container("0", "a-name-of-twenty-six-cells", "", 1, now), now);
        let columns = |width| {
            let Columns { name, id, pid, .. } = Columns::of(&[&long], Some(width));
            (name, id, pid.is_some())
        };
        assert_eq!(columns(200), (26, true, true));
        assert_eq!(columns(60), (22, true, true));
        assert_eq!(columns(50), (12, true, true));
        assert_eq!(columns(49), (25, false, true));
        assert_eq!(columns(35), (17, false, false));
        assert_eq!(columns(3), (1, false, false));
        let short = Row::of(&container("0", "db", "", 1, now), now);
        assert_eq!(Columns::of(&[&short], Some(42)).name, 4);
    }

    #[test]
    fn huge_names_are_cut_even_without_a_terminal() {
        let now = SystemTime::now();
        let long = "x".repeat(1_000_000);
        let evil = "\u{1b}[2J".repeat(100_000);
        let all = Portfolio::from_iter([
            container(&long, &long, &long, 1, now),
            container("a", &evil, "", 1, now),
            container("b", "db", "", 1, now),
        ]);
        let table = render(&all, now);
        assert_eq!(table.lines().count(), 6, "{table}");
        assert!(table.lines().all(|line| width::cells(line) <= 180 && !line.contains('\u{1b}')), "{table}");
        assert!(table.contains("  db  ") && table.contains("xxx…"), "{table}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let now = SystemTime::now();
        let row = Row::of(&container("0", "鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨鯨", "", 1, now), now);
        for width in 30..90 {
            let columns = Columns::of(&[&row], Some(width));
            for line in [columns.headline(Terminal::none()), columns.line(&row, Terminal::none())] {
                assert!(width::cells(line.trim_end_matches('\n')) <= width, "{width}: {line}");
            }
        }
    }
}
