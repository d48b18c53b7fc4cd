//! The output for people: tables, rows, widths and colours.

use whalewatcher_testkit::docker::{ContainerSpec, Server};

use crate::program::{Program, command, on_terminal, run};

/// Returns the text without colours; fails on any other control sequence.
fn plain(sent: &str) -> String {
    let mut parts = sent.split('\u{1b}');
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (codes, rest) = part.split_once('m').expect("a colour");
        assert!(
            codes
                .strip_prefix('[')
                .is_some_and(|codes| codes.bytes().all(|b| b.is_ascii_digit() || b == b';'))
        );
        text += rest;
    }
    assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    text
}

fn shop() -> Server {
    let engine = Server::builder().seed(7).start().unwrap();
    let now = engine.clock().now();
    for (minutes, name, service) in
        [(190, "shop-db-1", "db"), (5, "shop-a-service-with-a-long-name-1", "long")]
    {
        engine.clock().set(now - jiff::SignedDuration::from_mins(minutes));
        engine.run(ContainerSpec::new(name).project("shop", service)).unwrap();
    }
    engine.run("registry").unwrap();
    engine.clock().set(now);
    engine.pause("registry").unwrap();
    engine
}

#[tokio::test]
async fn ps_is_a_table_grouped_by_project() {
    let engine = shop();
    let ended = run(&["ps", "--host", &engine.endpoint()]).await;
    let id =
        |name: &str| engine.truth().into_iter().find(|alive| alive.name == name).unwrap().id[..12].to_owned();
    let expected = format!(
        "\
NAME                                 ID            IMAGE            PID  STATE      AGE
shop
  shop-a-service-with-a-long-name-1  {}  busybox:latest  4001  ● running   5m
  shop-db-1                          {}  busybox:latest  4000  ● running   3h
no project
  registry                           {}  busybox:latest  4002  ◐ paused    5m
",
        id("shop-a-service-with-a-long-name-1"),
        id("shop-db-1"),
        id("registry")
    );
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), expected.as_str(), ""));
    let none = run(&["ps", "--project", "x", "--host", &engine.endpoint()]).await;
    let sentence = "whalewatcher: no container of project 'x' is alive\n";
    assert_eq!((none.code, none.stdout.as_str(), none.stderr.as_str()), (Some(0), "", sentence));
}

#[tokio::test]
async fn each_host_has_a_table_with_a_headline() {
    let (one, two) = (Server::builder().start().unwrap(), Server::builder().version("99").start().unwrap());
    one.run("web").unwrap();
    let ended = run(&["ps", "--host", &one.endpoint(), "--host", &two.endpoint()]).await;
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines[0], format!("docker.com 28.5.2 at {}", one.endpoint()));
    assert!(lines[3].starts_with("  web "), "{lines:?}");
    let headline = format!("docker.com 99 at {}", two.endpoint());
    assert_eq!(lines[4..], ["", headline.as_str(), "no container is alive"]);
    two.run(ContainerSpec::new("db").project("shop", "db")).unwrap();
    let shop = run(&["ps", "--project", "shop", "--host", &one.endpoint(), "--host", &two.endpoint()]).await;
    assert_eq!((shop.stdout.lines().next(), shop.stderr.as_str()), (Some(headline.as_str()), ""));
    assert!(shop.stdout.contains("  db "), "{shop:?}");
}

#[tokio::test]
async fn rows_contain_the_number_of_their_host() {
    let (one, two) = (Server::builder().start().unwrap(), Server::builder().start().unwrap());
    let mut program = Program::start(&["watch", "--host", &one.endpoint(), "--host", &two.endpoint()]);
    let mut tables = Vec::new();
    while tables.len() < 5 {
        tables.push(program.line().await);
    }
    for engine in [&one, &two] {
        let ends = format!(" docker.com 28.5.2 at {}", engine.endpoint());
        let number = tables.iter().find_map(|line| line.strip_suffix(&ends)).expect("a headline");
        engine.run("web").unwrap();
        let mut line = program.line().await;
        if line.is_empty() {
            line = program.line().await;
        }
        assert!(line[8..].starts_with(&format!(" {number} ● started  web ")), "{line}");
    }
}

#[tokio::test]
async fn watch_prints_a_table_and_a_row_per_event() {
    let engine = shop();
    let mut program = Program::start(&["watch", "--host", &engine.endpoint()]);
    let mut table = Vec::new();
    while table.len() < 6 {
        table.push(program.line().await);
    }
    assert!(table[5].starts_with("  registry "), "{table:?}");
    engine.exit("shop-db-1", 137).unwrap();
    assert_eq!(program.line().await, "");
    let exited = program.line().await;
    let (time, rest) = exited.split_at(8);
    assert!(time.split(':').all(|part| part.len() == 2 && part.parse::<u8>().is_ok()), "{exited}");
    assert!(rest.starts_with(" ○ exited   shop-db-1 ") && rest.ends_with(" exit 137, 3h"), "{exited}");
    engine.rename("registry", "images").unwrap();
    let renamed = program.line().await;
    assert!(renamed.contains("◆ updated  images ") && renamed.ends_with(" was registry"), "{renamed}");
    engine.stop_listening().await;
    assert!(program.line().await.contains("✗ disconnected "));
    engine.exit("images", 0).unwrap();
    engine.listen_again().unwrap();
    assert!(program.line().await.contains("○ exited   images "));
    assert!(program.line().await.ends_with(" ✓ synced   1 container is alive"));
}

#[tokio::test]
async fn tables_fit_a_terminal() {
    let engine = shop();
    engine.run("鯨".repeat(40)).unwrap();
    for columns in [40, 50, 80, 120] {
        let sent = on_terminal(columns, &mut command(&["ps", "--host", &engine.endpoint()])).await;
        let text = plain(&sent);
        assert_eq!(text.lines().count(), 7, "{text}");
        for line in text.lines() {
            let cells: usize = line.chars().map(|c| if c == '鯨' { 2 } else { 1 }).sum();
            assert!(cells <= usize::from(columns), "{columns}: {line}");
        }
        assert_eq!(text.contains('…'), columns < 120, "{text}");
    }
}

#[tokio::test]
async fn rows_fit_a_terminal() {
    let sent = on_terminal(50, &mut command(&["demo", "--for", "6s"])).await;
    let text = plain(&sent);
    assert!(text.contains("● started") && text.contains("exit 0"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
}

#[tokio::test]
async fn only_terminals_get_colour() {
    let engine = shop();
    let ps = || command(&["ps", "--host", &engine.endpoint()]);
    assert!(on_terminal(80, &mut ps()).await.contains("\u{1b}[32m● running"));
    assert!(!on_terminal(80, ps().env("NO_COLOR", "1")).await.contains('\u{1b}'));
    assert!(!on_terminal(80, ps().env("TERM", "dumb")).await.contains('\u{1b}'));
    assert!(!run(&["ps", "--host", &engine.endpoint()]).await.stdout.contains('\u{1b}'));
}

#[tokio::test]
async fn control_sequences_in_names_are_escaped() {
    let engine = Server::builder().start().unwrap();
    let evil = "a\u{1b}[2J\r\n\u{9b}31m\u{202e}\u{200b}b";
    engine.run(ContainerSpec::new(evil).project(evil, "x")).unwrap();
    let text = plain(&on_terminal(120, &mut command(&["ps", "--host", &engine.endpoint()])).await);
    assert_eq!(text.lines().count(), 3);
    assert!(
        !text.contains('\u{202e}') && text.contains(r"  a\u{1b}[2J\r\n\u{9b}31m\u{202e}\u{200b}b  "),
        "{text}"
    );
    let mut program = Program::start(&["watch", "--host", &engine.endpoint()]);
    for _ in 0..3 {
        program.line().await;
    }
    engine.rename(&engine.truth()[0].id, "\u{1b}]0;owned\u{7}").unwrap();
    program.line().await;
    let line = program.line().await;
    assert!(line.contains(r"\u{1b}]0;owned\u{7}") && line.contains(r"was a\u{1b}[2J"), "{line}");
}
