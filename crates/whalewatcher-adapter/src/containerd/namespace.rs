//! containerd's namespaces: which of them are watched, and how the IDs of containers distinguish them.

use std::sync::Arc;

use tonic::Request;
use tonic::metadata::MetadataValue;
use whalewatcher_core::{ContainerId, EngineError, ErrorKind, Printable};

/// The namespaces that are ignored by default: of Docker's and of Kubernetes' containers.
pub const IGNORED_BY_DEFAULT: [&str; 2] = ["moby", "k8s.io"];

/// The namespace whose containers have bare IDs and names.
const DEFAULT: &str = "default";

/// The longest identifier that containerd accepts, in bytes.
const MAX_IDENTIFIER: usize = 76;

/// Returns whether containerd accepts this as the name of a namespace or the ID of a container: letters and
/// digits, and single dots, underscores or dashes between them. Neither contains a slash.
#[must_use]
pub fn is_identifier(text: &str) -> bool {
    let mut parts = text.split(['.', '_', '-']);
    text.len() <= MAX_IDENTIFIER
        && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The namespaces whose containers are ignored; by default [those of Docker and Kubernetes](IGNORED_BY_DEFAULT).
#[derive(Clone, Debug)]
pub struct IgnoredNamespaces(Arc<[String]>);

impl Default for IgnoredNamespaces {
    fn default() -> Self {
        Self(IGNORED_BY_DEFAULT.map(str::to_owned).into())
    }
}

impl IgnoredNamespaces {
    /// Ignores these namespaces.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`] if no namespace can have one of these names.
    pub fn new(namespaces: Vec<String>) -> Result<Self, EngineError> {
        match namespaces.iter().find(|namespace| !is_identifier(namespace)) {
            Some(wrong) => Err(invalid_name(wrong)),
            None => Ok(Self(namespaces.into())),
        }
    }

    /// Returns whether the containers of this namespace are ignored.
    #[must_use]
    pub fn contains(&self, namespace: &str) -> bool {
        self.0.iter().any(|ignored| ignored == namespace)
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// The namespaces whose events are reported.
#[derive(Clone, Debug)]
pub enum Scope {
    /// All but these. A container's ID contains its namespace.
    AllBut(IgnoredNamespaces),
    /// This one alone. IDs are bare.
    Only(Arc<str>),
}

impl Scope {
    pub(super) fn only(namespace: &str) -> Result<Self, EngineError> {
        if is_identifier(namespace) { Ok(Self::Only(namespace.into())) } else { Err(invalid_name(namespace)) }
    }

    pub(super) fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::AllBut(ignored) => is_identifier(namespace) && !ignored.contains(namespace),
            Self::Only(only) => namespace == &**only,
        }
    }

    /// Whether the deletion of a task is reported as its end. Its exit may have happened before the
    /// subscription, and the service that created the task may still list it as running. Not used where a
    /// task may have a successor under the same ID.
    pub(super) fn reports_deleted(&self) -> bool {
        matches!(self, Self::Only(_))
    }

    /// The condition on an event's namespace, in containerd's filter language, to follow a condition on its topic.
    pub(super) fn filter(&self) -> String {
        match self {
            Self::AllBut(ignored) => {
                ignored.iter().map(|namespace| format!(",namespace!=\"{namespace}\"")).collect()
            }
            Self::Only(only) => format!(",namespace==\"{only}\""),
        }
    }

    /// The ID under which a container of this namespace is reported.
    pub(super) fn id(&self, namespace: &str, id: &str) -> ContainerId {
        match self {
            Self::AllBut(_) => qualified(namespace, id).into(),
            Self::Only(_) => id.into(),
        }
    }
}

fn invalid_name(name: &str) -> EngineError {
    let message = format!("no containerd namespace can be called '{}'", Printable(name));
    EngineError::new(ErrorKind::Configuration, message)
}

/// Prefixes an ID or a name with its namespace, unless that is `default`.
#[must_use]
pub fn qualified(namespace: &str, text: &str) -> Arc<str> {
    match namespace {
        DEFAULT => text.into(),
        _ => format!("{namespace}/{text}").into(),
    }
}

/// Splits a [qualified](qualified) ID into its namespace and the ID that containerd uses.
#[must_use]
pub fn split(id: &ContainerId) -> (&str, &str) {
    id.as_str().split_once('/').unwrap_or((DEFAULT, id.as_str()))
}

/// Wraps a message into a request within a namespace.
///
/// # Errors
///
/// [`ErrorKind::Malformed`] if no header can contain the namespace.
pub fn within<T>(namespace: &str, message: T) -> Result<Request<T>, EngineError> {
    let value = MetadataValue::try_from(namespace).map_err(|error| {
        let message = format!("nothing can be requested in namespace '{}'", Printable(namespace));
        EngineError::new(ErrorKind::Malformed, message).with_source(error)
    })?;
    let mut request = Request::new(message);
    request.metadata_mut().insert("containerd-namespace", value);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_those_that_containerd_accepts() {
        let longest = "x".repeat(76);
        for right in ["default", "k8s.io", "plugins.moby", "a", "0", "a-b_c.d", longest.as_str()] {
            assert!(is_identifier(right), "{right}");
        }
        let too_long = "x".repeat(77);
        for wrong in ["", ".", "a.", "-a", "a..b", "a/b", "a b", "ü", "a\n", "\"", too_long.as_str()] {
            assert!(!is_identifier(wrong), "{wrong}");
        }
    }

    #[test]
    fn ids_are_qualified_and_split_again() {
        for (namespace, id, qualified_id) in [
            ("default", "web", "web"),
            ("k8s.io", "web", "k8s.io/web"),
            ("plugins.moby", "a.b", "plugins.moby/a.b"),
        ] {
            let qualified = qualified(namespace, id);
            assert_eq!(&*qualified, qualified_id);
            assert_eq!(split(&ContainerId::from(qualified)), (namespace, id));
        }
    }

    #[test]
    fn docker_and_kubernetes_are_ignored_by_default() {
        let ignored = IgnoredNamespaces::default();
        let found =
            ["moby", "k8s.io", "plugins.moby", "default"].map(|namespace| ignored.contains(namespace));
        assert_eq!(found, [true, true, false, false]);
        let ignored = IgnoredNamespaces::new(vec!["default".into()]).unwrap();
        assert_eq!((ignored.contains("moby"), ignored.contains("default")), (false, true));
        assert_eq!(IgnoredNamespaces::new(Vec::new()).unwrap().iter().count(), 0);
    }

    #[test]
    fn a_single_namespace_has_bare_ids() {
        let all = Scope::AllBut(IgnoredNamespaces::default());
        let only = Scope::only("k8s.io").unwrap();
        for (namespace, in_all, in_only) in
            [("k8s.io", false, true), ("shop", true, false), ("", false, false)]
        {
            assert_eq!((all.contains(namespace), only.contains(namespace)), (in_all, in_only), "{namespace}");
        }
        assert_eq!((&*all.id("shop", "a"), &*only.id("k8s.io", "a")), ("shop/a", "a"));
        assert_eq!(Scope::only("k8s\"io").unwrap_err().kind(), ErrorKind::Configuration);
    }

    #[test]
    fn invalid_names_cannot_be_ignored() {
        for wrong in ["", "a,topic~=x", "a\"", "a\u{1b}"] {
            let error = IgnoredNamespaces::new(vec!["moby".into(), wrong.into()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(!error.to_string().contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn a_namespace_unfit_for_a_header_is_an_error() {
        assert_eq!(within("a\nb", ()).unwrap_err().kind(), ErrorKind::Malformed);
        let request = within("shop", ()).unwrap();
        assert_eq!(request.metadata().get("containerd-namespace").unwrap(), "shop");
    }
}
