//! Cache of metric handles, for metrics whose labels have few values.

use std::cell::RefCell;

/// Cache of the handles of one metric, by label values. Each thread has its own cache.
///
/// A look-up of a metric in the metrics recorder requires allocations and locks, which cost more
/// than incrementing the metric. `Meters` looks up each combination of label values once per
/// thread. The number of combinations must be bounded, because no handle is removed from the cache.
pub(crate) struct Meters<L, M> {
    known: RefCell<Vec<(L, M)>>,
    register: fn(L) -> M,
}

impl<L: Copy + PartialEq, M> Meters<L, M> {
    /// Creates an empty cache of metric handles. When a combination of label values is used for the
    /// first time, the cache calls `register` to get the handle from the metrics recorder.
    pub(crate) const fn new(register: fn(L) -> M) -> Self {
        Self {
            known: RefCell::new(Vec::new()),
            register,
        }
    }

    /// Calls `count` with the metric handle for the label values `labels`. Returns the result of
    /// `count`.
    pub(crate) fn with<T>(&self, labels: L, count: impl FnOnce(&M) -> T) -> T {
        let mut known = self.known.borrow_mut();
        let index = known.iter().position(|(known, _)| *known == labels);
        let index = index.unwrap_or_else(|| {
            known.push((labels, (self.register)(labels)));
            known.len() - 1
        });
        count(&known[index].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_is_registered_once_for_each_set_of_labels() {
        let meters = Meters::new(|label: &'static str| RefCell::new(label.to_owned()));
        for label in ["a", "b", "a", "a"] {
            meters.with(label, |metric| metric.borrow_mut().push('+'));
        }
        assert_eq!(meters.with("a", |metric| metric.borrow().clone()), "a+++");
        assert_eq!(meters.with("b", |metric| metric.borrow().clone()), "b+");
        assert_eq!(meters.known.borrow().len(), 2);
    }
}
