//! The proxy of the test kit, between plain sockets and in front of the kit's Docker engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on is to panic, in its helpers too")]

mod bytes;
mod http;
mod peers;
