//! containerd's namespaces, and how containers of all of them are told apart.

use std::sync::{Arc, Mutex, PoisonError};

use tonic::Request;
use tonic::metadata::MetadataValue;
use whalewatcher_core::{ContainerId, EngineError, ErrorKind, Printable};

/// The namespaces that are left out unless told otherwise: of Docker's and of Kubernetes' containers.
pub const IGNORED_BY_DEFAULT: [&str; 2] = ["moby", "k8s.io"];

/// The namespace whose containers have bare IDs and names.
const DEFAULT: &str = "default";

/// How long containerd lets an identifier be.
const MAX_IDENTIFIER: usize = 76;

/// Whether containerd takes this as the name of a namespace or the ID of a container: letters and digits, and single
/// dots, underscores or dashes between them. So neither contains a slash.
pub(crate) fn is_identifier(text: &str) -> bool {
    let mut parts = text.split(['.', '_', '-']);
    text.len() <= MAX_IDENTIFIER
        && parts.all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// The namespaces whose containers are none of our business.
#[derive(Clone, Debug)]
pub(crate) struct Ignored(Arc<[String]>);

impl Default for Ignored {
    fn default() -> Self {
        Self(IGNORED_BY_DEFAULT.map(str::to_owned).into())
    }
}

impl Ignored {
    pub(crate) fn new(namespaces: Vec<String>) -> Result<Self, EngineError> {
        match namespaces.iter().find(|namespace| !is_identifier(namespace)) {
            Some(wrong) => Err(no_namespace(wrong)),
            None => Ok(Self(namespaces.into())),
        }
    }

    pub(crate) fn contains(&self, namespace: &str) -> bool {
        self.0.iter().any(|ignored| ignored == namespace)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// The ignored namespaces in which tasks are alive, as of the newest list; empty if that shows anything else. Clones are
/// the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeftOut(Arc<Mutex<Vec<String>>>);

impl LeftOut {
    pub(crate) fn set(&self, namespaces: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = namespaces;
    }

    pub(crate) fn get(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Of which namespaces the events matter.
#[derive(Clone, Debug)]
pub(crate) enum Scope {
    /// Of all but these; IDs tell the namespace.
    AllBut(Ignored),
    /// Of this one alone; IDs are bare.
    Only(Arc<str>),
}

impl Scope {
    pub(crate) fn only(namespace: &str) -> Result<Self, EngineError> {
        if is_identifier(namespace) { Ok(Self::Only(namespace.into())) } else { Err(no_namespace(namespace)) }
    }

    pub(crate) fn contains(&self, namespace: &str) -> bool {
        match self {
            Self::AllBut(ignored) => is_identifier(namespace) && !ignored.contains(namespace),
            Self::Only(only) => namespace == &**only,
        }
    }

    /// Whether a task that is deleted is told to be over: its exit may have been told before anybody asked, and whoever made
    /// the task may not say so yet. Of no use where containerd itself is asked, and where a task may have a successor.
    pub(crate) fn reports_deleted(&self) -> bool {
        matches!(self, Self::Only(_))
    }

    /// What has to hold of an event besides its topic, in containerd's language for filters.
    pub(crate) fn filter(&self) -> String {
        match self {
            Self::AllBut(ignored) => {
                ignored.iter().map(|namespace| format!(",namespace!=\"{namespace}\"")).collect()
            }
            Self::Only(only) => format!(",namespace==\"{only}\""),
        }
    }

    /// The ID of a container in one of them.
    pub(crate) fn id(&self, namespace: &str, id: &str) -> ContainerId {
        match self {
            Self::AllBut(_) => qualified(namespace, id).into(),
            Self::Only(_) => id.into(),
        }
    }
}

fn no_namespace(name: &str) -> EngineError {
    let message = format!("no containerd namespace can be called '{}'", Printable(name));
    EngineError::new(ErrorKind::Configuration, message)
}

/// An ID or a name, told apart from those of other namespaces.
pub(crate) fn qualified(namespace: &str, text: &str) -> Arc<str> {
    match namespace {
        DEFAULT => text.into(),
        _ => format!("{namespace}/{text}").into(),
    }
}

/// Namespace and ID, as containerd has them.
pub(crate) fn split(id: &ContainerId) -> (&str, &str) {
    id.as_str().split_once('/').unwrap_or((DEFAULT, id.as_str()))
}

/// Asks within a namespace.
pub(crate) fn within<T>(namespace: &str, message: T) -> Result<Request<T>, EngineError> {
    let value = MetadataValue::try_from(namespace).map_err(|error| {
        let message = format!("nothing can be asked about namespace '{}'", Printable(namespace));
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
    fn identifiers_are_those_that_containerd_takes() {
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
    fn the_default_namespace_is_not_named_and_ids_lead_back_to_theirs() {
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
    fn docker_and_kubernetes_are_ignored_unless_reported_otherwise_but_dockers_plugins_are_not() {
        let ignored = Ignored::default();
        let found =
            ["moby", "k8s.io", "plugins.moby", "default"].map(|namespace| ignored.contains(namespace));
        assert_eq!(found, [true, true, false, false]);
        let ignored = Ignored::new(vec!["default".into()]).unwrap();
        assert_eq!((ignored.contains("moby"), ignored.contains("default")), (false, true));
        assert_eq!(Ignored::new(Vec::new()).unwrap().iter().count(), 0);
    }

    #[test]
    fn one_namespace_alone_has_bare_ids() {
        let all = Scope::AllBut(Ignored::default());
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
    fn what_cannot_be_a_namespace_cannot_be_ignored() {
        for wrong in ["", "a,topic~=x", "a\"", "a\u{1b}"] {
            let error = Ignored::new(vec!["moby".into(), wrong.into()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration);
            assert!(!error.to_string().contains('\u{1b}'), "{error}");
        }
    }

    #[test]
    fn a_namespace_that_no_header_can_carry_is_an_error() {
        assert_eq!(within("a\nb", ()).unwrap_err().kind(), ErrorKind::Malformed);
        let request = within("shop", ()).unwrap();
        assert_eq!(request.metadata().get("containerd-namespace").unwrap(), "shop");
    }
}
