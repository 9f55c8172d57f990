//! Which charts a page has: what several runs have in common stands in one picture, a line for each of them.

use hdrhistogram::Histogram;

use super::Exhibit;
use super::axis::{Axis, nines, place_of};
use super::chart::{Chart, MUTED, Series};
use crate::bench::record::values_of;
use crate::bench::report::Report;
use crate::bench::report::blocks::Blocks;
use crate::bench::report::searched::{Searched, Trial};
use crate::bench::report::text::grouped;
use crate::bench::trials::Tally;

/// Colours that the style sheet has.
const COLOURS: usize = 8;

/// More parts than this are not told apart: their sum is.
const MOST_PARTS: usize = 12;

/// Bars of a histogram, at the most.
const BARS: f64 = 64.0;

/// Bars that are narrower than this, as a ratio, would show the histogram's own digits.
const NARROWEST: f64 = 1.02;

/// Places on an axis that can be told apart.
const DISTINCT: f64 = 600.0;

/// Some times of a run, and how they are drawn.
struct Drawn<'a> {
    name: String,
    class: String,
    times: &'a Histogram<u64>,
}

/// All charts of these runs.
pub(super) fn charts(exhibits: &[Exhibit<'_>]) -> Vec<Chart> {
    let kinds = match exhibits {
        [only] => kinds_of(only.report),
        _ => main_times(exhibits),
    };
    let mut charts = vec![percentiles(&kinds), histogram(&main_times(exhibits), exhibits.len() == 1)];
    charts.extend(courses(exhibits));
    charts
}

/// The trials of a search: times over the rate, which of them were not met, and the limit.
pub(super) fn search(searched: &Searched) -> Chart {
    let trials = searched.trials();
    let rates = trials.iter().map(|trial| (trial.rate(), trial.rate()));
    let (lowest, highest) =
        rates.reduce(|(low, high), (rate, _)| (low.min(rate), high.max(rate))).unwrap_or((1.0, 10.0));
    let times = trials.iter().flat_map(|trial| [trial.p50, trial.p99, trial.max]).flatten().map(|nanos| nanos as f64);
    let times: Vec<f64> = times.chain(searched.limit()).collect();
    let shortest = times.iter().copied().reduce(f64::min).unwrap_or(1e3);
    let longest = times.iter().copied().reduce(f64::max).unwrap_or(1e6);
    let (x, y) = (Axis::rates("requests a second", lowest, highest), Axis::times("time", shortest, longest));
    let point = |trial: &Trial, nanos: Option<u64>| Some((place_of(trial.rate()), place_of(nanos? as f64)));
    let line = |name: &str, class: &str, of: fn(&Trial) -> Option<u64>| Series {
        name: name.to_owned(),
        class: class.to_owned(),
        pieces: vec![searched.curve().into_iter().filter_map(|trial| point(trial, of(trial))).collect()],
        is_filled: false,
    };
    let mut series = vec![
        line("p50", "s0", |trial| trial.p50),
        line("p99", "s1", |trial| trial.p99),
        line("max", "s2", |trial| trial.max),
    ];
    series.extend(searched.limit().map(|limit| Series {
        name: "limit of p99".to_owned(),
        class: "s3 dashed".to_owned(),
        pieces: vec![vec![(x.from, place_of(limit)), (x.to, place_of(limit))]],
        is_filled: false,
    }));
    let unmet = trials.iter().filter(|trial| !trial.is_met()).filter_map(|trial| point(trial, trial.p99));
    series.push(Series {
        name: "p99 of trials not met".to_owned(),
        class: "s6".to_owned(),
        pieces: unmet.map(|point| vec![point]).collect(),
        is_filled: false,
    });
    Chart { id: "search", title: "Times over the rate: the trials of the search".to_owned(), x, y, series }
}

/// The class of one of several lines: its colour, and dashes where colours are used again.
pub(super) fn class_of(exhibits: &[Exhibit<'_>], place: usize) -> String {
    let parts = exhibits.iter().filter(|exhibit| exhibit.is_part).count();
    if exhibits.get(place).is_some_and(|exhibit| exhibit.is_part) && parts > MOST_PARTS {
        return MUTED.to_owned();
    }
    let dashes = if place / COLOURS % 2 == 1 { " dashed" } else { "" };
    format!("s{}{dashes}", place % COLOURS)
}

/// The kinds of times of one run, that which a user feels first.
fn kinds_of(report: &Report) -> Vec<Drawn<'_>> {
    let (main, _) = report.main_times();
    let mut kinds: Vec<_> = report.times().into_iter().filter_map(|(name, times)| Some((name, times?))).collect();
    kinds.sort_by_key(|(name, _)| *name != main);
    let drawn = |(place, (name, times))| Drawn { name: format!("{name} time"), class: format!("s{place}"), times };
    kinds.into_iter().enumerate().map(drawn).collect()
}

/// The times that users of each run feel.
fn main_times<'a>(exhibits: &'a [Exhibit<'_>]) -> Vec<Drawn<'a>> {
    let drawn = |(place, exhibit): (usize, &'a Exhibit<'_>)| {
        let (kind, times) = exhibit.report.main_times();
        let name = if exhibits.len() == 1 { format!("{kind} time") } else { exhibit.label.clone() };
        Drawn { name, class: class_of(exhibits, place), times }
    };
    exhibits.iter().enumerate().map(drawn).collect()
}

/// The shortest and the longest of all these times, in nanoseconds.
fn extent<'a>(all: impl Iterator<Item = &'a Histogram<u64>>) -> (f64, f64) {
    let ends = all.filter(|times| !times.is_empty()).map(|times| (times.min() as f64, times.max() as f64));
    ends.reduce(|(low, high), (min, max)| (low.min(min), high.max(max))).unwrap_or((1e3, 1e6))
}

fn percentiles(all: &[Drawn<'_>]) -> Chart {
    let (shortest, longest) = extent(all.iter().map(|drawn| drawn.times));
    let most = all.iter().map(|drawn| drawn.times.len()).max().unwrap_or_default();
    let (x, y) = (Axis::percentiles("percentile of answers, %", most), Axis::times("time", shortest, longest));
    let series = |drawn: &Drawn<'_>| Series {
        name: drawn.name.clone(),
        class: drawn.class.clone(),
        pieces: vec![curve(drawn.times, (x.to - x.from) / DISTINCT, (y.to - y.from) / DISTINCT)],
        is_filled: false,
    };
    let series = all.iter().map(series).collect();
    Chart { id: "percentiles", title: "Times by percentile".to_owned(), x, y, series }
}

/// The time of each share of the answers, in steps: each time holds from the share below it to its own. Points closer than
/// can be seen are left out.
fn curve(times: &Histogram<u64>, closest_x: f64, closest_y: f64) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    let answers = times.len();
    let mut below = 0;
    for (nanos, count) in values_of(times) {
        let from = nines(below as f64 / answers as f64, answers);
        below += count;
        let (to, y) = (nines(below as f64 / answers as f64, answers), place_of(nanos as f64));
        let is_close = points.last().is_some_and(|last| to - last.0 < closest_x && y - last.1 < closest_y);
        if !is_close || below == answers {
            points.extend([(from, y), (to, y)]);
        }
    }
    points
}

/// How the answers are spread over times.
fn histogram(all: &[Drawn<'_>], is_filled: bool) -> Chart {
    let (shortest, longest) = extent(all.iter().map(|drawn| drawn.times));
    let x = Axis::times("time", shortest, longest);
    let width = ((x.to - x.from) / BARS).max(NARROWEST.log10());
    let heights: Vec<Vec<f64>> = all.iter().map(|drawn| shares(drawn.times, x.from, width)).collect();
    let most = heights.iter().flatten().copied().fold(0.0, f64::max);
    let outline = |heights: &[f64]| {
        let bar = |(place, height): (usize, &f64)| {
            let left = x.from + place as f64 * width;
            [(left, *height), ((left + width).min(x.to), *height)]
        };
        let first = heights.iter().position(|height| *height > 0.0).unwrap_or_default();
        let last = heights.iter().rposition(|height| *height > 0.0).map_or(first, |last| last + 1);
        let mut outline: Vec<_> = heights.iter().enumerate().take(last).skip(first).flat_map(bar).collect();
        if let (Some(first), Some(last)) = (outline.first().copied(), outline.last().copied()) {
            outline.insert(0, (first.0, 0.0));
            outline.push((last.0, 0.0));
        }
        vec![outline]
    };
    let series = all.iter().zip(&heights).map(|(drawn, heights)| Series {
        name: drawn.name.clone(),
        class: drawn.class.clone(),
        pieces: outline(heights),
        is_filled,
    });
    let series = series.collect();
    Chart { id: "histogram", title: "Histogram".to_owned(), y: Axis::even("share of answers, %", most), x, series }
}

/// The share of these times that each bar has, in per cent.
fn shares(times: &Histogram<u64>, from: f64, width: f64) -> Vec<f64> {
    let mut shares = Vec::new();
    for (nanos, count) in values_of(times) {
        let bar = ((place_of(nanos as f64) - from) / width).max(0.0) as usize;
        if shares.len() <= bar {
            shares.resize(bar + 1, 0.0);
        }
        shares[bar] += count as f64 / times.len() as f64 * 100.0;
    }
    shares
}

/// A figure of each block of a run, in places of its axis; `None` where nothing was measured.
type Course = Vec<Option<f64>>;

/// A figure in the course of time.
struct Figure {
    id: &'static str,
    name: &'static str,
    of: fn(&Report) -> Course,
}

const RATE: Figure = Figure { id: "rate", name: "right answers", of: rates };
const ERRORS: Figure = Figure { id: "errors", name: "errors", of: errors };
const TIMES: [Figure; 3] = [
    Figure { id: "p50", name: "p50", of: |report| percentile(report, 50.0) },
    Figure { id: "p99", name: "p99", of: |report| percentile(report, 99.0) },
    Figure { id: "max", name: "max", of: |report| percentile(report, 100.0) },
];

/// Rate, times and errors in the course of time: the times of one run are in one chart, those of several in one each.
fn courses(exhibits: &[Exhibit<'_>]) -> Vec<Chart> {
    let is_one = exhibits.len() == 1;
    let end = |exhibit: &Exhibit<'_>| exhibit.report.blocks.seconds * exhibit.report.blocks.outcomes.len() as f64;
    let x = Axis::seconds("seconds measured", exhibits.iter().map(end).fold(0.0, f64::max));
    let lines = |figure: &Figure, class: &str| -> Vec<Series> {
        let line = |(place, exhibit): (usize, &Exhibit<'_>)| Series {
            name: if is_one { figure.name.to_owned() } else { exhibit.label.clone() },
            class: if is_one { class.to_owned() } else { class_of(exhibits, place) },
            pieces: pieces(exhibit.report.blocks.seconds, &(figure.of)(exhibit.report)),
            is_filled: false,
        };
        exhibits.iter().enumerate().map(line).collect()
    };
    let chart = |id, title, y, series| Chart { id, title, x: x.clone(), y, series };
    let of_times = |id, title, series: Vec<Series>| {
        let (lowest, highest) = reach(&series).unwrap_or((3.0, 6.0));
        chart(id, title, Axis::times("time", 10f64.powf(lowest), 10f64.powf(highest)), series)
    };
    let of_rates = |figure: &Figure, title, class| {
        let series = lines(figure, class);
        let (_, highest) = reach(&series).unwrap_or_default();
        chart(figure.id, title, Axis::even(&format!("{} a second", figure.name), highest), series)
    };
    let mut charts = vec![of_rates(&RATE, "Rate during the run".to_owned(), "s0")];
    if is_one {
        let all = TIMES.iter().zip(["s0", "s1", "s2"]).flat_map(|(figure, class)| lines(figure, class));
        charts.push(of_times("times", "Times during the run".to_owned(), all.collect()));
    } else {
        let one = |figure: &Figure| of_times(figure.id, format!("{} during the run", figure.name), lines(figure, ""));
        charts.extend(TIMES.iter().map(one));
    }
    charts.push(of_rates(&ERRORS, title_of_errors(exhibits), "s6"));
    charts
}

/// Errors have all of them in their title: what is beside the blocks is in no line.
fn title_of_errors(exhibits: &[Exhibit<'_>]) -> String {
    let runs = exhibits.iter().filter(|exhibit| !exhibit.is_part);
    match runs.map(|exhibit| exhibit.report.counts.errors()).sum() {
        0 => "Errors during the run: none".to_owned(),
        errors => format!("Errors during the run: {} in all", grouped(errors)),
    }
}

fn rates(report: &Report) -> Course {
    report.blocks.tallies().iter().map(Tally::rate).collect()
}

fn errors(report: &Report) -> Course {
    let Blocks { outcomes, seconds, .. } = &report.blocks;
    outcomes.iter().map(|outcomes| Some(outcomes.failed as f64 / seconds)).collect()
}

fn percentile(report: &Report, percent: f64) -> Course {
    let (kind, _) = report.main_times();
    report.blocks.times(kind).iter().map(|times| times.percentile(percent).map(place_of)).collect()
}

/// The points of a course, each in the middle of its block, with gaps where there is none.
fn pieces(seconds: f64, course: &[Option<f64>]) -> Vec<Vec<(f64, f64)>> {
    let point = |(block, value): (usize, &Option<f64>)| Some(((block as f64 + 0.5) * seconds, (*value)?));
    let points: Vec<Option<(f64, f64)>> = course.iter().enumerate().map(point).collect();
    let pieces = points.split(Option::is_none).filter(|piece| !piece.is_empty());
    pieces.map(|piece| piece.iter().flatten().copied().collect()).collect()
}

/// The lowest and the highest place of all these lines.
fn reach(series: &[Series]) -> Option<(f64, f64)> {
    let places = series.iter().flat_map(|series| series.pieces.iter().flatten()).map(|point| (point.1, point.1));
    places.reduce(|(low, high), (place, _)| (low.min(place), high.max(place)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::histogram as empty;

    #[test]
    fn a_time_without_answers_is_a_gap() {
        let course = [Some(1.0), Some(2.0), None, Some(3.0), None];
        assert_eq!(pieces(0.5, &course), [vec![(0.25, 1.0), (0.75, 2.0)], vec![(1.75, 3.0)]]);
        assert!(pieces(1.0, &[None]).is_empty() && reach(&[]).is_none());
    }

    #[test]
    fn a_curve_tells_the_percentiles_of_the_report() {
        let mut times = empty();
        (1..=10_000).for_each(|micro| times.record(micro * 1_000).unwrap());
        let points = curve(&times, 0.0, 0.0);
        for percent in [50.0, 90.0, 99.0, 99.9] {
            let at = nines(percent / 100.0, times.len());
            // From left to right: the step that reaches it.
            let (_, place) = points.iter().find(|point| point.0 >= at - 1e-9).unwrap();
            let expected = place_of(crate::bench::record::percentile(&times, percent) as f64);
            assert!((place - expected).abs() < 0.001, "{percent}: {place} for {expected}");
        }
        assert!((points.last().unwrap().1 - place_of(times.max() as f64)).abs() < 1e-9);
        assert!(curve(&times, 0.01, 0.01).len() < 1_500 && curve(&empty(), 0.1, 0.1).is_empty());
    }

    #[test]
    fn bars_have_all_answers() {
        let mut times = empty();
        [70, 1_000, 1_000_000, 5_000_000_000].into_iter().for_each(|nanos| times.record_n(nanos, 25).unwrap());
        let chart = histogram(&[Drawn { name: String::new(), class: String::new(), times: &times }], true);
        let shares = shares(&times, chart.x.from, (chart.x.to - chart.x.from) / BARS);
        assert_eq!(shares.iter().filter(|share| **share == 25.0).count(), 4);
        assert_eq!(shares.iter().sum::<f64>(), 100.0);
    }
}
