//! The built-in services over the engine and the fake kernel: bytes in, bytes and effects out.
//!
//! `ping`, `hello`, `echo`, `chat` and `framing` say one thing to one service, on the `bench`; `properties` says
//! whatever there is to say, cut wherever it can be cut. What the engine promises to any service is in `tests/engine`.

mod bench;
mod chat;
mod echo;
mod framing;
mod hello;
mod ping;
mod properties;
