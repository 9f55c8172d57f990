use super::{Fact, Report, Value, json, report};

/// The warning with this text of a report whose connections took so long, on a machine that has few ports for them.
fn warned(seconds: f64, settings: &[(&str, Value)], text: &str) -> Option<String> {
    let mut report: Report = report(&[], None, 20_000);
    (report.is_crowded, report.connect_seconds) = (true, seconds);
    for (name, value) in settings {
        report.about["settings"]["effective"][name] = value.clone();
    }
    report.warnings().into_iter().find(|warning| warning.contains(text))
}

#[test]
fn why_connecting_was_slow_is_told_only_where_it_was() {
    let slow = |seconds, settings: &[_]| warned(seconds, settings, "port by port");
    assert!(
        slow(4.2, &[]).is_some_and(|told| told.starts_with("connecting took 4.2 s") && told.contains("a range of"))
    );
    assert_eq!(slow(0.9, &[]), None);
    assert_eq!(slow(4.2, &[("connect_rate_per_second", json!(5_000.0))]), None, "as long as was asked for");
    let told = slow(4.2, &[("endpoint", json!("tcp://192.0.2.1:7000-7001"))]).unwrap();
    assert!(told.contains("more ports of the server") && !told.contains("a range"), "{told}");
}

#[test]
fn connections_without_a_local_port_name_the_sysctl() {
    let told_of = |why: &str| {
        let mut report = report(&[], None, 5);
        report.counts[Fact::ConnectionsFailed] = 3;
        report.refusals.insert(why.to_owned(), 3);
        report.warnings().iter().any(|warning| warning.contains("net.ipv4.ip_local_port_range"))
    };
    assert!(told_of("cannot assign requested address") && !told_of("connection refused"));
}

#[test]
fn a_server_that_was_never_reached_is_not_called_gone() {
    let told = |lost: u64| {
        let mut report = report(&[], None, 5);
        report.gone_after_seconds = Some(0.0);
        (report.counts[Fact::ConnectionsFailed], report.counts[Fact::ConnectionsLost]) = (1, lost);
        report.warnings().join("; ")
    };
    assert!(told(0).contains("none of the connections that ask could be made") && !told(0).contains("gone"));
    assert!(told(1).contains("gone before the measured time began"));
}
