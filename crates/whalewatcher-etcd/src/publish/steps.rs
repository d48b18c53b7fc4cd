//! Performs the steps of an agent in etcd.

use std::net::IpAddr;

use jiff::Timestamp;

use super::CLAIM_LASTS;
use super::ledger::Batch;
use super::machine::{Claim, Outcome, Step};
use crate::client::{Client, Error, KeyValue, Page, Query, Txn};
use crate::records::{ClaimRecord, HostRecord, Key, Versioned as _, host_prefix};

/// How many keys are read at once.
const PAGE: usize = 500;

/// A record, with the revision at which it was written.
type Written<T> = Option<(i64, T)>;

/// All keys of a host but the claim, and the host's record.
type Loaded = (Vec<(Key, Vec<u8>, i64)>, Written<HostRecord>);

/// What came of a step.
#[derive(Debug)]
pub(super) enum Done {
    Loaded(Result<Loaded, Error>),
    Resolved(Result<(Option<Claim>, Written<HostRecord>), Error>),
    /// With the lease that was used or granted, and the claim that was there.
    Claimed {
        lease: Option<i64>,
        outcome: Result<Outcome, Error>,
        claim: Option<Claim>,
    },
    Written(Result<Outcome, Error>),
}

/// Where and for which host steps are performed.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) prefix: String,
    pub(super) host: String,
}

impl Place {
    /// Performs a step. There is nothing to perform of an idle one.
    pub(super) async fn perform(self, mut step: Step, lease: Option<i64>, mut claim: ClaimRecord) -> Done {
        if let Step::Claim { host, .. } | Step::Write { host, .. } = &mut step {
            claim.address = self.address().await;
            host.address.clone_from(&claim.address);
            host.time = Some(Timestamp::now());
        }
        match step {
            Step::Load | Step::Idle => Done::Loaded(self.load().await),
            Step::Resolve => Done::Resolved(self.resolve().await),
            Step::Claim { unchanged_since, batch, host } => {
                self.claim(lease, &claim, unchanged_since, batch, &host).await
            }
            Step::Write { epoch, unchanged_since, batch, host } => {
                let txn = Txn::new()
                    .if_created_at(&self.claim_key(), epoch)
                    .if_written_at(&self.host_key(), unchanged_since)
                    .put(&self.host_key(), host.to_json());
                let answer = self.client.txn(&self.add(txn, batch)).await;
                Done::Written(answer.map(|answer| match answer.succeeded {
                    true => Outcome::Applied(answer.header.revision),
                    false => Outcome::Refused,
                }))
            }
        }
    }

    async fn claim(
        &self,
        lease: Option<i64>,
        claim: &ClaimRecord,
        unchanged_since: i64,
        batch: Batch,
        host: &HostRecord,
    ) -> Done {
        let lease = match lease {
            Some(lease) => lease,
            None => match self.client.grant(CLAIM_LASTS).await {
                Ok(lease) => lease.id,
                // Of a lease that was granted all the same nothing is left after its time.
                Err(error) => {
                    let failed = Error::new(error.kind(), error.to_string());
                    return Done::Claimed { lease: None, outcome: Err(failed), claim: None };
                }
            },
        };
        let txn = Txn::new()
            .if_created_at(&self.claim_key(), 0)
            .if_written_at(&self.host_key(), unchanged_since)
            .put_leased(&self.claim_key(), claim.to_json(), lease)
            .put(&self.host_key(), host.to_json())
            .else_get(Query::key(&self.claim_key()));
        match self.client.txn(&self.add(txn, batch)).await {
            Err(error) => Done::Claimed { lease: Some(lease), outcome: Err(error), claim: None },
            Ok(answer) if answer.succeeded => {
                let outcome = Ok(Outcome::Applied(answer.header.revision));
                Done::Claimed { lease: Some(lease), outcome, claim: None }
            }
            Ok(answer) => {
                let term = answer.header.term;
                let claim = answer.pages.into_iter().next().and_then(|page| claim_of(page, term));
                Done::Claimed { lease: Some(lease), outcome: Ok(Outcome::Refused), claim }
            }
        }
    }

    /// The host's address, as etcd sees it unless addresses are translated between them.
    async fn address(&self) -> Option<String> {
        of_other_hosts(self.client.local_address().await?)
    }

    fn add(&self, txn: Txn, batch: Batch) -> Txn {
        batch.into_iter().fold(txn, |txn, (key, value)| {
            let key = key.below(&self.prefix);
            match value {
                Some(value) => txn.put(&key, &*value),
                None => txn.delete(&key),
            }
        })
    }

    async fn load(&self) -> Result<Loaded, Error> {
        let prefix = host_prefix(&self.prefix, &self.host);
        let mut query = Query::prefix(&prefix).with_limit(PAGE);
        let (mut items, mut host) = (Vec::new(), None);
        loop {
            let page = self.client.range(&query).await?;
            let last = page.items.last().map(|item| item.key.clone());
            for KeyValue { key: text, value, mod_revision, .. } in page.items {
                match Key::parse(&self.prefix, &text) {
                    Ok(Key::Host { .. }) => host = Some((mod_revision, read_host(&text, &value))),
                    Ok(Key::Claim { .. }) => {}
                    Ok(key) => items.push((key, value, mod_revision)),
                    Err(error) => tracing::warn!(%error, "ignored"),
                }
            }
            match last.filter(|_| page.has_more) {
                Some(last) => {
                    query = Query::prefix(&prefix).with_limit(PAGE).after(&last).at(page.header.revision);
                }
                None => return Ok((items, host)),
            }
        }
    }

    async fn resolve(&self) -> Result<(Option<Claim>, Written<HostRecord>), Error> {
        let both = Txn::new().get(Query::key(&self.claim_key())).get(Query::key(&self.host_key()));
        let answer = self.client.txn(&both).await?;
        let (term, mut pages) = (answer.header.term, answer.pages.into_iter());
        let claim = pages.next().and_then(|page| claim_of(page, term));
        let host = pages.next().and_then(|page| page.items.into_iter().next());
        Ok((claim, host.map(|host| (host.mod_revision, read_host(&host.key, &host.value)))))
    }

    fn claim_key(&self) -> String {
        Key::Claim { host: self.host.clone() }.below(&self.prefix)
    }

    fn host_key(&self) -> String {
        Key::Host { host: self.host.clone() }.below(&self.prefix)
    }
}

/// Returns an address by which other hosts may reach this one.
fn of_other_hosts(address: IpAddr) -> Option<String> {
    let address = address.to_canonical();
    (!address.is_loopback()).then(|| address.to_string())
}

/// A record that cannot be read is that of no agent, and of no boot: what it stands for is written again.
fn read_host(key: &str, value: &[u8]) -> HostRecord {
    HostRecord::from_json(key, value).unwrap_or_else(|error| {
        tracing::warn!(%error, "written again");
        HostRecord {
            hostname: String::new(),
            address: None,
            kernel: None,
            boot: String::new(),
            first_seen: Timestamp::now(),
            agent: String::new(),
            epoch: 0,
            time: None,
            attempt: 0,
        }
    })
}

fn claim_of(page: Page, term: u64) -> Option<Claim> {
    let item = page.items.into_iter().next()?;
    let record = ClaimRecord::from_json(&item.key, &item.value).unwrap_or_else(|error| ClaimRecord {
        agent: error.to_string(),
        boot: String::new(),
        hostname: String::new(),
        address: None,
        version: String::new(),
        since: Timestamp::UNIX_EPOCH,
    });
    Some(Claim { epoch: item.create_revision, lease: item.lease, term, record })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_leads_to_this_host_only_is_none() {
        for (address, expected) in [
            ("10.0.0.7", Some("10.0.0.7")),
            ("fd00::7", Some("fd00::7")),
            ("::ffff:10.0.0.7", Some("10.0.0.7")),
            ("127.0.0.1", None),
            ("::1", None),
            ("::ffff:127.0.0.1", None),
        ] {
            assert_eq!(of_other_hosts(address.parse().unwrap()).as_deref(), expected, "{address}");
        }
    }
}
