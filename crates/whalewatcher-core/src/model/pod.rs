//! The Kubernetes pod that a container belongs to, by its labels.

use std::fmt;

use super::container::Container;
use super::escape::Printable;
use super::labels::Labels;

/// The label that names a container's pod; by having it, a container belongs to one.
pub const POD_NAME_LABEL: &str = "io.kubernetes.pod.name";
/// The label that tells the namespace of a container's pod.
pub const POD_NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
/// The label that tells the UID of a container's pod.
pub const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";
/// The label, whatever its value, that marks a pod's sandbox.
pub const SANDBOX_LABEL: &str = "io.kubernetes.sandbox";

/// Which pod a container belongs to, as its labels say.
///
/// One pod can follow another under the same namespace and name, and for a while both may be there: a UID is what only one
/// pod ever has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodIdentity<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) uid: &'a str,
}

impl<'a> PodIdentity<'a> {
    /// As these labels say; `None` if they name no pod.
    #[must_use]
    pub fn of(labels: &'a Labels) -> Option<Self> {
        let name = labels.get(POD_NAME_LABEL)?;
        let namespace = labels.get(POD_NAMESPACE_LABEL).unwrap_or_default();
        Some(Self { namespace, name, uid: labels.get(POD_UID_LABEL).unwrap_or_default() })
    }

    /// The pod's namespace, `""` if its label is missing.
    #[must_use]
    pub fn namespace(&self) -> &'a str {
        self.namespace
    }

    /// The pod's name, unique within its namespace among the pods that are not being replaced.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The pod's UID, `""` if its label is missing.
    #[must_use]
    pub fn uid(&self) -> &'a str {
        self.uid
    }
}

/// `NAMESPACE/NAME`, with control characters escaped.
impl fmt::Display for PodIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Printable(self.namespace), Printable(self.name))
    }
}

impl Container {
    /// The pod it belongs to, if to any.
    #[must_use]
    pub fn pod(&self) -> Option<PodIdentity<'_>> {
        PodIdentity::of(self.labels())
    }

    /// Whether it is the sandbox of a pod: what holds the pod's namespaces, and does nothing else.
    #[must_use]
    pub fn is_sandbox(&self) -> bool {
        self.labels().contains(SANDBOX_LABEL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_is_known_by_its_label_whatever_its_value() {
        for value in ["", "yes"] {
            let labels = Labels::from_iter([(SANDBOX_LABEL, value)]);
            assert!(Container::new("1", "1", 1).with_labels(labels).is_sandbox());
        }
        assert!(!Container::new("1", "1", 1).with_labels(labels("default", "web", "uid-1")).is_sandbox());
    }

    #[test]
    fn control_characters_in_a_pods_name_do_not_reach_a_terminal() {
        let labels = labels("a\u{1b}", "b\n", "");
        assert_eq!(PodIdentity::of(&labels).unwrap().to_string(), r"a\u{1b}/b\n");
    }

    fn labels(namespace: &str, name: &str, uid: &str) -> Labels {
        Labels::from_iter([(POD_NAMESPACE_LABEL, namespace), (POD_NAME_LABEL, name), (POD_UID_LABEL, uid)])
    }
}
