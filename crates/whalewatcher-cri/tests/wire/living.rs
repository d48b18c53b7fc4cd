//! The life of containers, by the runtime's events.

use whalewatcher_testkit::cri::{ContainerEventType, ContainerSpec, Fate, Flavour, Method, PodSpec};

use crate::watched::{assert_true, client, in_time, server, statuses, watch, watch_by};

const REPORTING: [Flavour; 2] = [Flavour::Containerd2_1, Flavour::CrioWithEvents];

#[tokio::test]
async fn a_life_costs_one_status_and_reports_its_time_and_exit_code() {
    for flavour in REPORTING {
        let server = server(flavour);
        let mut watched = watch(&server).live().await;
        let sandbox = server.run_pod(PodSpec::new("web").namespace("shop")).unwrap();
        assert_eq!(watched.reported().await, format!("started {sandbox}"));
        let web = server.run(&sandbox, ContainerSpec::new("web").annotation("team", "blue")).unwrap();
        let started = watched.next().await;
        assert_eq!(Some(started.time), started.container().unwrap().started_at());
        assert_true(&watched, &server);
        server.exit(&web, 3).unwrap();
        assert_eq!(watched.reported().await, "exited web 3");
        server.remove(&sandbox).unwrap();
        let reported = watched.reported().await;
        assert!(reported.starts_with(&format!("exited {sandbox}")), "{reported}");
        assert_true(&watched, &server);
        assert_eq!(statuses(&server.stats()), (1, 1), "{flavour:?}");
        assert_eq!(watched.watching.status().counters.drifted, 0);
    }
}

#[tokio::test]
async fn an_oom_kill_marks_the_exit_and_costs_no_status() {
    for flavour in REPORTING {
        let server = server(flavour);
        let sandbox = server.run_pod("web").unwrap();
        let mut watched = watch(&server).live().await;
        for is_oom_killed in [true, false] {
            let web = server.run(&sandbox, "web").unwrap();
            assert_eq!(watched.reported().await, "started web");
            if is_oom_killed {
                server.run_out_of_memory(&web).unwrap();
            }
            server.exit(&web, 137).unwrap();
            let exited = watched.next().await;
            assert_eq!(exited.to_string().split_whitespace().next(), Some("exited"), "{exited}");
            assert_eq!(exited.container().unwrap().oom_killed(), is_oom_killed, "{flavour:?}");
            server.remove(&web).unwrap();
        }
        assert_eq!(statuses(&server.stats()), (2, 1), "{flavour:?}");
    }
}

#[tokio::test]
async fn containers_end_and_are_replaced_within_a_pod_that_lives_on() {
    for flavour in REPORTING {
        let server = server(flavour);
        let mut watched = watch(&server).live().await;
        let sandbox = server.run_pod("web").unwrap();
        assert_eq!(watched.reported().await, format!("started {sandbox}"));
        for attempt in 0..3 {
            let id = server.run(&sandbox, ContainerSpec::new("web").attempt(attempt)).unwrap();
            assert_eq!(watched.reported().await, "started web");
            assert_true(&watched, &server);
            server.exit(&id, 1).unwrap();
            assert_eq!(watched.reported().await, "exited web 1");
        }
        assert_eq!(watched.names(), [sandbox]);
    }
}

#[tokio::test]
async fn execs_and_unstarted_containers_are_ignored() {
    for flavour in REPORTING {
        let server = server(flavour);
        let sandbox = server.run_pod("web").unwrap();
        let web = server.run(&sandbox, "web").unwrap();
        let mut watched = watch(&server).live().await;
        server.exec(&web, "ls", 1).unwrap();
        let never = server.create(&sandbox, "never").unwrap();
        server.remove(&never).unwrap();
        server.run_out_of_memory(&web).unwrap();
        server.run(&sandbox, "last").unwrap();
        assert_eq!(watched.reported().await, "started last");
        assert_true(&watched, &server);
    }
}

#[tokio::test]
async fn a_removed_pod_takes_all_its_containers_with_it() {
    for flavour in REPORTING {
        let server = server(flavour);
        let sandbox = server.run_pod(PodSpec::new("web").id("0d")).unwrap();
        for name in ["a", "b", "c"] {
            server.run(&sandbox, name).unwrap();
        }
        let mut watched = watch(&server).live().await;
        server.remove(&sandbox).unwrap();
        let mut reported = watched.reported_all(4).await;
        reported.sort();
        assert!(reported[0].starts_with("exited 0d"), "{reported:?}");
        assert_eq!(reported[1..], ["exited a 137", "exited b 137", "exited c 137"]);
        assert_eq!(watched.watching.portfolio().total(), 0);
    }
}

#[tokio::test]
async fn events_that_come_twice_late_or_after_the_end_change_nothing() {
    let server = server(Flavour::Containerd2_1);
    let sandbox = server.run_pod("web").unwrap();
    let mut watched = watch(&server).live().await;
    server.on_event(|_| Fate::Duplicate);
    let web = server.run(&sandbox, "web").unwrap();
    assert_eq!(watched.reported().await, "started web");
    server.report(ContainerEventType::ContainerStartedEvent, &web).unwrap();
    server.exit(&web, 0).unwrap();
    assert_eq!(watched.reported().await, "exited web 0");
    server.report(ContainerEventType::ContainerStartedEvent, &web).unwrap();
    server.report(ContainerEventType::ContainerStoppedEvent, &web).unwrap();
    server.remove(&web).unwrap();
    let last = server.run(&sandbox, "last").unwrap();
    assert_eq!(watched.reported().await, "started last");
    assert_true(&watched, &server);
    let stats = server.stats();
    assert!(
        stats.requests.of_id(Method::ContainerStatus, &web) <= 2,
        "the repeated start may come before the answer"
    );
    assert!(stats.requests.of_id(Method::ContainerStatus, &last) <= 2);
}

#[tokio::test]
async fn the_removal_of_a_sandbox_ends_it() {
    let server = server(Flavour::Containerd2_1);
    let sandbox = server.run_pod("web").unwrap();
    let web = server.run(&sandbox, "web").unwrap();
    let mut watched = watch(&server).live().await;
    server.on_event(|event| match event.container_event_type() {
        ContainerEventType::ContainerStoppedEvent => Fate::Vanish,
        _ => Fate::Deliver,
    });
    server.remove(&web).unwrap();
    assert!(watched.reported().await.starts_with("exited web"));
    server.remove(&sandbox).unwrap();
    assert!(watched.reported().await.starts_with("exited "));
    assert_eq!(watched.watching.portfolio().total(), 0);
}

#[tokio::test]
async fn malformed_and_unknown_events_do_no_harm() {
    use whalewatcher_api::cri::v1::ContainerEventResponse;
    let server = server(Flavour::Containerd2_1);
    let sandbox = server.run_pod("web").unwrap();
    let mut watched = watch(&server).live().await;
    in_time(server.until_subscriptions(1)).await;
    for id in ["", "a/b", "\u{1b}[2J", "unknown"] {
        for kind in 0..6 {
            let container_event_type = kind;
            server.emit(ContainerEventResponse {
                container_id: id.into(),
                container_event_type,
                created_at: i64::MIN,
                ..ContainerEventResponse::default()
            });
        }
    }
    server.run(&sandbox, "last").unwrap();
    assert_eq!(watched.reported().await, "started last");
    assert_true(&watched, &server);
    assert_eq!(watched.watching.status().counters.connects, 1);
}

#[tokio::test]
async fn watchers_of_one_client_see_the_same_lives() {
    for flavour in REPORTING {
        let server = server(flavour);
        let pod = server.run_pod("p").unwrap();
        let web = server.run(&pod, "web").unwrap();
        let client = client(&server);
        let mut watchers = [watch_by(client.clone()).live().await, watch_by(client).live().await];
        server.exit(&web, 3).unwrap();
        let short = server.run(&pod, "short").unwrap();
        server.exit(&short, 4).unwrap();
        for watched in &mut watchers {
            assert_eq!(watched.reported_all(3).await, ["exited web 3", "started short", "exited short 4"]);
            assert_true(watched, &server);
        }
    }
}
