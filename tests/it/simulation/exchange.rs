//! [`Exchange`]: what the model says of a request whose head has come, and of its response.

use super::content::Fate;
use super::model::{Check, Checked, Response, Stop};
use super::output::{Framing, Head};
use super::script::{Act, Answer, BodyPlan, Message, RequestPlan, Version};
use super::session::Ended;
use super::wire::{self, Place};
use super::world::{Call, Content, Expected, State, Wait};

/// A request, where it stands and what became of it.
#[derive(Clone, Copy)]
pub struct Exchange<'a> {
    index: usize,
    plan: &'a RequestPlan,
    place: &'a Place,
    call: &'a Call,
    /// The peer was told to send the body.
    was_continued: bool,
}

impl<'a> Exchange<'a> {
    pub fn new(state: &'a State, index: usize, plan: &'a RequestPlan) -> Self {
        let (place, call) = (&state.link.wire.places[index], &state.calls[index]);
        Exchange { index, plan, place, call, was_continued: false }
    }

    fn fault<T>(&self, fault: impl std::fmt::Display) -> Checked<T> {
        Err(format!("message {}: {fault}", self.index))
    }

    fn has_body(&self) -> bool {
        self.place.end > self.place.head_end
    }

    /// Whether the peer may wait for 100 (Continue).
    fn expects_continue(&self) -> bool {
        self.plan.expects_continue && self.plan.version == Version::Http1_1 && self.has_body()
    }

    /// Whether the connection closes whatever the handler does.
    fn asks_to_close(&self) -> bool {
        match (self.plan.connection, self.plan.version) {
            (Some("close"), _) => true,
            (Some("keep-alive"), _) => false,
            (_, version) => version == Version::Http1_0,
        }
    }

    /// What becomes of a streamed response if nothing else cuts it.
    fn fate(&self) -> Fate {
        match &self.plan.answer {
            Answer::Stream(stream) if self.plan.method != "HEAD" => stream.fate(),
            _ => Fate::Whole,
        }
    }

    /// The most content that the response may have, if that is known.
    fn content(&self, expected: &'a Expected) -> Option<&'a [u8]> {
        match (&expected.content, &self.plan.answer) {
            (Content::Made(length), _) => Some(wire::made(self.index, *length)),
            (Content::Text(text), _) => Some(text.as_bytes()),
            (Content::Stream, Answer::Stream(stream)) => Some(wire::made(self.index, stream.total)),
            (Content::Echo(from), _) => Some(&wire::content(self.index, self.plan.body.content_bytes())[*from..]),
            (Content::Any, _) => None,
            _ => Some(&[]),
        }
    }

    /// Whether a response that looks whole may have so much content.
    fn is_right(&self, state: &State, expected: &Expected, count: usize) -> bool {
        match (&expected.content, &self.plan.answer) {
            (Content::Made(length), _) => count == *length,
            (Content::Text(text), _) => count == text.len(),
            (Content::Stream, Answer::Stream(stream)) => {
                let length = stream.declared().unwrap_or(stream.total);
                count == length && stream.fate() != Fate::Cut && count <= self.call.made
            }
            (Content::Echo(from), _) => {
                self.place.is_whole(state.link.arrived) && count == self.place.content_bytes - from
            }
            (Content::Any, _) => true,
            _ => count == 0,
        }
    }

    /// The head is that of the answer.
    fn check_head(&self, head: &Head<'_>, expected: &Expected) -> Checked {
        let answers = head.field("x-message")?.map(|message| message == self.index.to_string());
        let is_named = !matches!(expected.content, Content::Any | Content::Text(_));
        match head.status == expected.status && answers.unwrap_or(!is_named) {
            true => Ok(()),
            false => self.fault(format_args!("{head:?} is not the head of {expected:?}")),
        }
    }

    /// Whether the handler has left more of the body than the connection reads.
    fn leaves_too_much(&self, unread_bytes_max: usize) -> bool {
        self.place.content_bytes - self.call.read_when_answered > unread_bytes_max
    }

    /// Whether nobody has asked for the body, and the connection knows that it does not read the rest of it.
    fn must_leave_body(&self, unread_bytes_max: usize) -> bool {
        let keeps = |act: &Act| matches!(act, Act::Detach | Act::KeepBody);
        let has_reader =
            matches!(self.plan.answer, Answer::Echo | Answer::EchoBody) || self.plan.acts.iter().any(keeps);
        let waits = self.expects_continue() && !self.was_continued;
        let is_long = matches!(self.plan.body, BodyPlan::Length(length) if length > unread_bytes_max);
        let (input, place) = (self.call.input_when_begun, self.place);
        let is_asked_for = self.call.wanted > 0 || has_reader;
        !is_asked_for && input < place.end && (is_long || waits && input == place.head_end)
    }

    /// Whether nobody has asked for the body, and the connection finds out that it does not read the rest of it.
    fn must_stop_reading(&self, unread_bytes_max: usize) -> bool {
        let is_chunked = matches!(self.plan.body, BodyPlan::Chunked { .. });
        is_chunked && self.call.wanted == 0 && self.leaves_too_much(unread_bytes_max)
    }
}

impl<'a> Check<'a> {
    /// Looks at a request whose head has come; `None` if the next message is to be looked at.
    pub fn request(&mut self, mut exchange: Exchange<'a>) -> Checked<Option<Stop>> {
        if !exchange.call.has_begun {
            return self.not_begun(&exchange).map(Some);
        }
        exchange.was_continued = self.take_continue(&exchange)?;
        match &exchange.call.answer {
            None => self.unanswered(&exchange).map(Some),
            Some(expected) => self.answered(&exchange, expected),
        }
    }

    /// A request that has not come to the handler.
    fn not_begun(&mut self, exchange: &Exchange<'_>) -> Checked<Stop> {
        if self.state.is_late && !self.rest.is_empty() {
            // The rest of the head has come too late.
            let head = &self.state.link.wire.bytes[exchange.place.start..exchange.place.head_end];
            return self.rejection(exchange.index, head, &[408], false);
        }
        match (self.may_be_idle() && self.is_over(), self.state.link.is_blocked()) {
            (true, _) => Ok(Stop::Ended),
            (_, true) => Ok(Stop::Blocked),
            _ => exchange.fault("it does not come to the handler"),
        }
    }

    /// Takes a 100 off the output, which only a request that expects it may have.
    fn take_continue(&mut self, exchange: &Exchange<'_>) -> Checked<bool> {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let may_be_part = self.state.link.is_blocked() || self.is_free() && self.ended.is_some();
        if CONTINUE.starts_with(self.rest) && may_be_part && exchange.call.answer.is_none() {
            self.rest = &[];
        }
        let Some(rest) = self.rest.strip_prefix(CONTINUE) else { return Ok(false) };
        self.rest = rest;
        match exchange.expects_continue() {
            true => Ok(true),
            false => exchange.fault("100 to a request that does not expect it"),
        }
    }

    /// A request whose handler has not answered.
    fn unanswered(&self, exchange: &Exchange<'_>) -> Checked<Stop> {
        let waits = || self.state.waits().filter(|waiting| waiting.message == exchange.index);
        let waits_for_body = waits().any(|waiting| matches!(waiting.wait, Wait::Content(_)));
        let link = &self.state.link;
        let is_head_all = link.arrived == exchange.place.head_end && !link.is_blocked();
        match exchange.call.is_live {
            false if self.is_free() => Ok(Stop::Ended),
            false => exchange.fault("its handler is dropped"),
            true if waits().all(|waiting| waiting.is_reader) => exchange.fault("its handler waits for nothing"),
            true if self.is_free() || exchange.was_continued => Ok(Stop::Pending),
            true if waits_for_body && is_head_all && exchange.expects_continue() => exchange.fault("100 is missing"),
            true => Ok(Stop::Pending),
        }
    }

    /// A request whose handler has answered.
    fn answered(&mut self, exchange: &Exchange<'a>, expected: &'a Expected) -> Checked<Option<Stop>> {
        let made = exchange.content(expected);
        let check = |position: usize, bytes: &[u8]| match made {
            Some(made) if made.get(position..position + bytes.len()) != Some(bytes) => {
                exchange.fault(format_args!("other content than was made, from byte {position} on"))
            }
            _ => Ok(()),
        };
        let has_content = exchange.plan.method != "HEAD";
        let (response, body) = self.response(has_content, check)?;
        let head = match response {
            Response::Nothing => return self.unfinished(exchange, expected).map(Some),
            Response::Part(head) => {
                head.map_or(Ok(()), |head| exchange.check_head(&head, expected))?;
                return self.unfinished(exchange, expected).map(Some);
            }
            Response::Whole(head) => head,
        };
        exchange.check_head(&head, expected)?;
        let framing = head.framing(has_content)?;
        if framing != Framing::None && !exchange.is_right(self.state, expected, body.content_bytes) {
            return exchange.fault(format_args!("the response looks whole with {} bytes", body.content_bytes));
        }
        match head.status {
            101 => self.upgraded(exchange.place).map(|()| Some(Stop::Upgraded)),
            _ => self.whole(exchange, framing, head.closes()?),
        }
    }

    /// A request whose response is whole.
    fn whole(&self, exchange: &Exchange<'_>, framing: Framing, closes: bool) -> Checked<Option<Stop>> {
        let must_close = exchange.asks_to_close()
            || framing == Framing::Close
            || exchange.call.is_last
            || exchange.must_leave_body(self.script.unread_bytes_max);
        match (closes, must_close) {
            (false, true) => exchange.fault("the response does not say that the connection closes"),
            (true, false) if !self.may_close(exchange) => exchange.fault("the connection closes without need"),
            (true, _) if self.is_over() && exchange.fate() == Fate::Either => Ok(Some(Stop::Over)),
            (true, _) => Ok(Some(Stop::Closing)),
            (false, false) => Ok(self.behind(exchange)),
        }
    }

    /// Whether the rest of the request is reason enough to close.
    fn may_close(&self, exchange: &Exchange<'_>) -> bool {
        let (link, place) = (&self.state.link, exchange.place);
        let waits = exchange.plan.expects_continue && !exchange.was_continued;
        let ends_early = place.is_malformed || link.is_fin && !place.is_over(link.arrived) || self.is_free();
        let leaves_too_much = exchange.leaves_too_much(self.script.unread_bytes_max);
        exchange.has_body() && (waits || ends_early || leaves_too_much)
    }

    /// What follows a response after which the connection persists.
    fn behind(&self, exchange: &Exchange<'_>) -> Option<Stop> {
        let (place, unread_bytes_max) = (exchange.place, self.script.unread_bytes_max);
        let is_last = self.is_over() && self.rest.is_empty() && self.state.order.len() == exchange.index + 1;
        match () {
            // The reader has failed behind all that was declared.
            () if is_last && exchange.fate() == Fate::Either => Some(Stop::Over),
            () if is_last && exchange.leaves_too_much(unread_bytes_max) => Some(Stop::Closing),
            () if !place.is_over(self.state.link.arrived) => Some(Stop::Unread),
            () if place.is_malformed || exchange.must_stop_reading(unread_bytes_max) => Some(Stop::Closing),
            () => None,
        }
    }

    /// A response of which some is missing.
    fn unfinished(&self, exchange: &Exchange<'_>, expected: &Expected) -> Checked<Stop> {
        let (link, place) = (&self.state.link, exchange.place);
        let is_cut = match expected.content {
            Content::Stream => exchange.fate() != Fate::Whole,
            Content::Echo(_) => place.is_malformed || self.state.is_late || link.is_fin && !place.is_over(link.arrived),
            _ => false,
        };
        let mut waits = self.state.waits().filter(|waiting| waiting.message == exchange.index);
        match () {
            () if self.ended.is_some() && self.is_free() => Ok(Stop::Ended),
            () if self.is_over() && is_cut => Ok(Stop::Cut),
            () if self.is_reset_behind(exchange.index) => Ok(Stop::Over),
            () if link.is_blocked() => Ok(Stop::Blocked),
            () if waits.any(|waiting| waiting.is_reader) => Ok(Stop::Pending),
            () => exchange.fault("the response is not whole"),
        }
    }

    /// Whether a later response is cut by a reset, because the end of the connection would be its end: that cuts what has
    /// not been flushed as well. So does the panic of a reader.
    fn is_reset_behind(&self, index: usize) -> bool {
        let last = self.state.order.last().copied().unwrap_or(0);
        match (self.ended, &self.script.messages[last]) {
            (Some(Ended::Panicked), _) => true,
            (Some(Ended::Failed(_)), Message::Request(plan)) => {
                let exchange = Exchange::new(self.state, last, plan);
                last > index && plan.version == Version::Http1_0 && exchange.fate() != Fate::Whole
            }
            _ => false,
        }
    }

    /// The connection goes on in another protocol.
    fn upgraded(&self, place: &Place) -> Checked {
        let (link, upgraded) = (&self.state.link, &self.state.upgraded);
        let came = &link.wire.bytes[place.end..link.arrived];
        let stays = self.state.waits().any(|waiting| waiting.wait == Wait::Ever);
        let fault = match () {
            () if !came.starts_with(&upgraded.read) => "other bytes than were sent",
            () if !upgraded.written.starts_with(self.rest) => "other bytes than were written",
            () if link.is_blocked() || self.is_free() => return Ok(()),
            () if !upgraded.has_begun => "it is not served",
            () if upgraded.is_detached && self.is_over() => return Ok(()),
            () if self.rest.len() < upgraded.written.len() => "some bytes are missing",
            () if !upgraded.is_live && !self.is_over() && !stays => "it is not closed",
            () => return Ok(()),
        };
        Err(format!("upgraded: {fault}"))
    }
}
