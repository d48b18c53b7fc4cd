//! What goes on inside is told on the standard error, and only to those who ask.

use serde_json::Value;
use whalewatcher_testkit::docker::Server;

use crate::program::{command, run};

#[tokio::test]
async fn those_who_ask_are_reported_and_the_output_stays_as_it_is() {
    let engine = Server::builder().start().unwrap();
    let ps = ["ps", "--format", "json", "--host", &engine.endpoint()];
    let quiet = run(&ps).await;
    let asked = [
        run(&[&ps[..], &["-vv"]].concat()).await.stderr,
        String::from_utf8(command(&ps).env("RUST_LOG", "debug").output().await.unwrap().stderr).unwrap(),
    ];
    assert_eq!(quiet.stderr, "");
    for reported in asked {
        assert!(reported.contains("DEBUG") && reported.contains("whalewatcher_core"), "{reported}");
        assert!(!reported.contains('\u{1b}'), "{reported}");
    }
    let loud = run(&[&["-vvv"], &ps[..]].concat()).await;
    assert_eq!(serde_json::from_str::<Value>(&loud.stdout).unwrap(), Value::Array(vec![]));
}
