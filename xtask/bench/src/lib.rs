//! What the programs of the benches share. One counts every allocation, which takes time that the others must not measure;
//! one does nothing but watch, for all that it takes is measured from outside.

pub mod cost;
pub mod floor;
pub mod population;
pub mod report;
pub mod sample;
pub mod served;
