//! How many descriptors there may be.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of descriptors of this process to the highest that it may set: the soft limit becomes the hard one.
///
/// For programs. A library must not, because it changes what the whole process may do: with more than 1,024
/// descriptors, `select` fails.
///
/// # Errors
///
/// If the system refuses that.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(());
    }
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Whether a new descriptor leaves a fifth of all free. The kernel gives each the lowest number that is free.
pub(crate) fn leaves_room(descriptor: &OwnedFd) -> bool {
    is_below(descriptor.as_raw_fd(), getrlimit(Resource::Nofile).current)
}

fn is_below(number: i32, limit: Option<u64>) -> bool {
    limit.is_none_or(|limit| u64::try_from(number).is_ok_and(|number| number < limit - limit / 5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_descriptors_is_kept_free() {
        for (number, limit, expected) in [
            (799, Some(1000), true),
            (800, Some(1000), false),
            (0, Some(0), false),
            (-1, Some(1000), false),
            (i32::MAX, None, true),
        ] {
            assert_eq!(is_below(number, limit), expected, "{number} of {limit:?}");
        }
    }
}
