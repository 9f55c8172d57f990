//! How sure the figures of a report are, and which of them rose or fell in the course of the run.

use serde_json::{Map, Value, json};

use super::blocks::KINDS;
use super::text::{rate, shown};
use super::{PERCENTILES, Report};
use crate::bench::record::percentile;
use crate::bench::trials::{Margin, Trend, Unsure, percentile_margin, percentile_trend, rate_margin, rate_trend};

/// The 95 % interval of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Blocks depended on each other: `~`.
    pub(crate) is_rough: bool,
}

impl Interval {
    fn around(figure: f64, margin: &Margin) -> Self {
        let half = margin.half();
        Self { low: (figure - half).max(0.0), high: figure + half, is_rough: margin.is_rough }
    }

    /// Half of it, as a share of the figure: `±1.2 %`.
    pub(super) fn told(&self, figure: f64) -> String {
        let mark = if self.is_rough { "~" } else { "" };
        let percent = (self.high - figure) / figure.max(f64::MIN_POSITIVE) * 100.0;
        match percent {
            0.0..9.95 => format!("{mark}±{percent:.1} %"),
            9.95..999.5 => format!("{mark}±{percent:.0} %"),
            _ => format!("{mark}>±999 %"),
        }
    }
}

impl Report {
    /// Of a percentile of a kind of times, in nanoseconds.
    pub(super) fn interval(&self, kind: &str, percent: f64) -> Result<Interval, Unsure> {
        let times = self.times().into_iter().find_map(|(name, times)| times.filter(|_| name == kind));
        let times = times.filter(|times| !times.is_empty()).ok_or(Unsure::TooFewAnswers)?;
        let margin = percentile_margin(self.blocks.times(kind), percent)?;
        let figure = percentile(times, percent);
        let interval = Interval::around(figure as f64, &margin);
        // Within its bucket of the histogram nothing is known of it.
        Ok(Interval { low: interval.low.min(times.lowest_equivalent(figure) as f64), ..interval })
    }

    /// Of the rate of right answers, per second.
    pub(super) fn rate_interval(&self) -> Result<Interval, Unsure> {
        let margin = rate_margin(&self.blocks.tallies())?;
        Ok(Interval::around(self.per_second, &margin))
    }

    /// All figures that may have an interval, by their names, with their factor in JSON.
    fn intervals(&self) -> impl Iterator<Item = (String, Result<Interval, Unsure>, f64)> {
        let rate = ("requests_per_second".to_owned(), self.rate_interval(), 1.0);
        let measured = self.times().into_iter().filter(|(_, times)| times.is_some());
        let percentiles = measured.flat_map(move |(kind, _)| {
            PERCENTILES.map(|(percent, name)| (format!("{kind}_{name}_us"), self.interval(kind, percent), 1e-3))
        });
        [rate].into_iter().chain(percentiles)
    }

    /// The ends of all intervals, as metrics; null where there is none.
    pub(super) fn interval_metrics(&self) -> Map<String, Value> {
        let mut metrics = Map::new();
        let rate = ["requests_per_second".to_owned()].into_iter();
        let names = KINDS.into_iter().flat_map(|kind| PERCENTILES.map(|(_, name)| format!("{kind}_{name}_us")));
        for name in rate.chain(names) {
            metrics.insert(format!("{name}_low"), Value::Null);
            metrics.insert(format!("{name}_high"), Value::Null);
        }
        for (name, interval, factor) in self.intervals() {
            let Ok(Interval { low, high, .. }) = interval else { continue };
            for (end, number) in [("low", low), ("high", high)] {
                metrics.insert(format!("{name}_{end}"), ((number * factor * 1e6).round() / 1e6).into());
            }
        }
        metrics
    }

    /// Which intervals are rough, and why others are not there.
    pub(super) fn interval_notes(&self) -> Value {
        let (mut rough, mut none) = (Vec::new(), Map::new());
        for (name, interval, _) in self.intervals() {
            match interval {
                Ok(interval) if interval.is_rough => rough.push(name),
                Ok(_) => {}
                Err(why) => _ = none.insert(name, why.to_string().into()),
            }
        }
        json!({ "confidence": 0.95, "rough": rough, "none": none })
    }

    /// What rose or fell: of the times one, the highest percentile that did; and in the closed loop the rate. Or that
    /// nobody knows, nor any interval: the blocks of a sum were left out.
    pub(super) fn trends(&self) -> Vec<String> {
        if self.about["blocks_left_out"] == true {
            let why = "the runs began in too many places of their blocks, or these have too many lengths";
            return vec![format!(
                "{why}, to be added up: there are no intervals, and no times in the course of the run"
            )];
        }
        let (kind, _) = self.main_times();
        let of_times = [(99.0, "p99"), (50.0, "p50")].into_iter().find_map(|(percent, name)| {
            let trend = percentile_trend(self.blocks.times(kind), percent)?;
            let told = |nanos: f64| shown(nanos as u64);
            Some(format!("{name} {} from {} to {} during the run", verb(&trend), told(trend.from), told(trend.to)))
        });
        // A server that has gone is told of in another way.
        let blocks = self.blocks.tallies();
        let of_rate =
            rate_trend(&blocks).filter(|_| !self.is_open() && self.gone_after_seconds.is_none()).map(|trend| {
                format!(
                    "the rate {} from {} to {} a second during the run",
                    verb(&trend),
                    rate(trend.from),
                    rate(trend.to)
                )
            });
        of_times.into_iter().chain(of_rate).collect()
    }
}

fn verb(trend: &Trend) -> &'static str {
    if trend.is_rise() { "rose" } else { "fell" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_told_as_a_share_of_its_figure() {
        let interval = |high: f64| Interval { low: 0.0, high, is_rough: false };
        for (high, text) in [
            (100.0, "±0.0 %"),
            (101.24, "±1.2 %"),
            (109.94, "±9.9 %"),
            (109.96, "±10 %"),
            (300.0, "±200 %"),
            (5_000.0, ">±999 %"),
        ] {
            assert_eq!(interval(high).told(100.0), text);
        }
        assert_eq!(Interval { is_rough: true, ..interval(103.0) }.told(100.0), "~±3.0 %");
        assert_eq!(interval(0.0).told(0.0), "±0.0 %");
    }

    #[test]
    fn no_interval_begins_below_nothing() {
        let margin = Margin { figure: 90.0, error: 100.0, blocks: 32, is_rough: true };
        let interval = Interval::around(100.0, &margin);
        assert!(interval.low == 0.0 && (interval.high - 304.0).abs() < 0.1 && interval.is_rough, "{interval:?}");
    }
}
