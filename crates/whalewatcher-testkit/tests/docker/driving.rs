//! Each call's effect on a container, and its events in order.

use jiff::{SignedDuration, Timestamp};
use whalewatcher_testkit::docker::{ContainerSpec, Error, RestartPolicy, Server, Update};

use crate::client::{Events, get, inspect, names};

async fn watched() -> (Server, Events) {
    let server = Server::builder().start().unwrap();
    let events = Events::registered(&server, "").await;
    (server, events)
}

#[tokio::test]
async fn a_life_is_reported_from_create_to_destroy() {
    let (server, mut events) = watched().await;
    let web = server.create("web").unwrap();
    server.start(&web).unwrap();
    server.pause(&web).unwrap();
    server.unpause(&web).unwrap();
    server.rename(&web, "shop").unwrap();
    server.exit(&web, 7).unwrap();
    server.remove(&web).unwrap();
    assert_eq!(
        events.reported(7).await,
        ["create web", "start web", "pause web", "unpause web", "rename shop", "die shop", "destroy shop"]
    );
    assert!(matches!(server.start(&web), Err(Error::NoSuchContainer(_))));
    assert_eq!(get(&server, &format!("/containers/{web}/json")).await.status, 404);
}

#[tokio::test]
async fn an_event_has_dockers_fields() {
    let (server, mut events) = watched().await;
    let web = server.run(ContainerSpec::new("web").image("nginx").label("k", "v")).unwrap();
    server.rename(&web, "new").unwrap();
    server.exit(&web, 7).unwrap();
    let mut last = 0;
    for (action, more, value) in
        [("create", "", ""), ("start", "", ""), ("rename", "oldName", "/web"), ("die", "exitCode", "7")]
    {
        let event = events.next().await.unwrap();
        assert_eq!(event["Type"], "container");
        assert_eq!(event["Action"], action);
        assert_eq!(event["status"], action);
        assert_eq!(event["id"], *web);
        assert_eq!(event["from"], "nginx");
        assert_eq!(event["scope"], "local");
        assert_eq!(event["Actor"]["ID"], *web);
        assert_eq!(event["Actor"]["Attributes"]["k"], "v");
        assert_eq!(event["Actor"]["Attributes"]["image"], "nginx");
        if !more.is_empty() {
            assert_eq!(event["Actor"]["Attributes"][more], value);
        }
        let nanoseconds = event["timeNano"].as_i64().unwrap();
        assert_eq!(event["time"].as_i64().unwrap(), nanoseconds / 1_000_000_000);
        assert!(nanoseconds > last);
        last = nanoseconds;
    }
}

#[tokio::test]
async fn from_api_1_52_on_events_lack_their_oldest_fields() {
    let server = Server::builder().api_versions("1.52", "1.44").start().unwrap();
    let mut events = Events::registered(&server, "").await;
    server.create("web").unwrap();
    let event = events.next().await.unwrap();
    assert_eq!(event["Action"], "create");
    assert!(event.get("status").is_none() && event.get("id").is_none() && event.get("from").is_none());
}

#[tokio::test]
async fn a_restart_keeps_the_id_and_begins_a_new_life() {
    let (server, mut events) = watched().await;
    let web = server.run("web").unwrap();
    let before = server.truth().remove(0);
    server.restart(&web).unwrap();
    let after = server.truth().remove(0);
    assert_eq!(after.id, before.id);
    assert!(after.pid != before.pid && after.started_at > before.started_at);
    assert_eq!(
        events.reported(7).await,
        ["create web", "start web", "kill web", "stop web", "die web", "start web", "restart web"]
    );
}

#[tokio::test]
async fn a_deadly_signal_ends_a_container_and_another_does_not() {
    let (server, mut events) = watched().await;
    server.run("web").unwrap();
    server.kill("web", 10).unwrap();
    assert_eq!(server.truth().len(), 1);
    server.kill("web", 9).unwrap();
    assert!(server.truth().is_empty());
    assert_eq!(events.reported(5).await, ["create web", "start web", "kill web", "kill web", "die web"]);
    assert_eq!(inspect(&server, "web").await["State"]["ExitCode"], 137);
}

#[tokio::test]
async fn a_finished_exec_leaves_its_container_alive() {
    let (server, mut events) = watched().await;
    server.run("web").unwrap();
    server.exec("web").unwrap();
    server.health("web", "healthy").unwrap();
    let reported = events.reported(6).await;
    assert_eq!(
        reported[2..],
        [
            "exec_create: /bin/sh -c true web",
            "exec_start: /bin/sh -c true web",
            "exec_die web",
            "health_status: healthy web"
        ]
    );
    assert_eq!(server.truth().len(), 1);
    assert_eq!(inspect(&server, "web").await["State"]["Health"]["Status"], "healthy");
}

#[tokio::test]
async fn a_container_with_auto_remove_is_gone_with_its_exit() {
    let (server, mut events) = watched().await;
    server.run(ContainerSpec::new("web").auto_remove(true)).unwrap();
    server.exit("web", 0).unwrap();
    assert_eq!(events.reported(4).await, ["create web", "start web", "die web", "destroy web"]);
    assert_eq!(get(&server, "/containers/web/json").await.status, 404);
    server.create("web").unwrap();
}

#[tokio::test]
async fn removal_by_force_kills_first() {
    let (server, mut events) = watched().await;
    server.run("web").unwrap();
    server.remove("web").unwrap();
    assert_eq!(events.reported(5).await[2..], ["kill web", "die web", "destroy web"]);
}

#[tokio::test]
async fn a_restarting_container_counts_as_running_without_a_process() {
    let (server, _) = watched().await;
    let spec = ContainerSpec::new("loop").restart(RestartPolicy::OnFailure);
    server.run(spec).unwrap();
    server.exit("loop", 1).unwrap();
    assert!(server.truth().is_empty());
    let state = inspect(&server, "loop").await["State"].clone();
    assert_eq!(state["Status"], "restarting");
    assert_eq!(state["Running"], true);
    assert_eq!(state["Pid"], 0);
    assert_eq!(names(&server, "").await, ["loop"]);
    server.start("loop").unwrap();
    assert_eq!(inspect(&server, "loop").await["RestartCount"], 1);
    // An exit with code 0 ends it for good.
    server.exit("loop", 0).unwrap();
    assert_eq!(inspect(&server, "loop").await["State"]["Status"], "exited");
}

#[tokio::test]
async fn an_update_is_reported_and_seen() {
    let (server, mut events) = watched().await;
    server.run(ContainerSpec::new("web").label("old", "")).unwrap();
    let labels = [("new".to_string(), String::new())].into();
    let update = Update { memory: Some(1 << 20), labels: Some(labels), ..Update::default() };
    server.update("web", update).unwrap();
    assert_eq!(events.reported(3).await[2], "update web");
    let web = inspect(&server, "web").await;
    assert_eq!(web["HostConfig"]["Memory"], 1 << 20);
    assert_eq!(web["Config"]["Labels"], serde_json::json!({ "new": "" }));
}

#[tokio::test]
async fn a_status_can_be_forced_until_the_next_change() {
    let (server, _) = watched().await;
    server.run("web").unwrap();
    server.set_status("web", "stopping").unwrap();
    assert_eq!(inspect(&server, "web").await["State"]["Status"], "stopping");
    assert_eq!(inspect(&server, "web").await["State"]["Running"], false);
    server.exit("web", 0).unwrap();
    assert_eq!(inspect(&server, "web").await["State"]["Status"], "exited");
}

#[tokio::test]
async fn an_impossible_call_is_an_error_with_a_reason() {
    let (server, _) = watched().await;
    server.run("web").unwrap();
    let id = server.create("other").unwrap();
    assert!(matches!(server.start("web"), Err(Error::AlreadyRunning(_))));
    assert!(matches!(server.exit("other", 0), Err(Error::NotRunning(_))));
    assert!(matches!(server.unpause("web"), Err(Error::NotPaused(_))));
    server.pause("web").unwrap();
    assert!(matches!(server.pause("web"), Err(Error::Paused(_))));
    assert!(matches!(server.exec("web"), Err(Error::Paused(_))));
    let taken = server.rename("web", "other").unwrap_err();
    assert_eq!(taken.to_string(), format!("the name other is in use by container {id}"));
    assert!(matches!(server.create("web"), Err(Error::NameInUse { .. })));
    assert_eq!(server.stop("none").unwrap_err().to_string(), "no such container: none");
}

#[tokio::test]
async fn times_increase_strictly_unless_the_clock_is_set_back() {
    let start: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let clock = whalewatcher_testkit::docker::Clock::stepped(start);
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    let started_at = |name: &str| {
        server.run(name).unwrap();
        server.truth().into_iter().find(|alive| alive.name == name).unwrap().started_at
    };
    let (one, two) = (started_at("one"), started_at("two"));
    assert!(one > start && one < two);
    clock.set(start - SignedDuration::from_mins(1));
    assert!(started_at("three") < start);
}

#[tokio::test]
async fn a_seed_makes_the_same_engine_again() {
    let [one, other] = [7, 7].map(|seed| Server::builder().seed(seed).start().unwrap());
    assert_eq!(one.id(), other.id());
    assert_eq!(one.create("web").unwrap(), other.create("web").unwrap());
}
