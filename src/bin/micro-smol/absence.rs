//! What `--dev` does for clients while there is no service: it tells them why.

use std::io;
use std::time::{Duration, Instant};

use micro_smol::cli::{BoundListener, logged};
use micro_smol::{Handler, Limits, Request, Running, send, serve};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::terminal::say;

/// How long no request restarts a service that has ended, so that one that ends on each request is not started for each.
const ENDED_TIME: Duration = Duration::from_secs(1);

/// How long a client may take to read the reason when there is a service again.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// Why there is no service, in the words that a client reads.
pub enum Reason {
    /// It was not compiled, or not started: only a change helps.
    Refused(String),
    /// Its process has ended.
    Ended(String),
}

/// The time without a service.
pub struct Absence {
    reason: Reason,
    start: Instant,
    /// Answers with the reason.
    stand_in: Option<Running>,
}

impl Absence {
    /// Answers each request with 503 and the reason.
    pub fn new(reason: Reason, sockets: &[BoundListener], is_silent: bool) -> Self {
        let (Reason::Refused(text) | Reason::Ended(text)) = &reason;
        let stand_in = answer(text.clone(), sockets, is_silent);
        let stand_in = stand_in.map_err(|error| say(format_args!("cannot say so to clients: {error}"))).ok();
        Absence { reason, start: Instant::now(), stand_in }
    }

    /// Whether a request waits that may start the service again. It is for the service to accept, so that it is answered.
    pub fn is_over(&mut self, sockets: &[BoundListener]) -> bool {
        if matches!(self.reason, Reason::Refused(_)) || self.start.elapsed() < ENDED_TIME {
            return false;
        }
        self.stop();
        let mut sockets: Vec<_> = sockets.iter().map(|bound| PollFd::new(&bound.socket, PollFlags::IN)).collect();
        poll(&mut sockets, Some(&Timespec::default())).is_ok_and(|count| count > 0)
    }

    fn stop(&mut self) {
        // Err only if a client has not read the reason in time.
        let _ = self.stand_in.take().map(Running::stop);
    }
}

impl Drop for Absence {
    fn drop(&mut self) {
        self.stop();
    }
}

fn answer(reason: String, sockets: &[BoundListener], is_silent: bool) -> io::Result<Running> {
    let handler: Box<dyn Handler> = Box::new(async move |_: Request| {
        send(503, reason.clone()).map(|response| response.with_header("connection", "close"))
    });
    let handler = if is_silent { handler } else { Box::new(logged(handler)) };
    let server = serve(handler).workers(1).limits(Limits { drain_timeout: DRAIN_TIMEOUT, ..Limits::default() });
    let listening = sockets.iter().try_fold(server, |server, bound| server.listen_on(bound.socket.try_clone()?));
    listening?.start()
}
