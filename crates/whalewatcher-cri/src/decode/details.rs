//! Decodes what a status contains beyond names, labels and times: image, network, OOM kill.

use std::iter::once;
use std::net::IpAddr;

use whalewatcher_api::cri::v1::{ContainerStatus, PodSandboxStatus};
use whalewatcher_core::{Image, Network};

/// The reason of a container that ran out of memory, also while it lives on.
const OOM_KILLED: &str = "OOMKilled";

/// Returns whether the kernel killed one of its processes for lack of memory.
pub(crate) fn is_oom_killed(status: &ContainerStatus) -> bool {
    status.reason == OOM_KILLED
}

/// Returns a container's image: containerd reports one of its tags now, and the digest or the ID, CRI-O the
/// name that it was created with, and the ID.
pub(crate) fn image(status: &ContainerStatus) -> Option<Image> {
    let spec = status.image.as_ref();
    let names = spec.into_iter().flat_map(|spec| [&spec.user_specified_image, &spec.image]);
    let name = names.chain(once(&status.image_ref)).find(|name| !name.is_empty())?;
    Some(Image::new(name.as_str()).with_id(status.image_ref.as_str()))
}

/// Returns the network of a sandbox, which has no name; `None` on the host's network. What is no address is left out.
pub(crate) fn network(status: &PodSandboxStatus) -> Option<Network> {
    let reported = status.network.as_ref()?;
    let additional = reported.additional_ips.iter().map(|additional| &additional.ip);
    let addresses = once(&reported.ip).chain(additional).filter_map(|address| address.parse().ok());
    let (mut ipv4, mut ipv6) = (None, None);
    for address in addresses {
        match address {
            IpAddr::V4(address) => ipv4 = ipv4.or(Some(address)),
            IpAddr::V6(address) => ipv6 = ipv6.or(Some(address)),
        }
    }
    (ipv4.is_some() || ipv6.is_some()).then(|| Network::new("").with_ipv4(ipv4).with_ipv6(ipv6))
}

#[cfg(test)]
mod tests {
    use whalewatcher_api::cri::v1::{ContainerMetadata, ImageSpec, PodIp, PodSandboxNetworkStatus};

    use super::*;
    use crate::decode::container::{of_sandbox_status, of_status};
    use crate::decode::time::moment;

    fn status() -> ContainerStatus {
        let metadata = Some(ContainerMetadata { name: "web".into(), attempt: 3 });
        ContainerStatus { id: "c1".into(), metadata, ..ContainerStatus::default() }
    }

    #[test]
    fn image_creation_attempt_and_oom_kill_are_those_of_the_status() {
        let spec = |image: &str, user_specified_image: &str| {
            let (image, user_specified_image) = (image.to_owned(), user_specified_image.to_owned());
            Some(ImageSpec { image, user_specified_image, ..ImageSpec::default() })
        };
        let (tag, digest) = ("docker.io/library/busybox:1", "docker.io/library/busybox@sha256:3f");
        for (image, image_ref, expected) in [
            (spec(tag, ""), digest, Some((tag, Some(digest)))),
            (spec("sha256:1b", tag), "sha256:1b", Some((tag, Some("sha256:1b")))),
            (spec(tag, ""), "", Some((tag, None))),
            (spec("", ""), digest, Some((digest, Some(digest)))),
            (None, digest, Some((digest, Some(digest)))),
            (None, "", None),
        ] {
            let status = ContainerStatus { image, image_ref: image_ref.into(), ..status() };
            let container = of_status(&status, None, 7);
            assert_eq!(container.image().map(|image| (image.name(), image.id())), expected);
        }
        let status = ContainerStatus { created_at: 1_000_000_000, ..status() };
        let container = of_status(&status, None, 7);
        assert_eq!((container.restart_count(), container.created_at()), (Some(3), moment(1_000_000_000)));
        assert!(!container.oom_killed());
        let odd = ContainerStatus { created_at: -1, metadata: None, reason: "OOMKilled".into(), ..status };
        let container = of_status(&odd, None, 7);
        assert_eq!((container.restart_count(), container.created_at()), (None, None));
        assert!(container.oom_killed());
    }

    #[test]
    fn a_sandbox_has_one_network_with_an_address_of_each_kind() {
        let text = |ip: &str, additional: &[&str]| {
            let additional_ips = additional.iter().map(|ip| PodIp { ip: (*ip).to_owned() }).collect();
            let network = Some(PodSandboxNetworkStatus { ip: ip.to_owned(), additional_ips });
            let sandbox = of_sandbox_status(&PodSandboxStatus { network, ..PodSandboxStatus::default() }, 7);
            let addresses = sandbox.networks().iter().map(|network| {
                assert_eq!(network.name(), "");
                format!("{:?} {:?}", network.ipv4(), network.ipv6())
            });
            addresses.collect::<Vec<_>>()
        };
        assert_eq!(text("10.1.2.3", &[]), ["Some(10.1.2.3) None"]);
        assert_eq!(text("10.1.2.3", &["fd00::1", "10.9.9.9", "fd00::2"]), ["Some(10.1.2.3) Some(fd00::1)"]);
        assert_eq!(text("fd00::1", &["10.1.2.3"]), ["Some(10.1.2.3) Some(fd00::1)"]);
        assert_eq!(text("10.1.2.3/24", &["\u{1b}", "fd00::1"]), ["None Some(fd00::1)"]);
        for nothing in ["", "none", "10.1.2", "10.1.2.3.4", "::1::", "host"] {
            assert_eq!(text(nothing, &[nothing]), [""; 0], "{nothing}");
        }
        assert_eq!(network(&PodSandboxStatus::default()), None);
    }
}
