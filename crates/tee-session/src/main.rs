//! The session service `tee-session`: reads the settings, selects the session store, and serves the
//! HTTP API.

mod command_line;
mod open_files;
mod reload;
mod settings;
mod traces;
mod wiring;

use std::process::ExitCode;

/// Memory allocator of the process. Each request allocates and frees dozens of small values. With
/// the system's default allocator, these operations took about 8 % of the processor time of a
/// request (measured with perf).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    command_line::run()
}
