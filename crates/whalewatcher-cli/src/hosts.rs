//! The engines of the command line, as members of a fleet.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
#[cfg(feature = "serve")]
use std::time::Duration;

use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{EngineError, EngineWatcher, Fleet, Settings, Watcher, Witness};
use whalewatcher_discover::{
    ContainerdDetector, CriDetector, DockerDetector, Located, Options, PodmanDetector,
};
use whalewatcher_kernel::Kernel;
use {
    whalewatcher_containerd as containerd, whalewatcher_cri as cri, whalewatcher_moby as moby,
    whalewatcher_podman as podman,
};

use crate::advice::location;
use crate::args::{DiscoveryArgs, EngineArgs, TlsArgs, wrong};
use crate::clusters::Cluster;

const CONTAINERD: &str = "containerd://";
const CRI: &str = "cri://";
const PODMAN: &str = "podman://";

/// Returns an endpoint in the form that `--host` accepts.
pub(crate) fn host(engine_type: &str, endpoint: &str) -> String {
    let scheme = match engine_type {
        "containerd.io" => CONTAINERD,
        "k8s.io/cri-api" => CRI,
        "podman.io" => PODMAN,
        _ => return endpoint.to_owned(),
    };
    endpoint.strip_prefix("unix://").map_or_else(|| endpoint.to_owned(), |path| format!("{scheme}{path}"))
}

/// A client of an engine of any kind.
#[derive(Debug)]
pub(crate) enum Client {
    Docker(moby::Client),
    Containerd(containerd::Client),
    Cri(cri::Client),
    Podman(podman::Client),
}

impl Client {
    /// Returns the client for a host. The scheme determines the kind of engine, Docker by default. Ignored
    /// namespaces concern containerd only; `None` for the default ones.
    fn from_host(
        host: &str,
        ignored: Option<&[String]>,
        tls: Option<&moby::Tls>,
    ) -> Result<Self, EngineError> {
        if let Some(path) = host.strip_prefix(CONTAINERD) {
            let builder = containerd::Client::builder();
            let builder = if path.is_empty() { builder } else { builder.endpoint(format!("unix://{path}")) };
            let builder = match ignored {
                Some(namespaces) => builder.ignored_namespaces(namespaces),
                None => builder,
            };
            return builder.build().map(Self::Containerd);
        }
        if let Some(path) = host.strip_prefix(CRI) {
            let builder = cri::Client::builder();
            let builder = if path.is_empty() { builder } else { builder.endpoint(format!("unix://{path}")) };
            return builder.build().map(Self::Cri);
        }
        if let Some(path) = host.strip_prefix(PODMAN) {
            let builder = podman::Client::builder();
            let builder = if path.is_empty() { builder } else { builder.endpoint(format!("unix://{path}")) };
            return builder.build().map(Self::Podman);
        }
        let endpoint = match host.strip_prefix("docker://") {
            Some(path) => format!("unix://{path}"),
            None => host.to_owned(),
        };
        docker(moby::Client::builder().endpoint(endpoint), tls)
    }

    fn from_context(name: &str) -> Result<Self, EngineError> {
        docker(moby::Client::builder().context(moby::Contexts::from_env()?.get(name)?), None)
    }

    /// Whether it may use TLS with the certificates of the command line.
    fn uses_tcp(&self) -> bool {
        ["tcp://", "https://"].iter().any(|scheme| self.endpoint().starts_with(scheme))
    }

    pub(crate) fn engine_type(&self) -> &str {
        match self {
            Self::Docker(client) => client.engine_type(),
            Self::Containerd(client) => client.engine_type(),
            Self::Cri(client) => client.engine_type(),
            Self::Podman(client) => client.engine_type(),
        }
    }

    pub(crate) fn endpoint(&self) -> &str {
        match self {
            Self::Docker(client) => client.endpoint(),
            Self::Containerd(client) => client.endpoint(),
            Self::Cri(client) => client.endpoint(),
            Self::Podman(client) => client.endpoint(),
        }
    }

    fn join(self, fleet: &Fleet, settings: Settings) -> anyhow::Result<Arc<dyn Watcher>> {
        let watcher: Arc<dyn Watcher> = match self {
            Self::Docker(client) => fleet.add(EngineWatcher::with_settings(client, settings))?,
            Self::Containerd(client) => fleet.add(EngineWatcher::with_settings(client, settings))?,
            Self::Cri(client) => fleet.add(EngineWatcher::with_settings(client, settings))?,
            Self::Podman(client) => fleet.add(EngineWatcher::with_settings(client, settings))?,
        };
        Ok(watcher)
    }
}

fn docker(builder: moby::Builder, tls: Option<&moby::Tls>) -> Result<Client, EngineError> {
    let builder = match tls {
        Some(tls) => builder.tls(tls.clone()),
        None => builder,
    };
    builder.build().map(Client::Docker)
}

/// Which engines the command line names.
pub(crate) enum Hosts {
    /// These, and all that hosts publish in these clusters, with these settings if changes are followed.
    Named(Vec<Client>, Vec<Cluster>, Box<Settings>),
    /// All that can be found.
    Found(Box<Found>),
}

/// Engines that are to be found.
pub(crate) struct Found {
    /// Without detectors.
    options: Options,
    /// The containerd namespaces to ignore; `None` for the default ones.
    ignored: Option<Vec<String>>,
    /// Whether to look for Docker and podman, which have one API.
    moby: bool,
    /// Whether to look for containerd and CRI runtimes, which have one socket.
    containerd: bool,
}

impl Found {
    /// Looks only for engines of the types for which this holds, and for others that answer at the same sockets.
    pub(crate) fn restricted(mut self: Box<Self>, wants: impl Fn(&str) -> bool) -> Box<Self> {
        self.moby &= wants("docker.com") || wants("podman.io");
        self.containerd &= wants("containerd.io") || wants("k8s.io/cri-api");
        self
    }

    pub(crate) fn into_options(self) -> Options {
        let Self { mut options, ignored, moby, containerd } = self;
        if moby {
            options = options.with_detector(PodmanDetector::new()).with_detector(DockerDetector::new());
        } else {
            // Those of the environment are Docker's and podman's.
            options = options.with_endpoints([""; 0]);
        }
        if containerd {
            let of_containerd = ContainerdDetector::configured(move |builder| match &ignored {
                Some(namespaces) => builder.ignored_namespaces(namespaces),
                None => builder,
            });
            options = options.with_detector(of_containerd).with_detector(CriDetector::new());
        }
        options
    }
}

/// Returns which engines the command line names: the hosts and contexts, else the engine that Docker's tools
/// are set to, else all of this host. Does not connect.
pub(crate) fn hosts(engines: &EngineArgs) -> anyhow::Result<Hosts> {
    let is_named = !engines.hosts.is_empty() || !engines.contexts.is_empty();
    let uses_tls = engines.tls.ca.is_some() || engines.tls.certificate.is_some();
    let is_found = engines.discovery.is_asked_for() || !is_named && !uses_tls;
    if is_found && (engines.discovery.discover || !is_set(&moby::Contexts::from_env()?)?) {
        return found(engines).map(|found| Hosts::Found(Box::new(found)));
    }
    Ok(Hosts::Named(clients(engines)?, clusters(engines)?, Box::new(settings(engines))))
}

/// Returns the settings of the commands that follow changes.
fn settings(engines: &EngineArgs) -> Settings {
    let kernel = (!engines.no_kernel).then(|| Arc::new(Kernel::new()) as Arc<dyn Witness>);
    Settings::default().with_witness(kernel)
}

/// Returns whether Docker's tools are set to an engine, which is not the one that is there by default.
fn is_set(contexts: &moby::Contexts) -> anyhow::Result<bool> {
    let is_default = contexts.current()?.name() == "default";
    Ok(!is_default || std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty()))
}

fn found(engines: &EngineArgs) -> anyhow::Result<Found> {
    let DiscoveryArgs { activate, root, proc, .. } = &engines.discovery;
    let ignored = engines.ignored_namespaces().map(<[String]>::to_vec);
    if let Some(namespaces) = &ignored {
        let checked = containerd::Client::builder().ignored_namespaces(namespaces).build();
        checked.map_err(|error| wrong(error.to_string()))?;
    }
    let options = Options::default().without_detectors().with_activation(*activate);
    let options = options.with_root(root).with_proc(proc).with_settings(settings(engines));
    Ok(Found { options, ignored, moby: true, containerd: true })
}

/// Returns clients for these hosts and contexts in this order; without any, for the engine that Docker's
/// tools are set to. Does not connect.
fn clients(engines: &EngineArgs) -> anyhow::Result<Vec<Client>> {
    let ignored = engines.ignored_namespaces();
    if ignored.is_some() && !engines.hosts.iter().any(|host| host.starts_with(CONTAINERD)) {
        let message = "only containerd has namespaces; name it with --host containerd:///PATH".to_owned();
        return Err(wrong(message));
    }
    let tls = tls(&engines.tls)?;
    let mut clients = Vec::new();
    let origin = if engines.origin.is_empty() { "--host" } else { &*engines.origin };
    for host in engines.hosts.iter().filter(|host| !Cluster::is_one(host)) {
        let client = Client::from_host(host, ignored, tls.as_ref())
            .map_err(|error| wrong(without_password(&format!("{origin}: {error}"), host)))?;
        clients.push(client);
    }
    if engines.hosts.is_empty() && engines.contexts.is_empty() {
        clients.push(docker(moby::Client::builder(), tls.as_ref())?);
    }
    let is_for_etcd = engines.hosts.iter().any(|host| host.starts_with("etcds://"));
    if tls.is_some() && !is_for_etcd && !clients.iter().any(Client::uses_tcp) {
        let message = "--tls-ca and --tls-cert are for engines at tcp:// and https:// and for etcd at etcds://, and no other \
                       option names one";
        return Err(wrong(message.to_owned()));
    }
    for name in &engines.contexts {
        clients.push(Client::from_context(name).map_err(|error| wrong(format!("--context: {error}")))?);
    }
    let mut seen = HashSet::new();
    for client in &clients {
        // containerd serves its own API and CRI on one socket.
        if !seen.insert((client.engine_type(), client.endpoint())) {
            return Err(wrong(format!("{} is given twice", client.endpoint())));
        }
    }
    Ok(clients)
}

/// Returns the clusters of etcd among the hosts. Does not connect.
pub(crate) fn clusters(engines: &EngineArgs) -> anyhow::Result<Vec<Cluster>> {
    let mut clusters = Vec::<Cluster>::new();
    for host in engines.hosts.iter().filter(|host| Cluster::is_one(host)) {
        let cluster = Cluster::from_host(host, &engines.tls, &engines.etcd)
            .map_err(|error| wrong(without_password(&error.to_string(), host)))?;
        if clusters.iter().any(|other| other.url() == cluster.url()) {
            return Err(wrong(format!("{} is given twice", cluster.url())));
        }
        clusters.push(cluster);
    }
    let for_etcd = [
        ("--etcd-user", engines.etcd.user.is_some()),
        ("--forget-after", engines.etcd.forget_after.is_some()),
    ];
    if let Some((option, _)) = for_etcd.iter().find(|(_, is_given)| clusters.is_empty() && *is_given) {
        return Err(wrong(format!("{option} is for etcd, and no --host names one (etcd://HOST)")));
    }
    Ok(clusters)
}

/// Reads the certificates of the command line, if there are any.
fn tls(TlsArgs { ca, certificate, key }: &TlsArgs) -> Result<Option<moby::Tls>, EngineError> {
    if ca.is_none() && certificate.is_none() {
        return Ok(None);
    }
    moby::Tls::from_files(ca.as_deref(), certificate.as_deref(), key.as_deref()).map(Some)
}

/// Returns the message without the password in `tcp://user:password@host`.
fn without_password(message: &str, host: &str) -> String {
    let authority = host.split_once("://").map_or(host, |(_, rest)| rest);
    let password = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':'));
    match password {
        Some((_, password)) if !password.is_empty() => message.replace(&format!(":{password}@"), ":***@"),
        _ => message.to_owned(),
    }
}

/// Returns a note about ignored namespaces that have tasks, if there are any.
pub(crate) fn ignored_namespaces(watcher: &dyn Watcher) -> Option<String> {
    note_ignored(watcher, &containerd(watcher)?.ignored_with_tasks())
}

/// Returns a note about the namespaces that are ignored by default, if the engine is containerd.
#[cfg(target_os = "linux")]
pub(crate) fn ignored_by_default(watcher: &dyn Watcher) -> Option<String> {
    containerd(watcher)?;
    note_ignored(watcher, &containerd::IGNORED_BY_DEFAULT)
}

/// Returns the client, if the engine is containerd.
fn containerd(watcher: &dyn Watcher) -> Option<&containerd::Client> {
    client(watcher)
}

/// Returns the client, if the engine is of this kind, named or found.
fn client<C: EngineClient>(watcher: &dyn Watcher) -> Option<&C> {
    let named = watcher.downcast_ref::<EngineWatcher<C>>().map(EngineWatcher::client);
    named.or_else(|| Some(watcher.downcast_ref::<EngineWatcher<Located<C>>>()?.client().inner()))
}

/// Returns the engine's own answer to an inspection, which is `None` if it has no such container; `None` if
/// it has no API like Docker's.
#[cfg(feature = "serve")]
pub(crate) async fn inspect_json(
    watcher: &dyn Watcher,
    id: &str,
    limit: Duration,
) -> Option<Result<Option<Vec<u8>>, EngineError>> {
    if let Some(docker) = client::<moby::Client>(watcher) {
        return Some(docker.inspect_json(id, limit).await);
    }
    Some(client::<podman::Client>(watcher)?.inspect_json(id, limit).await)
}

/// Returns the names of the containers that the engine is in, as far as it was found and these are known;
/// empty if it is in none.
pub(crate) fn prefix(watcher: &dyn Watcher) -> String {
    fn of<C: EngineClient>(watcher: &dyn Watcher) -> Option<String> {
        let found = watcher.downcast_ref::<EngineWatcher<Located<C>>>()?;
        Some(found.client().prefix().to_string())
    }
    let prefix = of::<moby::Client>(watcher)
        .or_else(|| of::<podman::Client>(watcher))
        .or_else(|| of::<containerd::Client>(watcher))
        .or_else(|| of::<cri::Client>(watcher));
    prefix.unwrap_or_default()
}

fn note_ignored(watcher: &dyn Watcher, namespaces: &[impl Display]) -> Option<String> {
    let names: Vec<_> = namespaces.iter().map(|name| format!("'{name}'")).collect();
    let (last, others) = names.split_last()?;
    let names = match others {
        [] => format!("namespace {last}"),
        _ => format!("namespaces {} and {last}", others.join(", ")),
    };
    Some(format!("{}: {names} ignored; --all-namespaces shows all", location(watcher)))
}

/// Adds watchers for these clients to the fleet, in this order.
pub(crate) fn join(
    fleet: &Fleet,
    clients: Vec<Client>,
    settings: &Settings,
) -> anyhow::Result<Vec<Arc<dyn Watcher>>> {
    clients.into_iter().map(|client| client.join(fleet, settings.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engines(hosts: &[&str]) -> anyhow::Result<Vec<String>> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        Ok(clients(&EngineArgs { hosts, ..EngineArgs::default() })?
            .iter()
            .map(|client| format!("{} {}", client.engine_type(), client.endpoint()))
            .collect())
    }

    #[test]
    fn hosts_have_several_forms() {
        let hosts = [
            "/run/a",
            "unix:///run/b",
            "docker:///run/c",
            "tcp://d:1",
            "ssh://me@d:1/run/f",
            "containerd:///run/e",
            "containerd://",
            "cri:///run/e",
            "cri://",
            "podman:///run/e",
        ];
        assert_eq!(
            engines(&hosts).unwrap(),
            [
                "docker.com unix:///run/a",
                "docker.com unix:///run/b",
                "docker.com unix:///run/c",
                "docker.com tcp://d:1",
                "docker.com ssh://me@d:1/run/f",
                "containerd.io unix:///run/e",
                "containerd.io unix:///run/containerd/containerd.sock",
                "k8s.io/cri-api unix:///run/e",
                "k8s.io/cri-api unix:///run/containerd/containerd.sock",
                "podman.io unix:///run/e",
            ]
        );
        let default = engines(&["podman://"]).unwrap().remove(0);
        assert!(
            default.starts_with("podman.io unix:///") && default.ends_with("/podman/podman.sock"),
            "{default}"
        );
    }

    #[test]
    fn invalid_and_repeated_hosts_are_wrong_usage() {
        for hosts in [
            &["/run/a", "docker:///run/a"][..],
            &["containerd:///run/a", "containerd:///run/a"],
            &["cri:///run/containerd/containerd.sock", "cri://"],
            &["cri://run/a"],
            &["cri://tcp://a:1"],
            &["ftp://a"],
            &["containerd://run/a"],
            &["podman://run/a"],
            &["podman:///run/a", "podman:///run/a"],
            &["etcd://"],
            &["etcd://a", "etcd://a:2379"],
        ] {
            let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
            let arguments = EngineArgs { hosts, ..EngineArgs::default() };
            let error = super::hosts(&arguments).map(drop).unwrap_err();
            assert_eq!(error.downcast::<clap::Error>().unwrap().exit_code(), 2);
        }
    }

    #[test]
    fn endpoints_are_valid_hosts() {
        for given in [
            "unix:///run/a",
            "tcp://d:1",
            "containerd:///run/e",
            "containerd://",
            "cri:///run/e",
            "cri://",
            "podman:///run/e",
            "podman://",
        ] {
            let client = Client::from_host(given, None, None).unwrap();
            let again =
                Client::from_host(&host(client.engine_type(), client.endpoint()), None, None).unwrap();
            assert_eq!(
                (again.engine_type(), again.endpoint()),
                (client.engine_type(), client.endpoint()),
                "{given}"
            );
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        for scheme in ["tcp", "http", "ssh", "containerd", "cri", "docker", "podman", "ftp"] {
            let error = engines(&[&format!("{scheme}://me:s3cr3t@whale:1")]).unwrap_err();
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
        }
    }
}
