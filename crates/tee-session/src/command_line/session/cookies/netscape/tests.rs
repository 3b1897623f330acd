use rstest::rstest;

use super::*;

/// All fields of a cookie: name, value, domain, path, `host_only`, `secure` and `expires`.
type Fields<'a> = (&'a str, &'a str, &'a str, &'a str, bool, bool, Option<i64>);

fn fields(cookie: &FileCookie) -> Fields<'_> {
    (
        &cookie.name,
        &cookie.value,
        &cookie.domain,
        &cookie.path,
        cookie.host_only,
        cookie.secure,
        cookie.expires.map(OffsetDateTime::unix_timestamp),
    )
}

#[rstest]
#[case::curl(
    "#HttpOnly_golf.example\tFALSE\t/\tTRUE\t0\tSESSIONID\ta1b2c3",
    ("SESSIONID", "a1b2c3", "golf.example", "/", true, true, None)
)]
#[case::domain(
    ".Golf.example\tTRUE\t/members\tFALSE\t1900000000\tlang\ten",
    ("lang", "en", "golf.example", "/members", false, false, Some(1_900_000_000))
)]
#[case::domain_without_a_dot(
    "golf.example\tTRUE\t/\tFALSE\t0\ta\t1",
    ("a", "1", "golf.example", "/", false, false, None)
)]
#[case::flags_in_lower_case(
    "golf.example\tfalse\t/\ttrue\t0\ta\t1",
    ("a", "1", "golf.example", "/", true, true, None)
)]
#[case::empty_value("golf.example\tFALSE\t/\tFALSE\t0\ta\t", ("a", "", "golf.example", "/", true, false, None))]
#[case::value_field_removed("golf.example\tFALSE\t/\tFALSE\t0\ta", ("a", "", "golf.example", "/", true, false, None))]
#[case::no_name("golf.example\tFALSE\t/\tFALSE\t0\t\tflag", ("", "flag", "golf.example", "/", true, false, None))]
#[case::no_time_of_expiry("golf.example\tFALSE\t/\tFALSE\t\ta\t1", ("a", "1", "golf.example", "/", true, false, None))]
#[case::tab_in_the_value("golf.example\tFALSE\t/\tFALSE\t0\ta\tx\ty", ("a", "x\ty", "golf.example", "/", true, false, None))]
#[case::spaces_and_unicode("golf.example\tFALSE\t/\tFALSE\t0\tmy [b]\t \"ü\" ", ("my [b]", " \"ü\" ", "golf.example", "/", true, false, None))]
fn netscape_cookie_line_of_another_program_is_parsed(
    #[case] line: &str,
    #[case] expected: Fields<'_>,
) {
    let cookies = parse(&format!("# Netscape HTTP Cookie File\r\n\n{line}\r\n")).unwrap();
    let [(3, cookie)] = &cookies[..] else {
        panic!("one cookie in line 3");
    };
    assert_eq!(fields(cookie), expected);
}

#[rstest]
#[case::empty("")]
#[case::comments(
    "# Netscape HTTP Cookie File\n#\n# golf.example\tFALSE\t/\tFALSE\t0\ta\t1\n\n  \t\n"
)]
fn netscape_cookie_file_without_cookies_is_parsed(#[case] text: &str) {
    assert!(parse(text).unwrap().is_empty());
}

#[rstest]
#[case::spaces(
    "golf.example FALSE / FALSE 0 s3cret s3cret",
    "line 3: the line is neither"
)]
#[case::five_fields("golf.example\tFALSE\t/\tFALSE\ts3cret", "line 3: a cookie has fewer")]
#[case::no_domain(".\tFALSE\t/\tFALSE\t0\ta\ts3cret", "line 3: the domain (field 1)")]
#[case::subdomains("golf.example\tyes\t/\tFALSE\t0\ta\ts3cret", "line 3: field 2 must be")]
#[case::path(
    "golf.example\tFALSE\tx\tFALSE\t0\ta\ts3cret",
    "line 3: the path (field 3)"
)]
#[case::secure("golf.example\tFALSE\t/\t1\t0\ta\ts3cret", "line 3: field 4 must be")]
#[case::expires(
    "golf.example\tFALSE\t/\tFALSE\ts3cret\ta\ts3cret",
    "line 3: the time of expiry"
)]
fn error_for_a_malformed_line_names_the_line_and_quotes_nothing(
    #[case] line: &str,
    #[case] expected: &str,
) {
    let text = format!("\ngolf.example\tFALSE\t/\tFALSE\t0\ta\t1\n{line}\n");
    let Malformed { what, advice } = parse(&text).unwrap_err();
    assert!(what.starts_with(expected), "{what}");
    assert!(!what.contains("s3cret") && !advice.contains("s3cret"));
}

#[test]
fn written_netscape_cookie_file_is_parsed_as_the_same_cookies() {
    let text = "golf.example\tFALSE\t/\tTRUE\t0\ta[b]\t\"1\"\n\
                .golf.example\tTRUE\t/x y\tFALSE\t1900000000\tgröße\t⛳\n\
                golf.example\tFALSE\t/\tFALSE\t0\t\tflag\n";
    let cookies: Vec<_> = parse(text)
        .unwrap()
        .into_iter()
        .map(|(_, cookie)| cookie)
        .collect();
    let written = write(&cookies).unwrap();
    let written = std::str::from_utf8(&written).unwrap();
    assert!(written.starts_with("# Netscape HTTP Cookie File\n"));
    assert!(written.ends_with(text), "{written}");
    let again = parse(written)
        .unwrap()
        .into_iter()
        .map(|(_, cookie)| cookie);
    assert_eq!(again.collect::<Vec<_>>(), cookies);
}
