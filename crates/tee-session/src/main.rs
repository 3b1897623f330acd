//! The session service: reads its settings, picks a store, serves.

mod command_line;
mod settings;
mod wiring;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use self::{
    command_line::Action,
    settings::{Settings, Sources},
};

/// Bad settings, as opposed to 1 for a failure at run time.
const EXIT_BAD_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    let (action, sources) = command_line::parse();
    let settings = sources.and_then(|sources| Ok((Settings::parse(&sources)?, sources)));
    let (settings, sources) = match settings {
        Ok(settings) => settings,
        Err(problems) => {
            let _ = write!(io::stderr().lock(), "{problems}");
            return ExitCode::from(EXIT_BAD_SETTINGS);
        }
    };
    let outcome = match action {
        Action::Serve => wiring::serve(settings),
        Action::CheckConfig => print_settings(&sources),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "tee-session: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_settings(sources: &Sources) -> anyhow::Result<()> {
    Ok(write!(io::stdout().lock(), "{sources}")?)
}
