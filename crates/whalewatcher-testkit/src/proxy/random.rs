//! Faults from a seed, for soak tests.

use std::time::Duration;

use super::fault::{Fault, FaultKind, Refusal};

/// Generates faults, the same ones from the same seed and weights.
///
/// A client can detect each and recover from it: it takes effect a few times at most, or is to be
/// [lifted](super::Proxy::lift) after a while. Bytes are replaced such that no text becomes other text.
#[derive(Clone, Debug)]
pub struct RandomFaults {
    random: fastrand::Rng,
    weights: Vec<(Family, u32)>,
    requests: Vec<String>,
}

/// The kinds that [`RandomFaults`] chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Family {
    /// Connections are closed or reset, at once or later.
    Cut,
    /// Nothing passes while it lasts.
    Stall,
    /// Bytes are dropped, and connections stay silent.
    Swallow,
    /// New connections are not answered.
    BlackHole,
    /// Each piece is delayed a little.
    Delay,
    /// Bytes pass slowly.
    Drip,
    /// Answers end early.
    Truncate,
    /// Bytes are replaced.
    Corrupt,
    /// The proxy answers 500.
    Answer,
    /// Connections are refused.
    Refuse,
    /// The socket file is replaced.
    ReplaceSocket,
    /// Events are dropped.
    DropEvents,
    /// Events are sent twice.
    RepeatEvents,
    /// Events are sent late.
    DelayEvents,
}

impl Family {
    /// All families.
    pub const ALL: [Self; 14] = [
        Self::Cut,
        Self::Stall,
        Self::Swallow,
        Self::BlackHole,
        Self::Delay,
        Self::Drip,
        Self::Truncate,
        Self::Corrupt,
        Self::Answer,
        Self::Refuse,
        Self::ReplaceSocket,
        Self::DropEvents,
        Self::RepeatEvents,
        Self::DelayEvents,
    ];
}

impl RandomFaults {
    /// Creates a generator with equal weights, and the requests of Docker's clients.
    pub fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            weights: Family::ALL.map(|family| (family, 1)).to_vec(),
            requests: ["/events", "/containers/json", "/json", "/_ping", "/version", "/info"]
                .map(Into::into)
                .to_vec(),
        }
    }

    /// Sets how often a family is chosen, relative to the others; 1 by default, and never with 0.
    #[must_use]
    pub fn weight(mut self, family: Family, weight: u32) -> Self {
        for entry in &mut self.weights {
            if entry.0 == family {
                entry.1 = weight;
            }
        }
        self
    }

    /// Limits every other fault to requests whose first line contains one of these. With none, as is right for
    /// protocols other than HTTP/1.1, all concern whole connections.
    #[must_use]
    pub fn requests<S: Into<String>>(mut self, requests: impl IntoIterator<Item = S>) -> Self {
        self.requests = requests.into_iter().map(Into::into).collect();
        self
    }

    /// Returns the next fault. With all weights 0, a cut.
    pub fn next_fault(&mut self) -> Fault {
        let fault = match self.family() {
            Family::Cut => {
                let (after, reset) = (self.bytes(), self.random.bool());
                Fault::new(FaultKind::Cut { after, reset }).times(1)
            }
            Family::Stall => Fault::stall(),
            Family::Swallow => Fault::swallow().times(1),
            Family::BlackHole => Fault::black_hole().times(self.random.u64(1..4)),
            Family::Delay => Fault::delay(self.pause(50)),
            Family::Drip => Fault::drip(self.random.u64(64..4096), self.pause(5)),
            Family::Truncate => Fault::truncate_after(self.bytes()).times(1),
            Family::Corrupt => {
                Fault::corrupt(self.bytes(), self.random.u64(1..8), self.random.u64(..)).times(1)
            }
            Family::Answer => {
                // Not 404, which would mean that a container is gone.
                let status = self.random.choice([500, 502, 503, 400]).unwrap_or(500);
                Fault::answer(status, r#"{"message":"a fault"}"#).times(self.random.u64(1..4))
            }
            Family::Refuse => {
                return Fault::refuse(if self.random.bool() { Refusal::Closed } else { Refusal::Gone });
            }
            Family::ReplaceSocket => return Fault::replace_socket(self.random.bool()),
            Family::DropEvents => return Fault::drop_events("").times(self.random.u64(1..4)),
            Family::RepeatEvents => return Fault::repeat_events("").times(self.random.u64(1..4)),
            Family::DelayEvents => return Fault::delay_events("").times(self.random.u64(1..4)),
        };
        match self.random.choice(&self.requests) {
            Some(request) if *fault.kind() != FaultKind::BlackHole && self.random.bool() => {
                fault.on_requests(request.clone())
            }
            _ => fault,
        }
    }

    fn family(&mut self) -> Family {
        let total: u32 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut place = self.random.u32(..total.max(1));
        for (family, weight) in &self.weights {
            if place < *weight {
                return *family;
            }
            place -= weight;
        }
        Family::Cut
    }

    /// Often 0, often small, rarely large.
    fn bytes(&mut self) -> u64 {
        let magnitude = self.random.u32(..14);
        self.random.u64(..1 << magnitude)
    }

    fn pause(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.u64(1..=most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_faults_and_all_of_them_can_be_replayed() {
        let (mut one, mut other) = (RandomFaults::new(1), RandomFaults::new(1));
        for _ in 0..1000 {
            let fault = one.next_fault();
            assert_eq!(fault, other.next_fault());
            assert_eq!(fault.to_string().parse::<Fault>().unwrap(), fault);
        }
    }

    #[test]
    fn weights_decide_how_often_a_family_is_chosen() {
        let mut faults = RandomFaults::new(2).requests([""; 0]);
        for family in Family::ALL {
            faults = faults.weight(family, u32::from(family == Family::Stall));
        }
        for _ in 0..100 {
            assert_eq!(faults.next_fault(), Fault::stall());
        }
    }
}
