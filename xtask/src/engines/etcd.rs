//! A private etcd of one or more members. All methods block, and take `&self`, so that several threads can use one.
//!
//! Each member listens on a port of 127.0.0.1 without TLS, over which [`PrivateEtcd::call`] asks it; with
//! [`EtcdOptions::tls`] clients are to use another port.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::engine::Engine;
use super::http;
use super::installation::Installation;
use super::instance::{Instance, Marker};
use crate::output::output;

/// Where ports are looked for: below those that the kernel gives to outgoing connections, so that a member
/// that is started again finds its own port free.
const FIRST_PORT: u16 = 12_000;
const PORTS: u16 = 20_000;

/// How long a member may take to answer a call, which waits for a leader.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// How long a member may take to answer whether it is healthy, before it is asked again.
const HEALTH_LIMIT: Duration = Duration::from_secs(5);

const TERMINATE_LIMIT: Duration = Duration::from_secs(60);

/// What a private etcd is like.
#[derive(Clone, Debug)]
pub struct EtcdOptions {
    /// An existing folder in which the instance's folder is made; by default one of our own for temporary files.
    pub parent: Option<PathBuf>,
    /// How many members it has.
    pub members: usize,
    /// Has clients use TLS.
    pub tls: Option<EtcdTls>,
    /// More arguments of each member, such as `--quota-backend-bytes=…`.
    pub arguments: Vec<String>,
}

impl Default for EtcdOptions {
    fn default() -> EtcdOptions {
        EtcdOptions { parent: None, members: 1, tls: None, arguments: Vec::new() }
    }
}

/// The files, in PEM, with which etcd serves TLS at 127.0.0.1.
#[derive(Clone, Debug)]
pub struct EtcdTls {
    /// The certificate of the server.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Those that sign the certificates of clients, if these need one.
    pub client_authority: Option<PathBuf>,
}

/// A running private etcd. Dropping it ends its processes and removes everything that it made.
#[derive(Debug)]
pub struct PrivateEtcd {
    // The order is that of dropping: the instance clears everything, then its children are reaped.
    instance: Mutex<Instance>,
    members: Mutex<Vec<Option<Daemon>>>,
    ports: Vec<Ports>,
    tls: Option<EtcdTls>,
    arguments: Vec<String>,
    installation: Installation,
    folder: PathBuf,
    version: String,
}

/// Where one member listens.
#[derive(Clone, Copy, Debug)]
struct Ports {
    plain: SocketAddr,
    tls: SocketAddr,
    peers: SocketAddr,
}

/// The data of all members, as they were at one moment.
#[derive(Debug)]
pub struct Snapshot(PathBuf);

impl PrivateEtcd {
    /// Starts it and waits until it has a leader. What dead runs left is cleared first.
    ///
    /// # Errors
    ///
    /// When the user is not root, or it does not start: then its last log lines are in the message, and
    /// nothing is left.
    pub fn start(installation: &Installation, options: &EtcdOptions) -> Result<PrivateEtcd> {
        let instance = Instance::create(installation.engine(), options.parent.as_deref())?;
        let folder = instance.folder().to_owned();
        installation.link_programs(&folder)?;
        let etcd = PrivateEtcd {
            instance: Mutex::new(instance),
            members: Mutex::new((0..options.members).map(|_| None).collect()),
            ports: free_ports(options.members)?,
            tls: options.tls.clone(),
            arguments: options.arguments.clone(),
            installation: installation.clone(),
            folder,
            version: installation.version()?,
        };
        etcd.start_all().with_context(|| format!("cannot start a private {}", etcd.engine()))?;
        Ok(etcd)
    }

    /// Which etcd this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.installation.engine()
    }

    /// The version that its program reports.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The folder of everything that belongs to it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The log of all its members.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.folder.join("etcd.log")
    }

    /// Where clients connect to each member: with TLS if there is TLS.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let of_clients = |ports: &Ports| if self.tls.is_some() { ports.tls } else { ports.plain };
        self.ports.iter().map(of_clients).collect()
    }

    /// The same as URLs.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.addresses().into_iter().map(|address| format!("{scheme}://{address}")).collect()
    }

    /// The PID of a member, while it runs.
    #[must_use]
    pub fn pid_of(&self, member: usize) -> Option<u32> {
        let members = self.members();
        let running = members.get(member)?.as_ref().filter(|daemon| daemon.is_running().unwrap_or(false));
        running.map(Daemon::pid)
    }

    /// Kills a member with SIGKILL.
    ///
    /// # Errors
    ///
    /// When it is not running, or does not end.
    pub fn kill(&self, member: usize) -> Result<()> {
        self.take(member)?.kill()
    }

    /// Asks a member to end with SIGTERM and waits for it.
    ///
    /// # Errors
    ///
    /// When it is not running, or does not end within a minute.
    pub fn terminate(&self, member: usize) -> Result<()> {
        self.take(member)?.terminate(TERMINATE_LIMIT)
    }

    /// Starts a member again, and waits until it answers, for which more than half of all have to run.
    ///
    /// # Errors
    ///
    /// When it still runs, or does not start.
    pub fn start_again(&self, member: usize) -> Result<()> {
        self.launch(member)?;
        self.await_health(member)
    }

    /// Ends all members, keeps a copy of their data, and starts them again.
    ///
    /// # Errors
    ///
    /// When a member does not run, or the data cannot be copied.
    pub fn snapshot(&self) -> Result<Snapshot> {
        (0..self.ports.len()).try_for_each(|member| self.terminate(member))?;
        let count = fs::read_dir(&self.folder).context("cannot read an instance's folder")?.count();
        let snapshot = Snapshot(self.folder.join(format!("snapshot-{count}")));
        copy(&self.data(), &snapshot.0)?;
        self.start_all()?;
        Ok(snapshot)
    }

    /// Kills all members and starts them with the data of a snapshot: what happened since has not happened.
    ///
    /// # Errors
    ///
    /// When the data cannot be replaced, or etcd does not start with it.
    pub fn restore(&self, snapshot: &Snapshot) -> Result<()> {
        (0..self.ports.len())
            .filter(|member| self.pid_of(*member).is_some())
            .try_for_each(|member| self.kill(member))?;
        fs::remove_dir_all(self.data()).context("cannot remove the data of a private etcd")?;
        copy(&snapshot.0, &self.data())?;
        self.start_all()
    }

    /// Asks a member through its JSON gateway: `call(0, "/v3/kv/range", &json!({ "key": "…" }))`, with keys
    /// and values in base64.
    ///
    /// # Errors
    ///
    /// When it does not answer, or the answer is an error.
    pub fn call(&self, member: usize, target: &str, body: &Value) -> Result<Value> {
        let ports = self.ports.get(member).with_context(|| format!("there is no member {member}"))?;
        let response = http::post(ports.plain, target, body.to_string().as_bytes(), CALL_LIMIT)?;
        ensure!(response.status == 200, "{target} failed ({}): {}", response.status, response.text().trim());
        response.json()
    }

    /// The revision that it is at.
    ///
    /// # Errors
    ///
    /// When the member does not answer.
    pub fn revision(&self, member: usize) -> Result<u64> {
        let answer = self.call(member, "/v3/kv/range", &json!({ "key": "AA==", "keys_only": true }))?;
        let revision = answer["header"]["revision"].as_str().and_then(|revision| revision.parse().ok());
        revision.with_context(|| format!("an answer without a revision: {answer}"))
    }

    /// Forgets all revisions but the newest one.
    ///
    /// # Errors
    ///
    /// When the member does not answer, or refuses.
    pub fn compact(&self, member: usize) -> Result<()> {
        let revision = self.revision(member)?;
        let body = json!({ "revision": revision.to_string(), "physical": true });
        self.call(member, "/v3/kv/compaction", &body).map(drop)
    }

    /// Ends everything and removes everything; dropping does the same, but can only print what goes wrong.
    ///
    /// # Errors
    ///
    /// When something does not end or cannot be removed. The next run tries again.
    pub fn stop(&self) -> Result<()> {
        self.instance().clear()?;
        let members = std::mem::take(&mut *self.members());
        members.into_iter().flatten().try_for_each(Daemon::kill)
    }

    /// What belongs to this instance, by which to look for its remains once it is stopped.
    #[must_use]
    pub fn marker(&self) -> Marker {
        self.instance().marker().clone()
    }

    /// Lets it outlive this process; `cargo xtask engines down` ends it.
    ///
    /// # Errors
    ///
    /// When its marker cannot be written.
    pub fn detach(self) -> Result<()> {
        self.instance().detach()
    }

    fn start_all(&self) -> Result<()> {
        (0..self.ports.len()).try_for_each(|member| self.launch(member))?;
        // Only together have they a leader.
        (0..self.ports.len()).try_for_each(|member| self.await_health(member))
    }

    fn launch(&self, member: usize) -> Result<()> {
        ensure!(self.pid_of(member).is_none(), "a member is still running");
        let ports = self.ports.get(member).with_context(|| format!("there is no member {member}"))?;
        let peers = self.ports.iter().enumerate();
        let peers: Vec<_> =
            peers.map(|(number, ports)| format!("m{number}=http://{}", ports.peers)).collect();
        let plain = format!("http://{}", ports.plain);
        let of_clients = if self.tls.is_some() { format!("{plain},https://{}", ports.tls) } else { plain };
        let own = format!("http://{}", ports.peers);
        let daemon = Daemon::start(&self.installation, "etcd", &self.folder, |command| {
            command.args(["--name", &format!("m{member}")]);
            command.arg("--data-dir").arg(self.data().join(member.to_string()));
            command.args(["--listen-client-urls", &of_clients, "--advertise-client-urls", &of_clients]);
            command.args(["--listen-peer-urls", &own, "--initial-advertise-peer-urls", &own]);
            command.args(["--initial-cluster", &peers.join(",")]);
            command.args(&self.arguments);
            if let Some(tls) = &self.tls {
                command.arg("--cert-file").arg(&tls.certificate).arg("--key-file").arg(&tls.key);
                if let Some(authority) = &tls.client_authority {
                    command.arg("--client-cert-auth").arg("--trusted-ca-file").arg(authority);
                }
            }
        })?;
        if let Some(place) = self.members().get_mut(member) {
            *place = Some(daemon);
        }
        Ok(())
    }

    /// Waits until a member answers, which has to have a leader for that.
    ///
    /// # Errors
    ///
    /// When it does not run, or does not answer for two minutes.
    pub fn await_health(&self, member: usize) -> Result<()> {
        // A read that needs a leader.
        let range = json!({ "key": "AA==", "keys_only": true }).to_string();
        let ports = self.ports.get(member).with_context(|| format!("there is no member {member}"))?;
        let asked = || http::post(ports.plain, "/v3/kv/range", range.as_bytes(), HEALTH_LIMIT);
        // With users, it refuses to answer this one, which needs a leader, too.
        let answers = || asked().is_ok_and(|response| response.status == 200 || is_refused(&response.text()));
        let members = self.members();
        members.get(member).and_then(Option::as_ref).context("a member is not running")?.await_answer(answers)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn take(&self, member: usize) -> Result<Daemon> {
        let mut members = self.members();
        let place = members.get_mut(member).and_then(Option::take);
        place.with_context(|| format!("member {member} is not running"))
    }

    fn members(&self) -> MutexGuard<'_, Vec<Option<Daemon>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn instance(&self) -> MutexGuard<'_, Instance> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer is that of an etcd with users to a client without a name.
fn is_refused(answer: &str) -> bool {
    answer.contains("user name is empty") || answer.contains("permission denied")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    output(std::process::Command::new("cp").arg("--archive").arg(from).arg(to)).map(drop)
}

/// Returns ports that are free now, three for each member, and that this process uses once. If another
/// process takes one before etcd does, etcd fails to start and says so.
fn free_ports(members: usize) -> Result<Vec<Ports>> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run side by side have PIDs that differ little.
    let begin = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(PORTS))?;
    let next = || {
        for _ in 0..PORTS {
            let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % PORTS;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST_PORT + offset));
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        Err(anyhow::anyhow!("there is no free TCP port"))
    };
    (0..members).map(|_| Ok(Ports { plain: next()?, tls: next()?, peers: next()? })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: Vec<_> = [1, 3].into_iter().flat_map(|members| free_ports(members).unwrap()).collect();
        let mut all: Vec<_> = ports.iter().flat_map(|ports| [ports.plain, ports.tls, ports.peers]).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!((all.len(), count), (12, 12));
    }
}
