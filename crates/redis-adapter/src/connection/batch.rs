//! Coalescing of look-ups: those that arrive in the same turn of the event loop travel to Redis as one
//! command.
//!
//! The cost of fred is a cost per command, so one command for 15 keys spares 14 times that cost. While
//! look-ups come one by one they do not wait for others: each goes as native commands, in its caller's
//! own future. Each batch has a task of its own, so a caller that goes away takes nobody else with it.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{BufMut, Bytes, BytesMut};
use fred::types::Value;
use futures_util::future::join_all;
use tokio::{sync::oneshot, task::yield_now, time::Instant};

use super::{
    client::{Client, ENDED, Sending},
    command::{MAX_VALUE_LEN, Reply},
    handshake::PROBE_NAME,
    supervisor::End,
};
use crate::{RedisFault, record::Key};

/// Largest number of keys in one command. Redis answers nobody else meanwhile, and fred parses a long
/// list again from its start for each piece that arrives.
const MAX_BATCH: usize = 64;

/// Number of items before those of the keys: the number of keys, or null for a key where nothing is ever
/// stored. fred takes a list that begins with certain texts, such as `message`, for a message of pub/sub.
const HEAD: usize = 1;

/// Reads each key and renews its time to live. The number of keys comes first.
///
/// `pcall`: a key of another type is an error of its own, and its time to live is left alone. A value
/// without an expiry is left alone as well, and comes in a list. With `#!lua` a replica refuses the
/// script whatever it would find; a full memory is no obstacle.
const TOUCH: &str = "\
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

/// A value that a look-up found.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) value: Bytes,
    /// `false`: the time to live was to be renewed, and the key has none.
    pub(crate) has_expiry: bool,
}

/// How a look-up travels.
enum Turn<'a> {
    /// By itself. Others gather while it is on its way, if it counts as a flight.
    Alone(Option<Flight<'a>>),
    /// With the others that gather.
    Together(oneshot::Receiver<Answer>),
}

type Answer = Result<Option<Found>, RedisFault>;

/// The queues of one client.
#[derive(Default)]
pub(super) struct Lanes {
    read: Lane,
    touch: Lane,
}

#[derive(Default)]
struct Lane {
    queue: Mutex<Queue>,
    /// The user may not use the command of a batch on this connection.
    is_refused: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiter>,
    /// Of all that wait, in seconds. `None` in the lane that only reads.
    ttl: Option<i64>,
    is_scheduled: bool,
    in_flight: usize,
    /// Look-ups have come together lately, so the first of a turn waits for the others.
    is_busy: bool,
}

struct Waiter {
    key: Key,
    deadline: Instant,
    answer: oneshot::Sender<Answer>,
}

impl Lanes {
    fn of(&self, ttl: Option<i64>) -> &Lane {
        match ttl {
            Some(_) => &self.touch,
            None => &self.read,
        }
    }
}

impl Lane {
    /// Nothing panics while it is held, and nothing is awaited.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something of a lane that is on its way, until it is dropped.
struct Flight<'a>(&'a Lane);

impl<'a> Flight<'a> {
    fn of(lane: &'a Lane, queue: &mut Queue) -> Self {
        queue.in_flight += 1;
        Self(lane)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.queue().in_flight -= 1;
    }
}

impl Client {
    /// Looks `key` up, and renews its time to live if there is one, in seconds: together with other
    /// look-ups of the same kind, if there are any now.
    pub(super) async fn look_up(
        self: &Arc<Self>,
        sending: Sending,
        key: &Key,
        ttl: Option<i64>,
    ) -> Answer {
        let turn = match &self.lanes {
            Some(lanes) => self.take_turn(lanes.of(ttl), sending.deadline, key, ttl),
            None => Turn::Alone(None),
        };
        match turn {
            Turn::Alone(_flight) => Box::pin(self.look_up_alone(sending, key, ttl)).await,
            Turn::Together(answer) => {
                // Nobody sends the batch any more if the connection's runtime has ended.
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

    fn take_turn<'a>(
        self: &Arc<Self>,
        lane: &'a Lane,
        deadline: Instant,
        key: &Key,
        ttl: Option<i64>,
    ) -> Turn<'a> {
        if lane.is_refused.load(Ordering::Relaxed) {
            return Turn::Alone(None);
        }
        let mut queue = lane.queue();
        if !queue.is_busy && queue.in_flight == 0 && !queue.is_scheduled {
            return Turn::Alone(Some(Flight::of(lane, &mut queue)));
        }
        // One command renews all its keys by the same time.
        if !queue.waiting.is_empty() && queue.ttl != ttl {
            return Turn::Alone(None);
        }
        let (answer, answered) = oneshot::channel();
        queue.ttl = ttl;
        queue.waiting.push(Waiter {
            key: *key,
            deadline,
            answer,
        });
        if !mem::replace(&mut queue.is_scheduled, true) {
            self.runtime.spawn(flush(Arc::clone(self), ttl));
        }
        Turn::Together(answered)
    }

    /// Looks `key` up by native commands of its own.
    pub(super) async fn look_up_alone(
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

    /// Sends one command for all `waiting`, and gives each of them its own part of the reply.
    async fn look_up_together(&self, lane: &Lane, ttl: Option<i64>, waiting: Vec<Waiter>) {
        let _flight = Flight::of(lane, &mut lane.queue());
        if waiting.len() == 1 {
            return self.look_up_each(ttl, waiting).await;
        }
        let (name, arguments) = batch(ttl, &waiting);
        // One that has waited before must not cut the time of the others short.
        let deadlines = waiting.iter().map(|waiter| waiter.deadline);
        let sending = Sending::until(deadlines.max().unwrap_or_else(Instant::now));
        let fault = match self.send_raw(sending, name, arguments).await {
            // The head, and one item for each key in the order of the keys. Otherwise no item is anybody's.
            Ok(Reply::List(items)) if fits(&items, ttl, waiting.len()) => {
                self.note_replies(&items);
                for (waiter, item) in waiting.into_iter().zip(items.into_iter().skip(HEAD)) {
                    let _ = waiter.answer.send(found_in(item));
                }
                return;
            }
            Ok(Reply::Error(text)) if is_refusal(&text) => {
                lane.is_refused.store(true, Ordering::Relaxed);
                warn_of_refusal(name);
                return self.look_up_each(ttl, waiting).await;
            }
            Ok(refused @ Reply::Error(_)) => {
                self.note_replies([&refused]);
                let Err(fault) = refused.integer(name) else {
                    return;
                };
                fault
            }
            Ok(_) => {
                self.trouble.report(End::OutOfStep);
                RedisFault::Unexpected { command: name }
            }
            Err(fault) => {
                // Once, for all of them: it is one command.
                self.note_fault(&fault);
                fault
            }
        };
        for waiter in waiting {
            let _ = waiter.answer.send(Err(fault.clone()));
        }
    }

    /// Looks up the keys of all `waiting` by native commands of their own.
    async fn look_up_each(&self, ttl: Option<i64>, waiting: Vec<Waiter>) {
        let each = waiting.into_iter().map(|waiter| async move {
            let sending = Sending::until(waiter.deadline);
            let answer = Box::pin(self.look_up_alone(sending, &waiter.key, ttl)).await;
            let _ = waiter.answer.send(answer);
        });
        join_all(each).await;
    }
}

/// Sends what waits in a lane, after everybody who was woken in this turn has had the time to join.
async fn flush(client: Arc<Client>, ttl: Option<i64>) {
    // tokio polls a task that yields after it has looked for events, and after the tasks that those
    // woke.
    yield_now().await;
    let Some(lanes) = &client.lanes else {
        return;
    };
    let lane = lanes.of(ttl);
    let (mut waiting, ttl) = {
        let mut queue = lane.queue();
        queue.is_scheduled = false;
        queue.is_busy = queue.waiting.len() > 1;
        (mem::take(&mut queue.waiting), queue.ttl)
    };
    // Nobody waits for these any more, or not for long enough.
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

/// Sends one batch, in a task of its own.
async fn send(client: Arc<Client>, ttl: Option<i64>, waiting: Vec<Waiter>) {
    if let Some(lanes) = &client.lanes {
        client.look_up_together(lanes.of(ttl), ttl, waiting).await;
    }
}

/// Returns `true` if a reply is one to a batch of `count` keys.
fn fits(items: &[Reply], ttl: Option<i64>, count: usize) -> bool {
    let is_counted = match (items.first(), ttl) {
        (Some(Reply::Integer(number)), Some(_)) => usize::try_from(*number) == Ok(count),
        (Some(head), None) => !matches!(head, Reply::Integer(_)),
        _ => false,
    };
    is_counted && items.len() == HEAD + count
}

/// Returns the command for all keys: `MGET`, or the script that renews their time to live as well.
fn batch(ttl: Option<i64>, waiting: &[Waiter]) -> (&'static str, Vec<Value>) {
    let mut arguments = Vec::with_capacity(waiting.len() + 3);
    if ttl.is_some() {
        let keys = i64::try_from(waiting.len()).unwrap_or(i64::MAX);
        arguments.extend([Value::from_static_str(TOUCH), Value::Integer(keys)]);
    } else {
        let probe = Key::named(PROBE_NAME);
        arguments.push(Value::Bytes(Bytes::copy_from_slice(probe.as_bytes())));
    }
    // All keys are parts of one allocation.
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

/// Reads the part of one key in the reply to a batch.
fn found_in(item: Reply) -> Answer {
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

/// Returns `true` if the command of a batch is of no use here: the user may not use it, or this server
/// does not know it. An error with another cause is met by native commands as well, and each of them then
/// reports its own.
fn is_refusal(error: &[u8]) -> bool {
    error.starts_with(b"NOPERM ") || error.starts_with(b"ERR ")
}

fn warn_of_refusal(command: &'static str) {
    static WARNED: Once = Once::new();
    WARNED.call_once(|| {
        tracing::warn!(
            command,
            "Redis refuses the command that reads several sessions at once, so that each is read on \
             its own, which costs more: allow MGET and EVAL to the user of the service \
             (check-config --connect shows the rules)"
        );
    });
}
