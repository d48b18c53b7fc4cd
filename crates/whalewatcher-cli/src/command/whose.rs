//! `whalewatcher whose`: the containers that processes belong to.

use std::collections::HashSet;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Arc;

use whalewatcher_core::{Container, Fleet, Printable, Watcher};
use whalewatcher_host::owner_of;

use super::once::{Answer, Answers, answers};
use crate::args::{Format, WhoseArgs};
use crate::hosts::{Hosts, host, ignored_by_default};
use crate::notes;
use crate::output::Output;
use crate::render::grid::grid;
use crate::render::json;
use crate::render::texts::{display_name, id_for_programs, pod, short_id};

/// What is known of a process.
struct Process {
    pid: u32,
    /// Its container; `None` if it belongs to none that is known.
    owner: Result<Option<Owner>, String>,
}

/// A container and the watcher that knows it.
struct Owner {
    watcher: Arc<dyn Watcher>,
    container: Arc<Container>,
}

impl Process {
    fn owner(&self) -> json::Owner<'_> {
        let owner = self.owner.as_ref().map_err(String::as_str)?;
        Ok(owner.as_ref().map(|owner| (&*owner.watcher, &*owner.container)))
    }
}

/// Prints the container of each process, and warnings about what is not known. The status is 1 with warnings.
/// If a process has no container, namespaces that are ignored by default are noted.
pub(crate) async fn whose(
    fleet: &Arc<Fleet>,
    hosts: Hosts,
    args: &WhoseArgs,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let Answers { answers, missing } = answers(fleet, hosts).await?;
    let known: Vec<_> = answers.iter().filter(|answer| answer.portfolio.is_some()).collect();
    let processes: Vec<_> =
        args.pids.iter().map(|pid| Process { pid: *pid, owner: find(*pid, &known) }).collect();
    let mut warnings: Vec<_> = answers.iter().flat_map(|answer| answer.warnings.clone()).collect();
    for Process { pid, owner } in &processes {
        warnings.extend(owner.as_ref().err().map(|error| format!("process {pid}: {error}")));
    }
    let has_none = processes.iter().any(|process| matches!(process.owner, Ok(None)));
    let ignored: Vec<_> = match has_none && args.engines.ignored_namespaces().is_none() {
        true => answers.iter().filter_map(|answer| ignored_by_default(&*answer.watcher)).collect(),
        false => Vec::new(),
    };
    let (format, is_quiet) = (args.format, args.quiet);
    let (is_known, shows_hosts) = (!known.is_empty(), answers.len() > 1);
    output
        .write(move |writer| {
            if is_known && writer.begin() {
                match format {
                    _ if is_quiet => write_ids(writer, &processes)?,
                    Format::Json => {
                        let all = processes.iter().map(|process| (process.pid, process.owner()));
                        json::write_processes(writer, all)?;
                    }
                    Format::Text => write_text(writer, &processes, shows_hosts)?,
                }
            }
            Ok(())
        })
        .await?;
    for message in warnings.iter().chain(&missing.notes).chain(ignored.iter().filter(|_| is_known)) {
        notes::note(message);
    }
    Ok(if warnings.is_empty() && !missing.may_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find(pid: u32, known: &[&Answer]) -> Result<Option<Owner>, String> {
    let portfolios = known.iter().filter_map(|answer| answer.portfolio.as_ref());
    match owner_of(pid, portfolios) {
        Ok(owner) => Ok(owner.map(|owner| Owner {
            watcher: known[owner.portfolio].watcher.clone(),
            container: owner.container.clone(),
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Err("no such process".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Writes the IDs of the containers, each once, as `ps` accepts them.
fn write_ids(writer: &mut impl Write, processes: &[Process]) -> io::Result<()> {
    let mut written = HashSet::new();
    for owner in processes.iter().filter_map(|process| process.owner.as_ref().ok()?.as_ref()) {
        if written.insert(owner.container.id()) {
            writeln!(writer, "{}", id_for_programs(owner.container.id()))?;
        }
    }
    Ok(())
}

/// Writes a table, with the container's host if there are several. All columns but the first two are empty
/// for a process that belongs to no container; a column that is empty for all is left out.
fn write_text(writer: &mut impl Write, processes: &[Process], shows_hosts: bool) -> io::Result<()> {
    let mut rows = vec![["PID", "NAME", "ID", "PROJECT", "POD", "HOST"].map(str::to_owned)];
    rows.extend(processes.iter().filter_map(|Process { pid, owner }| {
        let owner = owner.as_ref().ok()?;
        let pid = pid.to_string();
        Some(match owner {
            None => [pid, "-".into(), String::new(), String::new(), String::new(), String::new()],
            Some(Owner { watcher, container }) => [
                pid,
                display_name(container),
                short_id(container.id()),
                Printable(container.project()).to_string(),
                pod(container),
                match shows_hosts {
                    true => Printable(&host(watcher.engine_type(), watcher.endpoint())).to_string(),
                    false => String::new(),
                },
            ],
        })
    }));
    writer.write_all(grid(&rows, &[], None).as_bytes())
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::adapter::EngineClient;
    use whalewatcher_core::{COMPOSE_PROJECT_LABEL, EngineWatcher, Labels};
    use whalewatcher_testkit::scripted::Engine;

    use super::*;

    #[test]
    fn empty_columns_are_left_out_wide_names_are_aligned_and_several_hosts_are_named() {
        let engine = Engine::at("somewhere");
        assert_eq!(engine.endpoint(), "somewhere");
        let watcher: Arc<dyn Watcher> = Arc::new(EngineWatcher::new(engine));
        let owner = |name: &str, project: &str| {
            let labels = Labels::from_iter([(COMPOSE_PROJECT_LABEL, project)]);
            let container = Arc::new(Container::new("0123456789abcdef", name, 7).with_labels(labels));
            Ok(Some(Owner { watcher: watcher.clone(), container }))
        };
        let process = |pid, owner| Process { pid, owner };
        let processes = [
            process(7, owner("鯨", "sea")),
            process(4_194_304, owner("web\n", "")),
            process(1, Ok(None)),
            process(2, Err("no such process".into())),
        ];
        let table = |shows_hosts| {
            let mut text = Vec::new();
            write_text(&mut text, &processes, shows_hosts).unwrap();
            String::from_utf8(text).unwrap()
        };
        let expected = "\
PID      NAME   ID            PROJECT
7        鯨     0123456789ab  sea
4194304  web\\n  0123456789ab
1        -
";
        assert_eq!(table(false), expected);
        let expected = "\
PID      NAME   ID            PROJECT  HOST
7        鯨     0123456789ab  sea      somewhere
4194304  web\\n  0123456789ab           somewhere
1        -
";
        assert_eq!(table(true), expected);
        let mut ids = Vec::new();
        write_ids(&mut ids, &processes).unwrap();
        assert_eq!(String::from_utf8(ids).unwrap(), "0123456789abcdef\n");
    }
}
