//! What must hold of memory and of the end, whatever came out.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use micro_smol::smol::io::AsyncRead;

use super::script::{Answer, End, Message, Script};
use super::session::{Ended, Simulation};
use super::world::{Content, State, Wait};

/// What is read ahead while nobody reads, at most.
const AHEAD_BYTES_MAX: usize = 32 * 1024;

/// What is read ahead for a reader that takes it piece by piece.
const PIPE_BYTES_MAX: usize = 128 * 1024;

/// From so many bytes on that are unread, the connection reads no more.
const INPUT_BYTES: usize = 8 * 1024;

/// What may have been made and not been written.
const UNWRITTEN_BYTES_MAX: usize = 256 * 1024;

/// So much content is copied behind the head of its response.
const SMALL_BYTES: usize = 16 * 1024;

/// Holds memory, and the time after a reset, against their bounds.
pub fn check(script: &Script, state: &State, ended: Option<&Ended>) -> Result<(), String> {
    if ended == Some(&Ended::Panicked) && !may_panic(script) {
        return Err("the connection panics".to_owned());
    }
    if state.upgraded.has_begun {
        return Ok(());
    }
    let (ahead, unwritten) = (ahead(state), unwritten(state));
    let ahead_max = match state.order.last() {
        // What comes behind the last response is dropped.
        _ if state.link.is_closed => usize::MAX,
        // A read that was given up has still asked for so much.
        Some(message) if state.calls[*message].wanted > 0 => PIPE_BYTES_MAX.max(state.calls[*message].wanted),
        _ => AHEAD_BYTES_MAX,
    };
    match () {
        () if ahead > ahead_max => Err(format!("{ahead} bytes are read ahead")),
        () if unwritten > UNWRITTEN_BYTES_MAX => Err(format!("{unwritten} bytes are made and not written")),
        () if outlives_reset(state, ended) => Err("the connection goes on after a reset".to_owned()),
        () => Ok(()),
    }
}

/// Whether the script has a reader that panics.
fn may_panic(script: &Script) -> bool {
    script.messages.iter().any(|message| match message {
        Message::Request(plan) => matches!(&plan.answer, Answer::Stream(stream) if stream.end == End::Panics),
        _ => false,
    })
}

/// How much has been read behind what was consumed, if all of an answered request was.
fn ahead(state: &State) -> usize {
    match state.order.last() {
        Some(message) if state.calls[*message].answer.is_some() => {
            state.link.read.saturating_sub(state.link.wire.places[*message].end)
        }
        _ => unread(state),
    }
}

/// How much has been read behind what somebody has read.
fn unread(state: &State) -> usize {
    let Some(message) = state.order.last() else { return state.link.read };
    let (place, call) = (&state.link.wire.places[*message], &state.calls[*message]);
    let consumed = if call.read == 0 { place.head_end } else { place.position(call.read) };
    state.link.read.saturating_sub(consumed)
}

/// How much small or streamed content has been made and not been written.
fn unwritten(state: &State) -> usize {
    let small = |call: &super::world::Call| match &call.answer {
        Some(expected) => match expected.content {
            Content::Made(length) if length <= SMALL_BYTES => length,
            _ => 0,
        },
        None => 0,
    };
    let made: usize = state.calls.iter().map(|call| call.made + small(call)).sum();
    made.saturating_sub(state.link.output.len())
}

/// A connection that reads no more, because it has enough or has read the end, cannot know of a reset.
fn outlives_reset(state: &State, ended: Option<&Ended>) -> bool {
    state.link.is_reset && ended.is_none() && !state.link.is_fin && !has_enough(state)
}

/// Whether the connection may have read so much that it reads no more for now.
fn has_enough(state: &State) -> bool {
    unread(state) >= INPUT_BYTES || state.link.arrived > state.link.read
}

/// What is still open when no time is left to pass waits for ever.
pub fn check_end(simulation: &Simulation) -> Result<(), String> {
    let state = simulation.world.lock();
    let knows_end = state.link.is_fin && !has_enough(&state);
    let is_stuck = state.waits().any(|waiting| match waiting.wait {
        Wait::Ever => !knows_end || state.upgraded.has_begun,
        Wait::Upgraded => true,
        _ => false,
    });
    match simulation.ended.is_some() || is_stuck || state.link.is_reset {
        true => Ok(()),
        false => Err("the connection never ends".to_owned()),
    }
}

/// Nothing is left once the connection has ended.
pub fn check_rest(simulation: &Simulation, tasks: usize) -> Result<(), String> {
    let mut state = simulation.world.lock();
    let kept = std::mem::take(&mut state.kept);
    match () {
        () if !state.faults.is_empty() => Err(state.faults[0].clone()),
        () if tasks > 0 && !writes_elsewhere(&state) => Err(format!("{tasks} tasks outlive the connection")),
        () if !state.link.is_dropped => Err("the stream is not dropped".to_owned()),
        () if state.calls.iter().any(|call| call.is_live) => Err("a handler is not dropped".to_owned()),
        () if state.calls.iter().any(|call| call.live_readers > 0) => Err("a reader is not dropped".to_owned()),
        () if state.upgraded.is_live && !writes_elsewhere(&state) => {
            Err("what serves the upgraded connection is not dropped".to_owned())
        }
        () if kept.into_iter().any(waits) => Err("a body that was kept waits for ever".to_owned()),
        () => Ok(()),
    }
}

/// Whether a task has an upgraded stream that the peer does not take from: it waits for its write timeout, which is not
/// simulated.
fn writes_elsewhere(state: &State) -> bool {
    state.link.is_blocked() && state.waits().any(|waiting| waiting.wait == Wait::Upgraded)
}

/// Whether a body neither ends nor fails.
fn waits(mut body: micro_smol::Body) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    let mut room = [0; 4096];
    loop {
        match Pin::new(&mut body).poll_read(&mut cx, &mut room) {
            Poll::Ready(Ok(1..)) => {}
            Poll::Ready(_) => return false,
            Poll::Pending => return true,
        }
    }
}
