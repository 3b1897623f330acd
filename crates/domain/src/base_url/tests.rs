use proptest::prelude::*;
use rstest::rstest;

use super::*;

#[rstest]
#[case::https("https://golf.example")]
#[case::http("http://golf.example/")]
#[case::upper_case_scheme("HTTPS://golf.example")]
#[case::port_and_path("https://golf.example:8443/members/")]
#[case::query("https://golf.example/?club=7&x=%20")]
#[case::at_sign_in_path("https://golf.example/@members")]
#[case::localhost("http://localhost:3000")]
#[case::ipv4("http://127.0.0.1")]
#[case::ipv4_in_another_spelling("http://2130706433")]
#[case::ipv6("http://[::1]:8080/x")]
#[case::metadata_address("http://169.254.169.254/")]
#[case::idn("https://bücher.example/")]
#[case::punycode("https://xn--bcher-kva.example/")]
#[case::soft_hyphen("https://go\u{ad}lf.example/")]
#[case::ipv4_in_ipv6("http://[::ffff:127.0.0.1]/")]
#[case::private_10("http://10.0.0.1/")]
#[case::private_172("http://172.16.0.1/")]
#[case::private_192("http://192.168.0.1/")]
#[case::shared_address("http://100.64.0.1/")]
#[case::unique_local("http://[fc00::1]/")]
#[case::any_address("http://0.0.0.0/")]
#[case::metadata_name("http://metadata.google.internal/")]
#[case::cluster_name("http://x.svc.cluster.local/")]
#[case::ipv4_hexadecimal("http://0x7f.1/")]
#[case::ipv4_octal("http://0177.0.0.1/")]
#[case::ipv4_short("http://127.1/")]
#[case::longest_name(&format!("https://{}abcde.example", "abcdefg.".repeat(30)))]
#[case::underscore("http://booking_web.internal")]
#[case::trailing_dot("https://golf.example.")]
#[case::trailing_dot_and_port("https://golf.example.:8443/members")]
#[case::longest_label(&format!("https://{}.example", "a".repeat(63)))]
#[case::longest(&format!("https://golf.example/{}", "p".repeat(2_048 - 21)))]
fn valid_base_url_is_kept_exactly_as_given(#[case] text: &str) {
    assert_eq!(BaseUrl::new(text).unwrap().as_str(), text);
}

#[rstest]
#[case::empty("", BaseUrlError::Length)]
#[case::too_long(&format!("https://golf.example/{}", "p".repeat(2_048 - 20)), BaseUrlError::Length)]
#[case::relative("/members", BaseUrlError::Scheme)]
#[case::no_scheme("golf.example", BaseUrlError::Scheme)]
#[case::network_path("//golf.example", BaseUrlError::Scheme)]
#[case::no_slashes("https:golf.example", BaseUrlError::Scheme)]
#[case::ftp("ftp://golf.example", BaseUrlError::Scheme)]
#[case::file("file:///etc/passwd", BaseUrlError::Scheme)]
#[case::javascript("javascript:alert(1)", BaseUrlError::Scheme)]
#[case::data("data:text/html,x", BaseUrlError::Scheme)]
#[case::websocket("wss://golf.example", BaseUrlError::Scheme)]
#[case::redis("redis://golf.example", BaseUrlError::Scheme)]
#[case::gopher("gopher://golf.example", BaseUrlError::Scheme)]
#[case::plain_websocket("ws://golf.example", BaseUrlError::Scheme)]
#[case::empty_user("https://@golf.example", BaseUrlError::Credentials)]
#[case::credentials("https://u:p@golf.example", BaseUrlError::Credentials)]
#[case::user_only("https://allowed@evil.example", BaseUrlError::Credentials)]
#[case::fragment("https://golf.example/#top", BaseUrlError::Fragment)]
#[case::fragment_before_host("https://evil#@golf.example", BaseUrlError::Fragment)]
#[case::backslashes("https:\\\\golf.example", BaseUrlError::Characters)]
#[case::backslash_in_path("https://golf.example\\x", BaseUrlError::Characters)]
#[case::space("https://golf.example/a b", BaseUrlError::Characters)]
#[case::leading_space(" https://golf.example", BaseUrlError::Characters)]
#[case::tab("https://go\tlf.example", BaseUrlError::Characters)]
#[case::line_feed("https://golf.example\n", BaseUrlError::Characters)]
#[case::nul("https://golf.example/\0", BaseUrlError::Characters)]
#[case::unicode_space("https://golf.example/\u{3000}", BaseUrlError::Characters)]
#[case::no_host("https://", BaseUrlError::Host)]
#[case::no_host_but_path("https:///path", BaseUrlError::Host)]
#[case::no_host_but_port("https://:80", BaseUrlError::Host)]
#[case::empty_label("https://a..b", BaseUrlError::Host)]
#[case::two_trailing_dots("https://golf.example..", BaseUrlError::Host)]
#[case::only_a_dot("https://./", BaseUrlError::Host)]
#[case::trailing_dot_of_ipv4("https://127.0.0.1.", BaseUrlError::Host)]
#[case::trailing_dot_and_port("https://127.0.0.1.:80/", BaseUrlError::Host)]
#[case::trailing_dot_of_a_number("https://2130706433.", BaseUrlError::Host)]
#[case::trailing_ideographic_dot("https://127.0.0.1\u{3002}", BaseUrlError::Host)]
#[case::not_punycode("https://xn--a.example", BaseUrlError::Host)]
#[case::wide_at_sign("https://golf.example\u{ff20}evil.example", BaseUrlError::Host)]
#[case::wide_slash("https://golf.example\u{ff0f}.evil.example", BaseUrlError::Host)]
#[case::account_of("https://golf.example\u{2100}.evil.example", BaseUrlError::Host)]
#[case::wide_percent("https://golf\u{ff05}2e.example", BaseUrlError::Host)]
#[case::idn_label_too_long(&format!("https://{}.example", "ü".repeat(63)), BaseUrlError::Host)]
#[case::label_too_long(&format!("https://{}.example", "a".repeat(64)), BaseUrlError::Host)]
#[case::name_too_long(&format!("https://{}e", "abcdefg.".repeat(32)), BaseUrlError::Host)]
#[case::leading_hyphen("https://-golf.example", BaseUrlError::Host)]
#[case::percent_in_host("https://golf%00.evil", BaseUrlError::Host)]
#[case::percent_letter_in_host("https://%67olf.example", BaseUrlError::Host)]
#[case::star_in_host("https://*.example", BaseUrlError::Host)]
#[case::ipv6_zone("http://[fe80::1%25eth0]/", BaseUrlError::Host)]
#[case::text_after_ipv6("http://[::1]x/", BaseUrlError::Host)]
#[case::broken_ipv6("http://[::1/", BaseUrlError::Port)]
#[case::ipv4_out_of_range("http://1.2.3.256/", BaseUrlError::Host)]
#[case::port_zero("https://golf.example:0", BaseUrlError::Port)]
#[case::port_too_large("https://golf.example:65536", BaseUrlError::Port)]
#[case::port_empty("https://golf.example:/", BaseUrlError::Port)]
#[case::port_signed("https://golf.example:+80", BaseUrlError::Port)]
fn invalid_base_url_is_rejected_with_an_error_that_names_the_broken_rule(
    #[case] text: &str,
    #[case] error: BaseUrlError,
) {
    assert_eq!(BaseUrl::new(text), Err(error));
}

#[rstest]
#[case::query("https://golf.example/m?token=s3cret", "https://golf.example/m")]
#[case::port(
    "http://golf.example:8443/m?token=s3cret",
    "http://golf.example:8443/m"
)]
#[case::default_port("https://golf.example:443/m", "https://golf.example/m")]
#[case::ipv6("http://[::1]:8080", "http://[::1]:8080/")]
#[case::foreign_credentials("https://u:s3cret@golf.example:81/m", "https://golf.example:81/m")]
#[case::foreign_scheme_without_host("x:u:s3cret@golf.example", "[not a web URL]")]
#[case::foreign_scheme("ftp://u:s3cret@golf.example/s3cret", "[not a web URL]")]
#[case::foreign_text("s3cret", "[not a web URL]")]
fn log_form_of_a_base_url_shows_only_scheme_host_port_and_path(
    #[case] text: &str,
    #[case] logged: &str,
) {
    let url = BaseUrl::from_stored(text).unwrap();
    assert_eq!(url.for_log().to_string(), logged);
    assert_eq!(format!("{url:?}"), format!("BaseUrl({logged})"));
}

#[test]
fn stored_base_url_is_checked_only_for_control_characters() {
    assert_eq!(
        BaseUrl::from_stored("ftp://x y").unwrap().as_str(),
        "ftp://x y"
    );
    assert!(BaseUrl::from_stored("https://golf.example\r\nX: y").is_err());
}

proptest! {
    #[test]
    fn parsing_arbitrary_text_as_a_base_url_never_panics(
        text in "(https?://)?[a-zA-Z0-9.:@/?#%\\[\\]\\\\ -]{0,60}\\PC{0,10}",
    ) {
        if let Ok(url) = BaseUrl::new(text.clone()) {
            prop_assert_eq!(url.as_str(), text);
            prop_assert!(url.ascii_host().is_some());
        }
    }
}
