//! Reads files that are checked for changes while the server runs.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// Maximum size of a file, in bytes.
const MAX_LEN: u64 = 1024 * 1024;

/// Reads a regular file of at most 1 MiB, such as a certificate. Follows symbolic links, which
/// Kubernetes uses for the files of a Secret.
///
/// # Errors
/// Fails if `path` is not a regular file, if the file is larger than 1 MiB, or if it cannot be
/// read.
pub fn read_regular_file(path: &Path) -> io::Result<Vec<u8>> {
    // A read from a named pipe blocks until another program writes to the pipe. The process could
    // not end during that time.
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        let message = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    if metadata.len() > MAX_LEN {
        let message = "it is larger than 1 MiB";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    // If the buffer grew, parts of a private key would remain in memory.
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    File::open(path)?.take(MAX_LEN).read_to_end(&mut content)?;
    Ok(content)
}
