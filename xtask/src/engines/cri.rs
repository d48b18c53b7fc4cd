//! What makes a containerd one that runs pods: the configuration of its CRI plugin, and the images that it
//! needs when no registry can be reached.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::test_image::TEST_IMAGE;

/// The plugins that are CRI in containerd 1.x or 2.x.
pub(crate) const PLUGINS: [&str; 3] =
    ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime"];

/// The namespace of containerd's in which the plugin keeps containers and images.
pub(crate) const NAMESPACE: &str = "k8s.io";

/// The image that sandboxes run.
pub const PAUSE_IMAGE: &str = "local/pause:1";

/// The names under which the one image is imported.
pub(crate) const IMAGES: [&str; 2] = [PAUSE_IMAGE, TEST_IMAGE];

/// The addresses of pods that are not on the host's network.
pub const POD_ADDRESSES: [&str; 2] = ["10.88.0.7", "fd00:88::7"];

/// The plugin of CNI that gives each pod the same addresses, of which the network namespace does not know:
/// nothing is ever sent.
const NETWORK_PLUGIN: &str = r#"#!/bin/sh
case "$CNI_COMMAND $CNI_IFNAME" in
VERSION*) echo '{"cniVersion":"0.3.1","supportedVersions":["0.3.0","0.3.1"]}' ;;
"ADD lo") echo '{"cniVersion":"0.3.1","interfaces":[{"name":"lo","sandbox":"'"$CNI_NETNS"'"}],"ips":[]}' ;;
ADD*) echo '{"cniVersion":"0.3.1","interfaces":[{"name":"'"$CNI_IFNAME"'","sandbox":"'"$CNI_NETNS"'"}],"ips":[
{"version":"4","interface":0,"address":"10.88.0.7/24"},{"version":"6","interface":0,"address":"fd00:88::7/64"}]}' ;;
esac
"#;

const NETWORK: &str = r#"{"cniVersion":"0.3.1","name":"pods","plugins":[{"type":"addresses"}]}"#;

/// Writes the network of pods below the instance's folder.
pub(crate) fn write_network(folder: &Path) -> Result<()> {
    let (network, programs) = (folder.join("cni"), folder.join("cni/bin"));
    fs::create_dir_all(&programs)?;
    for name in ["addresses", "loopback"] {
        let program = programs.join(name);
        fs::write(&program, NETWORK_PLUGIN)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    fs::write(network.join("pods.conflist"), NETWORK).context("cannot write the network of pods")
}

/// The plugin's part of the configuration, for a `version` of its format.
pub(crate) fn configuration(folder: &Path, version: u32) -> String {
    let runc_root = folder.join("runc").display().to_string();
    let network_folder = folder.join("cni").display().to_string();
    let network_programs = folder.join("cni/bin").display().to_string();
    let (images, runtime, sandbox_image) = match version {
        2 => {
            let plugin = r#"plugins."io.containerd.grpc.v1.cri""#;
            (None, plugin, format!("sandbox_image = {PAUSE_IMAGE:?}\n"))
        }
        _ => {
            let pinned = r#"plugins."io.containerd.cri.v1.images".pinned_images"#;
            (Some(pinned), r#"plugins."io.containerd.cri.v1.runtime""#, String::new())
        }
    };
    let images =
        images.map(|pinned| format!("\n[{pinned}]\nsandbox = {PAUSE_IMAGE:?}\n")).unwrap_or_default();
    // Without the right to raise it, no sandbox starts unless its score is only ever lowered as far as is
    // allowed. Namespaces of networks are mounted and plugins for them looked for in the host's folders
    // unless configured otherwise.
    format!(
        "{images}\n[{runtime}]\n{sandbox_image}restrict_oom_score_adj = true\n\
         netns_mounts_under_state_dir = true\nenable_cdi = false\n\n\
         [{runtime}.cni]\nconf_dir = {network_folder:?}\nbin_dir = {network_programs:?}\n\n\
         [{runtime}.containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\n\
         [{runtime}.containerd.runtimes.runc.options]\nSystemdCgroup = false\nRoot = {runc_root:?}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_has_one_plugin_and_the_newer_two() {
        let older = configuration(Path::new("/w"), 2);
        assert!(older.contains("sandbox_image = \"local/pause:1\""), "{older}");
        assert!(
            older
                .lines()
                .filter(|line| line.starts_with("[plugins"))
                .all(|line| line.contains("grpc.v1.cri"))
        );
        let newer = configuration(Path::new("/w"), 3);
        assert!(newer.contains("pinned_images]\nsandbox = \"local/pause:1\""), "{newer}");
        assert!(!newer.contains("grpc.v1.cri"), "{newer}");
    }
}
