//! Defaults of the command line: from the environment, else from the user's file.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::ValueEnum;
use serde::Deserialize;
use whalewatcher_core::Printable;

use crate::args::{Command, ListFormat, wrong};
use crate::render::column::Column;

const HOST: &str = "WHALEWATCHER_HOST";
const COLUMNS: &str = "WHALEWATCHER_COLUMNS";
const CRASH_LOOP: &str = "WHALEWATCHER_CRASH_LOOP";
const CONFIG: &str = "WHALEWATCHER_CONFIG";

/// What the file contains.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    hosts: Option<Vec<String>>,
    columns: Option<Vec<String>>,
    crash_loop: Option<String>,
}

/// Fills in what the command line leaves open.
///
/// # Errors
///
/// If the environment or the file is invalid: the error names the variable, or the file with the line.
pub(crate) fn apply(command: &mut Command) -> anyhow::Result<()> {
    apply_from(command, |name| env::var_os(name).filter(|value| !value.is_empty()))
}

fn apply_from(command: &mut Command, variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<()> {
    let wants_hosts = command.engines_mut().is_ok_and(|engines| {
        engines.hosts.is_empty() && engines.contexts.is_empty() && !engines.discovery.is_asked_for()
    });
    let asks_engines = command.engines_mut().is_ok();
    let wants_loops =
        asks_engines && command.crash_loops_mut().is_some_and(|loops| loops.crash_loop.is_none());
    let wants_columns = matches!(command, Command::Ps(ps) if {
        let shape = &ps.shape;
        shape.columns.is_empty() && !shape.quiet && shape.format == ListFormat::Table
    });
    let text = |name: &str| {
        let value = variable(name).map(OsString::into_string).transpose();
        value.map_err(|_| wrong(format!("{name} is not valid UTF-8")))
    };
    let (hosts, columns) =
        (if wants_hosts { text(HOST)? } else { None }, if wants_columns { text(COLUMNS)? } else { None });
    let loops = if wants_loops { text(CRASH_LOOP)? } else { None };
    let is_file_needed = wants_hosts && hosts.is_none()
        || wants_columns && columns.is_none()
        || wants_loops && loops.is_none();
    let (file, path) = if is_file_needed { read(&variable)? } else { (File::default(), String::new()) };
    let hosts = match hosts {
        Some(hosts) => Some((hosts.split_whitespace().map(str::to_owned).collect(), HOST.to_owned())),
        None => file.hosts.filter(|_| wants_hosts).map(|hosts| (hosts, format!("{path}: hosts"))),
    };
    if let (Some((hosts, origin)), Ok(engines)) = (hosts, command.engines_mut()) {
        (engines.hosts, engines.origin) = (hosts, origin);
    }
    let columns = match columns {
        Some(columns) => Some((columns.split(',').map(str::to_owned).collect(), COLUMNS.to_owned())),
        None => file.columns.filter(|_| wants_columns).map(|columns| (columns, format!("{path}: columns"))),
    };
    let loops = match loops {
        Some(loops) => Some((loops, CRASH_LOOP.to_owned())),
        None => file.crash_loop.filter(|_| wants_loops).map(|loops| (loops, format!("{path}: crash_loop"))),
    };
    if let (Some((loops, origin)), Some(args)) = (loops, command.crash_loops_mut()) {
        let limit =
            loops.parse().map_err(|reason: String| wrong(format!("{origin}: {}", Printable(&reason))))?;
        args.crash_loop = Some(limit);
    }
    if let (Some((columns, origin)), Command::Ps(ps)) = (columns, command) {
        ps.shape.columns = columns_of(&columns, &origin)?;
    }
    Ok(())
}

fn columns_of(names: &[String], origin: &str) -> anyhow::Result<Vec<Column>> {
    let column = |name: &String| {
        Column::from_str(name.trim(), true).map_err(|_| {
            let all = Column::value_variants().iter().filter_map(ValueEnum::to_possible_value);
            let all: Vec<_> = all.map(|value| value.get_name().to_owned()).collect();
            wrong(format!("{origin}: no such column: '{}'; there are {}", Printable(name), all.join(", ")))
        })
    };
    names.iter().map(column).collect()
}

/// Reads the user's file, and returns it with its path for messages. Only one that the environment names has to exist.
fn read(variable: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<(File, String)> {
    let named = variable(CONFIG).map(PathBuf::from);
    let is_named = named.is_some();
    let folder = || variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
    let home = || Some(PathBuf::from(variable("HOME")?).join(".config"));
    let usual = || Some(folder().or_else(home)?.join("whalewatcher.toml"));
    let Some(path) = named.or_else(usual) else { return Ok((File::default(), String::new())) };
    let name = printable(&path);
    match fs::read_to_string(&path) {
        // Its message has the line.
        Ok(text) => match toml::from_str(&text) {
            Ok(file) => Ok((file, name)),
            Err(error) => Err(anyhow!("{name}: {}", in_one_line(&text, &error))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok((File::default(), name)),
        Err(error) if is_named => Err(anyhow!("{CONFIG}: cannot read {name}: {error}")),
        Err(error) => Err(anyhow!("cannot read {name}: {error}")),
    }
}

fn in_one_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let message = error.message().replace('\n', " ");
    format!("line {}: {message}", before.matches('\n').count() + 1)
}

fn printable(path: &Path) -> String {
    Printable(&path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Cli;

    fn applied(line: &str, variables: &[(&str, &str)]) -> Result<Command, String> {
        let mut command = Cli::try_parse_from(line.split(' ')).unwrap().into_command().unwrap();
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(*value))
        };
        apply_from(&mut command, variable).map_err(|error| error.to_string())?;
        Ok(command)
    }

    fn hosts(line: &str, variables: &[(&str, &str)]) -> Vec<String> {
        applied(line, variables).unwrap().engines_mut().unwrap().hosts.clone()
    }

    fn columns(line: &str, variables: &[(&str, &str)]) -> Vec<Column> {
        let Command::Ps(ps) = applied(line, variables).unwrap() else { panic!("not ps") };
        ps.shape.columns
    }

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whalewatcher.toml");
        fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (folder, path)
    }

    #[test]
    fn the_command_line_comes_before_the_environment_and_that_before_the_file() {
        let (_folder, path) = file("hosts = [\"/c\"]\ncolumns = [\"name\", \"Image\"]\n");
        let all = [(HOST, "/a  tcp://b:1"), (COLUMNS, "id, PID"), (CONFIG, &*path)];
        assert_eq!(hosts("whalewatcher watch --host /x", &all), ["/x"]);
        assert_eq!(hosts("whalewatcher -H /x ps", &all), ["/x"]);
        for asked in ["--context x", "--discover", "--activate"] {
            assert_eq!(hosts(&format!("whalewatcher ps {asked}"), &all), [""; 0], "{asked}");
        }
        assert_eq!(hosts("whalewatcher watch", &all), ["/a", "tcp://b:1"]);
        assert_eq!(hosts("whalewatcher watch", &all[2..]), ["/c"]);
        assert_eq!(hosts("whalewatcher watch", &[]), [""; 0]);
        assert_eq!(columns("whalewatcher ps --columns age", &all), [Column::Age]);
        assert_eq!(columns("whalewatcher ps", &all), [Column::Id, Column::Pid]);
        assert_eq!(columns("whalewatcher ps", &all[2..]), [Column::Name, Column::Image]);
        for other in ["-q", "-o json", "-o wide"] {
            assert_eq!(columns(&format!("whalewatcher ps {other}"), &all), [], "{other}");
        }
    }

    #[test]
    fn crash_loops_are_those_of_the_command_line_the_environment_or_the_file() {
        let (_folder, path) = file("crash_loop = \"4/1m\"\n");
        let all = [(CRASH_LOOP, "3/2m"), (CONFIG, &*path)];
        let loops = |line: &str, variables: &[(&str, &str)]| {
            let mut command = applied(line, variables).unwrap();
            command.crash_loops_mut().unwrap().crash_loop.map(|limit| limit.to_string())
        };
        assert_eq!(loops("whalewatcher watch --crash-loop 2/1h", &all).as_deref(), Some("2/1h"));
        assert_eq!(loops("whalewatcher events", &all).as_deref(), Some("3/2m"));
        assert_eq!(loops("whalewatcher watch --host /x", &all[1..]).as_deref(), Some("4/1m"));
        assert_eq!(loops("whalewatcher watch", &[]), None);
    }

    #[test]
    fn the_file_is_in_the_users_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let [xdg, home] = ["xdg", ".config"].map(|name| folder.path().join(name));
        for (folder, host) in [(&xdg, "/xdg"), (&home, "/home")] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("whalewatcher.toml"), format!("hosts = ['{host}']")).unwrap();
        }
        let (xdg, home) = (xdg.to_str().unwrap(), folder.path().to_str().unwrap());
        assert_eq!(hosts("whalewatcher ps", &[("HOME", home), ("XDG_CONFIG_HOME", xdg)]), ["/xdg"]);
        assert_eq!(hosts("whalewatcher ps", &[("HOME", home)]), ["/home"]);
        assert_eq!(hosts("whalewatcher ps", &[("HOME", "/no/such")]), [""; 0]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let (_folder, path) = file("\nhosts = [\n  \"/c\",\n  7\n]\n");
        let (_other, unknown) = file("# mine\ncolor = \"never\"\n");
        for (variables, reason) in [
            (&[(CONFIG, "/no/such")][..], "WHALEWATCHER_CONFIG: cannot read /no/such: No such file"),
            (&[(CONFIG, &*path)], "whalewatcher.toml: line 4: invalid type: integer `7`"),
            (
                &[(CONFIG, &*unknown)],
                "whalewatcher.toml: line 2: unknown field `color`, expected one of `hosts`",
            ),
            (&[(COLUMNS, "name,size")], "WHALEWATCHER_COLUMNS: no such column: 'size'; there are name,"),
        ] {
            let error = applied("whalewatcher ps", variables).map(drop).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let error = applied("whalewatcher watch", &[(CRASH_LOOP, "1/1m")]).map(drop).unwrap_err();
        assert!(error.contains("WHALEWATCHER_CRASH_LOOP: out of bounds"), "{error}");
        // Commands that ask no engine read nothing.
        applied("whalewatcher demo", &[(CONFIG, "/no/such")]).unwrap();
    }
}
