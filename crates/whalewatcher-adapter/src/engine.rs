//! A kind of engine.

/// A kind of engine: its names in error messages, its default endpoint and the names of its processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    /// The engine, as in "lost the connection to containerd".
    pub name: &'static str,
    /// Any engine of this kind, as in "is this containerd?".
    pub kind: &'static str,
    /// A possible reason why a gRPC server does not implement the engine's API, to end an error message; may be empty.
    pub hint: &'static str,
    /// The URL of its default endpoint.
    pub default_endpoint: &'static str,
    /// The names of processes that are such an engine.
    pub processes: &'static [&'static str],
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const CONTAINERD: Engine = Engine {
        name: "containerd",
        kind: "containerd",
        hint: "",
        default_endpoint: "unix:///run/containerd/containerd.sock",
        processes: &["containerd"],
    };

    pub(crate) const RUNTIME: Engine = Engine {
        name: "the runtime",
        kind: "a runtime",
        hint: "perhaps it is switched off",
        processes: &["containerd", "crio"],
        ..CONTAINERD
    };
}
