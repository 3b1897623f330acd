//! The error of a failed command, and the exit code for the error.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::settings::Problems;

/// Exit code for invalid settings, an invalid command line or invalid input. A failure at run time exits with 1.
pub(super) const EXIT_MISUSED: u8 = 2;

/// Exit code if standard output was closed before the end of the output, as in
/// `tee-session check-config | head`. A shell reports this code for programs that `SIGPIPE` ends.
pub(super) const EXIT_OUTPUT_CLOSED: u8 = 141;

/// Reason why a `tee-session` command failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The settings of the service are invalid.
    Settings(Problems),
    /// The command line is invalid (exit code 2), or requests the help text or the version (exit
    /// code 0).
    CommandLine(Box<clap::Error>),
    /// Standard output was closed before the end of the output. No error is printed, because the
    /// program that reads the output has closed it.
    OutputClosed,
    /// The command failed at run time.
    AtRunTime(anyhow::Error),
}

impl Failure {
    /// Prints the failure, and returns the exit code of the process.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Self::Settings(problems) => {
                let _ = write!(io::stderr().lock(), "{problems}");
                ExitCode::from(EXIT_MISUSED)
            }
            Self::CommandLine(error) => {
                let _ = error.print();
                u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
            }
            Self::OutputClosed => ExitCode::from(EXIT_OUTPUT_CLOSED),
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
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::AtRunTime(error.into()),
        }
    }
}
