//! What was acknowledged holds, whatever happens: many clients create, read, change, rotate and end
//! sessions through fault after fault, and their history is checked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tee_session_domain::{
    Login, Session, SessionError, SessionPatch, SessionToken, Subject, UpdateError,
};
use tee_session_test_support::{Fault, FaultProxy, History, Known, RedisProcess, eventually};
use tokio::{task::JoinSet, time::sleep};

use crate::{Sessions, base_url, cookies, sessions_with, settings};

const CLIENTS: usize = 8;

const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

/// Persists every write before it is acknowledged, so that even a killed server keeps it.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// The cookie that tells a session's version: how often its client has changed it.
const VERSION: &str = "version";

/// What a client asks for. Whatever else a session will be able to do gets its place here.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Create,
    Read,
    Update,
    Rotate,
    Delete,
    RevokeAll,
}

/// A session that a client has.
#[derive(Debug, Clone)]
struct Own {
    token: SessionToken,
    /// The version that was asked for last.
    version: u64,
    /// Whether it is the client's own subject's.
    has_subject: bool,
}

impl Own {
    fn text(&self) -> &str {
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

    /// One client: it alone uses its sessions, at any of the instances.
    async fn client(&self, instances: &[Sessions], number: usize) {
        let subject: Subject = format!("client-{number}").parse().unwrap();
        let mut own: Vec<Own> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let sessions = &instances[fastrand::usize(..instances.len())];
            let operation = match fastrand::u8(..40) {
                0..12 => Operation::Create,
                12..26 => Operation::Read,
                26..32 => Operation::Update,
                32..36 => Operation::Rotate,
                36..39 => Operation::Delete,
                _ => Operation::RevokeAll,
            };
            self.step(sessions, operation, &subject, &mut own).await;
            // In an outage calls fail at once: nobody is helped by millions of them.
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn step(
        &self,
        sessions: &Sessions,
        operation: Operation,
        subject: &Subject,
        own: &mut Vec<Own>,
    ) {
        if own.is_empty() {
            return self.create(sessions, subject, own).await;
        }
        let index = fastrand::usize(..own.len());
        match operation {
            Operation::Create => self.create(sessions, subject, own).await,
            Operation::Read => self.read(sessions, &own[index]).await,
            Operation::Update => self.update(sessions, &mut own[index]).await,
            Operation::Rotate => {
                if let Some(successor) = self.rotate(sessions, &own[index]).await {
                    own.push(successor);
                }
            }
            Operation::Delete => self.delete(sessions, &own[index]).await,
            Operation::RevokeAll => self.revoke_all(sessions, subject, own).await,
        }
    }

    async fn create(&self, sessions: &Sessions, subject: &Subject, own: &mut Vec<Own>) {
        let has_subject = fastrand::bool();
        let login = Login {
            subject: has_subject.then(|| subject.clone()),
            ..Login::new(cookies(), base_url())
        };
        let result = sessions.store_login(login).await;
        self.count(&result);
        // One without an answer may stand in Redis, but nobody has its token.
        if let Ok(new) = result {
            self.history.created(new.token.expose_secret());
            own.push(Own {
                token: new.token,
                version: 0,
                has_subject,
            });
        }
    }

    async fn read(&self, sessions: &Sessions, own: &Own) {
        let before = self.history.known(own.text());
        let result = sessions.get(&own.token).await;
        self.count(&result);
        let found = match result {
            Ok(active) => Some(active.session),
            Err(SessionError::NotFound) => None,
            Err(_) => return,
        };
        let is_found = found.is_some();
        self.history.read(own.text(), before, is_found).unwrap();
        if let Some(session) = found {
            self.check_version(own, &session);
        }
    }

    fn check_version(&self, own: &Own, session: &Session) {
        let version = session.cookies.get(VERSION);
        let version = version.map_or(0, |text| text.parse().unwrap());
        self.history.has_version(own.text(), version).unwrap();
    }

    async fn update(&self, sessions: &Sessions, own: &mut Own) {
        let before = self.history.known(own.text());
        own.version += 1;
        self.history.update_asked(own.text(), own.version);
        let patch = SessionPatch::default().set_cookie(VERSION, own.version.to_string());
        let result = match sessions.update(&own.token, &patch, |_| true).await {
            Ok(active) => Ok(active),
            Err(UpdateError::Session(error)) => Err(error),
            Err(error) => panic!("nothing forbids it: {error}"),
        };
        self.count(&result);
        match result {
            Ok(active) => {
                self.history.read(own.text(), before, true).unwrap();
                self.check_version(own, &active.session);
            }
            Err(SessionError::NotFound) => self.history.read(own.text(), before, false).unwrap(),
            Err(_) => {}
        }
    }

    async fn rotate(&self, sessions: &Sessions, own: &Own) -> Option<Own> {
        let before = self.history.known(own.text());
        self.history.delete_asked(own.text());
        let result = sessions.rotate(&own.token).await;
        self.count(&result);
        match result {
            Ok(rotated) => {
                assert!(before != Known::Gone, "a session that was gone was rotated");
                let successor = Own {
                    token: rotated.token,
                    ..own.clone()
                };
                self.history.rotated(own.text(), successor.text());
                self.check_version(&successor, &rotated.session);
                Some(successor)
            }
            Err(SessionError::NotFound) => {
                assert!(before != Known::Lives, "a session was lost");
                self.history.deleted(own.text());
                None
            }
            Err(_) => None,
        }
    }

    async fn delete(&self, sessions: &Sessions, own: &Own) {
        let before = self.history.known(own.text());
        self.history.delete_asked(own.text());
        let result = sessions.delete(&own.token).await;
        self.count(&result);
        if let Ok(deleted) = result {
            assert!(!deleted || before != Known::Gone, "deleted twice");
            assert!(deleted || before != Known::Lives, "a session was lost");
            self.history.deleted(own.text());
        }
    }

    async fn revoke_all(&self, sessions: &Sessions, subject: &Subject, own: &[Own]) {
        let all = || own.iter().filter(|own| own.has_subject);
        for own in all() {
            self.history.delete_asked(own.text());
        }
        let result = sessions.revoke_all(subject).await;
        self.count(&result);
        if result.is_ok() {
            all().for_each(|own| self.history.deleted(own.text()));
        }
    }

    /// Every session there ever was, when all is well again.
    async fn check_all(&self, sessions: &Sessions) {
        for (text, known) in self.history.all() {
            let token = text.parse().unwrap();
            let mut found = None;
            // A busy machine is no outage.
            eventually(RECOVERED_WITHIN, async || {
                found = sessions.exists(&token).await.ok();
                found.is_some()
            })
            .await;
            self.history.read(&text, known, found.unwrap()).unwrap();
        }
    }
}

struct Outages {
    redis: RedisProcess,
    proxy: FaultProxy,
}

impl Outages {
    /// Each kind of outage once, a moment each, with a recovery after each.
    async fn happen(&mut self, clients: &Clients, instances: &[Sessions]) {
        let moment = || sleep(Duration::from_millis(700));
        for fault in [
            Fault::CutAfter(40),
            Fault::ResetAfter(1_000),
            Fault::SwallowAnswers,
            Fault::SwallowRequests,
            Fault::Stall,
            Fault::Delay(Duration::from_millis(400)),
        ] {
            self.proxy.set(fault);
            moment().await;
            self.proxy.set(Fault::None);
            recovered(clients, instances).await;
        }
        self.redis.pause();
        moment().await;
        self.redis.resume();
        recovered(clients, instances).await;
        self.redis.kill().await;
        moment().await;
        self.redis.start_again().await;
        recovered(clients, instances).await;
        for _ in 0..5 {
            let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
            self.redis.command(&kill).await;
            sleep(Duration::from_millis(100)).await;
        }
        recovered(clients, instances).await;
    }
}

async fn recovered(clients: &Clients, instances: &[Sessions]) {
    for sessions in instances {
        eventually(RECOVERED_WITHIN, async || {
            sessions.store(cookies(), base_url()).await.is_ok()
        })
        .await;
    }
    clients.recoveries.fetch_add(1, Ordering::Relaxed);
    // And some work in good times, until the next one.
    sleep(Duration::from_millis(200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_holds_through_every_fault() {
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
        tasks.spawn(async move { clients.client(&*instances, number).await });
    }
    let mut outages = Outages { redis, proxy };
    tokio::select! {
        () = outages.happen(&clients, &*instances) => {}
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
        "much was acknowledged"
    );
    assert!(count(&clients.unknown) > 50, "and much was not");
}
