//! What comes of a command that is sent to see whether it may be.

use crate::{RedisFault, connection::Reply};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tried {
    Allowed,
    /// The user may not use the command.
    NoCommand,
    /// The user may use the command, but not on this key.
    NoKey,
    /// The server has no such command: it was renamed, or this Redis is another's make.
    Unknown,
    /// The server said this code, and it says nothing of permissions.
    Refused(String),
    /// No answer.
    Silent(RedisFault),
}

impl Tried {
    /// Servers look at permissions first, and then at where the key belongs.
    pub(super) fn of(reply: Result<Reply, RedisFault>) -> Self {
        let text = match reply {
            Ok(Reply::Error(text)) => text,
            Ok(_) => return Self::Allowed,
            Err(fault) => return Self::Silent(fault),
        };
        let text = String::from_utf8_lossy(&text);
        match text.split(' ').next().unwrap_or_default() {
            // Of 7.0: "this user has no permissions to run the 'get' command", and "... to access one
            // of the keys used as arguments"; later ones name the user, and say "a key".
            "NOPERM" if text.contains("to run ") => Self::NoCommand,
            "NOPERM" => Self::NoKey,
            "ERR" if text.starts_with("ERR unknown") => Self::Unknown,
            // That is how HSET is sent.
            "ERR" if text.contains("wrong number of arguments") => Self::Allowed,
            "MOVED" | "ASK" | "TRYAGAIN" | "WRONGTYPE" => Self::Allowed,
            _ => match RedisFault::refusal("", &text) {
                RedisFault::Refused { code, .. } => Self::Refused(code),
                fault => Self::Silent(fault),
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
        Tried::NoCommand
    )]
    #[case::command_7_2(
        "NOPERM User tee has no permissions to run the 'client|tracking' command",
        Tried::NoCommand
    )]
    #[case::key_7_0(
        "NOPERM this user has no permissions to access one of the keys used as arguments",
        Tried::NoKey
    )]
    #[case::key_7_2("NOPERM No permissions to access a key", Tried::NoKey)]
    #[case::renamed(
        "ERR unknown command 'eval', with args beginning with: ",
        Tried::Unknown
    )]
    #[case::hset("ERR wrong number of arguments for 'hset' command", Tried::Allowed)]
    #[case::elsewhere("MOVED 3999 127.0.0.1:6381", Tried::Allowed)]
    #[case::full("OOM command not allowed when used memory > 'maxmemory'.", Tried::Refused("OOM".to_owned()))]
    #[case::replica("READONLY You can't write against a read only replica.", Tried::Refused("READONLY".to_owned()))]
    fn what_servers_say(#[case] text: &str, #[case] expected: Tried) {
        let reply = Reply::Error(text.to_owned().into());
        assert_eq!(Tried::of(Ok(reply)), expected);
    }

    #[test]
    fn any_answer_but_an_error_is_a_yes() {
        assert_eq!(Tried::of(Ok(Reply::Null)), Tried::Allowed);
        let silent = RedisFault::TimedOut { command: "GET" };
        assert_eq!(Tried::of(Err(silent.clone())), Tried::Silent(silent));
    }
}
