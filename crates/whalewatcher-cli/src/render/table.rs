//! A table of containers for people: grouped by project, those without one last; within a project by pod,
//! sandboxes first.

use std::fmt::Write;

use whalewatcher_core::{Container, Portfolio, Printable, Project};

use crate::render::column::{Column, Entry};
use crate::render::layout::{GAP, INDENT, Layout};
use crate::render::style::{FAINT, STRONG, Terminal};
use crate::render::texts::WIDEST;
use crate::render::width;

/// Returns the containers to show in the order of tables: by project, those without one last, then by pod.
pub(crate) fn ordered(portfolio: &Portfolio, shown: impl Fn(&Container) -> bool) -> Vec<&Container> {
    let mut projects: Vec<_> = portfolio.projects().collect();
    projects.sort_by_key(|project| project.name().is_empty());
    projects.into_iter().flat_map(|project| by_pod(project, &shown)).collect()
}

/// Returns the containers of a project to show ordered by pod, within a pod the sandbox first, then by name;
/// those without a pod last.
fn by_pod(project: &Project, shown: impl Fn(&Container) -> bool) -> Vec<&Container> {
    let containers = project.containers().filter(|container| shown(container)).map(|container| {
        let pod = container.pod();
        ((pod.is_none(), pod, !container.is_sandbox()), &**container)
    });
    let mut containers: Vec<_> = containers.collect();
    containers.sort_by_key(|(place, _)| *place);
    containers.into_iter().map(|(_, container)| container).collect()
}

/// Returns the table; `None` if there is no container to show. The entries of a grouped table have to be [`ordered`].
pub(crate) fn table(entries: &[Entry<'_>], layout: &Layout, terminal: Terminal) -> Option<String> {
    let several_engines = entries.windows(2).any(|pair| pair[0].watcher.key() != pair[1].watcher.key());
    let cells = |entry: &Entry<'_>| -> Vec<_> {
        layout.columns().iter().map(|column| column.cell(entry, layout.is_full)).collect()
    };
    let rows: Vec<_> = entries.iter().map(cells).collect();
    if rows.is_empty() {
        return None;
    }
    let widths = layout.fit(&rows, several_engines, terminal.width());
    let indent = if layout.is_grouped { INDENT } else { 0 };
    let mut text = String::new();
    if layout.has_header {
        let headings = widths.iter().enumerate().map(|(nth, (place, width))| {
            let column = layout.columns()[*place];
            // The indent of rows belongs to the first column.
            let width = if nth == 0 { width + indent } else { *width };
            aligned(column, column.heading(), width)
        });
        let line = headings.collect::<Vec<_>>().join(&" ".repeat(GAP));
        let _ = writeln!(text, "{}", terminal.paint(FAINT, line.trim_end()));
    }
    let mut group = None;
    for (entry, row) in entries.iter().zip(&rows) {
        let project = entry.container.project();
        if layout.is_grouped && group.replace(project) != Some(project) {
            let name = Printable(project).to_string();
            let (name, style) = if name.is_empty() { ("no project", FAINT) } else { (name.as_str(), STRONG) };
            let name = width::cut(name, terminal.width().unwrap_or(WIDEST));
            let _ = writeln!(text, "{}", terminal.paint(style, &name));
        }
        let _ = write!(text, "{:indent$}", "");
        let last = widths.len().saturating_sub(1);
        for (nth, (place, width)) in widths.iter().enumerate() {
            let column = layout.columns()[*place];
            let cell = aligned(column, &row[*place], *width);
            let cell = if nth == last { cell.trim_end() } else { &cell };
            text += &terminal.paint(column.style(entry.container), cell);
            if nth != last {
                text += &" ".repeat(GAP);
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text.push('\n');
    }
    Some(text)
}

fn aligned(column: Column, text: &str, width: usize) -> String {
    if column.is_right() { width::right(text, width) } else { width::left(text, width) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use whalewatcher_core::{
        COMPOSE_PROJECT_LABEL, EngineWatcher, Labels, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL,
        SANDBOX_LABEL,
    };

    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    fn container(id: &str, name: &str, project: &str, age: u64, now: SystemTime) -> Container {
        let labels = (!project.is_empty()).then_some((COMPOSE_PROJECT_LABEL, project));
        Container::new(id, name, 4711)
            .with_labels(Labels::from_iter(labels))
            .with_started_at(now - Duration::from_secs(age))
    }

    /// Returns the table as a terminal of this width shows it, or in its full width.
    fn rendered(all: &Portfolio, layout: &Layout, now: SystemTime, width: Option<usize>) -> String {
        let watcher = EngineWatcher::new(Engine::at("unix:///run/a"));
        let entry = |container| Entry::new(&watcher, container, now);
        let entries: Vec<_> = ordered(all, |_| true).into_iter().map(entry).collect();
        table(&entries, layout, Terminal::of_width(width)).unwrap()
    }

    fn render(all: &Portfolio, now: SystemTime) -> String {
        rendered(all, &Layout::default(), now, None)
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
        assert_eq!(ordered(&all, |container| container.project() == "shop").len(), 2);
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

    /// Returns the widths of name and pod at this width, and whether IDs and PIDs are shown.
    fn widths(container: &Container, width: usize) -> (usize, Option<usize>, bool, bool) {
        let now = SystemTime::now();
        let layout = Layout::default();
        let watcher = EngineWatcher::new(Engine::at("unix:///run/a"));
        let entry = Entry::new(&watcher, container, now);
        let cells = layout.columns().iter().map(|column| column.cell(&entry, false)).collect();
        let widths = layout.fit(&[cells], false, Some(width));
        let of = |wanted: Column| {
            widths.iter().find(|(place, _)| layout.columns()[*place] == wanted).map(|(_, width)| *width)
        };
        (of(Column::Name).unwrap(), of(Column::Pod), of(Column::Id).is_some(), of(Column::Pid).is_some())
    }

    #[test]
    fn a_narrow_terminal_drops_pids_before_pods() {
        let now = SystemTime::now();
        let pod = ("kube-system", "coredns-5d78c9869d-abcde", "1");
        let dns = || member(&"1".repeat(64), "coredns", pod, now);
        let columns = |width| widths(&dns(), width);
        assert_eq!(columns(83), (7, Some(36), true, true));
        assert_eq!(columns(63), (7, Some(16), true, true));
        assert_eq!(columns(62), (7, Some(29), false, true));
        assert_eq!(columns(48), (7, Some(21), false, false));
        assert_eq!(columns(43), (7, Some(16), false, false));
        assert_eq!(columns(42), (7, None, false, false));
        let all = Portfolio::from_iter([dns()]);
        for width in 25..120 {
            let table = rendered(&all, &Layout::default(), now, Some(width));
            assert!(table.lines().all(|line| width::cells(line) <= width), "{width}: {table}");
        }
    }

    #[test]
    fn a_narrow_terminal_drops_ids_then_pids_then_cuts_names() {
        let now = SystemTime::now();
        let id = "0".repeat(64);
        let columns = |width| {
            let (name, _, id, pid) = widths(&container(&id, "a-name-of-twenty-six-cells", "", 1, now), width);
            (name, id, pid)
        };
        assert_eq!(columns(200), (26, true, true));
        assert_eq!(columns(60), (22, true, true));
        assert_eq!(columns(50), (12, true, true));
        assert_eq!(columns(49), (25, false, true));
        assert_eq!(columns(35), (17, false, false));
        assert_eq!(columns(3), (1, false, false));
        assert_eq!(widths(&container(&id, "db", "", 1, now), 42).0, 4);
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
        let all = Portfolio::from_iter([container("0", &"鯨".repeat(20), "", 1, now)]);
        for width in 30..90 {
            let table = rendered(&all, &Layout::default(), now, Some(width));
            assert!(table.lines().all(|line| width::cells(line) <= width), "{width}: {table}");
        }
    }

    #[test]
    fn columns_that_were_asked_for_are_neither_cut_nor_dropped() {
        let now = SystemTime::now();
        let long = "x".repeat(200);
        let all = Portfolio::from_iter([container("0123456789abcdef", &long, "shop", 1, now)]);
        let layout = Layout::of(&[Column::Id, Column::Health, Column::Pod, Column::Project]);
        let expected = "ID            HEALTH  POD  PROJECT\n0123456789ab  -            shop\n";
        assert_eq!(rendered(&all, &layout, now, Some(20)), expected);
        let layout = Layout::of(&[Column::Name, Column::Id]).without_header();
        assert!(rendered(&all, &layout, now, Some(20)).ends_with("xxx…  0123456789ab\n"));
        assert_eq!(rendered(&all, &layout.in_full(), now, Some(20)), format!("{long}  0123456789abcdef\n"));
    }

    #[test]
    fn a_flat_table_has_a_column_for_projects() {
        let now = SystemTime::now();
        let all =
            Portfolio::from_iter([container("1", "web", "shop", 1, now), container("2", "db", "", 1, now)]);
        let expected = "\
NAME  PROJECT  ID   PID  STATE      AGE
web   shop     1   4711  ● running   1s
db             2   4711  ● running   1s
";
        assert_eq!(rendered(&all, &Layout::default().flat(), now, None), expected);
    }
}
