//! Input of a session token: the flag `--token-file`, standard input, or a prompt.

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
        .help("File with the token; not set or -: standard input, or a prompt on a terminal")
}

/// Returns the source of the session token: the file that `--token-file` names. Without this flag,
/// the source is standard input, or a prompt if standard input is a terminal.
pub(super) fn input(flags: &ArgMatches) -> SecretInput {
    let file = flags.get_one::<PathBuf>(TOKEN_FILE);
    file.map_or_else(
        || SecretInput::stdin_or_prompt("Token: "),
        |file| SecretInput::of_file(file),
    )
}

/// Reads the session token from [`input`]. Returns an error if the input cannot be read or is not a
/// token.
pub(super) fn read(flags: &ArgMatches) -> Result<SessionToken, Fault> {
    let text = input(flags).read().map_err(|error| {
        let what = format!("the token cannot be read: {error}");
        Fault::misuse(what, "pipe the token in, or pass a file with --token-file")
    })?;
    text.trim().parse().map_err(|_| {
        Fault::misuse(
            "the input is not a token".to_owned(),
            "pipe in only the token, as printed by session create",
        )
    })
}
