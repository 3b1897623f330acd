/// Returns `true` if `text` contains an ASCII control character other than TAB. Browsers refuse a
/// cookie with such a character, because it could start a new line in a header.
pub(crate) fn starts_a_line(text: &str) -> bool {
    text.bytes()
        .any(|byte| byte.is_ascii_control() && byte != b'\t')
}
