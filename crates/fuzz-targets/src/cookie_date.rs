use tee_session_domain::parse_cookie_date;
use time::format_description::well_known::Rfc2822;

/// Fuzz target for the parser of cookie dates.
///
/// The year of a parsed date must be between 1601 and 9999. If a parsed date is formatted as in RFC
/// 2822 and parsed again, the result must be the same date.
pub fn cookie_date(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let Some(date) = parse_cookie_date(text) else {
        return;
    };
    assert!((1601..=9999).contains(&date.year()));
    // RFC 2822 cannot express years before 1900.
    if let Ok(again) = date.format(&Rfc2822) {
        assert_eq!(parse_cookie_date(&again), Some(date));
    }
}
