//! One more connection whose messages are stamped.
