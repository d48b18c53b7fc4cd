//! Hooks: verdicts about requests before they are answered, and about answers before they are sent.

use http_body_util::BodyExt;
use hyper::Method;
use whalewatcher_testkit::docker::{Gate, Kind, Request, Server, Verdict};

use crate::client::{Events, get, inspect, raw, send};

/// Returns the verdict for requests of this kind, and passes others.
fn only(kind: Kind, verdict: Verdict) -> impl Fn(&Request) -> Verdict + Send + Sync + 'static {
    move |request| if request.kind() == kind { verdict.clone() } else { Verdict::Pass }
}

const INSPECT: &str = "GET /containers/web/json HTTP/1.1\r\nhost: docker\r\n\r\n";

#[tokio::test]
async fn a_held_request_is_answered_with_the_later_state() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let gate = Gate::closed();
    server.on_request(only(Kind::Inspect, Verdict::Hold(gate.clone())));
    let answer = tokio::spawn({
        let server = server.clone();
        async move { inspect(&server, "web").await }
    });
    gate.until_waiting(1).await;
    // Others pass.
    assert_eq!(get(&server, "/_ping").await.status, 200);
    server.exit("web", 0).unwrap();
    gate.open();
    assert_eq!(answer.await.unwrap()["State"]["Status"], "exited");
}

#[tokio::test]
async fn a_held_answer_has_the_earlier_state() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let gate = Gate::closed();
    let held = only(Kind::Inspect, Verdict::Hold(gate.clone()));
    server.on_answer(move |request, status| {
        assert_eq!(status, 200);
        held(request)
    });
    let answer = tokio::spawn({
        let server = server.clone();
        async move { inspect(&server, "web").await }
    });
    gate.until_waiting(1).await;
    server.exit("web", 0).unwrap();
    gate.open();
    assert_eq!(answer.await.unwrap()["State"]["Status"], "running");
    assert_eq!(gate.waiting(), 0);
}

#[tokio::test]
async fn another_answer_can_be_given_until_the_hook_is_removed() {
    let server = Server::builder()
        .on_request(only(Kind::Info, Verdict::error(500, "out of luck")))
        .on_answer(|request, _| match request.kind() {
            Kind::Version => Verdict::Answer { status: 200, body: "{".into() },
            _ => Verdict::Pass,
        })
        .start()
        .unwrap();
    let info = get(&server, "/info").await;
    assert_eq!((info.status, info.message().as_str()), (500, "out of luck"));
    let version = get(&server, "/version").await;
    assert_eq!((version.status, &version.body[..]), (200, &b"{"[..]));
    let hook = server.on_request(|_| Verdict::error(503, "later"));
    assert_eq!(get(&server, "/_ping").await.status, 503);
    // The first hook decides.
    assert_eq!(get(&server, "/info").await.status, 500);
    server.remove_hook(hook);
    assert_eq!(get(&server, "/_ping").await.status, 200);
}

#[tokio::test]
async fn raw_bytes_are_sent_unchanged_and_the_connection_closed() {
    let server = Server::builder().start().unwrap();
    server.on_request(only(Kind::Inspect, Verdict::Garbage("\0\x01whale".into())));
    assert_eq!(raw(&server, INSPECT).await, b"\0\x01whale");
    server.on_answer(|request, _| only(Kind::Ping, Verdict::Garbage("?".into()))(request));
    assert_eq!(raw(&server, "GET /_ping HTTP/1.1\r\nhost: docker\r\n\r\n").await, b"?");
    server.until(|stats| stats.open == 0).await;
}

#[tokio::test]
async fn a_connection_can_be_closed_without_an_answer() {
    let server = Server::builder().start().unwrap();
    server.on_request(only(Kind::Inspect, Verdict::Close));
    assert!(raw(&server, INSPECT).await.is_empty());
    server.on_answer(|_, _| Verdict::Close);
    assert!(send(&server, Method::GET, "/_ping").await.is_err());
}

#[tokio::test]
async fn a_request_can_stay_unanswered_until_its_client_leaves() {
    let server = Server::builder().start().unwrap();
    server.on_request(only(Kind::Info, Verdict::Hang));
    let arrival = server.arrival(|request| request.kind() == Kind::Info);
    let client = tokio::spawn({
        let server = server.clone();
        async move { send(&server, Method::GET, "/info").await.map(drop) }
    });
    arrival.await;
    assert_eq!(get(&server, "/_ping").await.status, 200);
    assert!(!client.is_finished());
    server.disconnect_all();
    assert!(client.await.unwrap().is_err());
    server.until(|stats| stats.open == 0).await;
}

#[tokio::test]
async fn an_answer_can_be_cut_short() {
    let server = Server::builder().start().unwrap();
    server.run("web").unwrap();
    let hook = server.on_request(only(Kind::Inspect, Verdict::Truncate(100)));
    let answer = raw(&server, INSPECT).await;
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let (head, body) = answer.split_at(head + 4);
    assert_eq!(body.len(), 100);
    // The head announces all of it.
    let head = String::from_utf8(head.to_vec()).unwrap();
    let promised = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert!(promised.parse::<usize>().unwrap() > 3000, "{head}");
    server.remove_hook(hook);
    server.on_answer(|request, _| only(Kind::Inspect, Verdict::Truncate(0))(request));
    let body = send(&server, Method::GET, "/containers/web/json").await.unwrap().into_body();
    assert!(body.collect().await.is_err());
}

#[tokio::test]
async fn an_event_stream_can_be_cut_in_the_middle_of_an_event() {
    let server = Server::builder().start().unwrap();
    server.on_request(only(Kind::Events, Verdict::Truncate(500)));
    let mut events = Events::registered(&server, "").await;
    server.run("web").unwrap();
    assert_eq!(events.reported(1).await, ["create web"]);
    assert!(events.next().await.is_none());
    server.until(|stats| stats.listeners == 0).await;
}
