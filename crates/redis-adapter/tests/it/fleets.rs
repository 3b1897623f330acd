//! Every mixed fleet of a migration, under load: rolled out, rolled back, and rolled out again.

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

use crate::{Sessions, base_url, cookies, plain, python::PythonInstance, sessions_with, settings};

/// How long each fleet is under load before it changes.
const FLEET_LASTS: Duration = Duration::from_millis(300);

/// What may serve side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
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
    async fn start(kind: Kind, url: &str) -> Self {
        let settings = match kind {
            Kind::Python => return Self::Python(Box::new(PythonInstance::start(url).await)),
            Kind::Plain => plain(url),
            Kind::AcceptingPlain => settings(url).accepting_plain().unwrap(),
            Kind::Sealed => settings(url),
        };
        // A busy machine is no outage.
        Self::Ours(sessions_with(&settings.with_command_timeout(Duration::from_secs(5))).await)
    }

    async fn store(&self) -> SessionToken {
        match self {
            Self::Python(python) => {
                let cookies = r#"{"SESSIONID": "a1b2c3"}"#;
                let token = python
                    .ask(&["store", cookies, "https://golf.example"])
                    .await;
                token.as_str().unwrap().parse().unwrap()
            }
            Self::Ours(sessions) => sessions.store(cookies(), base_url()).await.unwrap().token,
        }
    }

    /// Whether there is the session, with what was stored.
    async fn get(&self, token: &SessionToken) -> bool {
        match self {
            Self::Python(python) => {
                let found = python.ask(&["get", token.expose_secret()]).await;
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
                let deleted = python.ask(&["delete", token.expose_secret()]).await;
                deleted == "true"
            }
            Self::Ours(sessions) => sessions.delete(token).await.unwrap(),
        }
    }
}

/// The instances that serve now, and the sessions that they share.
#[derive(Default)]
struct Fleet {
    instances: RwLock<Vec<Arc<Instance>>>,
    sessions: RwLock<Vec<Arc<Stored>>>,
    reads: AtomicUsize,
    logouts: AtomicUsize,
    stop: AtomicBool,
}

struct Stored {
    token: SessionToken,
    /// A logout has been asked for.
    is_ending: AtomicBool,
}

impl Fleet {
    fn any_instance(&self) -> Arc<Instance> {
        let instances = self
            .instances
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&instances[fastrand::usize(..instances.len())])
    }

    fn any_session(&self) -> Option<Arc<Stored>> {
        let sessions = self.sessions.read().unwrap();
        let any = fastrand::usize(..sessions.len().max(1));
        sessions.get(any).cloned()
    }

    async fn create(&self) {
        let token = self.any_instance().store().await;
        let stored = Arc::new(Stored {
            token,
            is_ending: AtomicBool::new(false),
        });
        self.sessions.write().unwrap().push(stored);
    }

    /// A session is found wherever it is asked for, unless somebody is logging it out.
    async fn read(&self) {
        let Some(stored) = self.any_session() else {
            return;
        };
        let found = self.any_instance().get(&stored.token).await;
        let may_be_gone = stored.is_ending.load(Ordering::SeqCst);
        assert!(found || may_be_gone, "a session was missed");
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// A logout at one instance holds at all.
    async fn log_out(&self) {
        let ended = {
            let mut sessions = self.sessions.write().unwrap();
            if sessions.len() < 40 {
                return;
            }
            let any = fastrand::usize(..sessions.len());
            sessions.swap_remove(any)
        };
        ended.is_ending.store(true, Ordering::SeqCst);
        assert!(self.any_instance().delete(&ended.token).await);
        for _ in 0..3 {
            let found = self.any_instance().get(&ended.token).await;
            assert!(!found, "a logout was undone");
        }
        self.logouts.fetch_add(1, Ordering::Relaxed);
    }

    async fn work(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            match fastrand::u8(..10) {
                0 | 1 => self.create().await,
                2 => self.log_out().await,
                _ => self.read().await,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fleet_of_the_migration_shares_all_sessions_under_load() {
    use Kind::{AcceptingPlain, Plain, Python, Sealed};
    // One instance changes at a time. Each step is taken, taken back, and taken again.
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
            tokio::spawn(async move { fleet.work().await })
        })
        .collect();
    for next in fleets {
        for (place, kind) in next.into_iter().enumerate() {
            if kinds[place] != kind {
                let instance = Arc::new(Instance::start(kind, server.url()).await);
                fleet.instances.write().unwrap()[place] = instance;
            }
        }
        kinds = next;
        sleep(FLEET_LASTS).await;
        let has_failed = workers.iter().any(tokio::task::JoinHandle::is_finished);
        assert!(!has_failed, "a worker failed with {kinds:?}");
    }
    fleet.stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    assert!(fleet.reads.load(Ordering::Relaxed) > 500);
    assert!(fleet.logouts.load(Ordering::Relaxed) > 20);

    // Whatever has been accessed once since the last step is sealed: plain ones may be forgotten.
    let left = fleet.sessions.read().unwrap().clone();
    for stored in &left {
        assert!(fleet.any_instance().get(&stored.token).await);
    }
    let sealed = Instance::start(Sealed, server.url()).await;
    for stored in &left {
        assert!(sealed.get(&stored.token).await);
    }
}
