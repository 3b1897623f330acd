//! Look-up of the addresses of host names.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Future of a look-up: the addresses of a name, in the order of preference.
pub type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Finds the addresses of a host name.
pub trait Lookup: Send + Sync + 'static {
    /// Returns all addresses of `name`.
    fn addresses(&self, name: String) -> LookupFuture;
}

/// Maximum number of names that are looked up at the same time. Each look-up occupies a thread.
const MAX_LOOKUPS: usize = 8;

/// Looks up names as the operating system is configured (`/etc/hosts`, DNS).
#[derive(Debug)]
pub struct SystemLookup {
    threads: Arc<Semaphore>,
}

impl Default for SystemLookup {
    fn default() -> Self {
        Self {
            threads: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }
}

impl Lookup for SystemLookup {
    fn addresses(&self, name: String) -> LookupFuture {
        let threads = Arc::clone(&self.threads);
        Box::pin(async move {
            let thread = threads.acquire_owned().await.map_err(io::Error::other)?;
            // The thread continues after a timeout, so it holds the permit itself.
            let found = spawn_blocking(move || {
                let _thread = thread;
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip()).collect())
            });
            found.await.map_err(io::Error::other)?
        })
    }
}

type SharedResult = Result<Arc<[IpAddr]>, Arc<io::Error>>;

/// Combines concurrent look-ups of one name into one, so that a name whose servers do not answer
/// occupies one thread only.
pub(crate) struct SharedLookup {
    lookup: Arc<dyn Lookup>,
    running: Mutex<HashMap<String, WeakShared<BoxFuture<'static, SharedResult>>>>,
}

impl SharedLookup {
    pub(crate) fn new(lookup: Arc<dyn Lookup>) -> Self {
        Self {
            lookup,
            running: Mutex::default(),
        }
    }

    /// Returns the addresses of `name`. Nothing is kept after the last waiting caller has the
    /// result.
    pub(crate) async fn addresses(&self, name: &str) -> SharedResult {
        self.start(name).await
    }

    fn start(&self, name: &str) -> Shared<BoxFuture<'static, SharedResult>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, lookup| lookup.upgrade().is_some_and(|l| l.peek().is_none()));
        if let Some(lookup) = running.get(name).and_then(WeakShared::upgrade) {
            return lookup;
        }
        let found = self.lookup.addresses(name.to_owned());
        let found = async move { found.await.map(Arc::from).map_err(Arc::new) };
        let lookup = found.boxed().shared();
        if let Some(weak) = lookup.downgrade() {
            running.insert(name.to_owned(), weak);
        }
        lookup
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Notify;

    use super::*;

    struct Counting {
        calls: Arc<AtomicUsize>,
        answer: Arc<Notify>,
    }

    impl Lookup for Counting {
        fn addresses(&self, _name: String) -> LookupFuture {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let answer = Arc::clone(&self.answer);
            Box::pin(async move {
                answer.notified().await;
                Ok(vec![IpAddr::from([8, 8, 8, 8])])
            })
        }
    }

    #[tokio::test]
    async fn concurrent_lookups_of_one_name_are_one_lookup_and_nothing_is_kept() {
        let (calls, answer) = (Arc::default(), Arc::new(Notify::new()));
        let lookup = SharedLookup::new(Arc::new(Counting {
            calls: Arc::clone(&calls),
            answer: Arc::clone(&answer),
        }));
        let all = join_all((0..5).map(|_| lookup.addresses("golf.example")));
        let answered = async {
            // All callers are waiting now.
            tokio::task::yield_now().await;
            answer.notify_one();
        };
        let (found, ()) = futures_util::future::join(all, answered).await;
        assert!(found.into_iter().all(|found| found.unwrap().len() == 1));
        assert_eq!(calls.load(Ordering::SeqCst), 1);

        answer.notify_one();
        lookup.addresses("golf.example").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
