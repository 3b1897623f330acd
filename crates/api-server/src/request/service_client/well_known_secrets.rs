//! Secrets that operators easily set by mistake, and that an attacker can guess.

use aws_lc_rs::digest;

/// Texts that operators easily hash instead of a real secret: the empty text if a shell variable is
/// not set, the name of a variable that was not replaced, the output of a template without a value,
/// and placeholders.
const TEXTS: [&str; 19] = [
    "",
    " ",
    "$SECRET",
    "${SECRET}",
    "$(SECRET)",
    "%SECRET%",
    "{{ SECRET }}",
    "{{SECRET}}",
    "<secret>",
    "<no value>",
    "<nil>",
    "secret",
    "changeme",
    "change-me",
    "password",
    "null",
    "none",
    "nil",
    "undefined",
];

/// Line ends that a file or `echo` adds to a secret.
const LINE_ENDS: [&str; 3] = ["", "\n", "\r\n"];

/// Returns `true` if `hash` is the SHA-256 of a well-known secret, or of `id`, the id of the
/// client. The secret may be in lower case, in upper case or capitalised, and may have a line end.
pub(super) fn is_well_known(hash: &[u8; 32], id: &str) -> bool {
    let mut texts = TEXTS.into_iter().chain([id]).flat_map(cases);
    texts.any(|text| {
        LINE_ENDS.iter().any(|end| {
            let secret = format!("{text}{end}");
            digest::digest(&digest::SHA256, secret.as_bytes()).as_ref() == hash
        })
    })
}

fn cases(text: &str) -> [String; 4] {
    let lower = text.to_ascii_lowercase();
    let mut capitalised = lower.clone();
    if let Some(first) = lower.find(|c: char| c.is_ascii_lowercase()) {
        capitalised[first..=first].make_ascii_uppercase();
    }
    [
        text.to_owned(),
        text.to_ascii_uppercase(),
        lower,
        capitalised,
    ]
}
