//! The model: what must have come out of a connection when nothing is left to poll.

use super::content::Fate;
use super::output::{Body, Framing, Head, read_body};
use super::script::{Act, Answer, BodyPlan, End, Message, RequestPlan, Script, Version};
use super::session::{Ended, Simulation};
use super::wire::{self, BAD_HEADS, Place};
use super::world::{Call, Content, Expected, Phase, State, Wait};

type Checked<T = ()> = Result<T, String>;

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

struct Check<'a> {
    script: &'a Script,
    state: &'a State,
    ended: Option<&'a Ended>,
    /// The output that has not been looked at.
    rest: &'a [u8],
}

/// What has come of a response.
enum Response<'a> {
    Nothing,
    Part(Option<Head<'a>>),
    Whole(Head<'a>),
}

impl<'a> Check<'a> {
    /// Whether the connection may end at any point.
    fn is_free(&self) -> bool {
        self.state.is_late || self.state.link.is_reset
    }

    /// Whether a connection without a request may have ended.
    fn may_be_idle(&self) -> bool {
        self.is_free() || self.state.phase == Phase::Ending
    }

    fn is_over(&self) -> bool {
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
                    self.request(index, plan, place)?
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
        let (link, is_free, message) = (&self.state.link, self.is_free(), format!("message {index}: "));
        if !self.rest.is_empty() && stop != Stop::Upgraded {
            let shown = String::from_utf8_lossy(&self.rest[..self.rest.len().min(60)]);
            return Err(format!("{message}{} bytes too many: {shown:?}", self.rest.len()));
        }
        // What is small waits behind its head until the next request has come as well.
        let may_lack = matches!(stop, Stop::Blocked | Stop::Ended | Stop::Over);
        if self.state.order.len() > index + 1 && !may_lack {
            return Err(format!("message {} comes to the handler, though none may", index + 1));
        }
        let is_ending = self.state.phase == Phase::Ending;
        let fault = match (stop, self.ended) {
            (Stop::Upgraded, _) => None,
            (Stop::Waiting | Stop::Unread, None) if link.is_fin && !link.is_blocked() => {
                Some("the connection outlives its peer")
            }
            (Stop::Waiting | Stop::Unread | Stop::Closing | Stop::Cut, None) if is_ending && !link.is_blocked() => {
                Some("the connection outlives its server")
            }
            (Stop::Waiting | Stop::Unread, Some(_)) if is_ending => None,
            (Stop::Waiting | Stop::Unread, Some(_)) if !link.is_fin && !is_free => {
                Some("the connection ends before its peer")
            }
            (Stop::Pending | Stop::Blocked, Some(_)) if !is_free => Some("the connection ends before the response"),
            (Stop::Closing | Stop::Cut, None) if !link.is_closed && !link.is_blocked() && !is_free => {
                Some("the connection stays open")
            }
            (Stop::Cut, Some(Ended::Ok)) => Some("a response is cut, and the connection says that all is well"),
            (Stop::Waiting | Stop::Unread | Stop::Closing, Some(Ended::Failed(_))) if !is_free => {
                Some("the connection fails")
            }
            _ => None,
        };
        fault.map_or(Ok(stop), |fault| Err(message + fault))
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
    fn rejection(&mut self, index: usize, head: &[u8], statuses: &[u16], may_lack: bool) -> Checked<Stop> {
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
    fn response(
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

    /// A request whose head has come.
    fn request(&mut self, index: usize, plan: &RequestPlan, place: &Place) -> Checked<Option<Stop>> {
        let (call, message) = (&self.state.calls[index], format!("message {index}: "));
        if !call.has_begun && self.state.is_late && !self.rest.is_empty() {
            // The rest of the head has come too late.
            let head = &self.state.link.wire.bytes[place.start..place.head_end];
            return self.rejection(index, head, &[408], false).map(Some);
        }
        if !call.has_begun {
            return match (self.may_be_idle() && self.is_over(), self.state.link.is_blocked()) {
                (true, _) => Ok(Some(Stop::Ended)),
                (_, true) => Ok(Some(Stop::Blocked)),
                _ => Err(message + "it does not come to the handler"),
            };
        }
        let was_continued = self.take_continue(index, plan, place)?;
        match &call.answer {
            None => self.unanswered(index, plan, place, was_continued).map(Some),
            Some(expected) => self.answered(index, plan, place, expected, was_continued),
        }
    }

    /// Takes a 100 off the output, which only a request that expects it may have.
    fn take_continue(&mut self, index: usize, plan: &RequestPlan, place: &Place) -> Checked<bool> {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let is_answered = self.state.calls[index].answer.is_some();
        let may_be_part = self.state.link.is_blocked() || self.is_free() && self.ended.is_some();
        if CONTINUE.starts_with(self.rest) && may_be_part && !is_answered {
            self.rest = &[];
        }
        let Some(rest) = self.rest.strip_prefix(CONTINUE) else { return Ok(false) };
        self.rest = rest;
        match plan.expects_continue && plan.version == Version::Http1_1 && place.end > place.head_end {
            true => Ok(true),
            false => Err(format!("message {index}: 100 to a request that does not expect it")),
        }
    }

    /// A request whose handler has not answered.
    fn unanswered(&self, index: usize, plan: &RequestPlan, place: &Place, was_continued: bool) -> Checked<Stop> {
        let (call, link) = (&self.state.calls[index], &self.state.link);
        if !call.is_live {
            return match self.is_free() {
                true => Ok(Stop::Ended),
                false => Err(format!("message {index}: its handler is dropped")),
            };
        }
        let mut waits = self.state.waits().filter(|waiting| waiting.message == index && !waiting.is_reader);
        if waits.next().is_none() {
            return Err(format!("message {index}: its handler waits for nothing"));
        }
        let reads =
            self.state.waits().any(|waiting| waiting.message == index && matches!(waiting.wait, Wait::Content(_)));
        let expects = plan.expects_continue && plan.version == Version::Http1_1 && place.end > place.head_end;
        if reads && expects && link.arrived == place.head_end && !was_continued && !link.is_blocked() && !self.is_free()
        {
            return Err(format!("message {index}: 100 is missing"));
        }
        Ok(Stop::Pending)
    }

    /// A request whose handler has answered.
    fn answered(
        &mut self,
        index: usize,
        plan: &RequestPlan,
        place: &Place,
        expected: &Expected,
        was_continued: bool,
    ) -> Checked<Option<Stop>> {
        let call = &self.state.calls[index];
        let message = format!("message {index}: ");
        let made = content_of(index, plan, expected);
        let check = |position: usize, bytes: &[u8]| match made {
            Some(made) if made.get(position..position + bytes.len()) != Some(bytes) => {
                Err(format!("message {index}: other content than was made, from byte {position} on"))
            }
            _ => Ok(()),
        };
        let (response, body) = self.response(plan.method != "HEAD", check)?;
        let head = match response {
            Response::Nothing => return self.unfinished(index, plan, place, expected).map(Some),
            Response::Part(head) => {
                head.map_or(Ok(()), |head| check_head(index, &head, expected))?;
                return self.unfinished(index, plan, place, expected).map(Some);
            }
            Response::Whole(head) => head,
        };
        check_head(index, &head, expected)?;
        let framing = head.framing(plan.method != "HEAD")?;
        if framing != Framing::None && !self.is_right(index, plan, place, expected, body.content_bytes) {
            return Err(format!("{message}the response looks whole with {} bytes", body.content_bytes));
        }
        if head.status == 101 {
            return self.upgraded(place).map(|()| Some(Stop::Upgraded));
        }
        let closes = head.closes()?;
        let must_close = closes_by_itself(plan)
            || framing == Framing::Close
            || call.is_last
            || self.must_leave_body(plan, place, call, was_continued);
        match (closes, must_close) {
            (false, true) => Err(format!("{message}the response does not say that the connection closes")),
            (true, false) if !self.may_close(plan, place, call, was_continued) => {
                Err(format!("{message}the connection closes without need"))
            }
            (true, _) if self.is_over() && fate(plan) == Fate::Either => Ok(Some(Stop::Over)),
            (true, _) => Ok(Some(Stop::Closing)),
            (false, false) => Ok(self.behind(index, plan, place, call)),
        }
    }

    /// Whether a whole response may have so much content.
    fn is_right(&self, index: usize, plan: &RequestPlan, place: &Place, expected: &Expected, count: usize) -> bool {
        match (&expected.content, &plan.answer) {
            (Content::Made(length), _) => count == *length,
            (Content::Text(text), _) => count == text.len(),
            (Content::Stream, Answer::Stream(stream)) => {
                let length = stream.declared().unwrap_or(stream.total);
                count == length && stream.fate() != Fate::Cut && count <= self.state.calls[index].made
            }
            (Content::Echo(from), _) => place.is_whole(self.state.link.arrived) && count == place.content_bytes - from,
            (Content::Any, _) => true,
            _ => count == 0,
        }
    }

    /// A response of which some is missing.
    fn unfinished(&self, index: usize, plan: &RequestPlan, place: &Place, expected: &Expected) -> Checked<Stop> {
        let link = &self.state.link;
        let is_cut = match (&expected.content, &plan.answer) {
            (Content::Stream, _) => fate(plan) != Fate::Whole,
            (Content::Echo(_), _) => {
                link.is_fin && !place.is_over(link.arrived) || place.is_malformed || self.state.is_late
            }
            _ => false,
        };
        let mut waits = self.state.waits().filter(|waiting| waiting.message == index && waiting.is_reader);
        match () {
            () if self.ended.is_some() && self.is_free() => Ok(Stop::Ended),
            () if self.is_over() && is_cut => Ok(Stop::Cut),
            () if self.is_reset_behind(index) => Ok(Stop::Over),
            () if link.is_blocked() => Ok(Stop::Blocked),
            () if waits.next().is_some() => Ok(Stop::Pending),
            () => Err(format!("message {index}: the response is not whole")),
        }
    }

    /// Whether a later response is cut by a reset, because the end of the connection would be its end: that cuts what has
    /// not been flushed as well.
    fn is_reset_behind(&self, index: usize) -> bool {
        let is_cut = |message: &Message| match message {
            Message::Request(plan) => plan.version == Version::Http1_0 && fate(plan) != Fate::Whole,
            _ => false,
        };
        let last = self.state.order.last().copied().unwrap_or(0);
        match self.ended {
            Some(Ended::Panicked) => true,
            Some(Ended::Failed(_)) => last > index && is_cut(&self.script.messages[last]),
            _ => false,
        }
    }

    /// Whether the rest of the request is reason enough to close.
    fn may_close(&self, plan: &RequestPlan, place: &Place, call: &Call, was_continued: bool) -> bool {
        let link = &self.state.link;
        let has_body = place.end > place.head_end;
        let waits = plan.expects_continue && !was_continued;
        let ends_early = place.is_malformed || link.is_fin && !place.is_over(link.arrived) || self.is_free();
        has_body && (waits || ends_early || self.is_too_much(place, call))
    }

    /// Whether nobody has asked for the body, and the rest of it is too much to be read or is waited for.
    fn must_leave_body(&self, plan: &RequestPlan, place: &Place, call: &Call, was_continued: bool) -> bool {
        let has_reader = matches!(plan.answer, Answer::Echo | Answer::EchoBody)
            || plan.acts.iter().any(|act| matches!(act, Act::Detach | Act::KeepBody));
        let is_asked_for = call.wanted > 0 || has_reader;
        let expects = plan.expects_continue && plan.version == Version::Http1_1 && !was_continued;
        let is_long = matches!(plan.body, BodyPlan::Length(length) if length > self.script.unread_bytes_max);
        let input = call.input_when_begun;
        !is_asked_for && input < place.end && (is_long || expects && input == place.head_end)
    }

    fn is_too_much(&self, place: &Place, call: &Call) -> bool {
        place.content_bytes - call.read_when_answered > self.script.unread_bytes_max
    }

    /// What follows a response after which the connection persists.
    fn behind(&self, index: usize, plan: &RequestPlan, place: &Place, call: &Call) -> Option<Stop> {
        let is_over = place.is_over(self.state.link.arrived);
        let is_last = self.rest.is_empty() && self.state.order.len() == index + 1;
        match () {
            // The reader has failed behind all that was declared.
            () if self.is_over() && is_last && fate(plan) == Fate::Either => Some(Stop::Over),
            () if self.is_over() && is_last && self.is_too_much(place, call) => Some(Stop::Closing),
            () if !is_over => Some(Stop::Unread),
            () if matches!(plan.body, BodyPlan::Chunked { .. })
                && call.wanted == 0
                && self.is_too_much(place, call) =>
            {
                Some(Stop::Closing)
            }
            () if place.is_malformed => Some(Stop::Closing),
            () => None,
        }
    }

    /// The connection goes on in another protocol.
    fn upgraded(&self, place: &Place) -> Checked {
        let (link, upgraded) = (&self.state.link, &self.state.upgraded);
        let came = &link.wire.bytes[place.end..link.arrived];
        let is_free = link.is_blocked() || self.is_free();
        let stays = self.state.waits().any(|waiting| waiting.wait == Wait::Ever);
        match () {
            () if !came.starts_with(&upgraded.read) => Err("upgraded: other bytes than were sent".to_owned()),
            () if !upgraded.written.starts_with(self.rest) => Err("upgraded: other bytes than were written".to_owned()),
            () if is_free => Ok(()),
            () if !upgraded.has_begun => Err("upgraded: it is not served".to_owned()),
            () if upgraded.is_detached && self.is_over() => Ok(()),
            () if self.rest.len() < upgraded.written.len() => Err("upgraded: some bytes are missing".to_owned()),
            () if !upgraded.is_live && !self.is_over() && !stays => Err("upgraded: it is not closed".to_owned()),
            () => Ok(()),
        }
    }

    /// Nobody waits for what has happened.
    fn waits(&self) -> Checked {
        let link = &self.state.link;
        for waiting in self.state.waits() {
            let place = &link.wire.places[waiting.message];
            let is_vain = match waiting.wait {
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
            };
            if is_vain {
                return Err(format!(
                    "message {}: somebody waits for what has come: {:?}",
                    waiting.message, waiting.wait
                ));
            }
        }
        Ok(())
    }
}

fn closes_by_itself(plan: &RequestPlan) -> bool {
    match (plan.connection, plan.version) {
        (Some("close"), _) => true,
        (Some("keep-alive"), _) => false,
        (_, version) => version == Version::Http1_0,
    }
}

fn fate(plan: &RequestPlan) -> Fate {
    match &plan.answer {
        Answer::Stream(stream) if plan.method != "HEAD" => stream.fate(),
        _ => Fate::Whole,
    }
}

/// The head is that of the answer.
fn check_head(index: usize, head: &Head<'_>, expected: &Expected) -> Checked {
    let answers = head.field("x-message")?.map(|message| message == index.to_string());
    let is_named = !matches!(expected.content, Content::Any | Content::Text(_));
    match head.status == expected.status && answers.unwrap_or(!is_named) {
        true => Ok(()),
        false => Err(format!("message {index}: {head:?} is not the head of {expected:?}")),
    }
}

/// The most content that a response may have, if that is known.
fn content_of<'a>(index: usize, plan: &RequestPlan, expected: &'a Expected) -> Option<&'a [u8]> {
    match (&expected.content, &plan.answer) {
        (Content::Made(length), _) => Some(wire::made(index, *length)),
        (Content::Text(text), _) => Some(text.as_bytes()),
        (Content::Stream, Answer::Stream(stream)) => Some(wire::made(index, stream.total)),
        (Content::Echo(from), _) => Some(&wire::content(index, plan.body.content_bytes())[*from..]),
        (Content::Any, _) => None,
        _ => Some(&[]),
    }
}

/// Whether the script has a reader that panics.
pub fn may_panic(script: &Script) -> bool {
    script.messages.iter().any(|message| match message {
        Message::Request(plan) => {
            matches!(&plan.answer, Answer::Stream(stream) if stream.end == End::Panics)
        }
        _ => false,
    })
}
