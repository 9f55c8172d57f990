//! A report for people: summary, percentiles, a histogram as bars, warnings, and a last line that grep finds.

use std::fmt::{self, Write};

use hdrhistogram::Histogram;

use super::{PERCENTILES, Report, figures, judged, micros, parts, probe};
use crate::bench::record::{Fact, ProbePart, Shares, Transport, values_of};

/// Characters of the longest bar.
const BAR: f64 = 40.0;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.without_last_line(f)?;
        writeln!(f, "\n{}", self.last_line())
    }
}

impl Report {
    /// All but the line for grep.
    pub(super) fn without_last_line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title)?;
        if self.is_sum() {
            parts::table(f, self)?;
            writeln!(f)?;
        }
        self.summary(f)?;
        self.percentiles(f)?;
        let (name, times) = self.main_times();
        writeln!(f, "\n{name} time")?;
        bars(f, times)?;
        probe::block(f, self)?;
        warn(f, &self.warnings())?;
        judged::table(f, self.requirements.iter().map(|judged| (String::new(), judged)))
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |fact: Fact| grouped(self.counts[fact]);
        writeln!(
            f,
            "requests     {} answered right and in time, {} a second over {:.2} s{}{}",
            count(Fact::Requests),
            per_second(self.per_second),
            self.seconds,
            if self.is_sum() && self.forced().next().is_none() { " in common" } else { "" },
            self.rate_interval().map_or(String::new(), |interval| format!(" ({})", interval.told(self.per_second)))
        )?;
        let classes = Fact::ERRORS.map(|fact| format!("{} {}", count(fact), fact.name()));
        writeln!(f, "errors       {}: {}", grouped(self.counts.errors()), classes.join(", "))?;
        for fact in [Fact::Duplicate, Fact::Reordered, Fact::KernelDrops, Fact::Unfinished] {
            if self.counts[fact] > 0 {
                writeln!(f, "             {} {}", count(fact), fact.name().replace('_', " "))?;
            }
        }
        if self.counts[Fact::ConnectionsRequested] > 0 {
            let stalled = match self.counts[Fact::ConnectionsStalled] {
                0 => String::new(),
                _ => format!(", {} stalled", count(Fact::ConnectionsStalled)),
            };
            writeln!(
                f,
                "connections  {} of {} made in {:.3} s, {} lost, {} without an answer{}; {} idle ones held to the end",
                count(Fact::ConnectionsOpened),
                count(Fact::ConnectionsRequested),
                self.connect_seconds,
                count(Fact::ConnectionsLost),
                count(Fact::ConnectionsUnserved),
                stalled,
                count(Fact::IdleHeld)
            )?;
        }
        self.transport(f)?;
        if self.has_heartbeats {
            let outcomes = Fact::HEARTBEATS
                .map(|fact| format!("{} {}", count(fact), fact.name().strip_prefix("heartbeats_").unwrap_or_default()));
            writeln!(
                f,
                "heartbeats   {} due: {}; {} idle ones silent",
                count(Fact::Heartbeats),
                outcomes.join(", "),
                count(Fact::IdleSilent)
            )?;
        }
        if let Some(told) = self.told_of_looks() {
            writeln!(f, "until        {told}")?;
        }
        let Some((cost, cpu_per_request)) = self.cost.zip(self.cpu_per_request()) else { return Ok(()) };
        writeln!(
            f,
            "load         {:.2} s of CPU, {:.2} µs a request{}\n             {}{}",
            cost.cpu_seconds,
            cpu_per_request * 1e6,
            if self.is_open() { " with polling" } else { "" },
            if self.is_sum() { "the run with the least time left: " } else { "" },
            told(cost.shares)
        )
    }

    /// What TCP did: round trips are those that the kernel has smoothed, one of each connection.
    fn transport(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Transport { retransmits, shortest, round_trips }) = &self.transport else { return Ok(()) };
        write!(f, "tcp          {} segments sent again", grouped(*retransmits))?;
        match (shortest, figures(Some(round_trips))[0].1) {
            (Some(shortest), Some(median)) => writeln!(
                f,
                "; round trip {} at the least, {} in the median of {} connections",
                shown(*shortest),
                shown(median),
                grouped(round_trips.len())
            ),
            _ => writeln!(f),
        }
    }

    fn percentiles(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["50 %", "90 %", "99 %", "99.9 %", "99.99 %", "max"];
        writeln!(f, "\n{:9}{}", "", titles.map(|title| format!("{title:>10}")).concat())?;
        for (name, times) in self.times() {
            if times.is_none() {
                continue;
            }
            let values = figures(times).map(|(_, nanos)| format!("{:>10}", nanos.map_or("-".to_owned(), shown)));
            writeln!(f, "{name:<9}{}", values.concat())?;
            writeln!(f, "{}", format!("{:9}{}", "", self.margins(name)).trim_end())?;
        }
        self.explain_margins(f)?;
        if self.is_open() {
            writeln!(f, "service: from when a request was sent; response: from when it was due; lag: between the two")
        } else {
            writeln!(
                f,
                "closed loop: a connection waits for its answer before it asks again, so a slow server is asked less often\n\
                 and its worst times are under-represented; --rate asks on schedule"
            )
        }
    }

    /// The intervals of the percentiles of a kind of times, in their columns.
    fn margins(&self, kind: &str) -> String {
        let figures = figures(self.times().into_iter().find_map(|(name, times)| times.filter(|_| name == kind)));
        let margin = |(percent, nanos): (f64, u64)| match self.interval(kind, percent) {
            Ok(interval) => interval.told(nanos as f64),
            Err(_) => "–".to_owned(),
        };
        let known = PERCENTILES.iter().zip(figures).map(|((percent, _), (_, nanos))| Some((*percent, nanos?)));
        known.map(|figure| format!("{:>10}", figure.map_or(String::new(), margin))).collect()
    }

    /// What stands below the percentiles.
    fn explain_margins(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: String =
            self.times().iter().filter(|(_, times)| times.is_some()).map(|(kind, _)| self.margins(kind)).collect();
        if kinds.contains('±') {
            writeln!(f, "±: 95 % intervals, from the blocks of the run")?;
        }
        if kinds.contains('~') {
            writeln!(f, "~: blocks were alike and were joined; what lasts for long may not be in it")?;
        }
        if kinds.contains('–') {
            let reason = |kind: &str| PERCENTILES.iter().find_map(|(percent, _)| self.interval(kind, *percent).err());
            let (kind, _) = self.main_times();
            if let Some(why) = reason(kind) {
                writeln!(f, "–: {why}")?;
            }
        }
        Ok(())
    }

    /// One line with the figures that matter, to be found by grep.
    pub(super) fn last_line(&self) -> String {
        let mut line = format!(
            "result: requests={} per_second={:.1} errors={}",
            self.counts[Fact::Requests],
            self.per_second,
            self.counts.errors()
        );
        let shown = [
            Fact::Lost,
            Fact::Late,
            Fact::Wrong,
            Fact::Duplicate,
            Fact::ConnectionsLost,
            Fact::ConnectionsFailed,
            Fact::ConnectionsUnserved,
            Fact::ConnectionsStalled,
            Fact::Refused,
            Fact::Broken,
            Fact::Unsent,
        ];
        let shown_with_heartbeats = [Fact::Heartbeats, Fact::HeartbeatsAnswered, Fact::IdleHeld, Fact::IdleSilent];
        let beating = shown_with_heartbeats.into_iter().filter(|_| self.has_heartbeats);
        for fact in shown.into_iter().chain(beating) {
            let _ = write!(line, " {}={}", fact.name(), self.counts[fact]);
        }
        let (kind, times) = self.main_times();
        for (name, nanos) in figures(Some(times)) {
            let value = nanos.map_or("-".to_owned(), |nanos| format!("{:.1}", micros(nanos)));
            let _ = write!(line, " {kind}_{name}_us={value}");
        }
        if let Some(probe) = &self.probe {
            for fact in [Fact::Probes, Fact::ProbesAnswered] {
                let _ = write!(line, " {}={}", fact.name(), self.counts[fact]);
            }
            let [p50, _, p99, _, _, max] = figures(Some(probe.of(ProbePart::Whole)));
            for (name, nanos) in [p50, p99, max] {
                let value = nanos.map_or("-".to_owned(), |nanos| format!("{:.1}", micros(nanos)));
                let _ = write!(line, " probe_{name}_us={value}");
            }
        }
        if !self.requirements.is_empty() {
            let met = self.requirements.iter().filter(|judged| judged.is_met()).count();
            let _ = write!(line, " requirements_met={met}/{}", self.requirements.len());
        }
        if let Some(missing) = self.about["missing_parts"].as_array() {
            let _ = write!(line, " missing_parts={}", missing.len());
        }
        line + if self.is_partial { " partial" } else { "" }
    }
}

/// What a load generator did with its time.
fn told(shares: Shares) -> String {
    let [working, waiting] = [shares.working, shares.waiting()].map(|share| share * 100.0);
    match shares.taken_away {
        Some(taken) => format!(
            "working {working:.0} % of the time, waiting or polling {waiting:.0} %, its CPU taken away {:.0} %",
            taken * 100.0
        ),
        // Where the kernel keeps no account.
        None => format!("working {working:.0} % of the time, waiting, polling or without a CPU {waiting:.0} %"),
    }
}

/// A histogram as bars, in steps of 1, 2 and 5: they show a tail that a linear scale would hide.
fn bars(f: &mut fmt::Formatter<'_>, times: &Histogram<u64>) -> fmt::Result {
    if times.is_empty() {
        return writeln!(f, "  no answers");
    }
    let mut steps: Vec<(u64, u64)> = Vec::new();
    for (value, count) in values_of(times) {
        let bound = step_above(value);
        match steps.last_mut() {
            Some((last, sum)) if *last == bound => *sum += count,
            _ => steps.push((bound, count)),
        }
    }
    let most = steps.iter().map(|(_, count)| *count).max().unwrap_or(1);
    let mut below = 0;
    for (bound, count) in steps {
        below += count;
        let length = (count as f64 / most as f64 * BAR).ceil() as usize;
        let share = below as f64 / times.len() as f64 * 100.0;
        writeln!(f, "  < {:>8} {:<40} {:>13} {share:>8.3} %", shown(bound), "#".repeat(length), grouped(count))?;
    }
    Ok(())
}

/// The first of 1, 2, 5, 10, 20 … that is above a value.
fn step_above(value: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            if step > value || step == u64::MAX {
                return step;
            }
        }
        power = power.saturating_mul(10);
    }
}

/// Nanoseconds for people, with three digits.
pub(super) fn shown(nanos: u64) -> String {
    let (number, unit) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => (nanos as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (nanos as f64 / 1e6, "ms"),
        _ => (nanos as f64 / 1e9, "s"),
    };
    match number {
        0.0..10.0 => format!("{number:.2} {unit}"),
        10.0..100.0 => format!("{number:.1} {unit}"),
        _ => format!("{number:.0} {unit}"),
    }
}

/// A rate for people: whole where it is large, with three digits where it is not.
pub(super) fn rate(per_second: f64) -> String {
    let decimals = match per_second {
        100.0.. => return format!("{per_second:.0}"),
        10.0..100.0 => 1,
        1.0..10.0 => 2,
        _ => 4,
    };
    let text = format!("{per_second:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Answers a second, for people.
pub(super) fn per_second(rate_of_them: f64) -> String {
    if rate_of_them < 100.0 { rate(rate_of_them) } else { grouped(rate_of_them.round() as u64) }
}

/// Warnings in a block of their own, where there are any.
pub(super) fn warn(f: &mut fmt::Formatter<'_>, warnings: &[String]) -> fmt::Result {
    if !warnings.is_empty() {
        writeln!(f)?;
    }
    warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
}

/// A number with commas between its thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_their_unit() {
        for (nanos, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_234, "1.23 µs"),
            (12_345, "12.3 µs"),
            (123_456, "123 µs"),
            (1_234_567, "1.23 ms"),
            (5_000_000_000, "5.00 s"),
        ] {
            assert_eq!(shown(nanos), text);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (12_345_678, "12,345,678")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn rates_are_whole_only_where_they_are_large() {
        for (per_second, text) in [
            (0.0, "0"),
            (0.0001, "0.0001"),
            (0.5, "0.5"),
            (1.0, "1"),
            (3.333, "3.33"),
            (20.0, "20"),
            (99.94, "99.9"),
            (1234.6, "1235"),
            (1000.0, "1000"),
        ] {
            assert_eq!(rate(per_second), text);
        }
    }

    #[test]
    fn steps_are_1_2_5() {
        for (value, step) in [(0, 1), (1, 2), (2, 5), (4, 5), (5, 10), (99, 100), (100, 200), (u64::MAX, u64::MAX)] {
            assert_eq!(step_above(value), step);
        }
    }
}
