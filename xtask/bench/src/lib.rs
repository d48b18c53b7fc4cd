//! What the two programs of the benches share. There are two of them, for one counts every allocation, which takes time
//! that the other one must not measure.

pub mod cost;
pub mod floor;
pub mod population;
pub mod report;
pub mod sample;
pub mod served;
