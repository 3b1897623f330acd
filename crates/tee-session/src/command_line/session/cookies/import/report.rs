//! Report on the import of a cookie file.

use std::io::{self, Write};

use serde_json::json;

use super::{super::file_cookie::name_in_messages, Fault, Parsed};
use crate::command_line::output::{plural, print_json, print_note, printable, stdout};

/// A cookie of the file that belongs to the host of the session, but was not added to the session,
/// or was replaced by a later cookie of the file.
pub(super) struct LeftOut {
    /// Position of the cookie in the cookie file, from 1.
    pub(super) position: usize,
    pub(super) name: String,
    pub(super) reason: String,
}

/// Numbers of cookies that were imported and not imported.
pub(super) struct Report {
    unit: &'static str,
    pub(super) imported: usize,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) expired: usize,
    pub(super) of_other_hosts: usize,
    local_storages: usize,
}

impl Report {
    pub(super) fn of(parsed: &Parsed) -> Self {
        Self {
            unit: parsed.unit,
            imported: 0,
            left_out: Vec::new(),
            expired: 0,
            of_other_hosts: 0,
            local_storages: parsed.local_storages,
        }
    }

    pub(super) fn print(&self, is_json: bool) -> io::Result<()> {
        if is_json {
            let left_out = self.left_out.iter().map(|left_out| {
                json!({
                    self.unit: left_out.position,
                    "name": left_out.name,
                    "reason": left_out.reason,
                })
            });
            return print_json(&json!({
                "imported": self.imported,
                "left_out": left_out.collect::<Vec<_>>(),
                "expired": self.expired,
                "of_other_hosts": self.of_other_hosts,
            }));
        }
        for cookie in &self.left_out {
            let place = format!("{} {}", self.unit, cookie.position);
            let name = printable(name_in_messages(&cookie.name));
            print_note(format_args!("left out: {place}, {name}: {}", cookie.reason));
        }
        let expired = plural(self.expired, "expired cookie");
        let others = format!("{} of other hosts", plural(self.of_other_hosts, "cookie"));
        let local = format!("local storage of {}", plural(self.local_storages, "site"));
        let skipped = [
            (self.expired, expired),
            (self.of_other_hosts, others),
            (self.local_storages, local),
        ];
        for (_, what) in skipped.into_iter().filter(|(count, _)| *count > 0) {
            print_note(format_args!("not imported: {what}"));
        }
        writeln!(stdout(), "{} imported", plural(self.imported, "cookie"))
    }

    /// Returns an error if a cookie for the host of the session was left out.
    pub(super) fn into_result(self) -> Result<(), Fault> {
        match self.left_out.len() {
            0 => Ok(()),
            count => Err(Fault::incomplete(
                format!(
                    "{} of the file {} left out",
                    plural(count, "cookie"),
                    if count == 1 { "was" } else { "were" }
                ),
                "all other cookies for the host of the session were imported",
            )),
        }
    }
}

/// Returns a sentence that explains why the service ignored a `Set-Cookie` line. `word` is the
/// reason in the response of the service.
pub(super) fn reason_of_the_service(word: &str) -> String {
    let text = match word {
        "domain" => "Its domain is a public suffix, such as co.uk.",
        "insecure" => "It is sent over https only, and the base URL of the session is not https.",
        "prefix" => {
            "Its name begins with __Host- or __Secure-, without the attributes that this requires."
        }
        "full" => "The session has no room left.",
        _ => return format!("The service ignored it ({word})."),
    };
    text.to_owned()
}
