//! Suggestions for misspelled names of settings.

use super::keys::{ENVIRONMENT_PREFIX, KEYS, Key};

/// Minimum similarity of a suggested name, from 0 (different) to 1 (equal). The command-line parser
/// uses a similar limit for its suggestions.
const MIN_SIMILARITY: f64 = 0.8;

/// Returns the name of the setting that is most similar to `name`. Upper and lower case are equal.
/// `name` may also be the name of an environment variable. Returns `None` if no name is similar.
pub(super) fn similar(name: &str) -> Option<String> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(&name);
    let name = name.to_ascii_lowercase();
    let known = KEYS.iter().flat_map(Key::names);
    let rated = known.map(|known| (strsim::jaro(&name, &known), known));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
    (best.0 >= MIN_SIMILARITY).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::letter_too_many("session_tttl", Some("session_ttl"))]
    #[case::letter_missing("sesion_ttl", Some("session_ttl"))]
    #[case::letters_swapped("redis_ulr", Some("redis_url"))]
    #[case::file_of_a_secret("redis_url_flie", Some("redis_url_file"))]
    #[case::upper_case("SESSION_TTL", Some("session_ttl"))]
    #[case::variable("TSA_SESION_TTL", Some("session_ttl"))]
    #[case::variable_in_lower_case("tsa_redis_url", Some("redis_url"))]
    #[case::other_word("of_another_version", None)]
    #[case::empty("", None)]
    fn setting_with_a_similar_name_is_suggested(
        #[case] name: &str,
        #[case] expected: Option<&str>,
    ) {
        assert_eq!(similar(name).as_deref(), expected);
    }
}
