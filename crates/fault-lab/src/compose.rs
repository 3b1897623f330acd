//! Test that restarts the containers of a Docker Compose project, while clients send requests
//! through the nginx proxy of the project.

mod containers;
mod guesses;

use std::{collections::HashSet, fmt::Write, fs, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use tokio::time::{sleep, timeout};

use self::containers::Containers;
use crate::{
    load::{COOKIE, Habits, Load},
    progress::say,
    tally::Tally,
};

/// Number of clients that send requests at the same time.
const CLIENTS: usize = 16;

/// Pause between two requests of one client.
///
/// The service limits the rate of requests with invalid tokens from one address. The clients often
/// read deleted sessions, and the tokens of these sessions are invalid. The pause keeps the clients
/// below the limit.
const PAUSE: Duration = Duration::from_millis(100);

/// Pause between two requests of the final check. Most of these requests read deleted sessions. The
/// pause keeps the check below the rate limit for invalid tokens.
const CHECK_PAUSE: Duration = Duration::from_millis(7);

/// Time without a failed request after which the service counts as recovered. At the end of each
/// restart, the clients continue to send requests for this time.
const CALM: Duration = Duration::from_secs(2);

/// Timeout for the service to recover after a restart of containers.
const RECOVERED_WITHIN: Duration = Duration::from_secs(20);

/// A restart of one or more containers, and the number of 503 responses that it may cause.
struct Restart {
    name: &'static str,
    /// Arguments of each `docker compose` command of the restart, in the order of execution.
    steps: &'static [&'static [&'static str]],
    /// Maximum number of 503 responses between the first step of the restart and the recovery of
    /// the service.
    max_refused: u64,
    /// `true` if a short run (`--short`) includes the restart.
    is_in_short_run: bool,
}

/// Maximum number of 503 responses while the two instances are restarted one after the other. Each
/// client has one request in flight, so each of the two restarts can fail one request per client.
///
/// For 50 ms, an instance that shuts down still completes the TCP handshakes of new connections,
/// but answers no request on these connections. nginx repeats a failed read or delete at the other
/// instance. nginx answers a failed create or update with 503, because the first attempt may have
/// been executed.
const MAX_REFUSED_OF_TWO_RESTARTS: u64 = 2 * CLIENTS as u64;

const RESTARTS: [Restart; 5] = [
    Restart {
        name: "none",
        steps: &[],
        max_refused: 0,
        is_in_short_run: false,
    },
    Restart {
        name: "an instance, then the other",
        steps: &[&["restart", "api-1"], &["restart", "api-2"]],
        max_refused: MAX_REFUSED_OF_TWO_RESTARTS,
        is_in_short_run: true,
    },
    Restart {
        name: "an instance replaced by a new container, then the other",
        steps: &[
            &["up", "-d", "--no-deps", "--force-recreate", "api-1"],
            &["up", "-d", "--no-deps", "--force-recreate", "api-2"],
        ],
        max_refused: MAX_REFUSED_OF_TWO_RESTARTS,
        is_in_short_run: false,
    },
    Restart {
        name: "Redis",
        steps: &[&["restart", "redis"]],
        max_refused: u64::MAX,
        is_in_short_run: true,
    },
    Restart {
        name: "Redis replaced by a new container",
        steps: &[&["up", "-d", "--no-deps", "--force-recreate", "redis"]],
        max_refused: u64::MAX,
        is_in_short_run: false,
    },
];

/// Defines the subcommand `compose`.
pub(crate) fn command() -> Command {
    Command::new("compose")
        .about(
            "Restarts containers of a compose project under load; exit code 1 if there was a violation",
        )
        .arg(
            Arg::new("url")
                .long("url")
                .required(true)
                .help("URL of the proxy of the compose project"),
        )
        .arg(
            Arg::new("client")
                .long("client")
                .required(true)
                .help("Id of a service client with the scopes create and admin"),
        )
        .arg(
            Arg::new("client-secret-file")
                .long("client-secret-file")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("File with the secret of the service client"),
        )
        .arg(
            Arg::new("short")
                .long("short")
                .action(ArgAction::SetTrue)
                .help("Restart each container, but replace none"),
        )
        .arg(
            Arg::new("compose")
                .required(true)
                .num_args(1..)
                .last(true)
                .help("Compose command: docker compose -p PROJECT -f FILE"),
        )
}

/// Runs the restarts in [`RESTARTS`] under load (only some of them with `--short`), then checks
/// every session. Returns `true` if no expectation was violated.
pub(crate) async fn run(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let text = |name| arguments.get_one::<String>(name).cloned();
    let url = text("url").context("no URL")?;
    let secret_file = arguments.get_one::<PathBuf>("client-secret-file");
    let secret = fs::read_to_string(secret_file.context("no file")?);
    let secret = secret.context("the client's secret cannot be read")?;
    let compose = arguments
        .get_many::<String>("compose")
        .context("no compose command")?;
    let containers = Containers::of(compose.cloned().collect());

    let habits = Habits {
        pause: PAUSE,
        check_pause: CHECK_PAUSE,
        credentials: Some((text("client").context("no client")?, secret)),
        ..Habits::default()
    };
    let mut load = Load::start_with(habits, CLIENTS, vec![url.clone()]);
    let mut table = String::from(
        "| restarted | requests | responses | slowest response | from the first failure to the last | violations |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut passed = true;
    let is_short = arguments.get_flag("short");
    let selected = |restart: &&Restart| restart.is_in_short_run || !is_short;
    for restart in RESTARTS.iter().filter(selected) {
        say(&format!("restarted: {}", restart.name));
        let tally = run_restart(restart, &load, &containers).await?;
        passed &= tally.violations.is_empty();
        row(&mut table, restart, &tally);
    }
    load.stop().await;

    let sessions = load.shared().history.all().len();
    load.shared().check_all().await;
    let mut tally = load.shared().take_tally();
    limit_refusals(&mut tally, 0);
    guesses::check_rate_limit(&url, &mut tally).await?;
    passed &= tally.violations.is_empty();
    let _ = write!(
        table,
        "\n{sessions} sessions, read at the end: {}; violations: {}",
        tally.responses_text(),
        tally.violations_text()
    );
    say(&table);
    Ok(passed)
}

/// Runs each step of `restart`, and waits after each step until the service has recovered. Returns
/// the counts of responses and violated expectations.
async fn run_restart(
    restart: &Restart,
    load: &Load,
    containers: &Containers,
) -> anyhow::Result<Tally> {
    let mut is_recovered = true;
    for step in restart.steps {
        containers.compose(step).await?;
        containers.until_ready().await?;
        let calm = timeout(RECOVERED_WITHIN, load.shared().until_calm(CALM));
        is_recovered &= calm.await.is_ok();
    }
    sleep(CALM).await;
    let mut tally = load.shared().take_tally();
    if !is_recovered {
        tally.add_violation("the service did not recover");
    }
    if tally.requests < 20 {
        tally.add_violation("there were fewer than 20 requests");
    }
    limit_refusals(&mut tally, restart.max_refused);
    check_logs_for_secrets(&containers.logs().await?, load, &mut tally);
    Ok(tally)
}

/// If there were more than `max` 503 responses, counts each 503 response as a violated expectation.
fn limit_refusals(tally: &mut Tally, max: u64) {
    let refusals = tally
        .responses
        .iter()
        .filter(|(response, _)| response.starts_with("503"));
    let refused: u64 = refusals.map(|(_, count)| count).sum();
    if refused > max {
        let what = "a request was answered with 503";
        tally.violations.insert(what.to_owned(), refused);
    }
}

/// Checks `logs`, the logs of all containers. Counts a violated expectation for each kind of
/// forbidden text: tokens, cookies, subjects and panics. Counts another violated expectation for
/// each instance whose log reports no created session.
fn check_logs_for_secrets(logs: &str, load: &Load, tally: &mut Tally) {
    let is_token_char = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words: HashSet<&str> = logs.split(|c| !is_token_char(c)).collect();
    let tokens = load.shared().history.all();
    if tokens
        .iter()
        .any(|(token, _)| words.contains(token.as_str()))
    {
        tally.add_violation("a token in the log");
    }
    for (what, violation) in [
        (COOKIE, "a cookie in the log"),
        ("subject=", "a subject in the log"),
        ("panicked", "a panic in the log"),
    ] {
        if logs.contains(what) {
            tally.add_violation(violation);
        }
    }
    for instance in ["api-1", "api-2"] {
        let is_create = |line: &str| line.contains(instance) && line.contains("Session created");
        if !logs.lines().any(is_create) {
            tally.add_violation(format!("{instance} created no session"));
        }
    }
}

/// Appends the results of `restart` to `table` as a row.
fn row(table: &mut String, restart: &Restart, tally: &Tally) {
    let failing_for = match (tally.first_failure, tally.last_failure) {
        (Some(first), Some(last)) => format!("{} ms", (last - first).as_millis()),
        _ => "-".to_owned(),
    };
    let _ = writeln!(
        table,
        "| {} | {} | {} | {} ms | {failing_for} | {} |",
        restart.name,
        tally.requests,
        tally.responses_text(),
        tally.slowest.as_millis(),
        tally.violations_text(),
    );
}
