//! The file that a new token is written into.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use tee_session_client::SessionToken;

use super::Fault;

/// A new file that its owner alone may read. Unless a token is kept in it, it is gone with the value.
pub(super) struct TokenFile {
    path: PathBuf,
    file: File,
    is_kept: bool,
}

impl TokenFile {
    /// Never in place of a file that is there: it might be readable for others, or be a link.
    pub(super) fn create(path: &Path) -> Result<Self, Fault> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|error| {
            let advice = if error.kind() == io::ErrorKind::AlreadyExists {
                "remove it, or name another with --token-out"
            } else {
                "name a file in a folder that can be written with --token-out"
            };
            let what = format!("{} cannot be made: {error}", path.display());
            Fault::misuse(what, advice)
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_kept: false,
        })
    }

    pub(super) fn keep(mut self, token: &SessionToken) -> io::Result<()> {
        writeln!(self.file, "{}", token.expose_secret())?;
        self.file.sync_all()?;
        self.is_kept = true;
        Ok(())
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
