//! The engines that the command line names, as members of a fleet.

use std::collections::HashSet;
use std::sync::Arc;

use clap::CommandFactory;
use clap::error::ErrorKind;
use whalewatcher_core::{EngineClient, EngineError, EngineWatcher, Fleet, Settings, Watcher};
use {whalewatcher_containerd as containerd, whalewatcher_cri as cri, whalewatcher_moby as moby};

use crate::arguments::Arguments;

/// A client of an engine of some kind.
#[derive(Debug)]
pub(crate) enum Client {
    Docker(moby::Client),
    Containerd(containerd::Client),
    Cri(cri::Client),
}

impl Client {
    /// The scheme says which kind it is; Docker where it says nothing of that.
    fn of(host: &str) -> Result<Self, EngineError> {
        if let Some(path) = host.strip_prefix("containerd://") {
            let builder = containerd::Client::builder();
            let builder = if path.is_empty() { builder } else { builder.endpoint(format!("unix://{path}")) };
            return builder.build().map(Self::Containerd);
        }
        if let Some(path) = host.strip_prefix("cri://") {
            let builder = cri::Client::builder();
            let builder = if path.is_empty() { builder } else { builder.endpoint(format!("unix://{path}")) };
            return builder.build().map(Self::Cri);
        }
        match host.strip_prefix("docker://") {
            Some(path) => moby::Client::new(format!("unix://{path}")),
            None => moby::Client::new(host),
        }
        .map(Self::Docker)
    }

    fn engine_type(&self) -> &str {
        match self {
            Self::Docker(client) => client.engine_type(),
            Self::Containerd(client) => client.engine_type(),
            Self::Cri(client) => client.engine_type(),
        }
    }

    fn endpoint(&self) -> &str {
        match self {
            Self::Docker(client) => client.endpoint(),
            Self::Containerd(client) => client.endpoint(),
            Self::Cri(client) => client.endpoint(),
        }
    }

    fn join(self, fleet: &Fleet, settings: Settings) -> anyhow::Result<Arc<dyn Watcher>> {
        Ok(match self {
            Self::Docker(client) => fleet.add(EngineWatcher::with_settings(client, settings))?,
            Self::Containerd(client) => fleet.add(EngineWatcher::with_settings(client, settings))?,
            Self::Cri(client) => fleet.add(EngineWatcher::with_settings(client, settings))?,
        })
    }
}

/// Clients of these hosts, in this order; without any, of the one that the environment names. Nobody need be there.
pub(crate) fn clients(hosts: &[String]) -> anyhow::Result<Vec<Client>> {
    if hosts.is_empty() {
        return Ok(vec![Client::Docker(moby::Client::from_env()?)]);
    }
    let mut places = HashSet::new();
    let mut clients = Vec::new();
    for host in hosts {
        let client = Client::of(host).map_err(|error| wrong(format!("--host: {error}")))?;
        // One socket may serve several APIs: containerd's serves its own and CRI's.
        if !places.insert((client.engine_type().to_owned(), client.endpoint().to_owned())) {
            return Err(wrong(format!("--host: {} is given twice", client.endpoint())));
        }
        clients.push(client);
    }
    Ok(clients)
}

/// Has a fleet watch them; its members are in the order of the clients.
pub(crate) fn join(
    fleet: &Fleet,
    clients: Vec<Client>,
    settings: &Settings,
) -> anyhow::Result<Vec<Arc<dyn Watcher>>> {
    clients.into_iter().map(|client| client.join(fleet, settings.clone())).collect()
}

fn wrong(message: String) -> anyhow::Error {
    Arguments::command().error(ErrorKind::ValueValidation, message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engines(hosts: &[&str]) -> anyhow::Result<Vec<String>> {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        Ok(clients(&hosts)?
            .iter()
            .map(|client| format!("{} {}", client.engine_type(), client.endpoint()))
            .collect())
    }

    #[test]
    fn hosts_are_written_in_several_ways() {
        let hosts = [
            "/run/a",
            "unix:///run/b",
            "docker:///run/c",
            "tcp://d:1",
            "containerd:///run/e",
            "containerd://",
            "cri:///run/e",
            "cri://",
        ];
        assert_eq!(
            engines(&hosts).unwrap(),
            [
                "docker.com unix:///run/a",
                "docker.com unix:///run/b",
                "docker.com unix:///run/c",
                "docker.com tcp://d:1",
                "containerd.io unix:///run/e",
                "containerd.io unix:///run/containerd/containerd.sock",
                "k8s.io/cri-api unix:///run/e",
                "k8s.io/cri-api unix:///run/containerd/containerd.sock",
            ]
        );
    }

    #[test]
    fn a_host_given_twice_or_wrongly_is_wrong_usage() {
        for hosts in [
            &["/run/a", "docker:///run/a"][..],
            &["containerd:///run/a", "containerd:///run/a"],
            &["cri:///run/containerd/containerd.sock", "cri://"],
            &["cri://run/a"],
            &["cri://tcp://a:1"],
            &["ftp://a"],
            &["containerd://run/a"],
        ] {
            let error = engines(hosts).unwrap_err();
            assert_eq!(error.downcast::<clap::Error>().unwrap().exit_code(), 2);
        }
    }
}
