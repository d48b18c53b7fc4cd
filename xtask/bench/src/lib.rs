//! What the two programs of the benches share. One of them counts every allocation, which takes time that the
//! other must not measure.

pub mod cost;
pub mod figure;
pub mod floor;
pub mod population;
pub mod requests;
pub mod rounds;
pub mod sample;
