use proptest::{collection::hash_map, prelude::*};
use rstest::rstest;

use super::*;

fn validate_single_cookie(name: &str, value: &str) -> Result<Cookies, CookiesError> {
    Cookies::new([(name.to_owned(), value.to_owned())])
}

fn broken_rules(result: Result<Cookies, CookiesError>) -> Vec<CookieRule> {
    result
        .unwrap_err()
        .problems
        .into_iter()
        .map(|problem| problem.rule)
        .collect()
}

#[rstest]
#[case::plain("SESSIONID", "a1b2c3")]
#[case::empty_value("SESSIONID", "")]
#[case::semicolon("a", "x;y; z")]
#[case::quotes_and_backslash("a", r#""quo\ted""#)]
#[case::unicode("a", "grün ⛳ 日本")]
#[case::secure_prefix("__Host-id", "1")]
#[case::dollar_name("$Version", "1")]
#[case::reserved_word("Path", "/")]
#[case::longest_name(&"n".repeat(256), "1")]
#[case::longest_value("a", &"v".repeat(4_096))]
fn valid_cookie_is_kept_exactly_as_given(#[case] name: &str, #[case] value: &str) {
    let cookies = validate_single_cookie(name, value).unwrap();
    assert_eq!(cookies.iter().collect::<Vec<_>>(), [(name, value)]);
}

#[rstest]
#[case::empty_name("", "1", CookieRule::NameLength)]
#[case::long_name(&"n".repeat(257), "1", CookieRule::NameLength)]
#[case::space_in_name("a b", "1", CookieRule::NameCharacters)]
#[case::equals_in_name("a=b", "1", CookieRule::NameCharacters)]
#[case::semicolon_in_name("a;b", "1", CookieRule::NameCharacters)]
#[case::comma_in_name("a,b", "1", CookieRule::NameCharacters)]
#[case::quote_in_name("a\"b", "1", CookieRule::NameCharacters)]
#[case::parenthesis_in_name("a(b", "1", CookieRule::NameCharacters)]
#[case::closing_parenthesis_in_name("a)", "1", CookieRule::NameCharacters)]
#[case::angle_bracket_in_name("a<b", "1", CookieRule::NameCharacters)]
#[case::at_sign_in_name("a@b", "1", CookieRule::NameCharacters)]
#[case::colon_in_name("a:b", "1", CookieRule::NameCharacters)]
#[case::backslash_in_name("a\\b", "1", CookieRule::NameCharacters)]
#[case::slash_in_name("a/b", "1", CookieRule::NameCharacters)]
#[case::bracket_in_name("a[b]", "1", CookieRule::NameCharacters)]
#[case::question_mark_in_name("a?b", "1", CookieRule::NameCharacters)]
#[case::brace_in_name("a{b}", "1", CookieRule::NameCharacters)]
#[case::tab_in_name("a\tb", "1", CookieRule::NameCharacters)]
#[case::delete_in_name("a\u{7f}", "1", CookieRule::NameCharacters)]
#[case::non_ascii_name("ä", "1", CookieRule::NameCharacters)]
#[case::control_in_name("a\u{1}", "1", CookieRule::NameCharacters)]
#[case::long_value("a", &"v".repeat(4_097), CookieRule::ValueLength)]
#[case::line_feed_in_value("a", "x\ny", CookieRule::ValueCharacters)]
#[case::carriage_return_in_value("a", "x\ry", CookieRule::ValueCharacters)]
#[case::nul_in_value("a", "x\0", CookieRule::ValueCharacters)]
#[case::tab_in_value("a", "x\ty", CookieRule::ValueCharacters)]
#[case::delete_in_value("a", "x\u{7f}", CookieRule::ValueCharacters)]
#[case::next_line_in_value("a", "x\u{85}", CookieRule::ValueCharacters)]
fn invalid_cookie_is_rejected_with_an_error_that_names_the_broken_rule(
    #[case] name: &str,
    #[case] value: &str,
    #[case] rule: CookieRule,
) {
    assert_eq!(broken_rules(validate_single_cookie(name, value)), [rule]);
}

#[test]
fn empty_cookie_list_and_more_than_50_cookies_are_rejected() {
    assert_eq!(broken_rules(Cookies::new([])), [CookieRule::Count]);
    let many = |count: usize| Cookies::new((0..count).map(|n| (format!("c{n}"), "v".to_owned())));
    assert_eq!(many(50).unwrap().len(), 50);
    assert_eq!(broken_rules(many(51)), [CookieRule::Count]);
}

#[test]
fn cookies_longer_than_16_kib_in_total_are_rejected() {
    let of_total = |total: usize| {
        let last = total - 4 * 4_001 - 1;
        Cookies::new((0..5).map(|n| (n.to_string(), "v".repeat(if n == 4 { last } else { 4_000 }))))
    };
    assert!(of_total(16 * 1_024).is_ok());
    assert_eq!(
        broken_rules(of_total(16 * 1_024 + 1)),
        [CookieRule::TotalLength]
    );
}

#[test]
fn cookie_error_contains_the_cookie_name_only_if_the_name_is_valid() {
    let cookies = [
        ("good", "x\n"),
        ("bad name", "1"),
        ("twice", "1"),
        ("twice", "2"),
    ];
    let error = Cookies::new(cookies.map(|(n, v)| (n.to_owned(), v.to_owned()))).unwrap_err();
    let named: Vec<_> = error.problems.iter().map(|p| p.cookie.as_deref()).collect();
    assert_eq!(named, [Some("good"), None, Some("twice")]);
}

#[test]
fn cookie_names_are_case_sensitive() {
    let cookies = Cookies::new([("a", "1"), ("A", "2")].map(|(n, v)| (n.into(), v.into())));
    assert_eq!(cookies.unwrap().len(), 2);
}

#[test]
fn stored_cookies_are_checked_only_for_control_characters() {
    let stored = [
        ("not a token", "1"),
        ("a", &"v".repeat(10_000)),
        ("a", "last wins"),
    ];
    let stored = Cookies::from_stored(&stored).unwrap();
    assert_eq!(stored.get("a"), Some("last wins"));
    assert_eq!(stored.len(), 2);
    assert!(Cookies::from_stored::<&str, &str>(&[]).unwrap().is_empty());
    assert!(Cookies::from_stored(&[("a", "x\r\n")]).is_err());
    assert!(Cookies::from_stored(&[("a\n", "x")]).is_err());
}

#[rstest]
#[case::few(50)]
#[case::many(5_000)]
fn repeated_cookie_name_in_a_stored_session_keeps_the_first_position_and_last_value(
    #[case] count: usize,
) {
    let mut stored: Vec<_> = (0..count).map(|n| (n.to_string(), "old")).collect();
    stored.push(("1".to_owned(), "new"));
    let stored = Cookies::from_stored(&stored).unwrap();
    assert_eq!(stored.len(), count);
    assert_eq!(stored.iter().nth(1), Some(("1", "new")));
    assert_eq!(
        stored.iter().filter(|(_, value)| *value == "old").count(),
        count - 1
    );
}

#[test]
fn debug_output_of_cookies_shows_neither_names_nor_values() {
    assert_eq!(
        format!(
            "{:?}",
            validate_single_cookie("SESSIONID", "s3cret").unwrap()
        ),
        "Cookies(1 redacted)"
    );
}

/// Generates cookies whose names are RFC 6265 tokens and whose values consist of RFC 6265
/// `cookie-octet` characters.
fn header_cookies() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}";
    let value = "[!#-+./0-9:<-Z\\[\\]^_`a-z{|}~-]{0,80}";
    hash_map(name, value, 1..20).prop_map(|cookies| cookies.into_iter().collect())
}

proptest! {
    #[test]
    fn cookies_written_to_a_cookie_header_are_parsed_back_unchanged(given in header_cookies()) {
        let cookies = Cookies::new(given.clone()).unwrap();
        let pairs: Vec<_> =
            cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let header = pairs.join("; ");
        prop_assert!(header.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        let read: Vec<_> = header
            .split("; ")
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        prop_assert_eq!(read, given);
    }

    #[test]
    fn validating_arbitrary_cookies_never_panics(
        given in proptest::collection::vec((any::<String>(), any::<String>()), 0..60),
    ) {
        if let Ok(cookies) = Cookies::new(given.clone()) {
            prop_assert!(Cookies::from_stored(&given).is_ok());
            prop_assert!(!cookies.is_empty() && cookies.len() <= Cookies::MAX_COUNT);
        }
    }
}
