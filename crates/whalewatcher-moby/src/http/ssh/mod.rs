//! Connections to dockerd on another host through the program `ssh`, as Docker's tools make them: each is a
//! process of `docker system dial-stdio` there. They share one connection to that host, because logging in
//! takes many round trips.

mod arguments;
mod reason;
mod stream;

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;
use whalewatcher_core::{EngineError, ErrorKind, Printable};

use crate::config::endpoint::Endpoint;
use crate::config::ssh_target::SshTarget;
use crate::http::ssh::arguments::{destination, remote_command};
use crate::http::ssh::stream::{OnAnswer, SshStream};

/// How long it may take to find out whether the user's own connection can be shared. Nothing leaves this host.
const CHECK_LIMIT: Duration = Duration::from_secs(1);

/// The longest path of a folder for a socket: ssh appends 17 characters to that of its socket while it binds
/// it, and macOS has room for 103.
const LONGEST_FOLDER: usize = 64;

/// Makes connections to one host. Dropping it, and all connections, ends every process.
#[derive(Debug)]
pub(crate) struct Ssh {
    endpoint: Arc<Endpoint>,
    target: SshTarget,
    program: PathBuf,
    /// How long ssh may take to connect to the host.
    limit: Duration,
    sharing: watch::Sender<Sharing>,
    /// The process whose connection the others share.
    master: Mutex<Option<Child>>,
    /// With the socket of that process. After it, because it is removed once that process was ended.
    folder: OnceLock<TempDir>,
}

/// Which connection to the host is shared.
#[derive(Clone, Debug)]
enum Sharing {
    Unknown,
    /// The first process is logging in; the others wait for it.
    Starting,
    /// With these arguments of ssh.
    Shared(Vec<String>),
}

impl Ssh {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        target: SshTarget,
        program: Option<PathBuf>,
        limit: Duration,
    ) -> Self {
        Self {
            endpoint,
            target,
            program: program.unwrap_or_else(|| "ssh".into()),
            limit,
            sharing: watch::Sender::new(Sharing::Unknown),
            master: Mutex::default(),
            folder: OnceLock::new(),
        }
    }

    /// Starts a process that leads to dockerd. That it fails shows when the connection is used.
    pub(crate) async fn connect(self: Arc<Self>) -> io::Result<SshStream> {
        let mut sharing = self.sharing.subscribe();
        loop {
            let shared = match &*sharing.borrow_and_update() {
                Sharing::Shared(arguments) => Some(arguments.clone()),
                Sharing::Unknown | Sharing::Starting => None,
            };
            if let Some(arguments) = shared {
                return self.start(&arguments, None);
            }
            let claimed = self.sharing.send_if_modified(|sharing| {
                let is_free = matches!(sharing, Sharing::Unknown);
                if is_free {
                    *sharing = Sharing::Starting;
                }
                is_free
            });
            if claimed {
                return self.connect_first().await;
            }
            // Waiting cannot fail, because `self` owns the sender.
            let _ = sharing.changed().await;
        }
    }

    /// Starts the first process: one that shares the connection that the user has already, or one whose connection the
    /// others share.
    async fn connect_first(self: Arc<Self>) -> io::Result<SshStream> {
        let start = Start(self.clone());
        if self.user_shares().await {
            let users = ["-o", "ControlMaster=no"].map(str::to_owned);
            start.share(users.to_vec());
            return self.start(&users, None);
        }
        let Ok(socket) = self.socket() else {
            // Without a folder for it, each process logs in by itself.
            let alone = ["-o", "ControlMaster=no", "-S", "none"].map(str::to_owned);
            start.share(alone.to_vec());
            return self.start(&alone, None);
        };
        let master = ["-o", "ControlMaster=yes", "-o", "ControlPersist=no", "-S", &socket].map(str::to_owned);
        self.start(&master, Some(Box::new(|process| start.share_connection_of(process))))
    }

    /// Returns the path of the socket by which processes share a connection, in a folder that only this user
    /// can enter. It is not the one that the user configured, because that can outlive us.
    fn socket(&self) -> io::Result<String> {
        if self.folder.get().is_none() {
            let parent = env::temp_dir();
            let is_long = parent.as_os_str().len() > LONGEST_FOLDER;
            let parent = if is_long { Path::new("/tmp") } else { &parent };
            let folder = tempfile::Builder::new().prefix("whalewatcher-").tempdir_in(parent)?;
            // There is none yet: only one first process starts at a time.
            let _ = self.folder.set(folder);
        }
        let folder = self.folder.get().map(TempDir::path).and_then(Path::to_str);
        // ssh replaces what follows a percent sign.
        Ok(format!("{}/s", folder.ok_or(io::ErrorKind::InvalidData)?.replace('%', "%%")))
    }

    /// Whether the user has a connection to the host that can be shared (`ControlMaster` in the configuration of ssh).
    async fn user_shares(&self) -> bool {
        let mut command = self.command();
        command.args(["-O", "check"]).args(destination(&self.target));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(mut child) = command.spawn() else { return false };
        matches!(timeout(CHECK_LIMIT, child.wait()).await, Ok(Ok(status)) if status.success())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        // In a process group of its own, so that Ctrl-C ends us, and we end it.
        command.kill_on_drop(true).process_group(0);
        // It never prompts, and what it prints is only errors.
        command.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]);
        command
    }

    /// Starts a process with these arguments about sharing. `on_answer` takes it once it has logged in;
    /// otherwise it ends with the stream.
    fn start(&self, sharing: &[String], on_answer: Option<OnAnswer>) -> io::Result<SshStream> {
        let mut command = self.command();
        command.arg("-T").args(["-o", &format!("ConnectTimeout={}", self.limit.as_secs().max(1))]);
        // What the user configured for interactive use.
        command.args([
            "-o",
            "ClearAllForwardings=yes",
            "-o",
            "RemoteCommand=none",
            "-o",
            "PermitLocalCommand=no",
        ]);
        command.args(sharing).args(destination(&self.target)).arg(remote_command(&self.target));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| {
            let program = self.program.to_string_lossy();
            let message = format!(
                "cannot run '{}' for {}: {error}: install OpenSSH's client",
                Printable(&program),
                self.endpoint
            );
            io::Error::other(EngineError::new(ErrorKind::Configuration, message).with_source(error))
        })?;
        SshStream::new(child, self.endpoint.clone(), self.target.clone(), on_answer)
    }
}

/// The first process, until it has logged in.
#[derive(Debug)]
struct Start(Arc<Ssh>);

impl Start {
    /// Keeps the process and lets others share its connection.
    fn share_connection_of(self, master: Option<Child>) {
        *self.0.master.lock().unwrap_or_else(PoisonError::into_inner) = master;
        if let Ok(socket) = self.0.socket() {
            let arguments = ["-o", "ControlMaster=no", "-S", &socket].map(str::to_owned);
            self.share(arguments.to_vec());
        }
    }

    fn share(self, arguments: Vec<String>) {
        self.0.sharing.send_replace(Sharing::Shared(arguments));
    }
}

impl Drop for Start {
    /// Lets another process be the first one, unless this one has logged in.
    fn drop(&mut self) {
        self.0.sharing.send_if_modified(|sharing| {
            let is_starting = matches!(sharing, Sharing::Starting);
            if is_starting {
                *sharing = Sharing::Unknown;
            }
            is_starting
        });
    }
}
