//! `tee-session session`: sessions of a running service, over its API.

mod cookies;
mod create;
mod fault;
mod list;
mod revoke;
mod service;
mod show;
mod times;
mod token;
mod ttl;

use std::process::ExitCode;

use clap::{ArgMatches, Command};
use tokio::runtime::Builder;

use self::{fault::Fault, service::Service};
use super::Failure;

pub(super) const NAME: &str = "session";

const AFTER_HELP: &str = "\
A token is read from standard input (piped, or asked for without showing it) or from --token-file,
never from the command line, which the process list shows. Create, list, and revoking by id or
subject are for service clients: --client-id and --client-secret-file, unless the service listens on
a loopback address and has none.

Examples:
  echo '{\"SESSIONID\": \"a1b2c3\"}' | tee-session session create --base-url https://golf.example \\
    --token-out token
  tee-session session ttl --token-file token
  tee-session session show < token
  tee-session session list --subject member-4711 --client-id support --client-secret-file secret

Exit codes: 0 done, 1 the service refused or was not there, 2 a wrong command line or input.";

pub(super) fn command() -> Command {
    let commands = [
        create::command(),
        show::command(),
        ttl::command(),
        revoke::command(),
        list::command(),
    ];
    let commands = commands.map(|command| command.args(service::args()));
    Command::new(NAME)
        .about("Create, look at and end sessions of a running service")
        .after_help(AFTER_HELP)
        .subcommand_required(true)
        .subcommands(commands)
}

pub(super) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Some((name, flags)) = matches.subcommand() else {
        return Ok(ExitCode::SUCCESS);
    };
    let service = Service::of(flags);
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        service::refuse_words(flags)?;
        match name {
            create::NAME => create::run(flags, &service).await,
            show::NAME => show::run(flags, &service).await,
            ttl::NAME => ttl::run(flags, &service).await,
            revoke::NAME => revoke::run(flags, &service).await,
            _ => list::run(flags, &service).await,
        }
    });
    // Without waiting for the look-up of a name, which has no time limit of its own.
    runtime.shutdown_background();
    Ok(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.tell(&service),
    })
}
