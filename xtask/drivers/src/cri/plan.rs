//! What pods and containers are to be like.

use std::collections::HashMap;

use xtask::engines::{TEST_COMMAND, TEST_IMAGE};

use crate::api::runtime::v1::{
    ContainerConfig, ContainerMetadata, ImageSpec, LinuxContainerConfig, LinuxContainerResources,
    LinuxContainerSecurityContext, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, PodSandboxConfig, PodSandboxMetadata,
};

/// What a pod to be made is like. It has no labels but its own, as those of `crictl` have none.
#[derive(Clone, Debug)]
pub struct PodPlan {
    name: String,
    namespace: String,
    labels: HashMap<String, String>,
    annotations: HashMap<String, String>,
    network: NamespaceMode,
}

/// A pod that exists: its sandbox, and what each request to create a container must repeat.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The sandbox's.
    pub id: String,
    /// What it was made of.
    pub config: PodSandboxConfig,
}

/// The plan of a container, which by default runs until it is stopped.
#[derive(Clone, Debug)]
pub struct ContainerPlan {
    name: String,
    attempt: u32,
    labels: HashMap<String, String>,
    annotations: HashMap<String, String>,
    command: Vec<String>,
    memory: i64,
}

impl PodPlan {
    /// One of this name.
    pub fn named(name: impl Into<String>) -> PodPlan {
        let namespace = "default".to_owned();
        let (labels, annotations) = Default::default();
        PodPlan { name: name.into(), namespace, labels, annotations, network: NamespaceMode::Node }
    }

    /// With addresses of its own.
    pub fn with_addresses(mut self) -> PodPlan {
        self.network = NamespaceMode::Pod;
        self
    }

    /// In this namespace of Kubernetes.
    pub fn within(mut self, namespace: &str) -> PodPlan {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// With this label.
    pub fn labelled(mut self, key: &str, value: &str) -> PodPlan {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With this annotation.
    pub fn annotated(mut self, key: &str, value: &str) -> PodPlan {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// The pod's UID, which follows from its name here.
    pub fn uid(&self) -> String {
        format!("uid-of-{}-{}", self.namespace, self.name)
    }

    /// With the labels by which a kubelet knows its pods.
    pub fn of_a_kubelet(self) -> PodPlan {
        let (name, namespace, uid) = (self.name.clone(), self.namespace.clone(), self.uid());
        self.labelled("io.kubernetes.pod.name", &name)
            .labelled("io.kubernetes.pod.namespace", &namespace)
            .labelled("io.kubernetes.pod.uid", &uid)
    }

    /// Below this cgroup, and on the host's network unless it has addresses of its own.
    pub fn config(&self, cgroup: &str) -> PodSandboxConfig {
        let context = LinuxSandboxSecurityContext {
            namespace_options: Some(namespaces(self.network)),
            ..LinuxSandboxSecurityContext::default()
        };
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: self.name.clone(),
                uid: self.uid(),
                namespace: self.namespace.clone(),
                attempt: 0,
            }),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent: cgroup.to_owned(),
                security_context: Some(context),
                ..LinuxPodSandboxConfig::default()
            }),
            ..PodSandboxConfig::default()
        }
    }
}

impl ContainerPlan {
    /// One of this name.
    pub fn named(name: impl Into<String>) -> ContainerPlan {
        let [_, option, script] = TEST_COMMAND;
        ContainerPlan {
            name: name.into(),
            attempt: 0,
            labels: HashMap::new(),
            annotations: HashMap::new(),
            command: ["/bin/sh", option, script].map(str::to_owned).to_vec(),
            memory: 0,
        }
    }

    /// How many of its name were in the pod before.
    pub fn attempt(mut self, attempt: u32) -> ContainerPlan {
        self.attempt = attempt;
        self
    }

    /// With this label.
    pub fn labelled(mut self, key: &str, value: &str) -> ContainerPlan {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With this annotation.
    pub fn annotated(mut self, key: &str, value: &str) -> ContainerPlan {
        self.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With at most so many bytes of memory.
    pub fn with_memory(mut self, bytes: i64) -> ContainerPlan {
        self.memory = bytes;
        self
    }

    /// With this as what it runs in a shell.
    pub fn running(mut self, script: &str) -> ContainerPlan {
        self.command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self
    }

    /// As CRI takes it, in a pod like this.
    pub fn config(&self, pod: &PodSandboxConfig) -> ContainerConfig {
        let context = pod.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        let options = context.and_then(|context| context.namespace_options.as_ref());
        let network = options.map_or(NamespaceMode::Node, NamespaceOption::network);
        let context = LinuxContainerSecurityContext {
            namespace_options: Some(namespaces(network)),
            ..LinuxContainerSecurityContext::default()
        };
        ContainerConfig {
            metadata: Some(ContainerMetadata { name: self.name.clone(), attempt: self.attempt }),
            image: Some(image(TEST_IMAGE)),
            command: self.command.clone(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            linux: Some(LinuxContainerConfig {
                resources: Some(LinuxContainerResources {
                    memory_limit_in_bytes: self.memory,
                    ..LinuxContainerResources::default()
                }),
                security_context: Some(context),
                ..LinuxContainerConfig::default()
            }),
            ..ContainerConfig::default()
        }
    }
}

pub(super) fn image(name: &str) -> ImageSpec {
    ImageSpec { image: name.to_owned(), ..ImageSpec::default() }
}

fn namespaces(network: NamespaceMode) -> NamespaceOption {
    NamespaceOption {
        network: network.into(),
        pid: NamespaceMode::Container.into(),
        ..NamespaceOption::default()
    }
}
