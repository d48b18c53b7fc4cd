//! `watch --journal` and `log`.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use whalewatcher_testkit::docker::Server;

use crate::program::{Ended, Program, command, run};

/// A watch that records. It prints JSON.
fn recording(engine: &Server, journal: &str) -> Program {
    Program::start(&["watch", "-o", "json", "--journal", journal, "--host", &engine.endpoint()])
}

/// Waits until the journal contains this text: its thread writes a moment after the output.
async fn recorded(journal: &str, text: &str) {
    while !fs::read_to_string(journal).unwrap_or_default().contains(text) {
        tokio::task::yield_now().await;
    }
}

/// What `log` prints as JSON, in short.
async fn logged(journal: &str, arguments: &[&str]) -> Vec<(String, String)> {
    let ended = run(&[&["log", "-o", "json", "--journal", journal], arguments].concat()).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let lines = ended.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| (text(&line["event"]), text(&line["container"]["name"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn of(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(event, name)| ((*event).to_owned(), (*name).to_owned())).collect()
}

#[tokio::test]
async fn a_killed_watch_leaves_a_journal_that_the_next_one_continues() {
    let (engine, folder) = (Server::builder().start().unwrap(), tempfile::tempdir().unwrap());
    let journal = folder.path().join("journal").display().to_string();
    engine.run("stays").unwrap();
    let gone = engine.run("gone").unwrap();
    let program = recording(&engine, &journal);
    recorded(&journal, "\"synced\"").await;
    let job = engine.run("job").unwrap();
    recorded(&journal, "\"job\"").await;
    engine.exit(&job, 7).unwrap();
    recorded(&journal, "\"exit_code\":7").await;
    program.signal(Signal::KILL);
    program.ended().await;
    // The last line was not written completely.
    let whole = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, format!("{whole}{{\"at\":\"2026-01-31T12:00:00Z\",\"event\":\"star")).unwrap();
    let before = of(&[("started", "gone"), ("started", "stays"), ("started", "job"), ("exited", "job")]);
    let mut sorted = logged(&journal, &[]).await;
    sorted[..2].sort();
    assert_eq!(sorted, before);

    engine.exit(&gone, 1).unwrap();
    engine.run("new").unwrap();
    let program = recording(&engine, &journal);
    while fs::read_to_string(&journal).unwrap().matches("\"synced\"").count() < 2 {
        tokio::task::yield_now().await;
    }
    program.signal(Signal::TERM);
    program.ended().await;
    let ended = run(&["log", "-o", "json", "--journal", &journal]).await;
    assert!(ended.stderr.contains("skipped 1 malformed line of"), "{ended:?}");
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let after: Vec<_> =
        lines[4..].iter().map(|line| (text(&line["event"]), text(&line["container"]["name"]))).collect();
    assert_eq!(
        after,
        of(&[("gap", ""), ("started", "new"), ("exited", "gone")]),
        "what stays is not repeated"
    );
    assert_eq!((&lines[5]["found"], &lines[6]["uncertain"]), (&json!(true), &json!(true)));
    assert!(lines[4]["since"].is_string() && lines[4]["until"].is_string());
}

#[tokio::test]
async fn log_shows_names_the_newest_part_and_gaps() {
    let (engine, folder) = (Server::builder().start().unwrap(), tempfile::tempdir().unwrap());
    let journal = folder.path().join("journal").display().to_string();
    let program = recording(&engine, &journal);
    recorded(&journal, "\"synced\"").await;
    for name in ["web-1", "db"] {
        let id = engine.run(name).unwrap();
        engine.exit(&id, 1).unwrap();
        recorded(&journal, "\"exited\"").await;
    }
    while fs::read_to_string(&journal).unwrap().matches("\"exited\"").count() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(logged(&journal, &["web-*"]).await, of(&[("started", "web-1"), ("exited", "web-1")]));
    // More was asked for than is recorded.
    assert_eq!(
        logged(&journal, &["--since", "2h", "db"]).await,
        of(&[("gap", ""), ("started", "db"), ("exited", "db")])
    );
    let text = Ended::of(command(&["log", "db"]).env("WHALEWATCHER_JOURNAL", &journal)).await;
    let lines: Vec<_> = text.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{text:?}");
    assert!(
        lines[0].starts_with("20") && lines[2].contains("○ exited   db") && lines[2].contains("exit 1"),
        "{text:?}"
    );
    let none = run(&["log", "--journal", &journal, "nothing"]).await;
    assert_eq!(none.error(), "whalewatcher: the journal has nothing of that name");
    program.signal(Signal::TERM);
    program.ended().await;
}

#[tokio::test]
async fn a_journal_that_cannot_be_used_is_one_error() {
    let (engine, folder) = (Server::builder().start().unwrap(), tempfile::tempdir().unwrap());
    let journal = folder.path().join("journal").display().to_string();
    let missing = run(&["log", "--journal", &journal]).await;
    assert!(missing.error().contains("cannot read the journal"), "{missing:?}");
    assert!(!Path::new(&journal).exists());
    // The kernel opens these, and then fails to read them.
    for (unreadable, why) in [("/proc/self/mem", "Input/output error"), ("/proc", "Is a directory")] {
        let ended = run(&["log", "--journal", unreadable]).await;
        let expected = format!("whalewatcher: cannot read the journal {unreadable}: {why}");
        assert!(ended.error().starts_with(&expected), "{ended:?}");
    }
    let first = recording(&engine, &journal);
    recorded(&journal, "\"synced\"").await;
    let second = recording(&engine, &journal).ended().await;
    assert!(second.error().contains("is written by another program"), "{second:?}");
    first.signal(Signal::TERM);
    assert_eq!(first.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_full_disk_is_one_note_and_the_output_goes_on() {
    let engine = Server::builder().start().unwrap();
    let mut program = recording(&engine, "/dev/full");
    for nth in 0..20 {
        engine.run(format!("c{nth}")).unwrap();
        while program.json().await["container"]["name"] != format!("c{nth}") {}
    }
    assert!(program.error_line().await.contains("cannot write the journal: No space left on device"));
    program.signal(Signal::TERM);
    let ended = program.ended().await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
