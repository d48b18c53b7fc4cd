//! `watch` and `events` in scripts.

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;
use whalewatcher_testkit::docker::{ContainerSpec, Kind, Server, Verdict};

use crate::program::{Ended, PATH, Program, command, interrupted_on_terminal, on_terminal, run};

/// Starts `watch --format json` with these arguments, and waits until the engine is in sync.
async fn watching(engine: &Server, arguments: &[&str]) -> Program {
    let endpoint = engine.endpoint();
    let mut program =
        Program::start(&[&["watch", "--format", "json", "--host", &endpoint][..], arguments].concat());
    while program.json().await["event"] != "synced" {}
    program
}

#[tokio::test]
async fn only_changes_are_neither_a_table_nor_a_first_list() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let mut json = Program::start(&["events", "--format", "json", "--host", &engine.endpoint()]);
    assert_eq!(json.json().await["event"], "synced");
    let mut text = Program::start(&["watch", "--only-changes", "--host", &engine.endpoint()]);
    let first = loop {
        for (change, event) in
            [(Server::pause as fn(&Server, &str) -> _, "paused"), (Server::unpause, "unpaused")]
        {
            change(&engine, "web").unwrap();
            assert_eq!(json.json().await["event"], event);
        }
        // It prints nothing until something changes after it is in sync.
        if let Ok(line) = timeout(Duration::ZERO, text.line()).await {
            break line;
        }
    };
    assert!(first.contains("paused ") && first.contains(" web "), "{first}");
    engine.exit("web", 3).unwrap();
    assert_eq!(json.json().await["exit_code"], 3);
    while !text.line().await.contains(" ○ exited   web ") {}
}

#[tokio::test]
async fn an_awaited_event_is_printed_and_ends_the_program_with_0() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    for (until, name) in [("web exited", "web"), ("exited", "db")] {
        engine.run("db").unwrap();
        // What is alive already has not started.
        let program = watching(&engine, &["--until", "db started", "--until", until]).await;
        engine.exit(name, 3).unwrap();
        let ended = program.ended().await;
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        let last: Value = serde_json::from_str(ended.stdout.lines().last().unwrap()).unwrap();
        assert_eq!((&last["event"], &last["container"]["name"]), (&"exited".into(), &name.into()));
        let _ = engine.remove("db");
    }
    let wrong = run(&["watch", "--until", "web dies"]).await;
    assert!(wrong.code == Some(2) && wrong.stderr.contains("'dies' is no event"), "{wrong:?}");
}

#[tokio::test]
async fn a_time_limit_ends_watch_with_0() {
    let engine = Server::builder().start().unwrap();
    let ended = run(&["watch", "--for", "2s", "--host", &engine.endpoint()]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let hanging = Server::builder().on_request(|_| Verdict::Hang).start().unwrap();
    let ended = run(&["events", "--for", "10ms", "--host", &hanging.endpoint()]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""));
}

#[tokio::test]
async fn lines_of_docker_are_changes_and_outages_are_notes() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let mut marker = watching(&engine, &[]).await;
    let mut docker = Program::start(&["events", "--format", "docker", "--host", &engine.endpoint()]);
    let mut lives = 0;
    let first = loop {
        // Each has another name, so that they are no crash loop.
        lives += 1;
        let name = format!("db-{lives}");
        engine.run(ContainerSpec::new(&name).image("postgres:17").auto_remove(true)).unwrap();
        assert_eq!(marker.json().await["event"], "started");
        engine.exit(&name, 137).unwrap();
        assert_eq!(marker.json().await["event"], "exited");
        if let Ok(line) = timeout(Duration::ZERO, docker.json()).await {
            break line;
        }
    };
    assert!(first["Actor"]["Attributes"]["name"].as_str().unwrap().starts_with("db-"), "{first}");
    let mut next = first;
    while next["Action"] != "die" {
        next = docker.json().await;
    }
    assert_eq!((&next["status"], &next["from"]), (&"die".into(), &"postgres:17".into()));
    assert_eq!(next["Actor"]["Attributes"]["exitCode"], "137");
    engine.stop_listening().await;
    while !docker
        .error_line()
        .await
        .contains(&format!("waiting for the engine: docker.com at {}", engine.endpoint()))
    {}
}

#[tokio::test]
async fn a_reader_that_is_gone_ends_watch_of_a_quiet_engine() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    let mut shell = tokio::process::Command::new("sh");
    shell.arg("-c").arg(format!("'{PATH}' watch --host {} | head -1", engine.endpoint()));
    let ended = Ended::of(shell.env("DOCKER_CONFIG", "/no/such")).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with("NAME "), "{ended:?}");

    let hanging = Server::builder().on_request(|_| Verdict::Hang).start().unwrap();
    let program = Program::start(&["events", "--host", &hanging.endpoint()]);
    assert_eq!(program.ended_without_reader().await.code, Some(0));
}

#[tokio::test]
async fn the_prompt_after_an_interrupt_is_on_a_line_of_its_own() {
    let engine = Server::builder().start().unwrap();
    let watch = || command(&["watch", "--host", &engine.endpoint()]);
    let sent = interrupted_on_terminal(80, &mut watch(), Some("no container is alive\r\n")).await;
    assert_eq!(sent, "no container is alive\n\n");
    let sent = on_terminal(80, watch().args(["--until", "synced"])).await;
    assert_eq!(sent, "no container is alive\n");
}

#[tokio::test]
async fn a_container_that_stays_unresolved_is_named_once() {
    let engine = Server::builder()
        .on_request(|request| match (request.kind(), request.path().contains("/containers/")) {
            (Kind::Inspect, true) => Verdict::error(500, "no luck"),
            _ => Verdict::Pass,
        })
        .start()
        .unwrap();
    engine.run("web").unwrap();
    let retries = engine.arrival(|request| request.kind() == Kind::Inspect);
    let program = Program::start(&["events", "--until", "db started", "--host", &engine.endpoint()]);
    retries.await;
    for _ in 0..3 {
        engine.arrival(|request| request.kind() == Kind::Inspect).await;
    }
    program.signal(rustix::process::Signal::TERM);
    let ended = program.ended().await;
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("container 'web'/") && ended.stderr.contains("no luck"), "{ended:?}");
}
