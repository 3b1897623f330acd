//! Metrics by labels that have few values.

use std::cell::RefCell;

/// Metrics of one name, one for each set of labels, as this thread has met them.
///
/// Finding a metric by its labels in the recorder takes allocations and locks, which cost more than
/// counting: here that is done once for each set. Labels must be bounded.
pub(crate) struct Meters<L, M> {
    known: RefCell<Vec<(L, M)>>,
    register: fn(L) -> M,
}

impl<L: Copy + PartialEq, M> Meters<L, M> {
    /// `register` asks the recorder for a metric.
    pub(crate) const fn new(register: fn(L) -> M) -> Self {
        Self {
            known: RefCell::new(Vec::new()),
            register,
        }
    }

    /// Counts with the metric of these labels.
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
    fn each_set_of_labels_has_one_metric() {
        let meters = Meters::new(|label: &'static str| RefCell::new(label.to_owned()));
        for label in ["a", "b", "a", "a"] {
            meters.with(label, |metric| metric.borrow_mut().push('+'));
        }
        assert_eq!(meters.with("a", |metric| metric.borrow().clone()), "a+++");
        assert_eq!(meters.with("b", |metric| metric.borrow().clone()), "b+");
        assert_eq!(meters.known.borrow().len(), 2);
    }
}
