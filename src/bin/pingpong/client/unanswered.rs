//! [`Unanswered`]: the datagrams that are under way.

use std::collections::VecDeque;

/// The most datagrams under way, and the most bytes of them (a longer one is under way alone). A receive buffer of the
/// default size (net.core.rmem_default) holds twice as many small ones, so that a server which answers loses none.
const MOST: usize = 128;
const MOST_BYTES: usize = 64 << 10;

/// Datagrams that were said and not answered, oldest first; a bounded number of them. What arrives counts as the answer
/// to the oldest: a datagram does not tell which one it answers.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    datagrams: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Unanswered {
    /// Whether no further datagram is to be sent for now.
    pub(super) fn is_full(&self) -> bool {
        self.datagrams.len() >= MOST || self.bytes >= MOST_BYTES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    pub(super) fn push(&mut self, datagram: Vec<u8>) {
        self.bytes += datagram.len();
        self.datagrams.push_back(datagram);
    }

    /// An answer has arrived.
    pub(super) fn settle_oldest(&mut self) {
        self.bytes -= self.datagrams.pop_front().map_or(0, |datagram| datagram.len());
    }

    /// Takes all of them out, in the order in which they were said.
    pub(super) fn take(&mut self) -> VecDeque<Vec<u8>> {
        self.bytes = 0;
        std::mem::take(&mut self.datagrams)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_at_either_bound_until_one_is_answered() {
        let mut unanswered = Unanswered::default();
        for _ in 0..MOST {
            assert!(!unanswered.is_full());
            unanswered.push(Vec::new());
        }
        assert!(unanswered.is_full());
        unanswered.settle_oldest();
        assert!(!unanswered.is_full());
        assert_eq!(unanswered.take().len(), MOST - 1);

        unanswered.push(vec![0; MOST_BYTES]);
        assert!(unanswered.is_full());
        unanswered.settle_oldest();
        assert!(!unanswered.is_full() && unanswered.is_empty());
        unanswered.settle_oldest();
    }
}
