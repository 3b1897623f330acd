//! Why a command failed, and with which exit code it ends.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::settings::Problems;

/// Bad settings, or a wrong command line, as opposed to 1 for a failure at run time.
const EXIT_MISUSED: u8 = 2;

/// Why a command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The settings are wrong.
    Settings(Problems),
    /// The command line is wrong; or asks for help, which is no failure.
    CommandLine(Box<clap::Error>),
    /// What happened later.
    AtRunTime(anyhow::Error),
}

impl Failure {
    /// Tells whoever waits for it, and gives the exit code.
    pub(super) fn tell(self) -> ExitCode {
        match self {
            Self::Settings(problems) => {
                let _ = write!(io::stderr().lock(), "{problems}");
                ExitCode::from(EXIT_MISUSED)
            }
            Self::CommandLine(error) => {
                let _ = error.print();
                u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            Self::AtRunTime(error) => {
                let _ = writeln!(io::stderr().lock(), "tee-session: {error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Settings(problems)
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        Self::CommandLine(Box::new(error))
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::AtRunTime(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::AtRunTime(error.into())
    }
}
