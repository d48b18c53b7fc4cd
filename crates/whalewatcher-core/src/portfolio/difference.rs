//! The events that turn one portfolio into another.

use std::sync::Arc;

use crate::model::{Container, EventKind};
use crate::portfolio::Portfolio;

/// Returns the fewest events that, applied to `before`, make it equal to `after`: exits first, then what is new or
/// changed.
///
/// ```
/// use whalewatcher_core::{Container, Portfolio, difference};
///
/// let before = Portfolio::from_iter([Container::new("1", "web", 4711)]);
/// let after = Portfolio::from_iter([Container::new("1", "web", 4800)]);
/// let names: Vec<_> = difference(&before, &after).iter().map(|event| event.name()).collect();
/// assert_eq!(names, ["exited", "started"]);
/// ```
#[must_use]
pub fn difference(before: &Portfolio, after: &Portfolio) -> Vec<EventKind> {
    let mut events = Vec::new();
    for container in before.containers().filter(|container| after.by_id(container.id()).is_none()) {
        events.push(EventKind::Exited { container: container.clone(), code: None });
    }
    for container in after.containers() {
        match before.by_id(container.id()) {
            Some(known) => events.extend(steps(known, container)),
            None => events.push(EventKind::Started(container.clone())),
        }
    }
    events
}

/// Returns the events that turn the container `known` into `now`, which has the same ID: none if they are
/// equal, an exit and a start if they are different lives.
pub(crate) fn steps(known: &Arc<Container>, now: &Arc<Container>) -> impl Iterator<Item = EventKind> + use<> {
    let mut events = [None, None];
    if known.life() != now.life() {
        events = [
            Some(EventKind::Exited { container: known.clone(), code: None }),
            Some(EventKind::Started(now.clone())),
        ];
    } else {
        let pause_changed = known.paused() != now.paused();
        let in_between = if pause_changed {
            Arc::new(Container::clone(now).with_paused(known.paused()))
        } else {
            now.clone()
        };
        if in_between != *known {
            events[0] = Some(EventKind::Updated { container: in_between, was: known.clone() });
        }
        events[1] = pause_changed.then(|| match now.paused() {
            true => EventKind::Paused(now.clone()),
            false => EventKind::Unpaused(now.clone()),
        });
    }
    events.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Labels;

    fn names(events: &[EventKind]) -> Vec<&'static str> {
        events.iter().map(EventKind::name).collect()
    }

    #[test]
    fn equal_portfolios_have_no_difference() {
        let one = Portfolio::from_iter([Container::new("1", "a", 1)]);
        let other = Portfolio::from_iter([Container::new("1", "a", 1)]);
        assert!(difference(&one, &other).is_empty());
    }

    #[test]
    fn a_replaced_life_is_exited_and_then_started() {
        let before = Portfolio::from_iter([Container::new("1", "a", 1)]);
        let after = Portfolio::from_iter([Container::new("1", "a", 2)]);
        assert_eq!(names(&difference(&before, &after)), ["exited", "started"]);
    }

    #[test]
    fn a_rename_and_a_pause_are_two_events() {
        let before = Portfolio::from_iter([Container::new("1", "a", 1)]);
        let after = Portfolio::from_iter([Container::new("1", "b", 1).with_paused(true)]);
        let events = difference(&before, &after);
        assert_eq!(names(&events), ["updated", "paused"]);
        assert!(!events[0].container().unwrap().paused(), "not paused yet when renamed");
    }

    prop_compose! {
        fn portfolios()(containers in proptest::collection::btree_map(0..8_u8, (0..3_u8, 1..3_u32, any::<bool>()), 0..8))
            -> Portfolio {
            Portfolio::from_iter(containers.into_iter().map(|(id, (name, pid, paused))| {
                Container::new(id.to_string(), name.to_string(), pid).with_paused(paused)
            }))
        }
    }

    #[test]
    fn a_change_of_labels_is_an_update() {
        let labelled = |value| Container::new("1", "a", 1).with_labels(Labels::from_iter([("tier", value)]));
        let (before, after) =
            (Portfolio::from_iter([labelled("front")]), Portfolio::from_iter([labelled("back")]));
        let reported = difference(&before, &after);
        let [EventKind::Updated { container, was }] = &reported[..] else { panic!("{reported:?}") };
        assert_eq!((&**container, &**was), (&labelled("back"), &labelled("front")));
    }

    proptest! {
        #[test]
        fn the_difference_applied_to_the_former_gives_the_latter(before in portfolios(), after in portfolios()) {
            let mut folded = before.clone();
            for event in difference(&before, &after) {
                folded.apply(&event);
            }
            prop_assert_eq!(folded, after);
        }
    }
}
