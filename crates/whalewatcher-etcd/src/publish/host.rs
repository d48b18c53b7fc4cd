//! The host that an agent publishes for.

use std::fs;
use std::io;

use ring::hmac;

/// Makes the host's ID another one than those that other programs make of the machine ID, which is not to
/// leave the host (machine-id(5)).
const SALT: &[u8] = b"whalewatcher host, version 1";

/// The host that an agent publishes for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostIdentity {
    /// Distinguishes it from all other hosts in the cluster.
    pub id: String,
    /// Its name.
    pub hostname: String,
    /// Distinguishes this boot from others of the host.
    pub boot: String,
    /// The version of its kernel.
    pub kernel: String,
}

impl HostIdentity {
    /// Returns this host. Its ID, unless one is given, is made of its machine ID, which it does not reveal.
    ///
    /// # Errors
    ///
    /// If the host has no machine ID and none is given, or `/proc` cannot be read.
    pub fn of_this_host(id: Option<&str>) -> io::Result<Self> {
        let id = match id {
            Some(id) => id.to_owned(),
            None => {
                let machine = fs::read_to_string("/etc/machine-id")
                    .or_else(|_| fs::read_to_string("/var/lib/dbus/machine-id"))
                    .ok()
                    .filter(|id| id.trim().len() == 32)
                    .ok_or_else(|| {
                        io::Error::new(
                            io::ErrorKind::NotFound,
                            "the host has no machine ID in /etc/machine-id: give it an ID",
                        )
                    })?;
                digest(&hmac::Key::new(hmac::HMAC_SHA256, SALT), &[machine.trim()], 8)
            }
        };
        let uname = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            id,
            hostname: text(uname.nodename()),
            boot: boot.trim().to_owned(),
            kernel: text(uname.release()),
        })
    }
}

/// Returns the ID of an engine of a host: of its type and endpoint, so that it stays the same.
pub(crate) fn engine_id(engine_type: &str, endpoint: &str) -> String {
    digest(&hmac::Key::new(hmac::HMAC_SHA256, b"whalewatcher engine, version 1"), &[engine_type, endpoint], 6)
}

fn digest(key: &hmac::Key, parts: &[&str], bytes: usize) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    context.sign().as_ref().iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_an_id_that_stays_the_same_and_is_not_its_machine_id() {
        let given = HostIdentity::of_this_host(Some("web-3")).unwrap();
        assert_eq!(given.id, "web-3");
        assert!(!given.boot.is_empty() && !given.kernel.is_empty());
        if let Ok(own) = HostIdentity::of_this_host(None) {
            assert_eq!(own.id.len(), 16);
            assert_eq!(HostIdentity::of_this_host(None).unwrap(), own);
            assert!(!fs::read_to_string("/etc/machine-id").unwrap().contains(&own.id));
        }
        assert_eq!(engine_id("docker.com", "unix:///run/docker.sock").len(), 12);
        assert_ne!(engine_id("a", "bc"), engine_id("ab", "c"));
    }
}
