//! What a run is to come to (`--require`): a figure of its report, and a limit for it.
//!
//! A requirement is met where the figure is known, was measured on a run that came to its end, and keeps to the limit.
//! What was not measured meets nothing: not 0 errors of 0 requests, and no percentile of too few answers.

use std::fmt;

use super::record::{Fact, ProbePart};

/// A limit for a figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Requirement {
    /// As the user wrote it.
    pub(crate) text: String,
    pub(crate) quantity: Quantity,
    pub(crate) comparison: Comparison,
    /// In the unit of the quantity.
    pub(crate) limit: f64,
}

/// A figure that can be required.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Quantity {
    /// How often a fact came about.
    Count(Fact),
    /// How many requests failed.
    Errors,
    /// The same as a share of what there could have been.
    ShareOf(Fact),
    ShareOfErrors,
    /// The time that this share of the answers, in per cent, did not exceed; 100 for the longest.
    Percentile {
        kind: Kind,
        percent: f64,
    },
    /// An end of the interval of such a time.
    End {
        kind: Kind,
        percent: f64,
        is_high: bool,
    },
    /// A figure of this name in `metrics`.
    Figure(&'static str, Unit),
}

/// Kinds of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Response times in the open loop, service times in the closed one: those that the report shows as bars.
    Main,
    Service,
    Response,
    Lag,
    /// Of the probe's messages.
    Probe(ProbePart),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Times,
    PerSecond,
    Micros,
    Seconds,
    /// Of 1.
    Share,
}

impl Kind {
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("service", Self::Service), ("response", Self::Response), ("lag", Self::Lag)];
}

impl Comparison {
    /// As users write them. Those of two characters come first, for they begin like the others.
    pub(crate) const ALL: [(&'static str, Self); 5] =
        [("<=", Self::AtMost), (">=", Self::AtLeast), ("<", Self::Below), (">", Self::Above), ("=", Self::Equal)];

    pub(crate) fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Equal => value == limit,
        }
    }
}

/// The figures of `metrics` that are neither counts nor times of requests.
pub(crate) const FIGURES: [(&str, Unit); 17] = [
    ("requests_per_second", Unit::PerSecond),
    ("requests_per_second_low", Unit::PerSecond),
    ("requests_per_second_high", Unit::PerSecond),
    ("asked_per_second", Unit::PerSecond),
    ("seconds", Unit::Seconds),
    ("gone_after_seconds", Unit::Seconds),
    ("load_longest_pause_seconds", Unit::Seconds),
    ("connect_seconds", Unit::Seconds),
    ("load_cpu_seconds", Unit::Seconds),
    ("load_cpu_us_per_request", Unit::Micros),
    ("load_working", Unit::Share),
    ("load_waiting", Unit::Share),
    ("load_taken_away", Unit::Share),
    ("load_busy", Unit::Share),
    ("tcp_retransmits", Unit::Times),
    ("tcp_rtt_min_us", Unit::Micros),
    ("tcp_rtt_p50_us", Unit::Micros),
];

impl Quantity {
    /// The figure of this name: of `metrics`, or a shorter one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name == "errors" {
            return Some(Self::Errors);
        }
        let name = if name == "rate" { "requests_per_second" } else { name };
        let fact = Fact::ALL.into_iter().find(|(_, other)| *other == name).map(|(fact, _)| Self::Count(fact));
        let figure =
            || FIGURES.into_iter().find(|(other, _)| *other == name).map(|(name, unit)| Self::Figure(name, unit));
        fact.or_else(figure).or_else(|| Self::time_named(name))
    }

    /// `p99`, `service_p99`, `lag_max_us`, `p99_high`; `p999` is 99.9 %.
    fn time_named(name: &str) -> Option<Self> {
        let end = [("_low", false), ("_high", true)]
            .into_iter()
            .find_map(|(end, is_high)| Some((name.strip_suffix(end)?, is_high)));
        if let Some((name, is_high)) = end {
            let Self::Percentile { kind, percent } = Self::time_named(name)? else { return None };
            // The probe's figures have no intervals.
            let has_ends = percent < 100.0 && !matches!(kind, Kind::Probe(_));
            return has_ends.then_some(Self::End { kind, percent, is_high });
        }
        let of_the_probe = ProbePart::ALL.map(|(name, part)| (name, Kind::Probe(part)));
        let mut kinds = Kind::ALL.into_iter().chain(of_the_probe);
        let (kind, share) = match kinds.find_map(|(of, kind)| Some((kind, after(name, of)?))) {
            Some((kind, share)) => (kind, share.strip_suffix("_us").unwrap_or(share)),
            None => (Kind::Main, name),
        };
        if share == "max" {
            return Some(Self::Percentile { kind, percent: 100.0 });
        }
        let digits = share.strip_prefix('p').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        if is_a_hundred(digits) {
            return None;
        }
        let (whole, fraction) = digits.split_at_checked(2)?;
        let percent: f64 = format!("{whole}.{fraction}0").parse().ok()?;
        (percent > 0.0 && fraction.len() <= 4).then_some(Self::Percentile { kind, percent })
    }

    /// What is meant by `p100`, which would be 10.0 %: `max`, and `service_max` by `service_p100`.
    pub(crate) fn instead_of(name: &str) -> Option<String> {
        let (kind, digits) = name.rsplit_once('p')?;
        let (digits, unit) = digits.strip_suffix("_us").map_or((digits, ""), |digits| (digits, "_us"));
        let other = format!("{kind}max{unit}");
        (is_a_hundred(digits) && Self::named(&other).is_some()).then_some(other)
    }

    /// The same as a share, where that makes sense.
    pub(crate) fn as_share(self) -> Option<Self> {
        match self {
            Self::Count(fact) => Some(Self::ShareOf(fact)),
            Self::Errors => Some(Self::ShareOfErrors),
            Self::Figure(_, Unit::Share) => Some(self),
            _ => None,
        }
    }

    pub(crate) fn unit(self) -> Unit {
        match self {
            Self::Count(_) | Self::Errors => Unit::Times,
            Self::ShareOf(_) | Self::ShareOfErrors => Unit::Share,
            Self::Percentile { .. } | Self::End { .. } => Unit::Micros,
            Self::Figure(_, unit) => unit,
        }
    }

    /// Whether there is no such figure without a schedule.
    pub(crate) fn is_of_the_open_loop(self) -> bool {
        matches!(
            self,
            Self::Percentile { kind: Kind::Response | Kind::Lag, .. }
                | Self::End { kind: Kind::Response | Kind::Lag, .. }
                | Self::Figure("asked_per_second", _)
        )
    }

    /// Whether there is no such figure without a probe.
    pub(crate) fn is_of_the_probe(self) -> bool {
        match self {
            Self::Percentile { kind: Kind::Probe(_), .. } => true,
            Self::Count(fact) | Self::ShareOf(fact) => fact.is_of_the_probe(),
            _ => false,
        }
    }

    /// Whether there is no such figure without heartbeats.
    pub(crate) fn is_of_heartbeats(self) -> bool {
        matches!(self, Self::Count(fact) | Self::ShareOf(fact) if fact.is_of_heartbeats())
    }
}

/// Whether these digits of a percentile look like 100 %: `100`, `1000`. As `999` is 99.9 % they would be 10.0 %.
fn is_a_hundred(digits: &str) -> bool {
    digits.len() > 2 && digits.strip_prefix("10").is_some_and(|rest| rest.bytes().all(|byte| byte == b'0'))
}

/// What follows `KIND_` in a name.
fn after<'a>(name: &'a str, kind: &str) -> Option<&'a str> {
    name.strip_prefix(kind)?.strip_prefix('_')
}

impl Unit {
    /// Its name in JSON.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Times => None,
            Self::PerSecond => Some("per_second"),
            Self::Micros => Some("us"),
            Self::Seconds => Some("s"),
            Self::Share => Some("share"),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_metrics_and_shorter_ones() {
        let time = |kind, percent| Some(Quantity::Percentile { kind, percent });
        for (name, quantity) in [
            ("errors", Some(Quantity::Errors)),
            ("rate", Some(Quantity::Figure("requests_per_second", Unit::PerSecond))),
            ("requests_per_second", Some(Quantity::Figure("requests_per_second", Unit::PerSecond))),
            ("connections_lost", Some(Quantity::Count(Fact::ConnectionsLost))),
            ("p50", time(Kind::Main, 50.0)),
            ("p9999", time(Kind::Main, 99.99)),
            ("p05", time(Kind::Main, 5.0)),
            ("max", time(Kind::Main, 100.0)),
            ("lag_p999", time(Kind::Lag, 99.9)),
            ("service_p95_us", time(Kind::Service, 95.0)),
            ("response_max_us", time(Kind::Response, 100.0)),
            ("p99_high", Some(Quantity::End { kind: Kind::Main, percent: 99.0, is_high: true })),
            ("probe_p99_high", None),
            ("probe_p99", time(Kind::Probe(ProbePart::Whole), 99.0)),
            ("probe_away_p50_us", time(Kind::Probe(ProbePart::Away), 50.0)),
            ("lag_p50_us_low", Some(Quantity::End { kind: Kind::Lag, percent: 50.0, is_high: false })),
            ("max_high", None),
            ("p99_high_low", None),
            ("p10", time(Kind::Main, 10.0)),
            ("p105", time(Kind::Main, 10.5)),
            ("p100", None),
            ("p1000", None),
            ("service_p100_us", None),
            ("p100_high", None),
            ("p9", None),
            ("p00", None),
            ("p99_us", None),
            ("p99x", None),
            ("service", None),
            ("service_", None),
            ("p", None),
            ("pä", None),
            ("", None),
        ] {
            assert_eq!(Quantity::named(name), quantity, "{name}");
        }
    }
}
