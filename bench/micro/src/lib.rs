//! Micro-benchmarks of the hot path of Tee Session: duration, instructions and memory allocations.
//! `bench/micro/run --help` explains how to run the benchmarks.

pub mod allocation_sites;
pub mod counting_allocator;
pub mod keep_alive_client;
pub mod operations;
pub mod record;
pub mod redis_server;
pub mod sample;
pub mod served_requests;
