//! podman, which differs from Docker in places.

use std::pin::pin;

use futures_util::StreamExt;
use whalewatcher_core::adapter::{EngineClient, EngineConnection, EngineEvent};
use whalewatcher_core::{ErrorKind, Settings};
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{Flavour, Kind, Server, Verdict};

use crate::watched::{in_time, watch};

fn podman(flavour: Flavour) -> Server {
    let server = Server::builder().flavour(flavour).version("4.3.1").api_versions("1.41", "1.24");
    server.new_id_each_time(true).host_name("reef").start().unwrap()
}

#[tokio::test]
async fn podman_is_recognised_unless_its_type_is_set() {
    let server = podman(Flavour::Podman);
    let connection = Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
    assert_eq!(connection.identity().engine_type, "podman.io");
    let client = Client::builder().endpoint(server.endpoint()).engine_type("docker.com").build().unwrap();
    assert_eq!(client.connect(&Settings::default()).await.unwrap().identity().engine_type, "docker.com");
}

#[tokio::test]
async fn podman_keeps_its_identity_though_its_id_changes() {
    let server = podman(Flavour::Podman);
    let client = Client::new(server.endpoint()).unwrap();
    let first = client.connect(&Settings::default()).await.unwrap().identity();
    assert_eq!(first, client.connect(&Settings::default()).await.unwrap().identity());
    assert!(first.id.starts_with("reef:/"), "{first:?}");
}

#[tokio::test]
async fn a_quiet_podman_is_live_before_it_sends_headers() {
    let server = podman(Flavour::Podman);
    server.run("web").unwrap();
    let watched = watch(&server).live().await;
    assert_eq!(watched.names(), ["web"]);
}

#[tokio::test]
async fn events_before_podmans_headers_are_not_lost() {
    let server = podman(Flavour::Podman);
    let gate = server.hold(Kind::Events);
    let old = server.run("old").unwrap();
    let mut watched = watch(&server).live().await;
    server.run("new").unwrap();
    server.exit(&old, 3).unwrap();
    gate.open();
    assert_eq!(watched.reported_all(2).await, ["exited old 3", "started new"]);
}

#[tokio::test]
async fn a_late_error_ends_the_stream() {
    let server = podman(Flavour::Podman);
    let gate = server.hold(Kind::Events);
    server.on(Kind::Events, Verdict::error(500, "no event log"));
    let connection = Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
    let mut events = pin!(connection.events());
    assert_eq!(in_time(events.next()).await.unwrap().unwrap(), EngineEvent::Subscribed);
    gate.open();
    assert_eq!(in_time(events.next()).await.unwrap().unwrap_err().kind(), ErrorKind::Failed);
    assert!(in_time(events.next()).await.is_none());
}

#[tokio::test]
async fn exits_of_old_and_new_podman_are_decoded() {
    for flavour in [Flavour::Podman, Flavour::OldPodman] {
        let server = podman(flavour);
        let (web, db) = (server.run("web").unwrap(), server.run("db").unwrap());
        let mut watched = watch(&server).live().await;
        server.exit(&web, 5).unwrap();
        assert_eq!(watched.reported().await, "exited web 5", "{flavour:?}");
        server.rename(&db, "store").unwrap();
        assert_eq!(watched.reported().await, "updated store", "{flavour:?}");
        server.restart(&db).unwrap();
        let reported = watched.reported_all(2).await;
        assert!(
            reported[0].starts_with("exited store") && reported[1] == "started store",
            "{flavour:?}: {reported:?}"
        );
        server.remove(&db).unwrap();
        let reported = watched.reported().await;
        assert!(reported.starts_with("exited store"), "{flavour:?}: {reported}");
    }
}

#[tokio::test]
async fn a_container_that_is_being_stopped_is_alive() {
    let server = podman(Flavour::Podman);
    let web = server.run("web").unwrap();
    server.set_status(&web, "stopping").unwrap();
    let odd = server.run("odd").unwrap();
    server.set_status(&odd, "initialized").unwrap();
    let mut watched = watch(&server).live().await;
    assert_eq!(watched.names(), ["web"]);
    server.exit(&web, 0).unwrap();
    assert_eq!(watched.reported().await, "exited web 0");
}
