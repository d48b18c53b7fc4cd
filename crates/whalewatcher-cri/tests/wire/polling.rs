//! Polling, where no events report changes.

use std::time::Duration;

use whalewatcher_testkit::cri::{Code, ContainerSpec, Flavour, Method, Server, Verdict};

use crate::watched::{
    Watched, assert_true, client, in_time, lists, server, statuses, watch, watch_with_settings,
};

async fn polled(server: &Server) -> Watched {
    watch_with_settings(client(server), whalewatcher_core::Settings::default().with_audits(None)).live().await
}

#[tokio::test]
async fn only_what_is_new_costs_a_status() {
    let server = server(Flavour::Crio);
    let sandbox = server.run_pod("p").unwrap();
    for nth in 0..10 {
        server.run(&sandbox, ContainerSpec::new(format!("c{nth}"))).unwrap();
    }
    let mut watched = polled(&server).await;
    assert_eq!(statuses(&server.stats()), (10, 1));
    let polls = lists(&server.stats()).0;
    in_time(server.until(|stats| lists(stats).0 >= polls + 5)).await;
    assert_eq!(statuses(&server.stats()), (10, 1), "nothing has changed");
    let new = server.run(&sandbox, "new").unwrap();
    assert_eq!(watched.reported().await, "started new");
    server.exit(&new, 3).unwrap();
    assert_eq!(watched.reported().await, "exited new 3", "its status reports the exit code");
    assert_eq!(statuses(&server.stats()), (12, 1));
    server.remove(&sandbox).unwrap();
    let reported = watched.reported_all(11).await;
    assert!(reported.iter().all(|reported| reported.starts_with("exited ")), "{reported:?}");
    assert_eq!(statuses(&server.stats()), (22, 1), "once for each container that is gone");
    let counters = watched.watching.status().counters;
    assert_eq!((counters.drifted, counters.connects), (0, 1));
}

#[tokio::test]
async fn an_audit_while_polling_finds_no_drift() {
    let server = server(Flavour::Crio);
    let sandbox = server.run_pod("p").unwrap();
    let settings = whalewatcher_core::Settings::default().with_audits(Duration::from_millis(7));
    let mut watched = watch_with_settings(client(&server), settings).live().await;
    for nth in 0..30 {
        let id = server.run(&sandbox, ContainerSpec::new(format!("c{nth}"))).unwrap();
        assert_eq!(watched.reported().await, format!("started c{nth}"));
        server.exit(&id, 0).unwrap();
        assert_eq!(watched.reported().await, format!("exited c{nth} 0"));
    }
    assert_eq!(watched.watching.status().counters.drifted, 0);
    assert_true(&watched, &server);
}

#[tokio::test]
async fn one_failed_poll_is_retried_and_repeated_failures_disconnect() {
    let server = server(Flavour::Crio);
    let sandbox = server.run_pod("p").unwrap();
    let mut watched = polled(&server).await;
    server.fail_next(Method::ListPodSandbox, 2, Code::Internal, "out of luck");
    server.run(&sandbox, "web").unwrap();
    assert_eq!(watched.reported().await, "started web");
    assert_eq!(watched.watching.status().counters.connects, 1);
    let hook = server.on(Method::ListContainers, Verdict::error(Code::Internal, "no luck at all"));
    let reported = watched.reported().await;
    assert_eq!(reported, "disconnected the CRI runtime fails RuntimeService.ListContainers: no luck at all");
    server.remove_hook(hook);
    assert_eq!(watched.until_reported("synced").await.pop().unwrap(), "synced 2");
}

#[tokio::test]
async fn a_poll_may_take_as_long_as_a_list() {
    let server = server(Flavour::Crio);
    let (list, other) = (Duration::from_secs(1), Duration::from_secs(10));
    let settings = whalewatcher_core::Settings::default().with_audits(None).with_limits(other, list, other);
    let mut watched = watch_with_settings(client(&server), settings).live().await;
    let gate = server.hold(Method::ListContainers, None);
    assert_eq!(watched.reported().await, "disconnected polling: no list within 1 s");
    gate.open();
    watched.until_reported("synced").await;
}

#[tokio::test]
async fn a_life_that_ends_between_list_and_status_is_not_reported() {
    let server = server(Flavour::Crio);
    let sandbox = server.run_pod("p").unwrap();
    let mut watched = polled(&server).await;
    let gate = server.hold(Method::ContainerStatus, None);
    let short = server.run(&sandbox, "short").unwrap();
    in_time(gate.until_waiting(1)).await;
    server.remove(&short).unwrap();
    gate.open();
    server.run(&sandbox, "last").unwrap();
    assert_eq!(watched.reported().await, "started last");
    assert_true(&watched, &server);
}

#[tokio::test]
async fn what_changes_between_the_list_and_the_first_poll_is_reported() {
    let server = server(Flavour::Crio);
    let sandbox = server.run_pod("p").unwrap();
    let goes = server.run(&sandbox, "goes").unwrap();
    let gate = server.hold_answers(Method::ListContainers, None);
    let mut watched = watch(&server);
    in_time(gate.until_waiting(1)).await;
    server.exit(&goes, 0).unwrap();
    server.run(&sandbox, "comes").unwrap();
    gate.open();
    watched.until_reported("started comes").await;
    assert_true(&watched, &server);
}
