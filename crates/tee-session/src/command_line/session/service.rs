//! Access to a running service for the `tee-session session` commands: the command-line arguments,
//! and the HTTP client that is built from these arguments.

use std::{fs, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use tee_session_client::{Client, ClientError};

use super::Fault;
use crate::command_line::{progress::Progress, secret_input::SecretInput};

const URL: &str = "url";
const CA_FILE: &str = "ca-file";
const JSON: &str = "json";
const CLIENT_ID: &str = "client-id";
const CLIENT_SECRET_FILE: &str = "client-secret-file";

/// Name of a hidden argument that accepts all positional arguments. A positional argument may be a
/// secret. Without this hidden argument, clap would print the positional argument in an error
/// message.
const ON_COMMAND_LINE: &str = "on-command-line";

/// Returns the arguments that every `tee-session session` command accepts.
pub(super) fn args() -> [Arg; 4] {
    [
        Arg::new(URL)
            .long("url")
            .value_name("URL")
            .env("TSA_URL")
            .hide_env_values(true)
            .default_value("http://127.0.0.1:8000")
            .help_heading("Service")
            .help("URL of the service"),
        Arg::new(CA_FILE)
            .long("ca-file")
            .value_name("FILE")
            .env("TSA_CA_FILE")
            .hide_env_values(true)
            .value_parser(value_parser!(PathBuf))
            .help_heading("Service")
            .help("Certificate authorities (PEM) to trust; not set: those of the system"),
        Arg::new(JSON)
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Print JSON, for programs; errors as well, on standard error"),
        Arg::new(ON_COMMAND_LINE).num_args(0..).hide(true),
    ]
}

/// Returns an error if a positional argument is given. The `session` commands accept no positional
/// arguments. The error does not quote the argument, because the argument may be a token or a
/// cookie that the user typed by mistake.
pub(super) fn reject_positional_arguments(flags: &ArgMatches) -> Result<(), Fault> {
    if !flags.contains_id(ON_COMMAND_LINE) {
        return Ok(());
    }
    Err(Fault::misuse(
        "an argument without a flag does not belong on the command line; a token or a cookie would \
         be visible in the process list"
            .to_owned(),
        "pipe it in, or pass a file (--token-file, --cookies-file); if it was a token, revoke it",
    ))
}

/// Returns the arguments for the credentials of a service client: `--client-id` and
/// `--client-secret-file`.
pub(super) fn client_args() -> [Arg; 2] {
    [
        Arg::new(CLIENT_ID)
            .long("client-id")
            .value_name("ID")
            .requires(CLIENT_SECRET_FILE)
            .help_heading("Service")
            .help("Id of the service client; not set: no client"),
        Arg::new(CLIENT_SECRET_FILE)
            .long("client-secret-file")
            .value_name("FILE")
            .requires(CLIENT_ID)
            .value_parser(value_parser!(PathBuf))
            .help_heading("Service")
            .help(
                "File with the secret of the service client; -: standard input, if nothing else is \
                 read from it",
            ),
    ]
}

/// Options of a `tee-session session` command: the URL of the service, the trusted certificates,
/// the credentials of the service client, and the output format.
pub(super) struct Service {
    pub(super) url: String,
    pub(super) is_json: bool,
    ca_file: Option<PathBuf>,
    client_id: Option<String>,
    client_secret: Option<SecretInput>,
}

impl Service {
    pub(super) fn of(flags: &ArgMatches) -> Self {
        let of_client = |name| flags.try_get_one::<String>(name).ok().flatten();
        let secret_file = flags.try_get_one::<PathBuf>(CLIENT_SECRET_FILE);
        let secret_file = secret_file.ok().flatten();
        Self {
            url: flags.get_one::<String>(URL).cloned().unwrap_or_default(),
            is_json: flags.get_flag(JSON),
            ca_file: flags.get_one::<PathBuf>(CA_FILE).cloned(),
            client_id: of_client(CLIENT_ID).cloned(),
            client_secret: secret_file.map(|file| SecretInput::of_file(file)),
        }
    }

    /// Builds the HTTP client. If `--client-secret-file` is given, reads the client secret.
    pub(super) fn client(&self) -> Result<Client, Fault> {
        self.client_with_input(None)
    }

    /// Builds the HTTP client. If `--client-secret-file` is given, reads the client secret. `other`
    /// is another input that the command reads. Returns an error if both the client secret and
    /// `other` would be read from standard input.
    pub(super) fn client_with_input(&self, other: Option<&SecretInput>) -> Result<Client, Fault> {
        let mut builder = Client::builder(&*self.url).user_agent(USER_AGENT);
        if let Some(file) = &self.ca_file {
            let authorities = fs::read(file).map_err(|error| {
                let what = format!("{} cannot be read: {error}", file.display());
                Fault::misuse(what, "pass a file of certificates (PEM) with --ca-file")
            })?;
            builder = builder.certificate_authorities(authorities);
        }
        if let (Some(id), Some(secret)) = (&self.client_id, &self.client_secret) {
            if other == Some(secret) && *secret == SecretInput::Stdin {
                return Err(Fault::misuse(
                    "standard input cannot be used for two inputs".to_owned(),
                    "pass a file for one of them",
                ));
            }
            let text = secret.read().map_err(|error| {
                let what = format!("the secret of the client cannot be read: {error}");
                Fault::misuse(
                    what,
                    "pass a file with the secret with --client-secret-file",
                )
            })?;
            builder = builder.credentials(id, text.as_str());
        }
        Ok(builder.build()?)
    }

    /// Waits for the response to `call`. On a terminal, shows a progress line until the response
    /// arrives.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Fault> {
        let progress = Progress::new();
        progress.show(&format!("waiting for {}", self.url));
        Ok(call.await?)
    }
}

const USER_AGENT: &str = concat!("tee-session/", env!("CARGO_PKG_VERSION"));
