//! The arguments of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{CrashLoopArgs, DockerApiArgs, EngineArgs};

const EXAMPLES: &str = "\
Examples:
  whalewatcher serve
  curl --unix-socket /run/whalewatcher.sock http://localhost/v1/containers
  curl -N --unix-socket /run/whalewatcher.sock http://localhost/v1/events
  whalewatcher serve --listen 127.0.0.1:9080 --token-file /etc/whalewatcher.token
  whalewatcher serve --sd-file /etc/prometheus/targets/containers.json
  whalewatcher serve --docker-socket /run/docker-read.sock

The answers have the shape of 'ps -o json' and 'watch -o json'; docs/serve.md has all of them.

Exits with status 0 at Ctrl-C or SIGTERM, after the streams are ended. Waits for engines that cannot be reached.";

/// What to serve, and where.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) engines: EngineArgs,

    #[command(flatten)]
    pub(crate) listen: ListenArgs,

    /// File to keep up to date with targets for Prometheus (file_sd_configs)
    ///
    /// It is replaced as a whole, in its folder, whenever the targets change. They are those of /v1/sd/prometheus.
    #[arg(long, value_name = "FILE", help_heading = "Server")]
    pub(crate) sd_file: Option<PathBuf>,

    /// What /metrics has of each container
    ///
    /// A series for each name or ID of a container costs Prometheus memory, also after the container is gone.
    #[arg(long, value_name = "LABEL", value_enum, default_value_t, help_heading = "Server")]
    pub(crate) metrics_containers: ContainerMetrics,

    #[command(flatten)]
    pub(crate) docker: DockerApiArgs,

    #[command(flatten)]
    pub(crate) crash_loops: CrashLoopArgs,
}

/// Which metrics there are of each container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ContainerMetrics {
    /// Nothing
    None,
    /// Image and start time, with the name
    #[default]
    Name,
    /// The same, with the ID too
    Id,
}

/// Where to listen, and for which clients.
#[derive(Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ListenArgs {
    /// Unix socket to listen at: its user and group may connect [default: /run/whalewatcher.sock]
    ///
    /// There is none by default if the service manager passes sockets (LISTEN_FDS).
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Address to listen at too, such as 127.0.0.1:9080, for clients with a token or a certificate; can be repeated
    ///
    /// With TLS (--listen-cert) it may be any address of this host, such as [::]:9080, else one of its
    /// loopback interface. Port 0 is any free one.
    #[arg(long = "listen", value_name = "ADDRESS")]
    pub(crate) addresses: Vec<SocketAddr>,

    /// File with the token of clients over TCP, or with one on each line: 'Authorization: Bearer TOKEN'
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Certificate of this server for clients over TCP, followed by those between it and its authority (PEM)
    #[arg(long, value_name = "FILE", requires = "listen_key")]
    pub(crate) listen_cert: Option<PathBuf>,

    /// Key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "listen_cert")]
    pub(crate) listen_key: Option<PathBuf>,

    /// Refuse clients over TCP without a certificate of the authorities in this file (PEM)
    ///
    /// With --token-file they need both.
    #[arg(long, value_name = "FILE", requires = "listen_cert")]
    pub(crate) listen_client_ca: Option<PathBuf>,

    /// Name by which clients over TCP may call this host, besides its addresses and localhost; can be repeated
    ///
    /// Requests with another Host are refused: they may come from a page of another site, in a browser.
    #[arg(long = "allow-host", value_name = "NAME")]
    pub(crate) allowed_hosts: Vec<String>,
}
