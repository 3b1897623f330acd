//! Median, minimum and maximum of repeated measurements.

/// Median, minimum and maximum of repeated measurements of one figure.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Computes median, minimum and maximum of `values`, which contains one value for each round.
    /// Returns `None` if `values` is empty or contains NaN. NaN means that a round did not measure
    /// the figure.
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

    /// Formats median, minimum and maximum as `12.3 [11.9-12.8]`. Formats only the median (`12.3`)
    /// if minimum and maximum are equal. `digits` is the number of decimal places.
    pub(crate) fn format(self, digits: usize) -> String {
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
    fn median_of_an_even_number_of_values_is_the_mean_of_the_middle_two() {
        let median = |values: &[f64]| Spread::of(values).map(|spread| spread.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
