//! Lives that end before they can be inspected.

use std::collections::HashMap;

use whalewatcher_core::{Event, EventKind};
use whalewatcher_testkit::containerd::{ContainerSpec, Gate, Method, Server, Verdict};

use crate::watched::{in_time, watch};

fn id_and_pid(event: &Event) -> (String, u32) {
    let container = event.container().unwrap();
    (container.id().to_string(), container.pid())
}

#[tokio::test]
async fn a_life_too_short_to_inspect_is_reported_with_name_and_pid() {
    let server = Server::builder().first_pid(77).start().unwrap();
    let mut watched = watch(&server).live().await;
    let gate = Gate::closed();
    let held = gate.clone();
    server.on_call(move |call| match call.method() {
        Method::TasksGet | Method::ContainersGet => Verdict::Hold(held.clone()),
        _ => Verdict::Pass,
    });
    server.run(ContainerSpec::new("shop/1").nerdctl_name("brief").project("p", "s")).unwrap();
    server.exit("shop/1", 3).unwrap();
    in_time(gate.until_waiting(2)).await;
    gate.open();
    let (started, exited) = (watched.next().await, watched.next().await);
    assert_eq!((started.kind.name(), exited.kind.name()), ("started", "exited"));
    let container = exited.container().unwrap();
    assert_eq!(container.to_string(), "container 'shop/brief'/shop/1 from project 'p' with PID 77");
    assert!(matches!(exited.kind, EventKind::Exited { code: Some(3), .. }));
    assert!(started.time <= exited.time);
    assert_eq!(watched.watching.portfolio().total(), 0);
}

#[tokio::test]
async fn a_life_whose_container_is_gone_is_reported_by_id_and_pid() {
    let server = Server::builder().first_pid(77).start().unwrap();
    let mut watched = watch(&server).live().await;
    let gate = Gate::closed();
    let held = gate.clone();
    server.on_call(move |call| match call.method() {
        Method::TasksGet | Method::ContainersGet => Verdict::Hold(held.clone()),
        _ => Verdict::Pass,
    });
    server.run(ContainerSpec::new("shop/1").nerdctl_name("brief")).unwrap();
    server.remove("shop/1").unwrap();
    in_time(gate.until_waiting(2)).await;
    gate.open();
    assert_eq!(watched.reported_all(2).await, ["started shop/1", "exited shop/1 137"]);
}

#[tokio::test]
async fn a_hundred_short_lives_at_once_leave_a_trace_each() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch(&server).live().await;
    for nth in 0..100 {
        server.run(format!("n{}/c{nth}", nth % 3)).unwrap();
        server.exit(&format!("n{}/c{nth}", nth % 3), 0).unwrap();
    }
    let mut lives = HashMap::new();
    for _ in 0..200 {
        let event = watched.next().await;
        let count = lives.entry(id_and_pid(&event)).or_insert(0);
        let expected = if *count == 0 { "started" } else { "exited" };
        assert_eq!(event.kind.name(), expected, "{event}");
        *count += 1;
    }
    assert_eq!(lives.len(), 100);
    assert_eq!(watched.watching.portfolio().total(), 0);
    let inspections = watched.watching.status().counters.inspections;
    assert!(inspections <= 100, "{inspections}");
}
