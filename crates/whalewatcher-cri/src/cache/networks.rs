//! The networks of sandboxes. Their containers share them, but neither lists nor statuses of containers
//! contain the addresses.
//!
//! A container that is inspected while its sandbox is waits for the sandbox. If that fails, the container is
//! reported without a network, and inspected once more when the network is known.

use std::collections::{HashMap, HashSet};

use whalewatcher_core::{ContainerId, Network};

/// The networks of the sandboxes of a connection.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    /// `None` of a sandbox without one, such as on the host's network.
    known: HashMap<ContainerId, Option<Network>>,
    /// The sandboxes whose inspection is in flight.
    in_flight: HashSet<ContainerId>,
    /// The containers that were reported without a network, by their sandbox.
    lacking: HashMap<ContainerId, HashSet<ContainerId>>,
}

impl Networks {
    /// Records that the inspection of a sandbox begins.
    pub(crate) fn begin(&mut self, sandbox: &ContainerId) {
        self.in_flight.insert(sandbox.clone());
    }

    /// Records that the inspection of a sandbox is over.
    pub(crate) fn end(&mut self, sandbox: &ContainerId) {
        self.in_flight.remove(sandbox);
    }

    /// Returns whether the network of a sandbox is likely to be known soon.
    pub(crate) fn is_awaited(&self, sandbox: &ContainerId) -> bool {
        self.in_flight.contains(sandbox) && !self.known.contains_key(sandbox)
    }

    /// Records what the status of a sandbox contains. Returns the containers that were reported without it.
    pub(crate) fn record(&mut self, sandbox: &ContainerId, network: Option<Network>) -> Vec<ContainerId> {
        let lacking = self.lacking.remove(sandbox).unwrap_or_default();
        let lacking = lacking.into_iter().filter(|_| network.is_some()).collect();
        self.known.insert(sandbox.clone(), network);
        lacking
    }

    /// Records what an event contains.
    pub(crate) fn learn(&mut self, sandbox: &ContainerId, network: Network) {
        self.known.insert(sandbox.clone(), Some(network));
    }

    /// Returns the network of a container, which is reported now.
    pub(crate) fn take(&mut self, sandbox: &ContainerId, container: &ContainerId) -> Option<Network> {
        if let Some(known) = self.known.get(sandbox) {
            return known.clone();
        }
        self.lacking.entry(sandbox.clone()).or_default().insert(container.clone());
        None
    }

    /// Removes the sandboxes and the containers for which these return false.
    pub(crate) fn retain(
        &mut self,
        is_sandbox: impl Fn(&ContainerId) -> bool,
        is_container: impl Fn(&ContainerId) -> bool,
    ) {
        self.known.retain(|id, _| is_sandbox(id));
        self.lacking.retain(|_, containers| {
            containers.retain(&is_container);
            !containers.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: &str) -> ContainerId {
        id.into()
    }

    fn network() -> Option<Network> {
        Some(Network::new("").with_ipv4("10.1.2.3".parse().ok()))
    }

    #[test]
    fn containers_that_lack_a_network_are_returned_once_it_is_known() {
        let mut networks = Networks::default();
        assert_eq!(networks.take(&id("s"), &id("a")), None);
        assert_eq!(networks.record(&id("s"), network()), [id("a")]);
        assert_eq!(networks.take(&id("s"), &id("b")), network());
        assert_eq!(networks.record(&id("s"), network()), []);
        assert_eq!(networks.take(&id("of-the-host"), &id("c")), None);
        assert_eq!(networks.record(&id("of-the-host"), None), [], "it was right");
        assert_eq!(networks.take(&id("of-the-host"), &id("c")), None);
        assert_eq!(networks.record(&id("of-the-host"), network()), []);
    }

    #[test]
    fn a_network_from_an_event_is_used_and_due_to_those_that_lack_it() {
        let mut networks = Networks::default();
        networks.take(&id("s"), &id("a"));
        networks.learn(&id("s"), network().unwrap());
        assert_eq!(networks.take(&id("s"), &id("b")), network());
        assert_eq!(networks.record(&id("s"), network()), [id("a")]);
    }

    #[test]
    fn a_network_is_awaited_while_its_sandbox_is_inspected() {
        let mut networks = Networks::default();
        assert!(!networks.is_awaited(&id("s")));
        networks.begin(&id("s"));
        assert!(networks.is_awaited(&id("s")));
        networks.end(&id("s"));
        assert!(!networks.is_awaited(&id("s")), "it failed");
        networks.begin(&id("s"));
        networks.record(&id("s"), None);
        assert!(!networks.is_awaited(&id("s")), "it is known");
    }

    #[test]
    fn nothing_is_kept_of_what_is_gone() {
        let mut networks = Networks::default();
        networks.record(&id("s"), network());
        networks.take(&id("other"), &id("a"));
        networks.retain(|sandbox| *sandbox == id("s"), |container| *container == id("a"));
        assert_eq!((networks.known.len(), networks.lacking.len()), (1, 1));
        networks.retain(|_| false, |_| false);
        assert!(networks.known.is_empty() && networks.lacking.is_empty());
    }
}
