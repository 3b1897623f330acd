//! `tee-session session create`

mod token_file;

use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
};

use clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;
use tee_session_client::{BaseUrl, NewSession};

use self::token_file::TokenFile;
use super::{Fault, Service, cookies, service::client_args, times::time};
use crate::command_line::{
    output::{print_json, stderr, stdout},
    secret_input::SecretInput,
};

pub(super) const NAME: &str = "create";

const BASE_URL: &str = "base-url";
const COOKIES_FILE: &str = "cookies-file";
const LABEL: &str = "label";
const SUBJECT: &str = "subject";
const TOKEN_OUT: &str = "token-out";

const AFTER_HELP: &str = "\
Standard output is the token alone, or with --token-out nothing; the rest is told on standard error.
For a service client with the scope create.

Examples:
  echo '{\"SESSIONID\": \"a1b2c3\"}' | tee-session session create --base-url https://golf.example \\
    --token-out token
  tee-session session create --cookies-file cookies.json --base-url https://golf.example \\
    --subject member-4711 --label tablet --client-id booking-api --client-secret-file secret
  tee-session session create --base-url https://golf.example < cookies.json \\
    | tee-session session show

Exit codes: 0 created, 1 the service refused or was not there, 2 a wrong command line or input.";

pub(super) fn command() -> Command {
    let text =
        |name: &'static str, value: &'static str| Arg::new(name).long(name).value_name(value);
    let file = |name| text(name, "FILE").value_parser(value_parser!(PathBuf));
    Command::new(NAME)
        .about("Put an upstream login behind a new token")
        .after_help(AFTER_HELP)
        .arg(
            file(COOKIES_FILE).help(
                "File with the cookies, as a JSON object of names and values; not set, or -: standard input",
            ),
        )
        .arg(
            text(BASE_URL, "URL")
                .required(true)
                .help("The upstream site"),
        )
        .arg(
            text(SUBJECT, "SUBJECT")
                .allow_hyphen_values(true)
                .help("Whose session it is: visible ASCII"),
        )
        .arg(
            text(LABEL, "TEXT")
                .allow_hyphen_values(true)
                .help("What it is called in lists"),
        )
        .arg(file(TOKEN_OUT).help(
            "Write the token into this new file, which nobody else may read, and do not print it",
        ))
        .args(client_args())
}

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let base_url = base_url(flags)?;
    let input = input(flags)?;
    let client = service.client_beside(Some(&input))?;
    let text = input.read().map_err(|error| {
        let what = format!("the cookies cannot be read: {error}");
        Fault::misuse(what, "pipe them in, or name their file with --cookies-file")
    })?;
    let cookies = cookies::parse(&text)
        .map_err(|what| Fault::misuse(what, r#"write them as {"SESSIONID": "a1b2c3"}"#))?;
    let mut create = client.create(&cookies, &base_url);
    if let Some(subject) = flags.get_one::<String>(SUBJECT) {
        create = create.subject(subject);
    }
    if let Some(label) = flags.get_one::<String>(LABEL) {
        create = create.label(label);
    }
    // Before there is a token that could be lost.
    let file = flags
        .get_one::<PathBuf>(TOKEN_OUT)
        .map(|path| TokenFile::create(path));
    let file = file.transpose()?;
    let new = service.ask(create.send()).await?;
    let is_kept = file.is_some();
    if let Some(file) = file {
        file.keep(&new.access_token)?;
    }
    tell(&new, service.is_json, is_kept)?;
    Ok(())
}

/// Not by the parser of the command line, which would repeat a password that stands in it.
fn base_url(flags: &ArgMatches) -> Result<BaseUrl, Fault> {
    let text = flags
        .get_one::<String>(BASE_URL)
        .cloned()
        .unwrap_or_default();
    BaseUrl::new(text).map_err(|error| {
        let advice = "name the site as in https://golf.example/members";
        Fault::misuse(format!("--base-url: {error}"), advice)
    })
}

fn input(flags: &ArgMatches) -> Result<SecretInput, Fault> {
    let file = flags.get_one::<PathBuf>(COOKIES_FILE);
    let input = file.map_or(SecretInput::Stdin, |file| SecretInput::of_file(file));
    if input == SecretInput::Stdin && io::stdin().is_terminal() {
        return Err(Fault::misuse(
            "there are no cookies".to_owned(),
            "pipe them in as JSON, or name their file with --cookies-file",
        ));
    }
    Ok(input)
}

fn tell(new: &NewSession, is_json: bool, is_kept: bool) -> io::Result<()> {
    let (id, seconds) = (new.session_id.to_string(), new.expires_in.as_secs());
    let end = time(new.expires_at);
    if is_json {
        let mut told = json!({"session_id": id, "expires_in": seconds, "expires_at": end});
        if !is_kept {
            told["access_token"] = json!(new.access_token.expose_secret());
        }
        return print_json(&told);
    }
    writeln!(
        stderr(),
        "Session {id} lives for {seconds} s if nobody uses it, until {end}."
    )?;
    if !is_kept {
        writeln!(stdout(), "{}", new.access_token.expose_secret())?;
    }
    Ok(())
}
