//! `tee-session session show`

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, json};
use tee_session_client::Session;

use super::{Fault, Service, times::time, token};
use crate::command_line::output::{DIMMED, NAME as BOLD, PLAIN, Table, print_json, stdout};

pub(super) const NAME: &str = "show";

const REVEAL: &str = "reveal";

const AFTER_HELP: &str = "\
To show a session is to use it: its idle timeout starts anew (ttl does not do that).

Examples:
  tee-session session show --token-file token
  tee-session session show --json < token | jq -r .session_id
  tee-session session show --reveal --json < token | jq -r .cookies.SESSIONID

Exit codes: 0 shown, 1 it does not live or the service was not there, 2 a wrong command line or input.";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Show the session of a token; the values of its cookies stay hidden")
        .after_help(AFTER_HELP)
        .arg(token::arg())
        .arg(
            Arg::new(REVEAL)
                .long("reveal")
                .action(ArgAction::SetTrue)
                .help("Show the values of the cookies as well: they are the login"),
        )
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let token = token::read(flags)?;
    let client = service.client()?;
    let session = service.ask(client.session(&token).get()).await?;
    let is_revealed = flags.get_flag(REVEAL);
    if service.is_json {
        print_as_json(&session, is_revealed)?;
    } else {
        print(&session, is_revealed)?;
    }
    Ok(())
}

fn print_as_json(session: &Session, is_revealed: bool) -> std::io::Result<()> {
    let names: Vec<_> = session.cookies.iter().map(|(name, _)| name).collect();
    let mut told = json!({
        "session_id": session.session_id.to_string(),
        "base_url": session.base_url.as_str(),
        "created_at": time(session.created_at),
        "expires_at": time(session.expires_at),
        "subject": session.subject,
        "label": session.label,
        "cookie_names": names,
    });
    if is_revealed {
        let cookies = session.cookies.iter();
        let cookies = cookies.map(|(name, value)| (name.to_owned(), json!(value)));
        told["cookies"] = cookies.collect::<Map<_, _>>().into();
    }
    print_json(&told)
}

fn print(session: &Session, is_revealed: bool) -> std::io::Result<()> {
    let mut table = Table::default();
    let id = session.session_id.to_string();
    let (created, expires) = (time(session.created_at), time(session.expires_at));
    table.line([(BOLD, "session id"), (PLAIN, &id)]);
    table.line([(BOLD, "base URL"), (PLAIN, session.base_url.as_str())]);
    table.line([(BOLD, "created"), (PLAIN, &created)]);
    table.line([(BOLD, "expires"), (PLAIN, &expires)]);
    for (name, value) in [("subject", &session.subject), ("label", &session.label)] {
        if let Some(value) = value {
            table.line([(BOLD, name), (PLAIN, value)]);
        }
    }
    for (name, value) in session.cookies.iter() {
        let shown = if is_revealed {
            (PLAIN, value)
        } else {
            (DIMMED, "(hidden)")
        };
        table.line([(BOLD, "cookie"), (PLAIN, name), shown]);
    }
    table.write(&mut stdout())
}
