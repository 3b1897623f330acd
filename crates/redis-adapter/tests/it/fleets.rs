//! Tests of the migration from plain to sealed (encrypted) records under load. Instances with
//! different storage formats share the sessions. Each step of the migration is rolled out, rolled
//! back, and rolled out again.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tee_session_domain::{SessionError, SessionToken};
use tee_session_test_support::TestRedis;
use tokio::time::sleep;

use crate::{
    Sessions, base_url, cookies, plain_settings, python::PythonInstance, sessions_with, settings,
};

/// Duration for which each combination of instances runs under load.
const FLEET_DURATION: Duration = Duration::from_millis(300);

/// Kind of an instance in a fleet: the Python service, or this service with one of three storage
/// settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InstanceKind {
    Python,
    Plain,
    AcceptingPlain,
    Sealed,
}

enum Instance {
    Python(Box<PythonInstance>),
    Ours(Sessions),
}

impl Instance {
    async fn start(kind: InstanceKind, url: &str) -> Self {
        let settings = match kind {
            InstanceKind::Python => {
                return Self::Python(Box::new(PythonInstance::start(url).await));
            }
            InstanceKind::Plain => plain_settings(url),
            InstanceKind::AcceptingPlain => settings(url).accepting_plain().unwrap(),
            InstanceKind::Sealed => settings(url),
        };
        // The long timeout prevents command timeouts on a busy machine.
        Self::Ours(sessions_with(&settings.with_command_timeout(Duration::from_secs(5))).await)
    }

    async fn store(&self) -> SessionToken {
        match self {
            Self::Python(python) => {
                let cookies = r#"{"SESSIONID": "a1b2c3"}"#;
                let token = python
                    .request(&["store", cookies, "https://golf.example"])
                    .await;
                token.as_str().unwrap().parse().unwrap()
            }
            Self::Ours(sessions) => sessions.store(cookies(), base_url()).await.unwrap().token,
        }
    }

    /// Returns `true` if the instance finds the session of `token`, and the session contains the
    /// cookie with which it was stored.
    async fn get(&self, token: &SessionToken) -> bool {
        match self {
            Self::Python(python) => {
                let found = python.request(&["get", token.expose_secret()]).await;
                found.as_str().is_some_and(|found| found.contains("a1b2c3"))
            }
            Self::Ours(sessions) => match sessions.get(token).await {
                Ok(active) => active.session.cookies.get("SESSIONID") == Some("a1b2c3"),
                Err(SessionError::NotFound) => false,
                Err(error) => panic!("{error:?}"),
            },
        }
    }

    async fn delete(&self, token: &SessionToken) -> bool {
        match self {
            Self::Python(python) => {
                let deleted = python.request(&["delete", token.expose_secret()]).await;
                deleted == "true"
            }
            Self::Ours(sessions) => sessions.delete(token).await.unwrap(),
        }
    }
}

/// Service instances that share one Redis, and the sessions that were created under load.
#[derive(Default)]
struct Fleet {
    instances: RwLock<Vec<Arc<Instance>>>,
    sessions: RwLock<Vec<Arc<StoredSession>>>,
    reads: AtomicUsize,
    deletions: AtomicUsize,
    stop: AtomicBool,
}

struct StoredSession {
    token: SessionToken,
    /// Is `true` as soon as the deletion of the session was requested.
    is_deletion_requested: AtomicBool,
}

impl Fleet {
    fn any_instance(&self) -> Arc<Instance> {
        let instances = self
            .instances
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&instances[fastrand::usize(..instances.len())])
    }

    fn any_session(&self) -> Option<Arc<StoredSession>> {
        let sessions = self.sessions.read().unwrap();
        let any = fastrand::usize(..sessions.len().max(1));
        sessions.get(any).cloned()
    }

    async fn create(&self) {
        let token = self.any_instance().store().await;
        let stored = Arc::new(StoredSession {
            token,
            is_deletion_requested: AtomicBool::new(false),
        });
        self.sessions.write().unwrap().push(stored);
    }

    /// Reads a random session from a random instance. Panics if the instance does not find the
    /// session, unless a deletion of the session was requested.
    async fn read(&self) {
        let Some(stored) = self.any_session() else {
            return;
        };
        let found = self.any_instance().get(&stored.token).await;
        let may_be_gone = stored.is_deletion_requested.load(Ordering::SeqCst);
        assert!(found || may_be_gone, "a session was not found");
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Deletes a session on one instance, and asserts that no instance finds the session
    /// afterwards.
    async fn delete_session(&self) {
        let ended = {
            let mut sessions = self.sessions.write().unwrap();
            if sessions.len() < 40 {
                return;
            }
            let any = fastrand::usize(..sessions.len());
            sessions.swap_remove(any)
        };
        ended.is_deletion_requested.store(true, Ordering::SeqCst);
        assert!(self.any_instance().delete(&ended.token).await);
        for _ in 0..3 {
            let found = self.any_instance().get(&ended.token).await;
            assert!(!found, "a deleted session came back");
        }
        self.deletions.fetch_add(1, Ordering::Relaxed);
    }

    async fn run_load(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            match fastrand::u8(..10) {
                0 | 1 => self.create().await,
                2 => self.delete_session().await,
                _ => self.read().await,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_instance_finds_all_sessions_in_each_step_of_the_migration_to_encrypted_records() {
    use InstanceKind::{AcceptingPlain, Plain, Python, Sealed};
    // Each fleet differs from the previous one in one instance. Each step is rolled out, rolled
    // back, and rolled out again.
    let fleets = [
        [Python, Python],
        [Plain, Python],
        [Plain, Plain],
        [Plain, Python],
        [Python, Python],
        [Plain, Python],
        [Plain, Plain],
        [AcceptingPlain, Plain],
        [AcceptingPlain, AcceptingPlain],
        [Plain, AcceptingPlain],
        [Plain, Plain],
        [AcceptingPlain, Plain],
        [AcceptingPlain, AcceptingPlain],
    ];
    let server = TestRedis::start().await;
    let fleet = Arc::new(Fleet::default());
    let mut kinds = fleets[0];
    for kind in kinds {
        let instance = Arc::new(Instance::start(kind, server.url()).await);
        fleet.instances.write().unwrap().push(instance);
    }
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let fleet = Arc::clone(&fleet);
            tokio::spawn(async move { fleet.run_load().await })
        })
        .collect();
    for next in fleets {
        for (index, kind) in next.into_iter().enumerate() {
            if kinds[index] != kind {
                let instance = Arc::new(Instance::start(kind, server.url()).await);
                fleet.instances.write().unwrap()[index] = instance;
            }
        }
        kinds = next;
        sleep(FLEET_DURATION).await;
        let has_failed = workers.iter().any(tokio::task::JoinHandle::is_finished);
        assert!(!has_failed, "a worker failed with {kinds:?}");
    }
    fleet.stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    assert!(fleet.reads.load(Ordering::Relaxed) > 500);
    assert!(fleet.deletions.load(Ordering::Relaxed) > 20);

    // An access seals (encrypts) the record of each remaining session. An instance that accepts
    // only sealed records then finds all sessions.
    let left = fleet.sessions.read().unwrap().clone();
    for stored in &left {
        assert!(fleet.any_instance().get(&stored.token).await);
    }
    let sealed = Instance::start(Sealed, server.url()).await;
    for stored in &left {
        assert!(sealed.get(&stored.token).await);
    }
}
