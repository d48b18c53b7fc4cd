//! What is logged, by how often. Alone in its process, for which the log is.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::Level;
use whalewatcher_core::Settings;
use whalewatcher_moby::{Client, MAX_ID};
use whalewatcher_testkit::docker::{Kind, Server, Verdict};
use whalewatcher_testkit::watched::{Watched, in_time};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn lines_with(&self, part: &str) -> usize {
        let log = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        log.lines().filter(|line| line.contains(part)).count()
    }
}

#[tokio::test]
async fn odd_events_are_warned_of_once_and_not_with_each_probe_and_audit() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(Level::WARN).with_ansi(false);
    subscriber.with_writer(move || writer.clone()).init();

    let server = Server::builder().start().unwrap();
    let web = server.run("web").unwrap();
    let settings = Settings::default()
        .with_audits(Duration::from_millis(20))
        .with_probes(Duration::from_millis(20), Duration::from_secs(60));
    let client = Client::new(server.endpoint()).unwrap();
    let mut watched = in_time(Watched::with_settings(client, settings).live()).await;

    let malformed = format!(r#"{{"Type":"container","Action":"pause","Actor":{{"ID":"{web}","#);
    let impossible = "f".repeat(MAX_ID + 1);
    let impossible = format!(r#"{{"Type":"container","Action":"start","Actor":{{"ID":"{impossible}"}}}}"#);
    let odd = format!("{malformed}\n{impossible}\n");
    // They are in the engine's ring from now on: each replay has them.
    let body = odd.clone();
    server.on_request(move |request| match request.kind() {
        Kind::Events if request.query("until").is_some() => {
            Verdict::Answer { status: 200, body: body.clone().into() }
        }
        _ => Verdict::Pass,
    });
    server.emit_raw(odd);
    let asked = server.stats().requests.events;
    in_time(server.until(|stats| stats.requests.events >= asked + 10)).await;
    server.run("after").unwrap();
    watched.until_reported("started after").await;

    let counters = watched.watching.status().counters;
    assert_eq!((counters.connects, counters.malformed), (1, 0), "{counters:?}");
    for part in ["an odd event of container", "cannot be one"] {
        assert_eq!(log.lines_with(part), 1, "{part}");
    }
}
