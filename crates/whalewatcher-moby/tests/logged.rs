//! How often a warning is logged. In a process of its own, because the log is global.
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
async fn malformed_events_are_logged_once_and_not_with_each_replay() {
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
    let both = format!("{malformed}\n{impossible}\n");
    // The engine's ring contains them from now on, and so does each replay.
    let body = both.clone();
    server.on_request(move |request| match request.kind() {
        Kind::Events if request.query("until").is_some() => {
            Verdict::Answer { status: 200, body: body.clone().into() }
        }
        _ => Verdict::Pass,
    });
    server.emit_raw(both);
    let asked = server.stats().requests.events;
    in_time(server.until(|stats| stats.requests.events >= asked + 10)).await;
    server.run("after").unwrap();
    watched.until_reported("started after").await;

    let counters = watched.watching.status().counters;
    assert_eq!((counters.connects, counters.malformed), (1, 0), "{counters:?}");
    for part in ["malformed event", "invalid container ID"] {
        assert_eq!(log.lines_with(part), 1, "{part}");
    }
}
