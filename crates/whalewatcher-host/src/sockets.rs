//! Unix sockets, as `/proc/PID/net/unix` and the links in `/proc/PID/fd` name them.

use std::path::PathBuf;

/// The flag of a socket that listens, from the kernel's `net.h`.
const LISTENING: u32 = 1 << 16;

/// The type of a stream socket.
const STREAM: u32 = 1;

/// A unix socket at which a process listens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListeningSocket {
    /// What identifies it until it is closed: not the inode of its file.
    pub inode: u64,
    /// The path as it was bound: absolute, in the root of the process that bound it.
    pub path: PathBuf,
}

/// Decodes the listening stream sockets with an absolute path; what is malformed, such as a last line that
/// was cut, is skipped.
pub(crate) fn listening(text: &str) -> Vec<ListeningSocket> {
    // Only the file's last line can lack its end.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(decode).collect()
}

/// Decodes `Num RefCount Protocol Flags Type St Inode Path`, of which the kernel pads the inode with blanks.
fn decode(line: &str) -> Option<ListeningSocket> {
    let mut rest = line;
    let mut field = || {
        rest = rest.trim_start_matches(' ');
        let (field, after) = rest.split_once(' ')?;
        rest = after;
        Some(field)
    };
    let hexadecimal = |field: &str| u32::from_str_radix(field, 16).ok();
    let (_, _, _) = (field()?, field()?, field()?);
    let (flags, kind, _) = (hexadecimal(field()?)?, hexadecimal(field()?)?, field()?);
    let inode = field()?.parse().ok()?;
    // A path may contain blanks.
    let is_wanted = flags & LISTENING != 0 && kind == STREAM && rest.starts_with('/');
    is_wanted.then(|| ListeningSocket { inode, path: rest.into() })
}

/// Decodes `socket:[INODE]`.
pub(crate) fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_stream_sockets_with_a_path_are_decoded() {
        let text = "\
Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01    11 /run/a b.sock
00000000abcdef00: 00000003 00000000 00000000 0001 03 12345 /run/connected.sock
0000000000000000: 00000002 00000000 00010000 0005 01 13 /run/packets.sock
0000000000000000: 00000002 00000000 00010000 0001 01 14 @abstract
0000000000000000: 00000002 00000000 00010000 0001 01 15 relative.sock
0000000000000000: 00000002 00000000 00010000 0001 01 16
0000000000000000: 00000002 00000000 zzz 0001 01 17 /run/malformed.sock

0000000000000000: 00000002 00000000 00010000 0001 01 18 /run/b.sock
0000000000000000: 00000002 00000000 00010000 0001 01 19 /run/cut";
        let found: Vec<_> = listening(text).into_iter().map(|socket| (socket.inode, socket.path)).collect();
        assert_eq!(found, [(11, "/run/a b.sock".into()), (18, "/run/b.sock".into())]);
        assert!(listening("").is_empty());
    }

    #[test]
    fn only_links_to_sockets_have_an_inode() {
        assert_eq!(inode("socket:[4711]"), Some(4711));
        for other in ["/dev/null", "pipe:[1]", "socket:[]", "socket:[x]", "socket:[1"] {
            assert_eq!(inode(other), None, "{other}");
        }
    }
}
