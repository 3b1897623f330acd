//! New files with secrets: the token of a session, or the cookies of a session.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::Fault;

/// A new file for a secret. Only the owner of the file can read it. Dropping the value removes the
/// file, unless the secret has been written to the file.
pub(super) struct SecretFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl SecretFile {
    /// Creates the file `path`. `flag` is the command-line flag that contains the path, for error
    /// messages. Returns an error if a file with this path exists: other users might be able to
    /// read the existing file, or the path might be a symbolic link.
    pub(super) fn create(path: &Path, flag: &str) -> Result<Self, Fault> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(path).map_err(|error| {
            let advice = if error.kind() == io::ErrorKind::AlreadyExists {
                format!("remove the file, or use another one with --{flag}")
            } else {
                format!("pass a file in a writable directory with --{flag}")
            };
            let what = format!("{} cannot be created: {error}", path.display());
            Fault::misuse(what, &advice)
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_written: false,
        })
    }

    /// Writes the secret to the file. If writing fails, the file is removed.
    pub(super) fn write(mut self, secret: &[u8]) -> io::Result<()> {
        self.file.write_all(secret)?;
        self.file.sync_all()?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for SecretFile {
    fn drop(&mut self) {
        if !self.is_written {
            let _ = fs::remove_file(&self.path);
        }
    }
}
