//! Lists and inspections: their cost, and errors of one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::sleep;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{ContainerId, ErrorKind, Settings};
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{ContainerSpec, Gate, Kind, Server, Verdict};

use crate::watched::{in_time, watch};

fn run_many(server: &Server, count: usize) {
    for number in 0..count {
        server.run(format!("c{number}")).unwrap();
    }
}

#[tokio::test]
async fn connections_are_reused() {
    let server = Server::builder().start().unwrap();
    run_many(&server, 100);
    let mut watched = watch(&server).live().await;
    for _ in 0..20 {
        let id = server.run("more").unwrap();
        assert_eq!(watched.reported().await, "started more");
        server.remove(&id).unwrap();
        watched.until_reported("exited more").await;
    }
    let stats = server.stats();
    assert!(stats.requests.inspect >= 120, "{stats:?}");
    // One for events, one for each concurrent inspection; and a few that were opened while another became idle.
    assert!(stats.accepted < 30, "{stats:?}");
}

/// The only blocking thread is busy, so a long list stays undecoded.
#[test]
fn events_do_not_wait_for_the_decoding_of_a_long_list() {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let server = Server::builder().start().unwrap();
        let text = ("text".to_owned(), "v".repeat(300 * 1024));
        server.run(ContainerSpec::new("long").labels([text])).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let busy = spawn_blocking(move || released.recv());
        let watched = watch(&server);
        in_time(async {
            while server.stats().requests.list == 0 {
                yield_now().await;
            }
        })
        .await;
        server.run("late").unwrap();
        in_time(async {
            while watched.watching.status().counters.events == 0 {
                yield_now().await;
            }
        })
        .await;
        // There is no event for "not decoded".
        sleep(Duration::from_millis(100)).await;
        assert!(!watched.watching.status().is_live(), "the list was decoded between two events");
        release.send(()).unwrap();
        busy.await.unwrap().unwrap();
        assert_eq!(watched.live().await.names(), ["late", "long"]);
    });
}

#[tokio::test]
async fn at_most_sixteen_inspections_run_at_once() {
    let server = Server::builder().start().unwrap();
    run_many(&server, 60);
    let gate = Gate::closed();
    let (held, running, most) = (gate.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    server.on_request({
        let (running, most) = (running.clone(), most.clone());
        move |request| match request.kind() {
            Kind::Inspect => {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                Verdict::Hold(held.clone())
            }
            _ => Verdict::Pass,
        }
    });
    server.on_answer(move |request, _| {
        if request.kind() == Kind::Inspect {
            running.fetch_sub(1, Ordering::SeqCst);
        }
        Verdict::Pass
    });
    let watched = watch(&server);
    in_time(gate.until_waiting(16)).await;
    gate.open();
    let watched = watched.live().await;
    assert_eq!(watched.names().len(), 60);
    assert_eq!(most.load(Ordering::SeqCst), 16);
}

#[tokio::test]
async fn a_container_in_an_unknown_state_does_not_fail_the_list() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let body = format!(
        r#"[{{"Id":"odd","Names":["/odd"],"Labels":{{}},"State":"quantum"}},
            {{"Id":"{web}","Names":["/web"],"Labels":null,"State":"running"}},
            {{"Id":"stateless"}}]"#
    );
    server.on(Kind::List, Verdict::Answer { status: 200, body: body.clone().into() });
    let watched = watch(&server).live().await;
    assert_eq!(watched.names(), ["web"]);
    assert_eq!(server.stats().requests.list, 1);
}

#[tokio::test]
async fn a_removed_container_is_not_alive_and_no_error() {
    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let connection = Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
    let inspect = async |id: &str| connection.inspect(&ContainerId::from(id)).await.unwrap();
    assert_eq!(inspect(&web).await.unwrap().pid(), server.truth()[0].pid);
    // A name or the beginning of an ID finds another container, and other paths find none.
    for id in ["web", &web[..12], "../../version", "a/b?c=d#e", ""] {
        assert!(connection.inspect(&ContainerId::from(id)).await.is_err(), "{id}");
    }
    assert_eq!(inspect("no-such").await, None);
    server.exit(&web, 0).unwrap();
    assert_eq!(inspect(&web).await, None);
    server.remove(&web).unwrap();
    assert_eq!(inspect(&web).await, None);
    assert_eq!(server.stats().accepted, 1, "the connection survives all this");
}

#[tokio::test]
async fn a_malformed_answer_is_distinguished_from_a_lost_one() {
    let server = Server::builder().start().unwrap();
    let web = ContainerId::from(server.run("web").unwrap());
    let connection = Client::new(server.endpoint()).unwrap().connect(&Settings::default()).await.unwrap();
    for (verdict, kind) in [
        (Verdict::Answer { status: 200, body: "<html>".into() }, ErrorKind::Malformed),
        (Verdict::Answer { status: 200, body: "{}".into() }, ErrorKind::Malformed),
        (Verdict::Answer { status: 200, body: "\u{0}".into() }, ErrorKind::Malformed),
        (Verdict::error(500, "out of luck"), ErrorKind::Failed),
        (Verdict::error(403, "not for you"), ErrorKind::PermissionDenied),
        (Verdict::Close, ErrorKind::Disconnected),
    ] {
        let hook = server.on_request({
            let verdict = verdict.clone();
            move |request| match request.kind() {
                Kind::Inspect | Kind::List => verdict.clone(),
                _ => Verdict::Pass,
            }
        });
        assert_eq!(in_time(connection.inspect(&web)).await.unwrap_err().kind(), kind, "{verdict:?}");
        assert_eq!(in_time(connection.list()).await.unwrap_err().kind(), kind, "{verdict:?}");
        server.remove_hook(hook);
    }
    let hook = server.on_answer(|_, _| Verdict::Truncate(20));
    assert_eq!(in_time(connection.inspect(&web)).await.unwrap_err().kind(), ErrorKind::Disconnected);
    assert_eq!(in_time(connection.list()).await.unwrap_err().kind(), ErrorKind::Disconnected);
    server.remove_hook(hook);
    assert_eq!(in_time(connection.inspect(&web)).await.unwrap().unwrap().name(), "web");
}

#[tokio::test]
async fn a_failed_inspection_is_repeated() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let failures = AtomicUsize::new(3);
    server.on_request(move |request| {
        let left =
            || failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        match request.kind() {
            Kind::Inspect if left() => Verdict::error(500, "out of luck"),
            _ => Verdict::Pass,
        }
    });
    let mut watched = watch(&server);
    watched.until_reported("started web").await;
    assert_eq!(watched.names(), ["web"]);
}

/// Limits of inspections on request: one that is not reached, and one that is.
const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn an_inspection_on_request_is_the_engines_answer() {
    let server = Server::builder().start().unwrap();
    let id = server.run(ContainerSpec::new("web").env("PASSWORD", "secret")).unwrap();
    let client = Client::new(server.endpoint()).unwrap();
    server.exit("web", 3).unwrap();
    for key in [&*id, "web"] {
        let json = client.inspect_json(key, LONG).await.unwrap().unwrap();
        let inspected: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((&inspected["Id"], &inspected["State"]["ExitCode"]), (&id.clone().into(), &3.into()));
        assert_eq!(inspected["Config"]["Env"][0], "PASSWORD=secret");
    }
    assert_eq!(client.inspect_json("../version?x", LONG).await.unwrap(), None);
    assert_eq!(server.stats().accepted, 1, "the connection is kept");
}

#[tokio::test]
async fn at_most_eight_inspections_on_request_run_at_once_and_those_that_wait_have_their_time_limit() {
    let server = Server::builder().start().unwrap();
    let id = server.run("web").unwrap();
    let client = Arc::new(Client::new(server.endpoint()).unwrap());
    let gate = Gate::closed();
    server.on(Kind::Inspect, Verdict::Hold(gate.clone()));
    let ask = || {
        let (client, id) = (client.clone(), id.clone());
        tokio::spawn(async move { client.inspect_json(&id, LONG).await })
    };
    let asked: Vec<_> = (0..8).map(|_| ask()).collect();
    in_time(gate.until_waiting(8)).await;
    assert_eq!(client.inspect_json(&id, SHORT).await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(server.stats().requests.inspect, 8);
    gate.open();
    for one in asked {
        assert!(in_time(one).await.unwrap().unwrap().is_some());
    }
}

#[tokio::test]
async fn an_inspection_on_request_fails_with_the_reason_and_the_next_one_does_not() {
    let server = Server::builder().start().unwrap();
    let id = server.run("web").unwrap();
    let client = Client::new(server.endpoint()).unwrap();
    for (verdict, limit, kind) in [
        (Verdict::Hang, SHORT, ErrorKind::TimedOut),
        (Verdict::Close, LONG, ErrorKind::Disconnected),
        (Verdict::Truncate(10), LONG, ErrorKind::Disconnected),
        (Verdict::error(500, "no"), LONG, ErrorKind::Failed),
        (Verdict::error(404, "page not found"), LONG, ErrorKind::Failed),
        (Verdict::error(403, "no"), LONG, ErrorKind::PermissionDenied),
    ] {
        let hook = server.on(Kind::Inspect, verdict);
        assert_eq!(client.inspect_json(&id, limit).await.unwrap_err().kind(), kind);
        server.remove_hook(hook);
        assert!(client.inspect_json(&id, LONG).await.unwrap().is_some());
    }
    server.stop_listening().await;
    assert_eq!(client.inspect_json(&id, LONG).await.unwrap_err().kind(), ErrorKind::Unreachable);
    // Another socket at the same path.
    server.listen_again().unwrap();
    assert!(client.inspect_json(&id, LONG).await.unwrap().is_some());
}
