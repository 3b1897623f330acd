//! Two service instances that are replaced one at a time while clients send requests.

use nix::sys::signal::Signal;
use tee_session_test_support::ServiceProcess;

use crate::{
    load::{Habits, Load, SITE_CLIENTS, Shared},
    site::Site,
    stage::{CLIENTS, GATEWAY_FLAGS, Lab, READY_WITHIN, STOPPED_WITHIN},
    tally::Tally,
};

/// Binary that an instance runs: the old one or the new one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Old,
    New,
}

/// Two service instances, and the clients that send requests to both instances. Instances of the
/// new binary have the upstream gateway.
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
    /// clients. Some of the clients call a site.
    pub(super) async fn start(
        labs: [&'a Lab; 2],
        versions: [Version; 2],
        flags: &'static [&'static str],
        url: String,
    ) -> anyhow::Result<Self> {
        let instances = [
            start(labs, versions[0], &url, flags).await,
            start(labs, versions[1], &url, flags).await,
        ];
        let habits = Habits {
            uses_idempotency_keys: false,
            merges_cookies: false,
            ..Habits::default()
        };
        let bases = bases(&instances);
        let mut fleet = Self {
            labs,
            flags,
            url,
            versions,
            instances,
            load: Load::start_with(habits, CLIENTS, bases),
        };
        fleet.send_to_both();
        fleet.load.call_site(SITE_CLIENTS, Site::start()?);
        Ok(fleet)
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
        self.send_to_both();
    }

    /// Lets the clients send requests to both instances. Only the instances of the new binary have
    /// the upstream gateway.
    fn send_to_both(&self) {
        let bases = bases(&self.instances);
        let old = bases.iter().zip(self.versions);
        let old = old.filter(|(_, version)| *version == Version::Old);
        let shared = self.load.shared();
        shared.set_without_gateway(old.map(|(base, _)| base.clone()).collect());
        shared.send_only_to(bases);
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

fn bases(instances: &[ServiceProcess; 2]) -> Vec<String> {
    let bases = instances.iter().map(ServiceProcess::base);
    bases.map(str::to_owned).collect()
}

/// Starts an instance that runs the binary `version`, and waits until the instance is ready. `url`
/// is the URL of Redis.
async fn start(
    [old, new]: [&Lab; 2],
    version: Version,
    url: &str,
    flags: &[&str],
) -> ServiceProcess {
    let instance = match version {
        // The old binary refuses flags that it does not know.
        Version::Old => old.start(url, flags).await,
        Version::New => new.start(url, &[flags, &GATEWAY_FLAGS].concat()).await,
    };
    instance.until_ready(READY_WITHIN).await;
    instance
}
