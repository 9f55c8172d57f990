//! The sequence diagram at the end of a lesson: what happened at each end, and what went between them, as text or as
//! Mermaid. It only draws.

use std::fmt::Write;

/// Columns of the text: two fit on a terminal of the usual width, four need more.
const COLUMNS: usize = 80;
const COLUMNS_FOR_MANY: usize = 100;

/// What is drawn, from top to bottom.
#[derive(Debug)]
pub(super) struct Diagram {
    actors: &'static [&'static str],
    events: Vec<Event>,
}

#[derive(Debug)]
enum Event {
    /// Something that an actor does, or how the kernel has its socket.
    At { actor: usize, text: String, is_state: bool },
    /// Something that goes from one to another, or gets lost on the way.
    Between { from: usize, to: usize, text: String, is_lost: bool },
}

impl Diagram {
    pub(super) fn of(actors: &'static [&'static str]) -> Self {
        Self { actors, events: Vec::new() }
    }

    pub(super) fn does(&mut self, actor: &str, text: impl Into<String>) {
        let actor = self.number(actor);
        self.events.push(Event::At { actor, text: text.into(), is_state: false });
    }

    /// In which state the kernel has a socket of the actor's now.
    pub(super) fn is(&mut self, actor: &str, state: &str) {
        let actor = self.number(actor);
        self.events.push(Event::At { actor, text: state.to_owned(), is_state: true });
    }

    pub(super) fn goes(&mut self, from: &str, to: &str, text: impl Into<String>, is_lost: bool) {
        let (from, to) = (self.number(from), self.number(to));
        self.events.push(Event::Between { from, to, text: text.into(), is_lost });
    }

    fn number(&self, actor: &str) -> usize {
        self.actors.iter().position(|name| *name == actor).unwrap_or_default()
    }

    /// Lifelines side by side, an event a line; states of different actors share one.
    pub(super) fn text(&self) -> String {
        let mut lines = vec![self.line(&self.actors.iter().copied().enumerate().collect::<Vec<_>>(), ' ')];
        lines.push(self.line(&[], '|'));
        let mut states: Vec<(usize, String)> = Vec::new();
        for event in &self.events {
            match event {
                Event::At { actor, text, is_state: true } => {
                    if states.iter().any(|(other, _)| other == actor) {
                        lines.push(self.states(&mut states));
                    }
                    states.push((*actor, format!("[{text}]")));
                    continue;
                }
                _ if !states.is_empty() => lines.push(self.states(&mut states)),
                _ => {}
            }
            lines.push(match event {
                Event::At { actor, text, .. } => self.line(&[(*actor, text)], '|'),
                Event::Between { from, to, text, is_lost } => self.arrow(*from, *to, text, *is_lost),
            });
        }
        if !states.is_empty() {
            lines.push(self.states(&mut states));
        }
        lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    fn states(&self, states: &mut Vec<(usize, String)>) -> String {
        let texts: Vec<(usize, &str)> = states.iter().map(|(actor, text)| (*actor, text.as_str())).collect();
        let line = self.line(&texts, '|');
        states.clear();
        line
    }

    fn columns(&self) -> usize {
        if self.actors.len() > 2 { COLUMNS_FOR_MANY } else { COLUMNS }
    }

    fn lifeline(&self, actor: usize) -> usize {
        let pitch = self.columns() / self.actors.len();
        pitch / 2 + actor * pitch
    }

    /// The lifelines, with these texts over some of them, each as near to its own as the edges allow.
    fn line(&self, texts: &[(usize, &str)], lifeline: char) -> String {
        let mut line = self.lifelines(lifeline);
        for (actor, text) in texts {
            let width = text.chars().count().min(self.columns());
            let start = self.lifeline(*actor).saturating_sub(width / 2).min(self.columns() - width);
            put(&mut line, start, text);
        }
        line.into_iter().collect()
    }

    fn lifelines(&self, lifeline: char) -> Vec<char> {
        let mut line = vec![' '; self.columns()];
        for actor in 0..self.actors.len() {
            line[self.lifeline(actor)] = lifeline;
        }
        line
    }

    fn arrow(&self, from: usize, to: usize, text: &str, is_lost: bool) -> String {
        let mut line = self.lifelines('|');
        let (left, right) = (self.lifeline(from.min(to)), self.lifeline(from.max(to)));
        let (mut first, mut last) = (left + 1, right - 1);
        if is_lost {
            // Half of the way.
            let half = (right - left) / 2;
            (first, last) = if from < to { (first, last - half / 2) } else { (first + half / 2, last) };
        }
        line[first..=last].fill('-');
        let head = if from < to { last } else { first };
        line[head] = match (is_lost, from < to) {
            (true, _) => 'X',
            (false, true) => '>',
            (false, false) => '<',
        };
        let room = (last - first).saturating_sub(5);
        let text: String = text.chars().take(room).collect();
        let start = first + (last - first + 1).saturating_sub(text.chars().count() + 2) / 2;
        put(&mut line, start, &format!(" {text} "));
        line.into_iter().collect()
    }

    /// <https://mermaid.js.org/syntax/sequenceDiagram.html>
    pub(super) fn mermaid(&self) -> String {
        let mut text = String::from("sequenceDiagram\n");
        for (number, name) in self.actors.iter().enumerate() {
            let _ = writeln!(text, "    participant a{number} as {name}");
        }
        for event in &self.events {
            let _ = match event {
                Event::At { actor, text: what, .. } => writeln!(text, "    Note over a{actor}: {}", plain(what)),
                Event::Between { from, to, text: what, is_lost } => {
                    let arrow = if *is_lost { "-x" } else { "->>" };
                    writeln!(text, "    a{from}{arrow}a{to}: {}", plain(what))
                }
            };
        }
        text
    }
}

fn put(line: &mut [char], start: usize, text: &str) {
    for (place, letter) in line[start..].iter_mut().zip(text.chars()) {
        *place = letter;
    }
}

/// Without what Mermaid reads as more than text, as its numbered entities.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for letter in text.chars() {
        match letter {
            '#' | ';' | '<' | '>' | '"' | '\\' => {
                let _ = write!(plain, "#{};", letter as u32);
            }
            _ => plain.push(letter),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagram() -> Diagram {
        let mut diagram = Diagram::of(&["client", "server"]);
        diagram.is("server", "LISTEN");
        diagram.does("client", "connect(6)");
        diagram.goes("client", "server", "SYN", false);
        diagram.goes("server", "client", "SYN, ACK", true);
        diagram.is("client", "ESTAB");
        diagram.is("server", "ESTAB");
        diagram
    }

    #[test]
    fn text_has_a_lifeline_for_each_actor_and_a_line_for_each_event() {
        let text = diagram().text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{text}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(lines[0]), ["client", "server"]);
        assert_eq!(words(lines[1]), ["|", "|"]);
        assert_eq!(words(lines[2]), ["|", "[LISTEN]"]);
        assert_eq!(words(lines[3]), ["connect(6)", "|"]);
        assert!(lines[4].contains("- SYN -") && lines[4].contains(">|"), "{text}");
        assert!(lines[5].contains("X") && lines[5].contains("- SYN, ACK -") && !lines[5].contains('<'), "{text}");
        assert_eq!(words(lines[6]), ["[ESTAB]", "[ESTAB]"]);
        assert_eq!(lines.len(), 7, "states of both share a line");
    }

    #[test]
    fn mermaid_has_no_character_of_its_own_in_texts() {
        let mut diagram = diagram();
        diagram.does("client", "sendto(6, \"a;b\\n\", 4) = 4 #1");
        let text = diagram.mermaid();
        assert!(text.starts_with("sequenceDiagram\n    participant a0 as client\n"), "{text}");
        assert!(text.contains("    a0->>a1: SYN\n    a1-xa0: SYN, ACK\n"), "{text}");
        assert!(text.contains(": sendto(6, #34;a#59;b#92;n#34;, 4) = 4 #35;1\n"), "{text}");
    }
}
