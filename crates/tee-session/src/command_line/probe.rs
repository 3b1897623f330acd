//! The command `tee-session probe`: checks whether a running instance of the service is alive or
//! ready. Containers use the command as their health check.

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

/// Maximum number of bytes of a response that are read to find the HTTP status line.
const MAX_STATUS_LINE_BYTES: u64 = 256;

const AFTER_HELP: &str = "\
Without --url it checks the instance that runs on this machine with the same settings (api_host,
api_port and tls_certificate_file, from the same file and environment); no other setting is read.
Any certificate is accepted then. With --url, this machine must trust the certificate for the host
name in the URL.

Examples:
  tee-session probe                                    is the process alive?
  tee-session probe --ready                            is it ready for requests?
  tee-session probe --ready --url http://10.0.0.5:8000

Exit codes: 0 yes, 1 no, or no response in time, 2 invalid settings or flags.";

pub(super) const NAME: &str = "probe";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Check whether a running instance is alive, or ready")
        .after_help(AFTER_HELP)
        .arg(
            Arg::new("ready")
                .long("ready")
                .action(ArgAction::SetTrue)
                .help("Check /health/ready instead of /health/live"),
        )
        .arg(
            Arg::new("url")
                .long("url")
                .value_name("URL")
                .value_parser(Target::parse)
                .help("URL of the instance (http://host:port) [default: from the settings]"),
        )
        .arg(
            Arg::new("timeout")
                .long("timeout")
                .value_name("SECONDS")
                .default_value("2")
                .value_parser(value_parser!(u64).range(1..=60))
                .help("Timeout of the whole check"),
        )
        .args(setting_flags::args_of(&LISTENER_KEYS))
}

/// Sends a health check to an instance of the service, and prints the result on one line. Every
/// response status except 200 is a failure. If `--url` is not given, checks the instance on this
/// machine, and reads the address of this instance from the settings.
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
    let line = check(target, path, Duration::from_secs(seconds))?;
    // The exit code is the result. If the line cannot be written, the instance is healthy
    // nevertheless.
    let _ = writeln!(io::stdout(), "{line}");
    Ok(ExitCode::SUCCESS)
}

/// Sends the health check, and returns a line about the response. Fails if the status is not 200.
fn check(target: Target, path: &'static str, timeout: Duration) -> anyhow::Result<String> {
    let url = format!("{target}{path}");
    let started = Instant::now();
    // Runs on a detached thread, so that `timeout` also limits the DNS look-up.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(status_of(&target, path)));
    let status = match receiver.recv_timeout(timeout) {
        Ok(status) => status.with_context(|| format!("no response from {url}"))?,
        Err(_) => bail!("no response from {url} within {} s", timeout.as_secs()),
    };
    if status != 200 {
        bail!("{url} answered {status}");
    }
    let took = started.elapsed().as_millis();
    Ok(format!("{url} answered 200 after {took} ms"))
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
    let mut response = io::BufReader::new(stream.take(MAX_STATUS_LINE_BYTES));
    io::BufRead::read_line(&mut response, &mut line)?;
    status_in(&line).context("the response is not HTTP")
}

/// Parses the status code of a status line such as `HTTP/1.1 200 OK`. Returns `None` if the line is
/// not an HTTP status line.
fn status_in(line: &str) -> Option<u16> {
    let (version, rest) = line.split_once(' ')?;
    let status = rest.split_whitespace().next()?;
    version.starts_with("HTTP/").then_some(status)?.parse().ok()
}
