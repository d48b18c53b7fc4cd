//! The command `demo`.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::time::sleep;

use crate::program::{Fold, Program, command, full_pair, run, signal};

#[tokio::test]
async fn a_short_demo_shows_containers_and_events() {
    let ended = run(&["demo", "--for", "3s", "--format", "json"]).await;
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(0), 1));
    assert!(ended.stderr.contains("a demo engine, nothing on it is real: unix:///"), "{}", ended.stderr);
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let synced = lines.iter().position(|line| line["event"] == "synced").unwrap();
    assert!(lines.len() > synced + 1, "nothing happens");
}

#[tokio::test]
async fn twenty_seconds_show_every_kind_of_change() {
    let mut program = Program::start(&["demo", "--for", "20s", "--format", "json"]);
    let mut fold = Fold::default();
    let mut wanted = BTreeSet::from(["started", "exited", "paused", "unpaused", "updated"]);
    while !wanted.is_empty() {
        let line = program.json().await;
        fold.take(&line);
        wanted.remove(line["event"].as_str().unwrap());
    }
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn a_signal_removes_the_socket() {
    for signal in [Signal::INT, Signal::HUP] {
        let mut program = Program::start(&["demo"]);
        let line = program.error_line().await;
        let socket = line.split_whitespace().find_map(|word| word.strip_prefix("unix://")).unwrap();
        let ps = run(&["ps", "--host", socket]).await;
        assert!(ps.stdout.contains("shop-web-1"), "{ps:?}");
        program.signal(signal);
        assert_eq!(program.ended().await.code, Some(0));
        assert!(!std::path::Path::new(socket).parent().unwrap().exists());
    }
}

#[tokio::test]
async fn a_signal_removes_the_socket_with_a_stalled_standard_error() {
    let temporary = tempfile::tempdir().unwrap();
    let (_reader, stderr) = full_pair();
    let mut demo = command(&["demo"]);
    demo.env("TMPDIR", temporary.path()).stdout(Stdio::null()).stderr(OwnedFd::from(stderr));
    let mut demo = demo.spawn().unwrap();
    let sockets = || -> Vec<PathBuf> {
        let folders = fs::read_dir(temporary.path()).unwrap().map(|folder| folder.unwrap().path());
        folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|file| file.unwrap().path()).collect()
    };
    while sockets().is_empty() {
        sleep(Duration::from_millis(10)).await;
    }
    // Meanwhile the demo has written its first note.
    let ps = run(&["ps", "--host", sockets()[0].to_str().unwrap()]).await;
    assert_eq!((ps.code, ps.stderr.as_str()), (Some(0), ""));
    signal(&demo, Signal::INT);
    assert_eq!(demo.wait().await.unwrap().code(), Some(0));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
}
