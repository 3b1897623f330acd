//! The running service, and how it is spoken with.

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

/// Takes what people try, and is not to be shown: a parser's error would repeat it.
const ON_COMMAND_LINE: &str = "on-command-line";

/// Of every command.
pub(super) fn args() -> [Arg; 4] {
    [
        Arg::new(URL)
            .long("url")
            .value_name("URL")
            .env("TSA_URL")
            .hide_env_values(true)
            .default_value("http://127.0.0.1:8000")
            .help_heading("Service")
            .help("Where the service is"),
        Arg::new(CA_FILE)
            .long("ca-file")
            .value_name("FILE")
            .env("TSA_CA_FILE")
            .hide_env_values(true)
            .value_parser(value_parser!(PathBuf))
            .help_heading("Service")
            .help("Certificate authorities (PEM) to trust over https; not set: the machine's"),
        Arg::new(JSON)
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Print JSON, for programs; what goes wrong as well, on standard error"),
        Arg::new(ON_COMMAND_LINE).num_args(0..).hide(true),
    ]
}

/// Refuses what stands on the command line without a flag: it may be a token or a cookie, or one more of
/// what can be given once.
pub(super) fn refuse_words(flags: &ArgMatches) -> Result<(), Fault> {
    if !flags.contains_id(ON_COMMAND_LINE) {
        return Ok(());
    }
    Err(Fault::misuse(
        "a word without a flag does not belong on the command line; a token or a cookie would be shown \
         by the process list"
            .to_owned(),
        "pipe it in, or name its file (--token-file, --cookies-file); if it was a token, revoke it",
    ))
}

/// Of the commands for service clients.
pub(super) fn client_args() -> [Arg; 2] {
    [
        Arg::new(CLIENT_ID)
            .long("client-id")
            .value_name("ID")
            .requires(CLIENT_SECRET_FILE)
            .help_heading("Service")
            .help("Service client to speak for; not set: none"),
        Arg::new(CLIENT_SECRET_FILE)
            .long("client-secret-file")
            .value_name("FILE")
            .requires(CLIENT_ID)
            .value_parser(value_parser!(PathBuf))
            .help_heading("Service")
            .help("File with its secret; - for standard input, where nothing else is read from it"),
    ]
}

/// Where the service is, and what whoever asks wants to see.
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

    /// The client for what does not read standard input.
    pub(super) fn client(&self) -> Result<Client, Fault> {
        self.client_beside(None)
    }

    /// The client, where something else comes from `other`.
    pub(super) fn client_beside(&self, other: Option<&SecretInput>) -> Result<Client, Fault> {
        let mut builder = Client::builder(&*self.url).user_agent(USER_AGENT);
        if let Some(file) = &self.ca_file {
            let authorities = fs::read(file).map_err(|error| {
                let what = format!("{} cannot be read: {error}", file.display());
                Fault::misuse(what, "name a file of certificates (PEM) with --ca-file")
            })?;
            builder = builder.certificate_authorities(authorities);
        }
        if let (Some(id), Some(secret)) = (&self.client_id, &self.client_secret) {
            if other == Some(secret) && *secret == SecretInput::Stdin {
                return Err(Fault::misuse(
                    "standard input cannot hold two things".to_owned(),
                    "give a file for one of them",
                ));
            }
            let text = secret.read().map_err(|error| {
                let what = format!("the secret of the client cannot be read: {error}");
                Fault::misuse(
                    what,
                    "name the file that holds it with --client-secret-file",
                )
            })?;
            builder = builder.credentials(id, text.as_str());
        }
        Ok(builder.build()?)
    }

    /// Waits for an answer of the service.
    pub(super) async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, Fault> {
        let progress = Progress::new();
        progress.show(&format!("asking {}", self.url));
        Ok(call.await?)
    }
}

const USER_AGENT: &str = concat!("tee-session/", env!("CARGO_PKG_VERSION"));
