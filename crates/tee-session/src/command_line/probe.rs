//! `tee-session probe`: asks a running instance how it is: what the health check of a container runs.

mod target;
mod tls;

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    process::ExitCode,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use self::target::Target;
use super::{Failure, setting_flags};
use crate::settings::{LISTENER_KEYS, Listener};

/// A status line is shorter.
const LONGEST_STATUS_LINE: u64 = 256;

const AFTER_HELP: &str = "\
Without --url it asks the instance that runs with the same settings (api_host and api_port, from the
same file and environment), from its own machine; all other settings are left unread. Over HTTPS any
certificate will do there; with --url it has to be one that this machine trusts for the name in the
URL.

Examples:
  tee-session probe                                    is the process alive
  tee-session probe --ready                            may it be sent requests
  tee-session probe --ready --url http://10.0.0.5:8000

Exit codes: 0 yes, 1 no, or no answer in time, 2 bad settings or flags.";

pub(super) const NAME: &str = "probe";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Ask a running instance whether it is alive, or ready")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("ready")
                .long("ready")
                .action(ArgAction::SetTrue)
                .help("Ask for /health/ready rather than /health/live"),
        )
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .value_parser(Target::parse)
                .help("Where the instance is (http://host:port) [default: by the settings]"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .default_value("2")
                .value_parser(value_parser!(u64).range(1..=60))
                .help("How long it may all take"),
        )
        .args(setting_flags::args_of(&LISTENER_KEYS))
}

/// Prints a line that says how the instance is; any answer but 200 is a failure. The settings matter
/// only where no URL is given.
pub(super) fn run(before: &ArgMatches, flags: &ArgMatches) -> Result<ExitCode, Failure> {
    let sources = || setting_flags::sources_of(&LISTENER_KEYS, &[before, flags]);
    let target = match flags.get_one::<Target>("url") {
        Some(target) => target.clone(),
        None => Target::of(Listener::parse(&sources()?)?),
    };
    let path = if flags.get_flag("ready") {
        "/health/ready"
    } else {
        "/health/live"
    };
    let seconds = flags.get_one("timeout").copied().unwrap_or_default();
    ask(target, path, Duration::from_secs(seconds))?;
    Ok(ExitCode::SUCCESS)
}

fn ask(target: Target, path: &'static str, within: Duration) -> anyhow::Result<()> {
    let url = format!("{target}{path}");
    let asked = Instant::now();
    // On a thread that is left behind: the look-up of a name has no time limit of its own.
    let (answer, answered) = mpsc::channel();
    thread::spawn(move || answer.send(status_of(&target, path)));
    let status = match answered.recv_timeout(within) {
        Ok(status) => status.with_context(|| format!("no answer from {url}"))?,
        Err(_) => bail!("no answer from {url} within {} s", within.as_secs()),
    };
    if status != 200 {
        bail!("{url} answered {status}");
    }
    let took = asked.elapsed().as_millis();
    writeln!(io::stdout(), "{url} answered 200 after {took} ms")?;
    Ok(())
}

fn status_of(target: &Target, path: &str) -> anyhow::Result<u16> {
    let mut stream = TcpStream::connect((target.host(), target.port()))?;
    match target.tls_client()? {
        None => status_over(&mut stream, target, path),
        Some(mut client) => status_over(
            &mut rustls::Stream::new(&mut client, &mut stream),
            target,
            path,
        ),
    }
}

fn status_over(
    stream: &mut (impl Read + Write),
    target: &Target,
    path: &str,
) -> anyhow::Result<u16> {
    let host = target.authority();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut line = String::new();
    let mut answer = io::BufReader::new(stream.take(LONGEST_STATUS_LINE));
    io::BufRead::read_line(&mut answer, &mut line)?;
    status_in(&line).context("what came is no answer of HTTP")
}

/// `HTTP/1.1 200 OK`.
fn status_in(line: &str) -> Option<u16> {
    let (version, rest) = line.split_once(' ')?;
    let status = rest.split_whitespace().next()?;
    version.starts_with("HTTP/").then_some(status)?.parse().ok()
}
