//! Life cycles of containers, as a subscriber receives them.

use whalewatcher_core::EventKind;
use whalewatcher_moby::{Builder, Client, PRIVILEGED_LABEL};
use whalewatcher_testkit::docker::{ContainerSpec, Kind, RestartPolicy, Server};

use crate::watched::{in_time, watch, watch_by};

#[tokio::test]
async fn live_containers_are_found_with_all_their_properties() {
    let server = Server::builder().start().unwrap();
    let web = server.run(ContainerSpec::new("shop-web-1").project("shop", "web")).unwrap();
    server.run("alone").unwrap();
    server.pause(&web).unwrap();
    let gone = server.run("gone").unwrap();
    server.exit(&gone, 0).unwrap();
    server.create("never-started").unwrap();
    let watched = watch(&server).live().await;
    assert_eq!(watched.names(), ["alone", "shop-web-1"]);
    let found = watched.container("shop-web-1");
    let truth = server.truth().into_iter().find(|alive| alive.id == web).unwrap();
    assert_eq!((found.pid(), found.paused(), found.project()), (truth.pid, true, "shop"));
    assert_eq!(found.started_at(), truth.started_at.try_into().ok());
    assert!(found.labels().iter().eq(truth.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()))));
}

#[tokio::test]
async fn tcp_endpoints_work() {
    let server = Server::builder().tcp(true).start().unwrap();
    let mut watched = watch_by(Client::new(server.tcp_endpoint().unwrap()).unwrap()).live().await;
    let web = server.run("web").unwrap();
    server.exit(&web, 0).unwrap();
    assert_eq!(watched.reported_all(2).await, ["started web", "exited web 0"]);
    assert_eq!(watched.watching.identity().unwrap().pid, None);
}

#[tokio::test]
async fn pause_and_unpause_are_reported_once_each() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let mut watched = watch(&server).live().await;
    server.pause(&web).unwrap();
    assert_eq!(watched.reported().await, "paused web");
    server.unpause(&web).unwrap();
    assert_eq!(watched.reported().await, "unpaused web");
    server.kill(&web, 9).unwrap();
    assert_eq!(watched.reported().await, "exited web 137");
}

#[tokio::test]
async fn a_finished_exec_leaves_its_container_alive() {
    let server = Server::builder().start().unwrap();
    let web = server.run(ContainerSpec::new("web").health_check(true)).unwrap();
    let mut watched = watch(&server).live().await;
    let inspections = server.stats().requests.inspect;
    server.exec(&web).unwrap();
    server.pause(&web).unwrap();
    assert_eq!(watched.reported().await, "paused web");
    assert_eq!(watched.container("web").pid(), server.truth()[0].pid);
    assert_eq!(server.stats().requests.inspect, inspections, "none of this causes an inspection");
}

#[tokio::test]
async fn a_restart_is_exit_and_start() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let mut watched = watch(&server).live().await;
    let before = watched.container("web");
    server.restart(&web).unwrap();
    let exited = watched.next().await;
    assert!(matches!(exited.kind, EventKind::Exited { .. }), "{exited}");
    assert_eq!(exited.container().unwrap().pid(), before.pid());
    assert_eq!(watched.reported().await, "started web");
    let after = watched.container("web");
    assert_eq!((after.id(), after.pid()), (before.id(), server.truth()[0].pid));
    assert_ne!(after.life(), before.life());
}

#[tokio::test]
async fn a_container_that_waits_for_its_restart_is_not_alive() {
    let server = Server::builder().start().unwrap();
    let web = server.run(ContainerSpec::new("web").restart(RestartPolicy::Always)).unwrap();
    let waiting = server.run(ContainerSpec::new("waiting").restart(RestartPolicy::Always)).unwrap();
    server.exit(&waiting, 1).unwrap();
    let mut watched = watch(&server).live().await;
    assert_eq!(watched.names(), ["web"]);
    server.exit(&web, 1).unwrap();
    assert_eq!(watched.reported().await, "exited web 1");
    server.start(&web).unwrap();
    assert_eq!(watched.reported().await, "started web");
}

#[tokio::test]
async fn a_rename_is_reported_as_an_update() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let mut watched = watch(&server).live().await;
    server.rename(&web, "shop").unwrap();
    assert_eq!(watched.reported().await, "updated shop");
    let labels = [("tier".to_owned(), "1".to_owned())].into();
    let update = whalewatcher_testkit::docker::Update { labels: Some(labels) };
    server.update(&web, update).unwrap();
    assert_eq!(watched.reported().await, "updated shop");
    assert_eq!(watched.container("shop").labels().get("tier"), Some("1"));
}

#[tokio::test]
async fn a_privileged_container_is_labelled_so() {
    let server = Server::builder().start().unwrap();
    server.run(ContainerSpec::new("root").privileged(true)).unwrap();
    server.run("plain").unwrap();
    let watched = watch(&server).live().await;
    assert_eq!(watched.container("root").labels().get(PRIVILEGED_LABEL), Some(""));
    assert!(!watched.container("plain").labels().contains(PRIVILEGED_LABEL));
}

#[tokio::test]
async fn a_rucksack_is_packed_for_listed_and_for_started_containers() {
    #[derive(serde::Deserialize)]
    struct Inspected {
        #[serde(rename = "Config")]
        config: Config,
    }
    #[derive(serde::Deserialize)]
    struct Config {
        #[serde(rename = "Image")]
        image: String,
    }
    packed_of_both(Client::builder().rucksack_json(|inspection| {
        let inspected: Inspected = inspection.decode().ok()?;
        Some(std::sync::Arc::new(inspected.config.image))
    }))
    .await;
}

#[cfg(feature = "bollard")]
#[tokio::test]
async fn a_rucksack_is_packed_from_bollards_type() {
    packed_of_both(Client::builder().rucksack(|inspected| {
        let image = inspected.config.as_ref()?.image.clone()?;
        Some(std::sync::Arc::new(image))
    }))
    .await;
}

/// Checks that the image of a listed container, of one that starts and of one that exits before it is
/// inspected is packed.
async fn packed_of_both(builder: Builder) {
    let server = Server::builder().start().unwrap();
    server.run(ContainerSpec::new("listed").image("nginx:1")).unwrap();
    let client = builder.endpoint(server.endpoint()).build().unwrap();
    let mut watched = watch_by(client).live().await;
    server.run(ContainerSpec::new("started").image("nginx:2")).unwrap();
    assert_eq!(watched.reported().await, "started started");
    for (name, image) in [("listed", "nginx:1"), ("started", "nginx:2")] {
        assert_eq!(watched.container(name).rucksack::<String>().map(String::as_str), Some(image));
    }
    let gate = server.hold(Kind::Inspect);
    let brief = server.run(ContainerSpec::new("brief").image("nginx:3")).unwrap();
    in_time(gate.until_waiting(1)).await;
    server.exit(&brief, 7).unwrap();
    gate.open();
    for expected in ["started", "exited"] {
        let event = watched.next().await;
        let rucksack = event.container().unwrap().rucksack::<String>();
        assert_eq!((event.kind.name(), rucksack.map(String::as_str)), (expected, Some("nginx:3")));
    }
    assert!(watched.names().iter().all(|name| name != "brief"));
}

#[tokio::test]
async fn a_short_life_is_reported_as_started_and_exited() {
    let server = Server::builder().start().unwrap();
    let mut watched = watch(&server).live().await;
    let gate = server.hold(Kind::Inspect);
    let spec = ContainerSpec::new("short").auto_remove(true).project("shop", "short").label("tier", "1");
    let short = server.run(spec).unwrap();
    in_time(gate.until_waiting(1)).await;
    server.exit(&short, 7).unwrap();
    gate.open();
    let started = watched.next().await;
    let container = started.container().unwrap();
    assert_eq!((started.kind.name(), container.name(), container.project()), ("started", "short", "shop"));
    assert_eq!((container.labels().get("tier"), container.labels().get("image")), (Some("1"), None));
    assert_eq!(watched.reported().await, "exited short 7");
    assert!(watched.names().is_empty());
}

#[tokio::test]
async fn names_and_labels_are_not_changed() {
    let server = Server::builder().start().unwrap();
    let huge = "x".repeat(3_000_000);
    let evil = "\u{1b}[2J\n\0\u{202e}\"\\";
    server.run(ContainerSpec::new(evil).label(evil, evil).label("huge", &huge).label("", "")).unwrap();
    let watched = watch(&server).live().await;
    let found = watched.container(evil);
    assert_eq!((found.labels().get(evil), found.labels().get("")), (Some(evil), Some("")));
    assert_eq!(found.labels().get("huge"), Some(huge.as_str()));
}
