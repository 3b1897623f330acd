//! Two service instances that are replaced one at a time while clients send requests.

use nix::sys::signal::Signal;
use tee_session_test_support::ServiceProcess;

use crate::{
    load::{Habits, Load, Shared},
    stage::{CLIENTS, Lab, READY_WITHIN, STOPPED_WITHIN},
    tally::Tally,
};

/// Binary that an instance runs: the old one or the new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Old,
    New,
}

/// Two service instances, and the clients that send requests to both instances.
pub(super) struct Fleet<'a> {
    labs: [&'a Lab; 2],
    flags: &'static [&'static str],
    url: String,
    versions: [Version; 2],
    instances: [ServiceProcess; 2],
    load: Load,
}

impl<'a> Fleet<'a> {
    /// Starts the two instances of the first step, which run the binaries `versions`, and the
    /// clients.
    pub(super) async fn start(
        labs: [&'a Lab; 2],
        versions: [Version; 2],
        flags: &'static [&'static str],
        url: String,
    ) -> Self {
        let instances = [
            start(labs, versions[0], &url, flags).await,
            start(labs, versions[1], &url, flags).await,
        ];
        let bases = instances
            .each_ref()
            .map(|instance| instance.base().to_owned());
        let habits = Habits {
            uses_idempotency_keys: false,
            merges_cookies: false,
            ..Habits::default()
        };
        Self {
            labs,
            flags,
            url,
            versions,
            instances,
            load: Load::start_with(habits, CLIENTS, bases.to_vec()),
        }
    }

    /// Returns the state that all test clients share.
    pub(super) fn shared(&self) -> &Shared {
        self.load.shared()
    }

    /// Returns the name of the current step in the table: the binaries of both instances, such as
    /// `new, old`.
    pub(super) fn name(&self) -> String {
        let names = self.versions.map(|version| match version {
            Version::Old => "old",
            Version::New => "new",
        });
        names.join(", ")
    }

    /// Replaces each instance whose binary differs from the binary in `versions`, which has one
    /// entry for each instance.
    pub(super) async fn change_versions(&mut self, versions: [Version; 2]) {
        for (index, version) in versions.into_iter().enumerate() {
            if version != self.versions[index] {
                self.replace(index, version).await;
            }
        }
    }

    /// Replaces all instances by instances with the flags `flags`. Does nothing if all instances
    /// already have these flags.
    pub(super) async fn change_flags(&mut self, flags: &'static [&'static str]) {
        if flags != self.flags {
            self.flags = flags;
            for (index, version) in self.versions.into_iter().enumerate() {
                self.replace(index, version).await;
            }
        }
    }

    /// Replaces the instance `index` by an instance that runs the binary `version`. The clients act
    /// like a load balancer. They stop sending requests to the old instance before the old instance
    /// is stopped. They send requests to the new instance when the new instance is ready.
    async fn replace(&mut self, index: usize, version: Version) {
        let other = self.instances[1 - index].base().to_owned();
        self.load.shared().send_only_to(vec![other]);
        // After the pause, no request to the old instance is in flight.
        drop(self.load.shared().pause().await);
        self.stop(index).await;
        self.instances[index] = start(self.labs, version, &self.url, self.flags).await;
        self.versions[index] = version;
        let bases = self.instances.each_ref();
        let bases = bases.map(|instance| instance.base().to_owned());
        self.load.shared().send_only_to(bases.to_vec());
    }

    /// Stops the instance `index`. Checks that the exit code is 0, and that the log contains no
    /// token, cookie or panic.
    async fn stop(&mut self, index: usize) {
        let instance = &mut self.instances[index];
        instance.signal(Signal::SIGTERM);
        let ended = instance.ended(STOPPED_WITHIN).await;
        let leaks = self.load.shared().leaks(&instance.output());
        let mut tally = self.load.shared().tally();
        if ended.code() != Some(0) {
            tally.add_violation("an instance did not exit with code 0");
        }
        for leak in leaks {
            tally.add_violation(leak);
        }
    }

    /// Stops the clients and then the instances. Returns the counts of responses and violated
    /// expectations since the last step.
    pub(super) async fn end(mut self) -> Tally {
        self.load.stop().await;
        for index in 0..self.instances.len() {
            self.stop(index).await;
        }
        self.load.shared().take_tally()
    }
}

/// Starts an instance that runs the binary `version`, and waits until the instance is ready. `url`
/// is the URL of Redis.
async fn start(
    [old, new]: [&Lab; 2],
    version: Version,
    url: &str,
    flags: &[&str],
) -> ServiceProcess {
    let lab = match version {
        Version::Old => old,
        Version::New => new,
    };
    let instance = lab.start(url, flags).await;
    instance.until_ready(READY_WITHIN).await;
    instance
}
