//! Faults between a watcher and Docker, by the test kit's proxy: after each one the watcher recovers,
//! announces exactly what has changed, and nothing that has not happened.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::Server;
use whalewatcher_testkit::faulty::Limits;
use whalewatcher_testkit::proxy::{Direction, Family, Fault, FaultKind, Proxy, RandomFaults, Refusal};

/// No step takes as long unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(120);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(1);
/// After how much silence the event stream is probed.
const SILENCE: Duration = Duration::from_millis(200);

/// The requests that a watcher makes.
const REQUESTS: [&str; 6] = ["/_ping", "/version", "/info", "/containers/json", "/events", "/json HTTP"];

/// The difference that [`change`] makes.
const DIFFERENCE: [&str; 5] =
    ["exited goes", "exited restarts", "paused stays", "started comes", "started restarts"];

type Stage = whalewatcher_testkit::faulty::Stage<Server, Client>;

async fn begin() -> Stage {
    begin_with(Proxy::builder(), None).await
}

async fn begin_with(proxy: whalewatcher_testkit::proxy::Builder, audits: Option<Duration>) -> Stage {
    // Newer than this client, so that every kind of request is made.
    let server = Server::builder().api_versions("1.60", "1.24").start().unwrap();
    let limits = Limits { answer: LIMIT, silence: SILENCE, audits };
    let mut stage = Stage::begin(server, proxy, |endpoint| Client::new(endpoint).unwrap(), limits).await;
    for name in ["stays", "goes", "restarts"] {
        stage.drive(|server| drop(server.run(name).unwrap()));
    }
    assert_eq!(stage.settled().await, ["started goes", "started restarts", "started stays"]);
    stage
}

/// Makes a change of each kind.
fn change(stage: &mut Stage) {
    stage.drive(|server| {
        server.pause("stays").unwrap();
        server.exit("goes", 0).unwrap();
        server.restart("restarts").unwrap();
        server.run("comes").unwrap();
    });
}

#[tokio::test]
async fn without_a_fault_all_changes_are_reported() {
    let mut stage = begin().await;
    change(&mut stage);
    assert_eq!(stage.settled().await, DIFFERENCE);
    assert_eq!(stage.watching.status().counters.connects, 1);
}

#[tokio::test]
async fn connections_cut_or_reset_are_replaced() {
    for (proxy, reset) in [(Proxy::builder(), false), (Proxy::builder().listen_tcp(), true)] {
        let mut stage = begin_with(proxy, None).await;
        if reset {
            stage.proxy.reset_all();
        } else {
            stage.proxy.cut_all();
        }
        change(&mut stage);
        assert_eq!(stage.settled().await, DIFFERENCE);
        stage.inject(Fault::cut_after(0).only_existing());
        stage.until_reported_disconnected().await;
        assert!(stage.settled().await.is_empty(), "nothing has changed");
    }
}

#[tokio::test]
async fn an_event_stream_cut_at_any_byte_loses_nothing() {
    for after in [0, 1, 3, 10, 100, 300, 500, 700, 1000, 1500, 2000] {
        let mut stage = begin().await;
        stage.inject(Fault::cut_after(after).on_requests("/events").times(1));
        change(&mut stage);
        assert_eq!(stage.settled().await, DIFFERENCE, "cut after {after} bytes");
    }
}

/// Injects a fault at several places of each kind of answer.
async fn recovers_wherever(make: impl Fn(u64) -> Fault) {
    for request in REQUESTS {
        for after in [0, 17, 130, 300, 600] {
            let mut stage = begin().await;
            let fault = make(after).on_requests(request).times(1);
            let id = stage.inject(fault.clone());
            stage.proxy.cut_all();
            change(&mut stage);
            assert_eq!(stage.settled().await, DIFFERENCE, "{fault}");
            assert!(after > 0 || stage.proxy.stats().hits_of(id) == 1, "{fault}");
            // The watch goes on.
            stage.drive(|server| server.unpause("stays").unwrap());
            assert_eq!(stage.settled().await, ["unpaused stays"], "{fault}");
        }
    }
}

#[tokio::test]
async fn any_answer_may_be_cut() {
    recovers_wherever(Fault::cut_after).await;
}

#[tokio::test]
async fn any_answer_may_end_early() {
    recovers_wherever(Fault::truncate_after).await;
}

#[tokio::test]
async fn any_answer_may_be_malformed() {
    recovers_wherever(|after| Fault::corrupt(after, 5, after)).await;
}

#[tokio::test]
async fn any_request_may_be_answered_with_an_error() {
    for request in REQUESTS {
        for status in [400, 500, 503] {
            let mut stage = begin().await;
            let fault = Fault::answer(status, r#"{"message":"out of luck"}"#).on_requests(request).times(2);
            let id = stage.inject(fault.clone());
            stage.proxy.cut_all();
            change(&mut stage);
            assert_eq!(stage.settled().await, DIFFERENCE, "{fault}");
            assert!(stage.proxy.stats().hits_of(id) > 0, "{fault}");
        }
    }
}

#[tokio::test]
async fn an_engine_that_refuses_connections_for_a_while_is_found_again() {
    for how in [Refusal::Closed, Refusal::Gone] {
        let mut stage = begin().await;
        stage.inject(Fault::refuse(how));
        stage.proxy.cut_all();
        stage.until_reported_disconnected().await;
        change(&mut stage);
        assert!(stage.watching.portfolio() == stage.fold, "as last known");
        stage.proxy.heal().unwrap();
        assert_eq!(stage.settled().await, DIFFERENCE);
    }
}

#[tokio::test]
async fn a_socket_may_be_replaced() {
    for cut in [false, true] {
        let mut stage = begin().await;
        stage.inject(Fault::replace_socket(cut));
        change(&mut stage);
        assert_eq!(stage.settled().await, DIFFERENCE);
        stage.proxy.cut_all();
        assert!(stage.settled().await.is_empty());
    }
}

#[tokio::test]
async fn a_black_hole_is_detected() {
    let mut stage = begin().await;
    let hole = stage.inject(Fault::black_hole());
    stage.proxy.cut_all();
    stage.until_reported_disconnected().await;
    timeout(TIMEOUT, stage.proxy.until_hit(hole, 2)).await.expect("the watcher tries again");
    change(&mut stage);
    stage.proxy.heal().unwrap();
    assert_eq!(stage.settled().await, DIFFERENCE);
}

#[tokio::test]
async fn a_slow_link_loses_nothing() {
    for fault in [
        Fault::delay(Duration::from_millis(20)),
        Fault::delay(Duration::from_millis(20)).toward(Direction::ToEngine),
        Fault::drip(100, Duration::from_millis(1)),
    ] {
        let mut stage = begin().await;
        let id = stage.inject(fault.clone());
        change(&mut stage);
        assert_eq!(stage.settled().await, DIFFERENCE, "{fault}");
        stage.proxy.cut_all();
        assert!(stage.settled().await.is_empty(), "{fault}");
        assert!(stage.proxy.stats().hits_of(id) > 0, "{fault}");
    }
}

#[tokio::test]
async fn a_stalled_event_stream_is_detected_while_requests_work() {
    for fault in [Fault::stall(), Fault::swallow(), Fault::stall().toward(Direction::ToClient)] {
        let mut stage = begin().await;
        let fault = stage.inject(fault.on_requests("/events").times(1));
        change(&mut stage);
        assert_eq!(stage.settled().await, DIFFERENCE);
        let connects = stage.watching.status().counters.connects;
        assert!(connects > 1 && stage.proxy.stats().hits_of(fault) == 1, "by another connection");
    }
}

#[tokio::test]
async fn a_dead_link_is_detected_in_silence() {
    for fault in [Fault::stall(), Fault::swallow()] {
        let mut stage = begin().await;
        stage.inject(fault);
        stage.until_reported_disconnected().await;
        change(&mut stage);
        stage.proxy.heal().unwrap();
        assert_eq!(stage.settled().await, DIFFERENCE);
    }
}

#[tokio::test]
async fn lost_events_are_detected() {
    // As many as there are of each; later replays may contain them.
    for (lost, times) in [("\"die\"", 2), ("\"start\"", 2), ("\"pause\"", 1), ("", 5)] {
        let mut stage = begin_with(Proxy::builder(), Some(Duration::from_millis(300))).await;
        let fault = stage.inject(Fault::drop_events(lost).times(times));
        change(&mut stage);
        assert_eq!(stage.settled().await, DIFFERENCE, "without {lost}");
        let counters = stage.watching.status().counters;
        assert_eq!(stage.proxy.stats().hits_of(fault), times, "without {lost}");
        assert!(counters.drifted > 0 || counters.connects > 1, "without {lost}: {counters:?}");
    }
}

#[tokio::test]
async fn repeated_and_late_events_change_nothing() {
    for fault in [
        Fault::repeat_events(""),
        Fault::repeat_events("\"die\""),
        Fault::delay_events("").times(1),
        Fault::delay_events("\"die\""),
        Fault::delay_events("\"start\""),
        Fault::delay_events("\"pause\""),
    ] {
        let mut stage = begin().await;
        let id = stage.inject(fault.clone());
        change(&mut stage);
        // The last one may wait for another.
        timeout(TIMEOUT, stage.proxy.until_hit(id, 1)).await.expect("the fault has an effect");
        stage.proxy.heal().unwrap();
        assert_eq!(stage.settled().await, DIFFERENCE, "{fault}");
    }
}

#[tokio::test]
async fn after_random_faults_the_portfolio_is_true() {
    // Concurrently, because each takes seconds: an event stream that is cut repeatedly is replaced by polling
    // for a while.
    let hits = join_all((0..20).map(after_random_faults)).await;
    let hit: u32 = hits.iter().sum();
    assert!(hit > 25, "only {hit} faults had an effect");
}

/// Injects four faults, and returns how many had an effect.
#[allow(clippy::print_stdout, reason = "shown if the test fails")]
async fn after_random_faults(seed: u64) -> u32 {
    let mut stage = begin_with(Proxy::builder(), Some(Duration::from_millis(300))).await;
    // Faults that only a time limit detects are rarer, because they take that long.
    let mut faults = RandomFaults::new(seed)
        .weight(Family::Cut, 5)
        .weight(Family::Corrupt, 5)
        .weight(Family::Truncate, 5)
        .weight(Family::Answer, 5)
        .requests(REQUESTS);
    let mut hit = 0;
    for round in 0..4 {
        let fault = faults.next_fault();
        println!("{seed}, {round}: {fault}");
        let id = stage.inject(fault.clone());
        let name = format!("c{round}");
        stage.drive(|server| drop(server.run(name.as_str()).unwrap()));
        match round % 4 {
            0 => stage.drive(|server| server.restart("restarts").unwrap()),
            1 => stage.drive(|server| server.pause(&name).unwrap()),
            2 => stage.drive(|server| server.exit(&name, 1).unwrap()),
            _ => {}
        }
        if round % 3 == 0 {
            stage.proxy.cut_all();
        }
        let proxy = stage.proxy.clone();
        tokio::select! {
            () = proxy.until_hit(id, 1) => hit += 1,
            _ = stage.settled() => {}
        }
        // Some last until they are lifted. The watcher recovers from the others by itself.
        let lasts = matches!(fault.kind(), FaultKind::Stall { swallow: false } | FaultKind::Refuse(_));
        if lasts || round % 2 == 0 {
            proxy.heal().unwrap();
        }
        stage.settled().await;
        proxy.heal().unwrap();
    }
    hit
}
