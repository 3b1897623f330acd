//! Conditional requests: `If-Match`, `If-None-Match` and `ETag` (RFC 9110, sections 8.8.3 and 13).
//!
//! The framework's types for these headers are not used, for three reasons:
//! - They skip malformed tags.
//! - They end a tag at a comma within the tag.
//! - If the first line of a header is `*`, they ignore further lines of the header.

use actix_web::{
    HttpResponse,
    http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH},
};
use tee_session_domain::EntityTag;

use crate::problem::ApiError;

/// Maximum number of entity tags in an `If-Match` or `If-None-Match` header. For one session, a
/// client needs only a few tags.
const MAX_TAGS: usize = 100;

/// The preconditions of a request: the parsed headers `If-Match` and `If-None-Match`.
#[derive(Debug)]
pub(crate) struct Preconditions<'a> {
    if_match: Option<Tags<'a>>,
    if_none_match: Option<Tags<'a>>,
}

impl<'a> Preconditions<'a> {
    /// Parses `If-Match` and `If-None-Match`. Fails with [`ApiError::InvalidRequest`] if one of the
    /// headers is malformed.
    pub(crate) fn of(headers: &'a HeaderMap) -> Result<Self, ApiError> {
        Ok(Self {
            if_match: Tags::of(headers, &IF_MATCH)?,
            if_none_match: Tags::of(headers, &IF_NONE_MATCH)?,
        })
    }

    /// Returns `true` if `If-Match` is absent or matches `tag`, the current entity tag of the
    /// session. The comparison is strong: a weak tag in the header never matches.
    pub(crate) fn allows(&self, tag: EntityTag) -> bool {
        let if_match = self.if_match.as_ref();
        if_match.is_none_or(|tags| tags.matches(tag, Comparison::Strong))
    }

    /// Returns `true` if `If-None-Match` matches `tag`, the current entity tag of the session. The
    /// client then already has the current state. The comparison is weak: a weak tag in the header
    /// can match.
    pub(crate) fn client_has(&self, tag: EntityTag) -> bool {
        let if_none_match = self.if_none_match.as_ref();
        if_none_match.is_some_and(|tags| tags.matches(tag, Comparison::Weak))
    }

    /// Returns `true` if a session with the entity tag `tag` may be updated: `If-Match` must be
    /// absent or match, and `If-None-Match` must be absent or not match.
    pub(crate) fn allows_change(&self, tag: EntityTag) -> bool {
        self.allows(tag) && !self.client_has(tag)
    }
}

/// Length, in bytes, of the entity tag of a session with its quotation marks.
const QUOTED_TAG_LEN: usize = EntityTag::TEXT_LEN + 2;

/// Adds an `ETag` header with `tag` to a response.
pub(crate) fn with_etag(mut response: HttpResponse, tag: EntityTag) -> HttpResponse {
    let mut text = [b'"'; QUOTED_TAG_LEN];
    let encoded = &mut [0; EntityTag::TEXT_LEN];
    text[1..=EntityTag::TEXT_LEN].copy_from_slice(tag.encode(encoded).as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&text) {
        response.headers_mut().insert(ETAG, value);
    }
    response
}

#[derive(Clone, Copy)]
enum Comparison {
    Strong,
    Weak,
}

/// Parsed value of an `If-Match` or `If-None-Match` header.
#[derive(Debug, PartialEq)]
enum Tags<'a> {
    /// The header value `*`, which matches any entity tag.
    Any,
    /// The entity tags that the header lists.
    List(Vec<Tag<'a>>),
}

#[derive(Debug, PartialEq)]
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

/// Error for a header value that is neither `*` nor a list of 1 to [`MAX_TAGS`] entity tags.
#[derive(Debug, PartialEq)]
struct Malformed;

impl<'a> Tags<'a> {
    fn of(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<Self>, ApiError> {
        let lines: Vec<_> = headers.get_all(name).map(HeaderValue::as_bytes).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let tags = Self::parse(&lines);
        tags.map(Some).map_err(|Malformed| {
            ApiError::InvalidRequest(format!(
                "{} must be * or a list of at most {MAX_TAGS} entity tags in quotation marks; send the \
                 ETag as it was received",
                if name == IF_MATCH {
                    "If-Match"
                } else {
                    "If-None-Match"
                }
            ))
        })
    }

    /// Parses all lines of a header as one list (RFC 9110, section 5.3). An entity tag must not
    /// extend over several lines.
    fn parse(lines: &[&'a [u8]]) -> Result<Self, Malformed> {
        if let [line] = lines
            && line.trim_ascii() == b"*"
        {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        for line in lines {
            read_list(line, &mut tags)?;
        }
        if tags.is_empty() {
            return Err(Malformed);
        }
        Ok(Self::List(tags))
    }

    fn matches(&self, tag: EntityTag, comparison: Comparison) -> bool {
        match self {
            Self::Any => true,
            Self::List(tags) => {
                let text = tag.to_string();
                tags.iter().any(|tag| {
                    let may_match = matches!(comparison, Comparison::Weak) || !tag.is_weak;
                    may_match && tag.opaque == text.as_bytes()
                })
            }
        }
    }
}

/// Reads the comma-separated entity tags of a header line, and appends them to `tags`. Empty list
/// members are allowed (RFC 9110, section 5.6.1.2).
fn read_list<'a>(line: &'a [u8], tags: &mut Vec<Tag<'a>>) -> Result<(), Malformed> {
    let mut rest = line;
    let mut after_comma = true;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b' ' | b'\t' => after,
            b',' => {
                after_comma = true;
                after
            }
            _ if after_comma && tags.len() < MAX_TAGS => {
                let (tag, after) = read_tag(rest).ok_or(Malformed)?;
                tags.push(tag);
                after_comma = false;
                after
            }
            _ => return Err(Malformed),
        };
    }
    Ok(())
}

/// Reads the entity tag at the start of `text`. Returns the tag and the text after the tag. Returns
/// `None` if the tag is malformed.
fn read_tag(text: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let without_mark = text.strip_prefix(b"W/");
    let quoted = without_mark.unwrap_or(text).strip_prefix(b"\"")?;
    let end = quoted.iter().position(|byte| *byte == b'"')?;
    let (opaque, after) = (&quoted[..end], &quoted[end + 1..]);
    let is_valid = opaque.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    let is_weak = without_mark.is_some();
    is_valid.then_some((Tag { is_weak, opaque }, after))
}

#[cfg(test)]
mod tests;
