//! Faults of the connection, caused by the test kit's proxy: the watcher recovers from each, and announces
//! nothing that has not happened.

use std::time::Duration;

use tokio::time::sleep;
use whalewatcher_cri::Client;
use whalewatcher_testkit::cri::{ContainerSpec, Flavour, PodSpec, Server};
use whalewatcher_testkit::faulty::{Limits, absences, cuts, silences};
use whalewatcher_testkit::proxy::{Fault, Proxy};

type Stage = whalewatcher_testkit::faulty::Stage<Server, Client>;

/// The flavours whose changes come from events, from hints (with the feature `containerd`) and from polling.
const FLAVOURS: [Flavour; 3] = [Flavour::Containerd2_1, Flavour::Containerd1_7, Flavour::Crio];

const LIMITS: Limits =
    Limits { answer: Duration::from_millis(500), silence: Duration::from_millis(100), audits: None };

/// Starts a pod of two containers, `stays` and `goes`, whose IDs are their names.
async fn begin(flavour: Flavour) -> Stage {
    let server = Server::builder().flavour(flavour).start().unwrap();
    server.run_pod(PodSpec::new("pod").id("pod")).unwrap();
    for id in ["stays", "goes"] {
        run(&server, "pod", id);
    }
    let client =
        |endpoint| Client::builder().endpoint(endpoint).poll_every(Duration::from_millis(10)).build();
    Stage::begin(server, Proxy::builder(), |endpoint| client(endpoint).unwrap(), LIMITS).await
}

fn run(server: &Server, pod: &str, id: &str) {
    server.run(pod, ContainerSpec::new(id).id(id)).unwrap();
}

/// Changes containers in all ways.
fn change(stage: &mut Stage) {
    stage.drive(|server| {
        server.exit("goes", 0).unwrap();
        run(server, "pod", "comes");
        server.run_pod(PodSpec::new("other").id("other")).unwrap();
        run(server, "other", "brief");
    });
    stage.drive(|server| {
        server.remove("other").unwrap();
        run(server, "pod", "last");
    });
}

/// Asserts that exactly the changes are reported. What was brief may have been missed.
async fn assert_changed(stage: &mut Stage, fault: &str) {
    let mut reported = stage.settled().await;
    reported.retain(|reported| !reported.ends_with(" brief") && !reported.ends_with(" other"));
    assert_eq!(reported, ["exited goes", "started comes", "started last"], "{fault}");
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
    stage.drive(|server| server.exit("last", 0).unwrap());
    assert_eq!(stage.settled().await, ["exited last"], "{name}");
}

#[tokio::test]
async fn a_connection_may_end_after_any_number_of_bytes() {
    for flavour in FLAVOURS {
        for fault in cuts() {
            let mut stage = begin(flavour).await;
            stage.inject(fault.clone());
            change(&mut stage);
            assert_changed(&mut stage, &fault.to_string()).await;
        }
    }
}

#[tokio::test]
async fn a_connection_may_be_dead_slow_or_silent() {
    for flavour in FLAVOURS {
        for fault in silences() {
            survives(begin(flavour).await, fault).await;
        }
    }
}

#[tokio::test]
async fn a_runtime_may_be_gone_or_its_socket_replaced() {
    for flavour in FLAVOURS {
        for fault in absences() {
            let stage = begin(flavour).await;
            stage.server.disconnect_all();
            survives(stage, fault).await;
        }
    }
}
