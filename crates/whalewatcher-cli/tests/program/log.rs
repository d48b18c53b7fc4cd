//! The log is on the standard error, and only on request.

use serde_json::Value;
use whalewatcher_testkit::docker::Server;

use crate::program::{command, run};

#[tokio::test]
async fn the_log_does_not_change_the_output() {
    let engine = Server::builder().start().unwrap();
    let ps = ["ps", "--format", "json", "--host", &engine.endpoint()];
    let quiet = run(&ps).await;
    let logs = [
        run(&[&ps[..], &["-vv"]].concat()).await.stderr,
        String::from_utf8(command(&ps).env("RUST_LOG", "debug").output().await.unwrap().stderr).unwrap(),
    ];
    assert_eq!(quiet.stderr, "");
    for log in logs {
        assert!(log.contains("DEBUG") && log.contains("whalewatcher_core"), "{log}");
        assert!(!log.contains('\u{1b}'), "{log}");
    }
    let loud = run(&[&["-vvv"], &ps[..]].concat()).await;
    assert_eq!(serde_json::from_str::<Value>(&loud.stdout).unwrap(), Value::Array(vec![]));
}
