//! Faults of the connection, caused by the test kit's proxy: the watcher recovers from each, and announces
//! nothing that has not happened.

use std::time::Duration;

use tokio::time::sleep;
use whalewatcher_containerd::Client;
use whalewatcher_testkit::containerd::Server;
use whalewatcher_testkit::faulty::{Limits, absences, cuts, silences};
use whalewatcher_testkit::proxy::{Fault, Proxy};

type Stage = whalewatcher_testkit::faulty::Stage<Server, Client>;

const LIMITS: Limits =
    Limits { answer: Duration::from_millis(500), silence: Duration::from_millis(100), audits: None };

async fn begin() -> Stage {
    let server = Server::builder().start().unwrap();
    for id in ["stays", "shop/goes", "shop/restarts"] {
        server.run(id).unwrap();
    }
    Stage::begin(server, Proxy::builder(), |endpoint| Client::new(endpoint).unwrap(), LIMITS).await
}

/// Changes containers in all ways.
fn change(stage: &mut Stage) {
    stage.drive(|server| {
        server.pause("stays").unwrap();
        server.exit("shop/goes", 0).unwrap();
        server.remove("shop/restarts").unwrap();
        server.run("shop/restarts").unwrap();
        server.run("new/comes").unwrap();
    });
}

/// Asserts that exactly the changes are reported.
async fn assert_changed(stage: &mut Stage, fault: &str) {
    let reported = stage.settled().await;
    let expected = [
        "exited shop/goes",
        "exited shop/restarts",
        "paused stays",
        "started new/comes",
        "started shop/restarts",
    ];
    assert_eq!(reported, expected, "{fault}");
}

/// Changes containers during the fault, which lasts as long as it takes to be noticed.
async fn survives(mut stage: Stage, fault: Fault) {
    let name = fault.to_string();
    stage.inject(fault);
    change(&mut stage);
    // A fault that is never noticed must do no harm either.
    sleep(2 * LIMITS.silence + LIMITS.answer).await;
    stage.proxy.heal().unwrap();
    assert_changed(&mut stage, &name).await;
    stage.drive(|server| server.exit("new/comes", 0).unwrap());
    assert_eq!(stage.settled().await, ["exited new/comes"], "{name}");
}

#[tokio::test]
async fn a_connection_may_end_after_any_number_of_bytes() {
    for fault in cuts() {
        let mut stage = begin().await;
        stage.inject(fault.clone());
        change(&mut stage);
        assert_changed(&mut stage, &fault.to_string()).await;
    }
}

#[tokio::test]
async fn a_connection_may_be_dead_slow_or_silent() {
    for fault in silences() {
        survives(begin().await, fault).await;
    }
}

#[tokio::test]
async fn an_engine_may_be_gone_or_its_socket_replaced() {
    for fault in absences() {
        let stage = begin().await;
        stage.server.disconnect_all();
        survives(stage, fault).await;
    }
}
