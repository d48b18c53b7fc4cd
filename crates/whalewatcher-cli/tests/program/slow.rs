//! A reader that does not read hurts nobody but itself.

use rustix::process::Signal;
use whalewatcher_testkit::docker::Server;

use crate::program::{Fold, Program};

/// More than fit into the pipe, the subscription and what is written at once.
const CHANGES: usize = 5_000;

#[tokio::test]
async fn who_reads_too_slowly_is_told_so_and_then_what_changed() {
    let engine = Server::builder().start().unwrap();
    let web = engine.run("web").unwrap();
    let (mut slow, told) = Program::watching(&engine).await;
    let (mut fast, _) = Program::watching(&engine).await;
    let mut fold = Fold::default();
    told.iter().for_each(|line| fold.take(line));
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
async fn who_does_not_read_at_all_can_still_end_it() {
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
