//! What is shown of what is alive: names, filters, hosts before the command.

use serde_json::Value;
use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::program::{Ended, Program, run};

/// Returns an engine with `shop-web-1` (healthy, of `shop`), `shop-db-1` (paused, of `shop`) and `registry`.
fn shop() -> Server {
    let engine = Server::builder().start().unwrap();
    let web = ContainerSpec::new("shop-web-1").project("shop", "web").image("nginx:1.27").health_check(true);
    engine.run(web).unwrap();
    engine.health("shop-web-1", "healthy").unwrap();
    engine.run(ContainerSpec::new("shop-db-1").project("shop", "db").label("tier", "back")).unwrap();
    engine.pause("shop-db-1").unwrap();
    engine.run(ContainerSpec::new("registry").image("registry")).unwrap();
    engine
}

/// Runs `ps` as JSON, and returns the names.
async fn names(engine: &Server, arguments: &[&str]) -> (Vec<String>, Ended) {
    let endpoint = engine.endpoint();
    let ended = run(&[&["ps", "--format", "json", "--host", &endpoint], arguments].concat()).await;
    let all: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    let mut names: Vec<_> = all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    (names, ended)
}

#[tokio::test]
async fn ps_shows_what_names_and_filters_select() {
    let engine = shop();
    let id = engine.truth().into_iter().find(|alive| alive.name == "registry").unwrap().id;
    let (db, web, registry) = ("shop-db-1", "shop-web-1", "registry");
    for (arguments, expected) in [
        (&["registry"][..], &[registry][..]),
        (&["shop-*", "registry"], &[registry, db, web]),
        (&[&id], &[registry]),
        (&[&id[..12]], &[registry]),
        (&["--filter", "name=shop"], &[db, web]),
        (&["-f", "status=paused"], &[db]),
        (&["--filter", "health=healthy"], &[web]),
        (&["--filter", "ancestor=registry"], &[registry]),
        (&["--filter", "label=tier"], &[db]),
        (&["--label", "tier=back"], &[db]),
        (&["--filter", "name=shop", "--filter", "status=running"], &[web]),
        (&["--project", "shop", "--engine", "docker"], &[db, web]),
        (&["--project", ""], &[registry]),
        (&["shop-*", "--filter", "status=paused"], &[db]),
    ] {
        let (names, ended) = names(&engine, arguments).await;
        assert_eq!(
            (names.as_slice(), ended.code),
            (&expected.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()[..], Some(0)),
            "{arguments:?}"
        );
        assert_eq!(ended.stderr, "", "{arguments:?}");
    }
}

#[tokio::test]
async fn a_name_that_matches_nothing_fails_and_a_filter_does_not() {
    let engine = shop();
    let endpoint = engine.endpoint();
    let ps = |arguments: &[&'static str]| {
        let line = [&["-H", endpoint.as_str(), "ps"], arguments].concat();
        async move { run(&line).await }
    };
    let nothing = ps(&["nothing", "no*"]).await;
    let sentences = "\
whalewatcher: no live container matches 'nothing'
whalewatcher: no live container matches 'no*'
";
    assert_eq!((nothing.code, nothing.stdout.as_str(), nothing.stderr.as_str()), (Some(1), "", sentences));
    let some = ps(&["registry", "nothing"]).await;
    assert!(some.stdout.contains("registry") && !some.stdout.contains("shop"), "{some:?}");
    assert_eq!(some.error(), "whalewatcher: no live container matches 'nothing'");
    let filtered = ps(&["--filter", "health=unhealthy"]).await;
    let sentence = "whalewatcher: no live container matches the filters\n";
    assert_eq!((filtered.code, filtered.stdout.as_str(), filtered.stderr.as_str()), (Some(0), "", sentence));
    let (none, ended) = names(&engine, &["nothing"]).await;
    assert_eq!((none.len(), ended.code), (0, Some(1)));
    assert_eq!(ended.error(), "whalewatcher: no live container matches 'nothing'");
}

#[tokio::test]
async fn nothing_is_said_to_be_missing_that_an_unreachable_engine_may_have() {
    let engine = shop();
    let ended = run(&["ps", "-H", &engine.endpoint(), "-H", "unix:///no/such.sock", "nothing"]).await;
    let mut lines = ended.stderr.lines();
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        lines.next(),
        Some("whalewatcher: no container that is known to be alive matches 'nothing'"),
        "{ended:?}"
    );
    assert!(lines.next().unwrap().contains("/no/such.sock"), "{ended:?}");
    // An engine that is not selected cannot have it.
    let docker = ["ps", "-H", &engine.endpoint(), "-H", "podman:///no/such.sock", "--engine", "docker"];
    let ended = run(&[&docker[..], &["--label", "no"]].concat()).await;
    let sentence = "whalewatcher: no live container matches the filters\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), sentence), "{ended:?}");
}

#[tokio::test]
async fn a_wrong_selection_is_wrong_usage_before_anything_is_printed() {
    let engine = shop();
    for command in ["ps", "watch", "demo"] {
        for (wrong, expected) in [
            (&["--filter", "volume=data"][..], "volumes"),
            (&["--filter", "colour=red"], "ancestor, health, id, image, label, name, network, status"),
            (&["--filter", "status=exited"], "only live containers"),
            (&["[z-a]"], "not a valid pattern"),
        ] {
            let endpoint = engine.endpoint();
            let host = ["--host", endpoint.as_str()];
            let host = if command == "demo" { &[][..] } else { &host };
            let ended = run(&[&[command], host, wrong].concat()).await;
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{command} {wrong:?}");
            assert!(ended.stderr.starts_with("error: ") && ended.stderr.contains(expected), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn hosts_are_accepted_before_and_after_the_command() {
    let (one, two) = (shop(), Server::builder().start().unwrap());
    two.run("other").unwrap();
    let both = run(&["-H", &one.endpoint(), "ps", "-H", &two.endpoint(), "registry", "other"]).await;
    assert_eq!((both.code, both.stdout.matches(" at unix://").count()), (Some(0), 2), "{both:?}");
    let twice = run(&["-H", &one.endpoint(), "ps", "-H", &one.endpoint()]).await;
    assert!(twice.code == Some(2) && twice.stderr.contains("given twice"), "{twice:?}");
    let other = run(&["-H", &one.endpoint(), "watch", "--engine", "podman"]).await;
    assert!(other.code == Some(2) && other.stderr.contains("--engine selects none"), "{other:?}");
    for wrong in [&["demo"][..], &["ps", "--discover"], &["watch", "--activate"]] {
        let ended = run(&[&["--host", "/x"], wrong].concat()).await;
        assert!(ended.code == Some(2) && ended.stderr.contains("--host"), "{ended:?}");
    }
}

#[tokio::test]
async fn watch_follows_the_selected_containers_and_shows_each_that_leaves() {
    let engine = shop();
    let watch = ["watch", "--format", "json", "--host", &engine.endpoint(), "shop-*"];
    let mut program = Program::start(&[&watch[..], &["--filter", "status=running"]].concat());
    let started = program.json().await;
    assert_eq!((&started["event"], &started["container"]["name"]), (&"started".into(), &"shop-web-1".into()));
    assert_eq!(program.json().await["event"], "synced");
    engine.exit("registry", 0).unwrap();
    engine.unpause("shop-db-1").unwrap();
    assert_eq!(program.json().await["event"], "unpaused");
    engine.rename("shop-db-1", "database").unwrap();
    let renamed = program.json().await;
    assert_eq!((&renamed["event"], &renamed["was"]["name"]), (&"updated".into(), &"shop-db-1".into()));
    engine.exit("database", 0).unwrap();
    engine.pause("shop-web-1").unwrap();
    let paused = program.json().await;
    assert_eq!((&paused["event"], &paused["container"]["name"]), (&"paused".into(), &"shop-web-1".into()));
    engine.exit("shop-web-1", 0).unwrap();
    engine.run("shop-new").unwrap();
    let new = program.json().await;
    assert_eq!((&new["event"], &new["container"]["name"]), (&"started".into(), &"shop-new".into()));
}
