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

/// Reads the session token from the file that `--token-file` names. Without this flag, reads the
/// token from standard input, or from a prompt if standard input is a terminal. Returns an error if
/// the input cannot be read or is not a token.
pub(super) fn read(flags: &ArgMatches) -> Result<SessionToken, Fault> {
    let file = flags.get_one::<PathBuf>(TOKEN_FILE);
    let input = file.map_or_else(
        || SecretInput::stdin_or_prompt("Token: "),
        |file| SecretInput::of_file(file),
    );
    let text = input.read().map_err(|error| {
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
