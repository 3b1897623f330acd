use tee_session_api_server::fuzzing;
use tee_session_domain::{BaseUrl, Cookies, EntityTag, Login, Session, SessionToken};
use time::OffsetDateTime;

/// Fuzz target for the parser of the `If-Match` header.
///
/// The input is compared with the entity tag of a fixed session. A valid input may match only if it
/// contains this tag or is `*`. If this tag is appended to a valid list, the longer list must
/// match, unless it has too many tags.
pub fn if_match(input: &[u8]) {
    let tag = tag();
    let Some(allows) = fuzzing::if_match(input, tag) else {
        return;
    };
    let text = tag.to_string();
    let is_named = input
        .windows(text.len())
        .any(|part| part == text.as_bytes());
    let is_any = input.trim_ascii() == b"*";
    assert!(!allows || is_named || is_any);
    let named = [input, format!(", \"{text}\"").as_bytes()].concat();
    assert!(is_any || fuzzing::if_match(&named, tag) != Some(false));
}

fn tag() -> EntityTag {
    let token: SessionToken = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
        .parse()
        .expect("a token");
    let cookies = Cookies::new([("a".to_owned(), "1".to_owned())]).expect("valid cookies");
    let base_url = BaseUrl::new("https://golf.example").expect("a valid base URL");
    let session = Session::new(
        Login::new(cookies, base_url),
        OffsetDateTime::UNIX_EPOCH,
        None,
    );
    EntityTag::of(&token, &session)
}
