//! The command `wait`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::process::Signal;
use whalewatcher_testkit::docker::{ContainerSpec, Kind, Server, Verdict};

use crate::program::{Ended, Program, run};

/// Starts `wait` with these arguments, and waits until it has printed this note.
async fn waiting(engine: &Server, arguments: &[&str], note: &str) -> Program {
    let mut program = Program::start(&[&["wait", "--host", &engine.endpoint()][..], arguments].concat());
    while !program.error_line().await.contains(note) {}
    program
}

async fn waited(engine: &Server, arguments: &[&str]) -> Ended {
    run(&[&["wait", "--host", &engine.endpoint()][..], arguments].concat()).await
}

fn outcome(ended: &Ended) -> (Option<i32>, &str, &str) {
    (ended.code, &ended.stdout, &ended.stderr)
}

#[tokio::test]
async fn what_is_so_already_is_seen_at_once() {
    let engine = Server::builder().start().unwrap();
    engine.run(ContainerSpec::new("web").health_check(true)).unwrap();
    engine.health("web", "healthy").unwrap();
    assert_eq!(outcome(&waited(&engine, &["web", "--for", "started"]).await), (Some(0), "web started\n", ""));
    assert_eq!(outcome(&waited(&engine, &["w*", "--for", "healthy"]).await), (Some(0), "web healthy\n", ""));
    assert_eq!(outcome(&waited(&engine, &["db", "--for", "gone"]).await), (Some(0), "db gone\n", ""));
    let one = waited(&engine, &["db", "web", "--for", "started", "--any", "-q"]).await;
    assert_eq!(outcome(&one), (Some(0), "", ""));
}

#[tokio::test]
async fn an_exit_after_the_start_is_seen_and_lends_its_code() {
    let engine = Server::builder().start().unwrap();
    let unseen = "no live container 'job' is known; waiting for it to start";
    for (arguments, status) in [(&["job"][..], 0), (&["job", "--exit-code"], 3)] {
        let program = waiting(&engine, arguments, unseen).await;
        engine.run(ContainerSpec::new("job").auto_remove(true)).unwrap();
        engine.exit("job", 3).unwrap();
        assert_eq!(outcome(&program.ended().await), (Some(status), "job exited 3\n", ""));
    }
    let wrong = waited(&engine, &["job", "--for", "gone", "--exit-code"]).await;
    assert!(wrong.code == Some(2) && wrong.stderr.contains("--exit-code needs"), "{wrong:?}");
}

#[tokio::test]
async fn all_of_several_exit_in_any_order_and_the_first_failure_counts() {
    let engine = Server::builder().start().unwrap();
    let note = "no live container 'end' is known";
    let names = ["a", "b-1", "b-2"];
    names.iter().for_each(|name| drop(engine.run(*name).unwrap()));
    let mut program = waiting(&engine, &["a", "b-*", "end", "--exit-code"], note).await;
    for (name, code) in [("b-2", 0), ("a", 5), ("b-1", 6)] {
        engine.exit(name, code).unwrap();
        assert_eq!(program.line().await, format!("{name} exited {code}"));
    }
    engine.run("end").unwrap();
    engine.exit("end", 0).unwrap();
    assert_eq!(outcome(&program.ended().await), (Some(5), "end exited 0\n", ""));
}

#[tokio::test]
async fn a_time_limit_is_status_124_with_what_has_not_happened() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    for (state, reason) in [
        ("exited", "whalewatcher: 'web' has not exited after 1s\n"),
        ("gone", "whalewatcher: 'web' is alive after 1s\n"),
        (
            "healthy",
            "whalewatcher: 'web' has no healthcheck, so it cannot become healthy\nwhalewatcher: 'web' is not healthy after 1s\n",
        ),
    ] {
        let ended = waited(&engine, &["web", "--for", state, "--timeout", "1s"]).await;
        assert_eq!(outcome(&ended), (Some(124), "", reason));
    }
}

#[tokio::test]
async fn what_an_unreachable_engine_runs_is_not_gone() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    engine.stop_listening().await;
    let program = waiting(&engine, &["db", "--for", "gone"], "waiting for the engine: ").await;
    engine.listen_again().unwrap();
    let ended = program.ended().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "db gone\n"));

    // With another engine that knows nothing of it.
    let other = Server::builder().start().unwrap();
    engine.stop_listening().await;
    let arguments = ["web", "--for", "gone", "--host", &other.endpoint()];
    let program = waiting(&engine, &arguments, "waiting for the engine: ").await;
    engine.exit("web", 0).unwrap();
    engine.listen_again().unwrap();
    let ended = program.ended().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "web gone\n"));
}

#[tokio::test]
async fn what_cannot_be_inspected_is_not_gone() {
    let failing = Arc::new(AtomicBool::new(true));
    let fails = failing.clone();
    let engine = Server::builder()
        .on_request(move |request| match request.kind() {
            Kind::Inspect if fails.load(Relaxed) => Verdict::error(500, "no luck"),
            _ => Verdict::Pass,
        })
        .start()
        .unwrap();
    engine.run("web").unwrap();
    let mut program = waiting(&engine, &["web", "--for", "gone"], "container 'web'").await;
    let other = waited(&engine, &["db", "--for", "gone", "-q"]).await;
    assert_eq!((other.code, other.stdout.as_str()), (Some(0), ""));
    engine.exit("web", 0).unwrap();
    // The next inspection shows that it is over.
    failing.store(false, Relaxed);
    assert_eq!(program.line().await, "web gone");
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn an_interrupted_wait_is_no_success() {
    let engine = Server::builder().start().unwrap();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let program = waiting(&engine, &["web"], "no live container 'web'").await;
        program.signal(signal);
        assert_eq!(outcome(&program.ended().await), (Some(status), "", ""));
    }
}

#[tokio::test]
async fn a_closed_output_is_no_success_before_it_happens() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let mut program = waiting(&engine, &["web", "db", "--exit-code"], "no live container 'db'").await;
    engine.exit("web", 0).unwrap();
    assert_eq!(program.line().await, "web exited 0");
    engine.run("db").unwrap();
    engine.exit("db", 3).unwrap();
    assert_eq!(program.ended_without_reader().await.code, Some(3));
}

#[tokio::test]
async fn an_engine_that_cannot_be_watched_is_an_error() {
    let engine = Server::builder().version("1.9").api_versions("1.21", "1.12").start().unwrap();
    let ended = waited(&engine, &["web", "--for", "gone"]).await;
    assert!(ended.error().contains("too old"), "{ended:?}");
}
