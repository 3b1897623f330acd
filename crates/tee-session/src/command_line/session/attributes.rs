//! Session attributes (subject and label) on the command line. The module contains the flags that
//! set the attributes, and the functions that read the attributes for display.

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
            "Subject that the session belongs to: any text without control characters",
        ),
        (LABEL, "TEXT", "Label of the session in lists"),
    ]
    .map(|(name, value, help)| {
        let arg = Arg::new(name).long(name).value_name(value);
        arg.allow_hyphen_values(true).help(help)
    })
}

/// Sets the attributes of a new session from `flags`.
pub(super) fn set<'a>(mut create: CreateSession<'a>, flags: &'a ArgMatches) -> CreateSession<'a> {
    if let Some(subject) = flags.get_one::<String>(SUBJECT) {
        create = create.subject(subject);
    }
    if let Some(label) = flags.get_one::<String>(LABEL) {
        create = create.label(label);
    }
    create
}

/// Function that returns the value of one session attribute, such as the label.
type Read = fn(&SessionAttributes) -> Option<&str>;

/// All session attributes, each with its name and the function that returns its value. The subject
/// comes first.
pub(super) const ALL: [(&str, Read); 2] = [
    (SUBJECT, |attributes| attributes.subject.as_deref()),
    (LABEL, |attributes| attributes.label.as_deref()),
];

/// Returns the session attributes that `tee-session session list` shows. Leaves out the subject,
/// because all listed sessions have the same subject.
pub(super) fn listed() -> impl Iterator<Item = (&'static str, Read)> {
    ALL.into_iter().skip(1)
}
