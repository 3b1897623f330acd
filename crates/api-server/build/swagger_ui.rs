//! Extracts the files of Swagger UI from a ZIP archive in a build dependency, and converts them to
//! gzip.
//!
//! ZIP and gzip contain the same deflate stream and differ only in header and trailer. The files
//! are therefore converted without being decompressed. The executable contains the files in
//! compressed form, which is a quarter of their size.

use std::{
    env,
    error::Error,
    fs,
    io::{Cursor, Read},
    path::Path,
};

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED as ARCHIVE;
use zip::{CompressionMethod, ZipArchive};

/// Swagger UI files to extract: the files that the page `/docs` loads, and the license.
const FILES: [&str; 3] = [
    "dist/swagger-ui-bundle.js",
    "dist/swagger-ui.css",
    "LICENSE",
];

/// Gzip header: magic number, deflate, no flags, no time, no extra flags, unknown operating system
/// (RFC 1952, section 2.3).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Writes each of the [`FILES`] to `OUT_DIR` in gzip format. The crate includes the written files
/// with `include_bytes!`.
pub(crate) fn unpack() -> Result<(), Box<dyn Error>> {
    let folder = env::var("OUT_DIR")?;
    let mut archive = ZipArchive::new(Cursor::new(ARCHIVE))?;
    for file in FILES {
        let name = Path::new(file)
            .file_name()
            .ok_or("a path in FILES has no file name")?;
        let path = Path::new(&folder).join(name).with_added_extension("gz");
        fs::write(path, packed(&mut archive, file)?)?;
    }
    Ok(())
}

/// Converts a file of the Swagger UI archive from ZIP to gzip. `file` is the path of the file below
/// the top-level folder of the archive. Fails if the archive has no such file, or if the file is
/// not deflated.
fn packed(archive: &mut ZipArchive<Cursor<&[u8]>>, file: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let index = archive.file_names().position(|name| {
        name.is_ok_and(|name| name.split_once('/').is_some_and(|(_, below)| below == file))
    });
    let index = index.ok_or_else(|| format!("the Swagger UI archive has no {file}"))?;
    let mut entry = archive.by_index_raw(index)?;
    if entry.compression() != CompressionMethod::DEFLATE {
        return Err(format!("{file} is not deflated in the Swagger UI archive").into());
    }
    let unpacked_len = u32::try_from(entry.size())?;
    let checksum = entry.crc32();
    let mut packed = GZIP_HEADER.to_vec();
    entry.read_to_end(&mut packed)?;
    packed.extend(checksum.to_le_bytes());
    packed.extend(unpacked_len.to_le_bytes());
    Ok(packed)
}
