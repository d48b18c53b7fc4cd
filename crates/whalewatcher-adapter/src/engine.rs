//! What there is to say of a kind of engine.

/// A kind of engine: what errors call it, and where it usually is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Engine {
    /// The one that is meant, as in «lost the connection to containerd».
    pub name: &'static str,
    /// One of that kind, as in «is it containerd?».
    pub kind: &'static str,
    /// What may be the matter with a gRPC server that does not know the engine's API; empty if there is nothing to say.
    pub hint: &'static str,
    /// Where it is when nobody says otherwise, as an URL.
    pub default_endpoint: &'static str,
    /// What processes are called that are one.
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
