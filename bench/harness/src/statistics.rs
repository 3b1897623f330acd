//! Few numbers out of many.

/// The middle one, with the least and the most.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of the rounds of a run; nothing of none, or of rounds that did not measure it.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        if values.iter().any(|value| value.is_nan()) {
            return None;
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        let median = f64::midpoint(sorted[low], sorted[high]);
        Some(Self {
            median,
            least,
            most,
        })
    }

    /// `12.3 [11.9-12.8]`, or `12.3` of one round.
    pub(crate) fn in_words(self, digits: usize) -> String {
        let Self {
            median,
            least,
            most,
        } = self;
        if least == most {
            return format!("{median:.digits$}");
        }
        format!("{median:.digits$} [{least:.digits$}-{most:.digits$}]")
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn median_is_the_middle_and_of_two_between_them() {
        let median = |values: &[f64]| Spread::of(values).map(|spread| spread.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
