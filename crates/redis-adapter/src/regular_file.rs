//! Reads the files that each new connection reads again: the file with the Redis URL, certificates
//! and private keys.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::libc::O_NONBLOCK;
use zeroize::Zeroizing;

/// Maximum size of a file, in bytes.
const MAX_LEN: usize = 1024 * 1024;

/// Reads a regular file of at most 1 MiB. The content is erased from memory when it is dropped.
///
/// The crate `tee-session-api-server` has the same function. Neither crate depends on the other,
/// and the domain, on which both depend, reads no files.
pub(crate) fn read_regular_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Without `O_NONBLOCK`, opening a named pipe blocks until another program opens it as well. The
    // connection could not be established during that time.
    let mut options = File::options();
    let file = options.read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let message = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    // The buffer must not grow. Growing frees the previous buffer without erasing it, and a part of
    // a private key would remain in the freed memory.
    let capacity = usize::try_from(metadata.len()).map_or(MAX_LEN, |len| len.min(MAX_LEN)) + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_LEN as u64 + 1).read_to_end(&mut content)?;
    if content.len() > MAX_LEN {
        let message = "it is larger than 1 MiB";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn only_regular_files_of_at_most_1_mib_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let [file, pipe] = ["file", "pipe"].map(|name| folder.path().join(name));
        let read = |path: &Path| read_regular_file(path).map_err(|error| error.to_string());

        fs::write(&file, vec![b'a'; MAX_LEN]).unwrap();
        assert_eq!(read(&file).unwrap().len(), MAX_LEN);
        fs::write(&file, vec![b'a'; MAX_LEN + 1]).unwrap();
        assert_eq!(read(&file), Err("it is larger than 1 MiB".to_owned()));
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [pipe.as_path(), folder.path()] {
            assert_eq!(read(path), Err("it is not a regular file".to_owned()));
        }
    }
}
