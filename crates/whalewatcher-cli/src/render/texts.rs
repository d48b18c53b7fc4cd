//! The texts of names, pods and IDs in tables and event rows, and how the first two divide the width of a row.

use std::ops::RangeInclusive;

use whalewatcher_core::{Container, Printable};

pub(crate) use crate::selection::SHORT_ID;
use crate::selection::is_hash;

const SANDBOX: &str = "(sandbox)";

/// The greatest width of a column of names, also without a terminal: one huge name must not push other
/// columns out of sight.
pub(crate) const WIDEST: usize = 128;

/// The width of pods below which other columns are dropped.
const SHORTEST_POD: usize = 16;

/// Returns the widths of names and pods that share `room` cells: their full width, else with names cut down
/// to the start of their range, then with pods cut. `None` if `room` is too small for that. Without pods,
/// names have all of it.
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

/// Returns the name to show: a sandbox without a name is `(sandbox)`, since its ID has a column already.
pub(crate) fn display_name(container: &Container) -> String {
    if container.is_sandbox() && container.name() == container.id().as_str() {
        return SANDBOX.to_owned();
    }
    Printable(container.name()).to_string()
}

/// Returns a container's pod as `namespace/name`, else an empty text.
pub(crate) fn pod(container: &Container) -> String {
    container.pod().map(|pod| pod.to_string()).unwrap_or_default()
}

/// Returns the first characters of an ID, without containerd's namespace, which is part of the name too.
pub(crate) fn short_id(id: &str) -> String {
    let id = id.rsplit_once('/').map_or(id, |(_, id)| id);
    Printable(&id.chars().take(SHORT_ID).collect::<String>()).to_string()
}

/// Returns an ID by which other programs find the container: of a hash the first characters, else all of it,
/// without containerd's namespace.
pub(crate) fn id_for_programs(id: &str) -> String {
    let id = id.rsplit_once('/').map_or(id, |(_, id)| id);
    if is_hash(id) { short_id(id) } else { Printable(id).to_string() }
}

#[cfg(test)]
mod tests {
    use whalewatcher_core::{Labels, SANDBOX_LABEL};

    use super::*;

    #[test]
    fn names_are_cut_before_pods() {
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
    fn sandboxes_with_a_name_keep_it() {
        let named = Container::new("1", "pause", 1).with_labels(Labels::from_iter([(SANDBOX_LABEL, "")]));
        assert_eq!(display_name(&named), "pause");
        assert_eq!(display_name(&Container::new("1", "1", 1)), "1");
    }

    #[test]
    fn ids_for_programs_are_cut_only_if_they_are_hashes() {
        assert_eq!(id_for_programs(&"0123456789abcdef".repeat(4)), "0123456789ab");
        assert_eq!(id_for_programs("plugins.moby/a-name-of-containerd"), "a-name-of-containerd");
    }

    #[test]
    fn short_ids_have_no_namespace() {
        assert_eq!(short_id("0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("plugins.moby/0123456789abcdef"), "0123456789ab");
    }
}
