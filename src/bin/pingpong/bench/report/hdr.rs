//! Histograms as an HdrHistogram log, format 1.3: what the standard tools read and plot.
//!
//! One line for each second and kind of time, under the tags `service` and `response`; values in nanoseconds.

use std::io::{self, Write};
use std::mem;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};

use pingpong::Moment;

use crate::bench::record::{Latency, Ledger, Part, histogram};

/// Beside each histogram the log shows its largest value, in milliseconds.
const MAX_DIVISOR: f64 = 1e6;

/// What the phases of a load have measured.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// When the first measured time began, by the load's clock and by the wall clock.
    began: Option<(Moment, SystemTime)>,
    /// Each part with its kind of time.
    parts: Vec<(&'static str, Part)>,
}

impl Log {
    /// Adds what a phase has measured, of a load that began at `started` of the wall clock.
    pub(crate) fn add(&mut self, ledger: &mut Ledger, started: SystemTime) {
        let from = ledger.from();
        self.began.get_or_insert((from, started + ledger.elapsed(from)));
        let mut take = |kind, times: &mut Latency| {
            self.parts.extend(mem::take(&mut times.parts).into_iter().map(|part| (kind, part)));
        };
        take("service", &mut ledger.service);
        if let Some(response) = &mut ledger.response {
            take("response", response);
        }
    }

    pub(crate) fn write(mut self, out: &mut impl Write) -> io::Result<()> {
        let Some((from, began)) = self.began else { return Ok(()) };
        let mut serializer = V2DeflateSerializer::new();
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("[Logged with pingpong bench; values in nanoseconds]")
            .with_start_time(began)
            .begin_log_with(out, &mut serializer)?;
        writeln!(out, "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"")?;
        let mut log =
            IntervalLogWriterBuilder::new().with_max_value_divisor(MAX_DIVISOR).begin_log_with(out, &mut serializer)?;
        self.parts.sort_by_key(|(_, part)| part.from);
        for (kind, part) in self.parts {
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
}
