//! The control groups of a process, as `/proc/PID/cgroup` contains them.

/// What the kernel appends to the path of a control group that was removed.
const DELETED: &str = " (deleted)";

/// A process' place in one hierarchy of control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    /// The hierarchy's number: 0 is version 2.
    pub(crate) hierarchy: u32,
    pub(crate) path: String,
}

/// Decodes `/proc/PID/cgroup`; what is malformed is skipped.
pub(crate) fn memberships(text: &str) -> Vec<Membership> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':');
        let hierarchy = fields.next()?.parse().ok()?;
        let path = fields.nth(1)?;
        let path = path.strip_suffix(DELETED).unwrap_or(path);
        Some(Membership { hierarchy, path: path.to_owned() })
    };
    text.lines().filter_map(line).collect()
}

/// The names on a path, innermost first, each with the path up to its end.
pub(crate) fn names(path: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let upto = rest.trim_end_matches('/');
        let (parent, name) = upto.rsplit_once('/')?;
        rest = parent;
        Some((name, upto))
    })
}

/// The IDs that the name of a control group may contain: the name itself, as the cgroupfs driver has it, and
/// what follows a prefix, as in `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID` and
/// `system.slice:nerdctl:ID`.
pub(crate) fn ids(name: &str) -> impl Iterator<Item = &str> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let suffixes = name.match_indices(['-', ':']).map(|(at, _)| &name[at + 1..]);
    std::iter::once(name).chain(suffixes).filter(|id| !id.is_empty())
}

/// Whether a path is that of a control group or of one in it.
pub(crate) fn is_within(path: &str, group: &str) -> bool {
    path.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f29f3a1a2a4d3b0c9b8d7e6f5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a6";

    #[test]
    fn both_versions_are_decoded_and_malformed_lines_skipped() {
        let text = "12:pids:/docker/a\n\nx\n1:name=systemd:/system.slice:nerdctl:b\n0::/c (deleted)\n4294967296:x:/d\n3:y\n";
        let decoded: Vec<_> =
            memberships(text).into_iter().map(|place| (place.hierarchy, place.path)).collect();
        let expected = [(12, "/docker/a"), (1, "/system.slice:nerdctl:b"), (0, "/c")];
        assert_eq!(decoded, expected.map(|(hierarchy, path)| (hierarchy, path.to_owned())));
    }

    #[test]
    fn names_come_from_the_inside() {
        let found = |path| names(path).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(found("/docker/a/init.scope"), ["init.scope", "a", "docker"]);
        assert_eq!(found("/"), [""; 0]);
        assert_eq!(found("/../../docker/a"), ["a", "docker", "..", ".."]);
        assert_eq!(names("/a/b/").map(|(_, upto)| upto).collect::<Vec<_>>(), ["/a/b", "/a"]);
    }

    #[test]
    fn every_engine_names_its_groups_by_the_id() {
        for name in [
            ID.to_owned(),
            format!("docker-{ID}.scope"),
            format!("cri-containerd-{ID}.scope"),
            format!("crio-{ID}.scope"),
            format!("crio-{ID}"),
            format!("libpod-{ID}.scope"),
            format!("libpod-{ID}"),
            format!("nerdctl-{ID}.scope"),
            format!("system.slice:nerdctl:{ID}"),
        ] {
            assert!(ids(&name).any(|id| id == ID), "{name}");
        }
        assert_eq!(ids("a-b-c.scope").collect::<Vec<_>>(), ["a-b-c", "b-c", "c"]);
        assert_eq!(ids("a-").collect::<Vec<_>>(), ["a-"]);
    }

    #[test]
    fn a_longer_name_is_not_within() {
        assert!(is_within("/docker/a", "/docker/a") && is_within("/docker/a/b", "/docker/a"));
        assert!(!is_within("/docker/ab", "/docker/a") && !is_within("/docker", "/docker/a"));
    }
}
