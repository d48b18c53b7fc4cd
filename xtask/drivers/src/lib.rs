//! What does things to containers of real engines, for scenarios and benches: through clients and on connections of
//! its own, so that none of what is tested has a part in it.

pub mod api;
pub mod containerd;
pub mod cri;
pub mod docker;
