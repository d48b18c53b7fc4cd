//! The input and output of a process of ssh as a connection. Its end is an error with the reason that ssh gives.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;

use crate::config::endpoint::Endpoint;
use crate::config::ssh_target::SshTarget;
use crate::http::ssh::reason;

/// How long a process may take to end after its output has.
const EXIT_LIMIT: Duration = Duration::from_secs(1);

/// How much is kept of what a process prints on its standard error: the newest.
const MAX_PRINTED: usize = 4096;

/// Takes the process once there is an answer.
pub(super) type OnAnswer = Box<dyn FnOnce(Option<Child>) + Send>;

/// A connection to dockerd. Dropping it ends the process, unless that was taken.
pub(crate) struct SshStream {
    endpoint: Arc<Endpoint>,
    target: SshTarget,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
    process: Running,
    on_answer: Option<OnAnswer>,
    /// Whether there was an answer.
    is_used: bool,
    printed: Vec<u8>,
}

enum Running {
    Process(Child),
    /// It may go on after this connection.
    Taken,
    Exiting(Pin<Box<dyn Future<Output = Option<ExitStatus>> + Send>>),
    Exited(Option<ExitStatus>),
}

impl SshStream {
    pub(super) fn new(
        mut child: Child,
        endpoint: Arc<Endpoint>,
        target: SshTarget,
        on_answer: Option<OnAnswer>,
    ) -> io::Result<Self> {
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(io::ErrorKind::Other.into());
        };
        let (process, printed) = (Running::Process(child), Vec::new());
        Ok(Self { endpoint, target, stdin, stdout, stderr, process, on_answer, is_used: false, printed })
    }

    /// Reads what ssh prints, so that it never waits for us.
    fn poll_printed(&mut self, cx: &mut Context<'_>) {
        let mut space = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            match pin!(&mut self.stderr).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.printed.extend_from_slice(buffer.filled());
                    let surplus = self.printed.len().saturating_sub(MAX_PRINTED);
                    self.printed.drain(..surplus);
                }
                _ => return,
            }
        }
    }

    /// Waits for the end of the process, and returns the reason if it failed.
    fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Error>> {
        let status = loop {
            match &mut self.process {
                Running::Process(_) => {
                    let Running::Process(mut child) = std::mem::replace(&mut self.process, Running::Taken)
                    else {
                        continue;
                    };
                    let exit = async move { timeout(EXIT_LIMIT, child.wait()).await.ok()?.ok() };
                    self.process = Running::Exiting(Box::pin(exit));
                }
                Running::Exiting(exit) => self.process = Running::Exited(ready!(exit.as_mut().poll(cx))),
                Running::Exited(status) => break *status,
                Running::Taken => break None,
            }
        };
        self.poll_printed(cx);
        let Some(status) = status.filter(|status| !status.success()) else { return Poll::Ready(None) };
        let printed = String::from_utf8_lossy(&self.printed);
        let error = reason::of_exit(&self.endpoint, &self.target, self.is_used, status.code(), &printed);
        Poll::Ready(Some(io::Error::other(error)))
    }

    /// Records that there is an answer, so ssh has logged in.
    fn record_answer(&mut self) {
        self.is_used = true;
        let Some(on_answer) = self.on_answer.take() else { return };
        let process = match std::mem::replace(&mut self.process, Running::Taken) {
            Running::Process(child) => Some(child),
            _ => None,
        };
        on_answer(process);
    }
}

impl AsyncRead for SshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_printed(cx);
        let before = buffer.filled().len();
        ready!(pin!(&mut self.stdout).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.record_answer();
            return Poll::Ready(Ok(()));
        }
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(ready!(self.poll_failure(cx)).map_or(Ok(()), Err))
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(pin!(&mut self.stdin).poll_write(cx, data)) {
            // It has ended.
            Err(error) => Poll::Ready(Err(ready!(self.poll_failure(cx)).unwrap_or(error))),
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stdin).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stdin).poll_shutdown(cx)
    }
}

impl fmt::Debug for SshStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SshStream").field("is_used", &self.is_used).finish_non_exhaustive()
    }
}
