//! Lua scripts, which Redis runs atomically.

use super::{
    call::Call,
    command::{Command, Reply},
};
use crate::RedisFault;

/// A Lua script. The script begins with a `#!lua` line without the flag `no-writes`, so Redis
/// treats the script as a write and refuses it on a replica. A script therefore never reads the
/// stale data of a replica.
#[derive(Clone, Copy)]
pub(crate) struct Script {
    flags: &'static str,
    text: &'static str,
}

impl Script {
    /// Creates a script that Redis refuses with the error `OOM` while its memory is full.
    pub(crate) const fn writing(text: &'static str) -> Self {
        Self {
            flags: "#!lua\n",
            text,
        }
    }

    /// Creates a script that Redis runs even while its memory is full (`allow-oom`). Such a script
    /// must write little, or free memory.
    pub(crate) const fn freeing(text: &'static str) -> Self {
        Self {
            flags: "#!lua flags=allow-oom\n",
            text,
        }
    }

    /// Runs the script (`EVAL script numkeys key... argument...`). The returned reply may be an
    /// error reply of Redis.
    pub(crate) async fn run(
        self,
        call: &Call,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<Reply, RedisFault> {
        let text = [self.flags, self.text].concat();
        let number_of_keys = keys.len().to_string();
        let head = [text.as_bytes(), number_of_keys.as_bytes()];
        let all = [&head, keys, arguments].concat();
        let [reply] = call.send([Command::new("EVAL", &all)]).await?;
        Ok(reply)
    }
}
