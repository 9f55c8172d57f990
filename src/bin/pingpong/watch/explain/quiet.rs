//! Turns of the loop without any news: what they were for is seen only from what follows.
//!
//! A loop looks at the clock more often than something is due: for a deadline that is near, or that has been moved
//! meanwhile. A run of such turns is told of in one line.

/// Turns without news that are not told of yet.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    count: usize,
    /// epoll_wait(2), as it is written: the same each time.
    call: String,
    /// Whether each, and the last one, was a look only and did not wait.
    are_looks: bool,
    is_look: bool,
}

impl Quiet {
    pub(super) fn add(&mut self, call: String, is_look: bool) {
        self.are_looks = is_look && (self.count == 0 || self.are_looks);
        self.is_look = is_look;
        self.count += 1;
        self.call = call;
    }

    /// Those so far, as calls and reasons. If a call was made in the last one, that one had something to do.
    pub(super) fn take(&mut self, does_something: bool) -> Vec<(String, &'static str)> {
        let Self { count, call, are_looks, is_look } = std::mem::take(self);
        let mut turns = Vec::new();
        match count - usize::from(does_something && count > 0) {
            0 => {}
            1 => turns.push((call.clone(), idle(are_looks))),
            idle_turns => turns.push((format!("{call}, {idle_turns} times"), idle(are_looks))),
        }
        if does_something && count > 0 {
            turns.push((call, if is_look { "only a look: no news" } else { "no news, and something is due now" }));
        }
        turns
    }
}

fn idle(are_looks: bool) -> &'static str {
    if are_looks { "only a look: no news, and nothing is due yet" } else { "no news; by the clock, nothing is due yet" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told of turns, of which some only looked.
    fn told(are_looks: &[bool], does_something: bool) -> Vec<String> {
        let mut quiet = Quiet::default();
        are_looks.iter().for_each(|is_look| quiet.add("epoll_wait(4) = 0".to_owned(), *is_look));
        let told = quiet.take(does_something).into_iter().map(|(call, why)| format!("{call}: {why}")).collect();
        assert_eq!(quiet.take(does_something), []);
        told
    }

    #[test]
    fn only_a_turn_with_a_call_had_something_to_do() {
        assert_eq!(told(&[], true), [""; 0]);
        assert_eq!(told(&[false], true), ["epoll_wait(4) = 0: no news, and something is due now"]);
        assert_eq!(told(&[false], false), ["epoll_wait(4) = 0: no news; by the clock, nothing is due yet"]);
        assert_eq!(
            told(&[false; 12], false),
            ["epoll_wait(4) = 0, 12 times: no news; by the clock, nothing is due yet"]
        );
        assert_eq!(
            told(&[true; 3], true),
            [
                "epoll_wait(4) = 0, 2 times: only a look: no news, and nothing is due yet",
                "epoll_wait(4) = 0: only a look: no news",
            ]
        );
        assert_eq!(
            told(&[true, false, true], false),
            ["epoll_wait(4) = 0, 3 times: no news; by the clock, nothing is due yet"]
        );
    }
}
