//! Between an engine's socket and a reader of its event stream: notes when the engine's bytes arrive, and passes them on.
//!
//! Only the connection with the event stream goes through here. As soon as the stream is asked for, the way leads to the
//! engine itself, so that no answer to an inspection is held up: the socket that the reader is given is a link.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use whalewatcher_bench::floor::{Change, change};

/// More than an event has, or the beginning of a request.
const BUFFER: usize = 64 * 1024;

/// When each change was told by the engine, in the order in which it was.
pub(crate) type Arrivals = HashMap<Change, Vec<Instant>>;

/// One reader's way to the engine. Connections through here end with it.
pub(crate) struct Tap {
    folder: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    engine: PathBuf,
    link: PathBuf,
    /// Where the link is made, before it takes the other one's place.
    new_link: PathBuf,
    reported: Mutex<Reported>,
    ended: AtomicBool,
}

#[derive(Default)]
struct Reported {
    /// Whatever came on the event stream, and when.
    bytes: Vec<(Instant, Vec<u8>)>,
    stream: Option<[UnixStream; 2]>,
    others: Vec<[UnixStream; 2]>,
}

impl Tap {
    /// In front of the engine at this socket.
    pub(crate) fn of(engine: &Path) -> Result<Self> {
        let folder = TempDir::new().context("no folder for a socket")?;
        let own = folder.path().join("tap.sock");
        let listener = UnixListener::bind(&own).context("cannot listen on a socket")?;
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            link: folder.path().join("engine.sock"),
            new_link: folder.path().join("new.sock"),
            reported: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        symlink(&own, &shared.link).context("cannot link to a socket")?;
        thread::spawn({
            let shared = shared.clone();
            move || {
                for client in listener.incoming() {
                    if shared.ended.load(Ordering::Relaxed) {
                        break;
                    }
                    // Whoever connects is told of a failure by the connection's end.
                    let _ = client.and_then(|client| Shared::serve(&shared, client));
                }
            }
        });
        Ok(Self { folder, shared })
    }

    /// Where the reader finds the engine.
    pub(crate) fn socket(&self) -> &Path {
        &self.shared.link
    }

    /// Ends all connections through here but the event stream. None of them may be in use.
    pub(crate) fn keep_the_stream_only(&self) {
        self.shared.reported().others.drain(..).flatten().for_each(|stream| end(&stream));
    }

    /// What came so far.
    pub(crate) fn arrivals(&self) -> Arrivals {
        arrivals(&self.shared.reported().bytes)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.keep_the_stream_only();
        self.shared.reported().stream.take().into_iter().flatten().for_each(|stream| end(&stream));
        // Who waits for connections has to see one to see that it has ended.
        let _ = UnixStream::connect(self.folder.path().join("tap.sock"));
    }
}

fn end(stream: &UnixStream) {
    // It may have ended by itself.
    let _ = stream.shutdown(Shutdown::Both);
}

impl Shared {
    fn reported(&self) -> MutexGuard<'_, Reported> {
        self.reported.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(shared: &Arc<Self>, client: UnixStream) -> io::Result<()> {
        let engine = UnixStream::connect(&shared.engine)?;
        let (mut to_engine, mut from_client) = (engine.try_clone()?, client.try_clone()?);
        let (mut to_client, mut from_engine) = (client.try_clone()?, engine.try_clone()?);
        shared.reported().others.push([client, engine]);
        let number = shared.reported().others.len() - 1;
        let is_stream = Arc::new(AtomicBool::new(false));
        thread::spawn({
            let (shared, is_stream) = (shared.clone(), is_stream.clone());
            move || {
                let asked = |_, bytes: &[u8]| {
                    if bytes.windows(8).any(|part| part == b"/events?") && shared.lead_past(number)? {
                        is_stream.store(true, Ordering::Release);
                    }
                    Ok(())
                };
                // The reader finds out by itself what became of its connection.
                let _ = pass_on(&mut from_client, &mut to_engine, asked);
                end(&to_engine);
            }
        });
        thread::spawn({
            let shared = shared.clone();
            move || {
                let answered = |at, bytes: &[u8]| {
                    if is_stream.load(Ordering::Acquire) {
                        shared.reported().bytes.push((at, bytes.to_owned()));
                    }
                    Ok(())
                };
                let _ = pass_on(&mut from_engine, &mut to_client, answered);
                end(&to_client);
            }
        });
        Ok(())
    }

    /// If there was none before, that connection is the event stream: all others are to be made with the engine itself.
    fn lead_past(&self, number: usize) -> io::Result<bool> {
        let mut reported = self.reported();
        let is_first = reported.stream.is_none() && number < reported.others.len();
        if is_first {
            let stream = reported.others.remove(number);
            reported.stream = Some(stream);
            symlink(&self.engine, &self.new_link)?;
            fs::rename(&self.new_link, &self.link)?;
        }
        Ok(is_first)
    }
}

/// Until the end of what is to be read. Noted before it is passed on, for whoever has it may ask what was noted.
fn pass_on(
    from: &mut UnixStream,
    to: &mut UnixStream,
    note: impl Fn(Instant, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let count = from.read(&mut buffer)?;
        let at = Instant::now();
        if count == 0 {
            return Ok(());
        }
        note(at, &buffer[..count])?;
        to.write_all(&buffer[..count])?;
    }
}

/// The changes in what came. A line was told when its end came; what lies between the lines is HTTP's.
fn arrivals(bytes: &[(Instant, Vec<u8>)]) -> Arrivals {
    let mut arrivals = Arrivals::new();
    let mut line = Vec::new();
    for (at, bytes) in bytes {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                if let Some(change) = change(&line) {
                    arrivals.entry(change).or_default().push(*at);
                }
                line.clear();
            }
        }
    }
    arrivals
}

#[cfg(test)]
mod tests {
    use whalewatcher_bench::floor::Kind;

    use super::*;

    fn line(action: &str) -> String {
        format!(r#"{{"status":"{action}","Type":"container","Action":"{action}","Actor":{{"ID":"a"}}}}"#)
    }

    #[test]
    fn an_event_was_reported_when_its_last_byte_came() {
        let [first, second, third] = [0, 1, 2].map(|_| Instant::now());
        let (start, die) = (line("start"), line("die"));
        let bytes = [
            (first, format!("5e\r\n{start}\n\r\n5e\r\n{}", &die[..20]).into_bytes()),
            (second, format!("{}\n\r\n", &die[20..]).into_bytes()),
            (third, format!("5e\r\n{}\n\r\n5e\r\n{start}\n\r\n", line("kill")).into_bytes()),
        ];
        let of = |kind| Change { id: "a".to_owned(), kind };
        let expected = [(of(Kind::Started), vec![first, third]), (of(Kind::Exited), vec![second])];
        assert_eq!(arrivals(&bytes), Arrivals::from(expected));
    }

    #[test]
    fn the_event_stream_passes_through_and_whatever_comes_later_does_not() -> Result<()> {
        let folder = TempDir::new()?;
        let socket = folder.path().join("engine.sock");
        let engine = UnixListener::bind(&socket)?;
        let tap = Tap::of(&socket)?;
        let hear = |from: &mut UnixStream, text: &str| -> Result<()> {
            let mut heard = vec![0; text.len()];
            from.read_exact(&mut heard)?;
            assert_eq!(String::from_utf8_lossy(&heard), text);
            Ok(())
        };

        let mut other = UnixStream::connect(tap.socket())?;
        let (mut other_at_engine, _) = engine.accept()?;
        other.write_all(b"GET /_ping")?;
        hear(&mut other_at_engine, "GET /_ping")?;

        let mut stream = UnixStream::connect(tap.socket())?;
        let (mut at_engine, _) = engine.accept()?;
        stream.write_all(b"GET /events?since=1")?;
        hear(&mut at_engine, "GET /events?since=1")?;
        assert_eq!(fs::read_link(tap.socket())?, socket);

        tap.keep_the_stream_only();
        assert_eq!(other.read(&mut [0])?, 0, "ended");
        let event = line("pause") + "\n";
        let before = Instant::now();
        at_engine.write_all(event.as_bytes())?;
        hear(&mut stream, &event)?;
        at_engine.write_all(b"end")?;
        hear(&mut stream, "end")?;
        let arrivals = tap.arrivals();
        let at = &arrivals[&Change { id: "a".to_owned(), kind: Kind::Paused }];
        assert!(at.len() == 1 && at[0] > before && at[0] < Instant::now());
        drop(tap);
        assert_eq!(stream.read(&mut [0])?, 0, "ended");
        Ok(())
    }
}
