//! Faults of the connection, caused by the test kit's proxy: the watcher recovers from each, and announces
//! nothing that has not happened.

use std::time::Duration;

use tokio::time::sleep;
use whalewatcher_podman::Client;
use whalewatcher_testkit::docker::{Flavour, Server};
use whalewatcher_testkit::faulty::{Limits, absences, cuts, silences};
use whalewatcher_testkit::proxy::{Fault, Proxy};

type Stage = whalewatcher_testkit::faulty::Stage<Server, Client>;

const LIMITS: Limits =
    Limits { answer: Duration::from_secs(1), silence: Duration::from_millis(200), audits: None };

/// The requests that a watcher makes on each connection.
const REQUESTS: [&str; 5] =
    ["/_ping", "/info", "/libpod/containers/json?all=true HTTP", "/libpod/events", "/json HTTP"];

/// The difference that [`change`] makes.
const DIFFERENCE: [&str; 5] =
    ["exited goes", "exited restarts", "paused stays", "started comes", "started restarts"];

async fn begin() -> Stage {
    let server = Server::builder().flavour(Flavour::Podman).version("4.3.1").api_versions("1.41", "1.24");
    let server = server.start().unwrap();
    for name in ["stays", "goes", "restarts"] {
        server.run(name).unwrap();
    }
    // Two are from before the watch, so they are listed, and one is younger.
    server.clock().advance(Duration::from_secs(60));
    server.restart("goes").unwrap();
    Stage::begin(server, Proxy::builder(), |endpoint| Client::new(endpoint).unwrap(), LIMITS).await
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

/// Changes containers during the fault, which lasts as long as it takes to be noticed.
async fn survives(mut stage: Stage, fault: Fault) {
    let name = fault.to_string();
    stage.inject(fault);
    change(&mut stage);
    // A fault that is never noticed must do no harm either.
    sleep(2 * LIMITS.silence + LIMITS.answer).await;
    stage.proxy.heal().unwrap();
    assert_eq!(stage.settled().await, DIFFERENCE, "{name}");
    stage.drive(|server| server.exit("comes", 0).unwrap());
    assert_eq!(stage.settled().await, ["exited comes"], "{name}");
}

#[tokio::test]
async fn a_connection_may_end_after_any_number_of_bytes() {
    for fault in cuts() {
        let mut stage = begin().await;
        stage.inject(fault.clone());
        change(&mut stage);
        assert_eq!(stage.settled().await, DIFFERENCE, "{fault}");
    }
}

#[tokio::test]
async fn any_answer_may_be_cut_truncated_or_malformed() {
    let faults =
        |after| [Fault::cut_after(after), Fault::truncate_after(after), Fault::corrupt(after, 5, after)];
    for request in REQUESTS {
        for fault in [17, 300, 600].into_iter().flat_map(faults) {
            let mut stage = begin().await;
            let fault = fault.on_requests(request).times(1);
            stage.inject(fault.clone());
            stage.proxy.cut_all();
            change(&mut stage);
            assert_eq!(stage.settled().await, DIFFERENCE, "{fault}");
        }
    }
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
async fn a_connection_may_be_dead_slow_or_silent() {
    for fault in silences() {
        survives(begin().await, fault).await;
    }
}

#[tokio::test]
async fn a_service_may_be_gone_or_its_socket_replaced() {
    for fault in absences() {
        let stage = begin().await;
        stage.server.disconnect_all();
        survives(stage, fault).await;
    }
}
