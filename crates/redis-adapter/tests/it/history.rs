//! What was acknowledged holds, whatever happens: many clients create, read and delete sessions
//! through fault after fault, and their history is checked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tee_session_domain::{SessionError, SessionToken};
use tee_session_test_support::{Fault, FaultProxy, History, Known, RedisProcess, eventually};
use tokio::{task::JoinSet, time::sleep};

use crate::{Sessions, base_url, cookies, sessions_with, settings};

const CLIENTS: usize = 8;

const RECOVERED_WITHIN: Duration = Duration::from_secs(10);

/// Persists every write before it is acknowledged, so that even a killed server keeps it.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

/// What a client asks for. Whatever else a session will be able to do gets its place here.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Create,
    Read,
    Delete,
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
    async fn client(&self, instances: &[Sessions]) {
        let mut own: Vec<SessionToken> = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            let sessions = &instances[fastrand::usize(..instances.len())];
            let operation = match fastrand::u8(..10) {
                0..3 => Operation::Create,
                3..9 => Operation::Read,
                _ => Operation::Delete,
            };
            self.step(sessions, operation, &mut own).await;
            // In an outage calls fail at once: nobody is helped by millions of them.
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn step(&self, sessions: &Sessions, operation: Operation, own: &mut Vec<SessionToken>) {
        let Some(token) = fastrand::choice(own.iter()).cloned() else {
            return self.create(sessions, own).await;
        };
        let history = &self.history;
        let before = history.known(token.expose_secret());
        match operation {
            Operation::Create => self.create(sessions, own).await,
            Operation::Read => {
                let result = sessions.get(&token).await;
                self.count(&result);
                let found = match result {
                    Ok(_) => true,
                    Err(SessionError::NotFound) => false,
                    Err(_) => return,
                };
                history.read(token.expose_secret(), before, found).unwrap();
            }
            Operation::Delete => {
                history.delete_asked(token.expose_secret());
                let result = sessions.delete(&token).await;
                self.count(&result);
                if let Ok(deleted) = result {
                    assert!(!deleted || before != Known::Gone, "deleted twice");
                    assert!(deleted || before != Known::Lives, "a session was lost");
                    history.deleted(token.expose_secret());
                }
            }
        }
    }

    async fn create(&self, sessions: &Sessions, own: &mut Vec<SessionToken>) {
        let result = sessions.store(cookies(), base_url()).await;
        self.count(&result);
        // One without an answer may stand in Redis, but nobody has its token.
        if let Ok(new) = result {
            self.history.created(new.token.expose_secret());
            own.push(new.token);
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
    for _ in 0..CLIENTS {
        let (clients, instances) = (Arc::clone(&clients), Arc::clone(&instances));
        tasks.spawn(async move { clients.client(&*instances).await });
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
