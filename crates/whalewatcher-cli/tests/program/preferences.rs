//! Hosts and columns that the environment and the user's file name.

use std::fs;

use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::program::{Ended, command};

#[tokio::test]
async fn hosts_and_columns_of_the_file_are_used_unless_the_environment_or_the_command_line_names_others() {
    let [first, second] = ["first", "second"].map(|name| {
        let engine = Server::builder().start().unwrap();
        engine.run(ContainerSpec::new(name).image("busybox")).unwrap();
        engine
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("whalewatcher.toml");
    let text = format!("hosts = [\"{}\"]\ncolumns = [\"image\", \"name\"]\n", first.endpoint());
    fs::write(&path, text).unwrap();
    let ps = |arguments: &[&str]| {
        let mut ps = command(&[&["ps"], arguments].concat());
        ps.env("XDG_CONFIG_HOME", folder.path());
        ps
    };
    let of_file = Ended::of(&mut ps(&[])).await;
    assert_eq!(of_file.stdout, "IMAGE    NAME\nbusybox  first\n", "{of_file:?}");
    let of_environment = Ended::of(ps(&[]).env("WHALEWATCHER_HOST", second.endpoint())).await;
    assert_eq!(of_environment.stdout, "IMAGE    NAME\nbusybox  second\n", "{of_environment:?}");
    let of_line = Ended::of(&mut ps(&["-H", &second.endpoint(), "-o", "name"])).await;
    assert_eq!(of_line.stdout, "second\n", "{of_line:?}");

    let wrong = Ended::of(ps(&[]).env("WHALEWATCHER_HOST", "ftp://x")).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.starts_with("error: WHALEWATCHER_HOST: "), "{wrong:?}");
    fs::write(&path, "hosts = 7\n").unwrap();
    let wrong = Ended::of(&mut ps(&[])).await;
    assert!(wrong.error().contains("whalewatcher.toml: line 1: invalid type"), "{wrong:?}");
}
