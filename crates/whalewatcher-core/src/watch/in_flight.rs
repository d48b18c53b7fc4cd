//! The inspections in flight, and when there is room for more.
//!
//! Slow inspections must not hold up others: once one is slow, another may begin in its place, up to a limit
//! of all. Retries have a share of their own, so that a container whose inspections hang does not delay new
//! ones.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::ContainerId;
use crate::reconciler::Room;

/// After how long an inspection is slow.
const SLOW: Duration = Duration::from_millis(500);

/// How many times the limit may be in flight if the others are slow.
const WITH_SLOW: usize = 4;

/// The inspections in flight.
pub(crate) struct InFlight {
    /// How many may be in flight that are not slow.
    limit: usize,
    /// In the order in which they began.
    all: VecDeque<Inspection>,
    retries: usize,
}

struct Inspection {
    id: ContainerId,
    since: Instant,
    is_retry: bool,
}

impl InFlight {
    /// Allows `limit` inspections at once, and four times as many if the others are slow.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), all: VecDeque::new(), retries: 0 }
    }

    /// Records that an inspection began.
    pub(crate) fn begin(&mut self, id: ContainerId, is_retry: bool, since: Instant) {
        self.retries += usize::from(is_retry);
        self.all.push_back(Inspection { id, since, is_retry });
    }

    /// Records that an inspection ended.
    pub(crate) fn end(&mut self, id: &ContainerId) {
        let nth = self.all.iter().position(|inspection| inspection.id == *id);
        if let Some(inspection) = nth.and_then(|nth| self.all.remove(nth)) {
            self.retries -= usize::from(inspection.is_retry);
        }
    }

    /// Which inspections may begin now.
    pub(crate) fn room(&self, now: Instant) -> Room {
        let slow = self.all.partition_point(|inspection| inspection.since + SLOW <= now);
        let is_full = self.all.len() >= self.limit.saturating_mul(WITH_SLOW);
        if is_full || self.all.len() - slow >= self.limit {
            return Room::None;
        }
        match self.retries < (self.limit / 4).max(1) {
            true => Room::Any,
            false => Room::Fresh,
        }
    }

    /// When there will be room even if none ends, if there is none now.
    pub(crate) fn next_room(&self, now: Instant) -> Option<Instant> {
        if self.room(now) != Room::None || self.all.len() >= self.limit.saturating_mul(WITH_SLOW) {
            return None;
        }
        self.all.iter().map(|inspection| inspection.since + SLOW).find(|slow| *slow > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inspections of so many containers, the first `retries` of which are retries.
    fn with(limit: usize, now: Instant, fresh: usize, retries: usize) -> InFlight {
        let mut in_flight = InFlight::new(limit);
        for nth in 0..fresh + retries {
            in_flight.begin(nth.to_string().into(), nth < retries, now);
        }
        in_flight
    }

    #[tokio::test(start_paused = true)]
    async fn retries_have_a_quarter_and_at_least_one() {
        let now = Instant::now();
        for (limit, fresh, retries, room) in [
            (16, 0, 3, Room::Any),
            (16, 0, 4, Room::Fresh),
            (16, 11, 4, Room::Fresh),
            (16, 12, 4, Room::None),
            (16, 15, 0, Room::Any),
            (16, 16, 0, Room::None),
            (1, 0, 0, Room::Any),
            (1, 0, 1, Room::None),
            (0, 0, 0, Room::Any),
        ] {
            assert_eq!(with(limit, now, fresh, retries).room(now), room, "{fresh} + {retries} of {limit}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_inspections_make_room_up_to_the_limit_of_all() {
        let began = Instant::now();
        let mut in_flight = with(2, began, 2, 0);
        for nth in 0..3 {
            let now = began + SLOW * nth;
            assert_eq!((in_flight.room(now), in_flight.next_room(now)), (Room::None, Some(now + SLOW)));
            for id in ["a", "b"] {
                assert_eq!(in_flight.room(now + SLOW), Room::Any);
                in_flight.begin(format!("{id}{nth}").into(), false, now + SLOW);
            }
        }
        let now = began + SLOW * 9;
        assert_eq!((in_flight.room(now), in_flight.next_room(now)), (Room::None, None), "8 of 2");
        in_flight.end(&"a1".into());
        assert_eq!(in_flight.room(now), Room::Any);
    }
}
