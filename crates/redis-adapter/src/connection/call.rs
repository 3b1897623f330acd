//! A call: one or more requests to Redis on one connection, with a common deadline.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    batch_queue::Found,
    client::{Client, Sending},
    command::{Command, Reply},
    end_reason::End,
};
use crate::{RedisFault, error::CallError, record::Key};

/// A call in progress, which may send several requests to Redis one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    client: Arc<Client>,
    sending: Sending,
    /// `true` if the circuit breaker counts the replies and faults of this call.
    is_counted: bool,
    /// `true` if each look-up of this call is sent alone, not in a batch with look-ups of other
    /// calls.
    is_unbatched: bool,
}

impl Call {
    /// Creates a call whose replies and faults are counted by the circuit breaker.
    pub(super) fn new(client: Arc<Client>, deadline: Instant) -> Self {
        Self {
            is_counted: true,
            ..Self::uncounted(client, deadline)
        }
    }

    /// Creates a call whose replies and faults are not counted by the circuit breaker, such as a
    /// heartbeat or a handshake.
    pub(super) fn uncounted(client: Arc<Client>, deadline: Instant) -> Self {
        Self {
            client,
            sending: Sending::until(deadline),
            is_counted: false,
            is_unbatched: false,
        }
    }

    /// If `after_asking` is `true`, makes this call send `ASKING` before each command. A cluster
    /// server that is importing the hash slot of a key accepts commands for that key only after
    /// `ASKING`.
    pub(crate) fn after_asking(mut self, after_asking: bool) -> Self {
        self.sending.after_asking = after_asking;
        self
    }

    /// Makes this call send each look-up alone, not in a batch. The look-ups of this call are then
    /// sent in the order in which they are made.
    pub(crate) fn unbatched(mut self) -> Self {
        self.is_unbatched = true;
        self
    }

    /// Makes requests of this call wait while the client is still connecting. Without this option,
    /// requests fail at once if the client is not connected.
    pub(super) fn waiting_for_connection(mut self) -> Self {
        self.sending.fails_fast = false;
        self
    }

    /// Replaces the deadline of this call by `deadline`.
    pub(crate) fn until(mut self, deadline: Instant) -> Self {
        self.sending.deadline = deadline;
        self
    }

    /// Sends `commands` in order and waits for all replies. In a cluster, no command of another
    /// request is sent between these commands on the same connection.
    ///
    /// # Errors
    /// Fails if Redis does not reply to all commands before the deadline. An error reply of Redis
    /// counts as a reply and is returned in the array.
    pub(crate) async fn send<const N: usize>(
        &self,
        commands: [Command<'_>; N],
    ) -> Result<[Reply; N], RedisFault> {
        let replied = self.client.send(self.sending, commands).await;
        if self.is_counted {
            match &replied {
                Ok(replies) => self.client.note_replies(replies),
                Err(fault) => self.client.note_fault(fault),
            }
        }
        replied
    }

    /// Loads the value of `key` (`GET`). Returns `None` if the key does not exist. If `ttl` (in
    /// seconds) is given, also renews the TTL of the key (`EXPIRE XX`).
    ///
    /// # Errors
    /// - Redis does not reply before the deadline.
    /// - Redis replies with an error.
    /// - The reply has an unexpected type or is too long.
    pub(crate) async fn look_up(
        &self,
        key: &Key,
        ttl: Option<i64>,
    ) -> Result<Option<Found>, RedisFault> {
        if self.sending.after_asking {
            return Box::pin(self.look_up_after_asking(key, ttl)).await;
        }
        if self.is_unbatched {
            return Box::pin(self.client.look_up_unbatched(self.sending, key, ttl)).await;
        }
        self.client.look_up(self.sending, key, ttl).await
    }

    async fn look_up_after_asking(
        &self,
        key: &Key,
        ttl: Option<i64>,
    ) -> Result<Option<Found>, RedisFault> {
        let key = [key.as_bytes()];
        let get = Command::new("GET", &key);
        let Some(ttl) = ttl else {
            let [value] = self.send([get]).await?;
            let value = value.bulk("GET")?;
            let has_expiry = true;
            return Ok(value.map(|value| Found { value, has_expiry }));
        };
        let ttl = ttl.to_string();
        let arguments = [key[0], ttl.as_bytes(), b"XX"];
        let [value, touched] = self.send([get, Command::new("EXPIRE", &arguments)]).await?;
        let (value, touched) = (value.bulk("GET")?, touched.integer("EXPIRE")?);
        let has_expiry = touched > 0;
        Ok(value.map(|value| Found { value, has_expiry }))
    }

    /// Checks `outcome` for signs that replies no longer match their requests. If the reply has an
    /// unexpected type, the connection is ended. If the session record is corrupt, a heartbeat is
    /// sent. The reply to the heartbeat shows whether replies still match their requests.
    pub(crate) fn note<T>(&self, outcome: &Result<T, CallError>) {
        match outcome {
            Err(CallError::Redis(RedisFault::Unexpected { .. })) => {
                self.client.end_request.report(End::OutOfStep);
            }
            Err(error) if error.is_corrupt() => self.client.heartbeat_requested.notify_one(),
            _ => {}
        }
    }
}
