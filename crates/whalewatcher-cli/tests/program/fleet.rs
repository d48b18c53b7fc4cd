//! Many hosts, as far as that takes no etcd: what is wrong is said, and by all commands. `xtask/integration`
//! has the rest.

use rustix::process::Signal;

use crate::program::{Program, run};

/// Nothing listens there.
const NOWHERE: &str = "etcd://127.0.0.1:1";

#[tokio::test]
async fn an_etcd_that_cannot_be_read_is_named_with_the_reason() {
    for command in [&["ps"][..], &["hosts"], &["fleet", "forget", "web-1"], &["engines"]] {
        let ended = run(&[command, &["--host", NOWHERE]].concat()).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains("cannot connect to etcd at 127.0.0.1:1"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_watch_waits_for_etcd_and_says_why() {
    let mut program = Program::start(&["watch", "--host", NOWHERE]);
    let note = program.error_line().await;
    assert!(
        note.contains("waiting for etcd at etcd://127.0.0.1:1/whalewatcher/v1/: cannot connect"),
        "{note}"
    );
    program.signal(Signal::TERM);
    let ended = program.ended().await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
}

#[tokio::test]
async fn wrong_usage_is_refused() {
    for (arguments, why) in [
        (&["hosts"][..], "--host etcd://HOST"),
        (&["hosts", "--host", "unix:///run/docker.sock"], "--host etcd://HOST"),
        (&["ps", "--host", "etcd://me:s3cret@a"], "user and password are given apart"),
        (&["ps", "--host", "etcd://a", "--etcd-user", "me"], "--etcd-password-file"),
        (
            &["ps", "--host", "/run/docker.sock", "--etcd-user", "me", "--etcd-password-file", "f"],
            "--etcd-user",
        ),
        (&["ps", "--host", "/run/docker.sock", "--forget-after", "7d"], "--forget-after"),
        (&["ps", "--host", "etcd://a", "--forget-after", "0d"], "such as 7d"),
    ] {
        let ended = run(arguments).await;
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(why) && !ended.stderr.contains("s3cret"), "{arguments:?}: {ended:?}");
    }
}

#[cfg(feature = "serve")]
#[tokio::test]
async fn a_server_says_that_hosts_are_not_known_until_etcd_is_read() {
    use hyper::StatusCode;
    use serde_json::json;

    let serving = crate::serve::Serving::start(&[NOWHERE], &[]).await;
    let cluster = "etcd://127.0.0.1:1/whalewatcher/v1";
    let (status, answer) = serving.json("/v1/hosts").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert!(answer["error"].as_str().unwrap().starts_with(&format!("etcd at {cluster}: ")), "{answer}");
    let (status, waiting) = serving.json("/readyz").await;
    assert_eq!(
        (status, &waiting[0]["engine"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!(cluster)),
        "{waiting}"
    );
}
