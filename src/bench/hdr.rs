//! Histograms as an HdrHistogram log, format 1.3: what the standard tools read and plot.
//!
//! One line for each second and kind of time, under the tags `service` and `response`; values in nanoseconds.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use super::results::{Latency, Part, histogram};
use crate::moment::Moment;

/// What the largest value is divided by for show: the log shows it in milliseconds.
const MAX_DIVISOR: f64 = 1e6;

/// Writes the parts of these kinds of times; the measuring began at `from`, which the wall clock called `began`.
pub(super) fn write(
    out: &mut impl Write,
    kinds: &[(&str, &Latency)],
    from: Moment,
    began: SystemTime,
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[Logged with pingpong bench; values in nanoseconds]")
        .with_start_time(began)
        .begin_log_with(out, &mut serializer)?;
    writeln!(out, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")?;
    let mut log =
        IntervalLogWriterBuilder::new().with_max_value_divisor(MAX_DIVISOR).begin_log_with(out, &mut serializer)?;
    let mut parts: Vec<(&str, &Part)> =
        kinds.iter().flat_map(|(kind, times)| times.parts.iter().map(|part| (*kind, part))).collect();
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
