//! containerd's own events as hints, where those of its CRI plugin would be taken from the kubelet. They are
//! ahead of CRI, and include containers that do not belong to it.

use std::time::Duration;

use futures_util::FutureExt;
use whalewatcher_api::cri::v1::GetEventsRequest;
use whalewatcher_api::cri::v1::runtime_service_client::RuntimeServiceClient;
use whalewatcher_core::{ChangeSource, Settings};
use whalewatcher_cri::Client;
use whalewatcher_testkit::containerd::{self, Gate};
use whalewatcher_testkit::cri::{ContainerSpec, Flavour, Method, PodSpec, Server};

use crate::watched::{
    Watched, addresses, assert_true, client, in_time, server, statuses, watch, watch_with_settings,
};

const BEFORE_2_0: [Flavour; 2] = [Flavour::Containerd1_6, Flavour::Containerd1_7];

fn unaudited(server: &Server) -> Watched {
    watch_with_settings(client(server), Settings::default().with_audits(None))
}

/// Holds the calls of this method of containerd's own API until the returned gate is opened.
fn hold(server: &Server, method: containerd::Method) -> Gate {
    let gate = Gate::closed();
    let held = gate.clone();
    server.containerd().on_call(move |call| match call.method() == method {
        true => containerd::Verdict::Hold(held.clone()),
        false => containerd::Verdict::Pass,
    });
    gate
}

#[tokio::test]
async fn a_life_is_reported_with_its_exit_code_and_costs_one_status() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let mut watched = unaudited(&server).live().await;
        let pod = server.run_pod(PodSpec::new("p").without_kubelet()).unwrap();
        assert_eq!(watched.reported().await, format!("started {pod}"));
        let web = server.run(&pod, "web").unwrap();
        assert_eq!(watched.reported().await, "started web");
        assert_true(&watched, &server);
        server.exit(&web, 3).unwrap();
        assert_eq!(watched.reported().await, "exited web 3");
        server.remove(&web).unwrap();
        server.remove(&pod).unwrap();
        assert_eq!(watched.reported().await, format!("exited {pod} 137"));
        assert_eq!(statuses(&server.stats()), (1, 1), "{flavour:?}");
        assert_eq!(server.stats().requests.of(Method::GetContainerEvents), 0);
        assert_eq!(watched.watching.status().source, Some(ChangeSource::Hints));
    }
}

#[tokio::test]
async fn an_oom_kill_is_reported_when_it_happens_and_costs_no_status() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let mut watched = unaudited(&server).live().await;
        let web = server.run(&pod, "web").unwrap();
        assert_eq!(watched.reported().await, "started web");
        server.containerd().run("k8s.io/foreign").unwrap();
        server.containerd().run_out_of_memory("k8s.io/foreign").unwrap();
        server.run_out_of_memory(&web).unwrap();
        assert_eq!(watched.reported().await, "updated web");
        assert!(watched.container("web").oom_killed());
        server.exit(&web, 137).unwrap();
        assert!(watched.next().await.container().unwrap().oom_killed());
        assert_eq!(statuses(&server.stats()), (1, 1), "{flavour:?}");
    }
}

#[tokio::test]
async fn another_client_gets_every_event_of_the_runtime() {
    let server = server(Flavour::Containerd1_7);
    let mut kubelet = RuntimeServiceClient::new(client(&server).channel().unwrap());
    let events = tokio::spawn(async move {
        let mut stream = kubelet.get_container_events(GetEventsRequest {}).await.unwrap().into_inner();
        let mut reported = Vec::new();
        while reported.len() < 32 {
            reported.push(stream.message().await.unwrap().unwrap().container_id);
        }
        reported
    });
    in_time(server.until_subscriptions(1)).await;
    let mut watched = unaudited(&server).live().await;
    let pod = server.run_pod("p").unwrap();
    for nth in 0..10 {
        let id = server.run(&pod, ContainerSpec::new(format!("c{nth}"))).unwrap();
        server.exit(&id, 0).unwrap();
    }
    assert_eq!(in_time(events).await.unwrap().len(), 32);
    assert_eq!(watched.reported_all(21).await.len(), 21);
    assert_eq!(server.stats().subscribed, 1, "no other client subscribed");
}

#[tokio::test]
async fn a_start_is_waited_for_until_cri_says_so_too() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let mut watched = unaudited(&server).live().await;
        let pod = server.begin_pod("p").unwrap();
        in_time(server.until(|stats| stats.requests.of_id(Method::PodSandboxStatus, &pod) >= 2)).await;
        assert!(watched.next().now_or_never().is_none());
        server.finish_start(&pod).unwrap();
        assert_eq!(watched.reported().await, format!("started {pod}"));
        let web = server.create(&pod, "web").unwrap();
        server.begin_start(&web).unwrap();
        in_time(server.until(|stats| stats.requests.of_id(Method::ContainerStatus, &web) >= 3)).await;
        assert!(watched.next().now_or_never().is_none());
        server.finish_start(&web).unwrap();
        assert_eq!(watched.reported().await, "started web");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn an_unconfirmed_start_is_retried_and_blocks_nothing() {
    let server = server(Flavour::Containerd1_7);
    let pod = server.run_pod("p").unwrap();
    let mut watched = unaudited(&server).live().await;
    let slow = server.create(&pod, "slow").unwrap();
    server.begin_start(&slow).unwrap();
    let mut status = watched.watching.follow_status();
    in_time(status.wait_for(|status| status.unresolved.total() == 1)).await.unwrap();
    server.run(&pod, "other").unwrap();
    assert_eq!(watched.reported().await, "started other");
    server.finish_start(&slow).unwrap();
    assert_eq!(watched.reported().await, "started slow");
    assert_true(&watched, &server);
}

#[tokio::test]
async fn what_has_ended_does_not_come_back() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let web = server.run(&pod, "web").unwrap();
        let settings = Settings::default().with_audits(Duration::from_millis(50));
        let mut watched = watch_with_settings(client(&server), settings).live().await;
        server.begin_exit(&web, 3).unwrap();
        assert_eq!(watched.reported().await, "exited web 3");
        // Longer than the grace period of an audit.
        let lists = server.stats().requests.of(Method::ListContainers);
        in_time(server.until(|stats| stats.requests.of(Method::ListContainers) >= lists + 30)).await;
        assert!(watched.next().now_or_never().is_none());
        server.finish_exit(&web).unwrap();
        server.run(&pod, "last").unwrap();
        assert_eq!(watched.reported().await, "started last");
        assert_true(&watched, &server);
        assert_eq!(watched.watching.status().counters.drifted, 0);
    }
}

#[tokio::test]
async fn what_has_ended_stays_so_on_the_next_connection() {
    let server = server(Flavour::Containerd1_7);
    let pod = server.run_pod("p").unwrap();
    let web = server.run(&pod, "web").unwrap();
    let mut watched = unaudited(&server).live().await;
    server.begin_exit(&web, 3).unwrap();
    assert_eq!(watched.reported().await, "exited web 3");
    server.disconnect_all();
    let reported = watched.reported_all(2).await;
    assert!(reported[0].starts_with("disconnected "), "{reported:?}");
    assert_eq!(reported[1], "synced 1");
    server.finish_exit(&web).unwrap();
    assert_true(&watched, &server);
}

#[tokio::test]
async fn what_ends_while_the_first_list_is_on_its_way_is_no_ghost() {
    let server = server(Flavour::Containerd1_7);
    let pod = server.run_pod("p").unwrap();
    let web = server.run(&pod, "web").unwrap();
    let gate = server.hold_answers(Method::ListContainers, None);
    let mut watched = unaudited(&server);
    in_time(gate.until_waiting(1)).await;
    server.begin_exit(&web, 3).unwrap();
    // Also what happens after it was read.
    let later = server.run(&pod, "later").unwrap();
    in_time(server.until(|stats| stats.requests.of_id(Method::ContainerStatus, &later) >= 1)).await;
    gate.open();
    let reported = watched.until_reported("synced").await;
    assert!(reported.iter().all(|reported| !reported.contains("web")), "{reported:?}");
    server.finish_exit(&web).unwrap();
    // It may have been inspected before its sandbox was known; then its network follows.
    while addresses(&watched.container("later")).is_empty() {
        watched.reported().await;
    }
    assert_true(&watched, &server);
}

#[tokio::test]
async fn what_ended_before_the_subscription_is_over_once_its_task_is_deleted() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let web = server.run(&pod, "web").unwrap();
        server.begin_exit(&web, 3).unwrap();
        let mut watched = unaudited(&server).live().await;
        assert!(watched.names().contains(&"web".to_owned()), "as CRI still reports");
        server.finish_exit(&web).unwrap();
        assert_eq!(watched.reported().await, "exited web 3");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn what_ended_before_the_subscription_is_over_though_cri_lists_it() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let web = server.run(&pod, "web").unwrap();
        server.begin_exit(&web, 3).unwrap();
        server.containerd().delete_task(&format!("k8s.io/{web}")).unwrap();
        let gate = hold(&server, containerd::Method::TasksList);
        let mut watched = unaudited(&server).live().await;
        assert!(watched.names().contains(&"web".to_owned()), "as CRI still reports");
        gate.open();
        assert_eq!(watched.reported().await, "exited web");
        let counters = watched.watching.status().counters;
        assert_eq!((counters.lists, counters.drifted), (1, 0), "no event was lost");
    }
}

#[tokio::test]
async fn what_started_before_the_subscription_is_there_once_cri_lists_it() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let web = server.create(&pod, "web").unwrap();
        server.begin_start(&web).unwrap();
        let late = server.begin_pod("late").unwrap();
        let mut watched = unaudited(&server).live().await;
        for id in [&web, &late] {
            server.finish_start(id).unwrap();
        }
        let mut reported = watched.reported_all(2).await;
        reported.sort();
        let mut expected = [format!("started {late}"), "started web".to_owned()];
        expected.sort();
        assert_eq!(reported, expected);
        assert_true(&watched, &server);
        let counters = watched.watching.status().counters;
        assert_eq!((counters.lists, counters.drifted), (1, 0), "no event was lost");
    }
}

#[tokio::test]
async fn a_sandbox_that_is_no_container_of_containerds_is_alive_without_a_task() {
    let server = server(Flavour::Containerd1_7);
    let pod = server.run_pod("p").unwrap();
    server.run(&pod, "web").unwrap();
    let containerd = server.containerd();
    containerd.remove(&format!("k8s.io/{pod}")).unwrap();
    let mut watched = unaudited(&server).live().await;
    in_time(containerd.until(|stats| stats.requests.of(containerd::Method::ContainersGet) == 1)).await;
    server.run(&pod, "last").unwrap();
    assert_eq!(watched.reported().await, "started last");
    assert_true(&watched, &server);
}

#[tokio::test]
async fn where_tasks_cannot_be_listed_a_second_list_shows_missed_starts() {
    let server = server(Flavour::Containerd1_7);
    server.containerd().on_call(|call| match call.method() {
        containerd::Method::TasksList => containerd::Verdict::error(containerd::Code::PermissionDenied, "no"),
        _ => containerd::Verdict::Pass,
    });
    let pod = server.run_pod("p").unwrap();
    let web = server.create(&pod, "web").unwrap();
    server.begin_start(&web).unwrap();
    let mut watched = unaudited(&server).live().await;
    server.finish_start(&web).unwrap();
    assert_eq!(watched.reported().await, "started web");
    assert_true(&watched, &server);
    assert_eq!(watched.watching.status().counters.lists, 2);
}

#[tokio::test]
async fn a_listed_container_needs_no_owner() {
    let server = server(Flavour::Containerd1_7);
    let pod = server.run_pod("p").unwrap();
    let settings = Settings::default().with_audits(Duration::from_millis(50));
    let mut watched = watch_with_settings(client(&server), settings).live().await;
    let gate = hold(&server, containerd::Method::ContainersGet);
    let web = server.run(&pod, "web").unwrap();
    in_time(gate.until_waiting(1)).await;
    assert_eq!(watched.reported().await, "started web");
    server.exit(&web, 3).unwrap();
    assert_eq!(watched.reported().await, "exited web 3");
    server.remove(&web).unwrap();
    gate.open();
    server.run(&pod, "last").unwrap();
    assert_eq!(watched.reported().await, "started last");
    assert_true(&watched, &server);
    assert_eq!(watched.watching.status().counters.drifted, 0, "no event was lost");
}

#[tokio::test]
async fn lives_too_short_for_cri_are_reported_in_order() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let mut watched = unaudited(&server).live().await;
        // Its exit arrives before its owner is requested.
        let short = server.create(&pod, ContainerSpec::new("short").annotation("a", "b")).unwrap();
        let pid = server.begin_start(&short).unwrap();
        in_time(server.until(|stats| stats.requests.of_id(Method::ContainerStatus, &short) >= 1)).await;
        server.finish_start(&short).unwrap();
        server.exit(&short, 7).unwrap();
        let started = watched.next().await;
        let container = started.container().unwrap();
        assert_eq!((container.name(), container.pid()), ("short", pid));
        assert_eq!(container.labels().get("io.kubernetes.annotation/a"), Some("b"));
        assert_eq!(watched.reported().await, "exited short 7");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn an_end_that_comes_before_its_start_leaves_no_ghost() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let mut watched = unaudited(&server).live().await;
        for _ in 0..20 {
            let short = server.create(&pod, "short").unwrap();
            server.start_and_exit(&short, 7).unwrap();
        }
        server.run(&pod, "last").unwrap();
        let reported = watched.until_reported("started last").await;
        let (started, exited) =
            reported.iter().partition::<Vec<_>, _>(|reported| reported.starts_with("started short"));
        assert!(started.len() + 1 == exited.len(), "{reported:?}");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn execs_end_no_container() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let web = server.run(&pod, "web").unwrap();
        let mut watched = unaudited(&server).live().await;
        for nth in 0..5 {
            server.exec(&web, &format!("exec{nth}"), 1).unwrap();
            server.exec(&pod, &format!("exec{nth}"), 1).unwrap();
        }
        server.run(&pod, "last").unwrap();
        assert_eq!(watched.reported().await, "started last");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn other_containers_in_the_namespace_are_ignored() {
    for flavour in BEFORE_2_0 {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let mut watched = unaudited(&server).live().await;
        let containerd = server.containerd();
        for id in ["k8s.io/nerdctls", "k8s.io/short", "default/other"] {
            containerd.run(id).unwrap();
        }
        containerd.exit("k8s.io/short", 0).unwrap();
        containerd.pause("k8s.io/nerdctls").unwrap();
        containerd.resume("k8s.io/nerdctls").unwrap();
        in_time(containerd.until(|stats| stats.requests.of(containerd::Method::ContainersGet) == 2)).await;
        containerd.exit("k8s.io/nerdctls", 0).unwrap();
        containerd.remove("k8s.io/nerdctls").unwrap();
        let web = server.run(&pod, "web").unwrap();
        assert_eq!(watched.reported().await, "started web", "{flavour:?}");
        server.exit(&web, 0).unwrap();
        assert_eq!(watched.reported().await, "exited web 0");
        assert_true(&watched, &server);
        for id in ["nerdctls", "short", "other"] {
            assert_eq!(server.stats().requests.of_id(Method::ContainerStatus, id), 0);
        }
    }
}

#[tokio::test]
async fn an_unknown_owner_is_waited_for_briefly() {
    let server = server(Flavour::Containerd1_7);
    let mut watched = unaudited(&server).live().await;
    let containerd = server.containerd();
    containerd.on_call(|call| match call.method() {
        containerd::Method::ContainersGet => containerd::Verdict::error(containerd::Code::Internal, "no"),
        _ => containerd::Verdict::Pass,
    });
    containerd.run("k8s.io/nerdctls").unwrap();
    let pod = server.begin_pod("p").unwrap();
    in_time(server.until(|stats| stats.requests.of_id(Method::PodSandboxStatus, &pod) >= 2)).await;
    server.finish_start(&pod).unwrap();
    assert_eq!(watched.reported().await, format!("started {pod}"));
    let mut status = watched.watching.follow_status();
    in_time(status.wait_for(|status| status.unresolved.is_empty())).await.unwrap();
    containerd.exit("k8s.io/nerdctls", 0).unwrap();
    server.stop(&pod).unwrap();
    assert!(watched.reported().await.starts_with(&format!("exited {pod}")));
}

#[tokio::test]
async fn pauses_are_ignored() {
    let server = server(Flavour::Containerd1_7);
    let pod = server.run_pod("p").unwrap();
    let web = server.run(&pod, "web").unwrap();
    let mut watched = unaudited(&server).live().await;
    let asked = statuses(&server.stats());
    server.containerd().pause(format!("k8s.io/{web}").as_str()).unwrap();
    server.containerd().resume(format!("k8s.io/{web}").as_str()).unwrap();
    assert_eq!(statuses(&server.stats()), asked);
    server.exit(&web, 0).unwrap();
    assert_eq!(watched.reported().await, "exited web 0");
}

#[tokio::test]
async fn where_containerds_own_events_are_refused_it_is_polled() {
    for (method, code) in [
        (containerd::Method::Subscribe, containerd::Code::Unimplemented),
        (containerd::Method::Subscribe, containerd::Code::PermissionDenied),
    ] {
        let server = server(Flavour::Containerd1_7);
        server.containerd().on_call(move |call| match call.method() == method {
            true => containerd::Verdict::error(code, "not you"),
            false => containerd::Verdict::Pass,
        });
        let pod = server.run_pod("p").unwrap();
        let mut watched = watch(&server).live().await;
        assert!(matches!(watched.watching.status().source, Some(ChangeSource::Polling { .. })));
        server.run(&pod, "web").unwrap();
        assert_eq!(watched.reported().await, "started web");
        assert_eq!(server.stats().requests.of(Method::GetContainerEvents), 0, "not even then");
        assert_eq!(server.stats().accepted, 1);
    }
}

#[tokio::test]
async fn a_dead_stream_is_noticed_though_everything_else_answers() {
    let server = server(Flavour::Containerd1_7);
    let pod = server.run_pod("p").unwrap();
    let web = server.run(&pod, "web").unwrap();
    let settings =
        Settings::default().with_audits(None).with_probes(Duration::from_millis(20), Duration::from_secs(1));
    let client = Client::builder().endpoint(server.endpoint()).probe_every(Duration::from_millis(20));
    let mut watched = watch_with_settings(client.build().unwrap(), settings).live().await;
    let gate = server.containerd().stall_streams();
    server.exit(&web, 0).unwrap();
    assert_eq!(
        watched.reported().await,
        "disconnected probing the silent event stream: no answer within 1 s"
    );
    gate.open();
    assert_eq!(watched.until_reported("synced").await.pop().unwrap(), "synced 1");
}
