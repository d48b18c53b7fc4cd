//! The arguments of `serve` for Docker's own clients.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The part of Docker's API that is served.
#[derive(Args)]
#[command(next_help_heading = "Docker's clients")]
pub(crate) struct DockerApiArgs {
    /// Unix socket for Docker's own clients, which can read at it, but change nothing
    ///
    /// It is for 'docker ps', 'docker inspect' and 'docker events', and for programs such as traefik and
    /// Prometheus that need a Docker socket. They see the containers of all engines.
    #[arg(id = "docker_socket", long = "docker-socket", value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Show them only containers of this engine: docker, podman, containerd or cri, its URL or its ID; can be repeated
    #[arg(id = "docker_engine", long = "docker-engine", value_name = "ENGINE", requires = "docker_socket")]
    pub(crate) engines: Vec<String>,

    /// What answers 'docker inspect'
    #[arg(
        id = "docker_inspect",
        long = "docker-inspect",
        value_name = "SOURCE",
        default_value = "engine",
        requires = "docker_socket"
    )]
    pub(crate) inspect: InspectSource,
}

/// Where the answer to an inspection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InspectSource {
    /// The engine, if it has Docker's API: with environment variables, which may contain secrets
    Engine,
    /// What is known of the container, which is neither its environment nor its command
    Memory,
}
