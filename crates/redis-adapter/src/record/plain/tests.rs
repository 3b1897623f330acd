use rstest::rstest;
use tee_session_domain::{CookieAttributes, OtherCookie, SessionAttributes};
use time::Duration;

use super::*;

fn session(cookies: &[(&str, &str)], base_url: &str, micros: i64) -> Session {
    let cookies = cookies
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    Session {
        cookies: Cookies::new(cookies).unwrap(),
        base_url: BaseUrl::new(base_url).unwrap(),
        created_at: OffsetDateTime::UNIX_EPOCH
            + Duration::seconds(1_768_473_000)
            + Duration::microseconds(micros),
        absolute_end: None,
        attributes: SessionAttributes::default(),
    }
}

/// The expected records are the output of Python 3.11 for
/// `json.dumps({"cookies": {...}, "base_url": ..., "created_at": datetime(...).isoformat()})`.
#[rstest]
#[case::ascii(
    session(&[("SESSIONID", "a1b2c3"), ("lang", "en")], "https://golf.example/members", 123_456),
    r#"{"cookies": {"SESSIONID": "a1b2c3", "lang": "en"}, "base_url": "https://golf.example/members", "created_at": "2026-01-15T10:30:00.123456+00:00"}"#
)]
#[case::whole_second(
    session(&[("z", "1"), ("a", "2")], "https://golf.example", 0),
    r#"{"cookies": {"z": "1", "a": "2"}, "base_url": "https://golf.example", "created_at": "2026-01-15T10:30:00+00:00"}"#
)]
#[case::unicode_and_escapes(
    session(&[("a", "grün ⛳ 😀 \\ \" / ; ~")], "https://bücher.example", 1),
    r#"{"cookies": {"a": "gr\u00fcn \u26f3 \ud83d\ude00 \\ \" / ; ~"}, "base_url": "https://b\u00fccher.example", "created_at": "2026-01-15T10:30:00.000001+00:00"}"#
)]
fn unencrypted_record_is_byte_identical_to_python_json_and_decodes_to_the_same_session(
    #[case] session: Session,
    #[case] record: &str,
) {
    assert_eq!(encode(&session), record.as_bytes());
    assert_eq!(decode(record.as_bytes()), Ok(session));
}

/// A cookie jar of Python can contain a cookie without a value. `json.dumps` of Python writes this
/// value as `null`.
#[test]
fn cookie_without_a_value_is_null_in_an_unencrypted_record() {
    let cookies = [
        ("flag", None),
        ("a[b] c", Some("x\ty\u{85}".to_owned())),
        ("", Some("t".to_owned())),
    ];
    let session = Session {
        cookies: Cookies::new(cookies.map(|(name, value)| (name.to_owned(), value))).unwrap(),
        ..session(&[], "https://golf.example", 0)
    };
    let record = r#"{"cookies": {"flag": null, "a[b] c": "x\ty\u0085", "": "t"}, "base_url": "https://golf.example", "created_at": "2026-01-15T10:30:00+00:00"}"#;
    assert_eq!(encode(&session), record.as_bytes());
    assert_eq!(decode(record.as_bytes()), Ok(session));
}

#[test]
fn attributes_of_cookies_are_additional_members_of_an_unencrypted_record() {
    let attributes = |path: &str, expires| CookieAttributes {
        domain: "golf.example".to_owned(),
        host_only: true,
        path: path.to_owned(),
        secure: true,
        expires,
    };
    let plain = session(&[("a", "1"), ("b", "2")], "https://golf.example", 0);
    let other = OtherCookie {
        name: "a".to_owned(),
        value: "3".to_owned().into(),
        attributes: attributes("/x", None),
        position: 1,
    };
    let expires = Some(plain.created_at);
    let jar = Session {
        cookies: plain
            .cookies
            .clone()
            .with_details(vec![Some(attributes("/", expires)), None], vec![other]),
        ..plain
    };
    let record = r#"{"cookies": {"a": "1", "b": "2"}, "base_url": "https://golf.example", "created_at": "2026-01-15T10:30:00+00:00", "cookie_attributes": {"a": {"domain": "golf.example", "host_only": true, "path": "/", "secure": true, "expires": "2026-01-15T10:30:00Z"}}, "other_cookies": [{"name": "a", "value": "3", "domain": "golf.example", "host_only": true, "path": "/x", "secure": true, "position": 1}], "cookies_digest": "37664b19301f4651"}"#;
    assert_eq!(String::from_utf8(encode(&jar)).unwrap(), record);
    assert_eq!(decode(record.as_bytes()), Ok(jar));
}

#[rstest]
#[case::other_types(r#""cookie_attributes": 7, "other_cookies": {"a": 1}"#)]
#[case::incomplete(r#""cookie_attributes": {"a": {}}, "other_cookies": []"#)]
#[case::unknown_name(r#""cookie_attributes": {"z": {"domain": "g", "host_only": true, "path": "/", "secure": true}}"#)]
#[case::control_character(r#""cookie_attributes": {"a": {"domain": "g", "host_only": true, "path": "/\n", "secure": true}}"#)]
fn unencrypted_record_with_invalid_cookie_attributes_is_decoded_without_them(
    #[case] members: &str,
) {
    let record = format!(
        r#"{{"cookies":{{"a":"1"}},"base_url":"x","created_at":"{TIME}","cookies_digest":"8bf19097aa1a235b",{members}}}"#
    );
    let session = decode(record.as_bytes()).unwrap();
    assert!(!session.cookies.has_details());
    assert_eq!(session.cookies.get("a"), Some("1"));
}

/// Another program may change the value of a cookie and keep its attributes. The attributes must
/// then be ignored.
#[rstest]
#[case::same_cookies("1", true)]
#[case::changed_by_another_program("2", false)]
fn cookie_attributes_are_ignored_if_another_program_has_changed_the_value(
    #[case] value: &str,
    #[case] has_details: bool,
) {
    let record = format!(
        r#"{{"cookies":{{"a":"{value}"}},"base_url":"x","created_at":"{TIME}","cookies_digest":"8bf19097aa1a235b","cookie_attributes": {{"a": {{"domain": "g", "host_only": true, "path": "/", "secure": true}}}}}}"#
    );
    let session = decode(record.as_bytes()).unwrap();
    assert_eq!(session.cookies.has_details(), has_details);
    assert_eq!(session.cookies.get("a"), Some(value));
}

#[test]
fn unencrypted_record_contains_the_subject_and_label_of_the_session() {
    let named = Session {
        attributes: SessionAttributes {
            label: Some("Jörg".parse().unwrap()),
            ..SessionAttributes::of_subject("member-4711".parse().unwrap())
        },
        ..session(&[("a", "1")], "https://golf.example", 0)
    };
    let record = r#"{"cookies": {"a": "1"}, "base_url": "https://golf.example", "created_at": "2026-01-15T10:30:00+00:00", "subject": "member-4711", "label": "J\u00f6rg"}"#;
    assert_eq!(encode(&named), record.as_bytes());
    assert_eq!(decode(record.as_bytes()), Ok(named));
}

#[rstest]
#[case::other_types(r#""subject": 7, "label": {"a": [1]}"#)]
#[case::null(r#""subject": null, "label": null"#)]
#[case::invalid_texts(r#""subject": "a\u202eb", "label": """#)]
fn unencrypted_record_with_invalid_subject_and_label_is_decoded_without_them(
    #[case] members: &str,
) {
    let record = format!(r#"{{"cookies":{{}},"base_url":"x","created_at":"{TIME}",{members}}}"#);
    let session = decode(record.as_bytes()).unwrap();
    assert_eq!(session.attributes, SessionAttributes::default());
}

#[test]
fn redis_key_of_an_unencrypted_record_consists_of_a_prefix_and_the_token() {
    let token: SessionToken = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse().unwrap();
    let key = key(&token);
    assert_eq!(
        key.as_bytes(),
        b"session:1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
    );
}

#[rstest]
#[case::no_fraction("2026-01-15T10:30:00+00:00")]
#[case::utc_designator("2026-01-15T10:30:00.000Z")]
#[case::another_offset("2026-01-15T12:30:00+02:00")]
#[case::nanoseconds("2026-01-15T10:30:00.000000000+00:00")]
fn unencrypted_record_with_any_rfc_3339_form_of_the_creation_time_is_decoded(
    #[case] created_at: &str,
) {
    let record = format!(r#"{{"created_at":"{created_at}","base_url":"x","cookies":{{}}}}"#);
    let expected = OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_768_473_000);
    assert_eq!(decode(record.as_bytes()).unwrap().created_at, expected);
}

#[test]
fn unencrypted_record_with_unknown_members_and_oversized_or_invalid_values_is_decoded() {
    let record = format!(
        r#"{{"cookies":{{"not a token":"1","a":"{}"}},"base_url":"ftp://x","created_at":"2026-01-15T10:30:00Z","more":[1]}}"#,
        "v".repeat(100_000)
    );
    let session = decode(record.as_bytes()).unwrap();
    assert_eq!(session.cookies.len(), 2);
    assert_eq!(session.base_url.as_str(), "ftp://x");
}

const TIME: &str = "2026-01-15T10:30:00Z";

#[rstest]
#[case::empty("", CorruptRecord::NotASession)]
#[case::garbage("garbage", CorruptRecord::NotASession)]
#[case::array("[]", CorruptRecord::NotASession)]
#[case::no_cookies(r#"{"base_url":"x","created_at":"TIME"}"#, CorruptRecord::NotASession)]
#[case::no_base_url(r#"{"cookies":{},"created_at":"TIME"}"#, CorruptRecord::NotASession)]
#[case::no_created_at(r#"{"cookies":{},"base_url":"x"}"#, CorruptRecord::NotASession)]
#[case::cookie_list(
    r#"{"cookies":[],"base_url":"x","created_at":"TIME"}"#,
    CorruptRecord::NotASession
)]
#[case::cookie_number(
    r#"{"cookies":{"a":1},"base_url":"x","created_at":"TIME"}"#,
    CorruptRecord::NotASession
)]
#[case::null_url(
    r#"{"cookies":{},"base_url":null,"created_at":"TIME"}"#,
    CorruptRecord::NotASession
)]
#[case::trailing_data(
    r#"{"cookies":{},"base_url":"x","created_at":"TIME"}x"#,
    CorruptRecord::NotASession
)]
#[case::lone_surrogate(
    r#"{"cookies":{"a":"\ud800"},"base_url":"x","created_at":"TIME"}"#,
    CorruptRecord::NotASession
)]
#[case::naive_time(
    r#"{"cookies":{},"base_url":"x","created_at":"2026-01-15T10:30:00"}"#,
    CorruptRecord::CreatedAt
)]
#[case::after_the_last_year(
    r#"{"cookies":{},"base_url":"x","created_at":"9999-12-31T23:59:59-23:59"}"#,
    CorruptRecord::CreatedAt
)]
#[case::before_the_first_year(
    r#"{"cookies":{},"base_url":"x","created_at":"0000-01-01T00:00:00+23:59"}"#,
    CorruptRecord::CreatedAt
)]
#[case::not_a_time(
    r#"{"cookies":{},"base_url":"x","created_at":"yesterday"}"#,
    CorruptRecord::CreatedAt
)]
#[case::line_feed(
    r#"{"cookies":{"a":"x\ny"},"base_url":"x","created_at":"TIME"}"#,
    CorruptRecord::ControlCharacter
)]
#[case::line_feed_in_name(
    r#"{"cookies":{"a\n":"x"},"base_url":"x","created_at":"TIME"}"#,
    CorruptRecord::ControlCharacter
)]
#[case::nul_in_url(
    r#"{"cookies":{},"base_url":"x\u0000","created_at":"TIME"}"#,
    CorruptRecord::ControlCharacter
)]
#[case::line_feed_in_subject(
    r#"{"cookies":{},"base_url":"x","created_at":"TIME","subject":"a\nb"}"#,
    CorruptRecord::ControlCharacter
)]
#[case::nul_in_label(
    r#"{"cookies":{},"base_url":"x","created_at":"TIME","label":"a\u0000"}"#,
    CorruptRecord::ControlCharacter
)]
fn decoding_an_invalid_unencrypted_record_returns_a_corrupt_record_error(
    #[case] record: &str,
    #[case] error: CorruptRecord,
) {
    let record = record.replace("TIME", TIME);
    assert_eq!(decode(record.as_bytes()), Err(error));
}

#[test]
fn unencrypted_record_with_invalid_utf_8_or_more_than_1_mib_is_rejected_as_corrupt() {
    assert_eq!(
        decode(b"{\"cookies\":{\"a\":\"\xff\"}}"),
        Err(CorruptRecord::NotASession)
    );
    let longest = vec![b' '; MAX_RECORD_LEN];
    assert_eq!(decode(&longest), Err(CorruptRecord::NotASession));
    let excess = vec![b' '; MAX_RECORD_LEN + 1];
    assert_eq!(
        decode(&excess),
        Err(CorruptRecord::TooLong {
            limit: MAX_RECORD_LEN
        })
    );
}

#[test]
fn decoding_deeply_nested_json_returns_an_error_without_a_stack_overflow() {
    let record = format!(r#"{{"x":{}"#, "[".repeat(500_000));
    assert_eq!(decode(record.as_bytes()), Err(CorruptRecord::NotASession));
}
