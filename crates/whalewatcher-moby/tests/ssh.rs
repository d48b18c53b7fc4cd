//! Docker on another host, through a program in place of `ssh`.

#![cfg(all(feature = "ssh", target_os = "linux"))]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod fake_ssh;

use std::process::Command;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::time::timeout;
use whalewatcher_core::adapter::{EngineClient, EngineConnection};
use whalewatcher_core::{ContainerId, EngineError, ErrorKind, EventKind, Phase, Settings, watch};
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{Kind, Server};

use crate::fake_ssh::{FakeSsh, shared_socket};

const LIMIT: Duration = Duration::from_secs(60);

async fn failure(ssh: &FakeSsh) -> EngineError {
    let (client, settings) = (ssh.client(), Settings::default());
    let connecting = client.connect(&settings);
    timeout(LIMIT, connecting).await.expect("connecting ends").map(drop).unwrap_err()
}

fn engine() -> Server {
    Server::builder().id("whale").tcp(true).start().unwrap()
}

#[tokio::test]
async fn an_engine_is_watched_over_one_shared_connection() {
    let engine = engine();
    for number in 0..30 {
        engine.run(format!("c{number}")).unwrap();
    }
    let ssh = FakeSsh::to(&engine);
    let watching = watch(ssh.client());
    timeout(LIMIT, watching.ready()).await.unwrap().unwrap();
    assert_eq!(watching.portfolio().total(), 30);
    let identity = watching.identity().unwrap();
    assert_eq!((&*identity.id, &*identity.endpoint, identity.pid), ("whale", "ssh://me@whale:2222", None));
    let (_, mut changes) = watching.subscribe();
    engine.run("web").unwrap();
    let started = async {
        while !matches!(changes.next().await.unwrap().kind, EventKind::Started(container) if container.name() == "web")
        {
        }
    };
    timeout(LIMIT, started).await.unwrap();

    let calls = ssh.calls();
    let (first, others) = calls.split_first().unwrap();
    assert!(first.1.contains("-o BatchMode=yes ") && first.1.contains(" -o ControlMaster=yes "), "{first:?}");
    assert!(first.1.ends_with(" -l me -p 2222 -- whale docker system dial-stdio"), "{first:?}");
    let socket = shared_socket(&first.1).unwrap();
    assert!(!others.is_empty());
    for (_, arguments) in others {
        assert!(arguments.contains(" -o ControlMaster=no "), "{arguments}");
        assert_eq!(shared_socket(arguments), Some(socket), "{arguments}");
    }
    drop(watching);
    ssh.until_gone().await;
}

#[tokio::test]
async fn a_connection_that_the_user_shares_is_used_and_left_alone() {
    let engine = engine();
    engine.run("web").unwrap();
    let ssh = FakeSsh::shared_to(&engine);
    let watching = watch(ssh.client());
    timeout(LIMIT, watching.ready()).await.unwrap().unwrap();
    for (_, arguments) in ssh.calls() {
        assert!(
            arguments.contains(" -o ControlMaster=no ") && shared_socket(&arguments).is_none(),
            "{arguments}"
        );
    }
    drop(watching);
    ssh.until_gone().await;
}

/// sshd allows ten sessions on one connection, and others need some too.
#[tokio::test]
async fn seven_processes_inspect_however_many_containers_there_are() {
    let engine = engine();
    let ids: Vec<ContainerId> =
        (0..40).map(|number| engine.run(format!("c{number}")).unwrap().into()).collect();
    let ssh = FakeSsh::to(&engine);
    let connection = ssh.client().connect(&Settings::default()).await.unwrap();
    let gate = engine.hold(Kind::Inspect);
    let opened = async {
        gate.until_waiting(7).await;
        gate.open();
    };
    let all = join(join_all(ids.iter().map(|id| connection.inspect(id))), opened);
    let (inspected, ()) = timeout(LIMIT, all).await.unwrap();
    assert!(inspected.into_iter().all(|container| container.unwrap().is_some()));
    let processes = ssh.calls().len();
    assert!(processes <= 7, "{processes} processes, of which the first one is used again");
}

#[tokio::test]
async fn each_failure_is_an_error_of_its_own() {
    use ErrorKind::{Disconnected, NotThisEngine, PermissionDenied, Unreachable};
    for (script, kind, reason) in [
        (
            "echo 'me@whale: Permission denied (publickey).' >&2; exit 255",
            PermissionDenied,
            "ssh may not log in at ssh://me",
        ),
        (
            "echo 'connect to host whale: No route to host' >&2; exit 255",
            Unreachable,
            "No route to host; is the host up",
        ),
        (
            "echo 'docker: command not found' >&2; exit 127",
            NotThisEngine,
            "there is no program 'docker' at ssh://me",
        ),
        (
            "echo 'dial unix: connect: connection refused' >&2; exit 1",
            Unreachable,
            "dockerd does not listen at",
        ),
        // Before it reads the request, and after.
        ("exec <&-; echo 'no luck' >&2; exit 3", Unreachable, "fails at ssh://me@whale:2222: no luck"),
        ("read; echo 'no luck' >&2; exit 3", Unreachable, "fails at ssh://me@whale:2222: no luck"),
        ("kill -9 $$", Unreachable, "fails at ssh://me@whale:2222: a signal ended it"),
        ("exit 0", Disconnected, "lost the connection to ssh://me@whale:2222"),
        // Closes its output, and does not end.
        ("exec >&-; exec sleep 1000", Disconnected, "lost the connection to ssh://me@whale:2222"),
        ("read; echo hello; exit 0", NotThisEngine, "does not speak HTTP"),
    ] {
        let ssh = FakeSsh::running(script);
        let error = failure(&ssh).await;
        assert_eq!(error.kind(), kind, "{script}: {error}");
        assert!(error.to_string().contains(reason), "{script}: {error}");
        ssh.until_gone().await;
    }
}

#[tokio::test]
async fn what_ssh_prints_is_read_and_bounded() {
    let script = "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo 'the reason' >&2; exit 255";
    let error = failure(&FakeSsh::running(script)).await.to_string();
    assert!(error.starts_with("cannot reach ssh://me@whale:2222: the reason;"), "{error}");
    let error =
        failure(&FakeSsh::running("head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 255")).await.to_string();
    assert!(error.contains("xxx…") && error.len() < 500, "{error}");
}

#[tokio::test]
async fn a_missing_ssh_is_an_error_that_says_so() {
    let client = Client::builder().endpoint("ssh://whale").ssh_program("/no/such/ssh").build().unwrap();
    let error = client.connect(&Settings::default()).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.to_string().starts_with("cannot run '/no/such/ssh' for ssh://whale: No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn a_hanging_ssh_is_ended_at_the_limit() {
    let ssh = FakeSsh::running("exec sleep 1000");
    let settings = Settings::default().with_limits(Duration::from_millis(300), LIMIT, LIMIT);
    let watching = whalewatcher_core::watch_with(ssh.client(), settings);
    let mut status = watching.follow_status();
    let failed = status.wait_for(|status| matches!(&status.phase, Phase::Disconnected { .. }));
    timeout(LIMIT, failed).await.unwrap().unwrap();
    drop(watching);
    ssh.until_gone().await;
}

#[tokio::test]
async fn a_connection_that_ends_is_made_again() {
    let engine = engine();
    engine.run("web").unwrap();
    let ssh = FakeSsh::to(&engine);
    let watching = watch(ssh.client());
    timeout(LIMIT, watching.ready()).await.unwrap().unwrap();
    let (_, mut changes) = watching.subscribe();
    let processes: Vec<_> = ssh.calls().into_iter().map(|(process, _)| process.to_string()).collect();
    assert!(Command::new("kill").arg("-9").args(&processes).status().unwrap().success());
    let synced = async {
        let mut was_disconnected = false;
        loop {
            match changes.next().await.unwrap().kind {
                EventKind::Disconnected { .. } => was_disconnected = true,
                EventKind::Synced { .. } if was_disconnected => break,
                other => assert!(matches!(other, EventKind::Synced { .. }), "{other:?}"),
            }
        }
    };
    timeout(LIMIT, synced).await.unwrap();
    drop(watching);
    ssh.until_gone().await;
}
