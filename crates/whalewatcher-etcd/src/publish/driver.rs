//! Drives an agent: events of the fleet in, transactions out, the lease renewed meanwhile.

use std::future::{Future, pending};
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout};
use whalewatcher_core::Fleet;

use super::entries::{enter_event, enter_portfolio};
use super::machine::{Claim, Machine, Outcome, Step};
use super::steps::{Done, Place};
use super::{CLAIM_LASTS, PublishError, PublishStatus, Publisher};
use crate::client::{Error, ErrorKind, Lease, MemberStatus};
use crate::records::{ClaimRecord, HostRecord};

/// How often the lease is renewed, and how soon again if that fails.
const RENEW_EVERY: Duration = Duration::from_secs(3);
const RENEW_AGAIN: Duration = Duration::from_millis(500);

/// How often the size of the database is looked at, and whether it still holds what was written.
const CHECK_EVERY: Duration = Duration::from_secs(60);

/// How often the host's record is written at least, so that it shows when the host was seen last.
const WORD_EVERY: Duration = Duration::from_secs(3_600);

/// How long the claim of another agent may stay: as long as that lasts, and what etcd takes to elect a leader.
const RIVAL_LIMIT: Duration = Duration::from_secs(CLAIM_LASTS.as_secs() + 5);

/// How long the last words may take.
const END_LIMIT: Duration = Duration::from_secs(2);

/// After a failure of all hosts, they do not come back at once.
const JITTER: Duration = Duration::from_millis(500);

/// Another agent's claim. Of an agent that is gone, the time of the claim begins again with each leader of etcd.
#[derive(Debug)]
struct Rival {
    epoch: i64,
    /// The newest leader under which it was seen, and since when.
    term: u64,
    since: Instant,
}

impl Rival {
    /// Returns since when a claim is there, with what is known of the one that was seen before.
    fn since(known: &mut Option<Self>, claim: &Claim, now: Instant) -> Instant {
        let same = known.take().filter(|known| known.epoch == claim.epoch && known.term >= claim.term);
        known.insert(same.unwrap_or(Self { epoch: claim.epoch, term: claim.term, since: now })).since
    }
}

pub(super) struct Driver<'a> {
    publisher: &'a Publisher,
    place: Place,
    machine: Machine,
    claim: ClaimRecord,
    lease: Option<i64>,
    renew_at: Instant,
    rival: Option<Rival>,
    failures: u32,
    /// Until when nothing is tried.
    pause: Option<Instant>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(publisher: &'a Publisher) -> Self {
        let Publisher { client, host, .. } = publisher;
        let agent = format!("{:016x}", fastrand::u64(..));
        let record = HostRecord {
            hostname: host.hostname.clone(),
            address: None,
            kernel: Some(host.kernel.clone()),
            boot: host.boot.clone(),
            first_seen: Timestamp::now(),
            agent: agent.clone(),
            epoch: 0,
            time: None,
            attempt: 0,
        };
        let claim = ClaimRecord {
            agent,
            boot: host.boot.clone(),
            hostname: host.hostname.clone(),
            address: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: Timestamp::now(),
        };
        let prefix = client.config().url().prefix().to_owned();
        Self {
            publisher,
            place: Place { client: client.clone(), prefix, host: host.id.clone() },
            machine: Machine::new(&host.id, record),
            claim,
            lease: None,
            renew_at: Instant::now(),
            rival: None,
            failures: 0,
            pause: None,
        }
    }

    pub(super) async fn run(
        mut self,
        fleet: &Fleet,
        stop: impl Future<Output = ()>,
    ) -> Result<(), PublishError> {
        let (now, mut changes) = fleet.subscribe();
        let labels = &self.publisher.labels;
        enter_portfolio(&mut self.machine.ledger, labels, &now);
        drop(now);
        let mut stop = pin!(stop);
        let mut ending: Option<Instant> = None;
        let mut doing: Option<BoxFuture<'static, Done>> = None;
        let mut renewing: Option<BoxFuture<'static, Result<Lease, Error>>> = None;
        let mut checking: Option<BoxFuture<'static, Result<MemberStatus, Error>>> = None;
        let mut check_at = Instant::now();
        let mut word_at = Instant::now() + WORD_EVERY;
        let outcome = loop {
            if doing.is_none() && self.pause.is_none() {
                match self.machine.next() {
                    Step::Idle if ending.is_some() => break Ok(()),
                    Step::Idle => {}
                    step => {
                        self.claim.since = Timestamp::now();
                        doing =
                            Some(self.place.clone().perform(step, self.lease, self.claim.clone()).boxed());
                    }
                }
            }
            self.report_progress();
            tokio::select! {
                biased;
                () = &mut stop, if ending.is_none() => {
                    ending = Some(Instant::now() + END_LIMIT);
                    self.machine.end(Timestamp::now());
                }
                () = until(ending) => break Ok(()),
                done = wait(&mut doing) => {
                    doing = None;
                    if let Err(error) = self.done(done) {
                        break Err(error);
                    }
                }
                renewed = wait(&mut renewing) => {
                    renewing = None;
                    self.renewed(renewed);
                }
                () = sleep_until(self.renew_at), if self.lease.is_some() && renewing.is_none() => {
                    let (client, lease) = (self.place.client.clone(), self.lease.unwrap_or_default());
                    renewing = Some(async move { client.renew(lease).await }.boxed());
                }
                () = until(self.pause) => self.pause = None,
                () = sleep_until(word_at) => {
                    word_at = Instant::now() + WORD_EVERY;
                    self.machine.show();
                }
                checked = wait(&mut checking) => {
                    checking = None;
                    self.checked(checked);
                }
                () = sleep_until(check_at), if self.machine.epoch().is_some() && checking.is_none() => {
                    check_at = Instant::now() + CHECK_EVERY;
                    if doing.is_none() {
                        self.machine.verify();
                    }
                    let client = self.place.client.clone();
                    checking = Some(async move { client.status().await }.boxed());
                }
                change = changes.next(), if ending.is_none() => {
                    let mut change = change;
                    // All that is there becomes one transaction.
                    while let Some(event) = &change {
                        enter_event(&mut self.machine.ledger, labels, event);
                        match changes.next().now_or_never() {
                            Some(next) => change = next,
                            None => break,
                        }
                    }
                    if change.is_none() {
                        ending = Some(Instant::now() + END_LIMIT);
                        self.machine.end(Timestamp::now());
                    }
                }
            }
        };
        // So that the next agent does not wait for it.
        if let Some(lease) = self.lease
            && let Ok(Err(error)) = timeout(END_LIMIT, self.place.client.revoke(lease)).await
        {
            tracing::debug!(%error, "the claim stays until its time is over");
        }
        outcome
    }

    /// Takes what came of a step.
    fn done(&mut self, done: Done) -> Result<(), PublishError> {
        match done {
            Done::Loaded(Ok((items, host))) => {
                self.machine.loaded(items, host);
                self.succeeded();
            }
            Done::Resolved(Ok((claim, host))) => {
                self.machine.resolved(claim.as_ref(), host.as_ref());
                self.succeeded();
            }
            Done::Written(Ok(outcome)) => {
                self.machine.written(outcome);
                self.succeeded();
            }
            Done::Claimed { lease, outcome: Ok(Outcome::Refused), claim } => {
                self.keep_lease(lease);
                return self.refused(claim);
            }
            Done::Claimed { lease, outcome: Ok(outcome), .. } => {
                self.keep_lease(lease);
                self.rival = None;
                self.machine.written(outcome);
                self.succeeded();
                tracing::debug!(epoch = self.machine.epoch(), "the host is claimed");
            }
            Done::Loaded(Err(error)) | Done::Resolved(Err(error)) => self.failed(error),
            Done::Written(Err(error)) => {
                self.machine.written(outcome_of(&error));
                self.failed(error);
            }
            Done::Claimed { lease, outcome: Err(error), .. } => {
                self.keep_lease(lease);
                if error.kind() == ErrorKind::LeaseNotFound {
                    self.lease = None;
                }
                self.machine.written(outcome_of(&error));
                self.failed(error);
            }
        }
        Ok(())
    }

    fn keep_lease(&mut self, lease: Option<i64>) {
        if lease.is_some() && self.lease != lease {
            self.lease = lease;
            self.renew_at = Instant::now() + RENEW_EVERY;
        }
    }

    /// Another claim is there: waits until its time is over, and ends if it is renewed.
    fn refused(&mut self, claim: Option<Claim>) -> Result<(), PublishError> {
        if self.machine.claim_refused(claim.as_ref()) {
            self.keep_lease(claim.map(|claim| claim.lease));
            return Ok(());
        }
        let Some(claim) = claim else { return Ok(()) };
        if Rival::since(&mut self.rival, &claim, Instant::now()).elapsed() > RIVAL_LIMIT {
            let by = Box::new(claim.record);
            return Err(PublishError::Claimed { host: self.place.host.clone(), by });
        }
        self.update(|status| (status.error, status.waits_for) = (None, Some(claim.record)));
        self.pause = Some(Instant::now() + Duration::from_secs(1));
        Ok(())
    }

    fn renewed(&mut self, renewed: Result<Lease, Error>) {
        match renewed {
            Ok(_) => self.renew_at = Instant::now() + RENEW_EVERY,
            Err(error) if error.kind() == ErrorKind::LeaseNotFound => {
                tracing::warn!(
                    "the claim has ended, because etcd was not reached for too long: claiming again"
                );
                self.lease = None;
                self.machine.claim_lost();
            }
            Err(error) => {
                self.renew_at = Instant::now() + RENEW_AGAIN;
                self.update(|status| status.error = Some(error));
            }
        }
    }

    fn checked(&mut self, checked: Result<MemberStatus, Error>) {
        let Ok(member) = checked else { return };
        let warning = if member.errors.iter().any(|error| error.contains("NOSPACE")) {
            Some(format!("etcd at {} is full (alarm NOSPACE)", member.member))
        } else {
            let mebibytes = member.size / (1024 * 1024);
            member.is_half_full().then(|| {
                format!(
                    "the database of etcd at {} has {mebibytes} MiB, more than half of what it may have: compact and \
                     defragment it, or raise its quota",
                    member.member
                )
            })
        };
        self.update(|status| status.warning = warning);
    }

    fn succeeded(&mut self) {
        if self.failures > 0 {
            self.pause = Some(Instant::now() + JITTER.mul_f64(fastrand::f64()));
        }
        self.failures = 0;
        self.update(|status| (status.error, status.waits_for) = (None, None));
    }

    fn failed(&mut self, error: Error) {
        use ErrorKind::{
            AuthenticationFailed, CertificateRefused, Configuration, NoSpace, PermissionDenied, TooLarge,
        };
        // What has to be repaired by a person takes longer.
        let longest = match error.kind() {
            AuthenticationFailed | CertificateRefused | Configuration | NoSpace | PermissionDenied
            | TooLarge => 10_000,
            _ => 1_000,
        };
        let delay = Duration::from_millis((100 << self.failures.min(10)).min(longest));
        self.failures += 1;
        self.pause = Some(Instant::now() + delay.mul_f64(0.5 + fastrand::f64() / 2.0));
        tracing::debug!(%error, ?delay, "publishing failed");
        self.update(|status| status.error = Some(error));
    }

    fn report_progress(&self) {
        let has_claim = self.machine.epoch().is_some();
        let is_current = has_claim && self.machine.is_settled();
        self.update(|status| (status.has_claim, status.is_current) = (has_claim, is_current));
    }

    fn update(&self, change: impl FnOnce(&mut PublishStatus)) {
        self.publisher.status.send_if_modified(|status| {
            let before = status.clone();
            change(status);
            *status != before
        });
    }
}

fn outcome_of(error: &Error) -> Outcome {
    if error.may_be_done() { Outcome::Unknown } else { Outcome::Failed }
}

async fn wait<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_claim_is_waited_for_as_long_as_it_may_take_to_end_under_the_newest_leader() {
        let claim = |epoch, term| Claim {
            epoch,
            lease: 1,
            term,
            record: ClaimRecord {
                agent: String::new(),
                boot: String::new(),
                hostname: String::new(),
                address: None,
                version: String::new(),
                since: Timestamp::UNIX_EPOCH,
            },
        };
        let begin = Instant::now();
        let mut rival = None;
        let mut seen_since = |second: u64, epoch, term| {
            let now = begin + Duration::from_secs(second);
            (Rival::since(&mut rival, &claim(epoch, term), now) - begin).as_secs()
        };
        assert_eq!(seen_since(0, 5, 2), 0);
        assert_eq!(seen_since(9, 5, 2), 0);
        assert_eq!(seen_since(10, 5, 3), 10, "another leader");
        assert_eq!(seen_since(11, 5, 2), 10, "a member that does not know it yet");
        assert_eq!(seen_since(12, 5, 3), 10);
        assert_eq!(seen_since(13, 6, 3), 13, "another claim");
    }
}
