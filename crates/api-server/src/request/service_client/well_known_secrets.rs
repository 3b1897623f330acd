//! Secrets that operators easily set by mistake, and that an attacker can guess.

use aws_lc_rs::digest;

/// Texts that operators easily hash instead of a real secret: the empty text, with or without
/// quotes, if a shell variable is not set, the output of a template without a value, and
/// placeholders.
const TEXTS: [&str; 15] = [
    "",
    " ",
    "\"\"",
    "''",
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

/// Usual names of variables that contain a secret. Operators easily hash a reference to such a
/// variable that was not replaced by its value.
const VARIABLES: [&str; 4] = ["SECRET", "CLIENT_SECRET", "TOKEN", "PASSWORD"];

/// Texts before and after the name of a variable in a reference to it, in shells, Kubernetes,
/// Windows and templates.
const REFERENCES: [(&str, &str); 6] = [
    ("$", ""),
    ("${", "}"),
    ("$(", ")"),
    ("%", "%"),
    ("{{ ", " }}"),
    ("{{", "}}"),
];

/// Line ends that a file or `echo` adds to a secret.
const LINE_ENDS: [&str; 3] = ["", "\n", "\r\n"];

/// Returns `true` if `hash` is the SHA-256 of a well-known secret, or of `id`, the id of the
/// client. The secret may be in lower case, in upper case or capitalised, and may have a line end.
pub(super) fn is_well_known(hash: &[u8; 32], id: &str) -> bool {
    let references = VARIABLES
        .iter()
        .flat_map(|name| REFERENCES.map(|(before, after)| format!("{before}{name}{after}")));
    let texts = TEXTS.into_iter().chain([id]).map(str::to_owned);
    let mut spellings = texts.chain(references).flat_map(|text| cases(&text));
    spellings.any(|text| {
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
