//! Just enough HTTP to ask a daemon on its unix socket or on a TCP port, blocking. HTTP/1.0, so that the
//! answer ends with the connection and is never in chunks.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Loading an image or stopping a container can take long on a busy host.
const LIMIT: Duration = Duration::from_secs(120);

/// What the daemon answered.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, as it came.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text, invalid UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// When it is not JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {}", self.text()))
    }
}

/// Sends one request on a connection of its own and reads the whole answer.
///
/// # Errors
///
/// When the socket cannot be reached, nothing comes for two minutes, or the answer is not HTTP. An answer with a
/// status of failure is no error.
pub(crate) fn request(
    socket: &Path,
    method: &str,
    target: &str,
    content_type: &str,
    body: &[u8],
) -> Result<Response> {
    let asking = || format!("cannot ask {method} {target} on {}", socket.display());
    let mut stream = UnixStream::connect(socket).with_context(asking)?;
    stream.set_read_timeout(Some(LIMIT)).with_context(asking)?;
    stream.set_write_timeout(Some(LIMIT)).with_context(asking)?;
    exchange(&mut stream, &[&head_of(method, target, content_type, body), body]).with_context(asking)
}

fn head_of(method: &str, target: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    format!(
        "{method} {target} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes()
}

/// Posts JSON to a TCP port of this host, and fails when nothing comes within this time.
pub(crate) fn post(address: SocketAddr, target: &str, body: &[u8], limit: Duration) -> Result<Response> {
    let asking = || format!("cannot post {target} to {address}");
    let mut stream = TcpStream::connect(address).with_context(asking)?;
    stream.set_read_timeout(Some(limit)).with_context(asking)?;
    stream.set_write_timeout(Some(limit)).with_context(asking)?;
    exchange(&mut stream, &[&head_of("POST", target, "application/json", body), body]).with_context(asking)
}

/// Gets something from a TCP port of this host, likewise.
pub(crate) fn get(address: &str, target: &str) -> Result<Response> {
    let asking = || format!("cannot get {target} from {address}");
    let mut stream = TcpStream::connect(address).with_context(asking)?;
    stream.set_read_timeout(Some(LIMIT)).with_context(asking)?;
    let head = format!("GET {target} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    exchange(&mut stream, &[head.as_bytes()]).with_context(asking)
}

fn exchange(stream: &mut (impl Read + Write), parts: &[&[u8]]) -> Result<Response> {
    for part in parts {
        stream.write_all(part)?;
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer)
}

fn parse(answer: &[u8]) -> Result<Response> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        bail!("the answer has no end of its head: {:?}", String::from_utf8_lossy(answer));
    };
    let head = String::from_utf8_lossy(&answer[..end]);
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
    let status = status.with_context(|| format!("the answer is not HTTP: {head:?}"))?;
    Ok(Response { status, body: answer[end + 4..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_reported_apart() {
        let response = parse(b"HTTP/1.0 404 Not Found\r\nContent-Length: 4\r\n\r\n{}\r\n").unwrap();
        assert_eq!((response.status, response.text().as_str()), (404, "{}\r\n"));
        assert!(response.json().is_ok());
    }

    #[test]
    fn something_else_than_http_is_an_error() {
        assert!(parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.0 200 OK\r\n").is_err());
    }
}
