//! The built-in services over the engine and the fake kernel: bytes in, bytes and effects out.

mod properties;
