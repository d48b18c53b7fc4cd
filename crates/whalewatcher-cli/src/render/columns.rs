//! The columns that tables and event rows share: names, pods and short IDs, and how they divide the width of a terminal.

use std::ops::RangeInclusive;

use whalewatcher_core::{Container, Printable};

/// How many characters of an ID are shown, as engines' own programs do.
pub(crate) const SHORT_ID: usize = 12;
const SANDBOX: &str = "(sandbox)";

/// How wide a column of names is at most, even where there is no terminal to be too narrow for it: one monstrous name must
/// not push the rest of all lines out of sight.
pub(crate) const WIDEST: usize = 128;

/// Before pods get shorter than that, other columns are left out.
const SHORTEST_POD: usize = 16;

/// How wide the columns of names and of pods are that have so much room together: as wide as their contents, else with
/// names cut to the least that they may have, then with pods cut; `None` where that does not do. Without pods the names have
/// it all.
pub(crate) fn share(
    room: usize,
    gap: usize,
    name: RangeInclusive<usize>,
    pod: Option<usize>,
) -> Option<(usize, Option<usize>)> {
    let (least, most) = name.into_inner();
    let Some(pod) = pod else { return (room >= least).then_some((most.min(room), None)) };
    let for_pods = room.checked_sub(least + gap).filter(|room| *room >= pod.min(SHORTEST_POD))?;
    let pod = pod.min(for_pods);
    Some((most.min(room - gap - pod), Some(pod)))
}

/// What it is called: a sandbox has no name but its ID, which would say nothing here.
pub(crate) fn display_name(container: &Container) -> String {
    if container.is_sandbox() && container.name() == container.id().as_str() {
        return SANDBOX.to_owned();
    }
    Printable(container.name()).to_string()
}

/// The pod it belongs to, or nothing.
pub(crate) fn pod(container: &Container) -> String {
    container.pod().map(|pod| pod.to_string()).unwrap_or_default()
}

/// The beginning of an ID, enough to name it: without the namespace, which the name tells as well.
pub(crate) fn short_id(id: &str) -> String {
    let id = id.rsplit_once('/').map_or(id, |(_, id)| id);
    Printable(&id.chars().take(SHORT_ID).collect::<String>()).to_string()
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::{Labels, SANDBOX_LABEL};

    use super::*;

    #[test]
    fn names_and_pods_share_what_there_is() {
        let share = |room, pod| share(room, 2, 5..=20, pod);
        assert_eq!(share(usize::MAX, Some(30)), Some((20, Some(30))));
        assert_eq!(share(52, Some(30)), Some((20, Some(30))));
        assert_eq!(share(51, Some(30)), Some((19, Some(30))), "the names are cut");
        assert_eq!(share(37, Some(30)), Some((5, Some(30))));
        assert_eq!(share(36, Some(30)), Some((5, Some(29))), "then the pods");
        assert_eq!(share(23, Some(30)), Some((5, Some(16))));
        assert_eq!(share(22, Some(30)), None);
        assert_eq!((share(9, Some(3)), share(10, Some(3))), (None, Some((5, Some(3)))));
        assert_eq!(
            (share(30, None), share(7, None), share(4, None)),
            (Some((20, None)), Some((7, None)), None)
        );
    }

    #[test]
    fn a_sandbox_that_has_a_name_keeps_it() {
        let named = Container::new("1", "pause", 1).with_labels(Labels::from_iter([(SANDBOX_LABEL, "")]));
        assert_eq!(display_name(&named), "pause");
        assert_eq!(display_name(&Container::new("1", "1", 1)), "1");
    }

    #[test]
    fn a_short_id_has_no_namespace() {
        assert_eq!(short_id("0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("plugins.moby/0123456789abcdef"), "0123456789ab");
    }
}
