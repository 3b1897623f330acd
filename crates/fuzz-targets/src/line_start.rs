/// Returns `true` if `text` contains an ASCII control character other than TAB, such as a line
/// feed, which would start a new line in a header. Browsers refuse a cookie with such a character.
pub(crate) fn starts_a_line(text: &str) -> bool {
    text.bytes()
        .any(|byte| byte.is_ascii_control() && byte != b'\t')
}
