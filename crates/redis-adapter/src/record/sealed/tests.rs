use aws_lc_rs::aead::NONCE_LEN;
use rstest::rstest;
use tee_session_domain::{CookieAttributes, OtherCookie, SessionAttributes};
use time::{Duration, OffsetDateTime};

use super::*;
use crate::{
    CorruptRecord,
    record::envelope::{HEADER_LEN, MAX_RECORD_LEN},
};

const TOKEN: &str = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed";

/// A sealed (encrypted) record of [`session`]. The record was made with the Python package
/// `cryptography`, not with this code. The nonce is 00 01 .. 0b.
const TEST_VECTOR: &str = "545301000102030405060708090a0b4afc4c35a95a6bffb71e3ef6f7a3501f7f8036bf0c24bb6d184766e5728e7a59fd9ed804f45a1ad40b376e16959883fcc0f17d1f272bb3ac2bcdbe383b53101a3ddb39c1268b66d4774c0815ad281dcf4d665111190a6a7e";

/// A sealed (encrypted) record of version 2 of [`odd_session`]. The record was made with the Python
/// package `cryptography`, not with this code.
const TEST_VECTOR_2: &str = "545302000102030405060708090a0b4afc4c35a95a6bffb71e3ef6f7a3501f7f8036bf0c24bb6d184766e5728e7a59fd9ed804f45a1ad40b376e16959883fcc0f61a4f747be2fc1ca5b93a3d3e7769fb2d944c740efd627ffe420b7a826e935481099d7559b9";

fn sealer() -> Sealer {
    Sealer::new(&TOKEN.parse().unwrap())
}

fn session() -> Session {
    let cookies = [("SESSIONID", "a1b2c3"), ("lang", "grün; ⛳")];
    Session {
        cookies: Cookies::new(cookies.map(|(n, v)| (n.to_owned(), v.to_owned()))).unwrap(),
        base_url: BaseUrl::new("https://golf.example/members").unwrap(),
        created_at: from_micros(1_768_473_000_123_456).unwrap(),
        absolute_end: None,
        attributes: SessionAttributes::default(),
    }
}

fn with_cookies(cookies: &[(&str, Option<&str>)]) -> Session {
    let cookies = cookies.iter();
    let cookies = cookies.map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
    Session {
        cookies: Cookies::new(cookies).unwrap(),
        ..session()
    }
}

/// A session with a cookie without a value, and with a subject that is not ASCII.
fn odd_session() -> Session {
    Session {
        attributes: SessionAttributes::of_subject("Jörg".parse().unwrap()),
        ..with_cookies(&[("SESSIONID", Some("a1b2c3")), ("flag", None)])
    }
}

fn test_vector() -> Vec<u8> {
    hex::decode(TEST_VECTOR).unwrap()
}

/// Returns the plaintext of the record of `session`.
fn plaintext(session: &Session) -> Vec<u8> {
    encode(session).1
}

#[test]
fn encrypted_example_records_in_the_readme_are_decrypted_to_the_expected_sessions() {
    assert_eq!(sealer().open(&mut test_vector()), Ok(session()));
    let mut version_2 = hex::decode(TEST_VECTOR_2).unwrap();
    assert_eq!(sealer().open(&mut version_2), Ok(odd_session()));
}

/// An example of an older release is commit 9cb3a1f. It treats a record of version 1 as corrupt
/// (401) if a cookie has no value or contains a control character. It drops a subject that is not
/// visible ASCII.
#[rstest]
#[case::usual(session(), 1)]
#[case::no_cookies(with_cookies(&[]), 1)]
#[case::odd_names(with_cookies(&[("a[b]", Some("1")), ("my cookie", Some("")), ("", Some("x"))]), 1)]
#[case::unicode(with_cookies(&[("größe", Some("42 ⛳\u{a0}"))]), 1)]
#[case::tab_in_value(with_cookies(&[("a", Some("x\ty"))]), 2)]
#[case::latin_1_control_in_value(with_cookies(&[("a", Some("x\u{85}"))]), 2)]
#[case::latin_1_control_in_name(with_cookies(&[("a\u{9f}", Some("x"))]), 2)]
#[case::cookie_without_a_value(with_cookies(&[("a", Some("1")), ("b", None)]), 2)]
#[case::visible_ascii_subject(with(Some("auth0|4711"), Some("Jörgs Telefon")), 1)]
#[case::subject_with_a_space(with(Some("Ann Lee"), None), 2)]
#[case::unicode_subject(with(Some("jörg"), None), 2)]
fn record_has_version_2_only_if_an_older_release_would_misread_it(
    #[case] session: Session,
    #[case] version: u8,
) {
    let mut value = sealer().seal(&session);
    assert_eq!(value[2], version);
    assert_eq!(sealer().open(&mut value), Ok(session));
}

#[test]
fn redis_key_of_an_encrypted_record_consists_of_a_prefix_and_the_session_id() {
    assert_eq!(sealer().key().as_bytes(), b"session:j_2qi1vxH8YfgWR4eH1LDg");
}

#[test]
fn end_of_absolute_lifetime_is_unchanged_after_encryption_and_decryption() {
    let session = Session {
        absolute_end: Some(from_micros(1_768_559_400_654_321).unwrap()),
        ..session()
    };
    assert_eq!(sealer().open(&mut sealer().seal(&session)), Ok(session));
}

fn with(subject: Option<&str>, label: Option<&str>) -> Session {
    Session {
        attributes: SessionAttributes {
            label: label.map(|text| text.parse().unwrap()),
            ..subject
                .map(|text| SessionAttributes::of_subject(text.parse().unwrap()))
                .unwrap_or_default()
        },
        ..session()
    }
}

#[rstest]
#[case::subject_and_label(Some("member-4711"), Some("Jörgs Telefon"))]
#[case::subject_only(Some("member-4711"), None)]
#[case::label_only(None, Some("Jörgs Telefon"))]
fn subject_and_label_are_unchanged_after_encryption_and_decryption(
    #[case] subject: Option<&str>,
    #[case] label: Option<&str>,
) {
    let session = with(subject, label);
    assert_eq!(sealer().open(&mut sealer().seal(&session)), Ok(session));
}

/// A record of a session with neither subject nor label must have the same bytes as before subjects
/// and labels were introduced, so that older releases can read it unchanged.
#[test]
fn encrypted_record_without_subject_and_label_has_no_bytes_after_the_cookies() {
    let both = with(Some("s"), Some("l"));
    let appended = [1, 1, b's', 1, 1, b'l'];
    assert_eq!(
        plaintext(&both),
        [plaintext(&session()), appended.into()].concat()
    );
    assert_eq!(sealer().seal(&session()).len(), test_vector().len());
}

#[test]
fn decryption_drops_a_subject_with_a_bidi_override_and_rejects_control_characters_as_corrupt() {
    let opened = |appended: &[u8]| {
        sealer().open(&mut seal_bytes(
            &[&plaintext(&session()), appended].concat(),
        ))
    };
    assert_eq!(opened("\x01\x03\u{202e}\x01\x00".as_bytes()), Ok(session()));
    let control = || CallError::Corrupt(CorruptRecord::ControlCharacter);
    assert_eq!(opened(b"\x01\x03a\nb\x00"), Err(control()));
    assert_eq!(opened(b"\x00\x01\x03a\nb"), Err(control()));
}

/// Returns a session with cookie attributes, and with two cookies of the same name.
fn session_of_a_jar() -> Session {
    let attributes = |path: &str, expires| CookieAttributes {
        domain: "golf.example".to_owned(),
        host_only: true,
        path: path.to_owned(),
        secure: true,
        expires,
    };
    let expires = from_micros(1_768_559_400_654_321).ok();
    let other = OtherCookie {
        name: "lang".to_owned(),
        value: "en".to_owned().into(),
        attributes: attributes("/admin", None),
        position: 0,
    };
    let cookies = session().cookies;
    Session {
        cookies: cookies.with_details(vec![Some(attributes("/", expires)), None], vec![other]),
        ..session()
    }
}

#[test]
fn attributes_of_cookies_are_unchanged_after_encryption_and_decryption() {
    let jar = session_of_a_jar();
    assert!(jar.cookies.has_details());
    let mut value = sealer().seal(&jar);
    assert_eq!(value[2], VERSION_1);
    assert_eq!(sealer().open(&mut value), Ok(jar));
}

/// An older release reads the fields that it knows, and ignores the bytes after them. The
/// attributes of cookies must therefore come after all of these fields.
#[test]
fn attributes_of_cookies_follow_all_data_that_older_releases_know() {
    let known = [plaintext(&session()), vec![0, 0]].concat();
    assert!(plaintext(&session_of_a_jar()).starts_with(&known));
}

#[test]
fn encrypting_a_session_twice_gives_different_nonces_and_bytes() {
    let (one, other) = (sealer().seal(&session()), sealer().seal(&session()));
    assert_ne!(one, other);
    assert_ne!(
        one[HEADER_LEN..HEADER_LEN + NONCE_LEN],
        other[HEADER_LEN..HEADER_LEN + NONCE_LEN]
    );
}

#[test]
fn encrypted_record_with_any_single_flipped_bit_is_rejected() {
    let value = test_vector();
    for position in 0..value.len() * 8 {
        let mut changed = value.clone();
        changed[position / 8] ^= 1 << (position % 8);
        let opened = sealer().open(&mut changed);
        let is_version = position / 8 == 2;
        match opened {
            // With another version byte, a record cannot be decrypted, because the authentication
            // tag covers the version.
            Err(CallError::Corrupt(_)) => {}
            Err(CallError::Newer { .. }) if is_version => {}
            other => panic!("bit {position}: {other:?}"),
        }
    }
}

#[test]
fn truncated_encrypted_record_is_rejected_as_corrupt() {
    let value = test_vector();
    for len in 0..value.len() {
        let opened = sealer().open(&mut value[..len].to_vec());
        assert!(
            matches!(opened, Err(CallError::Corrupt(_))),
            "{len}: {opened:?}"
        );
    }
}

#[test]
fn encrypted_record_cannot_be_decrypted_with_another_token() {
    let other = Sealer::new(&SessionToken::generate());
    let does_not_open = CallError::Corrupt(CorruptRecord::DoesNotOpen);
    assert_eq!(other.open(&mut test_vector()), Err(does_not_open));
}

#[rstest]
#[case::version_0(0, false)]
#[case::next_version(3, true)]
#[case::last_newer_version(17, true)]
#[case::first_version_too_high(18, false)]
#[case::highest_version(255, false)]
fn record_version_3_to_17_is_reported_as_newer_and_any_other_unknown_version_as_corrupt(
    #[case] version: u8,
    #[case] is_newer: bool,
) {
    let mut value = test_vector();
    value[2] = version;
    let expected = if is_newer {
        CallError::Newer { version }
    } else {
        CallError::Corrupt(CorruptRecord::NotSealed)
    };
    assert_eq!(sealer().open(&mut value), Err(expected));
}

#[rstest]
#[case::plain_record(br#"{"cookies": {}}"#, CorruptRecord::NotSealed)]
#[case::empty(b"", CorruptRecord::NotSealed)]
#[case::header_only(b"TS\x01", CorruptRecord::NotSealed)]
#[case::no_tag(b"TS\x01............", CorruptRecord::DoesNotOpen)]
fn decrypting_a_value_that_is_not_an_encrypted_record_returns_a_corrupt_record_error(
    #[case] value: &[u8],
    #[case] error: CorruptRecord,
) {
    assert_eq!(
        sealer().open(&mut value.to_vec()),
        Err(CallError::Corrupt(error))
    );
}

#[test]
fn encrypted_record_of_more_than_1_mib_is_rejected_before_decryption() {
    let not_sealed = Err(CallError::Corrupt(CorruptRecord::NotSealed));
    assert_eq!(sealer().open(&mut vec![0; MAX_RECORD_LEN]), not_sealed);
    let mut excess = vec![0; MAX_RECORD_LEN + 1];
    let too_long = CorruptRecord::TooLong {
        limit: MAX_RECORD_LEN,
    };
    assert_eq!(
        sealer().open(&mut excess),
        Err(CallError::Corrupt(too_long))
    );
}

/// Encrypts arbitrary bytes as a sealed record, to simulate a record that another release wrote.
fn seal_bytes(content: &[u8]) -> Vec<u8> {
    sealer().seal_content(VERSION_1, content.to_vec())
}

#[test]
fn bytes_that_a_later_release_has_appended_to_a_record_are_ignored() {
    let unnamed = [&plaintext(&session()), [0, 0].as_slice(), b"more"].concat();
    assert_eq!(sealer().open(&mut seal_bytes(&unnamed)), Ok(session()));
    let labelled = with(None, Some("telephone"));
    let appended = [plaintext(&labelled), b"more".to_vec()].concat();
    assert_eq!(sealer().open(&mut seal_bytes(&appended)), Ok(labelled));
}

#[test]
fn encrypted_record_whose_decrypted_content_is_not_a_session_is_rejected_as_corrupt() {
    for content in [b"".as_slice(), b"\x00", b"\x00\x00\xff\xff\xff\xff\xff"] {
        let opened = sealer().open(&mut seal_bytes(content));
        assert_eq!(opened, Err(CallError::Corrupt(CorruptRecord::NotASession)));
    }
    let control = Session {
        base_url: BaseUrl::from_stored("x").unwrap(),
        ..session()
    };
    let mut content = plaintext(&control);
    let position = content
        .windows(6)
        .position(|bytes| bytes == b"a1b2c3")
        .unwrap();
    content[position] = b'\n';
    let opened = sealer().open(&mut seal_bytes(&content));
    assert_eq!(
        opened,
        Err(CallError::Corrupt(CorruptRecord::ControlCharacter))
    );
}

#[test]
fn encrypted_record_is_31_bytes_longer_than_its_plaintext() {
    let overhead = sealer().seal(&session()).len() - plaintext(&session()).len();
    assert_eq!(overhead, 2 + 1 + 12 + 16);
}

#[test]
fn converting_a_time_to_microseconds_and_back_keeps_it_and_out_of_range_values_are_rejected() {
    let time = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(1_768_473_000_123_456);
    assert_eq!(from_micros(to_micros(time)), Ok(time));
    for out_of_range in [i64::MAX, i64::MIN] {
        assert_eq!(from_micros(out_of_range), Err(CorruptRecord::CreatedAt));
    }
}
