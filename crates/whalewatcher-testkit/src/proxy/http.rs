//! Just enough of HTTP/1.1 to find the boundaries of messages, bodies and chunks. All bytes are returned unchanged,
//! in pieces with a type; what is not HTTP/1.x is returned as plain bytes, from there on.

/// The size of a head; a larger one is no HTTP.
const MAX_HEAD: usize = 256 * 1024;
/// The size of a chunk's size line, with its extensions.
const MAX_LINE: usize = 8 * 1024;

const METHODS: [&str; 9] =
    ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE "];

/// The sender of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Requests,
    Answers,
}

/// A part of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole head, including the empty line.
    Head { bytes: Vec<u8>, framing: Framing },
    /// A chunk's size line: data of this size follows, then an end.
    ChunkBegin(Vec<u8>),
    /// A part of the body.
    Data(Vec<u8>),
    /// The end after a chunk's data.
    ChunkEnd(Vec<u8>),
    /// The last chunk and its trailers.
    LastChunk(Vec<u8>),
    /// The end of the message. Has no bytes.
    End,
    /// Not HTTP, or no longer.
    Raw(Vec<u8>),
}

/// How the end of a message is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, and another head follows for the same request.
    Informational,
    /// By a length, which may be 0.
    Length(u64),
    Chunked,
    UntilClose,
    /// Another protocol follows.
    Upgrade,
}

#[derive(Debug)]
enum State {
    Head,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    UntilClose,
    End,
    Raw,
}

/// Splits one direction of a connection.
#[derive(Debug)]
pub(super) struct Decoder {
    role: Role,
    state: State,
    buffer: Vec<u8>,
}

impl Decoder {
    pub(super) fn new(role: Role) -> Self {
        Self { role, state: State::Head, buffer: Vec::new() }
    }

    /// Adds data that was received.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Returns plain bytes from now on.
    pub(super) fn give_up(&mut self) {
        self.state = State::Raw;
    }

    /// Whether no message has begun, as far as is known.
    pub(super) fn between_messages(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// Whether the beginning of a message was received.
    pub(super) fn at_head(&self) -> bool {
        matches!(self.state, State::Head) && !self.buffer.is_empty()
    }

    /// Returns the data of an unfinished piece, for the end.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Returns the next piece; `None` if more bytes are needed for it. `to_head`: the request that is being answered
    /// has the method `HEAD`, so its answer has no body.
    pub(super) fn next(&mut self, to_head: bool) -> Option<Piece> {
        if matches!(self.state, State::End) {
            self.state = State::Head;
            return Some(Piece::End);
        }
        if self.buffer.is_empty() {
            return None;
        }
        match self.state {
            State::Head => self.head(to_head),
            State::Length(left) => {
                let data = self.take_up_to(left);
                let left = left - data.len() as u64;
                self.state = if left == 0 { State::End } else { State::Length(left) };
                Some(Piece::Data(data))
            }
            State::ChunkSize => self.chunk_size(),
            State::ChunkData(left) => {
                let data = self.take_up_to(left);
                let left = left - data.len() as u64;
                self.state = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                Some(Piece::Data(data))
            }
            State::ChunkEnd => match self.line(2)? {
                Some(line) if line == b"\r\n" || line == b"\n" => {
                    self.state = State::ChunkSize;
                    Some(Piece::ChunkEnd(line))
                }
                other => Some(self.raw(other)),
            },
            State::Trailers => match self.line(MAX_LINE)? {
                Some(line) => {
                    if line == b"\r\n" || line == b"\n" {
                        self.state = State::End;
                    }
                    Some(Piece::LastChunk(line))
                }
                None => Some(self.raw(None)),
            },
            State::UntilClose => Some(Piece::Data(self.rest())),
            State::End | State::Raw => Some(Piece::Raw(self.rest())),
        }
    }

    fn head(&mut self, to_head: bool) -> Option<Piece> {
        if !self.may_be_head() {
            return Some(self.raw(None));
        }
        let Some(end) = end_of_head(&self.buffer) else {
            return (self.buffer.len() > MAX_HEAD).then(|| self.raw(None));
        };
        let bytes: Vec<u8> = self.buffer.drain(..end).collect();
        let framing = match self.role {
            Role::Requests => of_request(&bytes),
            Role::Answers => of_answer(&bytes, to_head),
        };
        let Some(framing) = framing else { return Some(self.raw(Some(bytes))) };
        self.state = match framing {
            Framing::Informational => State::Head,
            Framing::Length(0) => State::End,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
            Framing::Upgrade => State::Raw,
        };
        Some(Piece::Head { bytes, framing })
    }

    fn may_be_head(&self) -> bool {
        let begins = |word: &str| self.buffer.iter().zip(word.as_bytes()).all(|(one, other)| one == other);
        match self.role {
            Role::Requests => METHODS.iter().any(|method| begins(method)),
            Role::Answers => begins("HTTP/1."),
        }
    }

    fn chunk_size(&mut self) -> Option<Piece> {
        let line = self.line(MAX_LINE)?;
        let size = line.as_ref().and_then(|line| {
            let digits = std::str::from_utf8(line).ok()?.split(';').next()?.trim();
            // Neither a sign nor an empty text.
            let hex = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            hex.then(|| u64::from_str_radix(digits, 16).ok())?
        });
        match (line, size) {
            (Some(line), Some(0)) => {
                self.state = State::Trailers;
                Some(Piece::LastChunk(line))
            }
            (Some(line), Some(size)) => {
                self.state = State::ChunkData(size);
                Some(Piece::ChunkBegin(line))
            }
            (line, _) => Some(self.raw(line)),
        }
    }

    /// Returns a line with its end; `Some(None)` if there is none within the limit.
    #[allow(clippy::option_option, reason = "not yet, and never")]
    fn line(&mut self, limit: usize) -> Option<Option<Vec<u8>>> {
        match self.buffer.iter().take(limit).position(|byte| *byte == b'\n') {
            Some(end) => Some(Some(self.buffer.drain(..=end).collect())),
            None if self.buffer.len() >= limit => Some(None),
            None => None,
        }
    }

    fn take_up_to(&mut self, count: u64) -> Vec<u8> {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.drain(..count).collect()
    }

    /// Returns these bytes and all that follow as plain bytes.
    fn raw(&mut self, first: Option<Vec<u8>>) -> Piece {
        self.give_up();
        let mut bytes = first.unwrap_or_default();
        bytes.append(&mut self.buffer);
        Piece::Raw(bytes)
    }
}

/// Finds the end of a head, behind its empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    while let Some(end) = bytes[start..].iter().position(|byte| *byte == b'\n').map(|end| start + end) {
        let line = &bytes[start..end];
        if line.is_empty() || line == b"\r" {
            return Some(end + 1);
        }
        start = end + 1;
    }
    None
}

/// Returns the first line of a head, without its end.
pub(super) fn first_line(head: &[u8]) -> String {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).trim_end().into()
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (key, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn is_chunked(head: &[u8]) -> bool {
    header(head, "transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with("chunked"))
}

/// Returns `Some(None)` without a length.
#[allow(clippy::option_option, reason = "absent is not wrong")]
fn length(head: &[u8]) -> Option<Option<u64>> {
    match header(head, "content-length") {
        Some(value) => value.parse().ok().map(Some),
        None => Some(None),
    }
}

fn of_request(head: &[u8]) -> Option<Framing> {
    first_line(head).rsplit(' ').next().filter(|version| version.starts_with("HTTP/1."))?;
    if is_chunked(head) {
        return Some(Framing::Chunked);
    }
    Some(Framing::Length(length(head)?.unwrap_or(0)))
}

fn of_answer(head: &[u8], to_head: bool) -> Option<Framing> {
    let line = first_line(head);
    let status: u16 = line.split(' ').nth(1)?.parse().ok()?;
    Some(match status {
        101 => Framing::Upgrade,
        100..200 => Framing::Informational,
        204 | 304 => Framing::Length(0),
        _ if to_head => Framing::Length(0),
        _ if is_chunked(head) => Framing::Chunked,
        _ => length(head)?.map_or(Framing::UntilClose, Framing::Length),
    })
}

/// Returns the same head with another `Content-Length`.
pub(super) fn with_length(head: &[u8], length: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(head.len());
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        if line.len() > 15 && line[..15].eq_ignore_ascii_case(b"content-length:") {
            out.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

/// Returns a whole answer.
pub(super) fn answer(status: u16, body: &str, to_head: bool) -> Vec<u8> {
    let length = body.len();
    let body = if to_head { "" } else { body };
    format!(
        "HTTP/1.1 {status} Answered by the proxy\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(role: Role, stream: &[u8], size: usize) -> Vec<Piece> {
        let mut decoder = Decoder::new(role);
        let mut pieces: Vec<Piece> = Vec::new();
        for received in stream.chunks(size) {
            decoder.push(received);
            while let Some(piece) = decoder.next(false) {
                match (pieces.last_mut(), piece) {
                    (Some(Piece::Data(before)), Piece::Data(data)) => before.extend(data),
                    (Some(Piece::Raw(before)), Piece::Raw(data)) => before.extend(data),
                    (_, piece) => pieces.push(piece),
                }
            }
        }
        pieces
    }

    fn bytes(pieces: &[Piece]) -> Vec<u8> {
        let of = |piece: &Piece| match piece {
            Piece::Head { bytes, .. }
            | Piece::ChunkBegin(bytes)
            | Piece::Data(bytes)
            | Piece::ChunkEnd(bytes)
            | Piece::LastChunk(bytes)
            | Piece::Raw(bytes) => bytes.clone(),
            Piece::End => Vec::new(),
        };
        pieces.iter().flat_map(of).collect()
    }

    const ANSWERS: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello\
        HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n\
        HTTP/1.1 204 No Content\r\n\r\nHTTP/1.0 200 OK\r\n\r\nto the end";

    #[test]
    fn answers_are_unchanged_in_pieces_of_any_size() {
        let whole = pieces(Role::Answers, ANSWERS, ANSWERS.len());
        let data: Vec<_> = whole.iter().filter(|piece| matches!(piece, Piece::Data(_))).cloned().collect();
        let expected = ["hello", "abc", "de", "to the end"].map(|data| Piece::Data(data.into()));
        assert_eq!(data, expected);
        assert_eq!(whole.iter().filter(|piece| **piece == Piece::End).count(), 3);
        for size in 1..ANSWERS.len() {
            let cut = pieces(Role::Answers, ANSWERS, size);
            assert_eq!(cut, whole, "in pieces of {size}");
            assert_eq!(bytes(&cut), ANSWERS);
        }
    }

    #[test]
    fn requests_have_bodies_only_if_the_head_announces_one() {
        let stream = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST /x HTTP/1.1\r\nContent-Length: 2\r\n\r\nhiHEAD / HTTP/1.1\r\n\r\n";
        for size in 1..stream.len() {
            let pieces = pieces(Role::Requests, stream, size);
            assert_eq!(pieces.iter().filter(|piece| **piece == Piece::End).count(), 3, "in pieces of {size}");
            assert!(pieces.contains(&Piece::Data(b"hi".to_vec())));
        }
    }

    #[test]
    fn data_that_is_not_http_passes_at_once() {
        for (role, stream) in [
            (Role::Requests, &b"hello"[..]),
            (Role::Requests, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            (Role::Requests, b"GET / HTTP/2.0\r\n\r\n"),
            (Role::Requests, b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
            (Role::Answers, b"SSH-2.0"),
            (Role::Answers, b"HTTP/1.1 OK\r\n\r\n"),
            (Role::Answers, b"HTTP/1.1 101 Upgraded\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            (Role::Answers, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n"),
            (Role::Answers, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"),
        ] {
            for size in 1..=stream.len() {
                let pieces = pieces(role, stream, size);
                assert!(matches!(pieces.last(), Some(Piece::Raw(_))), "{pieces:?}");
                assert_eq!(bytes(&pieces), stream);
            }
        }
    }
}
