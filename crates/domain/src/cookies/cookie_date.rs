//! Parser for cookie dates (RFC 6265bis, section 5.1.1).

use time::{Date, Month, OffsetDateTime, Time};

/// Parses a cookie date, which is the value of the attribute `Expires` (RFC 6265bis, section
/// 5.1.1). Returns `None` if the text is not a cookie date. All formats of the header field `Date`
/// are cookie dates.
///
/// Sites write dates in many formats. The algorithm of the standard therefore searches the text for
/// a time, a day, a month and a year, in any order.
///
/// ```
/// use tee_session_domain::parse_cookie_date;
///
/// let date = parse_cookie_date("Sun, 6-Nov-94 8:49:37");
/// assert_eq!(date.unwrap().year(), 1994);
/// ```
#[must_use]
// The crate `cookie` is not used, because it knows only four fixed formats. If a site removed a
// cookie with a date in another format, the cookie would stay.
pub fn parse_cookie_date(text: &str) -> Option<OffsetDateTime> {
    let mut fields = Fields::default();
    let tokens = text.as_bytes().split(|byte| is_delimiter(*byte));
    for token in tokens.filter(|token| !token.is_empty()) {
        fields.take(token);
    }
    fields.date_time()
}

/// Parts of a cookie date. A part is `None` until it is found.
#[derive(Default)]
struct Fields {
    time: Option<[u8; 3]>,
    day: Option<u8>,
    month: Option<Month>,
    year: Option<i32>,
}

impl Fields {
    /// Parses `token` as one of the parts that are still missing, and stores this part (step 2 of
    /// the algorithm). The first part in the order time, day, month, year that `token` matches is
    /// used.
    fn take(&mut self, token: &[u8]) {
        if self.time.is_none() {
            self.time = parse_time(token);
            if self.time.is_some() {
                return;
            }
        }
        if self.day.is_none() {
            self.day = parse_number(token, 1..=2).and_then(|day| u8::try_from(day).ok());
            if self.day.is_some() {
                return;
            }
        }
        if self.month.is_none() {
            self.month = parse_month(token);
            if self.month.is_some() {
                return;
            }
        }
        if self.year.is_none() {
            self.year = parse_number(token, 2..=4).map(of_century);
        }
    }

    /// Returns the date, if all parts were found and are valid (steps 5 to 7).
    fn date_time(self) -> Option<OffsetDateTime> {
        let [hour, minute, second] = self.time?;
        let year = self.year.filter(|year| *year >= 1601)?;
        let date = Date::from_calendar_date(year, self.month?, self.day?).ok()?;
        let time = Time::from_hms(hour, minute, second).ok()?;
        Some(OffsetDateTime::new_utc(date, time))
    }
}

fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'/' | b';'..=b'@' | b'['..=b'`' | b'{'..=b'~')
}

/// Parses a time of day: three numbers of one or two digits, separated by colons (`hms-time [
/// non-digit *OCTET ]` in the grammar of the standard).
fn parse_time(token: &[u8]) -> Option<[u8; 3]> {
    let (hour, rest) = split_number(token, 1..=2)?;
    let (minute, rest) = split_number(rest.strip_prefix(b":")?, 1..=2)?;
    let second = parse_number(rest.strip_prefix(b":")?, 1..=2)?;
    let number = |number: i32| u8::try_from(number).ok();
    Some([number(hour)?, number(minute)?, number(second)?])
}

fn parse_month(token: &[u8]) -> Option<Month> {
    const NAMES: [&[u8; 3]; 12] = [
        b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov",
        b"dec",
    ];
    let beginning = token.first_chunk::<3>()?.to_ascii_lowercase();
    let index = NAMES.iter().position(|name| beginning == **name)?;
    u8::try_from(index + 1).ok()?.try_into().ok()
}

/// Parses the number at the beginning of `token` (`n*mDIGIT [ non-digit *OCTET ]` in the grammar of
/// the standard). Text after the number is ignored. Returns `None` if the count of digits is not in
/// `digits`.
fn parse_number(token: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<i32> {
    split_number(token, digits).map(|(number, _)| number)
}

/// Parses the digits at the beginning of `token`. Returns the number and the rest of `token`, which
/// does not begin with a digit. Returns `None` if the count of digits is not in `digits`.
fn split_number(token: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<(i32, &[u8])> {
    let end = token.iter().position(|byte| !byte.is_ascii_digit());
    let (number, rest) = token.split_at(end.unwrap_or(token.len()));
    if !digits.contains(&number.len()) {
        return None;
    }
    let value = |sum: i32, byte: &u8| sum * 10 + i32::from(byte - b'0');
    Some((number.iter().fold(0, value), rest))
}

/// Adds the century to a year of two digits (steps 3 and 4).
fn of_century(year: i32) -> i32 {
    match year {
        70..=99 => year + 1900,
        0..=69 => year + 2000,
        _ => year,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use time::format_description::well_known::Rfc3339;

    use super::*;

    /// Each case is the same time, written in another format that servers use.
    #[rstest]
    #[case::imf_fixdate("Sun, 06 Nov 1994 08:49:37 GMT")]
    #[case::rfc_850("Sunday, 06-Nov-94 08:49:37 GMT")]
    #[case::asctime("Sun Nov  6 08:49:37 1994")]
    #[case::netscape("Sun, 06-Nov-1994 08:49:37 GMT")]
    #[case::one_digit_day("Sun, 6 Nov 1994 08:49:37 GMT")]
    #[case::no_weekday("06 Nov 1994 08:49:37 GMT")]
    #[case::lower_case("sun, 06 nov 1994 08:49:37 gmt")]
    #[case::long_month("6 November 1994 08:49:37")]
    #[case::year_first("1994 Nov 06 08:49:37")]
    #[case::no_zone("Sun, 06 Nov 1994 08:49:37")]
    #[case::other_zone_is_ignored("Sun, 06 Nov 1994 08:49:37 PST")]
    #[case::one_digit_hour("Sun, 06 Nov 1994 8:49:37 GMT")]
    #[case::text_after_time("06 Nov 1994 08:49:37.000 GMT")]
    #[case::slashes("06/Nov/1994/08:49:37")]
    fn all_spellings_of_a_date_are_parsed(#[case] text: &str) {
        let expected = OffsetDateTime::parse("1994-11-06T08:49:37Z", &Rfc3339).unwrap();
        assert_eq!(parse_cookie_date(text), Some(expected));
    }

    #[rstest]
    #[case::epoch("Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00Z")]
    #[case::epoch_of_php("Thu, 01-Jan-1970 00:00:01 GMT", "1970-01-01T00:00:01Z")]
    #[case::two_digits_of_the_century_before("01-Jan-70 00:00:00", "1970-01-01T00:00:00Z")]
    #[case::two_digits_of_this_century("01-Jan-69 00:00:00", "2069-01-01T00:00:00Z")]
    #[case::far_future("Fri, 31-Dec-9999 23:59:59 GMT", "9999-12-31T23:59:59Z")]
    #[case::first_year("1 Jan 1601 00:00:00", "1601-01-01T00:00:00Z")]
    fn years_of_cookie_dates_are_parsed_and_two_digit_years_are_completed(
        #[case] text: &str,
        #[case] expected: &str,
    ) {
        let expected = OffsetDateTime::parse(expected, &Rfc3339).unwrap();
        assert_eq!(parse_cookie_date(text), Some(expected));
    }

    #[rstest]
    #[case::empty("")]
    #[case::word("never")]
    #[case::zero("0")]
    #[case::no_time("06 Nov 1994")]
    #[case::no_year("06 Nov 08:49:37")]
    #[case::numeric_month("1994-11-06T08:49:37Z")]
    #[case::too_early("06 Nov 1600 08:49:37")]
    #[case::no_such_day("31 Feb 2026 08:49:37")]
    #[case::day_zero("00 Feb 2026 08:49:37")]
    #[case::hour_24("06 Nov 1994 24:00:00")]
    #[case::leap_second("06 Nov 1994 23:59:60")]
    #[case::three_digits_in_the_time("06 Nov 1994 008:49:37")]
    #[case::year_of_five_digits("06 Nov 11994 08:49:37")]
    #[case::digits_of_another_script("٠٦ Nov 1994 08:49:37")]
    fn text_that_is_not_a_cookie_date_is_rejected(#[case] text: &str) {
        assert_eq!(parse_cookie_date(text), None);
    }

    proptest! {
        #[test]
        fn parsing_arbitrary_text_as_a_cookie_date_does_not_panic(
            text in any::<String>(),
            date in "[0-9A-Za-z:, -]{0,40}",
        ) {
            let _ = (parse_cookie_date(&text), parse_cookie_date(&date));
        }
    }
}
