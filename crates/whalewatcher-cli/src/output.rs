//! The standard output, written by a thread of its own in bounded pieces: a stalled reader delays neither the
//! watch nor the end of the program.

use std::future::{Future, pending};
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use tokio::sync::oneshot;

use crate::thread::spawn_detached;

/// The size of the buffer, and the most bytes of one `write`.
const PIECE: usize = 64 * 1024;

/// How long the end of the program waits until an unfinished line is written.
const FINISH_LIMIT: Duration = Duration::from_millis(150);

/// The standard output. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Default)]
struct State {
    /// A line was begun and is not written completely.
    unfinished: bool,
    ended: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// Runs a job in a thread of its own, and returns its result once its output is written.
    ///
    /// Dropping the future does not end the job; [`end`](Self::end) does.
    pub(crate) async fn write<J, T>(&self, job: J) -> anyhow::Result<T>
    where
        J: FnOnce(&mut Writer) -> anyhow::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let (sender, done) = oneshot::channel();
        let mut writer = Writer::new(self.0.clone());
        spawn_detached("output", move || {
            let result = job(&mut writer);
            let flushed = writer.flush();
            let _ = sender.send(result.and_then(|result| flushed.map(|()| result).map_err(Into::into)));
        })?;
        done.await.unwrap_or_else(|_| Err(anyhow!("the thread that writes the output failed")))
    }

    /// Ends the output: no further line is begun. Waits up to [`FINISH_LIMIT`] for an unfinished one.
    pub(crate) fn end(&self) {
        let mut state = self.0.state();
        state.ended = true;
        let _waited = self.0.finished.wait_timeout_while(state, FINISH_LIMIT, |state| state.unfinished);
    }
}

/// Writes lines through a buffer.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    buffer: BufWriter<Descriptor>,
}

impl Writer {
    fn new(shared: Arc<Shared>) -> Self {
        Self { shared, buffer: BufWriter::with_capacity(PIECE, Descriptor) }
    }

    /// Begins a line, and returns `false` if the output has ended.
    pub(crate) fn begin(&mut self) -> bool {
        let mut state = self.shared.state();
        state.unfinished |= !state.ended;
        !state.ended
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.buffer.flush();
        self.shared.state().unfinished = false;
        self.shared.finished.notify_all();
        flushed
    }
}

/// The descriptor itself, without the standard library's buffer and lock.
struct Descriptor;

impl Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        loop {
            match rustix::io::write(io::stdout(), piece) {
                Ok(count) => return Ok(count),
                Err(Errno::INTR) => {}
                // A process that shares the descriptor has made it non-blocking.
                Err(Errno::AGAIN) => wait_for(PollFlags::OUT)?,
                // The other end of the terminal is closed: there is no pipe that breaks.
                Err(Errno::IO) if is_device() => return Err(io::ErrorKind::BrokenPipe.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns whether the standard output is a device, such as a terminal; one whose other end is closed is no
/// terminal any more.
fn is_device() -> bool {
    let kind = fstat(io::stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    kind.is_ok_and(|kind| kind == FileType::CharacterDevice)
}

/// Blocks until the standard output is in this state or in an error state.
fn wait_for(flags: PollFlags) -> io::Result<()> {
    let stdout = io::stdout();
    loop {
        match poll(&mut [PollFd::new(&stdout, flags)], None) {
            Err(Errno::INTR) => {}
            polled => return Ok(polled.map(drop)?),
        }
    }
}

/// Returns a future that resolves when the other end of the standard output, a pipe, socket or terminal, is
/// closed. With a file it never resolves.
pub(crate) fn reader_gone() -> anyhow::Result<impl Future<Output = ()>> {
    let (sender, gone) = oneshot::channel();
    spawn_detached("reader", move || {
        // `poll` reports errors without being asked for them.
        if wait_for(PollFlags::empty()).is_ok() {
            let _ = sender.send(());
        }
    })?;
    Ok(async {
        if gone.await.is_err() {
            pending::<()>().await;
        }
    })
}

/// Returns whether this error says that the reader of the output is gone, which ends the program with status 0.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    let io_error = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>());
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
