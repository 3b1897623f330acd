//! Batching of look-ups. A look-up loads the value of one Redis key, and may renew the TTL of the
//! key.
//!
//! If a look-up is in progress, further look-ups that arrive in the same iteration of the event
//! loop are sent to Redis as one command. The client library fred has a fixed cost for each
//! command. One command for 15 keys has this cost once instead of 15 times.
//!
//! If no look-up is in progress, the next look-up is sent at once, without a batch, in the future
//! of its caller. There is one exception. If the latest batch had several look-ups, further
//! look-ups are likely, so the next look-up waits for a batch.
//!
//! Each batch is sent by a separate task. Cancelling one caller therefore does not affect the other
//! callers in the batch.

use std::{
    mem,
    sync::{Arc, Once, atomic::Ordering},
};

use bytes::{BufMut, Bytes, BytesMut};
use fred::types::Value;
use futures_util::future::join_all;
use tokio::{sync::oneshot, task::yield_now, time::Instant};

use super::{
    batch_queue::{Answer, BatchQueue, Found, InFlight, Waiter},
    client::{Client, Sending},
    command::{MAX_VALUE_LEN, PROBE_NAME, Reply},
    end_reason::End,
    fred_error::ENDED,
};
use crate::{RedisFault, record::Key};

/// Maximum number of keys in one command.
///
/// A command with more keys would block the other clients of Redis for a longer time. In addition,
/// a longer reply arrives in more parts, and the client library fred parses the reply again from
/// the start after each part.
const MAX_BATCH: usize = 64;

/// Number of header items. A header item is at the start of the reply to a batch, and belongs to no
/// look-up.
///
/// In the reply to `EVAL`, the header item is the number of keys. In the reply to `MGET`, the
/// header item is null, because the first requested key is the probe key, which never exists.
///
/// Without the header item, the first item could be a session value with the text `message`. The
/// client library fred would then treat the whole reply as a pub/sub message.
const HEADER_ITEMS: usize = 1;

/// Lua script that loads the value of each key. If the value is a string of at most 1 MiB and the
/// key has a TTL, the script also renews the TTL. The script returns a list. The first item is the
/// number of keys. For each key, one further item follows:
///
/// - the value, if the key has a TTL;
/// - a list that contains only the value, if the key has no TTL;
/// - null, if the key does not exist;
/// - the error of `GET`, if the key is not a string (`pcall` lets the script continue);
/// - the error `TOOLONG` with the length, if the value is longer than 1 MiB.
///
/// Because of the `#!lua` header, a replica rejects the script before it runs, even if the script
/// would write nothing. The stale data of a replica is therefore never returned. The flag
/// `allow-oom` lets the script run even when the memory of Redis is full.
const TOUCH_SCRIPT: &str = "\
#!lua flags=allow-oom
local found = {#KEYS}
for i, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if value and not value.err then
    if #value > 1048576 then
      value = redis.error_reply('TOOLONG ' .. #value)
    elseif redis.call('EXPIRE', key, ARGV[1], 'XX') == 0 then
      value = {value}
    end
  end
  found[i + 1] = value
end
return found";

/// Way in which a look-up is sent to Redis: alone or in a batch.
enum Route<'a> {
    /// The look-up is sent at once, without a batch. While the optional [`InFlight`] guard exists,
    /// other look-ups of the same queue wait for a batch.
    Unbatched(Option<InFlight<'a>>),
    /// The look-up waits in a queue for the next batch. The receiver gets the result.
    Batched(oneshot::Receiver<Answer>),
}

impl Client {
    /// Loads the value of `key`. Returns `None` if the key does not exist. If `ttl` (in seconds) is
    /// given, also renews the TTL of the key.
    ///
    /// Look-ups with a `ttl` and look-ups without a `ttl` have separate queues. If another look-up
    /// of the same queue is in progress, this look-up is sent in a batch.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        sending: Sending,
        key: &Key,
        ttl: Option<i64>,
    ) -> Answer {
        let route = match &self.batch_queues {
            Some(queues) => self.choose_route(queues.of(ttl), sending.deadline, key, ttl),
            None => Route::Unbatched(None),
        };
        match route {
            Route::Unbatched(_in_flight) => {
                Box::pin(self.look_up_unbatched(sending, key, ttl)).await
            }
            Route::Batched(answer) => {
                // If the tokio runtime of the connection has shut down, the sender is dropped
                // without a result.
                let answer = self.until_ended("GET", answer).await?;
                answer.unwrap_or_else(|_| {
                    Err(RedisFault::Disconnected {
                        command: "GET",
                        reason: ENDED.to_owned(),
                    })
                })
            }
        }
    }

    fn choose_route<'a>(
        self: &Arc<Self>,
        queue: &'a BatchQueue,
        deadline: Instant,
        key: &Key,
        ttl: Option<i64>,
    ) -> Route<'a> {
        if queue.is_refused.load(Ordering::Relaxed) {
            return Route::Unbatched(None);
        }
        let mut state = queue.state();
        if !state.is_busy && state.in_flight == 0 && !state.is_scheduled {
            return Route::Unbatched(Some(InFlight::of(queue, &mut state)));
        }
        // A batch renews the TTL of all its keys to the same value. A look-up with another TTL is
        // therefore sent alone.
        if !state.waiting.is_empty() && state.ttl != ttl {
            return Route::Unbatched(None);
        }
        let (answer, answered) = oneshot::channel();
        state.ttl = ttl;
        state.waiting.push(Waiter {
            key: *key,
            deadline,
            answer,
        });
        if !mem::replace(&mut state.is_scheduled, true) {
            self.runtime.spawn(flush(Arc::clone(self), ttl));
        }
        Route::Batched(answered)
    }

    /// Loads the value of `key` with a separate `GET`, without a batch. Returns `None` if the key
    /// does not exist. If `ttl` (in seconds) is given, also renews the TTL of the key with
    /// `EXPIRE`.
    pub(super) async fn look_up_unbatched(
        &self,
        sending: Sending,
        key: &Key,
        ttl: Option<i64>,
    ) -> Answer {
        let replied = self.get(sending, key, ttl).await;
        match &replied {
            Ok((found, touched)) => self.note_replies([found].into_iter().chain(touched)),
            Err(fault) => self.note_fault(fault),
        }
        let (found, touched) = replied?;
        let found = found.bulk("GET")?;
        let touched = touched.map(|touched| touched.integer("EXPIRE"));
        let has_expiry = touched.transpose()?.is_none_or(|touched| touched > 0);
        Ok(found.map(|value| Found { value, has_expiry }))
    }

    /// Sends one command that loads the keys of all look-ups in `waiting`. The reply contains one
    /// item for each key, and each look-up gets the item of its key. If Redis rejects the command,
    /// sends each look-up separately.
    async fn look_up_batch(&self, queue: &BatchQueue, ttl: Option<i64>, waiting: Vec<Waiter>) {
        let _in_flight = InFlight::of(queue, &mut queue.state());
        if waiting.len() == 1 {
            return self.look_up_separately(ttl, waiting).await;
        }
        let (name, arguments) = batch(ttl, &waiting);
        // The deadline of the batch is the latest deadline of its look-ups. With an earlier
        // deadline, one look-up with little time left would make the other look-ups time out.
        let deadlines = waiting.iter().map(|waiter| waiter.deadline);
        let sending = Sending::until(deadlines.max().unwrap_or_else(Instant::now));
        let fault = match self.send_raw(sending, name, arguments).await {
            // A valid reply has the header item, then one item for each key in the order of the
            // keys. The items of any other reply cannot be assigned to keys.
            Ok(Reply::List(items)) if is_batch_reply(&items, ttl, waiting.len()) => {
                self.note_replies(&items);
                for (waiter, item) in waiting
                    .into_iter()
                    .zip(items.into_iter().skip(HEADER_ITEMS))
                {
                    let _ = waiter.answer.send(answer_from_item(item));
                }
                return;
            }
            Ok(Reply::Error(text)) if is_refusal(&text) => {
                queue.is_refused.store(true, Ordering::Relaxed);
                warn_of_refusal(name);
                return self.look_up_separately(ttl, waiting).await;
            }
            Ok(refused @ Reply::Error(_)) => {
                self.note_replies([&refused]);
                let Err(fault) = refused.integer(name) else {
                    return;
                };
                fault
            }
            Ok(_) => {
                self.end_request.report(End::OutOfStep);
                RedisFault::Unexpected { command: name }
            }
            Err(fault) => {
                // The circuit breaker counts one fault for the whole batch, because a batch is one
                // command.
                self.note_fault(&fault);
                fault
            }
        };
        for waiter in waiting {
            let _ = waiter.answer.send(Err(fault.clone()));
        }
    }

    /// Sends each look-up in `waiting` separately, without a batch.
    async fn look_up_separately(&self, ttl: Option<i64>, waiting: Vec<Waiter>) {
        let each = waiting.into_iter().map(|waiter| async move {
            let sending = Sending::until(waiter.deadline);
            let answer = Box::pin(self.look_up_unbatched(sending, &waiter.key, ttl)).await;
            let _ = waiter.answer.send(answer);
        });
        join_all(each).await;
    }
}

/// Sends the queued look-ups. First yields once, so that all tasks that the event loop woke in the
/// same iteration can add their look-ups to the queue.
async fn flush(client: Arc<Client>, ttl: Option<i64>) {
    // After this task has yielded, tokio polls for I/O events and runs the tasks that those events
    // woke. Only then does tokio run this task again.
    yield_now().await;
    let Some(queues) = &client.batch_queues else {
        return;
    };
    let queue = queues.of(ttl);
    let (mut waiting, ttl) = {
        let mut state = queue.state();
        state.is_scheduled = false;
        state.is_busy = state.waiting.len() > 1;
        (mem::take(&mut state.waiting), state.ttl)
    };
    // A look-up whose caller was cancelled or whose deadline has passed is not sent.
    let now = Instant::now();
    for waiter in waiting.extract_if(.., |waiter| {
        waiter.answer.is_closed() || waiter.deadline <= now
    }) {
        let _ = waiter
            .answer
            .send(Err(RedisFault::TimedOut { command: "GET" }));
    }
    while waiting.len() > MAX_BATCH {
        let rest = waiting.split_off(MAX_BATCH);
        let batch = mem::replace(&mut waiting, rest);
        tokio::spawn(send(Arc::clone(&client), ttl, batch));
    }
    if !waiting.is_empty() {
        send(client, ttl, waiting).await;
    }
}

/// Sends the look-ups in `waiting` as one batch. Runs in a background task, not in the future of a
/// caller.
async fn send(client: Arc<Client>, ttl: Option<i64>, waiting: Vec<Waiter>) {
    if let Some(queues) = &client.batch_queues {
        client.look_up_batch(queues.of(ttl), ttl, waiting).await;
    }
}

/// Returns `true` if `items` has the form of a reply to a batch of `count` keys. With a `ttl`, the
/// batch is an `EVAL` command, and without a `ttl` it is an `MGET` command.
fn is_batch_reply(items: &[Reply], ttl: Option<i64>, count: usize) -> bool {
    let is_counted = match (items.first(), ttl) {
        (Some(Reply::Integer(number)), Some(_)) => usize::try_from(*number) == Ok(count),
        (Some(head), None) => !matches!(head, Reply::Integer(_)),
        _ => false,
    };
    is_counted && items.len() == HEADER_ITEMS + count
}

/// Returns the name and the arguments of the command that loads all keys of `waiting`. The command
/// is `EVAL` with [`TOUCH_SCRIPT`] if `ttl` is given, otherwise `MGET`.
fn batch(ttl: Option<i64>, waiting: &[Waiter]) -> (&'static str, Vec<Value>) {
    let mut arguments = Vec::with_capacity(waiting.len() + 3);
    if ttl.is_some() {
        let keys = i64::try_from(waiting.len()).unwrap_or(i64::MAX);
        arguments.extend([Value::from_static_str(TOUCH_SCRIPT), Value::Integer(keys)]);
    } else {
        let probe = Key::named(PROBE_NAME);
        arguments.push(Value::Bytes(Bytes::copy_from_slice(probe.as_bytes())));
    }
    // All keys are copied into one allocation.
    let length = waiting.iter().map(|waiter| waiter.key.as_bytes().len());
    let mut keys = BytesMut::with_capacity(length.sum());
    for waiter in waiting {
        keys.put_slice(waiter.key.as_bytes());
        arguments.push(Value::Bytes(keys.split().freeze()));
    }
    arguments.extend(ttl.map(Value::Integer));
    let name = if ttl.is_some() { "EVAL" } else { "MGET" };
    (name, arguments)
}

/// Converts one item of a batch reply, which belongs to one key, to the result of the look-up.
fn answer_from_item(item: Reply) -> Answer {
    match item {
        Reply::List(mut wrapped) if wrapped.len() == 1 => {
            let value = wrapped.pop().unwrap_or(Reply::Other).bulk("GET")?;
            let has_expiry = false;
            Ok(value.map(|value| Found { value, has_expiry }))
        }
        Reply::Error(text) if text.starts_with(b"TOOLONG ") => {
            let length = std::str::from_utf8(&text[8..]).ok();
            let length = length.and_then(|length| length.parse().ok());
            Err(RedisFault::TooLong {
                command: "GET",
                length: length.unwrap_or(MAX_VALUE_LEN),
            })
        }
        item => {
            let value = item.bulk("GET")?;
            let has_expiry = true;
            Ok(value.map(|value| Found { value, has_expiry }))
        }
    }
}

/// Returns `true` if `error` means that Redis rejects the batch command itself (`MGET` or `EVAL`).
/// Redis replies with `NOPERM` if the Redis user lacks the permission, and with `ERR` if the server
/// does not know the command.
///
/// Redis also replies with `ERR` for other reasons. This function returns `true` for them too. The
/// look-ups are then sent one by one, and their replies show the real reason.
fn is_refusal(error: &[u8]) -> bool {
    error.starts_with(b"NOPERM ") || error.starts_with(b"ERR ")
}

fn warn_of_refusal(command: &'static str) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            command,
            "Redis rejects the command that loads several sessions at once, so each session is \
             loaded separately, at a higher cost: allow MGET and EVAL for the Redis user of the \
             service (check-config --connect shows the ACL rules)"
        );
    });
}
