//! Exits while there was no connection.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use whalewatcher_core::Settings;
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{Builder, ContainerSpec, Flavour, Gate, Server, Verdict};

use crate::watched::{Watched, in_time, watch_with_settings};

/// Watches, acts while no connection is accepted, and returns the difference that is reported, sorted.
async fn after_an_outage(server: &Server, act: impl FnOnce()) -> (Watched, Vec<String>) {
    // Queries about missed exits may take a tenth of the time for lists.
    let limits = [10, 600, 10].map(Duration::from_secs);
    let settings = Settings::default().with_limits(limits[0], limits[1], limits[2]);
    let mut watched = watch_with_settings(Client::new(server.endpoint()).unwrap(), settings).live().await;
    let web = watched.container("web").id().clone();
    server.pause(&web).unwrap();
    assert_eq!(watched.reported().await, "paused web");
    server.unpause(&web).unwrap();
    assert_eq!(watched.reported().await, "unpaused web");
    let gate = Gate::closed();
    let held = gate.clone();
    let hook = server.on_request(move |_| Verdict::Hold(held.clone()));
    server.disconnect_all();
    let reported = watched.reported().await;
    assert!(reported.starts_with("disconnected "), "{reported}");
    in_time(gate.until_waiting(1)).await;
    act();
    server.remove_hook(hook);
    gate.open();
    let mut reported = watched.until_reported("synced").await;
    reported.pop();
    reported.sort();
    (watched, reported)
}

type Act = fn(&Server, &str);

#[tokio::test]
async fn a_missed_exit_has_its_code_where_the_engine_knows_it() {
    let docker = Server::builder;
    let podman = || Server::builder().flavour(Flavour::Podman).version("5.4.2");
    let exits: Act = |server, web| server.exit(web, 7).unwrap();
    let is_removed: Act = |server, web| server.remove(web).unwrap();
    let restarts: Act = |server, web| {
        server.clock().advance(Duration::from_secs(3600));
        server.restart(web).unwrap();
    };
    let restarts_twice: Act = |server, web| {
        server.exit(web, 7).unwrap();
        server.start(web).unwrap();
        server.exit(web, 8).unwrap();
    };
    // Name, engine, action, the exit as reported, whether the container starts again, requests for events and
    // inspections.
    let cases: [(&str, Builder, Act, &str, bool, u64, u64); 9] = [
        ("nothing", docker(), |_, _| {}, "", false, 1, 1),
        ("it is still there", docker(), exits, "exited web 7", false, 1, 1),
        ("it is removed", docker(), is_removed, "exited web 137", false, 2, 1),
        ("more happened than the engine remembers", docker().ring(2), is_removed, "exited web", false, 2, 1),
        ("it is restarted", docker(), restarts, "exited web 143", true, 2, 1),
        ("it is restarted and ends", docker(), restarts_twice, "exited web 7", false, 2, 1),
        ("another engine", docker().new_id_each_time(true), exits, "exited web", false, 1, 0),
        ("podman", podman(), exits, "exited web 7", false, 1, 1),
        ("podman, it is removed", podman(), is_removed, "exited web 137", false, 2, 1),
    ];
    for (what, builder, act, ending, starts, events, inspections) in cases {
        let server = builder.start().unwrap();
        let web = server.run("web").unwrap();
        let before = std::sync::Mutex::default();
        let (mut watched, reported) = after_an_outage(&server, || {
            act(&server, &web);
            *before.lock().unwrap() = server.stats().requests;
        })
        .await;
        let expected = [(!ending.is_empty()).then_some(ending), starts.then_some("started web")];
        assert_eq!(reported, expected.into_iter().flatten().collect::<Vec<_>>(), "{what}");
        let (before, after) = (before.into_inner().unwrap(), server.stats().requests);
        let asked = (after.events - before.events, after.inspect - before.inspect);
        assert_eq!(asked, (events, inspections), "{what}");
        // The same exit again, as in a replay.
        let code = BTreeMap::from([("exitCode".to_owned(), "7".to_owned())]);
        if !ending.is_empty() && !starts {
            server.emit("container", "die", &web, code);
        }
        server.run("next").unwrap();
        assert_eq!(watched.reported().await, "started next", "{what}");
    }
}

#[tokio::test]
async fn each_of_many_missed_exits_is_reported_once() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let spec = |number| ContainerSpec::new(format!("c-{number:02}")).auto_remove(number % 2 == 0);
    let ids: Vec<_> = (0..40).map(|number| server.run(spec(number)).unwrap()).collect();
    let (watched, reported) = after_an_outage(&server, || {
        for (id, code) in ids.iter().zip(0..) {
            server.exit(id, code).unwrap();
        }
    })
    .await;
    let expected: Vec<_> = (0..40).map(|number| format!("exited c-{number:02} {number}")).collect();
    assert_eq!((watched.names(), reported), (vec!["web".to_owned()], expected));
}

#[tokio::test]
async fn an_exit_before_the_clock_was_set_back_ends_no_later_life() {
    let server = Server::builder().start().unwrap();
    let clock = server.clock();
    server.run("early").unwrap();
    server.run("web").unwrap();
    clock.advance(Duration::from_secs(1800));
    server.exit("web", 5).unwrap();
    clock.set(clock.now() - SignedDuration::from_mins(30));
    server.start("web").unwrap();
    server.run("other").unwrap();
    let (_, reported) = after_an_outage(&server, || {
        clock.advance(Duration::from_secs(3600));
        server.remove("other").unwrap();
    })
    .await;
    assert_eq!(reported, ["exited other 137"]);
}
