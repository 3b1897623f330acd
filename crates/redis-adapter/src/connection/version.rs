//! Versions of Redis.

use std::fmt;

/// `EXPIRE ... XX`, which leaves keys of others alone, and scripts with flags came with this one.
pub(crate) const OLDEST_VERSION: Version = Version(7, 0, 0);

/// Of Redis: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit());
            part[..digits.unwrap_or(part.len())].parse().ok()
        });
        let mut next = || parts.next().flatten();
        Some(Self(next()?, next()?, next().unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::three_parts("7.0.15", Some(Version(7, 0, 15)))]
    #[case::two_parts("7.2", Some(Version(7, 2, 0)))]
    #[case::a_candidate("8.0-rc1", Some(Version(8, 0, 0)))]
    #[case::more_behind_it("7.4.1.2", Some(Version(7, 4, 1)))]
    #[case::one_part("7", None)]
    #[case::no_number("seven.0", None)]
    #[case::nothing("", None)]
    fn versions_as_servers_tell_them(#[case] text: &str, #[case] expected: Option<Version>) {
        assert_eq!(Version::parse(text), expected);
    }

    #[rstest]
    #[case("6.2.14", true)]
    #[case("5.0.7", true)]
    #[case("7.0.0", false)]
    #[case("10.0.0", false)]
    fn what_is_too_old(#[case] text: &str, #[case] is_too_old: bool) {
        assert_eq!(Version::parse(text).unwrap() < OLDEST_VERSION, is_too_old);
    }
}
