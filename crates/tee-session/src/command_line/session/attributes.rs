//! The attributes of a session (subject and label) on the command line: the flags that set them,
//! and the functions that read them for display.

use clap::{Arg, ArgMatches};
use tee_session_client::{CreateSession, SessionAttributes};

const LABEL: &str = "label";
const SUBJECT: &str = "subject";

/// Returns the flags that set attributes of a new session.
pub(super) fn args() -> [Arg; 2] {
    [
        (
            SUBJECT,
            "SUBJECT",
            "Subject that the session belongs to: visible ASCII",
        ),
        (LABEL, "TEXT", "Label of the session in lists"),
    ]
    .map(|(name, value, help)| {
        let arg = Arg::new(name).long(name).value_name(value);
        arg.allow_hyphen_values(true).help(help)
    })
}

/// Sets the attributes that the flags name.
pub(super) fn set<'a>(mut create: CreateSession<'a>, flags: &'a ArgMatches) -> CreateSession<'a> {
    if let Some(subject) = flags.get_one::<String>(SUBJECT) {
        create = create.subject(subject);
    }
    if let Some(label) = flags.get_one::<String>(LABEL) {
        create = create.label(label);
    }
    create
}

/// Reads one attribute.
type Read = fn(&SessionAttributes) -> Option<&str>;

/// Names of all attributes, and functions that read them. The subject comes first.
pub(super) const ALL: [(&str, Read); 2] = [
    (SUBJECT, |attributes| attributes.subject.as_deref()),
    (LABEL, |attributes| attributes.label.as_deref()),
];

/// Returns the attributes that a list of sessions shows: all but the subject, which is the same for
/// all sessions of a list.
pub(super) fn listed() -> impl Iterator<Item = (&'static str, Read)> {
    ALL.into_iter().skip(1)
}
