//! The readiness of a worker's sockets.
//!
//! On Linux a worker has an epoll instance of its own, elsewhere async-io serves; the two files have the same names in
//! them. `--cfg micro_smol_portable` has Linux use the second, for its tests.
#![allow(unexpected_cfgs, reason = "the crate that this source is vendored into need not know the cfg")]

#[cfg(all(target_os = "linux", not(micro_smol_portable)))]
#[path = "reactor/epoll.rs"]
mod readiness;
#[cfg(not(all(target_os = "linux", not(micro_smol_portable))))]
#[path = "reactor/async_io.rs"]
mod readiness;

pub(super) use readiness::{IoRegistration, IoSource, Reactor, accept};
