//! Domain and path matching (RFC 6265bis, sections 5.1.3 and 5.1.4).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Returns `true` if `host` domain-matches `domain` (section 5.1.3). Both are in lower case.
pub(super) fn domain_matches(host: &str, domain: &str) -> bool {
    host == domain
        || host
            .strip_suffix(domain)
            .is_some_and(|rest| rest.ends_with('.') && !is_ip_address(host))
}

/// Returns `true` if `host` is an IP address, in the canonical form of the URL standard.
pub(super) fn is_ip_address(host: &str) -> bool {
    let ipv6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    host.parse::<Ipv4Addr>().is_ok() || ipv6.is_some_and(|host| host.parse::<Ipv6Addr>().is_ok())
}

/// Returns `true` if cookies for `domain` would be sent to hosts of different owners, such as `com`
/// or `github.io` (section 5.7, step 9, and the Public Suffix List).
pub(super) fn is_public_suffix(domain: &str) -> bool {
    // `com.` and `com` are the same domain.
    let domain = domain.trim_end_matches('.');
    psl::suffix_str(domain) == Some(domain)
}

/// Returns the path of a cookie without the attribute `Path` (section 5.1.4): the path of the URL
/// up to its last `/`.
pub(super) fn default_path(url_path: &str) -> &str {
    match url_path.rfind('/') {
        Some(end) if end > 0 && url_path.starts_with('/') => &url_path[..end],
        _ => "/",
    }
}

/// Returns `true` if the path of a request path-matches the path of a cookie (section 5.1.4).
pub(super) fn path_matches(request_path: &str, cookie_path: &str) -> bool {
    request_path
        .strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::same("golf.example", "golf.example", true)]
    #[case::subdomain("www.golf.example", "golf.example", true)]
    #[case::parent("golf.example", "www.golf.example", false)]
    #[case::no_dot_boundary("evilgolf.example", "golf.example", false)]
    #[case::other("golf.example", "tennis.example", false)]
    #[case::same_ipv4("127.0.0.1", "127.0.0.1", true)]
    #[case::suffix_of_ipv4("127.0.0.1", "0.0.1", false)]
    #[case::same_ipv6("[::1]", "[::1]", true)]
    #[case::empty("golf.example", "", false)]
    fn domain_matching_of_cookies_follows_rfc_6265bis(
        #[case] host: &str,
        #[case] domain: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(domain_matches(host, domain), expected);
    }

    #[rstest]
    #[case::top_level("com", true)]
    #[case::country("co.uk", true)]
    #[case::private("github.io", true)]
    #[case::unknown_top_level("example", true)]
    #[case::wildcard("foo.ck", true)]
    #[case::exception_of_a_wildcard("www.ck", false)]
    #[case::registrable("golf.example", false)]
    #[case::below_a_private_suffix("tee.github.io", false)]
    #[case::single_label("localhost", true)]
    #[case::trailing_dot("com.", true)]
    #[case::registrable_with_a_trailing_dot("golf.example.", false)]
    #[case::punycode("xn--55qx5d.cn", true)]
    #[case::registrable_in_punycode("xn--85x722f.xn--55qx5d.cn", false)]
    fn public_suffixes_are_recognized(#[case] domain: &str, #[case] expected: bool) {
        assert_eq!(is_public_suffix(domain), expected);
    }

    #[rstest]
    #[case::root("/", "/")]
    #[case::file("/login.php", "/")]
    #[case::folder("/members/login.php", "/members")]
    #[case::trailing_slash("/members/", "/members")]
    #[case::empty("", "/")]
    #[case::relative("members/login", "/")]
    fn default_path_is_the_folder_of_the_url(#[case] url_path: &str, #[case] expected: &str) {
        assert_eq!(default_path(url_path), expected);
    }

    #[rstest]
    #[case::same("/members", "/members", true)]
    #[case::root("/members", "/", true)]
    #[case::below("/members/7", "/members", true)]
    #[case::below_a_folder("/members/7", "/members/", true)]
    #[case::no_slash_boundary("/membership", "/members", false)]
    #[case::folder_without_its_slash("/members", "/members/", false)]
    #[case::other_case("/Members", "/members", false)]
    fn path_matching_of_cookies_follows_rfc_6265bis(
        #[case] request: &str,
        #[case] cookie: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(path_matches(request, cookie), expected);
    }
}
