use std::cell::Cell;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::*;
use crate::socket::{Place, Socket, locate};

const GRACE: Duration = Duration::from_secs(10);

/// A table, a clock, and a folder with sockets.
struct Host {
    folder: tempfile::TempDir,
    table: Table,
    now: Instant,
    health: Cell<Health>,
}

impl Host {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder for sockets"),
            table: Table::new(GRACE),
            now: Instant::now(),
            health: Cell::new(Health::Connected),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bind(&self, name: &str) -> UnixListener {
        let _ = fs::remove_file(self.path(name));
        UnixListener::bind(self.path(name)).expect("a folder for sockets")
    }

    fn observe(&mut self, names: &[&str]) -> Vec<String> {
        let candidates = names.iter().map(|name| candidate(&self.path(name), Source::Usual)).collect();
        let health = self.health.get();
        let leaving = self.table.observe(self.now, candidates, |_| health);
        leaving.into_iter().map(|member| member.key.engine_type().to_owned()).collect()
    }

    fn take_probes(&mut self) -> Vec<ToProbe> {
        self.table.take_probes(self.now)
    }

    /// Answers all due probes, and returns the endpoints that join.
    fn answer(&mut self, answer: impl Fn(&str) -> Result<EngineIdentity, ErrorKind>) -> Vec<String> {
        let mut joined = Vec::new();
        for probe in self.take_probes() {
            let endpoint = probe.candidate.socket.endpoint().to_owned();
            let answer = match answer(&endpoint) {
                Ok(identity) => Ok((EngineKey::new(identity.engine_type.clone(), endpoint), identity)),
                Err(kind) => Err(Arc::new(EngineError::new(kind, "no"))),
            };
            let joining = self.table.probed(self.now, probe.entry, vec![(0, answer)]).joining;
            joined.extend(joining.iter().map(|key| name(key.endpoint())));
        }
        joined
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn name(endpoint: &str) -> String {
    endpoint.rsplit('/').next().expect("a folder for sockets").to_owned()
}

fn candidate(path: &Path, source: Source) -> Candidate {
    let located = locate(path).expect("a folder for sockets");
    Candidate::own(Socket::at(path).expect("a folder for sockets"), located, source)
}

fn docker(id: &str, pid: u32) -> EngineIdentity {
    let mut identity = EngineIdentity::new("docker.com", "");
    (identity.id, identity.pid) = (id.to_owned(), Some(pid));
    identity
}

#[test]
fn several_names_of_one_socket_are_one_engine_by_the_preferred_name() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    std::os::unix::fs::symlink(host.path("s"), host.path("link")).unwrap();
    fs::hard_link(host.path("s"), host.path("hard")).unwrap();
    let sources = [("link", Source::Process), ("hard", Source::Named), ("s", Source::Usual)];
    let candidates = sources.map(|(name, source)| {
        let expected = vec![usize::from(name == "s")];
        Candidate { expected, ..candidate(&host.path(name), source) }
    });
    let leaving = host.table.observe(host.now, candidates.into(), |_| Health::Connected);
    assert!(leaving.is_empty());
    let probes = host.take_probes();
    assert_eq!(probes.len(), 1);
    assert_eq!(name(probes[0].candidate.socket.endpoint()), "hard");
    assert_eq!(probes[0].candidate.expected, [0, 1]);
}

#[test]
fn an_engine_with_two_sockets_joins_once_and_by_the_other_one_when_it_leaves() {
    let mut host = Host::new();
    let _both = [host.bind("a"), host.bind("b")];
    host.observe(&["a", "b"]);
    assert_eq!(host.answer(|_| Ok(docker("x", 7))), ["a"]);
    host.observe(&["a", "b"]);
    assert!(host.take_probes().is_empty());
    fs::remove_file(host.path("a")).unwrap();
    host.health.set(Health::Unreachable);
    host.observe(&["b"]);
    host.pass(GRACE);
    assert_eq!(host.observe(&["b"]), ["docker.com"]);
    assert_eq!(host.answer(|_| Ok(docker("x", 7))), ["b"]);
}

#[test]
fn an_engine_that_listens_at_a_port_too_joins_once_and_one_on_another_host_is_another() {
    for (port, joins) in [("tcp://127.0.0.1:2375", 0), ("tcp://whale:2375", 1)] {
        let mut host = Host::new();
        let _listener = host.bind("s");
        let named = Candidate::new(Socket::url(port), Place::Url(port.to_owned()), Source::Named);
        let all = vec![candidate(&host.path("s"), Source::Usual), named];
        host.table.observe(host.now, all, |_| Health::Connected);
        let [second, first] = host.take_probes().try_into().expect("two probes");
        for (probe, pid, joins) in [(first, Some(7), 1), (second, None, joins)] {
            let endpoint = probe.candidate.socket.endpoint().to_owned();
            let mut identity = docker("x", 7);
            identity.pid = pid;
            let answer = Ok((EngineKey::new("docker.com", endpoint), identity));
            let joining = host.table.probed(host.now, probe.entry, vec![(0, answer)]).joining;
            assert_eq!(joining.len(), joins, "{port}");
        }
    }
}

#[test]
fn copies_of_an_engine_are_distinguished_by_their_processes() {
    for other in [docker("x", 8), EngineIdentity::new("docker.com", ""), docker("y", 7)] {
        let mut host = Host::new();
        let _both = [host.bind("a"), host.bind("b")];
        host.observe(&["a", "b"]);
        let answer = |endpoint: &str| Ok(if name(endpoint) == "a" { docker("x", 7) } else { other.clone() });
        assert_eq!(host.answer(answer), ["a", "b"]);
    }
}

#[test]
fn a_socket_that_does_not_listen_yet_is_probed_again_soon_and_ever_less_often() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    let began = host.now;
    let mut probed_at = Vec::new();
    for _ in 0..ATTEMPTS {
        assert!(host.answer(|_| Err(ErrorKind::Unreachable)).is_empty());
        probed_at.push(host.now - began);
        host.observe(&["s"]);
        host.now = host.table.next_due().unwrap_or(host.now);
    }
    assert!(probed_at[1] <= Duration::from_millis(100) && probed_at[4] <= Duration::from_secs(2));
    assert_eq!(host.table.next_due(), None, "nothing will listen there");
    assert!(host.table.findings().is_empty(), "what does not listen is not missing");
    let _other = host.bind("s");
    host.observe(&["s"]);
    assert_eq!(host.answer(|_| Ok(docker("x", 7))), ["s"]);
}

#[test]
fn a_restarted_engine_is_the_same_and_one_that_stays_away_leaves() {
    let mut host = Host::new();
    let listener = host.bind("s");
    host.observe(&["s"]);
    host.answer(|_| Ok(docker("x", 7)));
    drop(listener);
    fs::remove_file(host.path("s")).unwrap();
    host.health.set(Health::Unreachable);
    assert!(host.observe(&[]).is_empty());
    host.pass(GRACE / 2);
    let _restarted = host.bind("s");
    host.health.set(Health::Connected);
    assert!(host.observe(&["s"]).is_empty());
    // Another kind of engine may answer at the socket too by now; the known one is not asked.
    let probes = host.take_probes();
    assert_eq!((probes.len(), probes[0].known.as_slice()), (1, &[0][..]));
    host.table.probed(host.now, probes[0].entry, Vec::new());

    host.health.set(Health::Unreachable);
    assert!(host.observe(&["s"]).is_empty());
    host.health.set(Health::Connecting);
    host.pass(GRACE / 2);
    assert!(host.observe(&["s"]).is_empty(), "between two attempts");
    host.health.set(Health::Unreachable);
    host.pass(GRACE / 2);
    assert_eq!(host.observe(&["s"]), ["docker.com"]);
    assert!(host.observe(&["s"]).is_empty(), "once");
}

#[test]
fn an_engine_that_only_fails_stays_and_one_whose_socket_is_gone_too_leaves() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    host.answer(|_| Ok(docker("x", 7)));
    host.health.set(Health::Failing);
    for _ in 0..3 {
        host.pass(GRACE);
        assert!(host.observe(&["s"]).is_empty());
    }
    host.observe(&[]);
    host.pass(GRACE);
    assert_eq!(host.observe(&[]), ["docker.com"]);
    assert!(host.table.entries.is_empty());
}

#[test]
fn a_connected_engine_whose_socket_was_removed_stays() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    host.answer(|_| Ok(docker("x", 7)));
    for _ in 0..3 {
        host.pass(GRACE);
        assert!(host.observe(&[]).is_empty());
    }
}

#[test]
fn another_kind_of_engine_that_took_the_socket_over_joins_in_place_of_the_former() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    host.answer(|_| Ok(docker("x", 7)));
    host.health.set(Health::Replaced);
    assert_eq!(host.observe(&["s"]), ["docker.com"]);
    assert_eq!(host.answer(|_| Ok(EngineIdentity::new("containerd.io", ""))), ["s"]);
}

#[test]
fn a_socket_that_is_bound_again_during_its_probe_is_probed_again() {
    let mut host = Host::new();
    let _first = host.bind("s");
    host.observe(&["s"]);
    let probes = host.take_probes();
    let _second = host.bind("s");
    host.observe(&["s"]);
    assert!(host.take_probes().is_empty(), "one at a time");
    host.table.probed(host.now, probes[0].entry, vec![]);
    assert_eq!(host.take_probes().len(), 1);
}

#[test]
fn what_answers_and_is_not_watched_is_a_finding_with_the_most_useful_error() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    let probes = host.take_probes();
    let error = |kind, text| Err(Arc::new(EngineError::new(kind, text)));
    let answers =
        vec![(0, error(ErrorKind::NotThisEngine, "not Docker")), (1, error(ErrorKind::TooOld, "too old"))];
    host.table.probed(host.now, probes[0].entry, answers);
    let findings = host.table.findings();
    assert_eq!((findings[0].kind, findings[0].reason.as_str()), (FindingKind::NoEngine, "too old"));
    assert!(!host.table.entries.is_empty());
}

#[test]
fn an_endpoint_that_the_user_named_is_missed() {
    let mut host = Host::new();
    let url = "tcp://whale:2375".to_owned();
    let named = Candidate::new(Socket::url(&url), Place::Url(url), Source::Named);
    for _ in 0..2 * ATTEMPTS {
        host.table.observe(host.now, vec![named.clone()], |_| Health::Connected);
        host.answer(|_| Err(ErrorKind::Unreachable));
        host.pass(LONGEST_DELAY);
    }
    assert!(host.table.next_due().is_some(), "it may come up");
    assert_eq!(host.table.findings()[0].place, "tcp://whale:2375");
}

/// What a detector answers whose engines have this type, about an engine of that type.
fn seen_as(as_type: &str, engine_type: &str) -> Answer {
    let mut identity = EngineIdentity::new(engine_type, "");
    identity.id = "x".to_owned();
    Ok((EngineKey::new(as_type, "unix:///s"), identity))
}

fn failure(kind: ErrorKind) -> Answer {
    Err(Arc::new(EngineError::new(kind, "no")))
}

/// Gives these answers to the probe that is due, and returns the types that join.
fn joining(host: &mut Host, answers: [Answer; 2]) -> Vec<String> {
    let probe = host.take_probes().remove(0);
    let answers = answers.into_iter().enumerate().collect();
    let joining = host.table.probed(host.now, probe.entry, answers).joining;
    joining.iter().map(|key| key.engine_type().to_owned()).collect()
}

#[test]
fn an_engine_that_starts_amid_a_probe_is_not_taken_for_one_whose_api_it_has_too() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    let first = [failure(ErrorKind::Unreachable), seen_as("docker.com", "podman.io")];
    assert_eq!(joining(&mut host, first), [""; 0]);
    host.pass(LONGEST_DELAY);
    let second = [seen_as("podman.io", "podman.io"), seen_as("docker.com", "podman.io")];
    assert_eq!(joining(&mut host, second), ["podman.io"]);
    host.pass(LONGEST_DELAY);
    assert!(host.take_probes().is_empty());
}

#[test]
fn an_engine_that_starts_late_amid_a_probe_is_not_taken_for_another_one_either() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    for _ in 0..2 * RESTARTING {
        let down = [failure(ErrorKind::Unreachable), failure(ErrorKind::Unreachable)];
        assert_eq!(joining(&mut host, down), [""; 0]);
        host.pass(LONGEST_DELAY);
    }
    let starting = [failure(ErrorKind::Unreachable), seen_as("docker.com", "podman.io")];
    assert_eq!(joining(&mut host, starting), [""; 0]);
    // It is there, and so it is asked again soon.
    host.pass(2 * FIRST_DELAY);
    let started = [seen_as("podman.io", "podman.io"), seen_as("docker.com", "podman.io")];
    assert_eq!(joining(&mut host, started), ["podman.io"]);
}

#[test]
fn an_engine_whose_own_api_keeps_failing_is_watched_through_another_ones_until_it_answers() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    let answers = || [failure(ErrorKind::Malformed), seen_as("docker.com", "podman.io")];
    for _ in 0..RESTARTING {
        assert_eq!(joining(&mut host, answers()), [""; 0]);
        host.pass(LONGEST_DELAY);
    }
    assert_eq!(joining(&mut host, answers()), ["docker.com"]);
    host.pass(LONGEST_DELAY);
    let probe = host.take_probes().remove(0);
    assert_eq!(probe.known, [1]);
    let own = vec![(0, seen_as("podman.io", "podman.io"))];
    let change = host.table.probed(host.now, probe.entry, own);
    let types = |keys: &[EngineKey]| keys.iter().map(|key| key.engine_type().to_owned()).collect::<Vec<_>>();
    assert_eq!(
        types(&change.leaving.into_iter().map(|member| member.key).collect::<Vec<_>>()),
        ["docker.com"]
    );
    assert_eq!(types(&change.joining), ["podman.io"]);
    assert_eq!(host.table.members().count(), 1);
}

#[test]
fn which_detector_is_asked_first_decides_nothing() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    let answers = [seen_as("docker.com", "podman.io"), seen_as("podman.io", "podman.io")];
    assert_eq!(joining(&mut host, answers), ["podman.io"]);
}

#[test]
fn the_second_engine_of_a_socket_joins_when_it_is_ready_later() {
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    let first = [seen_as("containerd.io", "containerd.io"), failure(ErrorKind::Disconnected)];
    assert_eq!(joining(&mut host, first), ["containerd.io"]);
    host.pass(LONGEST_DELAY);
    let probe = host.take_probes().remove(0);
    assert_eq!(probe.known, [0]);
    let ready = vec![(1, seen_as("k8s.io/cri-api", "k8s.io/cri-api"))];
    assert_eq!(host.table.probed(host.now, probe.entry, ready).joining.len(), 1);
    // A containerd without that plugin is not asked again.
    let mut host = Host::new();
    let _listener = host.bind("s");
    host.observe(&["s"]);
    let alone = [seen_as("containerd.io", "containerd.io"), failure(ErrorKind::NotThisEngine)];
    assert_eq!(joining(&mut host, alone), ["containerd.io"]);
    host.pass(LONGEST_DELAY);
    assert!(host.take_probes().is_empty());
}
