//! The session service: reads its settings, picks a store, serves.

mod command_line;
mod settings;
mod traces;
mod wiring;

use std::process::ExitCode;

/// Requests make and drop dozens of small values: the allocator of the system took one part in twelve
/// of their processor time (perf).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command_line::run()
}
