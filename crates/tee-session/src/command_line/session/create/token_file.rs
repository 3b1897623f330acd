//! File to which `tee-session session create --token-out` writes the token of the new session.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tee_session_client::SessionToken;

use super::Fault;

/// A new file for a session token. Only the owner of the file can read it. Dropping the value
/// removes the file, unless the token has been written to the file.
pub(super) struct TokenFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl TokenFile {
    /// Creates the file. Returns an error if a file with this path exists, because other users
    /// might be able to read the existing file, or because the path might be a symbolic link.
    pub(super) fn create(path: &Path) -> Result<Self, Fault> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|error| {
            let advice = if error.kind() == io::ErrorKind::AlreadyExists {
                "remove the file, or use another one with --token-out"
            } else {
                "pass a file in a writable directory with --token-out"
            };
            let what = format!("{} cannot be created: {error}", path.display());
            Fault::misuse(what, advice)
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_written: false,
        })
    }

    /// Writes the token to the file. If writing fails, the file is removed.
    pub(super) fn write(mut self, token: &SessionToken) -> io::Result<()> {
        writeln!(self.file, "{}", token.expose_secret())?;
        self.file.sync_all()?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        if !self.is_written {
            let _ = fs::remove_file(&self.path);
        }
    }
}
