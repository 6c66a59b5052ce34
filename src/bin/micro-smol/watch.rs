//! `--dev`: serves, and compiles and serves anew when something changes.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_signal::{Signal, Signals};
use micro_smol::cli::Options;
use micro_smol::smol::Timer;
use micro_smol::smol::future::{FutureExt, block_on};
use micro_smol::smol::stream::StreamExt;

use super::absence::{Absence, Reason};
use super::build::{BuildError, BuildRequest};
use super::env_file;
use super::fingerprint::{self, Fingerprint};
use super::services::Services;
use super::terminal::say;

/// How often we look: often enough to seem immediate, and too seldom to cost anything.
const TICK: Duration = Duration::from_millis(50);

/// How long an editor may take to write a file. If it takes longer, the rest is another change.
const WRITE_TIME: Duration = Duration::from_millis(10);

/// Serves until SIGINT or SIGTERM.
pub fn watch(request: &BuildRequest, env_files: &[PathBuf], options: &Options) -> io::Result<()> {
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let mut services = Services::new(options)?;
    block_on(async {
        let signal = signals.next().or(follow(request, env_files, &mut services)).await;
        services.end(signal.and_then(Result::ok).unwrap_or(Signal::Term), &mut signals).await;
    });
    Ok(())
}

/// Compiles and starts, again and again.
async fn follow<T>(request: &BuildRequest, env_files: &[PathBuf], services: &mut Services) -> T {
    loop {
        let variables = fingerprint::with_times(env_files.iter().cloned());
        let watched = request.watch_set();
        let started = request.building().await.and_then(|(program, inputs)| {
            let failed = |error| BuildError::from(format!("cannot start {}: {error}", program.display()));
            services.start(&program, env_file::read(env_files)?).map(|()| inputs).map_err(failed)
        });
        match started {
            Ok(inputs) => wait(services, &inputs.into_iter().chain(variables).collect(), None).await,
            Err(error) => {
                say(&error.message);
                let inputs = watched.into_iter().chain(variables).collect();
                wait(services, &inputs, Some(Reason::Refused(error.plain()))).await;
            }
        }
    }
}

/// Waits for a change, or for a request when there is no service. Until then, the request learns the reason for that.
async fn wait(services: &mut Services, inputs: &Fingerprint, mut reason: Option<Reason>) {
    let mut absence: Option<Absence> = None;
    while fingerprint::are_unchanged(inputs) {
        let ended = services.look().map(Reason::Ended);
        reason = ended.or_else(|| services.look_for_late().map(Reason::Refused)).or(reason);
        if !services.are_gone() {
            absence = None;
        } else if absence.is_none() {
            services.announce();
            absence = reason.take().map(|reason| Absence::new(reason, &services.sockets, services.options.silent));
        }
        if absence.as_mut().is_some_and(|absence| absence.is_over(&services.sockets)) {
            return;
        }
        Timer::after(TICK).await;
    }
    Timer::after(WRITE_TIME).await;
}
