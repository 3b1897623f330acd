//! Request targets (path and query) of requests to a site.

use http::uri::PathAndQuery;
use thiserror::Error;

/// A validated request target in origin form (RFC 9112, section 3.2.1): path and query. The text is
/// sent to the site byte for byte.
///
/// ```
/// use tee_session_upstream::Target;
///
/// assert_eq!(Target::parse("/a%2Fb?x=%3F")?.as_str(), "/a%2Fb?x=%3F");
/// assert!(Target::parse("/a/%2e%2e/b").is_err());
/// # Ok::<(), tee_session_upstream::InvalidTarget>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Target(PathAndQuery);

/// Error for an invalid target. `Display` states what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// The path of the target does not begin with `/`.
    #[error("the path of the site must begin with a slash")]
    Relative,
    /// The path contains a dot segment (`.` or `..`), also in percent-encoded form.
    #[error("the path of the site must not contain the segments . and .., in any spelling")]
    DotSegment,
    /// The path contains a backslash, which some servers read as a slash.
    #[error("the path of the site must not contain a backslash")]
    Backslash,
    /// The target contains a control character or white space, or the path contains `%00`, `%0a`
    /// or `%0d`.
    #[error("the path of the site must not contain white space or control characters")]
    Control,
    /// The target contains a character that a URL cannot contain.
    #[error("the path and query of the site must consist of characters that a URL can contain")]
    Characters,
}

impl Target {
    /// Validates a request target.
    ///
    /// The site defines the meaning of the query. The query may contain every character and every
    /// percent-encoding that is allowed in a URL.
    ///
    /// # Errors
    /// Returns the first rule that the target breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidTarget> {
        let path = text.split('?').next().unwrap_or_default();
        if !path.starts_with('/') {
            return Err(InvalidTarget::Relative);
        }
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) || has_encoded_control(path) {
            return Err(InvalidTarget::Control);
        }
        if path.contains('\\') {
            return Err(InvalidTarget::Backslash);
        }
        if segments(path).iter().any(|segment| is_dot_segment(segment)) {
            return Err(InvalidTarget::DotSegment);
        }
        let target = PathAndQuery::try_from(text).map_err(|_| InvalidTarget::Characters)?;
        // The parser would remove a fragment, but a target must not be changed.
        if target.as_str() != text {
            return Err(InvalidTarget::Characters);
        }
        Ok(Self(target))
    }

    /// Returns the target: path and query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    pub(crate) fn path_and_query(&self) -> PathAndQuery {
        self.0.clone()
    }
}

/// Shows only the path of the target. The query may contain secrets.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Target({})", self.path())
    }
}

fn has_encoded_control(path: &str) -> bool {
    let path = path.as_bytes();
    path.windows(3).any(|part| {
        part[0] == b'%' && part[1] == b'0' && matches!(part[2], b'0' | b'a' | b'A' | b'd' | b'D')
    })
}

/// Splits a path at slashes and backslashes, which may be percent-encoded.
fn segments(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let (mut start, mut index) = (0, 0);
    let bytes = path.as_bytes();
    while index < bytes.len() {
        let len = match &bytes[index..] {
            [b'/' | b'\\', ..] => 1,
            [b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..] => 3,
            _ => {
                index += 1;
                continue;
            }
        };
        // Separators are ASCII, so `start` and `index` are at character boundaries.
        segments.push(path.get(start..index).unwrap_or_default());
        index += len;
        start = index;
    }
    segments.push(path.get(start..).unwrap_or_default());
    segments
}

fn is_dot_segment(segment: &str) -> bool {
    let mut dots = 0;
    let mut rest = segment;
    while !rest.is_empty() {
        let after = rest
            .strip_prefix('.')
            .or_else(|| rest.strip_prefix("%2e"))
            .or_else(|| rest.strip_prefix("%2E"));
        let Some(after) = after else {
            return false;
        };
        dots += 1;
        rest = after;
    }
    matches!(dots, 1 | 2)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::root("/")]
    #[case::plain("/members/book?slot=7")]
    #[case::encoded_slash("/a%2Fb%2fc")]
    #[case::encoded_question_mark("/a%3Fb?c")]
    #[case::double_slash("//evil.example/x")]
    #[case::empty_query("/a?")]
    #[case::second_question_mark("/a?b?c")]
    #[case::at("/@evil.example")]
    #[case::colon("/:80/x")]
    #[case::plus_and_spaces("/a+b%20c")]
    #[case::dots_in_names("/a..b/...//.hidden/x.")]
    #[case::matrix_parameter("/..;x=1/b")]
    #[case::double_encoded("/%252e%252e/b")]
    #[case::query_with_dots("/a?path=../../b")]
    #[case::query_with_line_feed("/a?text=one%0D%0Atwo")]
    #[case::query_with_backslash("/a?b\\c")]
    #[case::query_with_brackets("/a?slots[0]=7&x={y}|^`")]
    #[case::invalid_percent_encoding("/a%zz%2")]
    #[case::lower_case_encoding("/%e4%f6")]
    fn valid_target_is_kept_octet_for_octet(#[case] text: &str) {
        assert_eq!(Target::parse(text).unwrap().as_str(), text);
    }

    #[rstest]
    #[case::parent("/a/../b", InvalidTarget::DotSegment)]
    #[case::current("/./b", InvalidTarget::DotSegment)]
    #[case::at_the_end("/a/..", InvalidTarget::DotSegment)]
    #[case::current_at_the_end("/a/.", InvalidTarget::DotSegment)]
    #[case::encoded("/a/%2e%2e/b", InvalidTarget::DotSegment)]
    #[case::upper_case("/a/%2E./b", InvalidTarget::DotSegment)]
    #[case::half_encoded("/a/.%2e/b", InvalidTarget::DotSegment)]
    #[case::after_an_encoded_slash("/a%2f..%2Fb", InvalidTarget::DotSegment)]
    #[case::after_an_encoded_backslash("/a%5c..%5Cb", InvalidTarget::DotSegment)]
    #[case::before_the_query("/a/..?x=1", InvalidTarget::DotSegment)]
    #[case::backslash("/a\\b", InvalidTarget::Backslash)]
    #[case::nul("/a%00b", InvalidTarget::Control)]
    #[case::line_feed("/a%0ab", InvalidTarget::Control)]
    #[case::line_feed_in_upper_case("/a%0Ab", InvalidTarget::Control)]
    #[case::carriage_return("/a%0Db", InvalidTarget::Control)]
    #[case::raw_line_feed("/a\nb", InvalidTarget::Control)]
    #[case::raw_line_feed_in_the_query("/a?b\r\nc", InvalidTarget::Control)]
    #[case::space("/a b", InvalidTarget::Control)]
    #[case::tab_in_the_query("/a?b\tc", InvalidTarget::Control)]
    #[case::delete("/a\u{7f}", InvalidTarget::Control)]
    #[case::empty("", InvalidTarget::Relative)]
    #[case::relative("a/b", InvalidTarget::Relative)]
    #[case::absolute_url("https://evil.example/", InvalidTarget::Relative)]
    #[case::star("*", InvalidTarget::Relative)]
    #[case::only_a_query("?a", InvalidTarget::Relative)]
    #[case::fragment("/a#b", InvalidTarget::Characters)]
    #[case::quotation_mark_in_the_query("/a?b=\"c\"", InvalidTarget::Characters)]
    fn invalid_or_ambiguous_target_is_rejected(#[case] text: &str, #[case] error: InvalidTarget) {
        assert_eq!(Target::parse(text).map(|_| ()), Err(error));
    }

    #[test]
    fn debug_output_of_a_target_contains_no_query() {
        let target = Target::parse("/a?token=secret").unwrap();
        assert_eq!(format!("{target:?}"), "Target(/a)");
    }
}
