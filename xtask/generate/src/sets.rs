//! Which code there is: from which definitions, for which calls, and where.

/// Code to be generated from one folder of definitions.
#[derive(Debug)]
pub struct Set {
    /// The feature that the code belongs to, which is the name of its folder too.
    pub name: &'static str,
    /// The folder of the definitions, from the top of the workspace on.
    pub definitions: &'static str,
    /// The definitions in it that have the calls and the messages; what they import is found by itself.
    pub files: &'static [&'static str],
    /// The calls, as `package.Service.Method`.
    pub calls: &'static [&'static str],
    /// Messages that no call has in its signature, as `package.Message`.
    pub messages: &'static [&'static str],
    /// Whether messages know their names, by which one is found in an `Any`.
    pub type_names: bool,
    /// Whether there are traits for servers too, behind the feature `server`.
    pub server: bool,
}

/// The code of `whalewatcher-api`, which is checked in: a build of that package needs no definitions.
pub const API: [Set; 3] = [
    Set {
        name: "containerd",
        definitions: CONTAINERD,
        files: CONTAINERD_FILES,
        calls: &[
            "containerd.services.containers.v1.Containers.Get",
            "containerd.services.containers.v1.Containers.List",
            "containerd.services.containers.v1.Containers.ListStream",
            "containerd.services.events.v1.Events.Publish",
            "containerd.services.events.v1.Events.Subscribe",
            "containerd.services.introspection.v1.Introspection.Server",
            "containerd.services.namespaces.v1.Namespaces.List",
            "containerd.services.tasks.v1.Tasks.Get",
            "containerd.services.tasks.v1.Tasks.List",
            "containerd.services.version.v1.Version.Version",
        ],
        messages: CONTAINERD_EVENTS,
        type_names: true,
        server: true,
    },
    Set {
        name: "cri",
        definitions: CRI,
        files: &["v1.proto"],
        calls: &[
            "runtime.v1.RuntimeService.ContainerStatus",
            "runtime.v1.RuntimeService.GetContainerEvents",
            "runtime.v1.RuntimeService.ListContainers",
            "runtime.v1.RuntimeService.ListPodSandbox",
            "runtime.v1.RuntimeService.PodSandboxStatus",
            "runtime.v1.RuntimeService.Status",
            "runtime.v1.RuntimeService.Version",
        ],
        messages: &[],
        type_names: false,
        server: true,
    },
    Set {
        name: "etcd",
        definitions: "crates/whalewatcher-api/proto/etcd",
        files: &["etcd/api/etcdserverpb/rpc.proto"],
        calls: &[
            "etcdserverpb.Auth.Authenticate",
            "etcdserverpb.KV.DeleteRange",
            "etcdserverpb.KV.Put",
            "etcdserverpb.KV.Range",
            "etcdserverpb.KV.Txn",
            "etcdserverpb.Lease.LeaseGrant",
            "etcdserverpb.Lease.LeaseKeepAlive",
            "etcdserverpb.Lease.LeaseRevoke",
            "etcdserverpb.Maintenance.Status",
            "etcdserverpb.Watch.Watch",
        ],
        messages: &[],
        type_names: false,
        server: true,
    },
];

/// The code of `whalewatcher-drivers`, which its build generates.
pub const DRIVERS: [Set; 2] = [
    Set {
        name: "containerd",
        definitions: CONTAINERD,
        files: CONTAINERD_FILES,
        calls: &[
            "containerd.services.containers.v1.Containers.Create",
            "containerd.services.containers.v1.Containers.Delete",
            "containerd.services.containers.v1.Containers.Get",
            "containerd.services.containers.v1.Containers.List",
            "containerd.services.containers.v1.Containers.ListStream",
            "containerd.services.containers.v1.Containers.Update",
            "containerd.services.events.v1.Events.Publish",
            "containerd.services.events.v1.Events.Subscribe",
            "containerd.services.introspection.v1.Introspection.Server",
            "containerd.services.namespaces.v1.Namespaces.List",
            "containerd.services.tasks.v1.Tasks.Create",
            "containerd.services.tasks.v1.Tasks.Delete",
            "containerd.services.tasks.v1.Tasks.DeleteProcess",
            "containerd.services.tasks.v1.Tasks.Exec",
            "containerd.services.tasks.v1.Tasks.Get",
            "containerd.services.tasks.v1.Tasks.Kill",
            "containerd.services.tasks.v1.Tasks.List",
            "containerd.services.tasks.v1.Tasks.Pause",
            "containerd.services.tasks.v1.Tasks.Resume",
            "containerd.services.tasks.v1.Tasks.Start",
            "containerd.services.tasks.v1.Tasks.Wait",
        ],
        messages: CONTAINERD_EVENTS,
        type_names: true,
        server: false,
    },
    Set {
        name: "cri",
        definitions: CRI,
        files: &["v1.proto"],
        calls: &[
            "runtime.v1.ImageService.ImageStatus",
            "runtime.v1.RuntimeService.ContainerStatus",
            "runtime.v1.RuntimeService.CreateContainer",
            "runtime.v1.RuntimeService.ExecSync",
            "runtime.v1.RuntimeService.GetContainerEvents",
            "runtime.v1.RuntimeService.ListContainers",
            "runtime.v1.RuntimeService.ListPodSandbox",
            "runtime.v1.RuntimeService.PodSandboxStatus",
            "runtime.v1.RuntimeService.RemoveContainer",
            "runtime.v1.RuntimeService.RemovePodSandbox",
            "runtime.v1.RuntimeService.RunPodSandbox",
            "runtime.v1.RuntimeService.StartContainer",
            "runtime.v1.RuntimeService.StopContainer",
            "runtime.v1.RuntimeService.StopPodSandbox",
            "runtime.v1.RuntimeService.Version",
        ],
        messages: &[],
        type_names: false,
        server: false,
    },
];

const CONTAINERD: &str = "crates/whalewatcher-api/proto/containerd";
const CRI: &str = "crates/whalewatcher-api/proto/cri";

const CONTAINERD_FILES: &[&str] = &[
    "github.com/containerd/containerd/api/events/container.proto",
    "github.com/containerd/containerd/api/events/namespace.proto",
    "github.com/containerd/containerd/api/events/task.proto",
    "github.com/containerd/containerd/api/services/containers/v1/containers.proto",
    "github.com/containerd/containerd/api/services/events/v1/events.proto",
    "github.com/containerd/containerd/api/services/introspection/v1/introspection.proto",
    "github.com/containerd/containerd/api/services/namespaces/v1/namespace.proto",
    "github.com/containerd/containerd/api/services/tasks/v1/tasks.proto",
    "github.com/containerd/containerd/api/services/version/v1/version.proto",
];

/// What containerd publishes, in an `Any`.
const CONTAINERD_EVENTS: &[&str] = &[
    "containerd.events.ContainerCreate",
    "containerd.events.ContainerDelete",
    "containerd.events.ContainerUpdate",
    "containerd.events.NamespaceCreate",
    "containerd.events.NamespaceDelete",
    "containerd.events.TaskCreate",
    "containerd.events.TaskDelete",
    "containerd.events.TaskExecAdded",
    "containerd.events.TaskExecStarted",
    "containerd.events.TaskExit",
    "containerd.events.TaskOOM",
    "containerd.events.TaskPaused",
    "containerd.events.TaskResumed",
    "containerd.events.TaskStart",
];
