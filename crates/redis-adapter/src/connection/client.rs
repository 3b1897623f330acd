//! A client of the Redis client library fred, for a single connection. The client makes one attempt
//! to connect and never reconnects.
//!
//! The reconnection feature of fred is off for three reasons. First, fred would hold back commands
//! during a disconnection and send them later. Second, fred would report "connected" while it waits
//! before a new attempt to connect. Third, fred could give up reconnecting without a notification.
//!
//! With reconnection off, the task of the client ends as soon as the connection ends, and commands
//! in flight fail at once. The background task of the connection (supervisor) then creates a new
//! client.

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
    error::Error as FredError,
    interfaces::{ClientLike, KeysInterface},
    types::{
        ClusterHash, ConnectHandle, CustomCommand, ExpireOptions, Key as FredKey, Value,
        config::Options,
    },
};
use futures_util::future::{join, join_all};
use tokio::{runtime::Handle, sync::Notify, time::Instant};

use super::{
    batch_queue::BatchQueues,
    breaker::Breaker,
    command::{Command, Reply},
    end_request::EndRequest,
    ended_flag::Ended,
    fred_error::{ENDED, error_reply, fault},
    options::{self, Target},
};
use crate::{RedisFault, RedisSettings, credentials::Login, record::Key};

/// Maximum number of replies to one request: three commands, each preceded by `ASKING`.
const MAX_REPLIES: usize = 6;

/// A client with one connection. When the connection ends, the client cannot be used any more.
pub(crate) struct Client {
    fred: fred::clients::Client,
    pub(super) runtime: Handle,
    /// Lock that is held while a request passes its commands to the client library fred. The lock
    /// is needed only in a cluster: no other thread may send a command between `ASKING` and the
    /// next command. `None` for a server outside a cluster.
    order: Option<Mutex<()>>,
    /// Queues of look-ups that wait to be sent in batches. `None` for a cluster server, because the
    /// keys of one command must belong to one hash slot.
    pub(super) batch_queues: Option<BatchQueues>,
    pub(super) breaker: Arc<Breaker>,
    /// Signal that makes the background task of the connection send a heartbeat at once. The signal
    /// is sent if a reply may have belonged to another request.
    pub(super) heartbeat_requested: Notify,
    pub(super) end_request: EndRequest,
    pub(super) ended: Ended,
}

/// Background task of the client library fred that drives a client. The task owns the socket and
/// the commands in flight. Dropping this value aborts the task.
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

/// Deadline and options for sending one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sending {
    /// Time at which the request fails if no reply has arrived.
    pub(super) deadline: Instant,
    /// `true` if `ASKING` is sent before each command, because the server is importing the hash
    /// slot of the key.
    pub(super) after_asking: bool,
    /// `true` if the request fails at once while the client is not connected. `false` if the
    /// request waits for the connection.
    pub(super) fails_fast: bool,
}

impl Sending {
    /// Returns the default options with this deadline: the request is sent without `ASKING`, and
    /// fails at once if the client is not connected.
    pub(super) fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            after_asking: false,
            fails_fast: true,
        }
    }
}

impl Client {
    /// Creates a client and starts its only attempt to connect, on the current tokio runtime.
    ///
    /// # Errors
    /// Fails if the client library fred rejects the configuration.
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
            batch_queues: (!settings.is_cluster_node).then(BatchQueues::default),
            breaker,
            heartbeat_requested: Notify::new(),
            end_request: EndRequest::default(),
            ended: Ended::default(),
        });
        let task = ClientTask {
            fred: task,
            client: Arc::clone(&client),
        };
        Ok((client, task))
    }

    /// Sends `commands` in order and waits for all replies. In a cluster, no command of another
    /// request is sent between these commands on the same connection.
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
                // If `ASKING` failed, its error becomes the reply to the command.
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

    /// Sends `GET key`. If `ttl` (in seconds) is given, also sends `EXPIRE key ttl XX`. Returns the
    /// reply to `GET`, and the reply to `EXPIRE` if that command was sent.
    ///
    /// The client library fred writes both commands to the socket together if they are sent with
    /// its functions `get` and `expire`. With `custom_raw`, fred would write each command
    /// separately.
    pub(super) async fn get(
        &self,
        sending: Sending,
        key: &Key,
        ttl: Option<i64>,
    ) -> Result<(Reply, Option<Reply>), RedisFault> {
        let fred = self.with_deadline("GET", sending)?;
        let key = FredKey::from(key.as_bytes());
        // The future is boxed, because each future of fred takes almost 7 KB.
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

    /// Sends one command with the function `custom_raw` of the client library fred, without copying
    /// `arguments`.
    pub(super) async fn send_raw(
        &self,
        sending: Sending,
        name: &'static str,
        arguments: Vec<Value>,
    ) -> Result<Reply, RedisFault> {
        let fred = self.with_deadline(name, sending)?;
        let command = CustomCommand::new_static(name, ClusterHash::Random, false);
        // fred must not convert the reply to a `Value`, because one error in a list would then make
        // the whole list fail.
        let replied = Box::pin(fred.custom_raw(command, arguments));
        match self.until_ended(name, replied).await? {
            Ok(frame) => Ok(frame.into()),
            Err(error) => error_reply(name, &error),
        }
    }

    /// Sends `QUIT`, which closes the connection.
    pub(super) async fn quit(&self) {
        // `QUIT` is sent without options. fred marks the client as closing before it sends `QUIT`,
        // and would then reject `QUIT` because of the option `fail_fast`.
        let _ = self.fred.quit().await;
    }

    /// Returns the underlying client of the library fred. The invalidation feed receives its
    /// notifications of changed keys from this client.
    pub(super) fn fred(&self) -> &fred::clients::Client {
        &self.fred
    }

    fn with_deadline(
        &self,
        command: &'static str,
        sending: Sending,
    ) -> Result<WithOptions<fred::clients::Client>, RedisFault> {
        let timeout = sending.deadline.saturating_duration_since(Instant::now());
        // fred treats a timeout of zero as no timeout.
        if timeout.is_zero() {
            return Err(RedisFault::TimedOut { command });
        }
        Ok(self.fred.with_options(&Options {
            timeout: Some(timeout),
            fail_fast: sending.fails_fast,
            // fred must not repeat a command. The first attempt of a write may have changed the
            // data, so the reply to a second attempt would be misleading.
            max_attempts: Some(1),
            ..Options::default()
        }))
    }

    /// Waits for the output of `request`.
    ///
    /// The client library fred queues all commands of `request` when `request` is polled for the
    /// first time. In a cluster, a lock keeps other requests from queueing their commands at the
    /// same time.
    ///
    /// # Errors
    /// [`RedisFault::Disconnected`] if the connection ends before `request` is complete.
    pub(super) async fn until_ended<F: Future>(
        &self,
        command: &'static str,
        request: F,
    ) -> Result<F::Output, RedisFault> {
        let (mut request, mut ended) = (pin!(request), pin!(self.ended.wait()));
        let mut order = self.order.as_ref();
        poll_fn(|cx| {
            let guard = mem::take(&mut order)
                .map(|order| order.lock().unwrap_or_else(PoisonError::into_inner));
            let polled = request.as_mut().poll(cx);
            drop(guard);
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

/// Returns the reply to a command that was sent with a function of the client library fred, such as
/// `get`. The type conversions of fred are not used, because they would accept a number where text
/// is expected.
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
