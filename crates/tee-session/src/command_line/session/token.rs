//! The token, from wherever it may come.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, value_parser};
use tee_session_client::SessionToken;

use super::Fault;
use crate::command_line::secret_input::SecretInput;

pub(super) const TOKEN_FILE: &str = "token-file";

pub(super) fn arg() -> Arg {
    Arg::new(TOKEN_FILE)
        .long("token-file")
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help("File with the token; not set, or -: standard input, where a terminal is asked")
}

/// The token that the flags lead to.
pub(super) fn read(flags: &ArgMatches) -> Result<SessionToken, Fault> {
    let file = flags.get_one::<PathBuf>(TOKEN_FILE);
    let input = file.map_or_else(
        || SecretInput::piped_or_asked("Token: "),
        |file| SecretInput::of_file(file),
    );
    let text = input.read().map_err(|error| {
        let what = format!("the token cannot be read: {error}");
        Fault::misuse(what, "pipe it in, or name its file with --token-file")
    })?;
    text.trim().parse().map_err(|_| {
        Fault::misuse(
            "what was read is no token".to_owned(),
            "pipe in the token alone, as session create printed it",
        )
    })
}
