//! What is called, as hooks see it.

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `Namespaces.List`
    NamespacesList,
    /// `Containers.Get`
    ContainersGet,
    /// `Containers.List`
    ContainersList,
    /// `Containers.ListStream`
    ContainersListStream,
    /// `Tasks.Get`
    TasksGet,
    /// `Tasks.List`
    TasksList,
    /// `Events.Subscribe`
    Subscribe,
    /// `Events.Publish`
    Publish,
    /// `Introspection.Server`
    Server,
    /// `Version.Version`
    Version,
    /// Anything else, which is answered with `UNIMPLEMENTED`.
    Other,
}

impl Method {
    pub(super) fn of(path: &str) -> Self {
        match path.strip_prefix("/containerd.services.").unwrap_or_default() {
            "namespaces.v1.Namespaces/List" => Self::NamespacesList,
            "containers.v1.Containers/Get" => Self::ContainersGet,
            "containers.v1.Containers/List" => Self::ContainersList,
            "containers.v1.Containers/ListStream" => Self::ContainersListStream,
            "tasks.v1.Tasks/Get" => Self::TasksGet,
            "tasks.v1.Tasks/List" => Self::TasksList,
            "events.v1.Events/Subscribe" => Self::Subscribe,
            "events.v1.Events/Publish" => Self::Publish,
            "introspection.v1.Introspection/Server" => Self::Server,
            "version.v1.Version/Version" => Self::Version,
            _ => Self::Other,
        }
    }
}

/// A call as a hook sees it.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) namespace: Option<String>,
    pub(super) container: Option<String>,
    pub(super) topic: Option<String>,
    pub(super) filters: Vec<String>,
}

impl Call {
    /// What it asks for.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Such as `/containerd.services.tasks.v1.Tasks/Get`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The namespace that its metadata names.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Of `Containers.Get` and `Tasks.Get`: the ID that is asked for, without its namespace.
    pub fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// Of `Events.Publish`: the topic of the event.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// The filters of a list or of a subscription.
    pub fn filters(&self) -> &[String] {
        &self.filters
    }
}
