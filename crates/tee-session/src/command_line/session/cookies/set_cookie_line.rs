//! `Set-Cookie` lines that set the cookies of a cookie file.

use std::slice;

use tee_session_client::Cookies;
use time::format_description::well_known::Rfc2822;
use zeroize::Zeroizing;

use super::file_cookie::{FileCookie, len_of_all};

/// Maximum length of the attribute `Path` in a `Set-Cookie` line, in bytes. The service ignores a
/// longer attribute.
const MAX_PATH_LEN: usize = 1_024;

/// Returns a `Set-Cookie` line that sets the cookie with all its attributes.
///
/// # Errors
/// Returns the reason if no line can set exactly this cookie.
pub(super) fn set_cookie_line(cookie: &FileCookie) -> Result<Zeroizing<String>, String> {
    let (name, value, path) = (&cookie.name, &cookie.value, &cookie.path);
    Cookies::check(name, Some(value)).map_err(|rule| rule.to_string())?;
    if value.contains(';') {
        return Err("A value with ; cannot be set and cannot be sent.".to_owned());
    }
    if value.trim_matches([' ', '\t']).len() < value.len() {
        return Err("A value must not begin or end with a space or a TAB.".to_owned());
    }
    if path.len() > MAX_PATH_LEN || path.contains(';') || path.ends_with([' ', '\t']) {
        return Err(format!(
            "A path must have at most {MAX_PATH_LEN} bytes, must not contain ; and must not end \
             with a space."
        ));
    }
    let mut line = Zeroizing::new(String::with_capacity(len_of_all(slice::from_ref(cookie))));
    for text in [name, "=", value, "; Path=", path] {
        line.push_str(text);
    }
    if !cookie.host_only {
        line.push_str("; Domain=");
        line.push_str(&cookie.domain);
    }
    if cookie.secure {
        line.push_str("; Secure");
    }
    // The format can express the years 1900 to 9999. Cookies that have expired are not imported.
    if let Some(time) = cookie.expires.and_then(|time| time.format(&Rfc2822).ok()) {
        line.push_str("; Expires=");
        line.push_str(&time);
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tee_session_domain::{BaseUrl, CookieUrl, SetCookieLines};
    use time::{Duration, OffsetDateTime};

    use super::*;

    fn cookie(name: &str, value: &str) -> FileCookie {
        FileCookie {
            name: name.to_owned(),
            value: Zeroizing::new(value.to_owned()),
            domain: "golf.example".to_owned(),
            host_only: true,
            path: "/".to_owned(),
            secure: false,
            expires: None,
        }
    }

    #[rstest]
    #[case::plain(cookie("SESSIONID", "a1b2c3"))]
    #[case::odd(cookie("gdpr[a b]", "\"x=y\", {z} ⛳\tü"))]
    #[case::empty(cookie("a", ""))]
    #[case::nameless(cookie("", "flag"))]
    #[case::all_attributes(FileCookie {
        host_only: false,
        path: "/x y".to_owned(),
        secure: true,
        expires: Some(OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_900_000_000)),
        ..cookie("a", "1")
    })]
    fn set_cookie_line_sets_exactly_the_cookie_of_the_cookie_file(#[case] cookie: FileCookie) {
        let line = set_cookie_line(&cookie).unwrap();
        let url = BaseUrl::new("https://golf.example").unwrap();
        let update = SetCookieLines::new(CookieUrl::of(&url).unwrap(), [line.to_string()]);
        let now = OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_890_000_000);
        let merged = Cookies::default().merged(&update, &url, now);
        assert_eq!(merged.ignored, []);
        let stored = FileCookie::all_of(&merged.cookies.unwrap(), &url).unwrap();
        assert_eq!(stored, [(cookie.name.clone(), cookie)]);
    }

    #[rstest]
    #[case::name_with_equals(cookie("a=b", "1"), "A cookie name")]
    #[case::control_character(cookie("a", "1\n"), "A cookie value")]
    #[case::too_long(cookie("a", &"x".repeat(8_192)), "The name and the value")]
    #[case::nameless_and_empty(cookie("", ""), "The value of a cookie with an empty name")]
    #[case::semicolon(cookie("a", "1; Domain=x"), "A value with ;")]
    #[case::outer_space(cookie("a", "1 "), "A value must not")]
    #[case::semicolon_in_the_path(FileCookie { path: "/;".to_owned(), ..cookie("a", "1") }, "A path")]
    #[case::long_path(FileCookie { path: format!("/{}", "x".repeat(1_024)), ..cookie("a", "1") }, "A path")]
    fn cookie_that_no_set_cookie_line_can_set_returns_a_reason(
        #[case] cookie: FileCookie,
        #[case] expected: &str,
    ) {
        let reason = set_cookie_line(&cookie).unwrap_err();
        assert!(reason.starts_with(expected), "{reason}");
    }
}
