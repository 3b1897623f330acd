//! Base URLs of the service instances, and the choice of the instance that receives a call of the
//! upstream gateway.

/// Base URLs of service instances.
#[derive(Default)]
pub(super) struct Routes {
    /// Base URLs of the instances to which the clients send requests.
    pub(super) instances: Vec<String>,
    /// Base URLs of the instances that have no upstream gateway.
    pub(super) without_gateway: Vec<String>,
    /// Base URLs of the instances that were killed.
    pub(super) killed: Vec<String>,
}

impl Routes {
    pub(super) fn to(instances: Vec<String>) -> Self {
        Self {
            instances,
            ..Self::default()
        }
    }

    /// Chooses an instance for a call of the upstream gateway. Three quarters of the calls get an
    /// instance with the gateway. The other calls get an instance without the gateway, which must
    /// refuse the call. If all instances are of one kind, every call gets such an instance.
    pub(super) fn for_call(&self) -> &str {
        let lacks = |base: &&String| self.without_gateway.contains(base);
        let (without, with): (Vec<_>, Vec<_>) = self.instances.iter().partition(lacks);
        let is_wrong = with.is_empty() || (!without.is_empty() && fastrand::u8(..4) == 0);
        let bases = if is_wrong { without } else { with };
        bases[fastrand::usize(..bases.len())]
    }
}
