//! Syntax of the header `Host`.

use actix_web::http::header::{HOST, HeaderMap};

/// Returns `true` if the header `Host` is absent or has a valid value (RFC 9112, section 3.2): a
/// host name, an IPv4 address or an IPv6 address in brackets, optionally with a port. The value may
/// be empty.
///
/// The framework rejects HTTP/1.1 requests without a `Host` header, and requests with several
/// `Host` headers.
pub(crate) fn is_valid(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST);
    host.is_none_or(|host| is_authority(host.as_bytes().trim_ascii()))
}

/// Returns `true` if `text` is a `uri-host [ ":" port ]` of RFC 3986, section 3.2. A zone in an
/// IPv6 address, which RFC 9844 leaves to implementations, is accepted.
fn is_authority(text: &[u8]) -> bool {
    let (host, port) = match text.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else {
                return false;
            };
            let (address, port) = rest.split_at(end);
            let is_address_byte = |byte: &u8| is_unreserved(*byte) || b":%".contains(byte);
            if address.is_empty() || !address.iter().all(is_address_byte) {
                return false;
            }
            (&b""[..], port.get(1..).unwrap_or_default())
        }
        None => {
            let end = text.iter().position(|byte| *byte == b':');
            text.split_at(end.unwrap_or(text.len()))
        }
    };
    is_registered_name(host)
        && (port.is_empty()
            || port
                .strip_prefix(b":")
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_digit)))
}

/// Returns `true` if `host` is a `reg-name` of RFC 3986, section 3.2.2. Every IPv4 address also
/// has this form.
fn is_registered_name(host: &[u8]) -> bool {
    let mut bytes = host.iter();
    while let Some(byte) = bytes.next() {
        let is_allowed = match byte {
            b'%' => {
                let mut is_digit = || bytes.next().is_some_and(u8::is_ascii_hexdigit);
                is_digit() && is_digit()
            }
            byte => is_unreserved(*byte) || b"!$&'()*+,;=".contains(byte),
        };
        if !is_allowed {
            return false;
        }
    }
    true
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::empty("")]
    #[case::name("api.golf.example")]
    #[case::underscore("tee_session")]
    #[case::port("localhost:8000")]
    #[case::empty_port("localhost:")]
    #[case::ipv4("10.0.0.1:8000")]
    #[case::ipv6("[::1]")]
    #[case::ipv6_with_a_port("[2001:db8::1]:8000")]
    #[case::ipv6_with_a_zone("[fe80::1%eth0]:8000")]
    #[case::percent_encoded("b%C3%BCcher.example")]
    #[case::sub_delimiters("a!$&'()*+,;=b")]
    fn host_name_or_address_with_an_optional_port_is_valid(#[case] host: &str) {
        assert!(is_authority(host.as_bytes()));
    }

    #[rstest]
    #[case::space_and_slash("a b/")]
    #[case::path("a/b")]
    #[case::user("user@a")]
    #[case::url("http://a")]
    #[case::two_hosts("a, b")]
    #[case::port_is_no_number("a:http")]
    #[case::negative_port("a:-1")]
    #[case::two_ports("a:1:2")]
    #[case::ipv6_without_brackets("::1")]
    #[case::bracket_is_not_closed("[::1")]
    #[case::empty_brackets("[]")]
    #[case::text_after_brackets("[::1]a")]
    #[case::incomplete_percent_encoding("a%2")]
    #[case::percent_encoding_without_hexadecimal_digits("a%zz")]
    #[case::query("a?b")]
    #[case::fragment("a#b")]
    #[case::quote("\"a\"")]
    #[case::not_ascii("bücher.example")]
    fn malformed_host_header_value_is_rejected(#[case] host: &str) {
        assert!(!is_authority(host.as_bytes()));
    }
}
