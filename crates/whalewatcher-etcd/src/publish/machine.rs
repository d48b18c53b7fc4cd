//! What an agent does next: reads, claims, writes. No I/O and no clock.
//!
//! Each transaction writes the host's record, on condition that it is as the one before left it. So a
//! transaction of which no answer came is applied before the next one or never, and reading the record says
//! which; and whatever else wrote there is noticed.

use jiff::Timestamp;

use super::ledger::{Batch, Ledger};
use crate::records::{ClaimRecord, EngineRecord, HostRecord};

/// What to do next. Each step but [`Idle`](Self::Idle) is answered by one call of the method that it names.
#[derive(Debug)]
pub(crate) enum Step {
    /// Read all keys of the host at one revision: [`Machine::loaded`].
    Load,
    /// Read claim and host: [`Machine::resolved`].
    Resolve,
    /// Claim the host: [`Machine::written`] or [`Machine::claim_refused`]. On condition that there is no
    /// claim, and that the host's record was written at this revision.
    Claim { unchanged_since: i64, batch: Batch, host: HostRecord },
    /// Write: [`Machine::written`]. On condition that the claim is of this epoch, and that the host's record
    /// was written at this revision.
    Write { epoch: i64, unchanged_since: i64, batch: Batch, host: HostRecord },
    /// Nothing.
    Idle,
}

/// How a transaction went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was applied at this revision.
    Applied(i64),
    /// Its conditions were not true.
    Refused,
    /// It failed and was not applied.
    Failed,
    /// It may have been applied, or may be yet.
    Unknown,
}

/// The claim that is in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) epoch: i64,
    pub(crate) lease: i64,
    /// How many leaders etcd had had when it was read.
    pub(crate) term: u64,
    pub(crate) record: ClaimRecord,
}

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) ledger: Ledger,
    /// The host's record as the next transaction writes it.
    host: HostRecord,
    epoch: Option<i64>,
    /// The revision at which the host's record was last written, 0 if it does not exist; `None` if what etcd
    /// holds is not known.
    unchanged_since: Option<i64>,
    /// Whether the last attempt is neither known to be applied nor to have failed.
    is_open: bool,
    /// Whether claim and host have to be read.
    in_doubt: bool,
    /// Whether a transaction that was found not to be applied may be yet, until another one is.
    may_be_late: bool,
    /// Whether the host's record is to be written, if nothing else is.
    is_word_due: bool,
}

impl Machine {
    pub(crate) fn new(id: &str, host: HostRecord) -> Self {
        Self {
            ledger: Ledger::new(id),
            host,
            epoch: None,
            unchanged_since: None,
            is_open: false,
            in_doubt: false,
            may_be_late: false,
            is_word_due: false,
        }
    }

    pub(crate) fn epoch(&self) -> Option<i64> {
        self.epoch
    }

    /// Returns whether etcd holds what is wanted.
    pub(crate) fn is_settled(&self) -> bool {
        !self.in_doubt && !self.may_be_late && self.unchanged_since.is_some() && self.ledger.is_clean()
    }

    pub(crate) fn next(&mut self) -> Step {
        if self.in_doubt {
            return Step::Resolve;
        }
        let Some(unchanged_since) = self.unchanged_since else { return Step::Load };
        let Some(epoch) = self.epoch else {
            let batch = self.ledger.begin_claim();
            return Step::Claim { unchanged_since, batch, host: self.attempt() };
        };
        // One without keys prevents a late transaction from being applied.
        match self.ledger.begin().or_else(|| (self.may_be_late || self.is_word_due).then(Batch::new)) {
            Some(batch) => Step::Write { epoch, unchanged_since, batch, host: self.attempt() },
            None => Step::Idle,
        }
    }

    fn attempt(&mut self) -> HostRecord {
        self.host.attempt += 1;
        self.is_open = true;
        self.host.epoch = self.epoch.unwrap_or_default();
        self.host.clone()
    }

    /// The keys of the host, without claim and host, and the host's record with the revision at which it was written.
    pub(crate) fn loaded(
        &mut self,
        items: Vec<(crate::records::Key, Vec<u8>, i64)>,
        host: Option<(i64, HostRecord)>,
    ) {
        let boot = host.as_ref().map(|(_, host)| host.boot.as_str());
        let is_reborn = boot.is_some_and(|boot| boot != self.host.boot);
        self.ledger.load(items, is_reborn);
        self.unchanged_since = Some(host.as_ref().map_or(0, |(revision, _)| *revision));
        if let Some((_, host)) = host {
            self.host.first_seen = self.host.first_seen.min(host.first_seen);
        }
    }

    pub(crate) fn written(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Applied(revision) => {
                self.ledger.applied();
                self.unchanged_since = Some(revision);
                (self.may_be_late, self.is_open, self.is_word_due) = (false, false, false);
                // The claim was created by this very transaction.
                self.epoch.get_or_insert(revision);
            }
            Outcome::Failed => {
                self.ledger.not_applied();
                self.is_open = false;
            }
            Outcome::Refused => self.in_doubt = true,
            Outcome::Unknown => (self.in_doubt, self.may_be_late) = (true, true),
        }
    }

    /// Another claim is there, or none: then the host's record is another one. Returns whether the claim is
    /// one of our own of which no answer came.
    pub(crate) fn claim_refused(&mut self, claim: Option<&Claim>) -> bool {
        self.ledger.not_applied();
        self.is_open = false;
        self.epoch = claim.filter(|claim| claim.record.agent == self.host.agent).map(|claim| claim.epoch);
        if claim.is_none() || self.epoch.is_some() {
            self.unchanged_since = None;
        }
        self.epoch.is_some()
    }

    /// Claim and host as they are after a transaction of which no answer came, or whose conditions were not true.
    pub(crate) fn resolved(&mut self, claim: Option<&Claim>, host: Option<&(i64, HostRecord)>) {
        self.in_doubt = false;
        let is_open = std::mem::take(&mut self.is_open);
        let revision = host.map_or(0, |(revision, _)| *revision);
        let is_ours = |(_, host): &&(i64, HostRecord)| host.agent == self.host.agent;
        if is_open && host.filter(is_ours).is_some_and(|(_, host)| host.attempt == self.host.attempt) {
            self.ledger.applied();
            self.unchanged_since = Some(revision);
            (self.may_be_late, self.is_word_due) = (false, false);
        } else if self.unchanged_since == Some(revision) {
            self.ledger.not_applied();
        } else {
            self.ledger.not_applied();
            self.unchanged_since = None;
            self.may_be_late = false;
        }
        self.epoch = claim.filter(|claim| claim.record.agent == self.host.agent).map(|claim| claim.epoch);
    }

    /// Has claim and host read again: the store may have been restored from an older state. Not while a step
    /// is performed.
    pub(crate) fn verify(&mut self) {
        self.in_doubt |= self.epoch.is_some() && self.unchanged_since.is_some();
    }

    /// Has the host's record written, which shows when the host was seen.
    pub(crate) fn show(&mut self) {
        self.is_word_due = true;
    }

    /// The lease has ended.
    pub(crate) fn claim_lost(&mut self) {
        self.epoch = None;
    }

    /// The agent is about to end: no engine is watched any more.
    pub(crate) fn end(&mut self, since: Timestamp) {
        let engines: Vec<_> =
            self.ledger.engines().map(|(id, record)| (id.clone(), record.clone())).collect();
        for (engine, record) in engines {
            let error = Some("the agent has ended".to_owned());
            let phase = crate::records::EnginePhase::Ended;
            self.ledger.set_engine(&engine, EngineRecord { phase, error, since, ..record });
        }
    }
}
