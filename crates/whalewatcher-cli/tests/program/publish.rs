//! `publish` without an etcd, and wrong usage. With one it is a scenario.

use rustix::process::Signal;

use crate::program::{Program, run};

#[tokio::test]
async fn an_etcd_that_cannot_be_reached_is_named_and_waited_for() {
    let engine = "unix:///no/such.sock";
    let words = ["publish", "--host", engine, "--host-id", "a", "--etcd", "etcd://127.0.0.1:1"];
    let mut program = Program::start(&words);
    let line = program.error_line().await;
    assert!(line.contains("waiting for etcd: cannot connect to etcd at 127.0.0.1:1"), "{line}");
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code, Some(0));
}

#[tokio::test]
async fn wrong_usage_is_refused_with_the_reason() {
    for (words, why) in [
        (&["--etcd", "http://a"][..], "it begins with etcd://"),
        (&["--etcd", "etcd://a", "--tls-ca", "ca.pem"], "use etcds://"),
        (&["--etcd", "etcd://a", "--etcd-user", "me"], "--etcd-password-file"),
        (&["--etcd", "etcd://a", "--host", "etcd://b"], "the engines of this host"),
        (&["--etcd", "etcd://a", "--host-id", ""], "--host-id"),
        (&["--etcd", "etcd://a", "--forget-after", "7d"], "shows other hosts"),
        (&[], "--etcd"),
    ] {
        let ended = run(&[&["publish", "--host", "unix:///no/such.sock"], words].concat()).await;
        assert!(ended.code == Some(2) && ended.stderr.contains(why), "{ended:?}");
    }
}
