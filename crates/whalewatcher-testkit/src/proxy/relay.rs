//! A connection from its acceptance to its end: bytes between two sockets, each direction separately.

use std::sync::{Arc, atomic::Ordering};

use tokio::io::AsyncReadExt;

use super::{
    answers::Answers,
    fault::{Direction, FaultKind},
    handle::Shared,
    http::{self, Decoder, Piece, Role},
    link::{End, Link, Request, short},
    outlet::Outlet,
    socket::{Reader, Socket},
};

const BUFFER: usize = 64 * 1024;

/// Serves a connection until it ends.
pub(super) async fn relay(shared: &Shared, link: &Link, mut client: Socket) {
    if swallowed_by_black_hole(shared, link) {
        tokio::select! {
            biased;
            end = link.ended() => close(end, client, None),
            () = listen(shared, &mut client) => {}
        }
        return;
    }
    let connected = tokio::select! {
        biased;
        end = link.ended() => return close(end, client, None),
        connected = Socket::connect(&shared.upstream) => connected,
    };
    let Ok(mut engine) = connected else {
        shared.stats.count(|stats| stats.unreachable += 1);
        return;
    };
    let (from_client, to_client) = client.split();
    let (from_engine, to_engine) = engine.split();
    let to_engine = Outlet::new(shared, link, Direction::ToEngine, to_engine);
    let to_client = Outlet::new(shared, link, Direction::ToClient, to_client);
    let both = async { tokio::try_join!(requests(from_client, to_engine), answers(from_engine, to_client)) };
    let end = tokio::select! {
        biased;
        end = link.ended() => end,
        ended = both => ended.err().unwrap_or(End::Close),
    };
    close(end, client, Some(engine));
}

fn close(end: End, client: Socket, engine: Option<Socket>) {
    if end == End::Reset {
        client.reset();
        if let Some(engine) = engine {
            engine.reset();
        }
    }
}

fn swallowed_by_black_hole(shared: &Shared, link: &Link) -> bool {
    let hole = shared.faults.all().iter().find_map(|armed| {
        let swallowed = armed.fault.kind == FaultKind::BlackHole
            && armed.concerns(link, Direction::ToEngine, None)
            && armed.engage(link, None);
        swallowed.then_some(armed.id)
    });
    if let Some(id) = hole {
        shared.stats.count(|stats| stats.hit(id));
    }
    hole.is_some()
}

/// Reads everything and sends nothing, until the client closes the connection.
async fn listen(shared: &Shared, client: &mut Socket) {
    let (mut from_client, _to_client) = client.split();
    let mut buffer = vec![0; BUFFER];
    while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
        shared.stats.count(|stats| stats.swallowed += count as u64);
    }
}

/// From the client to the engine.
async fn requests(mut client: Reader<'_>, mut engine: Outlet<'_>) -> Result<(), End> {
    let (shared, link) = (engine.shared, engine.link);
    let mut buffer = vec![0; BUFFER];
    let mut incoming = Requests::new();
    loop {
        engine.idle(link.asking().as_deref()).await?;
        let count = tokio::select! {
            read = client.read(&mut buffer) => read.map_err(|_| End::Close)?,
            _ = engine.faults.changed() => continue,
        };
        if count == 0 {
            link.client_gone.store(true, Ordering::Relaxed);
            if link.is_silent() {
                return Err(End::Close);
            }
            let rest = incoming.decoder.rest();
            engine.send(&rest, None).await?;
            return engine.finish(link.asking().as_deref()).await;
        }
        incoming.decoder.push(&buffer[..count]);
        while let Some((bytes, about)) = incoming.next(shared, link) {
            engine.send(&bytes, about.as_deref()).await?;
        }
    }
}

/// Reads the client's requests.
struct Requests {
    decoder: Decoder,
    count: u64,
    current: Option<Arc<Request>>,
}

impl Requests {
    fn new() -> Self {
        Self { decoder: Decoder::new(Role::Requests), count: 0, current: None }
    }

    /// Returns what the engine receives next, and the request to which it belongs.
    fn next(&mut self, shared: &Shared, link: &Link) -> Option<(Vec<u8>, Option<Arc<Request>>)> {
        loop {
            let bytes = match self.decoder.next(false)? {
                Piece::Head { bytes, .. } => {
                    self.current = Some(self.request(shared, link, &bytes));
                    bytes
                }
                Piece::End => continue,
                Piece::Raw(bytes) => return Some((bytes, None)),
                Piece::ChunkBegin(bytes)
                | Piece::Data(bytes)
                | Piece::ChunkEnd(bytes)
                | Piece::LastChunk(bytes) => bytes,
            };
            match &self.current {
                // The engine does not receive it.
                Some(request) if request.substitute.is_some() => {}
                current => return Some((bytes, current.clone())),
            }
        }
    }

    fn request(&mut self, shared: &Shared, link: &Link, head: &[u8]) -> Arc<Request> {
        let mut request = Request::new(self.count, http::first_line(head));
        self.count += 1;
        for armed in shared.faults.all().iter() {
            if let FaultKind::Answer { status, body } = &armed.fault.kind
                && armed.concerns(link, armed.fault.direction, Some(&request))
                && armed.take()
            {
                shared.stats.count(|stats| stats.hit(armed.id));
                request.substitute = Some(http::answer(*status, body, request.to_head));
                break;
            }
        }
        let request = Arc::new(request);
        link.ask(request.clone());
        shared.stats.count(|stats| stats.saw_request(short(&request.line)));
        request
    }
}

/// From the engine to the client.
async fn answers(mut engine: Reader<'_>, mut client: Outlet<'_>) -> Result<(), End> {
    let link = client.link;
    let mut buffer = vec![0; BUFFER];
    let mut answers = Answers::new(client.shared, link);
    loop {
        client.idle(link.answering().as_deref()).await?;
        let outs = if let Some(out) = answers.substitute().or_else(|| answers.idle()) {
            vec![out]
        } else if answers.has_more() {
            answers.take(&[])
        } else {
            let count = tokio::select! {
                read = engine.read(&mut buffer) => read.map_err(|_| End::Close)?,
                _ = client.faults.changed() => continue,
                () = link.asked.notified() => continue,
            };
            if count == 0 {
                let rest = answers.finish();
                client.send(&rest.bytes, rest.about.as_deref()).await?;
                return client.finish(link.answering().as_deref()).await;
            }
            answers.take(&buffer[..count])
        };
        for out in outs {
            client.send(&out.bytes, out.about.as_deref()).await?;
            if out.last {
                client.shut().await?;
                return Err(End::Close);
            }
        }
    }
}
