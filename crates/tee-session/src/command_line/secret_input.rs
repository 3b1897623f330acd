//! Input of secrets from a file, from standard input, or from a prompt on the terminal. Secrets are
//! never command-line arguments, because the process list shows the arguments of each process.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Maximum length of a secret in bytes (1 MiB). Tokens, cookies and client secrets are much
/// shorter.
const MAX_LEN: u64 = 1024 * 1024;

/// File name that selects standard input.
const STDIN: &str = "-";

/// Source from which a command reads a secret, such as a token, cookies, or a client secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretInput {
    File(PathBuf),
    Stdin,
    /// A prompt with this text on the terminal. The terminal does not echo the typed secret.
    Prompt(&'static str),
}

impl SecretInput {
    /// Returns the source that reads the secret from `file`. The file name `-` selects standard
    /// input.
    pub(super) fn of_file(file: &Path) -> Self {
        if file == Path::new(STDIN) {
            Self::Stdin
        } else {
            Self::File(file.to_owned())
        }
    }

    /// Returns the source of a secret for which no file is given. If standard input is a terminal,
    /// the source is a prompt with the text `prompt`. Otherwise, the source is standard input.
    pub(super) fn stdin_or_prompt(prompt: &'static str) -> Self {
        if io::stdin().is_terminal() {
            Self::Prompt(prompt)
        } else {
            Self::Stdin
        }
    }

    /// Reads the secret, and removes the line breaks at its end. Returns an error if the source
    /// cannot be read, or if a file or standard input contains more than 1 MiB.
    pub(super) fn read(&self) -> io::Result<Zeroizing<String>> {
        match self {
            Self::File(file) => text(File::open(file)?),
            // If standard input is a terminal, a prompt without echo keeps the typed secret off the
            // screen.
            Self::Stdin if io::stdin().is_terminal() => Self::Prompt("Secret: ").read(),
            Self::Stdin => text(io::stdin().lock()),
            Self::Prompt(prompt) => Ok(Zeroizing::new(rpassword::prompt_password(prompt)?)),
        }
    }
}

fn text(input: impl Read) -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    let length = input.take(MAX_LEN + 1).read_to_string(&mut text)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_LEN) {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is longer than 1 MiB",
        ));
    }
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_line_break_of_a_secret_is_removed() {
        assert_eq!(text(&b"secret\r\n"[..]).unwrap().as_str(), "secret");
        assert_eq!(text(&b" a b "[..]).unwrap().as_str(), " a b ");
    }

    #[test]
    fn secret_longer_than_1_mib_is_rejected() {
        let error = text(io::repeat(b'a')).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn file_name_dash_makes_a_command_read_the_secret_from_standard_input() {
        assert_eq!(SecretInput::of_file(Path::new("-")), SecretInput::Stdin);
        let file = Path::new("./-");
        assert_eq!(SecretInput::of_file(file), SecretInput::File(file.into()));
    }
}
