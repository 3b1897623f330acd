//! Tests that acknowledged operations survive faults. Several clients create, read, update, merge
//! into, rotate and delete sessions during a series of faults. Each response about a session must
//! be consistent with the earlier responses about that session.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tee_session_domain::{
    CookieUrl, IdempotencyKey, IdempotentRequest, IdempotentSession, Login, MergedSession, Session,
    SessionError, SessionPatch, SessionToken, SetCookieLines, Subject, UpdateError,
};
use tee_session_test_support::{Fault, FaultProxy, History, Known, RedisProcess, eventually};
use tokio::{task::JoinSet, time::sleep};

use crate::{Sessions, base_url, cookies, sessions_with, settings};

const CLIENTS: usize = 8;

const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

/// Duration of the lease of an operation with an `Idempotency-Key`. The lease is about ten command
/// timeouts, which is longer than the operation can take.
const LEASE: Duration = Duration::from_secs(3);

/// Maximum time for which a client repeats a call with an `Idempotency-Key`.
const REPEATED_FOR: Duration = Duration::from_secs(8);

/// Server options that make Redis write each change to disk before Redis acknowledges the change. A
/// killed server then loses no acknowledged change.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// Name of the cookie that contains the version of a session. The client increments the version
/// with each update request.
const VERSION: &str = "version";

/// Path of the second cookie with the name [`VERSION`] that each merge sets.
const NAMESAKE_PATH: &str = "/elsewhere";

/// Returns a request with a new `Idempotency-Key`.
fn idempotent_request(operation: &str) -> IdempotentRequest {
    let header = SessionToken::generate();
    let key = IdempotencyKey::derive(operation, b"credential", header.expose_secret().as_bytes());
    IdempotentRequest {
        fingerprint: key.fingerprint(b""),
        key,
        lease: LEASE,
    }
}

/// An operation that a client sends to the session manager. If the session manager gets a new
/// operation, the operation must be added to this enum.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Create,
    /// Creates a session with an `Idempotency-Key`, and repeats the call until it succeeds.
    CreateOnce,
    Read,
    Update,
    /// Merges `Set-Cookie` lines into a session.
    Merge,
    Rotate,
    /// Rotates a session with an `Idempotency-Key`, and repeats the call until it succeeds.
    RotateOnce,
    Delete,
    RevokeAll,
}

/// State of a session, as its client knows it. Only this client uses the session.
#[derive(Debug, Clone)]
struct OwnSession {
    token: SessionToken,
    /// Version in the last update request for this session. 0 before the first update request.
    version: u64,
    /// Is `true` if the client created the session with a subject, so that `RevokeAll` ends it.
    has_subject: bool,
}

impl OwnSession {
    fn token_text(&self) -> &str {
        self.token.expose_secret()
    }
}

#[derive(Default)]
struct Clients {
    history: History,
    stop: AtomicBool,
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    recoveries: AtomicU64,
}

impl Clients {
    fn count<T>(&self, result: &Result<T, SessionError>) {
        let counter = match result {
            Ok(_) | Err(SessionError::NotFound) => &self.acknowledged,
            Err(_) => &self.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Runs client `number` until `stop` is set. The client uses only sessions that the same client
    /// created, and sends each operation to a randomly chosen instance.
    async fn run_client(&self, instances: &[Sessions], number: usize) {
        let subject: Subject = format!("client-{number}").parse().unwrap();
        let mut own: Vec<OwnSession> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let sessions = &instances[fastrand::usize(..instances.len())];
            let operation = match fastrand::u8(..40) {
                0..6 => Operation::Create,
                6..12 => Operation::CreateOnce,
                12..26 => Operation::Read,
                26..29 => Operation::Update,
                29..32 => Operation::Merge,
                32..34 => Operation::Rotate,
                34..36 => Operation::RotateOnce,
                36..39 => Operation::Delete,
                _ => Operation::RevokeAll,
            };
            match operation {
                Operation::CreateOnce => self.create_once(instances, &subject, &mut own).await,
                Operation::RotateOnce if !own.is_empty() => {
                    let index = fastrand::usize(..own.len());
                    let successor = self.rotate_once(instances, &own[index]).await;
                    own.extend(successor);
                }
                operation => self.step(sessions, operation, &subject, &mut own).await,
            }
            // In an outage, calls fail at once. The pause of 1 ms avoids millions of failed calls.
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn step(
        &self,
        sessions: &Sessions,
        operation: Operation,
        subject: &Subject,
        own: &mut Vec<OwnSession>,
    ) {
        if own.is_empty() {
            return self.create(sessions, subject, own).await;
        }
        let index = fastrand::usize(..own.len());
        match operation {
            Operation::Create | Operation::CreateOnce => {
                self.create(sessions, subject, own).await;
            }
            Operation::Read => self.read(sessions, &own[index]).await,
            Operation::Update => self.update(sessions, &mut own[index]).await,
            Operation::Merge => self.merge(sessions, &mut own[index]).await,
            Operation::Rotate | Operation::RotateOnce => {
                if let Some(successor) = self.rotate(sessions, &own[index]).await {
                    own.push(successor);
                }
            }
            Operation::Delete => self.delete(sessions, &own[index]).await,
            Operation::RevokeAll => self.revoke_all(sessions, subject, own).await,
        }
    }

    async fn create(&self, sessions: &Sessions, subject: &Subject, own: &mut Vec<OwnSession>) {
        let has_subject = fastrand::bool();
        let mut login = Login::new(cookies(), base_url());
        login.attributes.subject = has_subject.then(|| subject.clone());
        let result = sessions.store_login(login).await;
        self.count(&result);
        // If the call failed, Redis may contain the session, but no client has the token of that
        // session.
        if let Ok(new) = result {
            self.history.created(new.token.expose_secret());
            own.push(OwnSession {
                token: new.token,
                version: 0,
                has_subject,
            });
        }
    }

    /// Creates a session with an `Idempotency-Key`. Repeats the call at any instance until it
    /// succeeds. A further repetition must return the same token.
    async fn create_once(
        &self,
        instances: &[Sessions],
        subject: &Subject,
        own: &mut Vec<OwnSession>,
    ) {
        let has_subject = fastrand::bool();
        let mut login = Login::new(cookies(), base_url());
        login.attributes.subject = has_subject.then(|| subject.clone());
        let request = &idempotent_request("create");
        let create = || {
            let sessions = &instances[fastrand::usize(..instances.len())];
            sessions.store_login_once(request, login.clone(), || true)
        };
        let Some(created) = self.repeat(create).await.unwrap() else {
            return;
        };
        let token = created.token;
        self.history.created(token.expose_secret());
        own.push(OwnSession {
            token: token.clone(),
            version: 0,
            has_subject,
        });
        if let Ok(repeated) = create().await {
            assert_eq!(
                repeated.token, token,
                "a repetition created another session"
            );
        }
    }

    /// Rotates a session with an `Idempotency-Key`. Repeats the call at any instance until it
    /// succeeds. Lost replies must not end the session.
    async fn rotate_once(&self, instances: &[Sessions], own: &OwnSession) -> Option<OwnSession> {
        let before = self.history.known(own.token_text());
        self.history.delete_asked(own.token_text());
        let request = &idempotent_request("rotate");
        let rotate = || {
            let sessions = &instances[fastrand::usize(..instances.len())];
            sessions.rotate_once(&own.token, request, || true)
        };
        match self.repeat(rotate).await {
            Ok(Some(rotated)) => {
                assert!(before != Known::Gone, "a deleted session was rotated");
                let token = rotated.token;
                self.history
                    .rotated(own.token_text(), token.expose_secret());
                if let Ok(repeated) = rotate().await {
                    assert_eq!(repeated.token, token, "a repetition returned another token");
                }
                Some(OwnSession {
                    token,
                    ..own.clone()
                })
            }
            Ok(None) => None,
            Err(_) => {
                assert!(before != Known::Lives, "a session was lost");
                self.history.deleted(own.token_text());
                None
            }
        }
    }

    /// Repeats a call with an `Idempotency-Key` until it succeeds. Returns `None` if it has not
    /// succeeded within [`REPEATED_FOR`].
    ///
    /// # Errors
    /// [`SessionError::NotFound`] if the call returned this error.
    async fn repeat<F>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<Option<IdempotentSession>, SessionError>
    where
        F: Future<Output = Result<IdempotentSession, SessionError>>,
    {
        let started = Instant::now();
        while started.elapsed() < REPEATED_FOR && !self.stop.load(Ordering::Relaxed) {
            let result = call().await;
            self.count(&result);
            match result {
                Ok(session) => return Ok(Some(session)),
                Err(SessionError::NotFound) => return Err(SessionError::NotFound),
                Err(SessionError::IdempotencyKeyReused) => panic!("the request is the same"),
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
        Ok(None)
    }

    async fn read(&self, sessions: &Sessions, own: &OwnSession) {
        let before = self.history.known(own.token_text());
        let result = sessions.get(&own.token).await;
        self.count(&result);
        let found = match result {
            Ok(active) => Some(active.session),
            Err(SessionError::NotFound) => None,
            Err(_) => return,
        };
        let is_found = found.is_some();
        self.history
            .read(own.token_text(), before, is_found)
            .unwrap();
        if let Some(session) = found {
            self.check_version(own, &session);
        }
    }

    fn check_version(&self, own: &OwnSession, session: &Session) {
        let version = session.cookies.get(VERSION);
        let version = version.map_or(0, |text| text.parse().unwrap());
        let token = own.token_text();
        self.history.has_version(token, version).unwrap();
        let merged = merged_attributes(session, version);
        self.history.has_attributes(token, version, merged).unwrap();
    }

    async fn update(&self, sessions: &Sessions, own: &mut OwnSession) {
        let before = self.history.known(own.token_text());
        own.version += 1;
        self.history.update_asked(own.token_text(), own.version);
        let patch = SessionPatch::default().set_cookie(VERSION, own.version.to_string());
        let result = match sessions.update(&own.token, &patch, |_| true).await {
            Ok(active) => Ok(active),
            Err(UpdateError::Session(error)) => Err(error),
            Err(error) => panic!("the update is allowed: {error}"),
        };
        self.count(&result);
        match result {
            Ok(active) => {
                self.history.read(own.token_text(), before, true).unwrap();
                self.check_version(own, &active.session);
            }
            Err(SessionError::NotFound) => {
                self.history.read(own.token_text(), before, false).unwrap();
            }
            Err(_) => {}
        }
    }

    async fn merge(&self, sessions: &Sessions, own: &mut OwnSession) {
        let before = self.history.known(own.token_text());
        own.version += 1;
        self.history.merge_asked(own.token_text(), own.version);
        let result = match merge_version(sessions, own).await {
            Ok(merged) => Ok(merged),
            Err(UpdateError::Session(error)) => Err(error),
            Err(error) => panic!("the merge is allowed: {error}"),
        };
        self.count(&result);
        match result {
            Ok(merged) => {
                assert!(merged.is_changed && merged.ignored.is_empty());
                self.history.read(own.token_text(), before, true).unwrap();
                self.check_version(own, &merged.active.session);
            }
            Err(SessionError::NotFound) => {
                self.history.read(own.token_text(), before, false).unwrap();
            }
            Err(_) => {}
        }
    }

    async fn rotate(&self, sessions: &Sessions, own: &OwnSession) -> Option<OwnSession> {
        let before = self.history.known(own.token_text());
        self.history.delete_asked(own.token_text());
        let result = sessions.rotate(&own.token).await;
        self.count(&result);
        match result {
            Ok(rotated) => {
                assert!(before != Known::Gone, "a deleted session was rotated");
                let successor = OwnSession {
                    token: rotated.token,
                    ..own.clone()
                };
                self.history
                    .rotated(own.token_text(), successor.token_text());
                self.check_version(&successor, &rotated.session);
                Some(successor)
            }
            Err(SessionError::NotFound) => {
                assert!(before != Known::Lives, "a session was lost");
                self.history.deleted(own.token_text());
                None
            }
            Err(_) => None,
        }
    }

    async fn delete(&self, sessions: &Sessions, own: &OwnSession) {
        let before = self.history.known(own.token_text());
        self.history.delete_asked(own.token_text());
        let result = sessions.delete(&own.token).await;
        self.count(&result);
        if let Ok(deleted) = result {
            assert!(!deleted || before != Known::Gone, "deleted twice");
            assert!(deleted || before != Known::Lives, "a session was lost");
            self.history.deleted(own.token_text());
        }
    }

    async fn revoke_all(&self, sessions: &Sessions, subject: &Subject, own: &[OwnSession]) {
        let all = || own.iter().filter(|own| own.has_subject);
        for own in all() {
            self.history.delete_asked(own.token_text());
        }
        let result = sessions.revoke_all(subject).await;
        self.count(&result);
        if result.is_ok() {
            all().for_each(|own| self.history.deleted(own.token_text()));
        }
    }

    /// Reads every session of the history, and checks that each result is consistent with the
    /// history. Must be called after the last fault.
    async fn check_all(&self, sessions: &Sessions) {
        for (text, known) in self.history.all() {
            let token = text.parse().unwrap();
            let mut found = None;
            // The call is repeated, because it can time out on a busy machine.
            eventually(RECOVERED_WITHIN, async || {
                found = sessions.exists(&token).await.ok();
                found.is_some()
            })
            .await;
            self.history.read(&text, known, found.unwrap()).unwrap();
        }
    }
}

/// Merges two cookies with the name [`VERSION`] and different paths into the session. Only the
/// first of these cookies is sent with a request to the base URL.
async fn merge_version(
    sessions: &Sessions,
    own: &OwnSession,
) -> Result<MergedSession, UpdateError> {
    let loaded = sessions.load_for_merge(&own.token).await?;
    let url = CookieUrl::of(&base_url()).unwrap();
    let version = own.version;
    let lines = [
        format!("{VERSION}={version}; Path=/; Max-Age=86400"),
        format!("{VERSION}={version}; Path={NAMESAKE_PATH}"),
    ];
    let lines = SetCookieLines::new(url, lines);
    let merge = sessions.merge_loaded(&own.token, loaded, &lines, |_| true);
    merge.await
}

/// Searches the session for the two additions of [`merge_version`]: attributes for the first
/// cookie, and a second cookie with the same name. Returns `Some(true)` if the session contains
/// both additions for `version`, `Some(false)` if it contains neither, and `None` in any other
/// case.
fn merged_attributes(session: &Session, version: u64) -> Option<bool> {
    let mut cookies = session.cookies.with_attributes();
    let attributes =
        cookies.find_map(|(name, _, attributes)| attributes.filter(|_| name == VERSION));
    match (attributes, session.cookies.others()) {
        (None, []) => Some(false),
        (Some(attributes), [other]) => {
            let is_of_merge = attributes.path == "/"
                && other.name == VERSION
                && *other.value == version.to_string()
                && other.attributes.path == NAMESAKE_PATH;
            is_of_merge.then_some(true)
        }
        _ => None,
    }
}

/// A Redis server and a fault proxy in front of that server. Faults are injected into both.
struct FaultySystem {
    redis: RedisProcess,
    proxy: FaultProxy,
}

impl FaultySystem {
    /// Injects several faults one after another: network faults, a paused Redis, a killed Redis,
    /// and closed connections. After each fault, waits until all instances have recovered.
    async fn inject_faults(&mut self, clients: &Clients, instances: &[Sessions]) {
        let fault_duration = || sleep(Duration::from_millis(700));
        for fault in [
            Fault::CutAfter(40),
            Fault::ResetAfter(1_000),
            Fault::SwallowAnswers,
            Fault::SwallowRequests,
            Fault::Stall,
            Fault::Delay(Duration::from_millis(400)),
        ] {
            self.proxy.set(fault);
            fault_duration().await;
            self.proxy.set(Fault::None);
            wait_for_recovery(clients, instances).await;
        }
        self.redis.pause();
        fault_duration().await;
        self.redis.resume();
        wait_for_recovery(clients, instances).await;
        self.redis.kill().await;
        fault_duration().await;
        self.redis.start_again().await;
        wait_for_recovery(clients, instances).await;
        for _ in 0..5 {
            let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
            self.redis.command(&kill).await;
            sleep(Duration::from_millis(100)).await;
        }
        wait_for_recovery(clients, instances).await;
    }
}

/// Waits until every instance has stored a new session.
async fn wait_for_recovery(clients: &Clients, instances: &[Sessions]) {
    for sessions in instances {
        eventually(RECOVERED_WITHIN, async || {
            sessions.store(cookies(), base_url()).await.is_ok()
        })
        .await;
    }
    clients.recoveries.fetch_add(1, Ordering::Relaxed);
    // The clients work for 200 ms without a fault before the next fault.
    sleep(Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_session_operation_is_lost_during_network_and_redis_faults() {
    let redis = RedisProcess::start_with(&DURABLE).await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let settings = settings(&format!("redis://{}", proxy.address()))
        .with_command_timeout(Duration::from_millis(250));
    let instances = Arc::new([
        sessions_with(&settings).await,
        sessions_with(&settings).await,
    ]);
    let clients = Arc::new(Clients::default());
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        let (clients, instances) = (Arc::clone(&clients), Arc::clone(&instances));
        tasks.spawn(async move { clients.run_client(&*instances, number).await });
    }
    let mut system = FaultySystem { redis, proxy };
    tokio::select! {
        () = system.inject_faults(&clients, &*instances) => {}
        failed = tasks.join_next() => failed.unwrap().unwrap(),
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    eventually(RECOVERED_WITHIN, async || {
        count(&clients.acknowledged) > 1_000
    })
    .await;
    clients.stop.store(true, Ordering::Relaxed);
    while let Some(client) = tasks.join_next().await {
        client.unwrap();
    }
    for sessions in instances.iter() {
        clients.check_all(sessions).await;
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    assert_eq!(count(&clients.recoveries), 9);
    assert!(
        count(&clients.acknowledged) > 1_000,
        "too few operations were acknowledged"
    );
    assert!(count(&clients.unknown) > 50, "too few operations failed");
}
