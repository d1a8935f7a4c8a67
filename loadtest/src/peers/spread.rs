//! A figure over several rounds.

use std::fmt;

use serde_json::{Value, json};

/// The median, the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Of these values; `None` when there are none.
    pub(super) fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        Some(Spread { median: (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0, min, max })
    }

    /// As JSON.
    pub(super) fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// With as many places as the precision says; the width is not heeded.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = f.precision().unwrap_or(1);
        let Spread { median, min, max } = self;
        write!(f, "{median:.places$} ({min:.places$} .. {max:.places$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of(vec![4.0, 1.0, 3.0, 2.0]).expect("there are values");
        assert_eq!(spread, Spread { median: 2.5, min: 1.0, max: 4.0 });
        assert_eq!(format!("{spread:.2}"), "2.50 (1.00 .. 4.00)");
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
