//! The command `tee-session session revoke`: ends one session, or all sessions of a subject.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;
use tee_session_client::SessionId;

use super::{
    Fault, Service,
    service::client_args,
    token::{self, TOKEN_FILE},
};
use crate::command_line::output::{print_json, stderr, stdout};

pub(super) const NAME: &str = "revoke";

const SESSION_ID: &str = "session-id";
const SUBJECT: &str = "subject";
const YES: &str = "yes";

const AFTER_HELP: &str = "\
Ending a session by its token requires no service client. Ending a session by its id, or all
sessions of a subject, requires a service client with the scope admin. Before it ends all sessions
of a subject, the command asks for confirmation, unless --yes is given.

Examples:
  tee-session session revoke --token-file token
  tee-session session revoke --session-id k88fXCPKK0gU1YooURbm9Q
  tee-session session revoke --subject member-4711 --yes \\
    --client-id support --client-secret-file secret

Exit codes: 0 ended, 1 no such session, or the service refused or was unavailable, 2 invalid command
line or input, or not confirmed.";

pub(super) fn command() -> Command {
    let id = Arg::new(SESSION_ID)
        .long("session-id")
        .value_name("ID")
        // A session id may begin with a hyphen.
        .allow_hyphen_values(true)
        .conflicts_with_all([TOKEN_FILE, SUBJECT])
        .help("End the session with this id, instead of the session of a token");
    let subject = Arg::new(SUBJECT)
        .long("subject")
        .value_name("SUBJECT")
        .allow_hyphen_values(true)
        .conflicts_with(TOKEN_FILE)
        .help("End all sessions of this subject");
    let yes = Arg::new(YES)
        .long("yes")
        .action(ArgAction::SetTrue)
        .requires(SUBJECT)
        .help("Do not ask for confirmation");
    Command::new(NAME)
        .about("End the session of a token, the session with an id, or all sessions of a subject")
        .after_help(AFTER_HELP)
        .arg(token::arg())
        .args([id, subject, yes])
        .args(client_args())
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let ended = if let Some(id) = flags.get_one::<String>(SESSION_ID) {
        // clap does not parse the session id, because the error message of clap would repeat the
        // text. The user may have given a token by mistake.
        let id: SessionId = id.parse().map_err(|error| {
            Fault::misuse(
                format!("--session-id: {error}"),
                "tee-session session list shows ids",
            )
        })?;
        service.call(service.client()?.end_session(&id)).await?;
        1
    } else if let Some(subject) = flags.get_one::<String>(SUBJECT) {
        let client = service.client()?;
        if !flags.get_flag(YES) {
            confirm(subject)?;
        }
        service.call(client.end_sessions(subject)).await?
    } else {
        let token = token::read(flags)?;
        let client = service.client()?;
        service.call(client.session(&token).delete()).await?;
        1
    };
    if service.is_json {
        print_json(&json!({"revoked": ended}))?;
    } else {
        let sessions = if ended == 1 { "session" } else { "sessions" };
        writeln!(stdout(), "{ended} {sessions} ended")?;
    }
    Ok(())
}

/// Asks on the terminal for confirmation to end all sessions of `subject`. Returns an error if the
/// user does not confirm, or if standard input is not a terminal.
fn confirm(subject: &str) -> Result<(), Fault> {
    let refused = |what: &str| {
        Fault::misuse(
            what.to_owned(),
            "to end them without confirmation, use --yes",
        )
    };
    if !io::stdin().is_terminal() {
        return Err(refused(
            "there is no terminal for the confirmation, and nothing was ended",
        ));
    }
    let subject = subject.escape_debug();
    write!(stderr(), "End all sessions of {subject}? [y/N] ")
        .and_then(|()| stderr().flush())
        .map_err(|_| refused("the question cannot be printed, and nothing was ended"))?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(refused("nothing was ended")),
    }
}
