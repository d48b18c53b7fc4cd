//! What watching does to a real engine: what it is asked, and for how long it computes, for many short lives.

pub(crate) mod docker;
pub(crate) mod grpc;

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::timeout;
use whalewatcher_core::adapter::EngineClient;
use whalewatcher_core::{EventKind, Subscription, WatchHandle, watch};

use crate::bench::Effort;

/// How many containers run all the time.
const POPULATION: usize = 50;
/// How many lives there are in all rounds together, for each of who watches: usually, and if all is to be large.
const LIVES: [usize; 2] = [200, 1000];
/// How long to wait for what should have been told by now.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Observer {
    Nobody,
    We,
    Follower,
}

fn lives_a_round(effort: &Effort) -> usize {
    LIVES[usize::from(effort.large)].div_ceil(effort.rounds)
}

/// Measures what lives of these numbers cost, for each of these observers in each round, and which of them comes first in
/// turn. A first round, in which all is cold, does not count. Costs are in the order of the observers.
async fn in_turn<T: Copy, const N: usize>(
    effort: &Effort,
    observers: [Observer; N],
    measure: impl AsyncFn(Range<usize>, Observer) -> Result<T>,
) -> Result<Vec<[T; N]>> {
    let lives = lives_a_round(effort);
    let mut number = POPULATION;
    let mut rounds = Vec::new();
    for round in 0..=effort.rounds {
        let mut costs = [None; N];
        for turn in 0..N {
            let who = (round + turn) % N;
            costs[who] = Some(measure(number..number + lives, observers[who]).await?);
            number += lives;
        }
        let costs: Vec<T> = costs.into_iter().flatten().collect();
        let costs: Result<[T; N], _> = costs.try_into();
        ensure!(costs.is_ok(), "not everybody had a turn");
        rounds.extend(costs.ok().filter(|_| round > 0));
    }
    Ok(rounds)
}

async fn watch_until_ready<C: EngineClient>(client: C) -> Result<WatchHandle<C>> {
    let watching = watch(client);
    watching.ready().await?;
    Ok(watching)
}

/// Waits until so many lives were told to be over.
async fn reported_of_exits(changes: &mut Subscription, lives: usize) -> Result<()> {
    let telling = async {
        let mut exits = 0;
        while exits < lives {
            let event = changes.next().await.context("the subscription ended")?;
            exits += usize::from(matches!(event.kind, EventKind::Exited { .. }));
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, telling).await.context("not every end was reported")?
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[tokio::test]
    async fn each_comes_first_in_turn_and_is_reported_in_its_place() {
        let effort = Effort { rounds: 3, large: false };
        let seen = RefCell::new(Vec::new());
        let observers = [Observer::Nobody, Observer::We, Observer::Follower];
        let rounds = in_turn(&effort, observers, async |numbers, observer| {
            seen.borrow_mut().push(numbers.clone());
            Ok((observer, numbers.start))
        });
        let rounds = rounds.await.unwrap();
        assert_eq!(rounds.len(), 3);
        assert!(rounds.iter().all(|round| round.map(|(observer, _)| observer) == observers), "{rounds:?}");
        let first = |round: &[(Observer, usize); 3]| {
            round.iter().min_by_key(|(_, number)| *number).map(|first| first.0)
        };
        let firsts: Vec<_> = rounds.iter().filter_map(first).collect();
        assert_eq!(firsts, [Observer::We, Observer::Follower, Observer::Nobody]);
        // No number comes twice, for it names a container.
        let seen = seen.into_inner();
        assert!(seen.windows(2).all(|two| two[0].end == two[1].start && two[0].len() == 67), "{seen:?}");
    }
}
