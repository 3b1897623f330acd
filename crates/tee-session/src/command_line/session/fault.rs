//! What went wrong with a call, and what to do next.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use serde_json::{Value, json};
use tee_session_client::{BuildError, ClientError, Problem, ProblemCode};

use super::Service;
use crate::command_line::output::{BAD, NAME as BOLD, printable, stderr};

const EXIT_FAILED: u8 = 1;

/// The command line, or what it leads to, is at fault.
const EXIT_MISUSED: u8 = 2;

/// Why a command of `session` failed. It holds no token, cookie or secret.
#[derive(Debug)]
pub(super) struct Fault {
    exit_code: u8,
    what: String,
    advice: Option<String>,
    problem: Option<Box<Problem>>,
}

impl Fault {
    /// What was given cannot be used.
    pub(super) fn misuse(what: String, advice: &str) -> Self {
        Self {
            exit_code: EXIT_MISUSED,
            what,
            advice: Some(advice.to_owned()),
            problem: None,
        }
    }

    /// Tells it on standard error, and gives the exit code.
    pub(super) fn tell(&self, service: &Service) -> ExitCode {
        let _ = if service.is_json {
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
        Self {
            exit_code: EXIT_FAILED,
            what: error.to_string(),
            advice: None,
            problem: None,
        }
    }
}

impl From<BuildError> for Fault {
    fn from(error: BuildError) -> Self {
        let advice = match error {
            BuildError::Certificates { .. } => "name a file of certificates (PEM) with --ca-file",
            _ => "name the service with --url or TSA_URL, as in http://127.0.0.1:8000",
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

/// What the layers above only wrap.
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
            "name the authority that issued the certificate of the service with --ca-file"
                .to_owned()
        }
        ClientError::Connect { .. } if what.contains("not valid for name") => {
            "name the service with --url or TSA_URL as its certificate does".to_owned()
        }
        ClientError::Connect { .. } if what.contains("certificate") => {
            "have the service show a sound certificate; and see that this machine's clock is right"
                .to_owned()
        }
        ClientError::Connect { .. } => {
            "see that the service runs (tee-session serve) and is there: --url, or TSA_URL"
                .to_owned()
        }
        ClientError::Timeout { .. } | ClientError::Transport { .. } => {
            "try again; what was to be created or ended may have been".to_owned()
        }
        _ => "see that it is a Tee Session that answers there: --url, or TSA_URL".to_owned(),
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
            "the session has ended, or there was none: tee-session session create makes one".to_owned()
        }
        ProblemCode::InvalidClient => {
            "name a client of the service with --client-id and --client-secret-file; tee-session \
             client new makes one"
                .to_owned()
        }
        ProblemCode::InsufficientScope => {
            "take a client with that scope: create for create, admin for list and for revoke by id or \
             subject"
                .to_owned()
        }
        ProblemCode::NotFound => {
            "see the id, and that --url names the service: tee-session session list shows ids".to_owned()
        }
        ProblemCode::SessionLimitReached => {
            "end one of the subject's sessions first: tee-session session revoke --session-id".to_owned()
        }
        ProblemCode::StoreUnavailable => format!(
            "{}; where the service runs, tee-session check-config --connect says what is wrong with Redis",
            again()
        ),
        ProblemCode::StoreFull | ProblemCode::Overloaded | ProblemCode::TooManyRequests => again(),
        ProblemCode::InvalidSession | ProblemCode::InvalidRequest => {
            "mend what is named, and try again".to_owned()
        }
        ProblemCode::InternalError => "this is a bug: look into the log of the service".to_owned(),
        ProblemCode::Other(_) => {
            "see that it is a Tee Session that answers there: --url, or TSA_URL".to_owned()
        }
        _ => return None,
    })
}
