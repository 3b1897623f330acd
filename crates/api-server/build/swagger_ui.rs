//! Takes the files of Swagger UI out of the archive that a crate holds, as gzip.
//!
//! What a ZIP archive says of a file and what gzip says of it is the same but for head and end, so
//! nothing is unpacked, and the program holds a quarter of the bytes.

use std::{env, error::Error, fs, path::Path};

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED as ARCHIVE;

/// What the page needs, and the terms that it comes with.
const FILES: [&str; 3] = [
    "dist/swagger-ui-bundle.js",
    "dist/swagger-ui.css",
    "LICENSE",
];

const END_OF_DIRECTORY: &[u8] = b"PK\x05\x06";
const DIRECTORY_ENTRY: &[u8] = b"PK\x01\x02";
const DIRECTORY_ENTRY_LEN: usize = 46;
const LOCAL_HEAD_LEN: usize = 30;
const DEFLATE: usize = 8;

/// Magic, deflate, no flags, no time, no further hint, an unknown system (RFC 1952, section 2.3).
const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Writes them to where the crate finds them.
pub(crate) fn unpack() -> Result<(), Box<dyn Error>> {
    let folder = env::var("OUT_DIR")?;
    for file in FILES {
        let name = Path::new(file).file_name().ok_or("a file has a name")?;
        let path = Path::new(&folder).join(name).with_added_extension("gz");
        let packed = packed(file).ok_or_else(|| format!("no deflated {file} in the archive"))?;
        fs::write(path, packed)?;
    }
    Ok(())
}

/// A file of the archive's one folder, as gzip.
fn packed(file: &str) -> Option<Vec<u8>> {
    let end = ARCHIVE
        .windows(END_OF_DIRECTORY.len())
        .rposition(|window| window == END_OF_DIRECTORY)?;
    let mut at = number(end + 16, 4)?;
    while ARCHIVE.get(at..)?.starts_with(DIRECTORY_ENTRY) {
        let name_at = at + DIRECTORY_ENTRY_LEN;
        let name_len = number(at + 28, 2)?;
        let name = ARCHIVE.get(name_at..name_at + name_len)?;
        let (_, below) = str::from_utf8(name).ok()?.split_once('/')?;
        if below == file && number(at + 10, 2)? == DEFLATE {
            let (checksum, lens) = (ARCHIVE.get(at + 16..at + 20)?, number(at + 20, 4)?);
            let unpacked_len = ARCHIVE.get(at + 24..at + 28)?;
            let head = number(at + 42, 4)?;
            let data = head + LOCAL_HEAD_LEN + number(head + 26, 2)? + number(head + 28, 2)?;
            let data = ARCHIVE.get(data..data + lens)?;
            return Some([&GZIP_HEAD, data, checksum, unpacked_len].concat());
        }
        at = name_at + name_len + number(at + 30, 2)? + number(at + 32, 2)?;
    }
    None
}

/// A number of `len` bytes, the lowest first.
fn number(at: usize, len: usize) -> Option<usize> {
    let bytes = ARCHIVE.get(at..at + len)?;
    let places = bytes.iter().rev();
    Some(places.fold(0, |number, byte| number << 8 | usize::from(*byte)))
}
