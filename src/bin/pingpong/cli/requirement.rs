//! `--require EXPR`: a figure, a comparison, and a limit with its unit. A mistake is answered with what would be right.

use super::units::{amount_of, duration_of};
use crate::bench::{Comparison, FIGURES, Fact, Kind, Quantity, Requirement, Unit, Until};

/// `p99<5ms`, `errors=0`, `errors<0.1%`, `rate>=19900`.
pub(super) fn requirement_of(text: &str) -> Result<Requirement, String> {
    let sign = |c: char| matches!(c, '<' | '>' | '=');
    let place = text.find(sign).ok_or_else(|| "write it like p99<5ms, errors=0 or rate>=19900".to_owned())?;
    let (name, rest) = (text[..place].trim(), &text[place..]);
    let signs = rest.find(|c| !sign(c)).unwrap_or(rest.len());
    let comparison = Comparison::ALL.into_iter().find(|(sign, _)| *sign == &rest[..signs]);
    let (_, comparison) = comparison.ok_or_else(|| "compare with <, <=, >, >= or =".to_owned())?;
    let quantity = Quantity::named(name).ok_or_else(|| unknown(name))?;
    let (quantity, limit) = limit_of(quantity, name, rest[signs..].trim())?;
    Ok(Requirement { text: text.split_whitespace().collect(), quantity, comparison, limit })
}

/// What a rate can be looked for by: the same, but for what rises with it by itself.
pub(super) fn wanted_of(text: &str) -> Result<Requirement, String> {
    let wanted = requirement_of(text)?;
    match wanted.quantity {
        Quantity::Figure(_, Unit::PerSecond) => {
            Err("the rate is what is looked for: --from and --to bound it".to_owned())
        }
        _ => Ok(wanted),
    }
}

/// `p99±5%`, `p99+-5%`.
pub(super) fn until_of(text: &str) -> Result<Until, String> {
    let mistake = || "write it like p99±5% (or p99+-5%), service_p50±1%".to_owned();
    let words: String = text.split_whitespace().collect();
    let (name, share) = words.split_once('±').or_else(|| words.split_once("+-")).ok_or_else(mistake)?;
    let share = share.strip_suffix('%').and_then(amount_of).filter(|share| (0.01..=100.0).contains(share));
    let share = share.ok_or_else(mistake)?;
    if Quantity::instead_of(name).is_some() {
        return Err(mistake());
    }
    match Quantity::named(name).ok_or_else(|| unknown(name))? {
        Quantity::Percentile { kind: Kind::Probe(_), .. } => Err("it is not for figures of the probe".to_owned()),
        Quantity::Percentile { kind, percent } if percent < 100.0 => {
            Ok(Until { kind, percent, share: share / 100.0, text: format!("{name}±{share}%") })
        }
        _ => Err(mistake()),
    }
}

/// A limit in the unit of its quantity, which becomes a share where the limit is one.
fn limit_of(quantity: Quantity, name: &str, text: &str) -> Result<(Quantity, f64), String> {
    if let Some(percent) = text.strip_suffix('%') {
        let limit = amount_of(percent.trim_end()).map(|percent| percent / 100.0);
        return quantity
            .as_share()
            .zip(limit)
            .ok_or_else(|| format!("{name} has no share: write {}", example(quantity)));
    }
    let seconds = || duration_of(&text.replace('µ', "u")).ok().map(|duration| duration.as_secs_f64());
    let number = || amount_of(text);
    let limit = match quantity.unit() {
        // With its unit in the name, the limit needs none.
        Unit::Micros => seconds().map(|seconds| seconds * 1e6).or_else(|| number().filter(|_| name.contains("_us"))),
        Unit::Seconds => seconds().or_else(number),
        Unit::PerSecond => amount_of(text.strip_suffix("/s").unwrap_or(text)),
        Unit::Times | Unit::Share => number(),
    };
    limit.map(|limit| (quantity, limit)).ok_or_else(|| format!("write the limit of {name} like {}", example(quantity)))
}

fn example(quantity: Quantity) -> &'static str {
    match quantity.unit() {
        Unit::Times => "3, 10k or 0.1%",
        Unit::PerSecond => "19900 or 20k",
        Unit::Micros => "200us, 5ms or 1s",
        Unit::Seconds => "1.5 or 250ms",
        Unit::Share => "0.9 or 90%",
    }
}

/// That there is no such figure, and which there are.
fn unknown(name: &str) -> String {
    if let Some(other) = Quantity::instead_of(name) {
        return format!("no figure is called '{name}': write {other}");
    }
    let times = ["p50", "p90", "p99", "p999", "p9999", "max"];
    let of_kinds =
        ["service", "response", "lag", "probe"].into_iter().flat_map(|kind| times.map(|time| format!("{kind}_{time}")));
    let own = times.into_iter().chain(["errors", "rate"]).map(str::to_owned);
    let others = Fact::ALL.into_iter().map(|(_, name)| name).chain(FIGURES.into_iter().map(|(name, _)| name));
    let names = own.chain(of_kinds).chain(others.map(str::to_owned));
    let nearest = names.map(|other| (distance(name, &other), other)).min();
    match nearest {
        Some((edits, nearest)) if edits <= 2.max(name.len() / 4) && edits < name.len() => {
            format!("no figure is called '{name}': is it {nearest}?")
        }
        _ => format!(
            "no figure is called '{name}': there are p50, p99, p999, max (also service_p99, response_p99, lag_p99), errors, \
             rate, connections_lost, and all names of 'metrics' in the JSON"
        ),
    }
}

/// How many characters have to be added, left out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_what_they_say() {
        let wrote = |text: &str| {
            let Requirement { quantity, comparison, limit, .. } = requirement_of(text).unwrap();
            (quantity, comparison, limit)
        };
        let of = |name: &str| Quantity::named(name).unwrap();
        for (text, quantity, comparison, limit) in [
            ("p99<5ms", of("p99"), Comparison::Below, 5_000.0),
            ("max <= 1s", of("max"), Comparison::AtMost, 1e6),
            ("service_p50<200us", of("service_p50"), Comparison::Below, 200.0),
            ("service_p50<200µs", of("service_p50"), Comparison::Below, 200.0),
            ("service_p50_us<200", of("service_p50"), Comparison::Below, 200.0),
            ("service_p50_us<0.2ms", of("service_p50"), Comparison::Below, 200.0),
            ("errors=0", Quantity::Errors, Comparison::Equal, 0.0),
            ("errors<0.1%", Quantity::ShareOfErrors, Comparison::Below, 0.001),
            ("lost<=2%", Quantity::ShareOf(Fact::Lost), Comparison::AtMost, 0.02),
            ("rate>=19900", of("rate"), Comparison::AtLeast, 19_900.0),
            ("rate>20k/s", of("rate"), Comparison::Above, 20_000.0),
            ("connections_lost=0", of("connections_lost"), Comparison::Equal, 0.0),
            ("load_working<90%", of("load_working"), Comparison::Below, 0.9),
            ("connect_seconds<250ms", of("connect_seconds"), Comparison::Below, 0.25),
            ("load_cpu_us_per_request<3", of("load_cpu_us_per_request"), Comparison::Below, 3.0),
        ] {
            let (got, how, value) = wrote(text);
            assert_eq!((got, how), (quantity, comparison), "{text}");
            assert!((value - limit).abs() < 1e-9 * limit.max(1.0), "{text}: {value}");
        }
        assert_eq!(requirement_of(" p99 < 5ms ").unwrap().text, "p99<5ms");
    }

    #[test]
    fn how_well_a_percentile_is_to_be_known() {
        let parsed = |text: &str| until_of(text).map(|until| (until.percent, until.share, until.text));
        for text in ["p99±5%", "p99+-5%", " p99 ± 5 % "] {
            assert_eq!(parsed(text), Ok((99.0, 0.05, "p99±5%".to_owned())), "{text}");
        }
        for wrong in ["p99", "p99±5", "p99±0%", "p99±101%", "max±5%", "errors±5%", "p99-5%", "p100±5%", "±5%", ""]
        {
            assert!(until_of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mistake_is_told_with_what_would_be_right() {
        for (text, told) in [
            ("p99", "write it like p99<5ms"),
            ("", "write it like p99<5ms"),
            ("p99<", "200us, 5ms or 1s"),
            ("p99<5", "200us, 5ms or 1s"),
            ("p99<5%", "p99 has no share"),
            ("p99==5ms", "<, <=, >, >= or ="),
            ("p99<>5ms", "<, <=, >, >= or ="),
            ("errors=none", "3, 10k or 0.1%"),
            ("errors=-1", "3, 10k or 0.1%"),
            ("rate>1ms", "19900 or 20k"),
            ("eror=0", "is it errors?"),
            ("conections_lost=0", "is it connections_lost?"),
            ("response_p98x<1ms", "is it response_p90?"),
            ("p100<1s", "no figure is called 'p100': write max"),
            ("response_p1000_us<1000", "write response_max_us"),
            ("p100_high<1s", "no figure is called 'p100_high'"),
            ("<5ms", "names of 'metrics'"),
            ("speed>5", "names of 'metrics'"),
        ] {
            let mistake = requirement_of(text).unwrap_err();
            assert!(mistake.contains(told), "{text}: {mistake}");
        }
    }
}
