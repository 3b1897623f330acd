//! The command `tee-session session show`: shows the session of a token.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, json};
use tee_session_client::Session;

use super::{Fault, Service, attributes, times::time, token};
use crate::command_line::output::{DIMMED, NAME as BOLD, PLAIN, Table, print_json, stdout};

pub(super) const NAME: &str = "show";

const REVEAL: &str = "reveal";

const AFTER_HELP: &str = "\
Showing a session counts as an access, which restarts its idle timeout (ttl does not).

Examples:
  tee-session session show --token-file token
  tee-session session show --json < token | jq -r .session_id
  tee-session session show --reveal --json < token | jq -r .cookies.SESSIONID

Exit codes: 0 shown, 1 no such session or the service was unavailable, 2 invalid command line or
input.";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Show the session of a token; the values of its cookies are hidden")
        .after_help(AFTER_HELP)
        .arg(token::arg())
        .arg(
            Arg::new(REVEAL)
                .long("reveal")
                .action(ArgAction::SetTrue)
                .help("Also show the values of the cookies, which are the upstream login"),
        )
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let token = token::read(flags)?;
    let client = service.client()?;
    let session = service.call(client.session(&token).get()).await?;
    let is_revealed = flags.get_flag(REVEAL);
    if is_revealed && session.cookie_names.is_some() {
        return Err(Fault::incomplete(
            "the service hides the values of cookies (hide_cookies)".to_owned(),
            "leave --reveal out; use the login through the gateway of the service",
        ));
    }
    if service.is_json {
        print_as_json(&session, is_revealed)?;
    } else {
        print(&session, is_revealed)?;
    }
    Ok(())
}

fn print_as_json(session: &Session, is_revealed: bool) -> std::io::Result<()> {
    let names: Vec<_> = cookies_of(session).map(|(name, _)| name).collect();
    let mut output = json!({
        "session_id": session.session_id.to_string(),
        "base_url": session.base_url.as_str(),
        "created_at": time(session.created_at),
        "expires_at": time(session.expires_at),
        "cookie_names": names,
    });
    for (name, read) in attributes::ALL {
        output[name] = json!(read(&session.attributes));
    }
    if is_revealed {
        let cookies = session.cookies.iter();
        let cookies = cookies.map(|(name, value)| (name.to_owned(), json!(value)));
        output["cookies"] = cookies.collect::<Map<_, _>>().into();
    }
    print_json(&output)
}

/// Returns the names and values of the cookies. If the service hides the values, the value of each
/// cookie is `None`.
fn cookies_of(session: &Session) -> impl Iterator<Item = (&str, Option<&str>)> {
    let hidden = session.cookie_names.iter().flatten();
    let hidden = hidden.map(|name| (name.as_str(), None));
    session.cookies.iter().chain(hidden)
}

fn print(session: &Session, is_revealed: bool) -> std::io::Result<()> {
    let mut table = Table::default();
    let id = session.session_id.to_string();
    let (created, expires) = (time(session.created_at), time(session.expires_at));
    table.line([(BOLD, "session id"), (PLAIN, &id)]);
    table.line([(BOLD, "base URL"), (PLAIN, session.base_url.as_str())]);
    table.line([(BOLD, "created"), (PLAIN, &created)]);
    table.line([(BOLD, "expires"), (PLAIN, &expires)]);
    for (name, read) in attributes::ALL {
        if let Some(value) = read(&session.attributes) {
            table.line([(BOLD, name), (PLAIN, value)]);
        }
    }
    for (name, value) in cookies_of(session) {
        let shown = match value {
            _ if !is_revealed => (DIMMED, "(hidden)"),
            Some(value) => (PLAIN, value),
            None => (DIMMED, "(no value)"),
        };
        table.line([(BOLD, "cookie"), (PLAIN, name), shown]);
    }
    table.write(&mut stdout())
}
