//! Scripts: what Redis does in one step.

use crate::{
    RedisFault,
    connection::{Call, Command, Reply},
};

/// A script. A server that has become a replica refuses it, whatever it finds: its stale data is no
/// answer.
#[derive(Clone, Copy)]
pub(super) struct Script {
    flags: &'static str,
    text: &'static str,
}

impl Script {
    /// It is refused by a Redis that is out of memory.
    pub(super) const fn writing(text: &'static str) -> Self {
        Self {
            flags: "#!lua\n",
            text,
        }
    }

    /// It writes little, or makes room: being out of memory is no reason to refuse it.
    pub(super) const fn freeing(text: &'static str) -> Self {
        Self {
            flags: "#!lua flags=allow-oom\n",
            text,
        }
    }

    /// `EVAL script numkeys key... argument...`
    pub(super) async fn run(
        self,
        call: &Call,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> Result<Reply, RedisFault> {
        let text = [self.flags, self.text].concat();
        let number_of_keys = super::commands::decimal(keys.len());
        let head = [text.as_bytes(), number_of_keys.as_bytes()];
        let all = [&head, keys, arguments].concat();
        let [reply] = call.send([Command::new("EVAL", &all)]).await?;
        Ok(reply)
    }
}
