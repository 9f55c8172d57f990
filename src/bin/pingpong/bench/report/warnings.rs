//! Which figures of a report cannot be trusted, and why.

use std::collections::BTreeMap;
use std::io;

use nix::libc::EADDRNOTAVAIL;
use pingpong::{Endpoint, describe};
use serde_json::Value;

use super::merge::{listed as listed_parts, told_of_empty};
use super::text::{grouped, rate, shown};
use super::{PERCENTILES, Report, settings};
use crate::bench::record::{Cost, Fact, Wrong, percentile};
use crate::error::NO_PORT_LEFT;

/// The answers that have to lie beyond a percentile for it to mean something.
pub(super) const BEYOND: f64 = 10.0;

/// A lag, in nanoseconds, that is a part of the response times worth naming.
const LAG: u64 = 100_000;

/// A share of time without waiting at which the load generator itself may be the limit.
pub(super) const SATURATED: f64 = 0.95;

/// A share of time without a CPU that is worth naming.
const TAKEN_AWAY: f64 = 0.1;

/// Seconds from which on connecting was slow enough to say why.
const SLOW_TO_CONNECT: f64 = 1.0;

impl Report {
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        warnings.extend(self.forced().map(|why| format!("added up by --force, but not one load: {why}")));
        self.warn_of_parts(&mut warnings);
        self.warn_of_answers(&mut warnings);
        self.warn_of_connections(&mut warnings);
        self.warn_of_heartbeats(&mut warnings);
        self.warn_of_probe(&mut warnings);
        self.warn_of_retransmits(&mut warnings);
        self.warn_of_sending(&mut warnings);
        warnings.extend(self.trends());
        let answers = self.service.len() as f64;
        let vague = PERCENTILES.into_iter().find(|(percent, _)| answers * (100.0 - percent) / 100.0 < BEYOND);
        if let Some((percent, _)) = vague {
            warnings.push(format!("too few answers for p{percent} and beyond: {answers}"));
        }
        warnings
    }

    /// Parts of a sum that are missing, and files that have none.
    fn warn_of_parts(&self, warnings: &mut Vec<String>) {
        let missing: Vec<u64> =
            self.about["missing_parts"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        if !missing.is_empty() {
            let verb = if missing.len() == 1 { "part is" } else { "parts are" };
            let allowed_by = self.about["missing_parts_by"].as_str().unwrap_or("--partial");
            warnings.push(format!("{} {verb} missing ({allowed_by}): {}", missing.len(), listed_parts(&missing)));
        }
        let empty: Vec<&str> =
            self.about["empty_files"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !empty.is_empty() {
            warnings.push(told_of_empty(&empty));
        }
    }

    /// Messages of the probe without a right answer in time.
    fn warn_of_probe(&self, warnings: &mut Vec<String>) {
        let failures = Fact::PROBES.into_iter().filter(|fact| *fact != Fact::ProbesAnswered && self.counts[*fact] > 0);
        let told = |fact: Fact| format!("{} {}", self.counts[fact], fact.name().trim_start_matches("probe_"));
        let failures: Vec<String> = failures.map(told).collect();
        if !failures.is_empty() {
            let due = self.counts[Fact::Probes];
            warnings
                .push(format!("of the probe's {due} messages not all were answered in time: {}", failures.join(", ")));
        }
    }

    /// Answers that are missing or wrong.
    fn warn_of_answers(&self, warnings: &mut Vec<String>) {
        let count = |fact: Fact| self.counts[fact];
        match self.gone_after_seconds {
            Some(0.0) => warnings.push(self.never_there().to_owned()),
            Some(gone_after) => {
                // A number of requests has no time of its own: it ended when the server was gone.
                let of =
                    if self.seconds - gone_after < 0.05 { String::new() } else { format!(" of {:.1}", self.seconds) };
                warnings.push(format!(
                    "the server was gone after {gone_after:.1}{of} s: from then on nothing was answered"
                ));
            }
            None => {}
        }
        if self.is_partial && self.gone_after_seconds.is_none() {
            warnings.push(match self.measured {
                None => "interrupted before it began to measure".to_owned(),
                Some(_) => format!("interrupted: this is what came of {:.1} s", self.seconds),
            });
        }
        let wrong = count(Fact::Wrong);
        if wrong > 0 {
            warnings.push(format!(
                "{wrong} answers had wrong bytes: is it the right kind of server (--echo, --framing, --send)?"
            ));
        }
        self.warn_of_mistakes(warnings);
        let unanswered = count(Fact::Lost) + count(Fact::Broken) + count(Fact::Refused);
        if unanswered > 0 {
            warnings
                .push(format!("{unanswered} requests were never answered: percentiles know only of those that were"));
        }
        // What nobody at the port is called needs no words.
        if self.refused_reasons.keys().any(|why| why != "connection refused") {
            warnings.push(format!("{} requests were refused: {}", count(Fact::Refused), listed(&self.refused_reasons)));
        }
        let late = count(Fact::Late);
        if late > 0 {
            warnings.push(format!("{late} requests were answered right, but only after --timeout"));
        }
        // On a stream answers are late in order.
        let disordered = count(Fact::Lost) + count(Fact::Duplicate) + if self.is_stream { 0 } else { late };
        if self.is_by_order && disordered > 0 {
            warnings.push(
                "answers carry no number and some were missing or too many: which request an answer belongs to, and so its \
                 time, is a guess by their order (a --size of 12 or more has room for a number)"
                    .to_owned(),
            );
        }
        if self.is_budgeted && count(Fact::Lost) * 2 > count(Fact::Sent) {
            warnings.push(
                "most were lost: a pingpong server answers only so many such datagrams a second (see its --udp-budget)"
                    .to_owned(),
            );
        }
    }

    /// What the first answers were that were not right.
    fn warn_of_mistakes(&self, warnings: &mut Vec<String>) {
        let count = |fact: Fact| self.counts[fact];
        let when = |counted: u64| if counted > 0 { "" } else { "in the warm-up, " };
        if let Some(Wrong { got, expected }) = &self.mistakes.wrong {
            let (when, guess) = (when(count(Fact::Wrong) + count(Fact::HeartbeatsWrong)), protocol(got));
            warnings.push(format!("{when}the first wrong answer was \"{got}\" and not \"{expected}\"{guess}"));
        }
        if let Some(got) = &self.mistakes.unasked {
            let (when, guess) = (when(count(Fact::Duplicate)), protocol(got));
            warnings.push(format!("{when}the first answer that no request waited for was \"{got}\"{guess}"));
        }
        let chosen = &self.about["settings"]["effective"];
        // A server that has answered before knows what it is asked.
        let is_strange = !self.was_answered && count(Fact::Requests) + count(Fact::Late) == 0;
        if is_strange && chosen["sources_chosen"] == true {
            warnings.push(format!(
                "connections came from {}, not from 127.0.0.1: a server that serves that address alone (redis in its \
                 protected mode does) needs --source 127.0.0.1",
                chosen["sources"].as_str().unwrap_or_default()
            ));
        }
        // One that goes while --start-at is waited for was not asked anything.
        let has_waited = self.gone_after_seconds == Some(0.0)
            && !settings::effective_of_first(&self.about)["start_at_unix_seconds"].is_null();
        if is_strange && !has_waited && self.mistakes.wrong.is_none() && count(Fact::ConnectionsLost) > 0 {
            warnings.push(
                "the server closed its connections and answered nothing: is it the right kind of server (--framing, --send \
                 and --expect)?"
                    .to_owned(),
            );
        }
    }

    /// Connections that were not made or did not stay.
    fn warn_of_connections(&self, warnings: &mut Vec<String>) {
        let failed = self.counts[Fact::ConnectionsFailed];
        if failed > 0 {
            warnings.push(format!("{failed} connections could not be made ({})", listed(&self.refusals)));
            let portless = describe(&io::Error::from_raw_os_error(EADDRNOTAVAIL));
            if self.refusals.contains_key(&portless) {
                warnings.push(format!("{portless}: {NO_PORT_LEFT}, or give more addresses with --source"));
            }
        }
        let effective = settings::effective_of_first(&self.about);
        // At a rate it takes the time that was asked for.
        let is_paced = !effective["connect_rate_per_second"].is_null();
        if self.is_crowded && self.connect_seconds >= SLOW_TO_CONNECT && !is_paced {
            let endpoint = effective["endpoint"].as_str().and_then(|endpoint| endpoint.parse::<Endpoint>().ok());
            let is_range = endpoint.and_then(|endpoint| endpoint.ports()).is_some_and(|ports| ports.count() > 1);
            warnings.push(format!(
                "connecting took {:.1} s: beyond half of the local ports to one port of the server the kernel looks for each \
                 free one, port by port (give more addresses with --source, or {})",
                self.connect_seconds,
                if is_range { "more ports of the server" } else { "a range of ports, tcp://HOST:7000-7019" }
            ));
        }
        let lost = self.counts[Fact::ConnectionsLost];
        if lost > 0 {
            warnings.push(format!("{lost} connections were lost on the way"));
        }
        let unserved = self.counts[Fact::ConnectionsUnserved];
        if unserved > 0 {
            warnings.push(if self.is_stream {
                format!(
                    "{unserved} connections got no answer (is the server at its limit of connections? its kernel makes more)"
                )
            } else {
                format!("{unserved} sockets got no answer")
            });
        }
        let stalled = self.counts[Fact::ConnectionsStalled];
        if stalled > 0 {
            warnings.push(if self.is_stream {
                format!(
                    "{stalled} connections still waited for an answer whose time was up: that request keeps its place, and \
                     fewer were sent there"
                )
            } else {
                format!("{stalled} sockets, which had been answered before, got no answer in the measured time")
            });
        }
    }

    /// Heartbeats of idle connections without their right answer.
    fn warn_of_heartbeats(&self, warnings: &mut Vec<String>) {
        let count = |fact: Fact| self.counts[fact];
        let silent = count(Fact::IdleSilent);
        if silent > 0 {
            warnings.push(format!(
                "{silent} idle connections stayed open, but did not answer a heartbeat rightly within --timeout"
            ));
        }
        let unsent = count(Fact::HeartbeatsUnsent);
        if unsent > 0 {
            warnings.push(format!(
                "{unsent} heartbeats were due but never sent: their connections were not there, or still waited for the \
                 answer to the one before, or the load generator was too slow"
            ));
        }
        let is_too_short = count(Fact::Heartbeats) < count(Fact::IdleHeld) + silent;
        if self.has_heartbeats && is_too_short && self.measured.is_some() {
            warnings.push("not every idle connection was asked: the run is shorter than --heartbeat".to_owned());
        }
    }

    /// Segments that were sent again, and which answers may have waited for them.
    fn warn_of_retransmits(&self, warnings: &mut Vec<String>) {
        let retransmits = self.transport.as_ref().map_or(0, |transport| transport.retransmits);
        let answers = self.service.len();
        if retransmits > 0 && answers > 0 {
            let before = 100.0 * (1.0 - retransmits as f64 / answers as f64).max(0.0);
            warnings.push(format!(
                "{} segments were sent again by TCP, lost or not acknowledged in time: as many of the slowest answers (from {} \
                 on) may have waited for that (tcp_retransmits)",
                grouped(retransmits),
                shown(percentile(&self.service, before))
            ));
        }
    }

    /// Limits on this side that have a part in the figures.
    fn warn_of_sending(&self, warnings: &mut Vec<String>) {
        let count = |fact: Fact| self.counts[fact];
        let unsent = count(Fact::Unsent);
        if unsent > 0 {
            warnings.push(format!("{unsent} requests were due but never sent ({})", listed(&self.hindrances)));
        }
        let waits = count(Fact::PortWaits);
        if waits > 0 {
            warnings.push(format!(
                "local ports ran out {waits} times: the rate is theirs, not the server's (give more addresses with --source)"
            ));
        }
        if self.churn_ports.is_some_and(|ports| count(Fact::Sent) > ports) {
            warnings.push(
                "more connections than local ports: the kernel had to look for used ones whose time was over, which \
                 takes time (give more addresses with --source)"
                    .to_owned(),
            );
        }
        let drops = count(Fact::KernelDrops);
        if drops > 0 {
            warnings.push(format!(
                "{drops} answers were dropped by our own kernel: raise net.core.rmem_max, or use more sockets"
            ));
        }
        if self.longest_pause_seconds > 0.0 {
            warnings.push(format!(
                "the load generator stood still, for {:.1} s at the longest (stopped, or without a CPU): what came \
                 meanwhile was read only then, so waits of that time may be its own",
                self.longest_pause_seconds
            ));
        }
        self.warn_of_lag(warnings);
        self.warn_of_shares(warnings);
    }

    /// A load generator that had no time to spare, and whose fault that was.
    fn warn_of_shares(&self, warnings: &mut Vec<String>) {
        let Some(Cost { shares, .. }) = self.cost else { return };
        let taken_away = shares.taken_away.unwrap_or_default();
        if taken_away > TAKEN_AWAY {
            warnings.push(format!(
                "the load generator's CPU was taken away {:.0} % of the time: pin it (taskset), or leave it a core",
                taken_away * 100.0
            ));
        } else if shares.working + taken_away > SATURATED {
            warnings.push(format!(
                "the load generator is the limit, working {:.0} % of the time: the server may be faster than this (load \
                 from several processes, 'bench merge')",
                shares.working * 100.0
            ));
        }
    }

    fn warn_of_lag(&self, warnings: &mut Vec<String>) {
        let Some(lag) = &self.lag else { return };
        let p99 = percentile(lag, 99.0);
        if p99 > LAG {
            warnings.push(format!(
                "the schedule was not kept: p99 of the lag is {}; it is in the response times",
                shown(p99)
            ));
        }
        let asked = self.asked_per_second.unwrap_or_default();
        let sent = (self.counts[Fact::Sent] as f64) / self.seconds.max(f64::MIN_POSITIVE);
        if self.seconds > 0.0 && sent < asked * 0.99 - 1.0 {
            warnings.push(format!("asked for {} requests a second, sent {}", rate(asked), rate(sent)));
        }
    }
}

/// A guess at what a server speaks that answers like this.
fn protocol(answer: &str) -> &'static str {
    let guesses = [
        ("HTTP/", " (it speaks HTTP?)"),
        ("<!DOCTYPE", " (it speaks HTTP?)"),
        ("SSH-", " (it speaks SSH?)"),
        ("-DENIED", " (redis in protected mode? it serves 127.0.0.1 alone)"),
        ("-ERR", " (it speaks redis' protocol? try --send 'PING\\r\\n' --expect '+PONG\\r\\n')"),
        ("ERROR\\r", " (it speaks memcached's protocol?)"),
        ("220 ", " (it speaks SMTP or FTP?)"),
        ("\\u{15}\\u{3}", " (it speaks TLS?)"),
        ("Welcome!", " (it is a hello server?)"),
        ("Hello, ", " (it is a hello server?)"),
        ("ping ", " (it echoes? try --echo)"),
    ];
    guesses.into_iter().find(|(beginning, _)| answer.starts_with(beginning)).map_or("", |(_, guess)| guess)
}

/// Reasons, each with how often it came about.
fn listed(reasons: &BTreeMap<String, u64>) -> String {
    let reasons: Vec<String> = reasons.iter().map(|(why, count)| format!("{why}: {count}")).collect();
    reasons.join(", ")
}
