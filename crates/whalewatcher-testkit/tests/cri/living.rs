//! The changes that calls of a test make, and their events.

use whalewatcher_api::cri::v1::ContainerEventType;
use whalewatcher_testkit::cri::{Clock, Error, Fate, Flavour, Server};

use crate::client::{
    Subscription, container, container_in_words, containers, named, pod, sandbox, sandbox_in_words, sandboxes,
};

#[tokio::test]
async fn a_pod_lives_and_ends_with_the_events_of_containerd_2() {
    let server = Server::builder().start().unwrap();
    let mut events = Subscription::registered(&server).await;
    server.run_pod(pod("p")).unwrap();
    server.run("p", named("a")).unwrap();
    server.create("p", named("b")).unwrap();
    server.exit("a", 3).unwrap();
    server.remove("a").unwrap();
    server.start("b").unwrap();
    server.remove("p").unwrap();
    assert_eq!(
        events.reported(12).await,
        [
            "CREATED p READY",
            "STARTED p READY",
            "CREATED a READY a:CREATED",
            "STARTED a READY a:RUNNING",
            "CREATED b READY a:RUNNING b:CREATED",
            "STOPPED a READY a:EXITED b:CREATED",
            "DELETED a READY b:CREATED",
            "STARTED b READY b:RUNNING",
            "STOPPED b READY b:EXITED",
            "STOPPED p NOTREADY b:EXITED",
            "DELETED b NOTREADY",
            "DELETED p NOTREADY",
        ]
    );
    assert!(server.truth().is_empty());
    assert!(sandboxes(&server, None).await.is_empty());
    assert!(containers(&server, None).await.is_empty());
}

#[tokio::test]
async fn other_runtimes_report_of_sandboxes_in_other_ways() {
    for (flavour, reported) in [
        (
            Flavour::Containerd1_7,
            vec![
                "CREATED p READY",
                "STARTED p READY",
                "STOPPED p NOTREADY",
                "DELETED p -",
                "CREATED q READY",
            ],
        ),
        (Flavour::CrioWithEvents, vec!["STARTED p READY", "STOPPED p NOTREADY", "STARTED q READY"]),
    ] {
        let server = Server::builder().flavour(flavour).start().unwrap();
        let mut events = Subscription::registered(&server).await;
        server.run_pod(pod("p")).unwrap();
        server.remove("p").unwrap();
        server.run_pod(pod("q")).unwrap();
        assert_eq!(events.reported(reported.len()).await, reported, "{flavour:?}");
    }
}

#[tokio::test]
async fn a_container_starts_once_and_has_a_pid_only_while_it_runs() {
    let server = Server::builder().start().unwrap();
    server.run_pod(pod("p")).unwrap();
    assert_eq!(sandbox_in_words(&server, "p").await, "READY 4000");
    server.create("p", named("a")).unwrap();
    assert_eq!(container_in_words(&server, "a").await, "CREATED 0");
    assert_eq!(server.start("a").unwrap(), 4001);
    assert_eq!(container_in_words(&server, "a").await, "RUNNING 4001");
    server.exit("a", 1).unwrap();
    assert_eq!(container_in_words(&server, "a").await, "EXITED 0");
    assert!(matches!(server.start("a"), Err(Error::Started(_))));
    server.stop("p").unwrap();
    assert_eq!(sandbox_in_words(&server, "p").await, "NOTREADY 0");
    assert!(matches!(server.create("p", named("b")), Err(Error::NotReady(_))));
}

#[tokio::test]
async fn statuses_report_times_and_exit_codes() {
    let clock = Clock::stepped(jiff::Timestamp::from_second(1_000_000).unwrap());
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    let step = || clock.advance(std::time::Duration::from_secs(10));
    let seconds = |nanoseconds: i64| nanoseconds / 1_000_000_000;
    server.run_pod(pod("p")).unwrap();
    step();
    server.create("p", named("a")).unwrap();
    step();
    let created = container(&server, "a").await.unwrap().status.unwrap();
    assert_eq!((seconds(created.created_at), created.started_at, created.finished_at), (1_000_010, 0, 0));
    server.start("a").unwrap();
    step();
    server.run_out_of_memory("a").unwrap();
    server.exit("a", 137).unwrap();
    let ended = container(&server, "a").await.unwrap().status.unwrap();
    assert_eq!((seconds(ended.started_at), seconds(ended.finished_at)), (1_000_020, 1_000_030));
    assert_eq!((ended.exit_code, ended.reason.as_str()), (137, "OOMKilled"));
    let status = sandbox(&server, "p").await.unwrap().status.unwrap();
    assert_eq!(seconds(status.created_at), 1_000_000);
    // What happens later has a later time, also while the clock stands still.
    server.run("p", named("b")).unwrap();
    server.run("p", named("c")).unwrap();
    let since: Vec<_> = server.truth().into_iter().map(|alive| (alive.id, alive.since)).collect();
    assert!(since[0].1 < since[1].1, "{since:?}");
}

#[tokio::test]
async fn pods_and_containers_carry_what_their_makers_said() {
    let server = Server::builder().start().unwrap();
    let spec =
        pod("p").namespace("shop").uid("u-1").attempt(2).label("app", "web").annotation("team", "blue");
    server.run_pod(spec).unwrap();
    server.run("p", named("a").attempt(4).label("tier", "front").annotation("hash", "x")).unwrap();
    let status = sandbox(&server, "p").await.unwrap().status.unwrap();
    let metadata = status.metadata.unwrap();
    assert_eq!(
        (metadata.name.as_str(), metadata.namespace.as_str(), metadata.uid.as_str(), metadata.attempt),
        ("web", "shop", "u-1", 2)
    );
    assert_eq!((status.labels["app"].as_str(), status.annotations["team"].as_str()), ("web", "blue"));
    assert_eq!(status.labels["io.kubernetes.pod.namespace"], "shop");
    let status = container(&server, "a").await.unwrap().status.unwrap();
    let metadata = status.metadata.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.attempt), ("nginx", 4));
    assert_eq!((status.labels["tier"].as_str(), status.annotations["hash"].as_str()), ("front", "x"));
    assert_eq!(status.labels["io.kubernetes.container.name"], "nginx");
    assert_eq!(status.labels["io.kubernetes.pod.uid"], "u-1");
    // It has its own annotations, not those of its pod.
    assert_eq!(status.annotations.len(), 1);

    let alive = server.truth();
    assert_eq!((alive[0].id.as_str(), alive[0].sandbox.as_deref(), alive[0].pid), ("a", Some("p"), 4001));
    assert_eq!((alive[0].name.as_str(), alive[0].pod.namespace.as_str()), ("nginx", "shop"));
    assert_eq!((alive[1].name.as_str(), alive[1].sandbox.as_deref(), alive[1].pid), ("p", None, 4000));
}

#[tokio::test]
async fn what_crictl_made_has_no_labels_of_the_kubelet() {
    let server = Server::builder().start().unwrap();
    server.run_pod(pod("p").without_kubelet()).unwrap();
    server.run("p", named("a")).unwrap();
    assert!(sandbox(&server, "p").await.unwrap().status.unwrap().labels.is_empty());
    assert!(container(&server, "a").await.unwrap().status.unwrap().labels.is_empty());
}

#[tokio::test]
async fn an_event_carries_the_engines_time_and_the_statuses_of_its_moment() {
    let clock = Clock::stepped(jiff::Timestamp::from_second(1_000_000).unwrap());
    let server = Server::builder().clock(clock.clone()).start().unwrap();
    server.run_pod(pod("p").annotation("team", "blue")).unwrap();
    server.create("p", named("a")).unwrap();
    let mut events = Subscription::registered(&server).await;
    events.reported(3).await;
    clock.advance(std::time::Duration::from_secs(7));
    server.start("a").unwrap();
    server.exit("a", 2).unwrap();
    let started = events.next().await.unwrap().unwrap();
    assert_eq!(started.created_at / 1_000_000_000, 1_000_007);
    assert_eq!(started.pod_sandbox_status.unwrap().annotations["team"], "blue");
    assert_eq!(
        (started.containers_statuses[0].exit_code, started.containers_statuses[0].finished_at),
        (0, 0)
    );
    let stopped = events.next().await.unwrap().unwrap();
    assert!(stopped.created_at > started.created_at);
    assert_eq!(stopped.containers_statuses[0].exit_code, 2);
}

#[tokio::test]
async fn events_can_be_lost_doubled_postponed_and_made_up() {
    let server = Server::builder().start().unwrap();
    server.run_pod(pod("p")).unwrap();
    for id in ["late", "twice", "lost"] {
        server.create("p", named(id)).unwrap();
    }
    let mut events = Subscription::registered(&server).await;
    events.reported(5).await;
    let (seen, past) = std::sync::mpsc::channel();
    server.on_event(move |event| {
        seen.send(event.clone()).unwrap();
        match (event.container_event_type(), event.container_id.as_str()) {
            (ContainerEventType::ContainerStartedEvent, "late") => Fate::Postpone,
            (ContainerEventType::ContainerStartedEvent, "twice") => Fate::Duplicate,
            (ContainerEventType::ContainerStartedEvent, "lost") => Fate::Vanish,
            _ => Fate::Deliver,
        }
    });
    for id in ["late", "twice", "lost"] {
        server.start(id).unwrap();
    }
    let starts: Vec<_> = events.reported(3).await.iter().map(|reported| reported[..13].to_owned()).collect();
    assert_eq!(starts, ["STARTED twice", "STARTED twice", "STARTED late "]);
    server.lose_next(ContainerEventType::ContainerStoppedEvent);
    server.exit("late", 0).unwrap();
    server.exit("twice", 0).unwrap();
    assert!(events.reported(1).await[0].starts_with("STOPPED twice"));
    // An event that was delivered before; the hook postpones it again.
    server.emit(past.recv().unwrap());
    server.report(ContainerEventType::ContainerStoppedEvent, "lost").unwrap();
    let made_up = events.reported(1).await.remove(0);
    assert_eq!(made_up, "STOPPED lost READY late:EXITED lost:RUNNING twice:EXITED");
    assert!(events.reported(1).await[0].starts_with("STARTED late READY late:RUNNING"));
}

#[test]
fn what_cannot_be_done_is_an_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(matches!(Server::builder().start(), Err(Error::NoRuntime)));
    let _context = runtime.enter();
    let server = Server::builder().start().unwrap();
    assert!(matches!(server.start("a"), Err(Error::NotFound(_))));
    assert!(matches!(server.create("p", "a"), Err(Error::NotFound(_))));
    server.run_pod(pod("p")).unwrap();
    assert!(matches!(server.run_pod(pod("p")), Err(Error::AlreadyExists(_))));
    server.create("p", named("a")).unwrap();
    assert!(matches!(server.create("p", named("a")), Err(Error::AlreadyExists(_))));
    assert!(matches!(server.create("a", named("b")), Err(Error::NoSandbox(_))));
    assert!(matches!(server.exit("a", 0), Err(Error::NotRunning(_))));
    assert!(matches!(server.exec("a", "probe", 0), Err(Error::NotRunning(_))));
    assert!(matches!(server.finish_start("a"), Err(Error::NothingUnderWay(_))));
    server.begin_start("a").unwrap();
    assert!(matches!(server.begin_start("a"), Err(Error::UnderWay(_))));
    server.finish_start("a").unwrap();
    assert!(matches!(server.start("a"), Err(Error::Started(_))));
    server.begin_exit("a", 0).unwrap();
    assert!(matches!(server.begin_exit("a", 0), Err(Error::UnderWay(_))));
    server.finish_exit("a").unwrap();
    assert!(matches!(server.finish_exit("a"), Err(Error::NothingUnderWay(_))));
    assert!(matches!(Server::builder().socket("/nowhere/at.all").start(), Err(Error::Listen { .. })));
}
