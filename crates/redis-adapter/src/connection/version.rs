//! Version numbers of Redis.

use std::fmt;

/// Oldest supported version of Redis. Older versions have no scripts with flags and no option `XX`
/// of `EXPIRE`. With `XX`, `EXPIRE` changes only a key that already has a TTL.
pub(crate) const OLDEST_VERSION: Version = Version(7, 0, 0);

/// A version of Redis: major, minor and patch number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    /// Parses a version such as `7.2.4`. A missing patch number counts as 0. Returns `None` if the
    /// major or the minor number is missing.
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
    #[case::major_minor_and_patch("7.0.15", Some(Version(7, 0, 15)))]
    #[case::missing_patch_is_0("7.2", Some(Version(7, 2, 0)))]
    #[case::suffix_is_ignored("8.0-rc1", Some(Version(8, 0, 0)))]
    #[case::fourth_part_is_ignored("7.4.1.2", Some(Version(7, 4, 1)))]
    #[case::major_alone_is_invalid("7", None)]
    #[case::word_is_invalid("seven.0", None)]
    #[case::empty_text_is_invalid("", None)]
    fn redis_version_is_parsed_only_if_it_has_a_major_and_a_minor_number(
        #[case] text: &str,
        #[case] expected: Option<Version>,
    ) {
        assert_eq!(Version::parse(text), expected);
    }

    #[rstest]
    #[case("6.2.14", true)]
    #[case("5.0.7", true)]
    #[case("7.0.0", false)]
    #[case("10.0.0", false)]
    fn only_redis_versions_before_7_0_0_are_too_old(#[case] text: &str, #[case] is_too_old: bool) {
        assert_eq!(Version::parse(text).unwrap() < OLDEST_VERSION, is_too_old);
    }
}
