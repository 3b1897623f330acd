//! What the hot path of Tee Session costs, apart from the network: time, instructions and
//! allocations. `bench/micro/run --help` tells how to measure them.

pub mod allocation_sites;
pub mod counting_allocator;
pub mod keep_alive_client;
pub mod operations;
pub mod record;
pub mod sample;
pub mod served_requests;
