//! Reads certificates, private keys and secrets from regular files.

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

/// Reads a regular file of at most 1 MiB, such as a certificate. Follows symbolic links, which
/// Kubernetes uses for the files of a Secret. The content is erased from memory when it is dropped.
///
/// The crate `tee-session-redis-adapter` has the same function. Neither crate depends on the other,
/// and the domain, on which both depend, reads no files.
///
/// # Errors
/// Fails if `path` is not a regular file, if the file is larger than 1 MiB, or if it cannot be
/// read.
pub fn read_regular_file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // Without `O_NONBLOCK`, opening a named pipe blocks until another program opens it as well. The
    // process could not end during that time.
    let mut options = File::options();
    let file = options.read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let message = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    // If the buffer grew, parts of a private key would remain in memory.
    let capacity = usize::try_from(metadata.len()).map_or(MAX_LEN, |len| len.min(MAX_LEN)) + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_LEN as u64 + 1).read_to_end(&mut content)?;
    if content.len() > MAX_LEN {
        let message = "it is larger than 1 MiB";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(content)
}
