use tee_session_domain::{AllowedHosts, BaseUrl};

/// Fuzz target for the parser of base URLs.
///
/// An accepted URL must be stored unchanged and must have a host. The form of a URL for logs must
/// contain no query, fragment or password. An allow-list of hosts must allow the URL if the list
/// contains the host of the URL, and must reject the URL otherwise.
pub fn base_url(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    // A URL from the store is checked less strictly than a new URL, so it may contain a query, a
    // fragment or a password. The form of the URL for logs must contain none of these parts.
    if let Ok(stored) = BaseUrl::from_stored(text) {
        let logged = stored.for_log().to_string();
        let after_scheme = logged.split_once("://").map_or("", |(_, rest)| rest);
        let host = after_scheme.split('/').next().unwrap_or_default();
        assert!(!logged.contains(['?', '#']) && !host.contains('@'));
    }
    let Ok(url) = BaseUrl::new(text) else {
        return;
    };
    assert_eq!(url.as_str(), text);
    assert!(text.len() <= BaseUrl::MAX_LEN);
    let logged = url.for_log().to_string();
    assert!(!logged.contains('?'));
    let host = url.ascii_host().expect("an accepted URL has a host");
    assert!(host.is_ascii() && !host.contains(['@', '/', '\\', '%', ' ']));
    // An entry of an allow-list has no dot at its end. The entry matches the host with and without
    // a dot at the end.
    let host = host.strip_suffix('.').unwrap_or(&host);
    let own: AllowedHosts = host.parse().expect("a host is an entry of an allow-list");
    assert!(own.allows(&url));
    let other: AllowedHosts = "golf.invalid".parse().expect("a host");
    assert_eq!(other.allows(&url), host == "golf.invalid");
}
