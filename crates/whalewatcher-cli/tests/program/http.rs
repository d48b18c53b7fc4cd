//! Requests over HTTP, and answers that come piece by piece.

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use whalewatcher_testkit::watched::in_time;

/// Sends a request with `GET` on a connection.
pub(crate) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    headers: &[(&str, &str)],
) -> hyper::Result<Response<Incoming>> {
    ask_by("GET", stream, path, headers).await
}

/// Sends a request on a connection.
pub(crate) async fn ask_by(
    method: &str,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    path: &str,
    headers: &[(&str, &str)],
) -> hyper::Result<Response<Incoming>> {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    in_time(async {
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        sender.send_request(request).await
    })
    .await
}

/// Returns the whole body of an answer.
pub(crate) async fn text(answer: Response<Incoming>) -> String {
    String::from_utf8(in_time(answer.collect()).await.unwrap().to_bytes().into()).unwrap()
}

/// The body of an answer that goes on.
pub(crate) struct Pieces {
    body: Incoming,
    text: String,
}

impl Pieces {
    pub(crate) fn of(answer: Response<Incoming>) -> Self {
        Self { body: answer.into_body(), text: String::new() }
    }

    /// Returns the text up to the next one of these ends; `None` at the proper end of the answer.
    pub(crate) async fn next(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some((piece, rest)) = self.text.split_once(end) {
                let piece = piece.to_owned();
                self.text = rest.to_owned();
                return Some(piece);
            }
            let frame = in_time(self.body.frame()).await?;
            self.text += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
        }
    }
}
