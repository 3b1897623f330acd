//! What commands go through: each is written behind those of others, and its caller waits for the
//! replies to it.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrayvec::ArrayVec;
use futures_util::task::AtomicWaker;
use tokio::{sync::oneshot, time::Instant};

use super::{reply::Reply, resp::write_command};
use crate::RedisFault;

/// So many replies come to one question at most: three commands, each after ASKING.
const MAX_REPLIES: usize = 6;

/// All replies to one question, in the order of its commands.
pub(super) type Replies = ArrayVec<Reply, MAX_REPLIES>;

/// A command with its arguments.
#[derive(Clone, Copy)]
pub(crate) struct Command<'a> {
    /// One or several words; it names the command in errors as well.
    pub(crate) name: &'static str,
    pub(crate) arguments: &'a [&'a [u8]],
}

impl<'a> Command<'a> {
    pub(crate) const fn new(name: &'static str, arguments: &'a [&'a [u8]]) -> Self {
        Self { name, arguments }
    }
}

/// How a question is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking {
    /// No answer is waited for any longer.
    pub(crate) until: Instant,
    /// Each command comes after ASKING: its server is taking over the key's hash slot.
    pub(crate) after_asking: bool,
}

impl Asking {
    pub(crate) fn until(until: Instant) -> Self {
        Self {
            until,
            after_asking: false,
        }
    }
}

/// One connection, for as long as it lasts. Clones share it.
///
/// The commands of a question are handed over in one step, so that nothing comes between them, and
/// what is asked while others are being sent or awaited travels with the next of them. No command is
/// written for a question whose time is over: if it is among those that wait to be written, the
/// connection ends instead.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(super) queue: Arc<Queue>,
}

/// What callers and the driver of a connection share.
#[derive(Default)]
pub(super) struct Queue {
    pending: Mutex<Pending>,
    /// The driver's: it has something to write.
    pub(super) driver: AtomicWaker,
}

/// What the driver has not taken over yet.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) commands: Vec<u8>,
    pub(super) questions: Vec<Question>,
    pub(super) is_closed: bool,
}

/// What somebody waits for.
pub(super) struct Question {
    pub(super) until: Instant,
    pub(super) missing: usize,
    pub(super) replies: Replies,
    /// `None` once it was answered, or its time was over: then the replies to come are let go.
    pub(super) asker: Option<oneshot::Sender<Result<Replies, Unanswered>>>,
}

/// Why a question got no answer.
#[derive(Debug, Clone)]
pub(super) enum Unanswered {
    Late,
    /// The connection ended, for this reason.
    Ended(Arc<str>),
}

/// Commands hold keys, which may be tokens.
impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    /// Nothing panics while it is held.
    pub(super) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// Sends `commands` at once, and waits for the reply to each.
    ///
    /// # Errors
    /// When no reply came. One that is an error is a reply.
    pub(crate) fn ask<const N: usize>(
        &self,
        asking: Asking,
        commands: [Command<'_>; N],
    ) -> impl Future<Output = Result<[Reply; N], RedisFault>> + Send + use<N> {
        const { assert!(0 < N && 2 * N <= MAX_REPLIES) };
        let command = commands[0].name;
        let asked = self.enqueue(asking, &commands);
        async move {
            let unanswered = match asked?.await {
                Ok(Ok(replies)) if asking.after_asking => return answers(told(replies), command),
                Ok(Ok(replies)) => return answers(replies.into_iter(), command),
                Ok(Err(unanswered)) => unanswered,
                Err(_) => Unanswered::Ended("it was given up".into()),
            };
            Err(match unanswered {
                Unanswered::Late => RedisFault::TimedOut { command },
                Unanswered::Ended(reason) => RedisFault::Disconnected {
                    command,
                    reason: reason.to_string(),
                },
            })
        }
    }

    fn enqueue(
        &self,
        asking: Asking,
        commands: &[Command<'_>],
    ) -> Result<oneshot::Receiver<Result<Replies, Unanswered>>, RedisFault> {
        let command = commands[0].name;
        if asking.until <= Instant::now() {
            return Err(RedisFault::TimedOut { command });
        }
        let (asker, answer) = oneshot::channel();
        {
            let mut pending = self.queue.pending();
            if pending.is_closed {
                return Err(RedisFault::NotConnected { command });
            }
            for command in commands {
                if asking.after_asking {
                    write_command(&mut pending.commands, "ASKING", &[]);
                }
                write_command(&mut pending.commands, command.name, command.arguments);
            }
            let each = if asking.after_asking { 2 } else { 1 };
            pending.questions.push(Question {
                until: asking.until,
                missing: commands.len() * each,
                replies: Replies::new(),
                asker: Some(asker),
            });
        }
        self.queue.driver.wake();
        Ok(answer)
    }
}

/// The replies to commands that came after ASKING each; where that was refused, so were they.
fn told(replies: Replies) -> impl Iterator<Item = Reply> {
    let mut replies = replies.into_iter();
    std::iter::from_fn(move || match (replies.next()?, replies.next()?) {
        (refusal @ Reply::Error(_), _) => Some(refusal),
        (_, reply) => Some(reply),
    })
}

fn answers<const N: usize>(
    replies: impl Iterator<Item = Reply>,
    command: &'static str,
) -> Result<[Reply; N], RedisFault> {
    let replies: ArrayVec<Reply, N> = replies.take(N).collect();
    let all = replies.into_inner();
    all.map_err(|_| RedisFault::Unexpected { command })
}
