//! Restarts within the compose file that operators are given, while clients come through its proxy.

mod containers;
mod guesses;

use std::{collections::HashSet, fmt::Write, fs, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, value_parser};
use tokio::time::{sleep, timeout};

use self::containers::Containers;
use crate::{
    load::{COOKIE, Habits, Load},
    progress::say,
    tally::Tally,
};

const CLIENTS: usize = 16;

/// So rarely that those of the clients that ask for sessions which are gone stay below the limit on
/// invalid tokens: nothing in the compose file is set otherwise than operators have it.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two requests of the check at the end, most of which are for sessions that are gone.
const CHECK_PAUSE: Duration = Duration::from_millis(7);

/// How long the load runs before, between and after restarts.
const CALM: Duration = Duration::from_secs(2);

/// Later than this is never.
const RECOVERED_WITHIN: Duration = Duration::from_secs(20);

/// What is done to the containers, and what clients may notice of it.
struct Restart {
    name: &'static str,
    /// What compose is told, one after the other.
    steps: &'static [&'static [&'static str]],
    /// How many requests may be refused with a 503.
    most_refused: u64,
}

/// What nginx cannot hide when both instances are restarted. An instance that stops still completes
/// handshakes for the 50 ms that it takes to stop listening. Of the requests that were sent to it in
/// that time, nginx repeats those that ask or delete, and not those that create or change: nobody knows
/// whether they were carried out. A client has one request on its way at a time.
const ONE_EACH: u64 = 2 * CLIENTS as u64;

const RESTARTS: [Restart; 5] = [
    Restart {
        name: "none",
        steps: &[],
        most_refused: 0,
    },
    Restart {
        name: "an instance, then the other",
        steps: &[&["restart", "api-1"], &["restart", "api-2"]],
        most_refused: ONE_EACH,
    },
    Restart {
        name: "an instance replaced by a new container, then the other",
        steps: &[
            &["up", "-d", "--no-deps", "--force-recreate", "api-1"],
            &["up", "-d", "--no-deps", "--force-recreate", "api-2"],
        ],
        most_refused: ONE_EACH,
    },
    Restart {
        name: "Redis",
        steps: &[&["restart", "redis"]],
        most_refused: u64::MAX,
    },
    Restart {
        name: "Redis replaced by a new container",
        steps: &[&["up", "-d", "--no-deps", "--force-recreate", "redis"]],
        most_refused: u64::MAX,
    },
];

/// Its part of the command line.
pub(crate) fn command() -> Command {
    Command::new("compose")
        .about("Restarts within a running compose file; exit code 1 if anything was violated")
        .arg(
            Arg::new("url")
                .long("url")
                .required(true)
                .help("Where its proxy is"),
        )
        .arg(
            Arg::new("client")
                .long("client")
                .required(true)
                .help("A service client with the scopes create and admin"),
        )
        .arg(
            Arg::new("client-secret-file")
                .long("client-secret-file")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The file with its secret"),
        )
        .arg(
            Arg::new("compose")
                .required(true)
                .num_args(1..)
                .last(true)
                .help("How compose is called: docker compose -p PROJECT -f FILE"),
        )
}

/// Restarts everything; whether nothing was violated.
pub(crate) async fn run(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let text = |name| arguments.get_one::<String>(name).cloned();
    let url = text("url").context("no URL")?;
    let secret_file = arguments.get_one::<PathBuf>("client-secret-file");
    let secret = fs::read_to_string(secret_file.context("no file")?);
    let secret = secret.context("the client's secret cannot be read")?;
    let compose = arguments
        .get_many::<String>("compose")
        .context("no compose")?;
    let containers = Containers::of(compose.cloned().collect());

    let habits = Habits {
        pause: PAUSE,
        check_pause: CHECK_PAUSE,
        credentials: Some((text("client").context("no client")?, secret)),
    };
    let mut load = Load::start_with(habits, CLIENTS, vec![url.clone()]);
    let mut table = String::from(
        "| restarted | requests | answers | longest answer | from the first refusal to the last | violations |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut held = true;
    for restart in &RESTARTS {
        say(&format!("restarted: {}", restart.name));
        let tally = suffer(restart, &load, &containers).await?;
        held &= tally.violations.is_empty();
        row(&mut table, restart, &tally);
    }
    load.stop().await;

    let sessions = load.shared().history.all().len();
    load.shared().check_all().await;
    let mut tally = load.shared().take_tally();
    limit_refusals(&mut tally, 0);
    guesses::check_that_they_are_limited(&url, &mut tally).await?;
    held &= tally.violations.is_empty();
    let _ = write!(
        table,
        "\n{sessions} sessions, asked for at the end: {}; violations: {}",
        tally.answers_in_words(),
        tally.violations_in_words()
    );
    say(&table);
    Ok(held)
}

/// Restarts, and waits until all is well again: what came of it.
async fn suffer(restart: &Restart, load: &Load, containers: &Containers) -> anyhow::Result<Tally> {
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
        tally.violated("it did not recover");
    }
    if tally.requests < 20 {
        tally.violated("there was no load");
    }
    limit_refusals(&mut tally, restart.most_refused);
    look_for_secrets(&containers.logs().await?, load, &mut tally);
    Ok(tally)
}

fn limit_refusals(tally: &mut Tally, most: u64) {
    let refusals = tally
        .answers
        .iter()
        .filter(|(answer, _)| answer.starts_with("503"));
    let refused: u64 = refusals.map(|(_, count)| count).sum();
    if refused > most {
        tally.violations.insert("refused".to_owned(), refused);
    }
}

/// Neither a token nor a cookie nor a subject may stand in a log, that of the proxy included.
fn look_for_secrets(logs: &str, load: &Load, tally: &mut Tally) {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words: HashSet<&str> = logs.split(|c| !is_of_token(c)).collect();
    let tokens = load.shared().history.all();
    if tokens
        .iter()
        .any(|(token, _)| words.contains(token.as_str()))
    {
        tally.violated("a token in a log");
    }
    for (what, violation) in [
        (COOKIE, "a cookie in a log"),
        ("subject=", "a subject in a log"),
        ("panicked", "a panic in a log"),
    ] {
        if logs.contains(what) {
            tally.violated(violation);
        }
    }
    for instance in ["api-1", "api-2"] {
        let is_asked = |line: &str| line.contains(instance) && line.contains("Session created");
        if !logs.lines().any(is_asked) {
            tally.violated(format!("{instance} was never asked"));
        }
    }
}

fn row(table: &mut String, restart: &Restart, tally: &Tally) {
    let refused_for = match (tally.first_failure, tally.last_failure) {
        (Some(first), Some(last)) => format!("{} ms", (last - first).as_millis()),
        _ => "-".to_owned(),
    };
    let _ = writeln!(
        table,
        "| {} | {} | {} | {} ms | {refused_for} | {} |",
        restart.name,
        tally.requests,
        tally.answers_in_words(),
        tally.slowest.as_millis(),
        tally.violations_in_words(),
    );
}
