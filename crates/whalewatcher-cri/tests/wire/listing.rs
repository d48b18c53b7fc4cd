//! Lists: their cost, their content, and malformed ones.

use std::sync::Arc;
use std::time::Duration;

use whalewatcher_core::Settings;
use whalewatcher_cri::{Client, Details};
use whalewatcher_testkit::cri::{Code, ContainerSpec, Flavour, Method, PodSpec, Server, Verdict};

use crate::watched::{
    Watched, assert_true, client, in_time, lists, server, statuses, watch, watch_by, watch_with_settings,
};

/// Starts this many pods with as many containers each.
fn with_pods(server: &Server, pods: usize, containers: usize) {
    for pod in 0..pods {
        let sandbox = server.run_pod(PodSpec::new(format!("p{pod}")).namespace("shop")).unwrap();
        for container in 0..containers {
            server.run(&sandbox, ContainerSpec::new(format!("c{container}"))).unwrap();
        }
    }
}

fn unaudited(server: &Server) -> Watched {
    watch_with_settings(client(server), Settings::default().with_audits(None))
}

#[tokio::test]
async fn a_list_costs_two_requests_and_a_status_of_each_container_and_sandbox() {
    for flavour in [Flavour::Containerd2_1, Flavour::CrioWithEvents, Flavour::Containerd1_7] {
        let server = server(flavour);
        with_pods(&server, 20, 3);
        let gone = server.run_pod("gone").unwrap();
        server.run(&gone, "over").unwrap();
        server.stop(&gone).unwrap();
        let watched = unaudited(&server);
        in_time(watched.watching.ready()).await.unwrap();
        let stats = server.stats();
        assert_eq!(statuses(&stats), (60, 20), "{flavour:?}");
        if flavour != Flavour::Containerd1_7 {
            // Where changes are polled, the next poll has been made by now.
            assert_eq!(lists(&stats), (1, 1), "{flavour:?}");
        }
        assert_true(&watched, &server);
        for id in server.truth() {
            let method =
                if id.sandbox.is_some() { Method::ContainerStatus } else { Method::PodSandboxStatus };
            assert_eq!(stats.requests.of_id(method, &id.id), 1);
        }
    }
}

#[tokio::test]
async fn labels_name_the_pod_and_contain_annotations() {
    let server = server(Flavour::Containerd2_1);
    let kubelets =
        PodSpec::new("web").namespace("shop").uid("u-1").label("app", "x").annotation("team", "blue");
    let kubelets = server.run_pod(kubelets).unwrap();
    server
        .run(&kubelets, ContainerSpec::new("nginx").label("tier", "front").annotation("note", "n"))
        .unwrap();
    let crictls = PodSpec::new("tool").namespace("ops").uid("u-2").without_kubelet();
    let crictls = server.run_pod(crictls).unwrap();
    server.run(&crictls, "busybox").unwrap();
    let watched = unaudited(&server);
    in_time(watched.watching.ready()).await.unwrap();
    assert_true(&watched, &server);
    let busybox = watched.container("busybox");
    assert_eq!(busybox.labels().get("io.kubernetes.pod.name"), Some("tool"));
    let nginx = watched.container("nginx");
    assert_eq!(nginx.labels().get("io.kubernetes.annotation/note"), Some("n"));
    assert_eq!(statuses(&server.stats()), (2, 2), "the list contained the sandboxes");
}

#[tokio::test]
async fn lists_beyond_4_mib_are_read_and_too_large_ones_reported() {
    let server = server(Flavour::Containerd2_1);
    for nth in 0..400 {
        let huge = || "x".repeat(16_000);
        let pod = server.run_pod(PodSpec::new(format!("p{nth}")).annotation("huge", huge())).unwrap();
        server.run(&pod, ContainerSpec::new("c").annotation("huge", huge())).unwrap();
    }
    let watched = unaudited(&server);
    in_time(watched.watching.ready()).await.unwrap();
    assert_true(&watched, &server);

    let server = Server::builder().largest_message(1 << 20).start().unwrap();
    let sandbox = server.run_pod("p").unwrap();
    server.run(&sandbox, ContainerSpec::new("c").annotation("huge", "x".repeat(2 << 20))).unwrap();
    let reported = watch(&server).reported().await;
    assert!(
        reported.starts_with("disconnected the CRI runtime fails RuntimeService.ListContainers: "),
        "{reported}"
    );
}

#[tokio::test]
async fn what_is_over_is_not_even_asked_for() {
    // Together they would be more than the runtime sends.
    let server = Server::builder().largest_message(64 << 10).start().unwrap();
    let huge = || "x".repeat(4_000);
    let alive = server.run_pod("alive").unwrap();
    server.run(&alive, "c").unwrap();
    for nth in 0..20 {
        let over =
            server.run(&alive, ContainerSpec::new(format!("c{nth}")).annotation("huge", huge())).unwrap();
        server.exit(&over, 0).unwrap();
        let gone = server.run_pod(PodSpec::new(format!("p{nth}")).annotation("huge", huge())).unwrap();
        server.stop(&gone).unwrap();
    }
    let watched = unaudited(&server);
    in_time(watched.watching.ready()).await.unwrap();
    assert_true(&watched, &server);
    assert_eq!(server.stats().accepted, 1, "at once");
}

#[tokio::test]
async fn unknown_states_are_not_alive() {
    let server = server(Flavour::CrioWithEvents);
    let sandbox = server.run_pod("p").unwrap();
    for state in [2, 3, 4, 99, -1] {
        let id = server.run(&sandbox, ContainerSpec::new(format!("odd{state}"))).unwrap();
        server.set_raw_state(&id, Some(state)).unwrap();
    }
    let odd = server.run_pod("odd").unwrap();
    server.set_raw_state(&odd, Some(7)).unwrap();
    server.run(&sandbox, "good").unwrap();
    let watched = unaudited(&server);
    in_time(watched.watching.ready()).await.unwrap();
    assert_true(&watched, &server);
    assert_eq!(watched.names().len(), 2);
    assert_eq!(watched.watching.status().unresolved.total(), 0);
    assert_eq!(statuses(&server.stats()), (1, 1));
}

#[tokio::test]
async fn a_failed_or_hanging_status_delays_no_other_and_is_retried() {
    let server = server(Flavour::Containerd2_1);
    with_pods(&server, 1, 40);
    let sandbox = server.run_pod("p").unwrap();
    let slow = server.run(&sandbox, "slow").unwrap();
    let failing = server.run(&sandbox, "failing").unwrap();
    let gate = server.hold(Method::ContainerStatus, Some(&slow));
    let hook = server.fail(Method::ContainerStatus, &failing, Code::Internal, "out of luck");
    let limit = Duration::from_secs(1);
    let settings = Settings::default().with_audits(None).with_limits(limit, limit, limit);
    let mut watched = watch_with_settings(client(&server), settings);
    // All others and both sandboxes, while the slow one is still in flight.
    for _ in 0..42 {
        let reported = watched.reported().await;
        assert!(
            reported.starts_with("started ") && reported != "started slow" && reported != "started failing",
            "{reported}"
        );
    }
    let synced = watched.reported().await;
    assert_eq!(
        synced, "synced 42, 2 unresolved",
        "what cannot be reported does not keep it from being ready"
    );
    assert_eq!(watched.watching.status().unresolved.total(), 2);
    gate.open();
    assert_eq!(watched.reported().await, "started slow");
    server.remove_hook(hook);
    assert_eq!(watched.reported().await, "started failing");
    assert_eq!(watched.watching.status().unresolved.total(), 0);
    assert_true(&watched, &server);
}

#[tokio::test]
async fn a_list_that_fails_is_reported_and_asked_for_again() {
    for method in [Method::ListContainers, Method::ListPodSandbox] {
        for (verdict, reported) in [
            (
                Verdict::error(Code::Unknown, "not yet"),
                "disconnected the CRI runtime fails RuntimeService.List",
            ),
            (Verdict::Garbage(vec![0x0a, 0xff].into()), "disconnected RuntimeService.List"),
            (Verdict::Close, "disconnected RuntimeService."),
        ] {
            let server = server(Flavour::Containerd2_1);
            with_pods(&server, 1, 1);
            let hook = server
                .on_call(move |call| if call.method() == method { verdict.clone() } else { Verdict::Pass });
            let mut watched = watch(&server);
            let said = watched.reported().await;
            assert!(said.starts_with(reported), "{said}");
            server.remove_hook(hook);
            watched.until_reported("synced 2").await;
        }
    }
}

#[tokio::test]
async fn a_rucksack_is_packed_for_each_container_and_sandbox() {
    let server = server(Flavour::Crio);
    let sandbox = server.run_pod("p").unwrap();
    server.run(&sandbox, ContainerSpec::new("web").image("busybox:1.36")).unwrap();
    let builder = Client::builder().endpoint(server.endpoint()).poll_every(Duration::from_millis(10));
    let client = builder.rucksack(|details| {
        let (what, info) = match details {
            Details::Container { status, info, .. } => (status.image.clone()?.image, info),
            Details::Sandbox { status, info, .. } => (status.metadata.clone()?.name, info),
            _ => return None,
        };
        Some(Arc::new((what, info.contains_key("info"))))
    });
    let mut watched = watch_by(client.build().unwrap()).live().await;
    let packed =
        |watched: &Watched, name: &str| watched.container(name).rucksack::<(String, bool)>().cloned();
    assert_eq!(packed(&watched, "web"), Some(("busybox:1.36".into(), true)));
    assert_eq!(packed(&watched, &sandbox), Some(("p".into(), true)));
    server.run(&sandbox, "later").unwrap();
    assert_eq!(watched.reported().await, "started later");
    assert!(packed(&watched, "later").is_some());
}

#[tokio::test]
async fn pods_with_long_annotations_keep_within_the_limits() {
    const UID: &str = "8f9d0c5e-2f3f-4c55-9d0b-3a7c1f0a5b6e";
    let server = server(Flavour::Containerd2_1);
    let long = "x".repeat(1024);
    for nth in 0..2_000 {
        let mut pod = PodSpec::new(format!("a-deployment-5f6d8b9c7d-{nth}")).uid(UID);
        for key in ["app", "instance", "tier", "pod-template-hash"] {
            pod = pod.label(format!("app.kubernetes.io/{key}"), UID);
        }
        for key in ["last-applied-configuration", "config.seen", "checksum", "policy"] {
            pod = pod.annotation(format!("kubernetes.io/{key}"), &long);
        }
        let pod = server.run_pod(pod).unwrap();
        for name in ["a-container", "a-sidecar"] {
            let mut container = ContainerSpec::new(name);
            for key in ["hash", "ports", "restartCount", "terminationMessagePath", "gracePeriod"] {
                container = container.annotation(format!("io.kubernetes.container.{key}"), UID);
            }
            server.run(&pod, container).unwrap();
        }
    }
    let watched = watch(&server).live().await;
    assert_eq!(watched.watching.status().unresolved.total(), 0);
    assert_eq!(watched.watching.portfolio().total(), 6_000);
}
