//! Pods, by the labels that containers of any engine may have.

use serde_json::json;
use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::program::{Program, command, on_terminal, run};

fn member(name: &str, pod: &str) -> ContainerSpec {
    ContainerSpec::new(name)
        .label("io.kubernetes.pod.namespace", "default")
        .label("io.kubernetes.pod.name", pod)
        .label("io.kubernetes.pod.uid", "4e11")
}

fn node() -> Server {
    let engine = Server::builder().start().unwrap();
    let now = engine.clock().now();
    engine.clock().set(now - jiff::SignedDuration::from_mins(5));
    engine.run(member("app", "web-0")).unwrap();
    engine.run(member("pause", "web-0").label("io.kubernetes.sandbox", "")).unwrap();
    engine.run("lone").unwrap();
    engine.clock().set(now);
    engine
}

#[tokio::test]
async fn pods_are_a_column_if_there_are_any() {
    let engine = node();
    let id =
        |name: &str| engine.truth().into_iter().find(|alive| alive.name == name).unwrap().id[..12].to_owned();
    let ended = run(&["ps", "--host", &engine.endpoint()]).await;
    let expected = format!(
        "\
NAME     POD            ID            IMAGE            PID  STATE      AGE
no project
  pause  default/web-0  {}  busybox:latest  4001  ● running   5m
  app    default/web-0  {}  busybox:latest  4000  ● running   5m
  lone                  {}  busybox:latest  4002  ● running   5m
",
        id("pause"),
        id("app"),
        id("lone")
    );
    assert_eq!((ended.code, ended.stdout), (Some(0), expected));
    let mut program = Program::start(&["watch", "--host", &engine.endpoint()]);
    while !program.line().await.contains("lone") {}
    engine.exit("app", 3).unwrap();
    assert_eq!(program.line().await, "");
    let exited = program.line().await;
    assert!(exited.contains("○ exited   app                  default/web-0 4000 "), "{exited}");
    engine.exit("pause", 0).unwrap();
    let without = run(&["ps", "--host", &engine.endpoint()]).await;
    assert!(!without.stdout.contains("POD"), "{}", without.stdout);
}

#[tokio::test]
async fn json_contains_the_pod() {
    let engine = node();
    let app = json!({"namespace": "default", "name": "web-0", "uid": "4e11", "sandbox": false});
    let sandbox = json!({"namespace": "default", "name": "web-0", "uid": "4e11", "sandbox": true});
    let ended = run(&["ps", "--format", "json", "--host", &engine.endpoint()]).await;
    let all: Vec<serde_json::Value> = serde_json::from_str(&ended.stdout).unwrap();
    let pod = |name: &str| all.iter().find(|one| one["name"] == name).unwrap().get("pod");
    assert_eq!((pod("app"), pod("pause"), pod("lone")), (Some(&app), Some(&sandbox), None));

    let (mut program, _) = Program::watching(&engine).await;
    engine.exit("app", 3).unwrap();
    assert_eq!(program.json().await["container"]["pod"], app);
    engine.exit("lone", 3).unwrap();
    assert_eq!(program.json().await["container"].get("pod"), None);
}

#[tokio::test]
async fn tables_with_pods_fit_a_terminal() {
    let engine = node();
    engine.run(member("a-container-with-a-long-name", "a-pod-with-a-name-that-is-longer-than-most")).unwrap();
    for columns in [40, 50, 80, 120] {
        let text =
            on_terminal(columns, command(&["ps", "--host", &engine.endpoint()]).env("NO_COLOR", "1")).await;
        assert!(text.lines().all(|line| line.chars().count() <= usize::from(columns)), "{columns}: {text}");
        assert_eq!(
            (text.contains("POD"), text.contains('…')),
            (columns > 40, columns < 120),
            "{columns}: {text}"
        );
    }
}
