use proptest::{collection::hash_map, option, prelude::*};
use rstest::rstest;

use super::*;
use crate::{CookieUrl, Login, SetCookieLines};

fn attributes(subject: Option<&str>, label: Option<&str>) -> SessionAttributes {
    let subject = subject.map(|text| SessionAttributes::of_subject(text.parse().unwrap()));
    SessionAttributes {
        label: label.map(|text| text.parse().unwrap()),
        ..subject.unwrap_or_default()
    }
}

fn session(subject: Option<&str>, label: Option<&str>) -> Session {
    let cookies = Cookies::from_pairs([("SESSIONID", "a1b2c3"), ("lang", "grün; ⛳")]).unwrap();
    let login = Login {
        attributes: attributes(subject, label),
        ..Login::new(cookies, "https://golf.example/members".parse().unwrap())
    };
    Session::new(login, from_micros(1_768_473_000_123_456).unwrap(), None)
}

/// The expected bytes were written down by hand from the description of the format.
#[test]
fn binary_form_of_version_1_does_not_change() {
    let mut expected = vec![1];
    // The creation time, as a zigzag varint.
    expected.extend([0x80, 0xf1, 0xbc, 0xcf, 0xd6, 0x9a, 0xa4, 0x06]);
    // There is no end of the absolute lifetime.
    expected.push(0);
    expected.push(28);
    expected.extend(b"https://golf.example/members");
    expected.push(2);
    for (name, value) in [("SESSIONID", "a1b2c3"), ("lang", "grün; ⛳")] {
        expected.push(u8::try_from(name.len()).unwrap());
        expected.extend(name.as_bytes());
        // The cookie has a value.
        expected.extend([1, u8::try_from(value.len()).unwrap()]);
        expected.extend(value.as_bytes());
    }
    expected.extend([1, 11]);
    expected.extend(b"member-4711");
    expected.push(0);
    let session = session(Some("member-4711"), None);
    assert_eq!(session.to_bytes().as_slice(), expected);
    assert_eq!(Session::from_bytes(&expected), Ok(session));
}

#[rstest]
#[case::empty(&[], SessionBytesError::Malformed)]
#[case::version_0(&[0, 1, 2], SessionBytesError::Malformed)]
#[case::only_a_version(&[1], SessionBytesError::Malformed)]
#[case::newer_version(&[2, 1, 2], SessionBytesError::NewerVersion { version: 2 })]
#[case::last_version(&[31, 1, 2], SessionBytesError::NewerVersion { version: 31 })]
#[case::json(b"{\"cookies\": {}}", SessionBytesError::Malformed)]
#[case::text(b" a1b2c3", SessionBytesError::Malformed)]
#[case::binary(&[0x92, 0xff], SessionBytesError::Malformed)]
#[case::too_long(&[1; MAX_LEN + 1], SessionBytesError::TooLong)]
fn bytes_that_are_not_a_session_of_this_version_are_rejected(
    #[case] bytes: &[u8],
    #[case] expected: SessionBytesError,
) {
    assert_eq!(Session::from_bytes(bytes), Err(expected));
}

#[test]
fn attributes_of_cookies_are_unchanged_after_encoding_and_decoding() {
    let flat = session(None, Some("telephone"));
    let url = CookieUrl::of(&flat.base_url).unwrap();
    let lines = [
        "lang=de; Path=/; Secure; Max-Age=60",
        "lang=fr; Path=/x; Domain=golf.example",
    ];
    let lines = SetCookieLines::new(url, lines.map(str::to_owned));
    let merged = flat.cookies.merged(&lines, &flat.base_url, flat.created_at);
    let jar = Session {
        cookies: merged.cookies.unwrap(),
        ..flat.clone()
    };
    assert_eq!(jar.cookies.others().len(), 1);
    let bytes = jar.to_bytes();
    assert_eq!(Session::from_bytes(&bytes), Ok(jar));
    // If exactly the attributes and the other cookies are cut off, the rest is the valid form of a
    // session without cookie attributes.
    let shortened = (1..bytes.len()).filter_map(|len| Session::from_bytes(&bytes[..len]).ok());
    let shortened: Vec<_> = shortened
        .map(|session| session.cookies.has_details())
        .collect();
    assert_eq!(shortened, [false]);
    for more in [&[0][..], &bytes[1..]] {
        let extended = [&bytes, more].concat();
        let malformed = Err(SessionBytesError::Malformed);
        assert_eq!(Session::from_bytes(&extended), malformed);
    }
}

#[test]
fn shortened_or_extended_binary_form_of_a_session_is_rejected() {
    let bytes = session(Some("member-4711"), Some("telephone")).to_bytes();
    for len in 1..bytes.len() {
        let shortened = Session::from_bytes(&bytes[..len]);
        assert_eq!(shortened, Err(SessionBytesError::Malformed), "{len}");
    }
    let extended = [&bytes, &[0][..]].concat();
    assert_eq!(
        Session::from_bytes(&extended),
        Err(SessionBytesError::Malformed)
    );
}

#[rstest]
#[case::cookie_value(b"a1b2c3")]
#[case::cookie_name(b"SESSIONID")]
#[case::base_url(b"golf.example")]
#[case::subject(b"member-4711")]
#[case::label(b"telephone")]
fn encoded_session_with_a_control_character_in_a_text_is_rejected(#[case] text: &[u8]) {
    let mut bytes = session(Some("member-4711"), Some("telephone")).to_bytes();
    let mut windows = bytes.windows(text.len());
    let position = windows.position(|window| window == text).unwrap();
    bytes[position] = b'\n';
    assert_eq!(
        Session::from_bytes(&bytes),
        Err(SessionBytesError::ControlCharacter)
    );
}

#[test]
fn stored_subject_that_this_release_does_not_accept_is_left_out() {
    let mut bytes = session(Some("member-4711"), None).to_bytes();
    let mut windows = bytes.windows("member-4711".len());
    let position = windows.position(|window| window == b"member-4711");
    let position = position.unwrap();
    // U+202E reverses the order in which the rest of the text is displayed.
    bytes[position..position + 3].copy_from_slice("\u{202e}".as_bytes());
    let read = Session::from_bytes(&bytes).unwrap();
    assert_eq!(read.attributes, SessionAttributes::default());
}

#[test]
fn newer_version_and_malformed_bytes_become_the_errors_newer_record_and_corrupt() {
    let newer = RepositoryError::from(SessionBytesError::NewerVersion { version: 2 });
    assert!(matches!(newer, RepositoryError::NewerRecord { .. }));
    let corrupt = RepositoryError::from(SessionBytesError::Malformed);
    assert!(matches!(corrupt, RepositoryError::Corrupt { .. }));
}

proptest! {
    #[test]
    fn session_is_unchanged_after_encoding_and_decoding(
        cookies in hash_map(
            "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,30}",
            option::of("[\t\\PC]{0,60}"),
            0..12,
        ),
        path in "(/[a-z0-9;,=äöü日本%-]{0,10}){0,4}",
        micros in 0..4_102_444_800_000_000_i64,
        lifetime in option::of(0..1_000_000_000_000_i64),
        subject in option::of("[!-~]{1,40}"),
        label in option::of("\\PC{1,40}"),
    ) {
        let session = Session {
            cookies: Cookies::new(cookies).unwrap(),
            base_url: BaseUrl::new(format!("https://golf.example{path}")).unwrap(),
            created_at: from_micros(micros).unwrap(),
            absolute_end: lifetime.map(|lifetime| from_micros(micros + lifetime).unwrap()),
            attributes: attributes(subject.as_deref(), label.as_deref()),
        };
        prop_assert_eq!(Session::from_bytes(&session.to_bytes()), Ok(session));
    }

    #[test]
    fn decoding_arbitrary_bytes_as_a_session_never_panics(
        mut bytes in proptest::collection::vec(any::<u8>(), 1..300),
    ) {
        bytes[0] = VERSION;
        let _ = Session::from_bytes(&bytes);
    }
}
