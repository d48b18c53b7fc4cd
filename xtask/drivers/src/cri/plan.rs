//! What pods and containers are to be like.

use xtask::engines::{TEST_COMMAND, TEST_IMAGE};

use crate::api::runtime::v1::{
    ContainerConfig, ContainerMetadata, ImageSpec, LinuxContainerConfig, LinuxContainerSecurityContext,
    LinuxPodSandboxConfig, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata,
};

/// What a pod to be made is like. It has no labels but its own, as those of `crictl` have none.
#[derive(Clone, Debug)]
pub struct PodPlan {
    config: PodSandboxConfig,
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
    config: ContainerConfig,
}

impl PodPlan {
    /// One of this name, on the host's network, for which no plugin is needed.
    pub fn named(name: impl Into<String>) -> PodPlan {
        let context = LinuxSandboxSecurityContext {
            namespace_options: Some(namespaces(NamespaceMode::Node)),
            ..LinuxSandboxSecurityContext::default()
        };
        let linux =
            LinuxPodSandboxConfig { security_context: Some(context), ..LinuxPodSandboxConfig::default() };
        let metadata = PodSandboxMetadata { name: name.into(), ..PodSandboxMetadata::default() };
        let config =
            PodSandboxConfig { metadata: Some(metadata), linux: Some(linux), ..PodSandboxConfig::default() };
        PodPlan { config }.within("default")
    }

    /// With addresses of its own.
    pub fn with_addresses(mut self) -> PodPlan {
        let context = self.config.linux.get_or_insert_default().security_context.get_or_insert_default();
        context.namespace_options = Some(namespaces(NamespaceMode::Pod));
        self
    }

    /// In this namespace of Kubernetes. The pod's UID follows from both names here.
    pub fn within(mut self, namespace: &str) -> PodPlan {
        let metadata = self.config.metadata.get_or_insert_default();
        metadata.uid = format!("uid-of-{namespace}-{}", metadata.name);
        namespace.clone_into(&mut metadata.namespace);
        self
    }

    /// With this label.
    pub fn labelled(mut self, key: &str, value: &str) -> PodPlan {
        self.config.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With this annotation.
    pub fn annotated(mut self, key: &str, value: &str) -> PodPlan {
        self.config.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With the labels by which a kubelet knows its pods.
    pub fn of_a_kubelet(self) -> PodPlan {
        let PodSandboxMetadata { name, uid, namespace, .. } =
            self.config.metadata.clone().unwrap_or_default();
        self.labelled("io.kubernetes.pod.name", &name)
            .labelled("io.kubernetes.pod.namespace", &namespace)
            .labelled("io.kubernetes.pod.uid", &uid)
    }

    /// As CRI takes it, below this cgroup.
    pub fn config(&self, cgroup: &str) -> PodSandboxConfig {
        let mut config = self.config.clone();
        cgroup.clone_into(&mut config.linux.get_or_insert_default().cgroup_parent);
        config
    }
}

impl ContainerPlan {
    /// One of this name.
    pub fn named(name: impl Into<String>) -> ContainerPlan {
        let context = LinuxContainerSecurityContext {
            namespace_options: Some(namespaces(NamespaceMode::Node)),
            ..LinuxContainerSecurityContext::default()
        };
        let linux = LinuxContainerConfig { security_context: Some(context), ..Default::default() };
        let config = ContainerConfig {
            metadata: Some(ContainerMetadata { name: name.into(), attempt: 0 }),
            image: Some(image(TEST_IMAGE)),
            linux: Some(linux),
            ..ContainerConfig::default()
        };
        ContainerPlan { config }.running(TEST_COMMAND[2])
    }

    /// How many of its name were in the pod before.
    pub fn attempt(mut self, attempt: u32) -> ContainerPlan {
        self.config.metadata.get_or_insert_default().attempt = attempt;
        self
    }

    /// With this label.
    pub fn labelled(mut self, key: &str, value: &str) -> ContainerPlan {
        self.config.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With this annotation.
    pub fn annotated(mut self, key: &str, value: &str) -> ContainerPlan {
        self.config.annotations.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With at most so many bytes of memory.
    pub fn with_memory(mut self, bytes: i64) -> ContainerPlan {
        let resources = self.config.linux.get_or_insert_default().resources.get_or_insert_default();
        resources.memory_limit_in_bytes = bytes;
        self
    }

    /// With this as what it runs in a shell.
    pub fn running(mut self, script: &str) -> ContainerPlan {
        self.config.command = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        self
    }

    /// As CRI takes it, in the namespaces of this pod.
    pub fn config(&self, pod: &PodSandboxConfig) -> ContainerConfig {
        let of_pod = pod.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
        let mut config = self.config.clone();
        let context = config.linux.get_or_insert_default().security_context.get_or_insert_default();
        context.namespace_options = of_pod.and_then(|context| context.namespace_options.clone());
        config
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
