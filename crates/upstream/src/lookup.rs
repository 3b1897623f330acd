//! Name resolution: look-up of the addresses of host names.

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
use tokio::{
    sync::{Semaphore, oneshot},
    task::{spawn, spawn_blocking},
};

/// Future of a look-up, which returns the addresses of a host name in the order of preference.
pub type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Resolves host names.
pub trait Lookup: Send + Sync + 'static {
    /// Returns all addresses of `name`.
    fn addresses(&self, name: String) -> LookupFuture;
}

/// Maximum number of host names that a client resolves at the same time. Each look-up may occupy a
/// thread.
const MAX_LOOKUPS: usize = 8;

/// Resolves host names like the operating system (`/etc/hosts`, DNS). Each look-up occupies a
/// thread until it ends, even if no caller waits for the result any more.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemLookup;

impl Lookup for SystemLookup {
    fn addresses(&self, name: String) -> LookupFuture {
        Box::pin(async move {
            let found = spawn_blocking(move || {
                let found = (name.as_str(), 0).to_socket_addrs()?;
                Ok(found.map(|address| address.ip()).collect())
            });
            found.await.map_err(io::Error::other)?
        })
    }
}

type SharedResult = Result<Arc<[IpAddr]>, Arc<io::Error>>;

type SharedFuture = Shared<BoxFuture<'static, SharedResult>>;

/// Combines concurrent look-ups of one host name into one look-up. If the DNS servers of a name do
/// not reply, the name therefore occupies only one thread. A look-up cannot be cancelled: it runs
/// to its end even if all callers have stopped waiting.
pub(crate) struct SharedLookup {
    lookup: Arc<dyn Lookup>,
    places: Arc<Semaphore>,
    running: Mutex<HashMap<String, WeakShared<BoxFuture<'static, SharedResult>>>>,
}

impl SharedLookup {
    pub(crate) fn new(lookup: Arc<dyn Lookup>) -> Self {
        Self {
            lookup,
            places: Arc::new(Semaphore::new(MAX_LOOKUPS)),
            running: Mutex::default(),
        }
    }

    /// Returns the addresses of `name`. The result is not cached for later calls.
    pub(crate) async fn addresses(&self, name: &str) -> SharedResult {
        self.start(name).await
    }

    fn start(&self, name: &str) -> SharedFuture {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, lookup| lookup.upgrade().is_some_and(|l| l.peek().is_none()));
        if let Some(lookup) = running.get(name).and_then(WeakShared::upgrade) {
            return lookup;
        }
        let (sender, receiver) = oneshot::channel();
        let found = async move {
            let given_up = |_| Err(Arc::new(io::Error::other("the look-up was given up")));
            receiver.await.unwrap_or_else(given_up)
        };
        let lookup = found.boxed().shared();
        if let Some(weak) = lookup.downgrade() {
            running.insert(name.to_owned(), weak.clone());
            let (lookup, places) = (Arc::clone(&self.lookup), Arc::clone(&self.places));
            spawn(look_up(lookup, name.to_owned(), places, weak, sender));
        }
        lookup
    }
}

/// Waits until fewer than [`MAX_LOOKUPS`] look-ups run. Then resolves `name` and sends the result
/// to `sender`. If no caller waits any more, does not start the look-up.
///
/// `shared` is the future that the callers wait for. It is kept alive during the look-up, so that
/// further callers can also wait for it.
async fn look_up(
    lookup: Arc<dyn Lookup>,
    name: String,
    places: Arc<Semaphore>,
    shared: WeakShared<BoxFuture<'static, SharedResult>>,
    mut sender: oneshot::Sender<SharedResult>,
) {
    let place = tokio::select! {
        biased;
        // No caller waits any more, so the look-up does not start.
        () = sender.closed() => return,
        place = places.acquire() => place,
    };
    let (Ok(_place), Some(_shared)) = (place, shared.upgrade()) else {
        return;
    };
    let found = lookup.addresses(name).await;
    let _ = sender.send(found.map(Arc::from).map_err(Arc::new));
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures_util::future::join_all;
    use tokio::{sync::Notify, time::timeout};

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
    async fn concurrent_calls_for_one_name_share_one_look_up_and_its_result_is_not_cached() {
        let (calls, answer) = (Arc::default(), Arc::new(Notify::new()));
        let lookup = SharedLookup::new(Arc::new(Counting {
            calls: Arc::clone(&calls),
            answer: Arc::clone(&answer),
        }));
        let all = join_all((0..5).map(|_| lookup.addresses("golf.example")));
        let answered = async {
            answer.notify_one();
        };
        let (found, ()) = futures_util::future::join(all, answered).await;
        assert!(found.into_iter().all(|found| found.unwrap().len() == 1));
        assert_eq!(calls.load(Ordering::SeqCst), 1);

        answer.notify_one();
        lookup.addresses("golf.example").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn next_call_for_a_name_joins_its_running_look_up_even_if_earlier_calls_timed_out() {
        let (calls, answer) = (Arc::default(), Arc::new(Notify::new()));
        let lookup = SharedLookup::new(Arc::new(Counting {
            calls: Arc::clone(&calls),
            answer: Arc::clone(&answer),
        }));
        for _ in 0..50 {
            let call = lookup.addresses("golf.example");
            assert!(timeout(Duration::from_secs(3), call).await.is_err());
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        // After the answer, the waiting call gets the result, and a new look-up of the name can
        // start.
        answer.notify_one();
        lookup.addresses("golf.example").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        answer.notify_one();
        lookup.addresses("golf.example").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn look_ups_over_the_limit_do_not_start_after_their_callers_have_given_up() {
        let (calls, answer) = (Arc::default(), Arc::new(Notify::new()));
        let lookup = SharedLookup::new(Arc::new(Counting {
            calls: Arc::clone(&calls),
            answer: Arc::clone(&answer),
        }));
        for index in 0..3 * MAX_LOOKUPS {
            let name = format!("golf{index}.example");
            let call = lookup.addresses(&name);
            assert!(timeout(Duration::from_secs(3), call).await.is_err());
        }
        assert_eq!(calls.load(Ordering::SeqCst), MAX_LOOKUPS);
        answer.notify_waiters();
        answer.notify_one();
        lookup.addresses("last.example").await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), MAX_LOOKUPS + 1);
    }
}
