//! `--assert 'latency_ms.network.p99<50'`: a figure of the report and what it must be.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

/// A figure by its path, an operator, and a number.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Assertion {
    path: String,
    operator: Operator,
    bound: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    AtMost,
    AtLeast,
    Equal,
    NotEqual,
    Below,
    Above,
}

/// Those of two characters come first: each begins as one of one does.
const OPERATORS: [(&str, Operator); 7] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Below),
    (">", Operator::Above),
    ("=", Operator::Equal),
];

/// Text that is no assertion.
#[derive(Debug, thiserror::Error)]
#[error("a path, one of < <= > >= == != and a number are expected, as in latency_ms.network.p99<50")]
pub(crate) struct NoAssertion;

/// What became of an assertion.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Outcome {
    /// It holds.
    Holds,
    /// It does not: what the figure was, if it is known at all.
    Fails(Option<f64>),
    /// The report has no such figure.
    NoSuchFigure,
}

impl FromStr for Assertion {
    type Err = NoAssertion;

    fn from_str(text: &str) -> Result<Assertion, NoAssertion> {
        let at = text.find(['<', '>', '=', '!']).ok_or(NoAssertion)?;
        let (path, rest) = text.split_at(at);
        let (sign, operator) = OPERATORS.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or(NoAssertion)?;
        let bound: f64 = rest[sign.len()..].trim().parse().map_err(|_| NoAssertion)?;
        let path = path.trim();
        if path.is_empty() || path.split('.').any(str::is_empty) || !bound.is_finite() {
            return Err(NoAssertion);
        }
        Ok(Assertion { path: path.to_owned(), operator, bound })
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = OPERATORS.iter().find(|(_, operator)| *operator == self.operator).map_or("", |(sign, _)| sign);
        write!(f, "{}{sign}{}", self.path, self.bound)
    }
}

impl Assertion {
    /// Looks the figure up in a report and compares. A figure that is null, because nothing could be measured, is below and above nothing.
    pub(crate) fn check(&self, report: &Value) -> Outcome {
        let Some(found) =
            report.pointer(&format!("/{}", self.path.replace('.', "/"))).or_else(|| unknown_part(report, &self.path))
        else {
            return Outcome::NoSuchFigure;
        };
        let figure = match found {
            Value::Null => return Outcome::Fails(None),
            Value::Bool(is) => f64::from(u8::from(*is)),
            Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
            _ => return Outcome::NoSuchFigure,
        };
        let holds = match self.operator {
            Operator::AtMost => figure <= self.bound,
            Operator::AtLeast => figure >= self.bound,
            Operator::Equal => figure == self.bound,
            Operator::NotEqual => figure != self.bound,
            Operator::Below => figure < self.bound,
            Operator::Above => figure > self.bound,
        };
        if holds { Outcome::Holds } else { Outcome::Fails(Some(figure)) }
    }
}

/// The null that stands for the whole part of the report in which the figure would be.
fn unknown_part<'v>(report: &'v Value, path: &str) -> Option<&'v Value> {
    let ends = path.match_indices('.').map(|(at, _)| at);
    ends.filter_map(|end| report.pointer(&format!("/{}", path[..end].replace('.', "/")))).find(|value| value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(text: &str) -> Outcome {
        let report = json!({
            "latency_ms": { "network": { "p99": 12.5 } },
            "server": null,
            "generator": { "saturated": false },
            "series": [{ "live": 3 }],
        });
        text.parse::<Assertion>().expect("an assertion").check(&report)
    }

    #[test]
    fn a_figure_is_compared_as_the_operator_says() {
        for holds in [
            "latency_ms.network.p99<50",
            "latency_ms.network.p99 <= 12.5",
            "latency_ms.network.p99>=12.5",
            "series.0.live==3",
            "generator.saturated=0",
            "latency_ms.network.p99 != 12",
            "latency_ms.network.p99>-1",
        ] {
            assert_eq!(outcome(holds), Outcome::Holds, "{holds}");
        }
        assert_eq!(outcome("latency_ms.network.p99<12.5"), Outcome::Fails(Some(12.5)));
        assert_eq!(outcome("generator.saturated==1"), Outcome::Fails(Some(0.0)));
    }

    #[test]
    fn what_is_not_known_fails_and_what_is_not_there_is_said() {
        assert_eq!(outcome("server.tick_us.p99<5"), Outcome::Fails(None));
        for missing in ["latency_ms.network.p98<5", "latency_ms<5", "series.1.live>0"] {
            assert_eq!(outcome(missing), Outcome::NoSuchFigure, "{missing}");
        }
    }

    #[test]
    fn what_is_no_assertion_is_refused() {
        for text in ["", "<5", "p99", "p99<", "p99<fast", "a..b<5", "p99<NaN", "p99~5"] {
            assert!(text.parse::<Assertion>().is_err(), "{text}");
        }
        let assertion: Assertion = "a.b <= 5".parse().expect("an assertion");
        assert_eq!(assertion.to_string(), "a.b<=5");
    }
}
