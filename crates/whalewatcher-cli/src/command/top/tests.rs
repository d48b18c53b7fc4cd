//! What is drawn, by size and by state.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::tcgetattr;
use whalewatcher_core::history::History;
use whalewatcher_core::{
    COMPOSE_PROJECT_LABEL, Container, CrashLoop, EngineWatcher, Fleet, Image, Labels, POD_NAME_LABEL,
    POD_NAMESPACE_LABEL, Port, Protocol,
};
use whalewatcher_testkit::docker;
use whalewatcher_testkit::scripted::Engine;

use super::model::{Choice, Cover, Input, Moment};
use super::*;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_769_860_800)
}

fn container(nth: usize) -> Container {
    let labels = Labels::from_iter([(COMPOSE_PROJECT_LABEL, ["shop", "cart", ""][nth % 3])]);
    Container::new(format!("{nth:012}"), format!("web-{nth}"), 4000 + u32::try_from(nth).unwrap())
        .with_labels(labels)
        .with_image(Image::new("nginx:1.27"))
        .with_ports([Port::new(80, Protocol::Tcp).published_at("127.0.0.1".parse().unwrap(), 8080)])
        .with_started_at(now() - Duration::from_secs(180))
}

/// The moment of a fleet with an engine that has so many containers.
async fn moment(containers: usize) -> (Fleet, Engine, Moment) {
    let (fleet, engine) = (Fleet::new(), Engine::new());
    (0..containers).for_each(|nth| engine.start(container(nth)));
    fleet.add(EngineWatcher::new(engine.clone())).unwrap();
    fleet.ready(Duration::from_secs(60)).await;
    let moment = Moment { alive: fleet.portfolio(), ..Moment::default() };
    (fleet, engine, moment)
}

/// What the terminal shows, line by line.
fn drawn(moment: &Moment, choice: &mut Choice, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    choice.settle(moment);
    terminal.draw(|frame| view::draw(frame, moment, choice, now())).unwrap();
    let buffer = terminal.backend().buffer();
    let cells = |row| (0..width).map(move |column| buffer[(column, row)].symbol());
    (0..height).map(|row| cells(row).collect::<String>().trim_end().to_owned()).collect()
}

#[tokio::test]
async fn ages_are_by_the_clock_of_the_engine() {
    let engine = docker::Server::builder().start().unwrap();
    let hours = jiff::SignedDuration::from_hours;
    let now = jiff::Timestamp::now();
    engine.clock().set(now - hours(42));
    engine.run("web").unwrap();
    engine.clock().set(now - hours(40));
    let fleet = Fleet::new();
    let client = whalewatcher_moby::Client::builder().endpoint(engine.endpoint()).build().unwrap();
    fleet.add(EngineWatcher::new(client)).unwrap();
    fleet.ready(Duration::from_secs(60)).await;
    let moment = Moment { alive: fleet.portfolio(), ..Moment::default() };
    let screen = drawn(&moment, &mut Choice::default(), (80, 24));
    let row = screen.iter().find(|row| row.contains("web")).unwrap();
    assert!(row.ends_with("2h"), "{row}");
}

#[tokio::test]
async fn one_container_is_shown_with_its_engine_and_project_at_both_sizes() {
    let (_fleet, _engine, moment) = moment(1).await;
    for size in [(80, 24), (200, 50)] {
        let screen = drawn(&moment, &mut Choice::default(), size);
        assert!(screen[0].starts_with("whalewatcher: 1 container alive on 1 engine"), "{}", screen[0]);
        assert!(screen[1].starts_with("scripted") && screen[1].ends_with("1 alive"), "{}", screen[1]);
        assert_eq!(screen[2], "  shop");
        assert!(
            screen[3].contains("web-0") && screen[3].contains("● running") && screen[3].ends_with("3m"),
            "{}",
            screen[3]
        );
        assert!(screen[3].contains("nginx"), "{}", screen[3]);
        assert!(screen.last().unwrap().starts_with("? keys"));
    }
}

#[tokio::test]
async fn the_first_container_is_selected_until_the_user_moves_and_then_the_place_stays() {
    let (fleet, engine, _) = moment(0).await;
    let mut choice = Choice::default();
    let settled = async |choice: &mut Choice, shown: usize| {
        let mut portfolio = fleet.follow_portfolio();
        while fleet.portfolio().total() != shown {
            portfolio.changed().await;
        }
        let moment = Moment { alive: fleet.portfolio(), ..Moment::default() };
        choice.settle(&moment);
        (choice.selected.as_ref().unwrap().name.clone(), moment)
    };
    engine.start(container(5));
    assert_eq!(settled(&mut choice, 1).await.0, "web-5");
    // All three are of one project.
    engine.start(container(2));
    engine.start(container(8));
    let (name, moment) = settled(&mut choice, 3).await;
    assert_eq!(name, "web-2");
    choice.handle(Input::Down, &moment, 10);
    assert_eq!(choice.selected.as_ref().unwrap().name, "web-5");
    engine.exit(container(5).id(), Some(0));
    assert_eq!(settled(&mut choice, 2).await.0, "web-8");
    engine.start(Container::new("another", "web-5", 7).with_labels(container(5).labels().clone()));
    assert_eq!(settled(&mut choice, 3).await.0, "web-5");
    engine.exit("another", Some(0));
    let (name, moment) = settled(&mut choice, 2).await;
    assert_eq!(name, "web-8");
    choice.handle(Input::First, &moment, 10);
    engine.exit(container(2).id(), Some(0));
    assert_eq!(settled(&mut choice, 1).await.0, "web-8");
}

#[tokio::test]
async fn of_many_containers_the_selected_one_is_visible() {
    let (_fleet, _engine, moment) = moment(300).await;
    for size in [(80, 24), (200, 50), (20, 5), (1, 1)] {
        let mut choice = Choice::default();
        let screen = drawn(&moment, &mut choice, size);
        assert_eq!(screen.len(), usize::from(size.1));
        choice.handle(Input::Last, &moment, view::page(size.1));
        let screen = drawn(&moment, &mut choice, size).join("\n");
        if size.1 > 5 {
            assert!(screen.contains("no project") || screen.contains("web-98"), "{screen}");
            assert!(screen.contains(&choice.selected.as_ref().unwrap().name), "{screen}");
        }
        for _ in 0..40 {
            choice.handle(Input::PageUp, &moment, view::page(size.1));
        }
        let screen = drawn(&moment, &mut choice, size);
        assert!(size.1 < 6 || screen[1].starts_with("scripted"), "{screen:?}");
    }
}

#[tokio::test]
async fn the_list_is_filtered_while_typing() {
    let (_fleet, _engine, moment) = moment(30).await;
    let mut choice = Choice::default();
    for c in "/WEB-2".chars() {
        assert!(!choice.handle(Input::Character(c), &moment, 22));
    }
    let screen = drawn(&moment, &mut choice, (80, 24)).join("\n");
    assert!(
        screen.contains("11 of 30 alive") && screen.contains("/WEB-2█") && !screen.contains("web-11"),
        "{screen}"
    );
    choice.handle(Input::Character('q'), &moment, 22);
    assert!(drawn(&moment, &mut choice, (80, 24)).join("\n").contains("0 of 30 alive"));
    choice.handle(Input::Escape, &moment, 22);
    assert!(drawn(&moment, &mut choice, (80, 24)).join("\n").contains("30 alive"));
    assert!(choice.handle(Input::Character('q'), &moment, 22), "quits");
}

#[tokio::test]
async fn containers_of_one_name_in_two_pods_are_distinguished() {
    let (fleet, engine, _) = moment(0).await;
    let (alive, mut changes) = fleet.subscribe();
    let mut history = History::default();
    history.handle_snapshot(&alive);
    let app = |pod: &str, id: &str, pid| {
        let labels = Labels::from_iter([(POD_NAMESPACE_LABEL, "shop"), (POD_NAME_LABEL, pod)]);
        Container::new(id, "app", pid).with_labels(labels)
    };
    engine.start(app("quiet", "1", 1));
    for life in 2..8 {
        engine.start(app("loops", &life.to_string(), life));
        if life < 7 {
            engine.exit(&life.to_string(), Some(1));
        }
    }
    while history.lives().len() < 5 || fleet.portfolio().total() < 2 {
        let change = changes.next().await.unwrap();
        history.handle_event(&change.key, &change.event, now());
    }
    let mut moment = Moment { alive: fleet.portfolio(), ..Moment::default() };
    let mut choice = Choice::default();
    moment.take_history(&history, None);
    let screen = drawn(&moment, &mut choice, (120, 24));
    let marked: Vec<_> = screen.iter().filter(|line| line.contains('↻')).collect();
    assert!(marked.len() == 1 && marked[0].contains("shop/loops"), "{screen:?}");
    for (pod, lives) in [("shop/quiet/app", 0), ("shop/loops/app", 5)] {
        choice.handle(Input::Enter, &moment, 22);
        let Cover::Details(place) = choice.cover.clone() else { panic!("no details") };
        assert_eq!(place.name, pod);
        moment.take_history(&history, Some(&place));
        assert_eq!(moment.lives.len(), lives, "{pod}");
        choice.handle(Input::Escape, &moment, 22);
        choice.handle(Input::Down, &moment, 22);
    }
}

#[tokio::test]
async fn details_and_keys_cover_the_list() {
    let (_fleet, _engine, mut moment) = moment(1).await;
    let mut choice = Choice::default();
    choice.handle(Input::Enter, &moment, 22);
    let Cover::Details(place) = choice.cover.clone() else { panic!("no details") };
    let began = CrashLoop::new(Arc::new(container(0)), 7, now());
    moment.loops = BTreeMap::from([((place.key, place.id), began)]);
    let screen = drawn(&moment, &mut choice, (80, 24)).join("\n");
    for expected in [
        "web-0",
        "4000",
        "nginx:1.27",
        "127.0.0.1:8080 -> 80/tcp",
        "com.docker.compose.project=shop",
        "7 lives since",
        "No life of it has ended",
    ] {
        assert!(screen.contains(expected), "{expected}: {screen}");
    }
    moment.alive = Default::default();
    assert!(drawn(&moment, &mut choice, (80, 24)).join("\n").contains("not alive any more"));
    assert!(!choice.handle(Input::Character('q'), &moment, 22), "only closes what covers the list");
    choice.handle(Input::Character('?'), &moment, 22);
    let screen = drawn(&moment, &mut choice, (80, 24)).join("\n");
    assert!(screen.contains("There are no figures of") && screen.contains("quit"), "{screen}");
}

#[tokio::test]
async fn crash_loops_outages_and_what_is_missing_are_marked() {
    let (fleet, engine, mut moment) = moment(3).await;
    let key = fleet.watchers()[0].key();
    let began = CrashLoop::new(Arc::new(container(0)), 7, now());
    moment.loops = BTreeMap::from([((key.clone(), container(0).id().clone()), began)]);
    let mut choice = Choice::default();
    let screen = drawn(&moment, &mut choice, (80, 24)).join("\n");
    assert!(screen.contains("↻ 7 lives") && screen.contains(", 1 crash loop"), "{screen}");
    moment.missing = BTreeMap::from([(key, "1 cannot be inspected".to_owned())]);
    moment.findings = vec!["docker at /run/x: permission denied\u{1b}[2J".to_owned()];
    let screen = drawn(&moment, &mut choice, (200, 50)).join("\n");
    assert!(screen.contains("3 known to be alive, 1 cannot be inspected"), "{screen}");
    assert!(screen.contains(r"permission denied\u{1b}[2J"), "{screen}");
    engine.refuse(whalewatcher_core::ErrorKind::Unreachable, "gone for good");
    engine.disconnect();
    let mut follower = fleet.follow_portfolio();
    while moment.alive.members().all(|member| member.error().is_none()) {
        moment.alive = follower.changed().await.unwrap();
    }
    let screen = drawn(&moment, &mut choice, (80, 24)).join("\n");
    assert!(screen.contains("3 known to be alive, disconnected: "), "{screen}");
}

#[tokio::test]
async fn containers_are_sorted_by_the_key_that_was_chosen() {
    let (_fleet, engine, _) = moment(0).await;
    let fleet = Fleet::new();
    for (nth, (name, age)) in [("a-old", 300), ("b-new", 1), ("c-middle", 60)].into_iter().enumerate() {
        let container = Container::new(nth.to_string(), name, 1 + u32::try_from(nth).unwrap());
        engine.start(container.with_started_at(now() - Duration::from_secs(age)));
    }
    fleet.add(EngineWatcher::new(engine)).unwrap();
    fleet.ready(Duration::from_secs(60)).await;
    let moment = Moment { alive: fleet.portfolio(), ..Moment::default() };
    let mut choice = Choice::default();
    let order = |choice: &mut Choice| {
        let screen = drawn(&moment, choice, (80, 24));
        screen[3..6].iter().map(|line| line.trim()[..1].to_owned()).collect::<String>()
    };
    assert_eq!(order(&mut choice), "abc");
    choice.handle(Input::Character('s'), &moment, 22);
    assert_eq!(order(&mut choice), "bca");
}

/// Run by the test below on a terminal.
#[test]
#[ignore = "needs a terminal"]
fn a_thread_that_panics() {
    let (_screen, _guard) = terminal::take().unwrap();
    let _ = std::thread::spawn(|| panic!("the message")).join();
}

#[test]
fn a_panic_leaves_the_terminal_as_before_with_the_message() {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let open = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let terminal = open();
    let before = format!("{:?}", tcgetattr(&terminal).unwrap());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "command::top::tests::a_thread_that_panics", "--ignored", "--nocapture"]);
    let mut test = command.stdin(open()).stdout(open()).stderr(Stdio::from(open())).spawn().unwrap();
    assert!(test.wait().unwrap().success());
    assert_eq!(format!("{:?}", tcgetattr(&terminal).unwrap()), before);
    // The command holds the terminal open too.
    drop((terminal, command));
    let (mut master, mut sent, mut bytes) = (File::from(master), Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = master.read(&mut bytes) {
        sent.extend_from_slice(&bytes[..count]);
    }
    let sent = String::from_utf8_lossy(&sent).into_owned();
    let (shown, after) = sent.split_once("\u{1b}[?1049l").expect("it leaves the alternate screen");
    assert!(shown.contains("\u{1b}[?1049h") && after.contains("the message"), "{sent:?}");
}
