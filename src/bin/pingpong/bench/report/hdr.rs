//! Histograms as an HdrHistogram log, format 1.3: what the standard tools read and plot.
//!
//! One line for each second and kind of time, under the tags `service` and `response`; values in nanoseconds.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use crate::bench::record::{Latency, Ledger, Part, histogram};

/// Beside each histogram the log shows its largest value, in milliseconds.
const MAX_DIVISOR: f64 = 1e6;

/// Writes what a load has measured that began at `started` of the wall clock.
pub(crate) fn write(out: &mut impl Write, ledger: &Ledger, started: SystemTime) -> io::Result<()> {
    let from = ledger.from();
    let began = started + ledger.elapsed(from);
    let mut serializer = V2DeflateSerializer::new();
    IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Logged with pingpong bench; values in nanoseconds]")
        .with_start_time(began)
        .begin_log_with(out, &mut serializer)?;
    writeln!(out, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")?;
    let mut log =
        IntervalLogWriterBuilder::new().with_max_value_divisor(MAX_DIVISOR).begin_log_with(out, &mut serializer)?;
    let service = parts_of("service", Some(&ledger.service));
    let mut parts: Vec<(&str, &Part)> = service.chain(parts_of("response", ledger.response.as_ref())).collect();
    parts.sort_by_key(|(_, part)| part.from);
    for (kind, part) in parts {
        let mut times = histogram();
        for (value, count) in &part.values {
            times.record_n(*value, *count).expect("it grows");
        }
        let start = part.from.since(from);
        let length = part.until.since(part.from).max(Duration::from_millis(1));
        log.write_histogram(&times, start, length, Tag::new(kind)).map_err(|error| match error {
            IntervalLogWriterError::IoError(error) => error,
            IntervalLogWriterError::SerializeError(error) => io::Error::other(error.to_string()),
        })?;
    }
    Ok(())
}

fn parts_of<'a>(kind: &'a str, times: Option<&'a Latency>) -> impl Iterator<Item = (&'a str, &'a Part)> {
    times.into_iter().flat_map(|times| &times.parts).map(move |part| (kind, part))
}
