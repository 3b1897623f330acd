//! Input of secrets from a file, from standard input, or from a prompt on the terminal. Secrets are
//! never command-line arguments, because the process list shows the arguments of each process.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    mem,
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
            // If standard input is a terminal, a prompt without echo is used, so that the typed
            // secret is not displayed.
            Self::Stdin if io::stdin().is_terminal() => Self::Prompt("Secret: ").read(),
            Self::Prompt(prompt) => Ok(Zeroizing::new(rpassword::prompt_password(prompt)?)),
            Self::File(_) | Self::Stdin => {
                let mut text = text(self.read_bytes(MAX_LEN)?)?;
                let end = text.trim_end_matches(['\r', '\n']).len();
                text.truncate(end);
                Ok(text)
            }
        }
    }

    /// Reads all bytes of a file or of standard input. Returns an error if there are more than
    /// `max_len` bytes.
    pub(super) fn read_bytes(&self, max_len: u64) -> io::Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::File(file) => bytes(File::open(file)?, max_len),
            Self::Stdin | Self::Prompt(_) => bytes(io::stdin().lock(), max_len),
        }
    }
}

fn bytes(input: impl Read, max_len: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let length = input.take(max_len + 1).read_to_end(&mut bytes)?;
    if u64::try_from(length).is_ok_and(|length| length > max_len) {
        let mib = max_len / (1024 * 1024);
        let message = format!("it is longer than {mib} MiB");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

fn text(mut bytes: Zeroizing<Vec<u8>>) -> io::Result<Zeroizing<String>> {
    let text = String::from_utf8(mem::take(&mut *bytes)).map_err(|error| {
        // The bytes are wiped, because they may contain a secret.
        drop(Zeroizing::new(error.into_bytes()));
        io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text")
    })?;
    Ok(Zeroizing::new(text))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::line_break(b"secret\r\n", Ok("secret"))]
    #[case::spaces(b" a b ", Ok(" a b "))]
    #[case::not_utf_8(b"s\xfcss", Err(io::ErrorKind::InvalidData))]
    fn secret_is_read_from_a_file_without_the_line_break_at_its_end(
        #[case] content: &[u8],
        #[case] expected: Result<&str, io::ErrorKind>,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        fs::write(&file, content).unwrap();
        let read = SecretInput::of_file(&file).read();
        let read = read.as_ref().map(|text| text.as_str());
        assert_eq!(read.map_err(io::Error::kind), expected);
    }

    #[test]
    fn secret_longer_than_1_mib_is_rejected() {
        let error = bytes(io::repeat(b'a'), MAX_LEN).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it is longer than 1 MiB");
    }

    #[test]
    fn file_name_dash_makes_a_command_read_the_secret_from_standard_input() {
        assert_eq!(SecretInput::of_file(Path::new("-")), SecretInput::Stdin);
        let file = Path::new("./-");
        assert_eq!(SecretInput::of_file(file), SecretInput::File(file.into()));
    }
}
