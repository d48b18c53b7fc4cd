//! The name and version of a runtime, and what follows from them.

use whalewatcher_api::cri::v1::VersionResponse;

/// containerd's name in its version.
const CONTAINERD: &str = "containerd";

/// CRI-O's name in its version.
const CRI_O: &str = "cri-o";

/// cri-dockerd's name in its version.
const CRI_DOCKERD: &str = "docker";

/// The version that a runtime reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Runtime {
    name: String,
    version: String,
    api: String,
}

impl From<VersionResponse> for Runtime {
    fn from(reported: VersionResponse) -> Self {
        Self {
            name: reported.runtime_name,
            version: reported.runtime_version,
            api: reported.runtime_api_version,
        }
    }
}

impl Runtime {
    /// Returns the version as text.
    pub(crate) fn text(&self) -> String {
        format!("{} {} [API {}]", self.name, self.version, self.api)
    }

    /// Returns whether each subscriber receives all container events. containerd before 2.0 has one queue for
    /// all: what one subscriber reads, the kubelet does not receive. A containerd with an unknown version is
    /// assumed to be old.
    pub(crate) fn shares_events(&self) -> bool {
        !self.is_containerd() || self.is_2_or_later()
    }

    /// Returns whether it is containerd.
    pub(crate) fn is_containerd(&self) -> bool {
        self.is(CONTAINERD)
    }

    /// Returns whether a ready sandbox without a PID has no process. So it is with CRI-O, which by default
    /// runs no infra container where it needs none (`drop_infra_ctr`). With other runtimes the PID is
    /// unknown.
    pub(crate) fn makes_sandboxes_without_process(&self) -> bool {
        self.is(CRI_O)
    }

    /// Returns what to do about missing PIDs, to end an error message; may be empty.
    pub(crate) fn remedy_for_missing_pids(&self) -> &'static str {
        if self.is(CRI_DOCKERD) { ": cri-dockerd reports none; watch Docker itself" } else { "" }
    }

    fn is(&self, name: &str) -> bool {
        self.name.trim().eq_ignore_ascii_case(name)
    }

    fn is_2_or_later(&self) -> bool {
        let version = self.version.trim();
        let version = version.strip_prefix(['v', 'V']).unwrap_or(version);
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
        let (numbers, suffix) = version.split_at(end);
        let mut numbers = numbers.split('.').map(|number| number.parse::<u32>().ok());
        let mut number = || numbers.next().flatten();
        match (number(), number(), number()) {
            // Anything else is not a version.
            (Some(_), None, _) | (None, ..) => false,
            // A pre-release of 2.0.0 is not 2.0 yet.
            (Some(2), Some(0), None | Some(0)) => {
                !["-alpha", "-beta", "-rc", "~"].iter().any(|before| suffix.starts_with(before))
            }
            (Some(major), ..) => major >= 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime(name: &str, version: &str) -> Runtime {
        Runtime { name: name.into(), version: version.into(), api: "v1".into() }
    }

    #[test]
    fn the_text_has_name_version_and_api() {
        let reported = VersionResponse {
            version: "0.1.0".into(),
            runtime_name: "containerd".into(),
            runtime_version: "v2.1.9".into(),
            runtime_api_version: "v1".into(),
        };
        assert_eq!(Runtime::from(reported).text(), "containerd v2.1.9 [API v1]");
    }

    #[test]
    fn only_a_containerd_from_2_0_on_shares_its_events() {
        for version in [
            "v2.0.0",
            "2.0.1",
            "2.1.9~ds1",
            "v2.1.9",
            "v2.0.0-k3s1",
            "v2.1.0-rc.1",
            "10.0",
            "v2.0",
            "V3.0.0+x",
        ] {
            assert!(runtime("containerd", version).shares_events(), "{version}");
            assert!(runtime(" Containerd", version).shares_events(), "{version}");
        }
        for version in [
            "v1.7.24",
            "1.7.24~ds1",
            "1.6.20",
            "v1.7.23-k3s2",
            "v2.0.0-rc.3",
            "2.0.0~rc.1",
            "v2.0.0-beta.1",
            "",
            "v",
            "2",
            "main",
            "unknown",
            "abcdef2.0",
            "v-2.0.0",
            "99999999999.0",
            "2.x",
            "v2-dev",
            "0.2.0",
        ] {
            assert!(!runtime("containerd", version).shares_events(), "{version}");
            assert!(!runtime("CONTAINERD ", version).shares_events(), "{version}");
        }
    }

    #[test]
    fn other_runtimes_share_their_events() {
        for (name, version) in
            [("cri-o", "1.30.0"), ("docker", "20.10"), ("", ""), ("containerd-like", "1.0")]
        {
            let runtime = runtime(name, version);
            assert!(runtime.shares_events() && !runtime.is_containerd(), "{name}");
        }
    }
}
