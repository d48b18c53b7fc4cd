//! The output of one direction: bytes are delayed, dripped, dropped, replaced, or end.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt,
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    armed::{All, Armed, Occurrence},
    fault::{Direction, FaultKind},
    handle::Shared,
    link::{End, Link, Request},
    socket::Writer,
};

/// Writes data from one side of a connection to the other.
pub(super) struct Outlet<'a> {
    pub(super) shared: &'a Shared,
    pub(super) link: &'a Link,
    pub(super) faults: watch::Receiver<All>,
    direction: Direction,
    writer: Writer<'a>,
    counters: HashMap<Occurrence, Counter>,
    /// Bytes were dropped: what follows would be malformed.
    dead: bool,
    next_drop: Option<Instant>,
}

/// The state of a fault's occurrence in one direction.
struct Counter {
    passed: u64,
    changed: u64,
    random: fastrand::Rng,
    hit: bool,
}

/// What to do with the next bytes.
#[derive(Default)]
struct Plan {
    stall: Option<(Arc<Armed>, bool)>,
    delay: Duration,
    drip: Option<(u64, Duration)>,
    /// Pass so many more bytes, then do this.
    last: Option<(u64, Last, Arc<Armed>)>,
    counting: Vec<Occurrence>,
    corrupting: Vec<Arc<Armed>>,
    slowing: Vec<Arc<Armed>>,
}

#[derive(Clone, Copy)]
enum Last {
    End(End),
    /// Pass nothing more to this side.
    Shut,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(shared: &'a Shared, link: &'a Link, direction: Direction, writer: Writer<'a>) -> Self {
        let faults = shared.faults.follow();
        let (counters, dead) = (HashMap::new(), false);
        Self { shared, link, faults, direction, writer, counters, dead, next_drop: None }
    }

    /// Writes data that belongs to this request or its answer.
    pub(super) async fn send(&mut self, mut bytes: &[u8], about: Option<&Request>) -> Result<(), End> {
        let begun = Instant::now();
        while !bytes.is_empty() && !self.dead {
            let plan = self.plan(about);
            if let Some((armed, swallow)) = &plan.stall {
                self.hit(armed, about);
                if !swallow {
                    self.wait().await?;
                    continue;
                }
                self.dead = true;
                if self.direction == Direction::ToClient {
                    self.link.add_silence();
                }
                break;
            }
            if let Some((0, last, armed)) = &plan.last {
                return self.finally(*last, armed, about).await;
            }
            for armed in &plan.slowing {
                self.hit(armed, about);
            }
            let due = plan.drip.and(self.next_drop).unwrap_or(begun).max(begun + plan.delay);
            if Instant::now() < due {
                tokio::select! {
                    () = sleep_until(due) => {}
                    _ = self.faults.changed() => continue,
                }
            }
            let most = plan.drip.map_or(u64::MAX, |(bytes, _)| bytes);
            let most = plan.last.as_ref().map_or(most, |(left, ..)| most.min(*left));
            let (piece, rest) = bytes.split_at(bytes.len().min(usize::try_from(most).unwrap_or(usize::MAX)));
            let mut piece = piece.to_vec();
            for armed in &plan.corrupting {
                self.corrupt(armed, about, &mut piece);
            }
            self.write(&piece, about).await?;
            bytes = rest;
            self.next_drop = plan.drip.map(|(_, every)| Instant::now() + every);
            let written = piece.len() as u64;
            for occurrence in &plan.counting {
                self.counter(*occurrence, 0).passed += written;
            }
            if let Some((left, last, armed)) = &plan.last
                && *left == written
            {
                return self.finally(*last, armed, about).await;
            }
        }
        if self.dead {
            self.shared.stats.count(|stats| stats.swallowed += bytes.len() as u64);
        }
        Ok(())
    }

    /// Handles the end of data from the other side. Passes it on, unless a stall holds it back.
    pub(super) async fn finish(&mut self, about: Option<&Request>) -> Result<(), End> {
        loop {
            let stalled = self.dead || self.plan(about).stall.is_some();
            match self.direction {
                // The client is gone, so there is nothing to stall.
                _ if !stalled => break,
                Direction::ToEngine => return Err(End::Close),
                _ if self.dead => std::future::pending::<()>().await,
                _ => self.wait().await?,
            }
        }
        self.shut().await
    }

    /// Ends the data to this side.
    pub(super) async fn shut(&mut self) -> Result<(), End> {
        self.writer.shutdown().await.map_err(|_| End::Close)
    }

    /// Handles a change of the faults while there was no data: some take effect without any.
    pub(super) async fn idle(&mut self, about: Option<&Request>) -> Result<(), End> {
        let due = |armed: &Armed| matches!(armed.fault.kind, FaultKind::Cut { after: 0, .. });
        let all = self.faults.borrow_and_update().clone();
        for armed in all.iter().filter(|armed| due(armed)) {
            if armed.concerns(self.link, self.direction, about) && armed.engage(self.link, about) {
                let FaultKind::Cut { reset, .. } = armed.fault.kind else { continue };
                return self.finally(Last::End(how(reset)), armed, about).await;
            }
        }
        Ok(())
    }

    fn plan(&mut self, about: Option<&Request>) -> Plan {
        let mut plan = Plan::default();
        let all = self.faults.borrow_and_update().clone();
        self.counters.retain(|occurrence, _| {
            occurrence.request.is_none_or(|number| about.is_some_and(|request| request.number == number))
                && all.iter().any(|armed| armed.id == occurrence.fault)
        });
        for armed in all.iter() {
            let wanted = match armed.fault.kind {
                FaultKind::Cut { .. }
                | FaultKind::Stall { .. }
                | FaultKind::Delay(_)
                | FaultKind::Drip { .. }
                | FaultKind::Corrupt { .. } => true,
                // Answers of HTTP are truncated before.
                FaultKind::Truncate { .. } => about.is_none(),
                _ => false,
            };
            if wanted && armed.concerns(self.link, self.direction, about) && armed.engage(self.link, about) {
                self.plan_for(armed, about, &mut plan);
            }
        }
        plan
    }

    fn plan_for(&mut self, armed: &Arc<Armed>, about: Option<&Request>, plan: &mut Plan) {
        let occurrence = armed.occurrence(about);
        match armed.fault.kind {
            FaultKind::Stall { swallow } => {
                let swallow = swallow || plan.stall.as_ref().is_some_and(|(_, swallow)| *swallow);
                plan.stall = Some((armed.clone(), swallow));
            }
            FaultKind::Delay(delay) => {
                plan.delay += delay;
                plan.slowing.push(armed.clone());
            }
            FaultKind::Drip { bytes, every } => {
                let (most, pause) = plan.drip.unwrap_or((u64::MAX, Duration::ZERO));
                plan.drip = Some((most.min(bytes.max(1)), pause.max(every)));
                plan.slowing.push(armed.clone());
            }
            FaultKind::Corrupt { .. } => plan.corrupting.push(armed.clone()),
            FaultKind::Cut { after, reset } => {
                self.plan_last(armed, occurrence, after, Last::End(how(reset)), plan);
            }
            FaultKind::Truncate { after } => self.plan_last(armed, occurrence, after, Last::Shut, plan),
            _ => {}
        }
    }

    fn plan_last(
        &mut self,
        armed: &Arc<Armed>,
        occurrence: Occurrence,
        after: u64,
        last: Last,
        plan: &mut Plan,
    ) {
        plan.counting.push(occurrence);
        let left = after.saturating_sub(self.counter(occurrence, 0).passed);
        if plan.last.as_ref().is_none_or(|(other, ..)| left < *other) {
            plan.last = Some((left, last, armed.clone()));
        }
    }

    fn counter(&mut self, occurrence: Occurrence, seed: u64) -> &mut Counter {
        self.counters.entry(occurrence).or_insert_with(|| Counter {
            passed: 0,
            changed: 0,
            random: fastrand::Rng::with_seed(seed),
            hit: false,
        })
    }

    /// Counts an occurrence's effect, once.
    fn hit(&mut self, armed: &Armed, about: Option<&Request>) {
        let counter = self.counter(armed.occurrence(about), 0);
        if !std::mem::replace(&mut counter.hit, true) {
            self.shared.stats.count(|stats| stats.hit(armed.id));
        }
    }

    fn corrupt(&mut self, armed: &Armed, about: Option<&Request>, piece: &mut [u8]) {
        let FaultKind::Corrupt { after, count, seed } = armed.fault.kind else { return };
        let counter = self.counter(armed.occurrence(about), seed);
        let before = counter.changed;
        for byte in piece {
            counter.passed += 1;
            if counter.passed > after && counter.changed < count {
                *byte = counter.random.u8(0x80..);
                counter.changed += 1;
            }
        }
        if counter.changed > before {
            self.hit(armed, about);
        }
    }

    /// Waits for a change of the faults, because nothing may pass.
    async fn wait(&mut self) -> Result<(), End> {
        let to_client = self.direction == Direction::ToClient;
        if to_client && self.link.client_gone.load(Ordering::Relaxed) {
            return Err(End::Close);
        }
        let _stalled = Stalled::new(self.shared, to_client.then_some(self.link));
        self.faults.changed().await.map_err(|_| End::Close)
    }

    async fn write(&mut self, mut piece: &[u8], about: Option<&Request>) -> Result<(), End> {
        while !piece.is_empty() {
            let written = tokio::select! {
                written = self.writer.write(piece) => written.map_err(|_| End::Close)?,
                // The other side may not be reading.
                _ = self.faults.changed() => {
                    self.idle(about).await?;
                    continue;
                }
            };
            if written == 0 {
                return Err(End::Close);
            }
            piece = &piece[written..];
            let written = written as u64;
            self.shared.stats.count(|stats| match self.direction {
                Direction::ToEngine => stats.to_engine += written,
                _ => stats.to_client += written,
            });
        }
        Ok(())
    }

    async fn finally(&mut self, last: Last, armed: &Armed, about: Option<&Request>) -> Result<(), End> {
        self.hit(armed, about);
        match last {
            Last::End(end) => Err(end),
            Last::Shut => {
                self.shut().await?;
                Err(End::Close)
            }
        }
    }
}

fn how(reset: bool) -> End {
    if reset { End::Reset } else { End::Close }
}

/// Counts a direction that is held back, for as long as it lives.
struct Stalled<'a> {
    shared: &'a Shared,
    silent: Option<&'a Link>,
}

impl<'a> Stalled<'a> {
    fn new(shared: &'a Shared, silent: Option<&'a Link>) -> Self {
        if let Some(link) = silent {
            link.add_silence();
        }
        shared.stats.count(|stats| stats.stalled += 1);
        Self { shared, silent }
    }
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.silent {
            link.end_silence();
        }
        self.shared.stats.count(|stats| stats.stalled -= 1);
    }
}
