//! What is called, as hooks see it.

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Method {
    /// `Version`
    Version,
    /// `Status`
    Status,
    /// `ListContainers`
    ListContainers,
    /// `ContainerStatus`
    ContainerStatus,
    /// `ListPodSandbox`
    ListPodSandbox,
    /// `PodSandboxStatus`
    PodSandboxStatus,
    /// `GetContainerEvents`
    GetContainerEvents,
    /// Anything else, which is answered with `UNIMPLEMENTED`.
    Other,
}

impl Method {
    pub(super) fn of(path: &str) -> Self {
        match path.strip_prefix("/runtime.v1.RuntimeService/").unwrap_or_default() {
            "Version" => Self::Version,
            "Status" => Self::Status,
            "ListContainers" => Self::ListContainers,
            "ContainerStatus" => Self::ContainerStatus,
            "ListPodSandbox" => Self::ListPodSandbox,
            "PodSandboxStatus" => Self::PodSandboxStatus,
            "GetContainerEvents" => Self::GetContainerEvents,
            _ => Self::Other,
        }
    }
}

/// A call as a hook sees it.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) id: Option<String>,
    pub(super) verbose: bool,
}

impl Call {
    /// What it asks for.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Such as `/runtime.v1.RuntimeService/ContainerStatus`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The container or sandbox that is asked for: of a status, and of a list that is filtered by an ID.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Of a status: whether it is to be verbose.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }
}
