//! PIDs, which only verbose statuses contain, in a format of each runtime.

use std::time::Duration;

use whalewatcher_core::Settings;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_testkit::cri::{Code, Flavour, Info, Method, PodSpec};

use crate::watched::{assert_true, client, in_time, server, watch, watch_with_settings};

#[tokio::test]
async fn a_late_pid_is_shown_once_reported() {
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
        watched.until_reported("synced 1").await;
        in_time(server.until(|stats| stats.requests.of_id(Method::ContainerStatus, &late) >= asked + 2))
            .await;
        server.set_info(&late, Info::Reported).unwrap();
        assert_eq!(watched.reported().await, "started late", "{info:?}");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn what_runs_without_a_pid_is_unresolved_until_it_has_one_or_is_over() {
    for (flavour, remedy) in [(Flavour::CriDockerd, "watch Docker itself"), (Flavour::Containerd2_1, "")] {
        let server = server(flavour);
        let sandbox = server.run_pod("p").unwrap();
        let web = server.run(&sandbox, "web").unwrap();
        if flavour != Flavour::CriDockerd {
            server.set_info(&sandbox, Info::WithoutPid).unwrap();
            server.set_info(&web, Info::Pid(0)).unwrap();
        }
        let connection = client(&server).connect(&Settings::default()).await.unwrap();
        for id in [&sandbox, &web] {
            let error = connection.inspect(&id.as_str().into()).await.unwrap_err().to_string();
            let reason = format!("the CRI runtime reports no PID of {id}, though it runs");
            assert!(error.starts_with(&reason) && error.ends_with(remedy), "{error}");
        }
        let mut watched = watch_with_settings(client(&server), Settings::default().with_audits(None));
        watched.until_reported("synced 0").await;
        let asked = |id: &str| 8 + server.stats().requests.of_id(Method::ContainerStatus, id);
        let asked = asked(&web);
        in_time(server.until(|stats| stats.requests.of_id(Method::ContainerStatus, &web) >= asked)).await;
        assert_eq!(watched.watching.status().unresolved.total(), 2, "for as long as they run");
        let other = server.run(&sandbox, "other").unwrap();
        server.set_info(&other, Info::Pid(4711)).unwrap();
        assert_eq!(watched.reported().await, "started other");
        server.exit(&web, 3).unwrap();
        server.remove(&sandbox).unwrap();
        watched.until_reported("exited other").await;
        let mut status = watched.watching.follow_status();
        in_time(status.wait_for(|status| status.is_live() && status.unresolved.is_empty())).await.unwrap();
        assert_eq!(watched.names(), [""; 0]);
    }
}

#[tokio::test]
async fn sandboxes_without_a_process_are_not_alive_and_inspected_once() {
    for flavour in [Flavour::CrioWithEvents, Flavour::Crio] {
        let server = server(flavour);
        let bare = server.run_pod(PodSpec::new("bare").without_infra_container()).unwrap();
        let odd = server.run_pod("odd").unwrap();
        server.set_info(&odd, Info::Text("{\"pid\":".into())).unwrap();
        let web = server.run(&bare, "web").unwrap();
        let settings = Settings::default().with_audits(Duration::from_millis(50));
        let mut watched = watch_with_settings(client(&server), settings);
        assert_eq!(watched.reported_all(2).await, ["started web", "synced 1, 1 unresolved"]);
        let listed = server.stats().requests.of(Method::ListPodSandbox);
        in_time(server.until(|stats| stats.requests.of(Method::ListPodSandbox) >= listed + 5)).await;
        let (stats, status) = (server.stats(), watched.watching.status());
        let asked = stats.requests.of_id(Method::PodSandboxStatus, &bare);
        assert_eq!(asked, 1, "{flavour:?}: {status:#?}, {stats:#?}");
        assert_eq!(watched.watching.status().unresolved.total(), 1, "what cannot be read may have a process");
        // A sandbox that was never alive has no exit.
        server.exit(&web, 0).unwrap();
        assert_eq!(watched.reported().await, "exited web 0");
        server.remove(&bare).unwrap();
        let other = server.run_pod("other").unwrap();
        assert_eq!(watched.reported().await, format!("started {other}"));
    }
}

#[tokio::test]
async fn a_status_that_fails_twice_is_reported_then() {
    let server = server(Flavour::Containerd2_1);
    let sandbox = server.run_pod("p").unwrap();
    let mut watched = watch(&server).live().await;
    server.fail_next(Method::ContainerStatus, 2, Code::Unavailable, "out of luck");
    server.run(&sandbox, "web").unwrap();
    assert_eq!(watched.reported().await, "started web");
    assert_true(&watched, &server);
}
