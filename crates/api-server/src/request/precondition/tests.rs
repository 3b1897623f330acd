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

/// `lines` with the tag at hand in the place of `@`.
fn headers(name: HeaderName, lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let line = line.replace('@', &tag().to_string());
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append(name.clone(), value);
    }
    headers
}

/// Whether a field with these lines holds for the tag at hand, by the strong and by the weak
/// comparison.
fn matched(lines: &[&str]) -> (bool, bool) {
    let strong = headers(IF_MATCH, lines);
    let weak = headers(IF_NONE_MATCH, lines);
    (
        Preconditions::of(&strong).unwrap().allows(tag()),
        Preconditions::of(&weak).unwrap().is_known(tag()),
    )
}

#[rstest]
#[case::it(&[r#""@""#], (true, true))]
#[case::weak(&[r#"W/"@""#], (false, true))]
#[case::another(&[r#""x""#], (false, false))]
#[case::nothing_within(&[r#""""#], (false, false))]
#[case::a_part(&[r#""@x""#], (false, false))]
#[case::any(&["*"], (true, true))]
#[case::any_with_space(&[" *\t"], (true, true))]
#[case::asterisk_as_a_tag(&[r#""*""#], (false, false))]
#[case::first_of_list(&[r#""@", "x""#], (true, true))]
#[case::last_of_list(&[r#""x",W/"y","@""#], (true, true))]
#[case::weak_in_a_list(&[r#""x", W/"@""#], (false, true))]
#[case::comma_within_a_tag(&[r#""x,y", "@""#], (true, true))]
#[case::within_another_tag(&[r#""x,@""#], (false, false))]
#[case::two_lines(&[r#""x""#, r#""@""#], (true, true))]
#[case::an_empty_line(&["", r#""@""#], (true, true))]
#[case::empty_members(&[r#", ,"x",, "@" ,"#], (true, true))]
#[case::obsolete_text(&[r#""jörg", "@""#], (true, true))]
fn a_list_is_compared_strongly_and_weakly(#[case] lines: &[&str], #[case] expected: (bool, bool)) {
    assert_eq!(matched(lines), expected);
}

#[rstest]
#[case::empty(&[""])]
#[case::commas(&[", ,"])]
#[case::no_quotes(&["x"])]
#[case::one_quote(&[r#"""#])]
#[case::no_end(&[r#""@"#])]
#[case::no_end_after_another(&[r#""x", "@"#])]
#[case::no_comma(&[r#""x" "@""#])]
#[case::no_space_either(&[r#""x""@""#])]
#[case::lower_case_mark(&[r#"w/"@""#])]
#[case::mark_alone(&["W/"])]
#[case::space_after_the_mark(&[r#"W/ "@""#])]
#[case::space_within(&[r#""x y""#])]
#[case::tab_within(&["\"x\ty\""])]
#[case::asterisk_in_a_list(&[r#"*, "@""#])]
#[case::asterisk_twice(&["*", "*"])]
#[case::asterisk_in_another_line(&[r#""@""#, "*"])]
#[case::over_the_end_of_a_line(&[r#""x"#, r#"y""#])]
#[case::one_bad_among_good(&[r#""@", x"#])]
#[case::too_many(&[r#""@""#; 101])]
fn what_is_no_list_of_tags_is_an_invalid_request(
    #[values(IF_MATCH, IF_NONE_MATCH)] name: HeaderName,
    #[case] lines: &[&str],
) {
    let headers = headers(name, lines);
    let error = Preconditions::of(&headers).unwrap_err();
    assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
}

#[test]
fn as_many_tags_as_are_allowed_are_read() {
    let line = |others| format!("{}\"@\"", r#""x","#.repeat(others));
    assert_eq!(matched(&[&line(MAX_TAGS - 1)]), (true, true));
    let one_more = headers(IF_MATCH, &[&line(MAX_TAGS)]);
    assert!(Preconditions::of(&one_more).is_err());
}

#[test]
fn without_a_field_everything_is_allowed_and_nothing_known() {
    let headers = HeaderMap::new();
    let preconditions = Preconditions::of(&headers).unwrap();
    assert!(preconditions.allows(tag()) && preconditions.allows_change(tag()));
    assert!(!preconditions.is_known(tag()));
}

#[rstest]
#[case::if_match(IF_MATCH, r#""@""#, true)]
#[case::if_match_another(IF_MATCH, r#""x""#, false)]
#[case::if_none_match(IF_NONE_MATCH, r#""@""#, false)]
#[case::if_none_match_another(IF_NONE_MATCH, r#""x""#, true)]
#[case::if_none_match_any(IF_NONE_MATCH, "*", false)]
fn a_change_has_to_pass_both(#[case] name: HeaderName, #[case] line: &str, #[case] expected: bool) {
    let headers = headers(name, &[line]);
    let preconditions = Preconditions::of(&headers).unwrap();
    assert_eq!(preconditions.allows_change(tag()), expected);
}

#[test]
fn an_answer_names_its_state_in_quotes() {
    let response = with_etag(HttpResponse::Ok().finish(), tag());
    let value = response.headers().get(ETAG).unwrap();
    let lines = [value.to_str().unwrap()];
    assert_eq!(matched(&lines), (true, true));
}

proptest! {
    #[test]
    fn whatever_arrives_is_judged_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..100),
        text in r#"[W/"*, xy@\t]{0,40}"#,
    ) {
        let _ = Tags::parse(&[&bytes, text.as_bytes()]);
        if let Ok(Tags::These(tags)) = Tags::parse(&[text.as_bytes()]) {
            // Written out anew, it is the same list.
            let written: Vec<_> = tags.iter().map(|tag| {
                let mark = if tag.is_weak { "W/" } else { "" };
                format!("{mark}\"{}\"", str::from_utf8(tag.opaque).unwrap())
            }).collect();
            let written = written.join(", ");
            prop_assert_eq!(Tags::parse(&[written.as_bytes()]), Ok(Tags::These(tags)));
        }
    }
}
