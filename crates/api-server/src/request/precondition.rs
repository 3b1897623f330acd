//! Conditional requests: entity tags in header fields (RFC 9110, sections 8.8.3 and 13).
//!
//! The framework's typed fields are not used here: they pass over what is malformed, take a comma
//! within a tag for the end of it, and an asterisk for all there is in the first of several lines.

use actix_web::{
    HttpResponse,
    http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH},
};
use tee_session_domain::EntityTag;

use crate::problem::ApiError;

/// So many tags are read; whoever sends more is not after one state of one session.
const MAX_TAGS: usize = 100;

/// What a request asks of the state that it is about.
#[derive(Debug)]
pub(crate) struct Preconditions<'a> {
    if_match: Option<Tags<'a>>,
    if_none_match: Option<Tags<'a>>,
}

impl<'a> Preconditions<'a> {
    /// Reads both fields.
    pub(crate) fn of(headers: &'a HeaderMap) -> Result<Self, ApiError> {
        Ok(Self {
            if_match: Tags::of(headers, &IF_MATCH)?,
            if_none_match: Tags::of(headers, &IF_NONE_MATCH)?,
        })
    }

    /// Whether `If-Match` allows the request; the strong comparison, by which no weak tag matches.
    pub(crate) fn allows(&self, tag: EntityTag) -> bool {
        let if_match = self.if_match.as_ref();
        if_match.is_none_or(|tags| tags.holds(tag, Comparison::Strong))
    }

    /// Whether the client has this state already, by `If-None-Match`; the weak comparison.
    pub(crate) fn is_known(&self, tag: EntityTag) -> bool {
        let if_none_match = self.if_none_match.as_ref();
        if_none_match.is_some_and(|tags| tags.holds(tag, Comparison::Weak))
    }

    /// Whether a change may be made: what a client that has this state already does not want is none.
    pub(crate) fn allows_change(&self, tag: EntityTag) -> bool {
        self.allows(tag) && !self.is_known(tag)
    }
}

/// Bytes of a tag of ours in quotation marks.
const QUOTED_TAG_LEN: usize = EntityTag::TEXT_LEN + 2;

/// Names the state that an answer tells of.
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

/// The value of `If-Match` or `If-None-Match`.
#[derive(Debug, PartialEq)]
enum Tags<'a> {
    /// `*`: whatever state there is.
    Any,
    These(Vec<Tag<'a>>),
}

#[derive(Debug, PartialEq)]
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

/// A field is no list of entity tags.
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
                "{} must be * or a list of at most {MAX_TAGS} entity tags",
                if name == IF_MATCH {
                    "If-Match"
                } else {
                    "If-None-Match"
                }
            ))
        })
    }

    /// Lines of one field are one list (section 5.3); no tag goes over the end of a line.
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
        Ok(Self::These(tags))
    }

    fn holds(&self, tag: EntityTag, comparison: Comparison) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => {
                let text = tag.to_string();
                tags.iter().any(|tag| {
                    let counts = matches!(comparison, Comparison::Weak) || !tag.is_weak;
                    counts && tag.opaque == text.as_bytes()
                })
            }
        }
    }
}

/// Members are separated by commas; there may be none between two (section 5.6.1.2).
fn read_list<'a>(line: &'a [u8], tags: &mut Vec<Tag<'a>>) -> Result<(), Malformed> {
    let mut rest = line;
    let mut may_begin = true;
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b' ' | b'\t' => after,
            b',' => {
                may_begin = true;
                after
            }
            _ if may_begin && tags.len() < MAX_TAGS => {
                let (tag, after) = read_tag(rest).ok_or(Malformed)?;
                tags.push(tag);
                may_begin = false;
                after
            }
            _ => return Err(Malformed),
        };
    }
    Ok(())
}

/// The tag that `text` begins with, and what follows.
fn read_tag(text: &[u8]) -> Option<(Tag<'_>, &[u8])> {
    let without_mark = text.strip_prefix(b"W/");
    let quoted = without_mark.unwrap_or(text).strip_prefix(b"\"")?;
    let end = quoted.iter().position(|byte| *byte == b'"')?;
    let (opaque, after) = (&quoted[..end], &quoted[end + 1..]);
    let is_sound = opaque.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    let is_weak = without_mark.is_some();
    is_sound.then_some((Tag { is_weak, opaque }, after))
}

#[cfg(test)]
mod tests;
