//! Follows etcd: lists everything, watches from there on, and begins again when that ends.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::time::{Instant, sleep, sleep_until};
use whalewatcher_core::fleet::Members;
use whalewatcher_core::{EngineError, EngineKey, EngineWatcher, ErrorKind};

use super::remote::RemoteEngine;
use super::settings::HubSettings;
use super::shared::{Shared, Todo};
use crate::client::{self, Client, KeyValue, Query, Watch, WatchAnswer};
use crate::mirror::{Change, EngineName, Item, Mirror};
use crate::records::{Key, Record, hosts_prefix};

/// How many keys are requested at once.
const PAGE: usize = 500;

/// The same without values.
const PAGE_OF_KEYS: usize = 5_000;

/// How often the mirror is compared with the store, as watchers compare portfolios with engines.
const AUDIT_EVERY: Duration = Duration::from_secs(60);

/// After how long a silence the watch has to show that it still works, and within what time.
const PROBE_AFTER: Duration = Duration::from_secs(5);
const PROBE_LIMIT: Duration = Duration::from_secs(10);

/// How long the watch may be interrupted before the engines count as disconnected: a new leader takes a
/// second or two. What happened meanwhile is then reported like any other change.
const GRACE: Duration = Duration::from_secs(3);

/// The delays after failures.
const DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// How long it has to work before delays begin with the first one again.
const HEALTHY_AFTER: Duration = Duration::from_secs(5);

pub(super) struct Driver {
    client: Client,
    prefix: String,
    shared: Arc<Shared>,
    members: Arc<Members>,
    settings: HubSettings,
    /// The members of the fleet.
    watched: BTreeMap<EngineName, EngineKey>,
    /// While etcd cannot be read.
    outage: Option<Outage>,
}

/// An interruption of the watch.
struct Outage {
    error: Arc<EngineError>,
    /// When the engines count as disconnected; `None` once they do.
    due: Option<Instant>,
}

/// Why the mirror is made again.
enum End {
    Failed(client::Error),
    /// So many keys differed from the store.
    Drift(usize),
}

/// The keys of the store with the revisions of their values, and the revision of the list.
type Keys = (i64, Vec<(Key, i64)>);

impl Driver {
    pub(super) fn new(
        client: Client,
        shared: Arc<Shared>,
        members: Arc<Members>,
        settings: HubSettings,
    ) -> Self {
        let prefix = client.config().url().prefix().to_owned();
        Self { client, prefix, shared, members, settings, watched: BTreeMap::new(), outage: None }
    }

    pub(super) async fn run(mut self) {
        let delays = || {
            let builder = ExponentialBuilder::new().with_min_delay(DELAYS.0).with_max_delay(DELAYS.1);
            builder.with_jitter().without_max_times().build()
        };
        let mut next_delays = delays();
        let mut was_live = false;
        loop {
            let begin = begin(self.client.clone(), self.prefix.clone());
            let end = match self.during_outage(begin).await {
                Ok((revision, items, watch)) => {
                    let (now, forget_after) = (SystemTime::now(), self.settings.forget_after);
                    let todo = self.shared.update(|mirror| {
                        mirror.replace(revision, items, now);
                        forget(mirror, forget_after, now);
                    });
                    (self.outage, was_live) = (None, true);
                    // Before engines join: one whose first attempt fails may be given up.
                    self.shared.set_up();
                    self.change_members(todo);
                    self.shared.set_settled();
                    let began = Instant::now();
                    let end = self.follow(watch).await;
                    if began.elapsed() >= HEALTHY_AFTER {
                        next_delays = delays();
                    }
                    end
                }
                Err(error) => End::Failed(error),
            };
            let error = match end {
                End::Drift(keys) => {
                    tracing::warn!(keys, "etcd's watch omitted changes; listing everything again");
                    continue;
                }
                End::Failed(error) => error,
            };
            tracing::debug!(%error, "cannot follow etcd");
            let error = Arc::new(engine_error(&error));
            let due = match &self.outage {
                Some(outage) => {
                    if outage.due.is_none() {
                        // The newest reason counts.
                        self.shared.set_down(&error);
                    }
                    outage.due
                }
                // Without a connection so far, there is nothing to keep.
                None => Some(if was_live { Instant::now() + GRACE } else { Instant::now() }),
            };
            self.outage = Some(Outage { error, due });
            let delay = next_delays.next().unwrap_or(DELAYS.1);
            self.during_outage(sleep(delay)).await;
        }
    }

    /// Does something, and has the engines count as disconnected when it is time for that.
    async fn during_outage<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            let due = self.outage.as_ref().and_then(|outage| outage.due);
            tokio::select! {
                biased;
                () = until(due) => {
                    if let Some(outage) = &mut self.outage {
                        outage.due = None;
                        self.shared.set_down(&outage.error);
                    }
                }
                done = &mut work => return done,
            }
        }
    }

    /// Follows a watch to its end.
    async fn follow(&mut self, mut watch: Watch) -> End {
        let mut audit: Option<BoxFuture<'static, Result<Keys, client::Error>>> = None;
        let mut audit_at = Instant::now() + AUDIT_EVERY;
        let (mut probe_at, mut is_probed) = (Instant::now() + PROBE_AFTER, false);
        loop {
            let todo = tokio::select! {
                answer = watch.next() => {
                    let answer = match answer {
                        Ok(answer) => answer,
                        Err(error) => return End::Failed(error),
                    };
                    (probe_at, is_probed) = (Instant::now() + PROBE_AFTER, false);
                    self.apply(answer)
                }
                () = sleep_until(probe_at) => {
                    if is_probed {
                        let member = watch.member();
                        let message = format!("the watch at etcd's member {member} is silent, also when asked");
                        return End::Failed(client::Error::new(client::ErrorKind::TimedOut, message));
                    }
                    watch.request_progress();
                    (probe_at, is_probed) = (Instant::now() + PROBE_LIMIT, true);
                    continue;
                }
                () = sleep_until(audit_at), if audit.is_none() => {
                    audit = Some(list_keys(self.client.clone(), self.prefix.clone()).boxed());
                    let forget_after = self.settings.forget_after;
                    self.shared.update(|mirror| {
                        mirror.begin_audit();
                        forget(mirror, forget_after, SystemTime::now());
                    })
                }
                keys = listed(&mut audit) => {
                    audit = None;
                    audit_at = Instant::now() + AUDIT_EVERY;
                    // The mirror may have to come as far as the list.
                    watch.request_progress();
                    match keys {
                        Ok((revision, keys)) => self.shared.update(|mirror| mirror.end_audit(revision, keys)),
                        Err(error) => {
                            tracing::debug!(%error, "an audit of etcd failed");
                            continue;
                        }
                    }
                }
            };
            if todo.drift > 0 {
                return End::Drift(todo.drift);
            }
            self.change_members(todo);
        }
    }

    /// Applies what the watch reports, revision by revision: a transaction is one change.
    fn apply(&mut self, answer: WatchAnswer) -> Todo {
        let (revision, prefix, now) = (answer.header.revision, &self.prefix, SystemTime::now());
        let mut by_revision = BTreeMap::<i64, Vec<Change>>::new();
        let has_changes = !answer.changes.is_empty();
        for change in answer.changes {
            let (revision, change) = match change {
                client::Change::Put(pair) => {
                    (pair.mod_revision, item(prefix, &pair).map(Box::new).map(Change::Put))
                }
                client::Change::Delete { key, revision } => {
                    (revision, parsed(prefix, &key).map(Change::Deleted))
                }
            };
            by_revision.entry(revision).or_default().extend(change);
        }
        self.shared.update(|mirror| {
            for (revision, changes) in by_revision {
                mirror.apply(revision, changes, now);
            }
            // With changes, the answer's own revision may be ahead of those that are still to be delivered.
            if !has_changes {
                mirror.progressed(revision);
            }
        })
    }

    /// Has engines join and leave the fleet.
    fn change_members(&mut self, todo: Todo) {
        for name in todo.left {
            if let Some(key) = self.watched.remove(&name) {
                self.members.remove(&key);
            }
        }
        for name in todo.joined {
            if let Some(client) = RemoteEngine::new(&self.shared, &name) {
                let watcher = EngineWatcher::with_settings(client, self.settings.watchers.clone());
                self.watched.insert(name, watcher.key());
                self.members.add(Arc::new(watcher));
            }
        }
    }
}

fn forget(mirror: &mut Mirror, after: Option<Duration>, now: SystemTime) {
    if let Some(after) = after {
        mirror.forget_silent(after, now);
    }
}

/// Lists everything, and watches from there on.
async fn begin(client: Client, prefix: String) -> Result<(i64, Vec<Item>, Watch), client::Error> {
    let mut items = Vec::new();
    let all = Query::prefix(&hosts_prefix(&prefix)).with_limit(PAGE);
    let revision = list(&client, all, |pair| items.extend(item(&prefix, &pair))).await?;
    let watch = client.watch(&hosts_prefix(&prefix), revision + 1).await?;
    Ok((revision, items, watch))
}

async fn list_keys(client: Client, prefix: String) -> Result<Keys, client::Error> {
    let mut keys = Vec::new();
    let all = Query::prefix(&hosts_prefix(&prefix)).with_limit(PAGE_OF_KEYS).keys_only();
    let each = |pair: KeyValue| keys.extend(parsed(&prefix, &pair.key).map(|key| (key, pair.mod_revision)));
    let revision = list(&client, all, each).await?;
    Ok((revision, keys))
}

/// Lists page by page, all as they were at the revision that this returns.
async fn list(client: &Client, query: Query, mut each: impl FnMut(KeyValue)) -> Result<i64, client::Error> {
    let mut page = client.range(&query).await?;
    let revision = page.header.revision;
    loop {
        let last = page.items.last().map(|pair| pair.key.clone());
        page.items.into_iter().for_each(&mut each);
        match last {
            Some(last) if page.has_more => {
                page = client.range(&query.clone().after(&last).at(revision)).await?;
            }
            _ => return Ok(revision),
        }
    }
}

fn item(prefix: &str, pair: &KeyValue) -> Option<Item> {
    let key = parsed(prefix, &pair.key)?;
    let record = Record::read(&key, &pair.key, &pair.value);
    if let Err(error) = &record {
        tracing::warn!(%error, "a value in etcd cannot be read");
    }
    Some(Item { key, modified: pair.mod_revision, record })
}

/// Returns a key; `None` if it is none of ours, or one of a later version.
fn parsed(prefix: &str, key: &str) -> Option<Key> {
    Key::parse(prefix, key).inspect_err(|error| tracing::debug!(%error, "ignoring a key in etcd")).ok()
}

async fn listed(
    audit: &mut Option<BoxFuture<'static, Result<Keys, client::Error>>>,
) -> Result<Keys, client::Error> {
    match audit {
        Some(audit) => audit.await,
        None => pending().await,
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

fn engine_error(error: &client::Error) -> EngineError {
    use client::ErrorKind as Etcd;
    let kind = match error.kind() {
        Etcd::Configuration | Etcd::CertificateRefused => ErrorKind::Configuration,
        Etcd::NotEtcd => ErrorKind::NotThisEngine,
        Etcd::AuthenticationFailed | Etcd::PermissionDenied => ErrorKind::PermissionDenied,
        Etcd::TimedOut => ErrorKind::TimedOut,
        Etcd::Malformed => ErrorKind::Malformed,
        Etcd::Unreachable | Etcd::NoLeader => ErrorKind::Unreachable,
        _ => ErrorKind::Failed,
    };
    EngineError::new(kind, error.to_string())
}
