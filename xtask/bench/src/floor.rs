//! A minimal client: it sends what has to be sent on connections that it keeps, and throws the answers away.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::task::{AbortHandle, spawn};

/// As many as the watcher has inspections under way.
const CONNECTIONS: usize = 16;

/// One connection, which ends with this.
pub(crate) struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    pub(crate) async fn new(socket: &str) -> Result<Self> {
        let stream = UnixStream::connect(socket).await.context("cannot connect")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: spawn(connection).abort_handle() })
    }

    async fn answer(&mut self, path: &str) -> Result<Response<Incoming>> {
        let request = Request::get(path).header("host", "engine").body(Empty::new())?;
        self.sender.ready().await?;
        Ok(self.sender.send_request(request).await?)
    }

    pub(crate) async fn get(&mut self, path: &str) -> Result<Response<Incoming>> {
        let response = self.answer(path).await?;
        ensure!(response.status().is_success(), "GET {path} gave {}", response.status());
        Ok(response)
    }

    pub(crate) async fn get_for_nothing(&mut self, path: &str) -> Result<()> {
        let body = self.get(path).await?.into_body();
        throw_away(body).await
    }
}

async fn throw_away(mut body: Incoming) -> Result<()> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

/// Asks for the list and then about each of these, as many at once as there are connections.
///
/// # Errors
///
/// When the engine cannot be reached, or refuses something.
pub async fn ask_about_all(socket: &str, ids: &[String]) -> Result<()> {
    ask(&mut connections(socket, CONNECTIONS).await?, ids).await
}

async fn connections(socket: &str, number: usize) -> Result<Vec<Connection>> {
    try_join_all((0..number).map(|_| Connection::new(socket))).await
}

async fn ask(connections: &mut [Connection], ids: &[String]) -> Result<()> {
    connections[0].get_for_nothing("/containers/json").await?;
    let share = ids.len().div_ceil(connections.len()).max(1);
    let asking = connections.iter_mut().zip(ids.chunks(share)).map(|(connection, ids)| async move {
        for id in ids {
            connection.get_for_nothing(&format!("/containers/{id}/json")).await?;
        }
        Ok::<_, anyhow::Error>(())
    });
    try_join_all(asking).await.map(drop)
}

/// The event stream, of which nothing is looked at but when an event happened.
pub struct Events {
    _connection: Connection,
    body: Incoming,
    line: Vec<u8>,
}

impl Events {
    /// Begins to follow them.
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached, or refuses.
    pub async fn new(socket: &str) -> Result<Self> {
        let mut connection = Connection::new(socket).await?;
        let body = connection.get("/events").await?.into_body();
        Ok(Self { _connection: connection, body, line: Vec::new() })
    }

    /// Waits for more events, and adds how many milliseconds ago each happened.
    ///
    /// # Errors
    ///
    /// When the stream ends, or has an event without a time.
    pub async fn next(&mut self, lags: &mut Vec<f64>) -> Result<()> {
        let frame = self.body.frame().await.context("the stream ended")??;
        let now = SystemTime::now();
        for part in
            frame.data_ref().map(|data| data.split_inclusive(|byte| *byte == b'\n')).into_iter().flatten()
        {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let happened = time(&self.line).context("an event without a time")?;
                lags.push(milliseconds(happened, now));
                self.line.clear();
            }
        }
        Ok(())
    }
}

/// How many milliseconds ago that was; the clocks are one machine's.
#[must_use]
pub fn milliseconds(happened: SystemTime, now: SystemTime) -> f64 {
    now.duration_since(happened).unwrap_or_default().as_secs_f64() * 1e3
}

/// When an event happened.
fn time(line: &[u8]) -> Option<SystemTime> {
    const KEY: &[u8] = b"\"timeNano\":";
    let at = line.windows(KEY.len()).rposition(|window| window == KEY)? + KEY.len();
    let digits = line[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let nanoseconds =
        digits.fold(0_u64, |sum, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_an_event_is_found_in_its_line() {
        let line = br#"{"Type":"container","time":1770000000,"timeNano":1770000000000000042}"#;
        let happened = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_770_000_000_000_000_042);
        assert_eq!(time(line), Some(happened));
        assert_eq!(time(b"{}"), None);
    }
}
