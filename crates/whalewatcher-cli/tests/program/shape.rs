//! How `ps` lists containers: tables at several widths, columns, order, IDs and names alone, colours.

use serde_json::Value;
use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::program::{Ended, Program, command, on_terminal, run};

/// Returns an engine with three containers, of which one is healthy with published ports and one paused.
fn shop() -> Server {
    let engine = Server::builder().seed(7).start().unwrap();
    let now = engine.clock().now();
    engine.clock().set(now - jiff::SignedDuration::from_hours(5));
    let web = ContainerSpec::new("shop-web-1").project("shop", "web").image("nginx:1.27");
    engine.run(web.health_check(true).port(80, 8080).port(443, None)).unwrap();
    engine.clock().set(now - jiff::SignedDuration::from_mins(5));
    engine.health("shop-web-1", "healthy").unwrap();
    let image = "registry.example.com/team/an-image-with-a-long-name:2026.11";
    engine.run(ContainerSpec::new("shop-db-1").project("shop", "db").image(image)).unwrap();
    engine.run("registry").unwrap();
    engine.pause("registry").unwrap();
    engine.clock().set(now);
    engine
}

/// Returns a text with the first characters of the IDs of the containers in their places, such as `{web-------}`.
fn with_ids(engine: &Server, text: &str) -> String {
    let id = |name: &str| engine.truth().into_iter().find(|alive| alive.name == name).unwrap().id;
    let names = [("{web-------}", "shop-web-1"), ("{db--------}", "shop-db-1"), ("{registry--}", "registry")];
    names.iter().fold(text.to_owned(), |text, (place, name)| text.replace(place, &id(name)[..12]))
}

async fn ps(engine: &Server, arguments: &[&str]) -> Ended {
    run(&[&["ps", "--host", &engine.endpoint()], arguments].concat()).await
}

#[tokio::test]
async fn the_table_drops_columns_that_do_not_fit() {
    let engine = shop();
    for (width, expected) in [
        (
            40,
            "\
NAME           PID  STATE      AGE
shop
  shop-db-1   4001  ● running   5m
  shop-web-1  4000  ● healthy   5h
no project
  registry    4002  ◐ paused    5m
",
        ),
        (
            60,
            "\
NAME          ID             PID  STATE      AGE
shop
  shop-db-1   {db--------}  4001  ● running   5m
  shop-web-1  {web-------}  4000  ● healthy   5h
no project
  registry    {registry--}  4002  ◐ paused    5m
",
        ),
        (
            80,
            "\
NAME          ID            IMAGE                            PID  STATE      AGE
shop
  shop-db-1   {db--------}  registry.example.com/team/an-…  4001  ● running   5m
  shop-web-1  {web-------}  nginx:1.27                      4000  ● healthy   5h
no project
  registry    {registry--}  busybox:latest                  4002  ◐ paused    5m
",
        ),
        (
            120,
            "\
NAME          ID            IMAGE                                                         PID  STATE      AGE
shop
  shop-db-1   {db--------}  registry.example.com/team/an-image-with-a-long-name:2026.11  4001  ● running   5m
  shop-web-1  {web-------}  nginx:1.27                                                   4000  ● healthy   5h
no project
  registry    {registry--}  busybox:latest                                               4002  ◐ paused    5m
",
        ),
    ] {
        let mut ps = command(&["ps", "--host", &engine.endpoint(), "--color", "never"]);
        let sent = on_terminal(width, &mut ps).await;
        assert_eq!(sent, with_ids(&engine, expected), "{width}");
    }
    let unlimited = ps(&engine, &[]).await.stdout;
    let sent =
        on_terminal(200, &mut command(&["--color", "never", "ps", "--host", &engine.endpoint()])).await;
    assert_eq!(sent, unlimited);
}

#[tokio::test]
async fn wide_has_status_and_ports_as_docker_has_them() {
    let engine = shop();
    let expected = "\
NAME          ID            IMAGE                                                         PID  STATUS                 PORTS
shop
  shop-db-1   {db--------}  registry.example.com/team/an-image-with-a-long-name:2026.11  4001  Up 5 minutes
  shop-web-1  {web-------}  nginx:1.27                                                   4000  Up 5 hours (healthy)   443/tcp, 0.0.0.0:8080->80/tcp
no project
  registry    {registry--}  busybox:latest                                               4002  Up 5 minutes (Paused)
";
    let wide = ps(&engine, &["-o", "wide"]).await;
    assert_eq!((wide.code, wide.stdout), (Some(0), with_ids(&engine, expected)));
}

#[tokio::test]
async fn ids_names_and_pids_are_printed_alone() {
    let engine = shop();
    let lines = |text: &str| with_ids(&engine, text);
    for (arguments, expected) in [
        (&["-q"][..], "{db--------}\n{web-------}\n{registry--}\n"),
        (&["--quiet", "--pids"], "4001\n4000\n4002\n"),
        (&["-q", "--sort", "pid", "shop-*"], "{web-------}\n{db--------}\n"),
        (&["-o", "name"], "shop-db-1\nshop-web-1\nregistry\n"),
        (&["--output", "name", "--sort", "AGE", "--filter", "name=shop"], "shop-db-1\nshop-web-1\n"),
        (&["--columns", "name,HEALTH", "--no-header"], "shop-db-1   -\nshop-web-1  healthy\nregistry    -\n"),
    ] {
        let listed = ps(&engine, arguments).await;
        assert_eq!(
            (listed.code, listed.stdout.as_str(), listed.stderr.as_str()),
            (Some(0), lines(expected).as_str(), ""),
            "{arguments:?}"
        );
    }
    let full = ps(&engine, &["-q", "--no-trunc"]).await;
    for id in full.stdout.lines() {
        let again = ps(&engine, &["-q", "--no-trunc", &id[..12]]).await;
        assert_eq!((id.len(), again.stdout.trim_end()), (64, id), "what tables show is accepted");
    }
    let nothing = ps(&engine, &["-q", "--project", "x"]).await;
    let sentence = "whalewatcher: no container of project 'x' is alive\n";
    assert_eq!((nothing.code, nothing.stdout.as_str(), nothing.stderr.as_str()), (Some(0), "", sentence));
    let empty = Server::builder().start().unwrap();
    let nothing = ps(&empty, &["-q"]).await;
    assert_eq!(
        (nothing.stdout.as_str(), nothing.stderr.as_str()),
        ("", "whalewatcher: no container is alive\n")
    );
}

#[tokio::test]
async fn ages_are_by_the_clock_of_the_engine() {
    let engine = Server::builder().start().unwrap();
    let now = engine.clock().now();
    let hours = jiff::SignedDuration::from_hours;
    // As in a virtual machine that was suspended.
    engine.clock().set(now - hours(42));
    engine.run("old").unwrap();
    engine.clock().set(now - hours(40));
    engine.run("young").unwrap();
    let ages = |text: &str| -> Vec<String> {
        let alive = text.lines().filter(|line| line.contains("● running"));
        alive
            .map(|line| line.split_whitespace().next_back().unwrap().trim_end_matches('s').to_owned())
            .collect()
    };
    let is_right = |ages: &[String]| ages.len() == 2 && ages[0] == "2h" && ages[1].parse::<u8>().is_ok();
    let listed = ps(&engine, &[]).await;
    assert!(is_right(&ages(&listed.stdout)), "{listed:?}");
    let flat = ps(&engine, &["--columns", "state,age"]).await;
    assert!(is_right(&ages(&flat.stdout)), "{flat:?}");
    let mut watch = Program::start(&["watch", "--host", &engine.endpoint()]);
    let mut table = String::new();
    while !table.contains("  young ") {
        table += &(watch.line().await + "\n");
    }
    assert!(is_right(&ages(&table)), "{table}");
}

#[tokio::test]
async fn several_engines_are_one_table_with_columns_or_in_order() {
    let (one, two) = (shop(), Server::builder().start().unwrap());
    two.run("alone").unwrap();
    let hosts = ["ps", "-H", &one.endpoint(), "-H", &two.endpoint()];
    let sorted = run(&[&hosts[..], &["--sort", "name"]].concat()).await;
    let lines: Vec<_> = sorted.stdout.lines().collect();
    let begins =
        |line: &str, words: [&str; 2]| line.split_whitespace().zip(words).all(|(one, other)| one == other);
    assert!(begins(lines[0], ["NAME", "PROJECT"]) && lines[0].ends_with("ENGINE"), "{sorted:?}");
    assert!(lines[1].starts_with("alone ") && lines[1].ends_with(&two.endpoint()), "{sorted:?}");
    assert!(begins(lines[3], ["shop-db-1", "shop"]) && lines[3].ends_with(&one.endpoint()), "{sorted:?}");
    let columns = run(&[&hosts[..], &["--columns", "pid,engine", "--columns", "name"]].concat()).await;
    assert!(begins(columns.stdout.lines().next().unwrap(), ["PID", "ENGINE"]), "{columns:?}");
    let json = run(&[&hosts[..], &["-o", "json", "--sort", "name"]].concat()).await;
    let all: Vec<Value> = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (all.len(), all[0]["name"].as_str(), all[1]["name"].as_str()),
        (4, Some("alone"), Some("registry"))
    );
}

#[tokio::test]
async fn shapes_that_contradict_each_other_are_wrong_usage() {
    for wrong in [
        &["-q", "-o", "json"][..],
        &["-o", "json", "--columns", "name"],
        &["-q", "--columns", "name"],
        &["--pids"],
        &["--columns", "colour"],
        &["--sort", ""],
        &["-o", "yaml"],
    ] {
        let ended = run(&[&["ps", "--host", "/no/such.sock"], wrong].concat()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{wrong:?} {ended:?}");
    }
}

#[tokio::test]
async fn colours_are_as_the_option_says() {
    let engine = shop();
    let endpoint = engine.endpoint();
    let coloured = |text: &str| text.contains("\u{1b}[32m● healthy");
    assert!(coloured(&ps(&engine, &["--color", "always"]).await.stdout));
    assert!(coloured(&run(&["--color=always", "ps", "-H", &endpoint]).await.stdout));
    let always = Ended::of(command(&["ps", "-H", &endpoint, "--color", "always"]).env("NO_COLOR", "1")).await;
    assert!(coloured(&always.stdout), "the command line counts more than the environment");
    let never = on_terminal(80, &mut command(&["ps", "-H", &endpoint, "--color", "never"])).await;
    assert!(!never.contains('\u{1b}'), "{never:?}");
    assert!(coloured(&on_terminal(80, &mut command(&["ps", "-H", &endpoint, "--color", "auto"])).await));
}
