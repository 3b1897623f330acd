use proptest::prelude::*;
use rstest::rstest;
use tee_session_domain::{BaseUrl, Cookies, Login, Session, SessionToken};
use time::OffsetDateTime;

use super::*;

fn tag() -> EntityTag {
    let cookies = Cookies::new([("a".to_owned(), "1".to_owned())]).unwrap();
    let login = Login::new(cookies, BaseUrl::new("https://golf.example").unwrap());
    let session = Session::new(login, OffsetDateTime::UNIX_EPOCH, None);
    let token: SessionToken = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse().unwrap();
    EntityTag::of(&token, &session)
}

/// Builds the header `name` with the given lines. Each `@` in a line is replaced by the text of
/// [`tag`].
fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = line.replace('@', &tag().to_string());
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append(name.clone(), value);
    }
    headers
}

/// Builds an `If-Match` header (strong comparison) and an `If-None-Match` header (weak comparison)
/// with the same `lines`. Returns, for each of the two headers, `true` if the header matches
/// [`tag`].
fn matched(lines: &[&str]) -> (bool, bool) {
    let strong = headers(IF_MATCH, lines);
    let weak = headers(IF_NONE_MATCH, lines);
    (
        Preconditions::of(&strong).unwrap().allows(tag()),
        Preconditions::of(&weak).unwrap().client_has(tag()),
    )
}

#[rstest]
#[case::same_tag(&[r#""@""#], (true, true))]
#[case::weak_tag(&[r#"W/"@""#], (false, true))]
#[case::other_tag(&[r#""x""#], (false, false))]
#[case::empty_tag(&[r#""""#], (false, false))]
#[case::tag_with_a_suffix(&[r#""@x""#], (false, false))]
#[case::asterisk(&["*"], (true, true))]
#[case::asterisk_with_whitespace(&[" *\t"], (true, true))]
#[case::quoted_asterisk(&[r#""*""#], (false, false))]
#[case::first_of_list(&[r#""@", "x""#], (true, true))]
#[case::last_of_list(&[r#""x",W/"y","@""#], (true, true))]
#[case::weak_tag_in_list(&[r#""x", W/"@""#], (false, true))]
#[case::comma_within_another_tag(&[r#""x,y", "@""#], (true, true))]
#[case::tag_after_comma_within_another_tag(&[r#""x,@""#], (false, false))]
#[case::two_lines(&[r#""x""#, r#""@""#], (true, true))]
#[case::empty_line(&["", r#""@""#], (true, true))]
#[case::empty_list_members(&[r#", ,"x",, "@" ,"#], (true, true))]
#[case::non_ascii_tag(&[r#""jörg", "@""#], (true, true))]
fn if_match_compares_tags_strongly_and_if_none_match_weakly(
    #[case] lines: &[&str],
    #[case] expected: (bool, bool),
) {
    assert_eq!(matched(lines), expected);
}

#[rstest]
#[case::empty(&[""])]
#[case::only_commas(&[", ,"])]
#[case::no_quotes(&["x"])]
#[case::one_quote(&[r#"""#])]
#[case::no_closing_quote(&[r#""@"#])]
#[case::second_tag_without_closing_quote(&[r#""x", "@"#])]
#[case::no_comma(&[r#""x" "@""#])]
#[case::neither_comma_nor_space(&[r#""x""@""#])]
#[case::lower_case_weak_prefix(&[r#"w/"@""#])]
#[case::weak_prefix_without_tag(&["W/"])]
#[case::space_after_weak_prefix(&[r#"W/ "@""#])]
#[case::space_within_tag(&[r#""x y""#])]
#[case::tab_within_tag(&["\"x\ty\""])]
#[case::asterisk_in_list(&[r#"*, "@""#])]
#[case::two_asterisks(&["*", "*"])]
#[case::asterisk_in_second_line(&[r#""@""#, "*"])]
#[case::tag_across_two_lines(&[r#""x"#, r#"y""#])]
#[case::valid_and_invalid_tag(&[r#""@", x"#])]
#[case::too_many_tags(&[r#""@""#; 101])]
fn malformed_if_match_or_if_none_match_is_an_invalid_request(
    #[values(IF_MATCH, IF_NONE_MATCH)] name: HeaderName,
    #[case] lines: &[&str],
) {
    let headers = headers(name, lines);
    let error = Preconditions::of(&headers).unwrap_err();
    let ApiError::InvalidRequest(detail) = error else {
        panic!("{error:?}")
    };
    assert!(detail.contains("in quotation marks"), "{detail}");
}

#[test]
fn if_match_with_more_than_100_entity_tags_is_rejected() {
    let line = |others| format!("{}\"@\"", r#""x","#.repeat(others));
    assert_eq!(matched(&[&line(MAX_TAGS - 1)]), (true, true));
    let one_more = headers(IF_MATCH, &[&line(MAX_TAGS)]);
    assert!(Preconditions::of(&one_more).is_err());
}

#[test]
fn request_with_neither_if_match_nor_if_none_match_is_allowed() {
    let headers = HeaderMap::new();
    let preconditions = Preconditions::of(&headers).unwrap();
    assert!(preconditions.allows(tag()) && preconditions.allows_change(tag()));
    assert!(!preconditions.client_has(tag()));
}

#[rstest]
#[case::if_match_same_tag(IF_MATCH, r#""@""#, true)]
#[case::if_match_other_tag(IF_MATCH, r#""x""#, false)]
#[case::if_none_match_same_tag(IF_NONE_MATCH, r#""@""#, false)]
#[case::if_none_match_other_tag(IF_NONE_MATCH, r#""x""#, true)]
#[case::if_none_match_asterisk(IF_NONE_MATCH, "*", false)]
fn update_is_allowed_only_if_all_preconditions_hold(
    #[case] name: HeaderName,
    #[case] line: &str,
    #[case] expected: bool,
) {
    let headers = headers(name, &[line]);
    let preconditions = Preconditions::of(&headers).unwrap();
    assert_eq!(preconditions.allows_change(tag()), expected);
}

#[test]
fn etag_header_contains_the_entity_tag_in_quotes() {
    let response = with_etag(HttpResponse::Ok().finish(), tag());
    let value = response.headers().get(ETAG).unwrap();
    let lines = [value.to_str().unwrap()];
    assert_eq!(matched(&lines), (true, true));
}

proptest! {
    #[test]
    fn parsing_arbitrary_entity_tags_does_not_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        text in r#"[W/"*, xy@\t]{0,40}"#,
    ) {
        let _ = Tags::parse(&[&bytes, text.as_bytes()]);
        if let Ok(Tags::List(tags)) = Tags::parse(&[text.as_bytes()]) {
            // Serializing and parsing the tags again gives the same list.
            let written: Vec<_> = tags.iter().map(|tag| {
                let mark = if tag.is_weak { "W/" } else { "" };
                format!("{mark}\"{}\"", str::from_utf8(tag.opaque).unwrap())
            }).collect();
            let written = written.join(", ");
            prop_assert_eq!(Tags::parse(&[written.as_bytes()]), Ok(Tags::List(tags)));
        }
    }
}
