//! PIDs, which only verbose statuses tell, in the runtime's own words.

use std::time::Duration;

use whalewatcher_core::Settings;
use whalewatcher_testkit::cri::{Code, Flavour, Info, Method, PodSpec};

use crate::watched::{assert_true, client, in_time, server, watch, watch_with_settings};

#[tokio::test]
async fn whose_pid_is_told_late_is_shown_as_soon_as_it_is() {
    let server = server(Flavour::Containerd2_1);
    let sandbox = server.run_pod("p").unwrap();
    let late = server.run(&sandbox, "late").unwrap();
    for info in [
        Info::Pid(0),
        Info::Pid(-1),
        Info::Pid(1 << 32),
        Info::WithoutPid,
        Info::Missing,
        Info::Text("{\"pid\":".into()),
        Info::Text(String::new()),
    ] {
        server.set_info(&late, info.clone()).unwrap();
        let settings = Settings::default().with_audits(None);
        let mut watched = watch_with_settings(client(&server), settings);
        let asked = server.stats().requests.of_id(Method::ContainerStatus, &late);
        watched.until_told("synced 1").await;
        in_time(server.until(|stats| stats.requests.of_id(Method::ContainerStatus, &late) >= asked + 2))
            .await;
        server.set_info(&late, Info::Told).unwrap();
        assert_eq!(watched.told().await, "started late", "{info:?}");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn who_never_tells_a_pid_is_left_out_after_some_attempts_and_not_asked_for_ever() {
    let server = server(Flavour::CrioWithEvents);
    let bare = server.run_pod(PodSpec::new("bare").without_infra_container()).unwrap();
    let web = server.run(&bare, "web").unwrap();
    let mute = server.run(&bare, "mute").unwrap();
    server.set_info(&mute, Info::Missing).unwrap();
    let mut watched = watch_with_settings(client(&server), Settings::default().with_audits(None));
    let told = watched.told_all(2).await;
    assert_eq!(told, ["started web", "synced 1"]);
    in_time(
        watched.watching.follow_status().wait_for(|status| status.is_live() && status.unresolved.is_empty()),
    )
    .await;
    let stats = server.stats();
    assert_eq!(stats.requests.of_id(Method::PodSandboxStatus, &bare), 5);
    assert_eq!(stats.requests.of_id(Method::ContainerStatus, &mute), 5);
    assert_eq!(stats.requests.of_id(Method::ContainerStatus, &web), 1);
    assert_eq!(watched.names(), ["web"]);
    // What was left out has no end either.
    server.exit(&mute, 0).unwrap();
    server.exit(&web, 0).unwrap();
    server.remove(&bare).unwrap();
    assert_eq!(watched.told().await, "exited web 0");
    let other = server.run_pod("other").unwrap();
    assert_eq!(watched.told().await, format!("started {other}"));
}

#[tokio::test]
async fn who_was_left_out_is_asked_once_by_each_audit_and_shown_when_it_tells_its_pid() {
    let server = server(Flavour::Containerd2_1);
    let sandbox = server.run_pod("p").unwrap();
    let mute = server.run(&sandbox, "mute").unwrap();
    server.set_info(&mute, Info::WithoutPid).unwrap();
    let settings = Settings::default().with_audits(Duration::from_millis(300));
    let mut watched = watch_with_settings(client(&server), settings);
    watched.until_told("synced 1").await;
    in_time(server.until(|stats| stats.requests.of_id(Method::ContainerStatus, &mute) >= 7)).await;
    server.set_info(&mute, Info::Told).unwrap();
    assert_eq!(watched.told().await, "started mute");
    assert_true(&watched, &server);
}

#[tokio::test]
async fn a_status_that_fails_twice_is_told_then() {
    let server = server(Flavour::Containerd2_1);
    let sandbox = server.run_pod("p").unwrap();
    let mut watched = watch(&server).live().await;
    server.fail_next(Method::ContainerStatus, 2, Code::Unavailable, "out of luck");
    server.run(&sandbox, "web").unwrap();
    assert_eq!(watched.told().await, "started web");
    assert_true(&watched, &server);
}
