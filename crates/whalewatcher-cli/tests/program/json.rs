//! The output contract for programs.

use serde_json::{Value, json};
use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::program::{Fold, Program, run, without_details};

const EVIL: &str = "a\u{1b}[2J\n\"\\\u{9b}31m\u{2028}\u{202e}b鯨🐳";

/// Returns the next line, which must be of this event.
async fn next(program: &mut Program, fold: &mut Fold, event: &str) -> Value {
    let line = program.json().await;
    assert_eq!(line["event"], event, "{line}");
    fold.take(&line);
    line
}

#[tokio::test]
async fn the_lines_add_up_to_the_engines_containers() {
    let engine = Server::builder().start().unwrap();
    let web = engine.run(ContainerSpec::new("shop-web-1").project("shop", "web")).unwrap();
    let lone = engine.run("lone").unwrap();
    let (mut program, reported) = Program::watching(&engine).await;
    let mut fold = Fold::default();
    reported.iter().for_each(|line| fold.take(line));
    let synced = reported.last().unwrap();
    assert_eq!((&synced["containers"], &synced["unresolved"]), (&json!(2), &json!(0)));
    assert_eq!(fold, Fold::truth(&engine));

    engine.pause(&web).unwrap();
    let paused = next(&mut program, &mut fold, "paused").await;
    assert_eq!(
        (&paused["container"]["paused"], &paused["container"]["project"]),
        (&json!(true), &json!("shop"))
    );
    engine.unpause(&web).unwrap();
    next(&mut program, &mut fold, "unpaused").await;
    engine.rename(&web, "shop-front-1").unwrap();
    let updated = next(&mut program, &mut fold, "updated").await;
    assert_eq!(
        (&updated["container"]["name"], &updated["was"]),
        (&json!("shop-front-1"), &json!({"name": "shop-web-1"}))
    );
    engine.restart(&web).unwrap();
    assert_eq!(next(&mut program, &mut fold, "exited").await["exit_code"], 143);
    next(&mut program, &mut fold, "started").await;
    let job = engine.run("job").unwrap();
    next(&mut program, &mut fold, "started").await;
    engine.exit(&job, 7).unwrap();
    let exited = next(&mut program, &mut fold, "exited").await;
    assert_eq!((&exited["exit_code"], &exited["container"]["name"]), (&json!(7), &json!("job")));
    assert_eq!(fold, Fold::truth(&engine));

    engine.stop_listening().await;
    let disconnected = next(&mut program, &mut fold, "disconnected").await;
    assert!(disconnected["error"].as_str().is_some_and(|error| !error.is_empty()), "{disconnected}");
    engine.exit(&lone, 0).unwrap();
    engine.set_version("99.1", "1.51", "1.24");
    engine.listen_again().unwrap();
    let exited = next(&mut program, &mut fold, "exited").await;
    assert_eq!(exited["container"]["id"], lone);
    let synced = next(&mut program, &mut fold, "synced").await;
    assert_eq!((&synced["containers"], &synced["engine"]["version"]), (&json!(1), &json!("99.1")));
    assert_eq!(fold, Fold::truth(&engine));
}

#[tokio::test]
async fn fields_are_those_of_the_contract_in_its_order() {
    let engine = Server::builder().start().unwrap();
    let web = engine.run(ContainerSpec::new("web").project("shop", "web")).unwrap();
    let mut program = Program::start(&["watch", "--format", "json", "--host", &engine.endpoint()]);
    let in_order = |line: &str, keys: &[&str]| {
        let places: Vec<_> = keys.iter().map(|key| line.find(&format!("\"{key}\":")).expect(key)).collect();
        assert!(places.is_sorted(), "{keys:?} are not in that order in {line}");
        let object: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            object["engine"],
            json!({"type": "docker.com", "id": engine.id(), "version": "28.5.2", "api": engine.endpoint()})
        );
        object.as_object().unwrap().len()
    };
    let started = program.line().await;
    let container = ["event", "time", "engine", "type", "id", "version", "api", "container"];
    assert_eq!(in_order(&started, &container), 4);
    let (_, after) = started.split_once("\"container\":").unwrap();
    let places: Vec<_> = ["id", "name", "pid", "project", "paused", "started_at", "labels"]
        .map(|key| after.find(&format!("\"{key}\":")).unwrap())
        .to_vec();
    assert!(places.is_sorted());
    assert_eq!(in_order(&program.line().await, &["event", "time", "engine", "containers", "unresolved"]), 5);
    engine.exit(&web, 1).unwrap();
    assert_eq!(in_order(&program.line().await, &["event", "time", "engine", "container", "exit_code"]), 5);
}

#[tokio::test]
async fn before_the_first_connection_id_and_version_are_empty() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    let endpoint = format!("unix://{}", socket.display());
    let mut program = Program::start(&["watch", "--format", "json", "--host", &endpoint]);
    let first = program.json().await;
    assert_eq!(first["event"], "disconnected");
    assert_eq!(first["engine"], json!({"type": "docker.com", "id": "", "version": "", "api": endpoint}));
    let engine = Server::builder().socket(&socket).start().unwrap();
    let synced = program.json().await;
    assert_eq!((&synced["event"], &synced["engine"]["id"]), (&json!("synced"), &json!(engine.id())));
}

#[tokio::test]
async fn any_name_or_label_stays_on_one_line() {
    let engine = Server::builder().start().unwrap();
    engine.run(ContainerSpec::new(EVIL).label(EVIL, EVIL)).unwrap();
    let mut program = Program::start(&["watch", "--format", "json", "--host", &engine.endpoint()]);
    let line = program.line().await;
    assert!(!line.contains(|c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')), "{line}");
    let container = &serde_json::from_str::<Value>(&line).unwrap()["container"];
    assert_eq!((container["name"].as_str(), container["labels"][EVIL].as_str()), (Some(EVIL), Some(EVIL)));
    let ps = run(&["ps", "--format", "json", "--host", &engine.endpoint()]).await;
    assert_eq!(ps.stdout.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Value>(&ps.stdout).unwrap()[0]["name"], EVIL);
}

#[tokio::test]
async fn ps_prints_an_array_of_containers_with_engines() {
    let engine = Server::builder().start().unwrap();
    let web = engine.run(ContainerSpec::new("web").project("shop", "web")).unwrap();
    engine.run("lone").unwrap();
    engine.pause(&web).unwrap();
    let ended = run(&["ps", "--format", "json", "--project", "shop", "--host", &engine.endpoint()]).await;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let mut expected = Fold::truth(&engine).0.remove(&web).unwrap();
    expected["engine"] =
        json!({"type": "docker.com", "id": engine.id(), "version": "28.5.2", "api": engine.endpoint()});
    let mut all: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all.pop().map(without_details), Some(expected));
    let none = run(&["ps", "--format", "json", "--project", "x", "--host", &engine.endpoint()]).await;
    assert_eq!((none.code, none.stdout.as_str()), (Some(0), "[]\n"));
}

#[tokio::test]
async fn a_project_filters_containers_but_not_other_events() {
    let engine = Server::builder().start().unwrap();
    engine.run("lone").unwrap();
    let web = engine.run(ContainerSpec::new("web").project("shop", "web")).unwrap();
    let mut program =
        Program::start(&["watch", "--format", "json", "--project", "shop", "--host", &engine.endpoint()]);
    assert_eq!(program.json().await["container"]["name"], "web");
    assert_eq!(program.json().await["event"], "synced");
    engine.run("another").unwrap();
    engine.pause(&web).unwrap();
    assert_eq!(program.json().await["event"], "paused");
    engine.disconnect_all();
    assert_eq!(program.json().await["event"], "disconnected");
    assert_eq!(program.json().await["event"], "synced");
}

#[tokio::test]
async fn two_hosts_are_watched_at_once() {
    let (one, two) = (Server::builder().start().unwrap(), Server::builder().start().unwrap());
    one.run("first").unwrap();
    two.run("second").unwrap();
    let hosts = ["--format", "json", "--host", &one.endpoint(), "--host", &two.endpoint()];
    let mut program = Program::start(&[&["watch"], &hosts[..]].concat());
    let mut reported = Vec::new();
    while reported.len() < 4 {
        let line = program.json().await;
        reported.push((
            line["engine"]["id"].clone(),
            line["event"].clone(),
            line["container"]["name"].clone(),
        ));
    }
    for (engine, name) in [(&one, "first"), (&two, "second")] {
        assert!(reported.contains(&(json!(engine.id()), json!("started"), json!(name))), "{reported:?}");
        assert!(reported.contains(&(json!(engine.id()), json!("synced"), Value::Null)), "{reported:?}");
    }
    two.stop_listening().await;
    assert_eq!(program.json().await["engine"]["id"], two.id());
    one.run("third").unwrap();
    // The missing socket may follow as a second `disconnected`.
    let mut reported = program.json().await;
    while reported["event"] == "disconnected" {
        reported = program.json().await;
    }
    assert_eq!(reported["container"]["name"], "third");
    two.listen_again().unwrap();
    let ended = run(&[&["ps"], &hosts[..]].concat()).await;
    let all: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        all.as_array().unwrap().iter().map(|one| &one["name"]).collect::<Vec<_>>(),
        ["first", "third", "second"]
    );
}
