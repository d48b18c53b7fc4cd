//! HTTP/1.1 answers on their way to the client: events are dropped from them, bodies end early. Everything else
//! passes byte by byte.

use std::sync::Arc;

use super::{
    armed::Armed,
    fault::{Direction, FaultKind},
    handle::Shared,
    http::{self, Decoder, Framing, Piece, Role},
    lines::{Fate, Lines},
    link::{Link, Request},
    stats::FaultId,
};

/// An item to pass on.
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    pub(super) about: Option<Arc<Request>>,
    /// The end of the connection.
    pub(super) last: bool,
}

/// Reads the engine's answers, and decides what the client receives.
pub(super) struct Answers<'a> {
    shared: &'a Shared,
    link: &'a Link,
    decoder: Decoder,
    answer: Option<Answer>,
    /// The proxy's own answer, which goes before what the engine sent.
    waiting: bool,
}

/// The answer whose body is being passed on.
struct Answer {
    request: Arc<Request>,
    framing: Framing,
    lines: Lines,
    /// Within one of the engine's chunks that passes as it is. Otherwise data is sent in new chunks.
    inside_chunk: bool,
    /// How much of the body may still pass.
    truncation: Option<(FaultId, u64)>,
}

impl<'a> Answers<'a> {
    pub(super) fn new(shared: &'a Shared, link: &'a Link) -> Self {
        Self { shared, link, decoder: Decoder::new(Role::Answers), answer: None, waiting: false }
    }

    /// Returns the proxy's answer to the next request, if the proxy answers it and its turn has come.
    pub(super) fn substitute(&mut self) -> Option<Out> {
        if !self.decoder.between_messages() {
            return None;
        }
        let request = self.link.answering()?;
        let bytes = request.substitute.clone()?;
        self.link.answered();
        Some(Out { bytes, about: Some(request), last: false })
    }

    /// Whether the engine's next answer has begun and waits for its turn.
    pub(super) fn has_more(&self) -> bool {
        self.waiting
    }

    /// Handles data from the engine.
    pub(super) fn take(&mut self, received: &[u8]) -> Vec<Out> {
        self.decoder.push(received);
        self.waiting = false;
        let mut outs: Vec<Out> = Vec::new();
        loop {
            let request = self.link.answering();
            if request.is_none() && self.decoder.at_head() {
                // An answer without a request.
                self.decoder.give_up();
            }
            if self.decoder.between_messages() && is_substituted(request.as_deref()) {
                // The engine may have answered a later request already.
                self.waiting = self.decoder.at_head();
                return outs;
            }
            let to_head = request.as_ref().is_some_and(|request| request.to_head);
            let Some(piece) = self.decoder.next(to_head) else { return outs };
            let mut out = Out { bytes: Vec::new(), about: request.clone(), last: false };
            self.piece(piece, request, &mut out);
            let last = out.last;
            match outs.last_mut() {
                Some(before) if same(&before.about, &out.about) => {
                    before.bytes.append(&mut out.bytes);
                    before.last = out.last;
                }
                _ => outs.push(out),
            }
            if last {
                return outs;
            }
        }
    }

    fn piece(&mut self, piece: Piece, request: Option<Arc<Request>>, out: &mut Out) {
        match piece {
            Piece::Raw(bytes) => {
                out.about = None;
                out.bytes = bytes;
            }
            Piece::Head { bytes, framing: Framing::Informational } => out.bytes = bytes,
            Piece::Head { bytes, framing } => {
                out.bytes = match request {
                    Some(request) => self.begin(bytes, framing, request),
                    None => bytes,
                };
            }
            Piece::End => {
                self.answer = None;
                self.link.answered();
            }
            piece => match self.answer.as_mut() {
                Some(answer) => answer.body(self.shared, self.link, piece, out),
                None => out.bytes = bytes_of(piece),
            },
        }
    }

    fn begin(&mut self, head: Vec<u8>, framing: Framing, request: Arc<Request>) -> Vec<u8> {
        let mut answer =
            Answer { request, framing, lines: Lines::default(), inside_chunk: false, truncation: None };
        let mut bytes = head;
        match framing {
            Framing::Length(length) => {
                answer.truncate(self.shared, self.link, length);
                if let Some((id, left)) = answer.truncation {
                    self.shared.stats.count(|stats| stats.hit(id));
                    bytes = http::with_length(&bytes, left);
                }
            }
            Framing::Chunked | Framing::UntilClose => answer.truncate(self.shared, self.link, u64::MAX),
            Framing::Informational | Framing::Upgrade => {}
        }
        self.answer = Some(answer);
        bytes
    }

    /// Handles a change of the faults while the engine was silent.
    pub(super) fn idle(&mut self) -> Option<Out> {
        let answer = self.answer.as_mut()?;
        let mut out = Out { bytes: Vec::new(), about: Some(answer.request.clone()), last: false };
        answer.idle(self.shared, self.link, &mut out);
        (out.last || !out.bytes.is_empty()).then_some(out)
    }

    /// Handles the end of the engine's data.
    pub(super) fn finish(&mut self) -> Out {
        let mut bytes = Vec::new();
        let about = self.answer.as_ref().map(|answer| answer.request.clone());
        if let Some(answer) = &mut self.answer {
            let rest = answer.lines.rest();
            answer.emit(self.shared, &rest, &mut bytes);
        }
        bytes.append(&mut self.decoder.rest());
        Out { bytes, about, last: false }
    }
}

fn is_substituted(request: Option<&Request>) -> bool {
    request.is_some_and(|request| request.substitute.is_some())
}

fn same(one: &Option<Arc<Request>>, other: &Option<Arc<Request>>) -> bool {
    one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr)
}

fn bytes_of(piece: Piece) -> Vec<u8> {
    match piece {
        Piece::Head { bytes, .. }
        | Piece::ChunkBegin(bytes)
        | Piece::Data(bytes)
        | Piece::ChunkEnd(bytes)
        | Piece::LastChunk(bytes)
        | Piece::Raw(bytes) => bytes,
        Piece::End => Vec::new(),
    }
}

impl Answer {
    /// Applies a truncation from here on, if there is one for fewer bytes than this.
    fn truncate(&mut self, shared: &Shared, link: &Link, length: u64) {
        if self.truncation.is_some() {
            return;
        }
        self.truncation = shared.faults.all().iter().find_map(|armed| {
            let FaultKind::Truncate { after } = armed.fault.kind else { return None };
            let applies =
                after < length && self.is_concerned(link, armed) && armed.engage(link, Some(&self.request));
            applies.then_some((armed.id, after))
        });
    }

    fn is_concerned(&self, link: &Link, armed: &Armed) -> bool {
        armed.concerns(link, Direction::ToClient, Some(&self.request))
    }

    /// Whether a fault concerns events.
    fn is_edited(&self, shared: &Shared, link: &Link) -> bool {
        let edits = |kind: &FaultKind| {
            matches!(kind, FaultKind::DropEvents(_) | FaultKind::RepeatEvents(_) | FaultKind::DelayEvents(_))
        };
        shared.faults.all().iter().any(|armed| edits(&armed.fault.kind) && self.is_concerned(link, armed))
    }

    fn body(&mut self, shared: &Shared, link: &Link, piece: Piece, out: &mut Out) {
        match piece {
            Piece::ChunkBegin(bytes) => {
                self.truncate(shared, link, u64::MAX);
                let reframed =
                    self.truncation.is_some() || self.lines.keeps() || self.is_edited(shared, link);
                self.inside_chunk = !reframed;
                if self.inside_chunk {
                    out.bytes = bytes;
                }
            }
            Piece::ChunkEnd(bytes) => {
                if self.inside_chunk {
                    out.bytes = bytes;
                }
                self.inside_chunk = false;
            }
            Piece::LastChunk(bytes) => {
                let rest = self.lines.rest();
                self.emit(shared, &rest, &mut out.bytes);
                out.bytes.extend(bytes);
            }
            Piece::Data(data) => self.data(shared, link, data, out),
            piece => out.bytes = bytes_of(piece),
        }
    }

    fn data(&mut self, shared: &Shared, link: &Link, mut data: Vec<u8>, out: &mut Out) {
        match self.framing {
            Framing::Length(_) => {
                if let Some((_, left)) = &mut self.truncation {
                    data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= data.len() as u64;
                }
                out.bytes = data;
                return;
            }
            Framing::UntilClose => self.truncate(shared, link, u64::MAX),
            _ => {}
        }
        let data = if !self.inside_chunk && self.is_edited(shared, link) {
            let request = self.request.clone();
            self.lines.edit(&data, |line| decide(shared, link, &request, line))
        } else {
            self.lines.pass(&data)
        };
        self.emit(shared, &data, &mut out.bytes);
        self.end_early(shared, out);
    }

    /// Passes data on, in a chunk of its own if needed, up to the limit of a truncation.
    fn emit(&mut self, shared: &Shared, mut data: &[u8], out: &mut Vec<u8>) {
        if let Some((_, left)) = &mut self.truncation
            && !self.inside_chunk
        {
            data = &data[..data.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
            *left -= data.len() as u64;
        }
        if data.is_empty() {
            return;
        }
        if self.request.for_events {
            let events = data.iter().filter(|byte| **byte == b'\n').count() as u64;
            shared.stats.count(|stats| stats.events += events);
        }
        if self.framing == Framing::Chunked && !self.inside_chunk {
            out.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(data);
        }
    }

    /// Ends the body if a truncation requires it.
    fn end_early(&mut self, shared: &Shared, out: &mut Out) {
        if let Some((id, 0)) = self.truncation
            && !self.inside_chunk
        {
            shared.stats.count(|stats| stats.hit(id));
            if self.framing == Framing::Chunked {
                out.bytes.extend_from_slice(b"0\r\n\r\n");
            }
            out.last = true;
        }
    }

    fn idle(&mut self, shared: &Shared, link: &Link, out: &mut Out) {
        if self.inside_chunk || !matches!(self.framing, Framing::Chunked | Framing::UntilClose) {
            return;
        }
        if !self.is_edited(shared, link) {
            let kept = self.lines.rest();
            self.emit(shared, &kept, &mut out.bytes);
        }
        self.truncate(shared, link, u64::MAX);
        self.end_early(shared, out);
    }
}

/// What happens to an event.
fn decide(shared: &Shared, link: &Link, request: &Request, line: &[u8]) -> Fate {
    for armed in shared.faults.all().iter() {
        let (part, fate) = match &armed.fault.kind {
            FaultKind::DropEvents(part) => (part, Fate::Drop),
            FaultKind::RepeatEvents(part) => (part, Fate::Repeat),
            FaultKind::DelayEvents(part) => (part, Fate::Delay),
            _ => continue,
        };
        let contains = part.is_empty() || line.windows(part.len()).any(|window| window == part.as_bytes());
        if contains && armed.concerns(link, Direction::ToClient, Some(request)) && armed.take() {
            shared.stats.count(|stats| {
                stats.hit(armed.id);
                stats.dropped += u64::from(fate == Fate::Drop);
            });
            return fate;
        }
    }
    Fate::Pass
}
