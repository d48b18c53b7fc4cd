//! Decides which sockets are probed, and which engines join and leave. No I/O and no clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use whalewatcher_core::{EngineError, EngineIdentity, EngineKey, ErrorKind};

use crate::candidate::{Candidate, Source, merged};
use crate::finding::{Finding, FindingKind};

/// The delays before a socket is probed again: the first, because one is bound a moment before it listens,
/// and the longest.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// How many times a socket is probed that answers as no engine, unless another is bound there.
const ATTEMPTS: u32 = 20;

/// How many times a connection may be closed at once before that is reported, and an engine answer through
/// another one's API only before it is watched through that.
const RESTARTING: u32 = 5;

/// The known sockets, and the engines that answered there.
#[derive(Debug)]
pub(crate) struct Table {
    grace: Duration,
    entries: BTreeMap<EntryId, Entry>,
    next: EntryId,
}

/// Names an entry of the table.
pub(crate) type EntryId = u64;

#[derive(Debug)]
struct Entry {
    candidate: Candidate,
    is_probed: bool,
    /// Another socket was bound while it was probed.
    is_outdated: bool,
    attempts: u32,
    /// How many probes in a row were answered through another engine's API while the own one failed.
    held_back: u32,
    /// When to probe next; `None` if that is not due by time.
    due: Option<Instant>,
    /// Why the last probe found no engine.
    error: Option<Arc<EngineError>>,
    members: Vec<Member>,
    /// The engine has another socket, which is watched.
    double: Option<EntryId>,
    is_seen: bool,
    gone_since: Option<Instant>,
}

/// A member of the fleet, as the table knows it.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) detector: usize,
    pub(crate) key: EngineKey,
    identity: EngineIdentity,
}

/// A probe to be made.
#[derive(Debug)]
pub(crate) struct ToProbe {
    pub(crate) entry: EntryId,
    pub(crate) candidate: Candidate,
    /// The detectors whose engines are watched there already.
    pub(crate) known: Vec<usize>,
}

/// What a detector found out: an engine, or why there is none.
pub(crate) type Answer = Result<(EngineKey, EngineIdentity), Arc<EngineError>>;

/// What follows from the answers to a probe.
#[derive(Debug, Default)]
pub(crate) struct Change {
    /// Members that leave, before any joins.
    pub(crate) leaving: Vec<Member>,
    pub(crate) joining: Vec<EngineKey>,
}

/// How a member is, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Connected,
    /// It is about to be one of the others.
    Connecting,
    /// Nothing listens there.
    Unreachable,
    /// Something else answers.
    Replaced,
    /// It is not connected for another reason.
    Failing,
}

impl Table {
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace, entries: BTreeMap::new(), next: 0 }
    }

    /// Records all that can be seen now, and returns the members that leave.
    pub(crate) fn observe(
        &mut self,
        now: Instant,
        candidates: Vec<Candidate>,
        health: impl Fn(&EngineKey) -> Health,
    ) -> Vec<Member> {
        for entry in self.entries.values_mut() {
            entry.is_seen = false;
        }
        for candidate in merged(candidates) {
            let same = self.entries.values_mut().find(|entry| entry.candidate.is_same(&candidate));
            match same {
                Some(entry) if !entry.is_seen => entry.see(now, candidate),
                // Two names of what is one socket by now: the first one counts.
                Some(_) => {}
                None => {
                    self.entries.insert(self.next, Entry::new(now, candidate));
                    self.next += 1;
                }
            }
        }
        let mut leaving = Vec::new();
        let grace = self.grace;
        self.entries.retain(|_, entry| {
            leaving.extend(entry.leaving(now, grace, &health));
            entry.is_seen || entry.is_probed || !entry.members.is_empty()
        });
        let watched: Vec<_> =
            self.entries.iter().filter(|(_, entry)| !entry.members.is_empty()).map(|(id, _)| *id).collect();
        for entry in self.entries.values_mut() {
            if entry.double.is_some_and(|other| !watched.contains(&other)) {
                (entry.double, entry.due) = (None, Some(now));
            }
        }
        leaving
    }

    /// Returns the probes that are due, and expects an answer for each.
    pub(crate) fn take_probes(&mut self, now: Instant) -> Vec<ToProbe> {
        let due = |entry: &Entry| !entry.is_probed && entry.due.is_some_and(|due| due <= now);
        let due = self.entries.iter_mut().filter(|(_, entry)| due(entry));
        let probes = due.map(|(id, entry)| {
            (entry.is_probed, entry.due) = (true, None);
            let known = entry.members.iter().map(|member| member.detector).collect();
            ToProbe { entry: *id, candidate: entry.candidate.clone(), known }
        });
        probes.collect()
    }

    /// Returns when the next probe is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waiting = self.entries.values().filter(|entry| !entry.is_probed);
        waiting.filter_map(|entry| entry.due).min()
    }

    /// Returns whether each socket that was seen has been probed.
    pub(crate) fn is_settled(&self) -> bool {
        self.entries.values().all(|entry| entry.attempts > 0 && !entry.is_probed)
    }

    /// Records the answers to a probe, each of a detector.
    pub(crate) fn probed(&mut self, now: Instant, id: EntryId, mut answers: Vec<(usize, Answer)>) -> Change {
        let mut change = Change::default();
        let mut double = None;
        let mut errors = Vec::new();
        // An engine may start, or end, between two answers.
        let is_unclear = answers.iter().any(|(_, answer)| answer.as_ref().is_err_and(is_passing));
        let is_early = is_unclear && self.entries.get(&id).is_some_and(|entry| entry.held_back < RESTARTING);
        let mut is_held_back = false;
        // What an engine answers through its own API counts.
        answers.sort_by_key(|(_, answer)| {
            answer.as_ref().is_ok_and(|(key, identity)| is_borrowed(key, identity))
        });
        for (detector, answer) in answers {
            match answer {
                Err(error) => errors.push(error),
                Ok((key, identity)) if is_early && is_borrowed(&key, &identity) => is_held_back = true,
                Ok((key, identity)) => {
                    let other = self.other_with(id, &key, &identity);
                    let Some(entry) = self.entries.get_mut(&id) else { continue };
                    if !is_borrowed(&key, &identity) {
                        let is_same = |member: &mut Member| {
                            member.identity.engine_type == identity.engine_type
                                && is_borrowed(&member.key, &member.identity)
                        };
                        change.leaving.extend(entry.members.extract_if(.., is_same));
                    }
                    if entry.has(&identity) {
                        // The same through another API.
                    } else if other.is_some() {
                        double = other;
                    } else {
                        change.joining.push(key.clone());
                        entry.members.push(Member { detector, key, identity });
                    }
                }
            }
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.held_back = match entry.held_back {
                _ if !is_held_back => 0,
                0 => {
                    // It is there only now, however long nothing was.
                    entry.attempts = 0;
                    1
                }
                before => before + 1,
            };
            entry.is_probed = false;
            entry.attempts += 1;
            entry.double = double;
            let is_found = double.is_some() || !entry.members.is_empty();
            entry.error = None;
            if !is_found {
                // An error that something else answers is the least useful one.
                errors.sort_by_key(|error| error.kind() == ErrorKind::NotThisEngine);
                entry.error = errors.first().cloned();
            }
            // Another engine may be about to answer at the socket of one that does.
            let is_missing = !is_found || is_unclear && double.is_none();
            if is_missing
                && (entry.attempts < ATTEMPTS || !is_found && entry.candidate.source == Source::Named)
            {
                let delay = FIRST_DELAY.saturating_mul(1 << entry.attempts.min(16));
                entry.due = Some(now + delay.min(LONGEST_DELAY));
            }
            if std::mem::take(&mut entry.is_outdated) {
                entry.due = Some(now);
            }
        }
        change
    }

    /// Returns the entry of the engine with this identity, if it is another one: an engine may listen at
    /// several sockets.
    fn other_with(&self, id: EntryId, key: &EngineKey, identity: &EngineIdentity) -> Option<EntryId> {
        let is_same = |known: &Member| {
            // Copies of a system have engines with one ID, so the process counts too, where a socket shows it.
            let is_same_process = match (is_socket(&known.key), is_socket(key)) {
                (true, true) => known.identity.pid.is_some() && known.identity.pid == identity.pid,
                _ => !identity.id.is_empty() && known.key.host() == key.host(),
            };
            is_same_process
                && known.identity.engine_type == identity.engine_type
                && known.identity.id == identity.id
        };
        let mut others = self.entries.iter().filter(|(other, _)| **other != id);
        others.find(|(_, entry)| entry.members.iter().any(is_same)).map(|(other, _)| *other)
    }

    /// Returns all members.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Candidate, &Member)> {
        self.entries.values().flat_map(|entry| entry.members.iter().map(|member| (&entry.candidate, member)))
    }

    /// Returns why sockets that answer are not watched. What is not there, or does not listen, is no finding
    /// unless the user named it, and neither is what answers as no engine where only a process' name let one
    /// expect it.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let entries = self.entries.values().filter(|entry| entry.is_seen);
        entries.filter_map(Entry::finding).collect()
    }
}

fn is_socket(key: &EngineKey) -> bool {
    key.endpoint().starts_with("unix:")
}

/// Returns whether an engine answered through an API that is not its own, such as podman through Docker's.
fn is_borrowed(key: &EngineKey, identity: &EngineIdentity) -> bool {
    key.engine_type() != identity.engine_type
}

/// Returns whether an engine may answer soon.
fn is_passing(error: &Arc<EngineError>) -> bool {
    error.kind() != ErrorKind::NotThisEngine
}

impl Entry {
    fn new(now: Instant, candidate: Candidate) -> Self {
        Self {
            candidate,
            is_probed: false,
            is_outdated: false,
            attempts: 0,
            held_back: 0,
            due: Some(now),
            error: None,
            members: Vec::new(),
            double: None,
            is_seen: true,
            gone_since: None,
        }
    }

    /// Returns whether one of its members is an engine of that type.
    fn has(&self, identity: &EngineIdentity) -> bool {
        self.members.iter().any(|member| member.identity.engine_type == identity.engine_type)
    }

    fn see(&mut self, now: Instant, candidate: Candidate) {
        self.is_seen = true;
        if self.candidate.file != candidate.file {
            // Another socket: engines of other kinds may answer there.
            self.attempts = 0;
            self.is_outdated = self.is_probed;
            self.due = Some(now);
        }
        self.candidate.socket.location().follow(candidate.socket.location());
        // Members go on connecting to the socket by the name that they have.
        let keeps_name = !self.members.is_empty();
        let socket = if keeps_name { self.candidate.socket.clone() } else { candidate.socket.clone() };
        self.candidate = Candidate { socket, ..candidate };
    }

    /// Returns the members that leave: all if the engine has been away for too long, else those that another
    /// kind of engine replaced.
    fn leaving(
        &mut self,
        now: Instant,
        grace: Duration,
        health: &impl Fn(&EngineKey) -> Health,
    ) -> Vec<Member> {
        let all: Vec<_> = self.members.iter().map(|member| health(&member.key)).collect();
        let is_away = |health: &Health| match health {
            Health::Unreachable => true,
            Health::Failing | Health::Replaced => !self.is_seen,
            Health::Connected | Health::Connecting => false,
        };
        if all.contains(&Health::Connected)
            || all.iter().any(|health| !is_away(health) && *health != Health::Connecting)
        {
            self.gone_since = None;
        } else if all.iter().any(is_away) {
            self.gone_since.get_or_insert(now);
        }
        let away_for = self.gone_since.map(|since| now.saturating_duration_since(since));
        if away_for.is_some_and(|away_for| away_for >= grace || self.candidate.is_over()) {
            (self.gone_since, self.due, self.attempts) = (None, Some(now), 0);
            return std::mem::take(&mut self.members);
        }
        let mut healths = all.into_iter();
        let is_replaced = |_: &mut Member| healths.next() == Some(Health::Replaced);
        let replaced: Vec<_> = self.members.extract_if(.., is_replaced).collect();
        if !replaced.is_empty() {
            self.due = Some(now);
        }
        replaced
    }

    fn finding(&self) -> Option<Finding> {
        let error = self.error.as_ref()?;
        let is_named = self.candidate.source == Source::Named;
        let kind = match error.kind() {
            ErrorKind::Unreachable if !is_named => return None,
            // An engine that is being restarted.
            ErrorKind::Disconnected if self.attempts <= RESTARTING => return None,
            ErrorKind::NotThisEngine if self.candidate.source == Source::Process => return None,
            ErrorKind::PermissionDenied => FindingKind::NoPermission,
            ErrorKind::TimedOut => FindingKind::Unresponsive,
            _ => FindingKind::NoEngine,
        };
        Some(Finding::new(self.candidate.socket.endpoint(), kind, error.to_string()))
    }
}

#[cfg(test)]
mod tests;
