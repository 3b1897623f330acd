//! Check that an error of a repository contains no secret.

use std::error::Error as StdError;

use crate::{ErrorChain, RepositoryError};

/// Panics if the `Display` or `Debug` text of the error, or of one of its causes, contains one of
/// the secrets. A secret may occur literally, or as a list of byte values (`Debug` output of its
/// bytes).
pub(super) fn assert_contains_no_secret<'a>(
    operation: &str,
    error: &RepositoryError,
    secrets: impl IntoIterator<Item = &'a str>,
) {
    let texts = texts_of(error);
    for secret in secrets {
        let bytes = format!("{:?}", secret.as_bytes());
        let bytes = bytes.trim_matches(['[', ']']);
        let has_secret = |text: &String| text.contains(secret) || text.contains(bytes);
        assert!(
            !texts.iter().any(has_secret),
            "the error of `{operation}` contains a token or a cookie"
        );
    }
}

fn texts_of(error: &RepositoryError) -> Vec<String> {
    let mut texts = vec![ErrorChain(error).to_string(), format!("{error:?}")];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(format!("{error:?}"));
        cause = error.source();
    }
    texts
}

#[cfg(test)]
mod tests {
    use std::{fmt, panic::catch_unwind};

    use rstest::rstest;

    use super::*;

    const SECRET: &str = "a-secret-of-a-session";

    /// An error with different texts for `Display` and `Debug`.
    struct Cause {
        display: String,
        debug: String,
    }

    impl fmt::Display for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.display)
        }
    }

    impl fmt::Debug for Cause {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.debug)
        }
    }

    impl StdError for Cause {}

    #[rstest]
    #[case::no_secret("timed out".to_owned(), "TimedOut".to_owned(), false)]
    #[case::in_display(format!("no reply for {SECRET}"), "TimedOut".to_owned(), true)]
    #[case::in_debug("timed out".to_owned(), format!("TimedOut({SECRET})"), true)]
    #[case::as_bytes("timed out".to_owned(), format!("TimedOut({:?})", SECRET.as_bytes()), true)]
    #[case::within_other_bytes(
        "timed out".to_owned(),
        format!("{:?}", format!("GET {SECRET}.").as_bytes()),
        true
    )]
    fn error_with_a_secret_in_one_of_its_texts_is_detected(
        #[case] display: String,
        #[case] debug: String,
        #[case] has_secret: bool,
    ) {
        let error = RepositoryError::unavailable(Cause { display, debug });
        let error = std::panic::AssertUnwindSafe(error);
        let check = catch_unwind(|| assert_contains_no_secret("load", &error, ["another", SECRET]));
        assert_eq!(check.is_err(), has_secret);
    }
}
