//! Parser of redirects, as a target for fuzzers.

use http::HeaderValue;

use crate::{
    Site, Target,
    location::{self, Mapped},
};

/// Maps the value of `Location` in the answer to a request for `target`. Returns the path within
/// the gateway, or `None` if the redirect leads to another site or the input is invalid.
#[must_use]
pub fn redirect_within_the_gateway(target: &str, value: &[u8]) -> Option<String> {
    let site = Site::of_url("https://golf.example").ok()?;
    let target = Target::parse(target).ok()?;
    let value = HeaderValue::from_bytes(value).ok()?;
    match location::map(&value, &site, &target, "/v1/upstream") {
        Mapped::Site(mapped) => Some(String::from_utf8_lossy(mapped.as_bytes()).into_owned()),
        Mapped::Elsewhere(_) => None,
    }
}
