//! The model: what must have come out of a connection when nothing is left to poll.
//!
//! It goes through the messages in order, each with its part of the output, up to the one that something is still to come for.

use super::exchange::Exchange;
use super::output::{Body, Head, read_body};
use super::script::{Message, Script};
use super::session::{Ended, Simulation};
use super::wire::{BAD_HEADS, Place};
use super::world::{Phase, State, Wait, Waiting};

pub type Checked<T = ()> = Result<T, String>;

/// Holds what there is against the model.
pub fn check(simulation: &Simulation, script: &Script) -> Checked<Stop> {
    let state = simulation.world.lock();
    if let Some(fault) = state.faults.first() {
        return Err(fault.clone());
    }
    let mut check = Check { script, state: &state, ended: simulation.ended.as_ref(), rest: state.link.seen() };
    check.order()?;
    let stop = check.walk()?;
    check.waits()?;
    super::bounds::check(script, &state, check.ended)?;
    Ok(stop)
}

/// Why no further message is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// The peer has not sent the next head.
    Waiting,
    /// The peer has not sent the rest of the body that the handler has left.
    Unread,
    /// The handler or the reader of its response waits.
    Pending,
    /// The peer does not take what is written.
    Blocked,
    /// The connection has said that it closes, or must close.
    Closing,
    /// A response has been cut, as it must be.
    Cut,
    /// The peer was too late, or is gone.
    Ended,
    /// The connection may have ended well or not.
    Over,
    Upgraded,
}

impl Stop {
    /// How many there are.
    pub const COUNT: usize = Stop::Upgraded as usize + 1;
}

pub struct Check<'a> {
    pub script: &'a Script,
    pub state: &'a State,
    pub ended: Option<&'a Ended>,
    /// The output that has not been looked at.
    pub rest: &'a [u8],
}

/// What has come of a response.
pub enum Response<'a> {
    Nothing,
    Part(Option<Head<'a>>),
    Whole(Head<'a>),
}

impl<'a> Check<'a> {
    /// Whether the connection may end at any point.
    pub fn is_free(&self) -> bool {
        self.state.is_late || self.state.link.is_reset
    }

    /// Whether a connection without a request may have ended.
    pub fn may_be_idle(&self) -> bool {
        self.is_free() || self.state.phase == Phase::Ending
    }

    pub fn is_over(&self) -> bool {
        self.ended.is_some() || self.state.link.is_closed
    }

    fn order(&self) -> Checked {
        match self.state.order.iter().enumerate().find(|(place, message)| place != *message) {
            Some((place, message)) => Err(format!("message {message} comes to the handler as number {place}")),
            None => Ok(()),
        }
    }

    fn walk(&mut self) -> Checked<Stop> {
        for (index, message) in self.script.messages.iter().enumerate() {
            let place = &self.state.link.wire.places[index];
            let stop = match message {
                _ if self.state.link.arrived <= place.start => Some(Stop::Waiting),
                Message::Request(plan) if self.state.link.arrived >= place.head_end => {
                    self.request(Exchange::new(self.state, index, plan))?
                }
                Message::Request(_) => Some(self.part_of_head(index, place, 400)?),
                Message::Bad(kind) => Some(self.bad_head(index, place, BAD_HEADS[kind % BAD_HEADS.len()].1)?),
                Message::Raw(_) => Some(self.bad_head(index, place, 400)?),
            };
            if let Some(stop) = stop {
                return self.stopped(index, stop);
            }
        }
        self.stopped(self.script.messages.len(), Stop::Waiting)
    }

    /// What must hold where the walk ends.
    fn stopped(&self, index: usize, stop: Stop) -> Checked<Stop> {
        let message = format!("message {index}: ");
        if !self.rest.is_empty() && stop != Stop::Upgraded {
            let shown = String::from_utf8_lossy(&self.rest[..self.rest.len().min(60)]);
            return Err(format!("{message}{} bytes too many: {shown:?}", self.rest.len()));
        }
        // What is small waits behind its head until the next request has come as well.
        let may_lack = matches!(stop, Stop::Blocked | Stop::Ended | Stop::Over);
        if self.state.order.len() > index + 1 && !may_lack {
            return Err(format!("message {} comes to the handler, though none may", index + 1));
        }
        match self.fault_of_end(stop) {
            Some(fault) => Err(message + fault),
            None => Ok(stop),
        }
    }

    /// What is wrong with how the connection has ended, or has not.
    fn fault_of_end(&self, stop: Stop) -> Option<&'static str> {
        use Stop::{Blocked, Closing, Cut, Pending, Unread, Upgraded, Waiting};
        let (link, is_free, is_ending) = (&self.state.link, self.is_free(), self.state.phase == Phase::Ending);
        match (stop, self.ended) {
            (Upgraded, _) => None,
            (Waiting | Unread | Closing | Cut, None) if link.is_blocked() => None,
            (Waiting | Unread, None) if link.is_fin => Some("the connection outlives its peer"),
            (Waiting | Unread | Closing | Cut, None) if is_ending => Some("the connection outlives its server"),
            (Waiting | Unread, Some(_)) if is_ending => None,
            (Waiting | Unread, Some(_)) if !link.is_fin && !is_free => Some("the connection ends before its peer"),
            (Pending | Blocked, Some(_)) if !is_free => Some("the connection ends before the response"),
            (Closing | Cut, None) if !link.is_closed && !is_free => Some("the connection stays open"),
            (Cut, Some(Ended::Ok)) => Some("a response is cut, and the connection says that all is well"),
            (Waiting | Unread | Closing, Some(Ended::Failed(_))) if !is_free => Some("the connection fails"),
            _ => None,
        }
    }

    /// A head of which some is missing.
    fn part_of_head(&mut self, index: usize, place: &Place, status: u16) -> Checked<Stop> {
        let link = &self.state.link;
        let part = &link.wire.bytes[place.start..link.arrived];
        let is_bare = part.trim_ascii_end().is_empty();
        self.rejection(index, part, &[status, 400, 408], !link.is_fin || is_bare)
    }

    fn bad_head(&mut self, index: usize, place: &Place, status: u16) -> Checked<Stop> {
        if self.state.link.arrived < place.end {
            return self.part_of_head(index, place, status);
        }
        let head = &self.state.link.wire.bytes[place.start..place.end];
        self.rejection(index, head, &[status, 408], false)
    }

    /// The response to what is no request.
    pub fn rejection(&mut self, index: usize, head: &[u8], statuses: &[u16], may_lack: bool) -> Checked<Stop> {
        // Whether it was to a HEAD is not known of one that came too late: the rejection is the last of the output.
        let is_head = head.starts_with(b"HEAD ");
        let is_bare = is_head && (!self.state.is_late || self.rest.ends_with(b"\r\n\r\n"));
        match self.response(!is_bare, |_, _| Ok(()))? {
            (Response::Nothing, _) if self.ended.is_some() && self.may_be_idle() => Ok(Stop::Ended),
            (Response::Nothing, _) if may_lack => Ok(Stop::Waiting),
            (Response::Nothing | Response::Part(_), _) if self.state.link.is_blocked() => Ok(Stop::Blocked),
            (Response::Part(_), _) if self.ended.is_some() && self.is_free() => Ok(Stop::Ended),
            (Response::Nothing | Response::Part(_), _) => Err(format!("message {index}: the rejection is missing")),
            (Response::Whole(head), _) if !statuses.contains(&head.status) || !head.closes()? => {
                Err(format!("message {index}: {head:?} is not the rejection"))
            }
            (Response::Whole(head), _) if head.status == 408 && !self.state.is_late => {
                Err(format!("message {index}: 408 before the time"))
            }
            (Response::Whole(_), _) => Ok(Stop::Closing),
        }
    }

    /// Takes a response off the output, or what there is of it.
    pub fn response(
        &mut self,
        has_content: bool,
        check: impl FnMut(usize, &[u8]) -> Checked,
    ) -> Checked<(Response<'a>, Body)> {
        if self.rest.is_empty() {
            return Ok((Response::Nothing, Body::default()));
        }
        let Some(head) = Head::parse(self.rest)? else {
            self.rest = &[];
            return Ok((Response::Part(None), Body::default()));
        };
        if head.status >= 200 && head.field("date")?.is_none() {
            return Err(format!("{head:?} has no date"));
        }
        let framing = head.framing(has_content)?;
        let body = read_body(&self.rest[head.bytes..], framing, self.state.link.is_closed, check)?;
        self.rest = &self.rest[head.bytes + body.bytes..];
        let response = if body.is_whole { Response::Whole(head) } else { Response::Part(Some(head)) };
        Ok((response, body))
    }

    /// Nobody waits for what has happened.
    fn waits(&self) -> Checked {
        match self.state.waits().find(|waiting| self.is_vain(*waiting)) {
            Some(Waiting { message, wait, .. }) => {
                Err(format!("message {message}: somebody waits for what has come: {wait:?}"))
            }
            None => Ok(()),
        }
    }

    fn is_vain(&self, waiting: Waiting) -> bool {
        let link = &self.state.link;
        let place = &link.wire.places[waiting.message];
        match waiting.wait {
            Wait::Timer | Wait::Ever => false,
            Wait::Upgraded => {
                let is_ending = link.is_fin || link.is_reset || self.state.phase == Phase::Ending;
                !link.is_blocked() && (is_ending || link.arrived > link.read)
            }
            Wait::Content(_) if self.ended.is_some() => true,
            Wait::Content(_) if link.is_reset => false,
            // The reader is not asked for more.
            Wait::Content(_) if waiting.is_reader && link.is_blocked() => false,
            Wait::Content(wanted) => {
                link.is_fin || place.is_over(link.arrived) || place.available(link.arrived) >= wanted
            }
        }
    }
}
