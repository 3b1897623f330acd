//! A call in progress: the connection that it goes through, and how long it may take.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    batch::Found,
    client::{Client, Sending},
    command::{Command, Reply},
    supervisor::End,
};
use crate::{RedisFault, error::CallError, record::Key};

/// A call in progress. It may send several requests, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    client: Arc<Client>,
    sending: Sending,
    /// Its outcomes count for the circuit breaker.
    is_counted: bool,
    /// Its look-ups do not travel with those of others.
    is_alone: bool,
}

impl Call {
    /// Returns a call of the service's callers.
    pub(super) fn new(client: Arc<Client>, deadline: Instant) -> Self {
        Self {
            is_counted: true,
            ..Self::uncounted(client, deadline)
        }
    }

    /// Returns a call of which the circuit breaker learns nothing: one that watches the connection.
    pub(super) fn uncounted(client: Arc<Client>, deadline: Instant) -> Self {
        Self {
            client,
            sending: Sending::until(deadline),
            is_counted: false,
            is_alone: false,
        }
    }

    /// Returns the same call, to a server that is taking over the key's hash slot.
    pub(crate) fn after_asking(mut self, after_asking: bool) -> Self {
        self.sending.after_asking = after_asking;
        self
    }

    /// Returns the same call, whose look-ups are sent in the order in which they are made.
    pub(crate) fn alone(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Returns the same call, which may wait until the client is connected.
    pub(super) fn patient(mut self) -> Self {
        self.sending.fails_fast = false;
        self
    }

    /// Returns the same call with more time, or less.
    pub(crate) fn until(mut self, deadline: Instant) -> Self {
        self.sending.deadline = deadline;
        self
    }

    /// Sends `commands` in order, in a cluster with nothing in between, and waits for the reply to each.
    ///
    /// # Errors
    /// If no reply came. An error that Redis replies with is a reply.
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

    /// Looks `key` up, and renews its time to live if there is one, in seconds (`GET`, `EXPIRE XX`).
    ///
    /// # Errors
    /// If there is no reply, or it is an error or no value.
    pub(crate) async fn look_up(
        &self,
        key: &Key,
        ttl: Option<i64>,
    ) -> Result<Option<Found>, RedisFault> {
        if self.sending.after_asking {
            return Box::pin(self.look_up_after_asking(key, ttl)).await;
        }
        if self.is_alone {
            return Box::pin(self.client.look_up_alone(self.sending, key, ttl)).await;
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

    /// Notes what the outcome of the whole call says of its connection.
    pub(crate) fn note<T>(&self, outcome: &Result<T, CallError>) {
        match outcome {
            Err(CallError::Redis(RedisFault::Unexpected { .. })) => {
                self.client.trouble.report(End::OutOfStep);
            }
            Err(error) if error.is_corrupt() => self.client.doubt.notify_one(),
            _ => {}
        }
    }
}

impl Client {
    /// Notes that Redis replied.
    pub(super) fn note_replies<'a>(&self, replies: impl IntoIterator<Item = &'a Reply>) {
        self.breaker.note_answer();
        for reply in replies {
            self.trouble.check(reply);
        }
    }

    /// Notes that Redis did not reply.
    pub(super) fn note_fault(&self, fault: &RedisFault) {
        match fault {
            // It says nothing of the connection that has taken its place.
            _ if self.ended.is_set() => {}
            RedisFault::TimedOut { .. } | RedisFault::Disconnected { .. } => {
                self.breaker.note_silence();
            }
            RedisFault::Unexpected { .. } => self.trouble.report(End::OutOfStep),
            // It was not sent.
            _ => {}
        }
    }
}
