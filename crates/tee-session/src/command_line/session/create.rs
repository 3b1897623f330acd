//! The command `tee-session session create`: creates a session, and prints the token or writes the
//! token to a file.

mod cookies_object;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;
use tee_session_client::{BaseUrl, NewSession};
use zeroize::Zeroizing;

use super::{
    Fault, Service, attributes, secret_file::SecretFile, service::client_args, times::time,
};
use crate::command_line::{
    output::{print_json, print_note, printable, stdout},
    secret_input::SecretInput,
};

pub(super) const NAME: &str = "create";

const BASE_URL: &str = "base-url";
const COOKIES_FILE: &str = "cookies-file";
const TOKEN_OUT: &str = "token-out";

const AFTER_HELP: &str = "\
Prints only the token on standard output, or nothing with --token-out; everything else is printed on
standard error. Leaves out, and names, cookies that a session cannot hold. Requires a service client
with the scope create.

Examples:
  echo '{\"SESSIONID\": \"a1b2c3\"}' | tee-session session create --base-url https://golf.example \\
    --token-out token
  tee-session session create --cookies-file cookies.json --base-url https://golf.example \\
    --subject member-4711 --label tablet --client-id booking-api --client-secret-file secret
  tee-session session create --base-url https://golf.example < cookies.json \\
    | tee-session session show

Exit codes: 0 created, 1 the service refused or was unavailable, or the token cannot be written,
2 invalid command line or input.";

pub(super) fn command() -> Command {
    let text =
        |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let file = |name| text(name, "FILE").value_parser(value_parser!(PathBuf));
    Command::new(NAME)
        .about("Create a session for an upstream login, and print its token")
        .after_help(AFTER_HELP)
        .arg(file(COOKIES_FILE).help(
            "File with the cookies as a JSON object (name: value); not set or -: standard input",
        ))
        .arg(
            text(BASE_URL, "URL")
                .required(true)
                .help("URL of the upstream site"),
        )
        .args(attributes::args())
        .arg(file(TOKEN_OUT).help(
            "Write the token to this new file, which only its owner can read, and do not print it",
        ))
        .args(client_args())
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let base_url = base_url(flags)?;
    let input = input(flags)?;
    let client = service.client_with_input(Some(&input))?;
    let text = input.read().map_err(|error| {
        let what = format!("the cookies cannot be read: {error}");
        Fault::misuse(
            what,
            "pipe the cookies in, or pass a file with --cookies-file",
        )
    })?;
    let (cookies, left_out) = cookies_object::parse(&text)
        .map_err(|what| Fault::misuse(what, r#"write the cookies as {"SESSIONID": "a1b2c3"}"#))?;
    let create = attributes::set(client.create(&cookies, &base_url), flags);
    // The token file is created before the session. If the file cannot be created, no session is
    // created, so no token is lost.
    let file = flags
        .get_one::<PathBuf>(TOKEN_OUT)
        .map(|path| SecretFile::create(path, TOKEN_OUT));
    let file = file.transpose()?;
    let new = service.call(create.send()).await?;
    let left_out = left_out
        .into_iter()
        .map(|problem| (problem.cookie, problem.rule.to_string()));
    // A service of another release may have other limits.
    let ignored = new
        .ignored
        .iter()
        .map(|cookie| (cookie.pointer.clone(), cookie.reason.clone()));
    let left_out: Vec<_> = left_out.chain(ignored).collect();
    let id = &new.session_id;
    let lost = |error: io::Error| {
        let what = format!("session {id} was created, but its token cannot be written: {error}");
        let advice = format!("end it with tee-session session revoke --session-id {id}");
        Fault::incomplete(what, &advice)
    };
    let Some(file) = file else {
        return print(&new, &left_out, service.is_json, false).map_err(lost);
    };
    let line = Zeroizing::new(format!("{}\n", new.access_token.expose_secret()));
    file.write(line.as_bytes()).map_err(lost)?;
    print(&new, &left_out, service.is_json, true)?;
    Ok(())
}

/// Parses the value of `--base-url`. This value may contain a password, so clap does not parse it:
/// the error message of clap would print the value.
fn base_url(flags: &ArgMatches) -> Result<BaseUrl, Fault> {
    let text = flags
        .get_one::<String>(BASE_URL)
        .cloned()
        .unwrap_or_default();
    BaseUrl::new(text).map_err(|error| {
        let advice = "give the URL of the site, such as https://golf.example/members";
        Fault::misuse(format!("--base-url: {error}"), advice)
    })
}

fn input(flags: &ArgMatches) -> Result<SecretInput, Fault> {
    let file = flags.get_one::<PathBuf>(COOKIES_FILE);
    let input = file.map_or(SecretInput::Stdin, |file| SecretInput::of_file(file));
    if input == SecretInput::Stdin && io::stdin().is_terminal() {
        return Err(Fault::misuse(
            "no cookies are given".to_owned(),
            "pipe the cookies in as JSON, or pass a file with --cookies-file",
        ));
    }
    Ok(input)
}

/// Prints the new session. `left_out` contains names of cookies that were not stored, with the
/// reasons.
fn print(
    new: &NewSession,
    left_out: &[(String, String)],
    is_json: bool,
    is_in_file: bool,
) -> io::Result<()> {
    let (id, seconds) = (new.session_id.to_string(), new.expires_in.as_secs());
    let end = time(new.expires_at);
    if is_json {
        let left_out = left_out.iter();
        let left_out = left_out.map(|(name, reason)| json!({"name": name, "reason": reason}));
        let mut output = json!({
            "session_id": id,
            "expires_in": seconds,
            "expires_at": end,
            "left_out": left_out.collect::<Vec<_>>(),
        });
        if !is_in_file {
            output["access_token"] = json!(new.access_token.expose_secret());
        }
        return print_json(&output);
    }
    for (name, reason) in left_out {
        print_note(format_args!("left out: {}: {reason}", printable(name)));
    }
    print_note(format_args!(
        "Session {id} expires in {seconds} s, at {end}, unless it is used."
    ));
    if !is_in_file {
        writeln!(stdout(), "{}", new.access_token.expose_secret())?;
    }
    Ok(())
}
