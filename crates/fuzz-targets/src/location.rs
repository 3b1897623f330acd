use tee_session_upstream::fuzzing::redirect_within_the_gateway;
use url::Url;

/// Fuzz target for the `Location` header in answers of a site. The first line of the input is the
/// request target, relative to the site. The rest of the input is the value of `Location`.
///
/// If the gateway passes a redirect on to the client, the redirect must lead to a URL below the
/// prefix of the gateway, `/v1/upstream/`.
pub fn location(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let (Some(target), Some(value)) = (parts.next(), parts.next()) else {
        return;
    };
    let Ok(target) = str::from_utf8(target) else {
        return;
    };
    let Some(redirect) = redirect_within_the_gateway(target, value) else {
        return;
    };
    let base = format!("https://broker.example/v1/upstream{target}");
    let base = Url::parse(&base).expect("a valid target is part of a URL");
    let followed = base
        .join(&redirect)
        .expect("a redirect within the site is a URL");
    assert_eq!(followed.origin(), base.origin());
    assert!(followed.path().starts_with("/v1/upstream/"), "{redirect}");
}
