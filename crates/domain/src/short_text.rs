//! The text of sixteen bytes.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Characters of sixteen bytes.
pub(crate) const TEXT_LEN: usize = 22;

/// Writes base64url without padding (RFC 4648, section 5) into `buffer`.
pub(crate) fn encode<'a>(bytes: &[u8; 16], buffer: &'a mut [u8; TEXT_LEN]) -> &'a str {
    // It always fits, and is ASCII.
    let len = URL_SAFE_NO_PAD.encode_slice(bytes, buffer).unwrap_or(0);
    str::from_utf8(&buffer[..len]).unwrap_or_default()
}
