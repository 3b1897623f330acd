//! One fred client: it makes one attempt to connect, and has one life.
//!
//! fred's own reconnection stays off: it holds commands back and sends them again, reports "connected"
//! during its first pause, and can end without a sign. With reconnection off, the client's task ends as
//! soon as its connection does, commands in flight fail at once, and the supervisor makes a new client.

use std::{
    fmt,
    future::poll_fn,
    mem,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
};

use arrayvec::ArrayVec;
use fred::{
    clients::WithOptions,
    error::{Error as FredError, ErrorKind},
    interfaces::{ClientLike, KeysInterface},
    types::{
        ClusterHash, ConnectHandle, CustomCommand, ExpireOptions, Key as FredKey, Value,
        config::Options,
    },
};
use futures_util::future::{join, join_all};
use tokio::{runtime::Handle, sync::Notify, time::Instant};

use super::{
    batch::Lanes,
    breaker::Breaker,
    command::{Command, Reply},
    ended::Ended,
    options::{self, Target},
    trouble::Trouble,
};
use crate::{RedisFault, RedisSettings, credentials::Login, record::Key};

/// Reason of what fails with its connection.
pub(super) const ENDED: &str = "the connection ended";

/// Largest number of replies to one request: three commands, each after ASKING.
const MAX_REPLIES: usize = 6;

/// One connection, for as long as it lasts.
pub(crate) struct Client {
    fred: fred::clients::Client,
    pub(super) runtime: Handle,
    /// Held while a request hands its commands over, where one from another thread in between would
    /// be wrong: behind the ASKING of a cluster.
    order: Option<Mutex<()>>,
    /// `None` in a cluster, where the keys of a batch would belong to different hash slots.
    pub(super) lanes: Option<Lanes>,
    pub(super) breaker: Arc<Breaker>,
    /// A reply arrived that may belong to another request.
    pub(super) doubt: Notify,
    pub(super) trouble: Trouble,
    pub(super) ended: Ended,
}

/// The task of fred that drives a client. It owns the socket and the commands in flight: all of them
/// end when this value is dropped.
pub(super) struct ClientTask {
    pub(super) fred: ConnectHandle,
    client: Arc<Client>,
}

impl Drop for ClientTask {
    fn drop(&mut self) {
        self.fred.abort();
        self.client.ended.set();
    }
}

/// How a request is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    /// The request fails at this time if there is no reply by then.
    pub(super) deadline: Instant,
    /// Sends ASKING before each command: the server is taking over the key's hash slot.
    pub(super) after_asking: bool,
    /// Fails at once if the client is not connected, instead of waiting for the connection.
    pub(super) fails_fast: bool,
}

impl Sending {
    /// Returns the usual way: at once, or not at all.
    pub(super) fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            after_asking: false,
            fails_fast: true,
        }
    }
}

impl Client {
    /// Makes a client and starts its only attempt to connect, on the current tokio runtime.
    ///
    /// # Errors
    /// If fred does not accept the configuration.
    pub(super) fn start(
        settings: &RedisSettings,
        login: Option<Login>,
        target: Target<'_>,
        is_feed: bool,
        breaker: Arc<Breaker>,
    ) -> Result<(Arc<Self>, ClientTask), RedisFault> {
        let builder = options::builder(settings, login, target, is_feed);
        let fred = builder.build().map_err(|error| fault("connect", &error))?;
        let task = fred.connect();
        let client = Arc::new(Self {
            fred,
            runtime: Handle::current(),
            order: settings.is_cluster_node.then(Mutex::default),
            lanes: (!settings.is_cluster_node).then(Lanes::default),
            breaker,
            doubt: Notify::new(),
            trouble: Trouble::default(),
            ended: Ended::default(),
        });
        let task = ClientTask {
            fred: task,
            client: Arc::clone(&client),
        };
        Ok((client, task))
    }

    /// Sends `commands` in order, in a cluster with nothing in between, and waits for the reply to each.
    pub(super) async fn send<const N: usize>(
        &self,
        sending: Sending,
        commands: [Command<'_>; N],
    ) -> Result<[Reply; N], RedisFault> {
        const { assert!(0 < N && 2 * N <= MAX_REPLIES) };
        let name = commands[0].name;
        let fred = self.with_deadline(name, sending)?;
        let mut requests = ArrayVec::<_, MAX_REPLIES>::new();
        for command in commands {
            if sending.after_asking {
                requests.push(Box::pin(custom(&fred, Command::new("ASKING", &[]))));
            }
            requests.push(Box::pin(custom(&fred, command)));
        }
        let replies = self.until_ended(name, join_all(requests)).await?;
        let mut replies = replies.into_iter();
        let mut next = || {
            let missing = || Err(RedisFault::Unexpected { command: name });
            if sending.after_asking {
                // If ASKING was refused, so was the command.
                if let refused @ (Err(_) | Ok(Reply::Error(_))) =
                    replies.next().unwrap_or_else(missing)
                {
                    replies.next();
                    return refused;
                }
            }
            replies.next().unwrap_or_else(missing)
        };
        let replies: ArrayVec<Reply, N> = (0..N).map(|_| next()).collect::<Result<_, _>>()?;
        let replies = replies.into_inner();
        replies.map_err(|_| RedisFault::Unexpected { command: name })
    }

    /// Sends `GET key`, and `EXPIRE key ttl XX` with it if there is a time to live, in seconds.
    ///
    /// These are native commands of fred: it writes them to the socket together, where it would write
    /// each custom command on its own.
    pub(super) async fn get(
        &self,
        sending: Sending,
        key: &Key,
        ttl: Option<i64>,
    ) -> Result<(Reply, Option<Reply>), RedisFault> {
        let fred = self.with_deadline("GET", sending)?;
        let key = FredKey::from(key.as_bytes());
        // Boxed: the futures of fred take almost 7 KB each.
        let get = Box::pin(fred.get::<Value, _>(key.clone()));
        let Some(ttl) = ttl else {
            let found = self.until_ended("GET", get).await?;
            return Ok((native_reply("GET", found)?, None));
        };
        let expire = Box::pin(fred.expire::<Value, _>(key, ttl, Some(ExpireOptions::XX)));
        let (found, touched) = self.until_ended("GET", join(get, expire)).await?;
        let found = native_reply("GET", found)?;
        Ok((found, Some(native_reply("EXPIRE", touched)?)))
    }

    /// Sends one command whose bytes are already at hand, without copying them.
    pub(super) async fn send_raw(
        &self,
        sending: Sending,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Reply, RedisFault> {
        let fred = self.with_deadline(name, sending)?;
        let command = CustomCommand::new_static(name, ClusterHash::Random, false);
        // As a `Value`, one error within a list would be the error of the whole list.
        let replied = Box::pin(fred.custom_raw(command, arguments));
        match self.until_ended(name, replied).await? {
            Ok(frame) => Ok(frame.into()),
            Err(error) => error_reply(name, &error),
        }
    }

    /// Announces the end of the connection to Redis.
    pub(super) async fn quit(&self) {
        // Without options: QUIT marks the client as closing before it is sent, and `fail_fast` would
        // refuse it for that.
        let _ = self.fred.quit().await;
    }

    /// fred's own client, for the invalidation feed.
    pub(super) fn fred(&self) -> &fred::clients::Client {
        &self.fred
    }

    fn with_deadline(
        &self,
        command: &'static str,
        sending: Sending,
    ) -> Result<WithOptions<fred::clients::Client>, RedisFault> {
        let timeout = sending.deadline.saturating_duration_since(Instant::now());
        // To fred, zero means no limit.
        if timeout.is_zero() {
            return Err(RedisFault::TimedOut { command });
        }
        Ok(self.fred.with_options(&Options {
            timeout: Some(timeout),
            fail_fast: sending.fails_fast,
            // A write that is sent again could report on its own first attempt.
            max_attempts: Some(1),
            ..Options::default()
        }))
    }

    /// Waits for `request`, or for the end of the connection.
    ///
    /// In the first poll, fred takes over all commands of the request; in a cluster, no other request is
    /// handed over meanwhile.
    pub(super) async fn until_ended<F: Future>(
        &self,
        command: &'static str,
        request: F,
    ) -> Result<F::Output, RedisFault> {
        let (mut request, mut ended) = (pin!(request), pin!(self.ended.wait()));
        let mut order = self.order.as_ref();
        poll_fn(|cx| {
            let turn = mem::take(&mut order)
                .map(|order| order.lock().unwrap_or_else(PoisonError::into_inner));
            let polled = request.as_mut().poll(cx);
            drop(turn);
            match polled {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => ended.as_mut().poll(cx).map(|()| {
                    Err(RedisFault::Disconnected {
                        command,
                        reason: ENDED.to_owned(),
                    })
                }),
            }
        })
        .await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

async fn custom(
    fred: &WithOptions<fred::clients::Client>,
    command: Command<'_>,
) -> Result<Reply, RedisFault> {
    let mut words = command.name.split(' ');
    let name = words.next().unwrap_or_default();
    let words = words.map(Value::from_static_str);
    let arguments = words.chain(
        command
            .arguments
            .iter()
            .map(|argument| Value::from(*argument)),
    );
    let arguments = arguments.collect::<Vec<_>>();
    let custom = CustomCommand::new_static(name, ClusterHash::Random, false);
    match fred.custom_raw(custom, arguments).await {
        Ok(frame) => Ok(frame.into()),
        Err(error) => error_reply(command.name, &error),
    }
}

/// Returns the reply to a native command of fred. Its conversions would take a number for a text.
fn native_reply(
    command: &'static str,
    replied: Result<Value, FredError>,
) -> Result<Reply, RedisFault> {
    Ok(match replied {
        Ok(Value::String(text)) => Reply::Bulk(text.into_inner()),
        Ok(Value::Bytes(value)) => Reply::Bulk(value),
        Ok(Value::Integer(number)) => Reply::Integer(number),
        Ok(Value::Null) => Reply::Null,
        Ok(_) => Reply::Other,
        Err(error) => error_reply(command, &error)?,
    })
}

/// Returns an error that Redis replied with as a reply, and any other as a fault.
fn error_reply(command: &'static str, error: &FredError) -> Result<Reply, RedisFault> {
    match error.kind() {
        // The kinds that fred makes of error replies, by their first word.
        ErrorKind::Auth
        | ErrorKind::Cluster
        | ErrorKind::Config
        | ErrorKind::InvalidArgument
        | ErrorKind::InvalidCommand
        | ErrorKind::Unknown
            if RedisFault::has_code(error.details()) =>
        {
            Ok(Reply::Error(error.details().to_owned().into()))
        }
        _ => Err(fault(command, error)),
    }
}

/// Classifies an error of fred's own. Errors that Redis replied with keep their code.
pub(super) fn fault(command: &'static str, error: &FredError) -> RedisFault {
    match error.kind() {
        ErrorKind::Timeout => RedisFault::TimedOut { command },
        ErrorKind::Canceled => RedisFault::NotConnected { command },
        ErrorKind::IO | ErrorKind::Tls => RedisFault::Disconnected {
            command,
            reason: readable(error.details()).to_owned(),
        },
        ErrorKind::Parse | ErrorKind::NotFound | ErrorKind::InvalidArgument
            if !RedisFault::has_code(error.details()) =>
        {
            RedisFault::Unexpected { command }
        }
        _ if RedisFault::has_code(error.details()) => RedisFault::refusal(command, error.details()),
        // It was in flight when fred's task was ended.
        ErrorKind::Unknown => RedisFault::Disconnected {
            command,
            reason: ENDED.to_owned(),
        },
        // Details of other kinds may quote what was sent.
        kind => RedisFault::Disconnected {
            command,
            reason: kind.to_str().to_owned(),
        },
    }
}

/// Returns the message within an error of the operating system, which fred spells as Rust would:
/// `Os { code: 104, kind: ConnectionReset, message: "Connection reset by peer" }`.
fn readable(details: &str) -> &str {
    let message = details.split_once("message: \"");
    let message = message.and_then(|(_, rest)| rest.split('"').next());
    message.unwrap_or(details)
}
