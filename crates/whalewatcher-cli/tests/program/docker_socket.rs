//! The socket for Docker's own clients.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use whalewatcher_core::watch;
use whalewatcher_moby::Client;
use whalewatcher_testkit::docker::{ContainerSpec, Gate, Kind, Server, Verdict};
use whalewatcher_testkit::watched::in_time;

use crate::http::{Pieces, ask, ask_by, text};
use crate::serve::Serving;

/// The program with a socket for Docker's clients, in its folder.
async fn serving(engines: &[&Server], options: &[&str]) -> Serving {
    let hosts: Vec<_> = engines.iter().map(|engine| engine.endpoint()).collect();
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let options: Vec<_> = ["--docker-socket", "d"].into_iter().chain(options.iter().copied()).collect();
    let mut serving = Serving::start(&hosts, &options).await;
    assert_eq!(serving.program.error_line().await, "whalewatcher: serving Docker's clients at unix://d");
    serving.until_ready().await;
    serving
}

async fn request(serving: &Serving, method: &str, path: &str) -> Response<Incoming> {
    let stream = UnixStream::connect(serving.folder.path().join("d")).await.unwrap();
    let path = path.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
    ask_by(method, stream, &path, &[("host", "docker")]).await.unwrap()
}

async fn get(serving: &Serving, path: &str) -> (StatusCode, Value) {
    let answer = request(serving, "GET", path).await;
    assert_eq!(answer.headers()["content-type"], "application/json", "{path}");
    let status = answer.status();
    (status, serde_json::from_str(&text(answer).await).unwrap())
}

/// The names of a list's containers.
async fn names(serving: &Serving, query: &str) -> Vec<String> {
    let (status, all) = get(serving, &format!("/containers/json?{query}")).await;
    assert_eq!(status, StatusCode::OK, "{query}: {all}");
    all.as_array().unwrap().iter().map(|one| one["Names"][0].as_str().unwrap().to_owned()).collect()
}

/// Events, as they come.
struct Events(Pieces);

impl Events {
    async fn of(serving: &Serving, query: &str) -> Self {
        let answer = request(serving, "GET", &format!("/v1.41/events?{query}")).await;
        assert_eq!(answer.status(), StatusCode::OK);
        Self(Pieces::of(answer))
    }

    /// Returns the next one; `None` at the proper end of the answer.
    async fn next(&mut self) -> Option<Value> {
        Some(serde_json::from_str(&self.0.next("\n").await?).unwrap())
    }

    /// Returns events up to the one of this kind, with the name of its container.
    async fn until(&mut self, action: &str, name: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let event = self.next().await.expect("the stream goes on");
            let is_it = event["Action"] == action && event["Actor"]["Attributes"]["name"] == name;
            all.push(event);
            if is_it {
                return all;
            }
        }
    }
}

#[tokio::test]
async fn a_list_is_that_of_the_engine() {
    let engine = Server::builder().start().unwrap();
    let web = ContainerSpec::new("web").project("shop", "web").port(8080, 80).port(9090, None);
    engine.run(web.network("shop", [10, 1, 0, 7].into())).unwrap();
    engine.run(ContainerSpec::new("db").health_check(true)).unwrap();
    engine.run("idle").unwrap();
    engine.pause("idle").unwrap();
    let serving = serving(&[&engine], &[]).await;
    let stream = UnixStream::connect(engine.socket()).await.unwrap();
    let answer = ask(stream, "/containers/json", &[("host", "docker")]).await.unwrap();
    let expected: Value = serde_json::from_str(&text(answer).await).unwrap();
    // Its stream of health may be behind.
    let healthy = |all: &Value| all[1]["Status"].as_str().is_some_and(|status| status.contains("health"));
    assert!(healthy(&expected));
    let listed = get(&serving, "/v1.41/containers/json?all=1&size=1").await.1;
    for (nth, expected) in expected.as_array().unwrap().iter().enumerate() {
        for field in ["Id", "Names", "Image", "ImageID", "Created", "Labels", "State"] {
            assert_eq!(listed[nth][field], expected[field], "{field}");
        }
        let places = |all: &Value| {
            let networks = all["NetworkSettings"]["Networks"].as_object().unwrap();
            networks
                .iter()
                .map(|(name, place)| (name.clone(), place["IPAddress"].clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(places(&listed[nth]), places(expected));
        let ports = |all: &Value| {
            all["Ports"].as_array().unwrap().iter().map(Value::to_string).collect::<BTreeSet<_>>()
        };
        assert_eq!(ports(&listed[nth]), ports(expected));
    }
    assert!(listed[0]["Status"].as_str().unwrap().ends_with(" (Paused)"), "{listed}");
    assert_eq!(names(&serving, "limit=2").await, ["/idle", "/db"]);
    assert_eq!(names(&serving, r#"filters={"label":["com.docker.compose.project=shop"]}"#).await, ["/web"]);
    assert_eq!(names(&serving, r#"filters={"status":{"paused":true}}"#).await, ["/idle"]);
    assert_eq!(names(&serving, r#"filters={"network":["shop"],"name":["web"]}"#).await, ["/web"]);
    assert_eq!(names(&serving, r#"filters={"status":["exited"]}"#).await, [""; 0]);
    let (status, refused) = get(&serving, r#"/containers/json?filters={"colour":["red"]}"#).await;
    assert_eq!((status, refused), (StatusCode::BAD_REQUEST, json!({ "message": "invalid filter 'colour'" })));
    let networks = get(&serving, "/networks").await.1;
    assert_eq!(networks.as_array().unwrap().iter().filter(|one| one["Id"] == "shop").count(), 1);
}

#[tokio::test]
async fn clients_negotiate_and_can_change_nothing() {
    let engine = Server::builder().start().unwrap();
    let serving = serving(&[&engine], &[]).await;
    for method in ["GET", "HEAD"] {
        let ping = request(&serving, method, "/_ping").await;
        assert_eq!(
            (ping.status(), &ping.headers()["api-version"]),
            (StatusCode::OK, &"1.51".parse().unwrap())
        );
        assert_eq!(text(ping).await, if method == "GET" { "OK" } else { "" });
    }
    let version = get(&serving, "/v1.24/version").await.1;
    assert_eq!((&version["ApiVersion"], &version["MinAPIVersion"]), (&json!("1.51"), &json!("1.24")));
    let info = get(&serving, "/v1.51/info").await.1;
    assert_eq!((&info["ContainersRunning"], &info["Warnings"]), (&json!(0), &json!([])));
    for (path, reason) in [
        ("/v1.99/info", "client version 1.99 is too new. Maximum supported API version is 1.51"),
        ("/v1.23/_ping", "client version 1.23 is too old. Minimum supported API version is 1.24, "),
    ] {
        let (status, refused) = get(&serving, path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(refused["message"].as_str().unwrap().starts_with(reason), "{refused}");
    }
    for (method, path) in [
        ("POST", "/v1.41/containers/create"),
        ("POST", "/containers/json"),
        ("DELETE", "/v1.41/containers/web"),
        ("GET", "/v1.41/containers/web/logs"),
        ("GET", "/containers/web/archive?path=/etc/shadow"),
        ("PUT", "/_ping"),
        ("GET", "/"),
    ] {
        let answer = request(&serving, method, path).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path}");
        let refused: Value = serde_json::from_str(&text(answer).await).unwrap();
        assert!(refused["message"].as_str().unwrap().contains("for reading only"), "{refused}");
    }
    assert_eq!(engine.stats().requests.other, 0, "the engine is asked for nothing else");
    let socket = serving.folder.path().join("d");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let mut events = Events::of(&serving, "").await;
    serving.program.signal(Signal::TERM);
    assert_eq!(events.next().await, None);
    assert_eq!(serving.program.ended().await.code, Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn an_inspection_is_the_engines_own_or_what_is_known() {
    let engines = [Server::builder().start().unwrap(), Server::builder().start().unwrap()];
    let secret = || ContainerSpec::new("web").env("PASSWORD", "secret").network("shop", [10, 1, 0, 7].into());
    let id = engines[0].run(secret().port(80, 8080)).unwrap();
    engines[0].run("twin").unwrap();
    engines[1].run("twin").unwrap();
    let all = [&engines[0], &engines[1]];
    let by_engine = serving(&all, &[]).await;
    for key in [&*id, "web", "/web", &id[..8], &id[..3]] {
        let (status, inspected) = get(&by_engine, &format!("/v1.41/containers/{key}/json?size=1")).await;
        assert_eq!((status, &inspected["Id"]), (StatusCode::OK, &json!(id)), "{key}");
        assert!(inspected["Config"]["Env"].to_string().contains("PASSWORD=secret"), "{inspected}");
    }
    for (key, status, reason) in [
        ("nothing", StatusCode::NOT_FOUND, "No such container: nothing"),
        ("../images", StatusCode::NOT_FOUND, "No such container: ../images"),
        ("twin", StatusCode::BAD_REQUEST, "2 containers are known by 'twin': name one by its ID"),
    ] {
        let refused = get(&by_engine, &format!("/containers/{key}/json")).await;
        assert_eq!(refused, (status, json!({ "message": reason })));
    }
    let hook = engines[0].on(Kind::Inspect, Verdict::error(500, "out of luck"));
    let (status, refused) = get(&by_engine, "/containers/web/json").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(refused["message"].as_str().unwrap().contains("out of luck"), "{refused}");
    engines[0].remove_hook(hook);

    // By its ID or its URL, and without the engine.
    let host = engines[0].endpoint();
    let from_memory = serving(&all, &["--docker-engine", &host, "--docker-inspect", "memory"]).await;
    let asked = engines[0].stats().requests.inspect;
    let (status, known) = get(&from_memory, "/containers/web/json").await;
    assert_eq!(
        (status, &known["Id"], &known["State"]["Running"]),
        (StatusCode::OK, &json!(id), &json!(true))
    );
    assert_eq!(known["NetworkSettings"]["Networks"]["shop"]["IPAddress"], "10.1.0.7");
    assert_eq!(known["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"], "8080");
    assert!(!known.to_string().contains("secret"), "{known}");
    assert_eq!(get(&from_memory, "/containers/twin/json").await.0, StatusCode::OK, "one engine's only");
    assert_eq!(engines[0].stats().requests.inspect, asked);
}

#[tokio::test]
async fn before_an_engine_is_known_nothing_is_said_about_its_containers() {
    let engine = Server::builder().start().unwrap();
    engine.run("web").unwrap();
    engine.stop_listening().await;
    let mut serving = Serving::start(&[&engine.endpoint()], &["--docker-socket", "d"]).await;
    serving.program.error_line().await;
    assert!(serving.program.error_line().await.contains("waiting for the engine"));
    let (status, refused) = get(&serving, "/containers/json").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let reason = refused["message"].as_str().unwrap();
    assert!(reason.starts_with("whether containers are alive is not known: "), "{refused}");
    assert!(reason.contains(&engine.endpoint()), "{refused}");
    let info = get(&serving, "/info").await.1;
    assert!(info["Warnings"][0].as_str().unwrap().contains(&engine.endpoint()), "{info}");
    engine.listen_again().unwrap();
    serving.until_ready().await;
    assert_eq!(names(&serving, "").await, ["/web"]);
    // What was known is served.
    engine.stop_listening().await;
    assert!(serving.program.error_line().await.contains("waiting for the engine"));
    assert_eq!(names(&serving, "").await, ["/web"]);
}

#[tokio::test]
async fn an_engine_that_is_away_or_hangs_costs_nothing_of_others() {
    let engines = [Server::builder().start().unwrap(), Server::builder().start().unwrap()];
    engines[0].stop_listening().await;
    let mut serving =
        Serving::start(&[&engines[0].endpoint(), &engines[1].endpoint()], &["--docker-socket", "d"]).await;
    serving.program.error_line().await;
    assert!(serving.program.error_line().await.contains("waiting for the engine"));
    // One has no container, but the other one may have some.
    assert_eq!(get(&serving, "/containers/json").await.0, StatusCode::SERVICE_UNAVAILABLE);
    engines[0].listen_again().unwrap();
    serving.until_ready().await;
    assert_eq!(names(&serving, "").await, [""; 0]);
    let mut events = Events::of(&serving, "").await;
    for (engine, name) in engines.iter().zip(["hangs", "web"]) {
        engine.run(name).unwrap();
        events.until("start", name).await;
    }
    engines[0].stop_listening().await;
    assert!(serving.program.error_line().await.contains("waiting for the engine"));
    assert_eq!(names(&serving, "").await.len(), 2);
    engines[0].listen_again().unwrap();
    serving.until_ready().await;
    let gate = Gate::closed();
    engines[0].on(Kind::Inspect, Verdict::Hold(gate.clone()));
    let mut asked = Vec::new();
    for _ in 0..9 {
        let stream = UnixStream::connect(serving.folder.path().join("d")).await.unwrap();
        asked.push(tokio::spawn(async move {
            ask(stream, "/containers/hangs/json", &[("host", "docker")]).await.map(|answer| answer.status())
        }));
    }
    in_time(gate.until_waiting(8)).await;
    assert_eq!(get(&serving, "/containers/web/json").await.0, StatusCode::OK);
    assert!(asked.iter().all(|one| !one.is_finished()), "it waited for the others");
    gate.open();
    for one in asked {
        assert_eq!(in_time(one).await.unwrap().unwrap(), StatusCode::OK);
    }
}

#[tokio::test]
async fn events_are_those_of_dockerd_and_reach_back_from_each_of_them() {
    let engine = Server::builder().ring(4).start().unwrap();
    engine.run("first").unwrap();
    let serving = serving(&[&engine], &[]).await;
    let mut live = Events::of(&serving, "").await;
    let mut of_web = Events::of(&serving, r#"filters={"container":["web"],"event":["die"]}"#).await;
    for nth in 0..5 {
        let name = format!("web-{nth}");
        engine.run(&*name).unwrap();
        live.until("start", &name).await;
        engine.exit(&name, nth).unwrap();
        let died = live.until("die", &name).await.pop().unwrap();
        assert_eq!(died["Actor"]["Attributes"]["exitCode"], nth.to_string());
        assert_eq!(of_web.next().await, Some(died));
    }
    // More than the engine remembers.
    let mut all = Vec::new();
    let mut since_ever = Events::of(&serving, "since=1").await;
    while all.last().is_none_or(|last: &Value| last["Actor"]["Attributes"]["exitCode"] != "4") {
        all.push(since_ever.next().await.unwrap());
    }
    assert!(all.len() >= 10, "{all:?}");
    for (nth, event) in all.iter().enumerate() {
        let nanoseconds = event["timeNano"].as_u64().unwrap();
        let since = format!("since={}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
        let mut resumed = Events::of(&serving, &since).await;
        for expected in &all[nth..] {
            assert_eq!(resumed.next().await.as_ref(), Some(expected), "{since}");
        }
    }
    let (status, refused) = get(&serving, "/events?since=9&until=8").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    let mut past = Events::of(&serving, "since=1&until=2").await;
    while past.next().await.is_some() {}
}

/// The adapter to Docker lists, subscribes, inspects, probes and audits.
#[tokio::test]
async fn a_watch_of_the_server_as_if_it_were_dockerd_sees_what_the_engine_has() {
    let engine = Server::builder().start().unwrap();
    engine.run("first").unwrap();
    for inspect in ["engine", "memory"] {
        let serving = serving(&[&engine], &["--docker-inspect", inspect]).await;
        let endpoint = format!("unix://{}", serving.folder.path().join("d").display());
        let watched = watch(Client::new(endpoint).unwrap());
        let (mut seen, mut changes) = watched.subscribe();
        for nth in 0..60 {
            let name = format!("{inspect}-{nth}");
            engine.run(&*name).unwrap();
            match nth % 6 {
                0 => engine.pause(&name).unwrap(),
                1 => engine.exit(&name, 1).unwrap(),
                2 => engine.rename(&name, &format!("other-{name}")).unwrap(),
                3 => engine.restart(&name).unwrap(),
                4 => engine.remove(&name).unwrap(),
                _ => engine.restart("first").unwrap(),
            }
            // So that the watch begins within.
            tokio::task::yield_now().await;
        }
        let truth: BTreeSet<_> =
            engine.truth().into_iter().map(|one| (one.id, one.name, one.pid, one.paused)).collect();
        let picture = |seen: &whalewatcher_core::Portfolio| -> BTreeSet<_> {
            let all = seen.containers();
            all.map(|one| (one.id().to_string(), one.name().to_owned(), one.pid(), one.paused())).collect()
        };
        let equal = async {
            while picture(&seen) != truth {
                seen.apply(&changes.next().await.expect("the watch goes on").kind);
            }
        };
        in_time(equal).await;
        assert_eq!(picture(&watched.portfolio()), truth);
        in_time(watched.ready()).await.unwrap();
        assert_eq!(watched.status().counters.drifted, 0);
    }
}
