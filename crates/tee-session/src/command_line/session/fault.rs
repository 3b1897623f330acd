//! The error of a failed `tee-session session` command, with advice on how to fix the problem.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use serde_json::{Value, json};
use tee_session_client::{BuildError, ClientError, Problem, ProblemCode};

use crate::command_line::{
    failure::{EXIT_MISUSED, EXIT_OUTPUT_CLOSED},
    output::{BAD, NAME as BOLD, printable, stderr},
};

const EXIT_FAILED: u8 = 1;

/// Reason why a `tee-session session` command failed. The texts contain no token, no cookie and no
/// client secret.
#[derive(Debug)]
pub(super) struct Fault {
    exit_code: u8,
    what: String,
    advice: Option<String>,
    problem: Option<Box<Problem>>,
}

impl Fault {
    /// Returns the fault for an invalid command line or input, with the exit code 2. `what`
    /// describes the problem, and `advice` describes the solution.
    pub(super) fn misuse(what: String, advice: &str) -> Self {
        Self {
            exit_code: EXIT_MISUSED,
            what,
            advice: Some(advice.to_owned()),
            problem: None,
        }
    }

    /// Returns the fault for a command that has done only a part of its work, with the exit code 1.
    pub(super) fn incomplete(what: String, advice: &str) -> Self {
        Self {
            exit_code: EXIT_FAILED,
            ..Self::misuse(what, advice)
        }
    }

    /// Prints the fault on standard error: as JSON if `is_json` is true, otherwise as text. Returns
    /// the exit code of the process. Prints nothing if standard output was closed.
    pub(super) fn report(&self, is_json: bool) -> ExitCode {
        let _ = if self.exit_code == EXIT_OUTPUT_CLOSED {
            Ok(())
        } else if is_json {
            writeln!(stderr(), "{:#}", self.as_json())
        } else {
            self.write(&mut stderr())
        };
        ExitCode::from(self.exit_code)
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{BAD}tee-session:{BAD:#} {}", printable(&self.what))?;
        for member in self.problem.iter().flat_map(|problem| &problem.errors) {
            let member = format!("{}: {}", member.pointer, member.detail);
            writeln!(out, "  {}", printable(&member))?;
        }
        if let Some(advice) = &self.advice {
            writeln!(out, "{BOLD}tip:{BOLD:#} {advice}")?;
        }
        Ok(())
    }

    fn as_json(&self) -> Value {
        let problem = self.problem.as_ref();
        let members = problem
            .map(|problem| &problem.errors[..])
            .unwrap_or_default();
        let members = members
            .iter()
            .map(|member| json!({"pointer": member.pointer, "detail": member.detail}));
        json!({"error": {
            "what": self.what,
            "advice": self.advice,
            "status": problem.map(|problem| problem.status),
            "code": problem.map(|problem| problem.code.as_str()),
            "retry_after": problem.and_then(|problem| problem.retry_after).map(|wait| wait.as_secs()),
            "errors": members.collect::<Vec<_>>(),
        }})
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        // Only standard output can be a pipe here: errors of standard error are ignored, and the
        // other files are regular files.
        Self {
            exit_code: match error.kind() {
                io::ErrorKind::BrokenPipe => EXIT_OUTPUT_CLOSED,
                _ => EXIT_FAILED,
            },
            what: error.to_string(),
            advice: None,
            problem: None,
        }
    }
}

impl From<BuildError> for Fault {
    fn from(error: BuildError) -> Self {
        let advice = match error {
            BuildError::Certificates { .. } => "pass a file of certificates (PEM) with --ca-file",
            _ => "set --url or TSA_URL to the URL of the service, such as http://127.0.0.1:8000",
        };
        Self::misuse(error.to_string(), advice)
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        let what = match &error {
            ClientError::Connect { source }
            | ClientError::Timeout { source }
            | ClientError::Transport { source } => format!("{error}: {}", innermost(&**source)),
            _ => error.to_string(),
        };
        let advice = advice(&error, &what);
        Self {
            exit_code: EXIT_FAILED,
            what,
            advice,
            problem: error.problem().cloned().map(Box::new),
        }
    }
}

/// Returns the original cause of `error`: the last error in the chain of its sources.
fn innermost<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

fn advice(error: &ClientError, what: &str) -> Option<String> {
    Some(match error {
        ClientError::Problem(problem) => return of_problem(problem),
        ClientError::Connect { .. } if what.contains("UnknownIssuer") => {
            "pass the authority that issued the certificate of the service with --ca-file"
                .to_owned()
        }
        ClientError::Connect { .. } if what.contains("not valid for name") => {
            "use the host name of the service's certificate in --url or TSA_URL".to_owned()
        }
        ClientError::Connect { .. } if what.contains("certificate") => {
            "check the certificate of the service, and the clock of this machine".to_owned()
        }
        ClientError::Connect { .. } => {
            "check that the service runs (tee-session serve), and that --url or TSA_URL names it"
                .to_owned()
        }
        ClientError::Timeout { .. } | ClientError::Transport { .. } => {
            "try again; the session may have been created or ended nevertheless".to_owned()
        }
        _ => "check that --url or TSA_URL names a Tee Session service".to_owned(),
    })
}

fn of_problem(problem: &Problem) -> Option<String> {
    let again = || {
        let wait = problem.retry_after.map(|wait| wait.as_secs());
        let wait = wait.map_or(String::new(), |wait| format!(" after {wait} s"));
        format!("try again{wait}")
    };
    Some(match &problem.code {
        ProblemCode::InvalidToken => {
            "the session has ended or never existed: create one with tee-session session create"
                .to_owned()
        }
        ProblemCode::InvalidClient => {
            "pass a service client with --client-id and --client-secret-file; create one with \
             tee-session client new"
                .to_owned()
        }
        ProblemCode::InsufficientScope => {
            "use a client with the required scope: create for create, admin for list and for \
             revoke by id or subject"
                .to_owned()
        }
        ProblemCode::NotFound => {
            "check the id (tee-session session list shows ids), and that --url names the service"
                .to_owned()
        }
        ProblemCode::SessionLimitReached => {
            "end one of the subject's sessions first: tee-session session revoke --session-id"
                .to_owned()
        }
        ProblemCode::StoreUnavailable => format!(
            "{}; on the host of the service, tee-session check-config --connect reports what is \
             wrong with Redis",
            again()
        ),
        ProblemCode::StoreMisconfigured => "on the host of the service, tee-session check-config \
             --connect reports what is wrong with Redis and how to fix it"
            .to_owned(),
        ProblemCode::StoreFull | ProblemCode::Overloaded | ProblemCode::TooManyRequests => again(),
        ProblemCode::InvalidSession | ProblemCode::InvalidRequest => {
            "correct what the error names, and try again".to_owned()
        }
        ProblemCode::InternalError => "this is a bug of the service: see its log".to_owned(),
        ProblemCode::Other(_) => {
            "check that --url or TSA_URL names a Tee Session service".to_owned()
        }
        _ => return None,
    })
}
