//! Text form of 16-byte values such as session ids and entity tags.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// Length in characters of the text form of a 16-byte value.
pub(crate) const TEXT_LEN: usize = 22;

/// Writes `bytes` into `buffer` as base64url without padding (RFC 4648, section 5), and returns the
/// text.
pub(crate) fn encode<'a>(bytes: &[u8; 16], buffer: &'a mut [u8; TEXT_LEN]) -> &'a str {
    // Both calls always succeed: the buffer has exactly the required size, and base64url is ASCII.
    let len = URL_SAFE_NO_PAD.encode_slice(bytes, buffer).unwrap_or(0);
    str::from_utf8(&buffer[..len]).unwrap_or_default()
}
