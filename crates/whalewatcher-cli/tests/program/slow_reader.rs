//! A slow or stalled reader delays nothing but its own output.

use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, BufReader};
use whalewatcher_testkit::docker::{ContainerSpec, Fate, Server};
use whalewatcher_testkit::watched::in_time;

use crate::program::{Fold, Program, command, full_pair, signal};

/// More than the pipe, the subscription and the buffer hold.
const CHANGES: usize = 5_000;

const MIB: usize = 1024 * 1024;

/// The size of the labels of the huge container.
const LABELS: usize = 8 * MIB;

/// How often it is paused and unpaused.
const CHANGES_OF_HUGE: usize = 12;

/// The limit for a list, inspections and the portfolio, but not for a copy for each change.
const MEMORY: usize = 128 * MIB;

#[tokio::test]
async fn a_slow_reader_receives_lagged_and_the_difference() {
    let engine = Server::builder().start().unwrap();
    let web = engine.run("web").unwrap();
    let (mut slow, reported) = Program::watching(&engine).await;
    let (mut fast, _) = Program::watching(&engine).await;
    let mut fold = Fold::default();
    reported.iter().for_each(|line| fold.take(line));
    for _ in 0..CHANGES {
        engine.pause(&web).unwrap();
        assert_eq!(fast.json().await["event"], "paused");
        engine.unpause(&web).unwrap();
        assert_eq!(fast.json().await["event"], "unpaused");
    }
    engine.run("last").unwrap();
    assert_eq!(fast.json().await["event"], "started");
    let mut missed = 0;
    while fold != Fold::truth(&engine) {
        let line = slow.json().await;
        missed += line["missed"].as_u64().unwrap_or_default();
        fold.take(&line);
    }
    assert!(missed > 0);
}

#[tokio::test]
async fn a_signal_ends_watch_with_a_stalled_reader() {
    let engine = Server::builder().start().unwrap();
    let (stuck, _) = Program::watching(&engine).await;
    let (mut fast, _) = Program::watching(&engine).await;
    for nth in 0..400 {
        engine.run(format!("c{nth}")).unwrap();
        fast.json().await;
    }
    stuck.signal(Signal::TERM);
    assert_eq!(stuck.ended_unread().await.code, Some(0));
}

#[tokio::test]
async fn a_stalled_standard_error_delays_no_output() {
    let old = Server::builder().version("1.9").api_versions("1.21", "1.12").start().unwrap();
    let good = Server::builder().start().unwrap();
    for format in ["text", "json"] {
        let before = old.stats().requests.total();
        let (_reader, stderr) = full_pair();
        let mut program = command(&["watch", "--format", format, "--host", &old.endpoint()]);
        program.args(["--host", &good.endpoint()]).stdout(Stdio::piped()).stderr(OwnedFd::from(stderr));
        let mut program = program.spawn().unwrap();
        let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
        for nth in 0..20 {
            let name = format!("{format}-{nth}");
            good.run(name.as_str()).unwrap();
            while !in_time(lines.next_line()).await.unwrap().expect("the output has ended").contains(&name) {}
        }
        assert!(old.stats().requests.total() > before);
        signal(&program, Signal::TERM);
        assert_eq!(in_time(program.wait()).await.unwrap().code(), Some(0));
    }
}

#[tokio::test]
async fn unread_changes_of_huge_labels_take_no_memory_each() {
    let engine = Server::builder().start().unwrap();
    engine.run("plain").unwrap();
    let (mut stuck, _) = Program::watching(&engine).await;
    // Prints no labels, so it shows each change soon.
    let mut fast = Program::start(&["watch", "--host", &engine.endpoint()]);
    while !fast.line().await.contains("plain") {}
    let began = stuck.peak_memory();
    let huge = engine.run(ContainerSpec::new("huge").label("huge", "x".repeat(LABELS))).unwrap();
    while !fast.line().await.contains("started") {}
    // It has inspected the container by then: during an inspection, pauses would be no events of their own.
    assert!(stuck.line().await.contains("\"started\""));
    // A line of `stuck` is larger than the pipe, so it has to keep what follows. Events are sent without
    // labels, whose parsing would be most of the work.
    engine.on_event(|_| Fate::Vanish);
    let report = |action: &str| {
        let event = format!(r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"{huge}"}}}}"#);
        engine.emit_raw(event + "\n");
    };
    for _ in 0..CHANGES_OF_HUGE {
        engine.pause(&huge).unwrap();
        report("pause");
        while !fast.line().await.contains(" paused") {}
        engine.unpause(&huge).unwrap();
        report("unpause");
        while !fast.line().await.contains(" unpaused") {}
    }
    // All further lines wait for the first ones.
    for event in ["paused", "unpaused"] {
        let line = stuck.line().await;
        assert!(line.len() > LABELS && line.contains(&format!("\"{event}\"")), "{line:.100}");
    }
    let grown = stuck.peak_memory() - began;
    println!("{} MiB for labels of {} MiB", grown / MIB, LABELS / MIB);
    assert!(grown < MEMORY, "{} MiB", grown / MIB);
    stuck.signal(Signal::TERM);
    assert_eq!(stuck.ended_unread().await.code, Some(0));
}
