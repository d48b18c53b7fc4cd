//! Lives by podman's events.

use std::collections::BTreeMap;
use std::time::Duration;

use whalewatcher_podman::{Client, EventKind, Health};
use whalewatcher_testkit::docker::{ContainerSpec, Fate, Flavour, Kind};

use crate::watched::{in_time, podman, run_before, watch};

#[tokio::test]
async fn exits_of_old_and_new_podman_are_reported() {
    for (flavour, version) in [(Flavour::Podman, "5.4.2"), (Flavour::OldPodman, "4.0.0")] {
        let server = podman().flavour(flavour).version(version).start().unwrap();
        let web = server.run(ContainerSpec::new("web").project("shop", "web")).unwrap();
        let db = run_before(&server, "db");
        let mut watched = watch(&server).live().await;
        server.exit(&web, 5).unwrap();
        let EventKind::Exited { container, code, .. } = watched.next().await.kind else {
            panic!("it exited")
        };
        // The event of old podman lacks the labels.
        assert_eq!((container.name(), container.project(), code), ("web", "shop", Some(5)));
        server.restart(&db).unwrap();
        assert_eq!(watched.reported_all(2).await, ["exited db 143", "started db"], "{flavour:?}");
        server.remove(&db).unwrap();
        assert_eq!(watched.reported().await, "exited db 137", "{flavour:?}");
    }
}

#[tokio::test]
async fn changes_of_a_container_that_was_listed_are_no_other_life() {
    let server = podman().start().unwrap();
    let web = run_before(&server, ContainerSpec::new("web").health_check(true));
    let mut watched = watch(&server).live().await;
    let life = watched.container("web").life();
    server.rename(&web, "shop").unwrap();
    assert_eq!(watched.reported().await, "updated shop");
    server.pause(&web).unwrap();
    assert_eq!(watched.reported().await, "paused shop");
    server.unpause(&web).unwrap();
    assert_eq!(watched.reported().await, "unpaused shop");
    // An event of podman 4.3 does not contain the health.
    server.health(&web, "healthy").unwrap();
    assert_eq!(watched.reported().await, "updated shop");
    let known = watched.container("shop");
    assert_eq!((known.life(), known.health()), (life, Some(Health::Healthy)));
    server.exec(&web).unwrap();
    server.exit(&web, 3).unwrap();
    assert_eq!(watched.reported().await, "exited shop 3");
}

#[tokio::test]
async fn an_event_of_a_pause_that_failed_changes_nothing() {
    let server = podman().start().unwrap();
    let web = run_before(&server, "web");
    let mut watched = watch(&server).live().await;
    server.emit("container", "pause", &web, BTreeMap::new());
    server.rename(&web, "shop").unwrap();
    assert_eq!(watched.reported().await, "updated shop");
    server.pause(&web).unwrap();
    assert_eq!(watched.reported().await, "paused shop");
    server.emit("container", "unpause", &web, BTreeMap::new());
    server.rename(&web, "bazaar").unwrap();
    assert_eq!(watched.reported().await, "updated bazaar");
    assert!(watched.container("bazaar").paused());
}

#[tokio::test]
async fn lives_within_one_second_are_distinguished() {
    let server = podman().start().unwrap();
    let web = run_before(&server, "web");
    let mut watched = watch(&server).live().await;
    for _ in 0..3 {
        server.restart(&web).unwrap();
        assert_eq!(watched.reported_all(2).await, ["exited web 143", "started web"]);
    }
}

#[tokio::test]
async fn a_restart_during_an_inspection_is_inspected_again() {
    let server = podman().start().unwrap();
    let web = run_before(&server, "web");
    let mut watched = watch(&server).live().await;
    // The list that follows an inspection shows another life.
    let lists = server.hold(Kind::List);
    server.rename(&web, "shop").unwrap();
    in_time(lists.until_waiting(1)).await;
    server.restart(&web).unwrap();
    lists.open();
    let reported = watched.until_reported("started shop").await;
    assert!(reported.iter().any(|event| event.starts_with("exited ")), "{reported:?}");
    assert_eq!(watched.container("shop").pid(), server.truth()[0].pid);
}

#[tokio::test]
async fn an_audit_finds_what_lost_events_did_not_report() {
    let server = podman().start().unwrap();
    let (web, db) = (run_before(&server, "web"), run_before(&server, "db"));
    let mut limits = whalewatcher_podman::Settings::default();
    limits = limits.with_audits(Duration::from_millis(300));
    let client = Client::new(server.endpoint()).unwrap();
    let mut watched = whalewatcher_testkit::watched::Watched::with_settings(client, limits).live().await;
    server.on_event(|_| Fate::Vanish);
    server.restart(&web).unwrap();
    server.exit(&db, 0).unwrap();
    let mut reported = watched.reported_all(3).await;
    reported.sort();
    assert_eq!(reported, ["exited db", "exited web", "started web"]);
    let status = watched.watching.status();
    assert!(status.counters.drifted >= 2, "{status:?}");
}
