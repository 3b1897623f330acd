//! The command `tee-session session`: creates, shows, lists and ends sessions of a running service
//! over the HTTP API. Also exports cookies of a session to files of other programs, and imports
//! cookies from such files.

mod attributes;
mod cookies;
mod create;
mod fault;
mod list;
mod revoke;
mod secret_file;
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
A token is read from standard input (piped, or typed at a prompt without echo) or from --token-file,
never from the command line, which is visible in the process list. Creating, listing, and revoking
by id or subject require a service client (--client-id and --client-secret-file), unless the service
listens on a loopback address and has no clients.

Examples:
  echo '{\"SESSIONID\": \"a1b2c3\"}' | tee-session session create --base-url https://golf.example \\
    --token-out token
  tee-session session ttl --token-file token
  tee-session session show < token
  tee-session session cookies --export cookies.txt --token-file token
  tee-session session list --subject member-4711 --client-id support --client-secret-file secret

Exit codes: 0 done, 1 the service refused or was unavailable, 2 invalid command line or input.";

pub(super) fn command() -> Command {
    let commands = [
        create::command(),
        show::command(),
        cookies::command(),
        ttl::command(),
        revoke::command(),
        list::command(),
    ];
    let commands = commands.map(|command| command.args(service::args()));
    Command::new(NAME)
        .about("Create, show, list and revoke sessions of a running service")
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
    let result = runtime.block_on(async {
        service::reject_positional_arguments(flags)?;
        match name {
            create::NAME => create::run(flags, &service).await,
            show::NAME => show::run(flags, &service).await,
            cookies::NAME => cookies::run(flags, &service).await,
            ttl::NAME => ttl::run(flags, &service).await,
            revoke::NAME => revoke::run(flags, &service).await,
            _ => list::run(flags, &service).await,
        }
    });
    // Does not wait for a pending DNS look-up, because a DNS look-up has no timeout.
    runtime.shutdown_background();
    Ok(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => fault.report(service.is_json),
    })
}
