//! Where secrets come from: a file, standard input, or a person at a terminal. Never an argument, which
//! the process list shows.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Longer than anything that is read.
const MAX_LEN: u64 = 1024 * 1024;

/// In place of the name of a file.
const STDIN: &str = "-";

/// Where one secret comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SecretInput {
    File(PathBuf),
    Stdin,
    /// Somebody is asked, and what he types is not shown.
    Prompt(&'static str),
}

impl SecretInput {
    /// What `file` says, or `-` for standard input.
    pub(super) fn of_file(file: &Path) -> Self {
        if file == Path::new(STDIN) {
            Self::Stdin
        } else {
            Self::File(file.to_owned())
        }
    }

    /// Where it comes from without a file: what is piped in, or a person.
    pub(super) fn piped_or_asked(prompt: &'static str) -> Self {
        if io::stdin().is_terminal() {
            Self::Prompt(prompt)
        } else {
            Self::Stdin
        }
    }

    /// The text, without the end of its last line.
    pub(super) fn read(&self) -> io::Result<Zeroizing<String>> {
        match self {
            Self::File(file) => text(File::open(file)?),
            // Whoever types it in is not to be watched either.
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
            "it is too long",
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
    fn a_text_ends_before_the_end_of_its_line() {
        assert_eq!(text(&b"secret\r\n"[..]).unwrap().as_str(), "secret");
        assert_eq!(text(&b" a b "[..]).unwrap().as_str(), " a b ");
    }

    #[test]
    fn endless_input_is_refused() {
        let error = text(io::repeat(b'a')).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_dash_is_standard_input() {
        assert_eq!(SecretInput::of_file(Path::new("-")), SecretInput::Stdin);
        let file = Path::new("./-");
        assert_eq!(SecretInput::of_file(file), SecretInput::File(file.into()));
    }
}
