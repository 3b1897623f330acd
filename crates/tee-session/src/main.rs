//! The session service: reads its settings, picks a store, serves.

mod command_line;
mod new_client;
mod probe;
mod settings;
mod traces;
mod wiring;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use self::{
    command_line::Action,
    settings::{Problems, Settings},
};

/// Requests make and drop dozens of small values: the allocator of the system took one part in twelve
/// of their processor time (perf).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bad settings, as opposed to 1 for a failure at run time.
const EXIT_BAD_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    match command_line::parse().map(run) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            let _ = writeln!(io::stderr().lock(), "tee-session: {error:#}");
            ExitCode::FAILURE
        }
        Ok(Err(problems)) | Err(problems) => {
            let _ = write!(io::stderr().lock(), "{problems}");
            ExitCode::from(EXIT_BAD_SETTINGS)
        }
    }
}

/// Bad settings are one kind of failure, what happens later is the other.
fn run(action: Action) -> Result<anyhow::Result<()>, Problems> {
    Ok(match action {
        Action::Serve(sources) => wiring::serve(Settings::parse(&sources)?),
        Action::CheckConfig(sources) => {
            Settings::parse(&sources)?;
            write!(io::stdout().lock(), "{sources}").map_err(Into::into)
        }
        Action::NewClient(client) => new_client::print(&client),
        Action::Probe(probe) => probe.ask(),
    })
}
