//! Crash loops in the output of `watch`.

use serde_json::json;
use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::program::{Fold, Program};

#[tokio::test]
async fn a_crash_loop_is_reported_once_and_changes_no_portfolio() {
    let engine = Server::builder().start().unwrap();
    let web = engine.run(ContainerSpec::new("web").project("shop", "web")).unwrap();
    engine.run("lone").unwrap();
    let (mut program, reported) = Program::watching(&engine).await;
    let mut others = Program::start(&["watch", "--host", &engine.endpoint(), "lone"]);
    while !others.line().await.contains("lone") {}
    let mut text = Program::start(&["watch", "--host", &engine.endpoint()]);
    while !text.line().await.contains("web") {}
    let mut fold = Fold::default();
    reported.iter().for_each(|line| fold.take(line));
    let (mut loops, mut rows) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        engine.exit(&web, 3).unwrap();
        engine.start(&web).unwrap();
        while {
            let line = program.json().await;
            if line["event"] == "crash_loop" {
                loops.push(line.clone());
            } else {
                fold.take(&line);
            }
            line["event"] != "started"
        } {}
        // A life that was not seen to begin may end without its exit code.
        while {
            let line = text.line().await;
            if line.contains("crash_loop") {
                rows.push(line.clone());
            }
            !line.contains("● started")
        } {}
    }
    assert_eq!(fold, Fold::truth(&engine));
    assert_eq!(loops.len(), 1, "{loops:?}");
    let crash_loop = &loops[0]["crash_loop"];
    assert_eq!((&crash_loop["id"], &loops[0]["engine"]["id"]), (&json!(web), &json!(engine.id())));
    let fields = ["name", "project", "lives", "exit_code", "over"].map(|field| crash_loop[field].clone());
    assert_eq!(fields, [json!("web"), json!("shop"), json!(5), json!(3), json!(false)]);

    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert!(row.contains("↻ crash_loop web: 5 lives since ") && row.ends_with(", exit 3"), "{row}");
    // The user decides what a crash loop is.
    let mut sooner = Program::start(&["watch", "--host", &engine.endpoint(), "--crash-loop", "2/1h"]);
    while !sooner.line().await.contains("web") {}
    for _ in 0..2 {
        engine.exit(&web, 3).unwrap();
        engine.start(&web).unwrap();
    }
    while !sooner.line().await.contains("↻ crash_loop web: 2 lives since ") {}

    // A filter applies to crash loops as well.
    engine.pause("lone").unwrap();
    let line = loop {
        let line = others.line().await;
        assert!(!line.contains("crash_loop"), "{line}");
        if line.contains("paused") {
            break line;
        }
    };
    assert!(line.contains("lone"));
}
