//! Outcomes of permission checks. A permission check sends one command to Redis. The reply shows
//! whether the Redis user has the permission for the command.

use crate::{RedisFault, connection::Reply};

/// Outcome of one permission check, in which one command is sent for one Redis key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CheckOutcome {
    /// The Redis user has the permissions for the command and for the key.
    Permitted,
    /// The Redis user lacks the permission for the command.
    CommandNotPermitted,
    /// The Redis user has the permission for the command, but lacks the permission for the key.
    KeyNotPermitted,
    /// The server does not know the command: the command was renamed, or the server is another
    /// implementation of Redis.
    UnknownCommand,
    /// The server replied with an error other than a missing permission or an unknown command.
    /// Contains the error code.
    Refused(String),
    /// The server did not reply. Contains the fault.
    NoReply(RedisFault),
}

impl CheckOutcome {
    /// Classifies the reply to the command of a permission check. A redirection counts as
    /// permitted, because a server of a cluster checks permissions before it checks whether it owns
    /// the key.
    pub(super) fn of(reply: Result<Reply, RedisFault>) -> Self {
        let text = match reply {
            Ok(Reply::Error(text)) => text,
            Ok(_) => return Self::Permitted,
            Err(fault) => return Self::NoReply(fault),
        };
        let text = String::from_utf8_lossy(&text);
        match text.split(' ').next().unwrap_or_default() {
            // Redis 7.0 sends "this user has no permissions to run the 'get' command", or "... to
            // access one of the keys used as arguments". Later versions name the user, and write "a
            // key".
            "NOPERM" if text.contains("to run ") => Self::CommandNotPermitted,
            "NOPERM" => Self::KeyNotPermitted,
            "ERR" if text.starts_with("ERR unknown") => Self::UnknownCommand,
            // The permission check for HSET has a wrong number of arguments on purpose, so that it
            // cannot create the key.
            "ERR" if text.contains("wrong number of arguments") => Self::Permitted,
            "MOVED" | "ASK" | "TRYAGAIN" | "WRONGTYPE" => Self::Permitted,
            _ => match RedisFault::refusal("", &text) {
                RedisFault::Refused { code, .. } => Self::Refused(code),
                fault => Self::NoReply(fault),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::command_7_0(
        "NOPERM this user has no permissions to run the 'get' command",
        CheckOutcome::CommandNotPermitted
    )]
    #[case::command_7_2(
        "NOPERM User tee has no permissions to run the 'client|tracking' command",
        CheckOutcome::CommandNotPermitted
    )]
    #[case::key_7_0(
        "NOPERM this user has no permissions to access one of the keys used as arguments",
        CheckOutcome::KeyNotPermitted
    )]
    #[case::key_7_2("NOPERM No permissions to access a key", CheckOutcome::KeyNotPermitted)]
    #[case::renamed(
        "ERR unknown command 'eval', with args beginning with: ",
        CheckOutcome::UnknownCommand
    )]
    #[case::hset(
        "ERR wrong number of arguments for 'hset' command",
        CheckOutcome::Permitted
    )]
    #[case::moved("MOVED 3999 127.0.0.1:6381", CheckOutcome::Permitted)]
    #[case::out_of_memory(
        "OOM command not allowed when used memory > 'maxmemory'.",
        CheckOutcome::Refused("OOM".to_owned())
    )]
    #[case::replica(
        "READONLY You can't write against a read only replica.",
        CheckOutcome::Refused("READONLY".to_owned())
    )]
    fn error_reply_shows_whether_command_and_key_are_permitted(
        #[case] text: &str,
        #[case] expected: CheckOutcome,
    ) {
        let reply = Reply::Error(text.to_owned().into());
        assert_eq!(CheckOutcome::of(Ok(reply)), expected);
    }

    #[test]
    fn reply_without_an_error_means_permitted_and_a_timeout_means_no_reply() {
        assert_eq!(CheckOutcome::of(Ok(Reply::Null)), CheckOutcome::Permitted);
        let fault = RedisFault::TimedOut { command: "GET" };
        assert_eq!(
            CheckOutcome::of(Err(fault.clone())),
            CheckOutcome::NoReply(fault)
        );
    }
}
