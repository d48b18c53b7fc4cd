//! The program under test as a process, with its output line by line.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;
use whalewatcher_testkit::docker::Server;

/// A time limit that is only reached if something hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

pub(crate) const PATH: &str = env!("CARGO_BIN_EXE_whalewatcher");

/// Returns a command for the program, independent of the environment of the tests.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PATH);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true).env("TZ", "UTC").env("TERM", "xterm");
    for name in [
        "CONTAINER_HOST",
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_API_VERSION",
        "DOCKER_TLS_VERIFY",
        "DOCKER_CERT_PATH",
        "NO_COLOR",
        "RUST_LOG",
        "WHALEWATCHER_COLUMNS",
        "WHALEWATCHER_CRASH_LOOP",
        "WHALEWATCHER_HOST",
    ] {
        command.env_remove(name);
    }
    command
        .env("DOCKER_CONFIG", "/no/such")
        .env("XDG_CONFIG_HOME", "/no/such")
        .env_remove("WHALEWATCHER_CONFIG");
    command
}

/// The output and the status of a program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Runs a command to its end.
    pub(crate) async fn of(command: &mut Command) -> Self {
        let output = timeout(LIMIT, command.output()).await.expect("it does not end").unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks that the program failed with status 1 and one line on the standard error, and returns that.
    pub(crate) fn error(&self) -> &str {
        assert_eq!((self.code, self.stderr.lines().count()), (Some(1), 1), "{self:?}");
        self.stderr.trim_end()
    }
}

/// Runs the program to its end.
pub(crate) async fn run(arguments: &[&str]) -> Ended {
    Ended::of(&mut command(arguments)).await
}

pub(crate) fn signal(child: &Child, signal: Signal) {
    kill_process(pid(child), signal).unwrap();
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id().expect("it has ended")).unwrap()).unwrap()
}

/// The running program.
pub(crate) struct Program {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Program {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::started(&mut command(arguments))
    }

    pub(crate) fn started(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr }
    }

    /// Starts `watch --format json`, and returns it with the lines up to the first `synced`.
    pub(crate) async fn watching(engine: &Server) -> (Self, Vec<Value>) {
        let mut program = Self::start(&["watch", "--format", "json", "--host", &engine.endpoint()]);
        let mut reported = Vec::new();
        while reported.last().is_none_or(|last: &Value| last["event"] != "synced") {
            reported.push(program.json().await);
        }
        (program, reported)
    }

    pub(crate) async fn line(&mut self) -> String {
        let line = timeout(LIMIT, self.stdout.next_line()).await.expect("no line comes");
        line.unwrap().expect("the output has ended")
    }

    pub(crate) async fn error_line(&mut self) -> String {
        let line = timeout(LIMIT, self.stderr.next_line()).await.expect("no line comes");
        line.unwrap().expect("the errors have ended")
    }

    pub(crate) async fn json(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    pub(crate) fn signal(&self, which: Signal) {
        signal(&self.child, which);
    }

    /// Returns the peak of its memory, in bytes.
    pub(crate) fn peak_memory(&self) -> usize {
        let status =
            fs::read_to_string(format!("/proc/{}/status", pid(&self.child).as_raw_nonzero())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse::<usize>().unwrap() * 1024
    }

    /// Closes the reading end of its output and waits for its end.
    pub(crate) async fn ended_without_reader(self) -> Ended {
        let Self { child, stdout, stderr } = self;
        drop(stdout);
        Self::outcome(child, String::new(), stderr).await
    }

    /// Waits for its end without reading its output.
    pub(crate) async fn ended_unread(self) -> Ended {
        let Self { child, stdout, stderr } = self;
        let ended = Self::outcome(child, String::new(), stderr).await;
        drop(stdout);
        ended
    }

    /// Reads its output until its end.
    pub(crate) async fn ended(self) -> Ended {
        let Self { child, stdout, stderr } = self;
        let mut rest = String::new();
        timeout(LIMIT, stdout.into_inner().read_to_string(&mut rest))
            .await
            .expect("it does not end")
            .unwrap();
        Self::outcome(child, rest, stderr).await
    }

    async fn outcome(mut child: Child, stdout: String, stderr: Lines<BufReader<ChildStderr>>) -> Ended {
        let status: ExitStatus = timeout(LIMIT, child.wait()).await.expect("it does not end").unwrap();
        let mut errors = String::new();
        stderr.into_inner().read_to_string(&mut errors).await.unwrap();
        Ended { code: status.code(), stdout, stderr: errors }
    }
}

/// Returns a pair of sockets of which the second is full.
pub(crate) fn full_pair() -> (UnixStream, UnixStream) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = writer.write(b"x") {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    writer.set_nonblocking(false).unwrap();
    (reader, writer)
}

/// Runs a command to its end on a terminal with this many columns, and returns what the terminal receives.
pub(crate) async fn on_terminal(columns: u16, command: &mut Command) -> String {
    interrupted_on_terminal(columns, command, None).await
}

/// Creates a terminal of 24 rows, and returns its other end with it.
pub(crate) fn new_terminal(columns: u16) -> (File, File) {
    // The program must not inherit it.
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let terminal = OpenOptions::new().read(true).write(true).open(name).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(master), terminal)
}

/// The same, with SIGINT once the terminal has received this text.
pub(crate) async fn interrupted_on_terminal(
    columns: u16,
    command: &mut Command,
    awaited: Option<&'static str>,
) -> String {
    let (mut master, terminal) = new_terminal(columns);
    let mut child = command.stdout(terminal).stderr(Stdio::null()).spawn().unwrap();
    // The command holds the terminal open too.
    command.stdout(Stdio::null());
    let process = pid(&child);
    let reading = tokio::task::spawn_blocking(move || {
        let mut awaited = awaited;
        let (mut sent, mut bytes) = (Vec::new(), [0; 4096]);
        // An error means that no process has the terminal open any more.
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            sent.extend_from_slice(&bytes[..count]);
            if awaited.take_if(|text| String::from_utf8_lossy(&sent).contains(*text)).is_some() {
                kill_process(process, Signal::INT).unwrap();
            }
        }
        sent
    });
    assert!(timeout(LIMIT, child.wait()).await.expect("it does not end").unwrap().success());
    String::from_utf8(reading.await.unwrap()).unwrap().replace("\r\n", "\n")
}

/// Removes the details of a container that the engine's truth lacks, and that events of details change. The
/// adapters' tests and those of the JSON output compare them.
pub(crate) fn without_details(mut container: Value) -> Value {
    if let Some(fields) = container.as_object_mut() {
        for detail in ["image", "created_at", "restart_count", "networks", "network_mode"] {
            fields.remove(detail);
        }
    }
    container
}

/// The sum of the lines: containers by ID.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Fold(pub(crate) BTreeMap<String, Value>);

impl Fold {
    /// Adds a line.
    pub(crate) fn take(&mut self, line: &Value) {
        let container = &without_details(line["container"].clone());
        let id = || container["id"].as_str().unwrap().to_owned();
        match line["event"].as_str().unwrap() {
            "started" => assert!(self.0.insert(id(), container.clone()).is_none(), "started twice: {line}"),
            "paused" | "unpaused" | "updated" => {
                assert!(self.0.insert(id(), container.clone()).is_some(), "it was not there: {line}");
            }
            "exited" => assert!(self.0.remove(&id()).is_some(), "it was not there: {line}"),
            "synced" | "lagged" | "disconnected" => assert!(container.is_null()),
            other => panic!("no such event: {other}"),
        }
    }

    /// Returns the containers of the engine itself, without details.
    pub(crate) fn truth(engine: &Server) -> Self {
        let all = engine.truth().into_iter().map(|alive| {
            let project = alive.labels.get("com.docker.compose.project").cloned().unwrap_or_default();
            let container = serde_json::json!({
                "id": alive.id, "name": alive.name, "pid": alive.pid, "project": project, "paused": alive.paused,
                "started_at": alive.started_at.to_string(), "labels": *alive.labels,
            });
            (alive.id, container)
        });
        Self(all.collect())
    }
}
