//! Test clients that continuously create, read, update and delete sessions, and check every
//! response.

mod client;
mod habits;
mod repetitions;
mod requests;
mod responses;
mod routes;
mod shared;
mod site_calls;
mod time_limits;

use std::sync::{Arc, atomic::Ordering};

use tokio::task::JoinSet;

pub(crate) use self::{
    habits::{Habits, PAUSE},
    shared::{COOKIE, Shared},
    site_calls::{SITE_CLIENTS, SiteCalls},
};
use crate::site::Site;

/// The running test clients. The clients end when [`stop`](Self::stop) is called or this value is
/// dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    /// The calls to a site, if [`call_site`](Self::call_site) was called.
    site_calls: Option<Arc<SiteCalls>>,
    clients: JoinSet<()>,
    /// Background task that measures how long tasks of this process wait for a CPU core. The
    /// results are in [`Shared::machine_delay`].
    _measurement: JoinSet<()>,
}

impl Load {
    /// Starts `clients` test clients with the default behaviour. `instances` are the base URLs of
    /// the service instances.
    pub(crate) fn start(clients: usize, instances: Vec<String>) -> Self {
        Self::start_with(Habits::default(), clients, instances)
    }

    /// Starts `clients` test clients with the behaviour `habits`. `instances` are the base URLs of
    /// the service instances.
    pub(crate) fn start_with(habits: Habits, clients: usize, instances: Vec<String>) -> Self {
        let shared = Arc::new(Shared::new(habits, instances));
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let shared = Arc::clone(&shared);
            tasks.spawn(async move { client::run(&shared, number).await });
        }
        let mut measurement = JoinSet::new();
        let measured = Arc::clone(&shared);
        measurement.spawn(async move { measured.machine_delay.measure().await });
        Self {
            shared,
            site_calls: None,
            clients: tasks,
            _measurement: measurement,
        }
    }

    /// Starts `clients` further clients, which call `site` through the upstream gateway.
    pub(crate) fn call_site(&mut self, clients: usize, site: Site) -> Arc<SiteCalls> {
        let calls = Arc::new(SiteCalls::new(site));
        for _ in 0..clients {
            let (shared, calls) = (Arc::clone(&self.shared), Arc::clone(&calls));
            let client = async move { site_calls::run(&shared, &calls).await };
            self.clients.spawn(client);
        }
        self.site_calls = Some(Arc::clone(&calls));
        calls
    }

    /// Returns the state that all test clients share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Stops all clients. Waits until each client has received the responses to its current
    /// requests.
    pub(crate) async fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            if client.is_err() {
                self.shared
                    .tally()
                    .add_violation("a client of the lab panicked");
            }
        }
        if let Some(calls) = self.site_calls.take() {
            calls.check_all(&self.shared);
        }
    }
}
