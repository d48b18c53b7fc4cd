//! The commands of `watch --exec`.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::program::{Program, run};

/// Starts `watch --format json` with this command, and waits until the engine is in sync.
async fn watching(engine: &Server, command: &str, arguments: &[&str]) -> Program {
    let endpoint = engine.endpoint();
    let all =
        [&["watch", "--format", "json", "--host", &endpoint, "--exec", command][..], arguments].concat();
    let mut program = Program::start(&all);
    while program.json().await["event"] != "synced" {}
    program
}

/// Creates a pipe that a command can wait for.
fn fifo(folder: &TempDir) -> String {
    let path = folder.path().join("fifo");
    mknodat(CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
    path.to_str().unwrap().to_owned()
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_command_receives_the_event_as_variables_and_as_json() {
    let engine = Server::builder().start().unwrap();
    engine.run("old").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (variables, input) = (folder.path().join("variables"), folder.path().join("input"));
    // Has the program's own output, but prints nothing there.
    let command = format!(
        "echo \"$WHALEWATCHER_EVENT $WHALEWATCHER_NAME $WHALEWATCHER_PROJECT $WHALEWATCHER_IMAGE ${{WHALEWATCHER_EXIT_CODE-none}} \
         $WHALEWATCHER_ENGINE\" >> {}; cat >> {}",
        variables.display(),
        input.display()
    );
    let program = watching(&engine, &command, &["--until", "web exited"]).await;
    let web = engine.run(ContainerSpec::new("web").project("shop", "web").image("nginx:1.27")).unwrap();
    engine.exit("web", 3).unwrap();
    let ended = program.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let expected = ["started web shop nginx:1.27 none docker.com", "exited web shop nginx:1.27 3 docker.com"];
    assert_eq!(lines(&variables), expected);
    // The same lines as the output's.
    assert_eq!(lines(&input), ended.stdout.lines().collect::<Vec<_>>());
    let last: Value = serde_json::from_str(lines(&input).last().unwrap()).unwrap();
    assert_eq!(last["container"]["id"], web.as_str());
}

#[tokio::test]
async fn a_command_that_fails_is_noted_with_its_status() {
    let engine = Server::builder().start().unwrap();
    let program = watching(&engine, "exit 7", &["--until", "web started"]).await;
    engine.run("web").unwrap();
    let ended = program.ended().await;
    let note = "whalewatcher: --exec: the command for 'web started' failed: exit status: 7\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), note));
}

#[tokio::test]
async fn a_slow_command_delays_neither_the_output_nor_other_containers() {
    let engine = Server::builder().start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (fifo, done) = (fifo(&folder), folder.path().join("done"));
    // The first command of 'slow' waits.
    let command = format!(
        "case $WHALEWATCHER_NAME-$WHALEWATCHER_EVENT in slow-started) cat {fifo};; esac; \
         echo $WHALEWATCHER_NAME $WHALEWATCHER_EVENT >> {}",
        done.display()
    );
    let mut program = watching(&engine, &command, &["--until", "end exited"]).await;
    engine.run("slow").unwrap();
    assert_eq!(program.json().await["event"], "started");
    engine.exit("slow", 0).unwrap();
    assert_eq!(program.json().await["event"], "exited");
    engine.run("other").unwrap();
    assert_eq!(program.json().await["container"]["name"], "other");
    while lines(&done) != ["other started"] {
        tokio::task::yield_now().await;
    }
    engine.run("end").unwrap();
    engine.exit("end", 0).unwrap();
    let release = tokio::task::spawn_blocking(move || fs::write(fifo, "go"));
    let ended = program.ended().await;
    release.await.unwrap().unwrap();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let done = lines(&done);
    let of_slow: Vec<_> = done.iter().filter(|line| line.starts_with("slow ")).collect();
    assert_eq!(of_slow, ["slow started", "slow exited"], "{done:?}");
    assert_eq!(done.len(), 5, "{done:?}");
}

#[tokio::test]
async fn the_program_ends_after_its_commands_unless_it_is_interrupted_again() {
    let engine = Server::builder().start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (fifo, done) = (fifo(&folder), folder.path().join("done"));
    // Holds none of the program's descriptors open.
    let command =
        format!("exec > /dev/null 2>&1; echo begun >> {0}; cat {fifo}; echo done >> {0}", done.display());
    for interrupts in [1, 2] {
        let mut program = watching(&engine, &command, &[]).await;
        engine.run(ContainerSpec::new("web").auto_remove(true)).unwrap();
        assert_eq!(program.json().await["event"], "started");
        while lines(&done).len().is_multiple_of(2) {
            tokio::task::yield_now().await;
        }
        program.signal(Signal::INT);
        if interrupts == 1 {
            let fifo = fifo.clone();
            tokio::task::spawn_blocking(move || fs::write(fifo, "go")).await.unwrap().unwrap();
            assert_eq!(program.ended().await.code, Some(0));
            assert_eq!(lines(&done), ["begun", "done"]);
        } else {
            program.signal(Signal::TERM);
            // The command has the output open too, so that is not read to its end.
            assert_eq!(program.ended_unread().await.code, Some(0));
            assert_eq!(lines(&done), ["begun", "done", "begun"]);
            // Ends the command.
            fs::write(&fifo, "go").unwrap();
        }
        engine.exit("web", 0).unwrap();
    }
}

#[tokio::test]
async fn a_command_that_cannot_be_started_is_noted() {
    let engine = Server::builder().start().unwrap();
    let mut program = watching(&engine, "true", &["--until", "last started"]).await;
    // More than a variable can contain.
    engine.run("x".repeat(200_000)).unwrap();
    let note = program.error_line().await;
    assert!(note.contains("cannot start the command for 'xxx"), "{note}");
    // Its inspection may be answered before that of another one.
    engine.run("last").unwrap();
    let ended = program.ended().await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    assert_eq!(run(&["watch", "--exec"]).await.code, Some(2));
}
