//! The networks of pods, which only the statuses of their sandboxes contain.

use std::time::Duration;

use futures_util::FutureExt;
use whalewatcher_core::Settings;
use whalewatcher_testkit::cri::{
    Code, ContainerEventType, ContainerSpec, Fate, Flavour, Method, PodSpec, Verdict,
};

use crate::watched::{addresses, assert_true, client, in_time, server, statuses, watch, watch_with_settings};

const ALL: [Flavour; 5] = [
    Flavour::Containerd1_6,
    Flavour::Containerd1_7,
    Flavour::Containerd2_1,
    Flavour::Crio,
    Flavour::CrioWithEvents,
];

#[tokio::test]
async fn containers_have_the_network_of_their_sandbox_for_one_status_each() {
    for flavour in ALL {
        let server = server(flavour);
        for nth in 0..40 {
            let pod = PodSpec::new(format!("p{nth}")).addresses([format!("10.1.0.{nth}")]);
            let pod = server.run_pod(pod).unwrap();
            for name in ["a", "b"] {
                server.run(&pod, ContainerSpec::new(name).attempt(nth)).unwrap();
            }
        }
        let pod = server.run_pod(PodSpec::new("of-the-host").addresses::<&str>([])).unwrap();
        server.run(&pod, "c").unwrap();
        let settings = Settings::default().with_audits(None);
        let mut watched = watch_with_settings(client(&server), settings).live().await;
        assert_true(&watched, &server);
        assert_eq!(statuses(&server.stats()), (81, 41), "{flavour:?}");
        let pod = server.run_pod("later").unwrap();
        server.run(&pod, "later").unwrap();
        watched.reported_all(2).await;
        assert_true(&watched, &server);
        assert_eq!(statuses(&server.stats()), (82, 42), "{flavour:?}");
    }
}

#[tokio::test]
async fn a_container_waits_for_its_sandbox_that_is_inspected_too() {
    for flavour in ALL {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let web = server.run(&pod, "web").unwrap();
        let gate = server.hold(Method::PodSandboxStatus, None);
        let mut watched = watch(&server);
        in_time(gate.until_waiting(1)).await;
        in_time(server.until(|stats| stats.requests.of_id(Method::ContainerStatus, &web) == 1)).await;
        assert!(watched.next().now_or_never().is_none());
        gate.open();
        let mut watched = watched.live().await;
        assert_true(&watched, &server);
        server.exit(&web, 0).unwrap();
        assert!(watched.reported().await.starts_with("exited web"));
        assert_eq!(server.stats().requests.of_id(Method::PodSandboxStatus, &pod), 1, "{flavour:?}");
    }
}

#[tokio::test]
async fn where_the_sandboxs_status_fails_the_network_follows() {
    let server = server(Flavour::CrioWithEvents);
    let pod = server.run_pod("p").unwrap();
    let web = server.run(&pod, "web").unwrap();
    server.fail_next(Method::PodSandboxStatus, 1, Code::Internal, "out of luck");
    let mut watched = watch(&server);
    assert_eq!(watched.reported().await, "started web");
    assert_eq!(addresses(&watched.container("web")), [""; 0]);
    let mut reported = watched.until_reported("updated web").await;
    reported.retain(|reported| !reported.starts_with("synced"));
    assert_eq!(reported, [format!("started {pod}"), "updated web".to_owned()]);
    assert_true(&watched, &server);
    assert_eq!(server.stats().requests.of_id(Method::ContainerStatus, &web), 2);
}

#[tokio::test]
async fn a_sandboxs_status_that_hangs_delays_its_containers_briefly() {
    let server = server(Flavour::CrioWithEvents);
    let pod = server.run_pod("p").unwrap();
    server.run(&pod, "web").unwrap();
    server.on_call(|call| match call.method() {
        Method::PodSandboxStatus => Verdict::Hang,
        _ => Verdict::Pass,
    });
    let mut watched = watch(&server);
    assert_eq!(watched.reported().await, "started web");
    assert_eq!(addresses(&watched.container("web")), [""; 0]);
}

#[tokio::test]
async fn a_life_too_short_to_inspect_has_its_network() {
    let server = server(Flavour::Containerd2_1);
    let pod = server.run_pod(PodSpec::new("p").addresses(["10.1.2.3"])).unwrap();
    let mut watched = watch(&server).live().await;
    let short = server.create(&pod, "short").unwrap();
    server.on_event(|event| match event.container_event_type() {
        ContainerEventType::ContainerStartedEvent => Fate::Postpone,
        _ => Fate::Deliver,
    });
    server.start_and_exit(&short, 3).unwrap();
    let started = watched.next().await;
    assert_eq!(addresses(started.container().unwrap()), ["10.1.2.3"]);
}

#[tokio::test]
async fn addresses_that_are_none_are_left_out() {
    for flavour in ALL {
        let server = server(flavour);
        let odd = PodSpec::new("odd").addresses(["\u{1b}[2J", "", "10.1.2.3/24", "fd00::1", "10.1.2.3"]);
        let pod = server.run_pod(odd).unwrap();
        server.run(&pod, "web").unwrap();
        let watched = watch(&server).live().await;
        for name in ["web", &pod] {
            assert_eq!(addresses(&watched.container(name)), ["10.1.2.3", "fd00::1"], "{flavour:?}");
        }
        assert_eq!(watched.watching.status().unresolved.total(), 0);
    }
}

#[tokio::test]
async fn audits_agree_with_inspections() {
    for flavour in ALL {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        server.run(&pod, "found").unwrap();
        let settings = Settings::default().with_audits(Duration::from_millis(50));
        let mut watched = watch_with_settings(client(&server), settings).live().await;
        server.run(&pod, "started").unwrap();
        assert_eq!(watched.reported().await, "started started");
        let listed = server.stats().requests.of(Method::ListContainers);
        in_time(server.until(|stats| stats.requests.of(Method::ListContainers) >= listed + 8)).await;
        assert!(watched.next().now_or_never().is_none());
        assert_eq!(watched.watching.status().counters.drifted, 0);
        assert_eq!(statuses(&server.stats()), (2, 1), "{flavour:?}");
    }
}
