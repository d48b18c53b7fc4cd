//! What makes a containerd one that runs pods: the configuration of its CRI plugin, and the images that it needs when no
//! registry can be reached.

use std::path::Path;

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

/// The plugin's part of the configuration, for a `version` of its format.
pub(crate) fn configuration(folder: &Path, version: u32) -> String {
    let runc_root = folder.join("runc").display().to_string();
    let network_folder = folder.join("cni").display().to_string();
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
    // Without the right to raise it, no sandbox starts unless its score is only ever lowered as far as is allowed.
    // Namespaces of networks are mounted and plugins for them looked for in the host's folders unless configured otherwise.
    format!(
        "{images}\n[{runtime}]\n{sandbox_image}restrict_oom_score_adj = true\n\
         netns_mounts_under_state_dir = true\nenable_cdi = false\n\n\
         [{runtime}.cni]\nconf_dir = {network_folder:?}\n\n\
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
