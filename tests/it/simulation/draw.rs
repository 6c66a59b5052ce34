//! [`Choices`] -> [`Script`]: which scripts there are, and how often.

use super::choices::Choices;
use super::script::{
    Act, Answer, BodyPlan, ChunkStyle, ContentPlan, Declared, End, Event, Gap, Message, RequestPlan, Script, Step,
    StreamPlan, UpgradeServer, Version,
};
use super::wire::{BAD_HEADS, Wire};

/// So many messages are a crowd.
const CROWD: usize = 24;

pub fn script(choices: &mut Choices<'_>) -> Script {
    let messages = messages(choices);
    let stream = stream(choices);
    let mut script = Script {
        unread_bytes_max: choices.pick(&[64 * 1024, 100, 0, 9000]),
        picks: choices.list(5, |choices| choices.below(4)),
        events: Vec::new(),
        messages,
        stream,
    };
    script.events = events(choices, &Wire::of(&script));
    script
}

fn messages(choices: &mut Choices<'_>) -> Vec<Message> {
    if choices.once_in(80) {
        return flood(choices);
    }
    let count = if choices.once_in(40) { choices.below(CROWD) } else { choices.below(4) + 1 };
    let mut messages = Vec::new();
    for _ in 0..count {
        let message = message(choices);
        let upgrades = matches!(&message, Message::Request(plan) if plan.connection == Some("upgrade"));
        messages.push(message);
        if upgrades && choices.below(2) == 0 {
            messages.push(Message::Raw(choices.below(2000)));
        }
    }
    messages
}

/// Requests for content that is just copied behind its head, so that much is written at once.
fn flood(choices: &mut Choices<'_>) -> Vec<Message> {
    let answer = Answer::Bytes(16 * 1024 - choices.below(200));
    let request = RequestPlan {
        method: "GET",
        version: Version::Http1_1,
        body: BodyPlan::None,
        expects_continue: false,
        connection: None,
        padding: 0,
        acts: Vec::new(),
        answer,
    };
    vec![Message::Request(Box::new(request)); 4 + choices.below(CROWD)]
}

fn message(choices: &mut Choices<'_>) -> Message {
    if choices.once_in(16) {
        return Message::Bad(choices.below(BAD_HEADS.len()));
    }
    let body = body(choices);
    let expects_continue = body != BodyPlan::None && choices.once_in(3);
    let upgrades = choices.once_in(14);
    let (mut acts, mut answer) = (choices.list(4, act), answer(choices));
    if upgrades && choices.below(4) > 0 {
        answer = upgrade(choices);
    } else if expects_continue && choices.once_in(4) {
        // The body may be asked for while the response leaves.
        acts.push(Act::Detach);
        answer = large(choices);
    }
    let options = [None, None, None, None, Some("close"), Some("keep-alive")];
    Message::Request(Box::new(RequestPlan {
        method: choices.pick(&["GET", "POST", "PUT", "HEAD"]),
        version: if choices.once_in(6) { Version::Http1_0 } else { Version::Http1_1 },
        expects_continue,
        connection: if upgrades { Some("upgrade") } else { choices.pick(&options) },
        padding: if choices.once_in(12) { choices.below(8000) } else { choices.below(20) },
        acts,
        answer,
        body,
    }))
    .legal()
}

impl Message {
    /// HTTP/1.0 knows no chunks.
    fn legal(mut self) -> Self {
        if let Message::Request(plan) = &mut self
            && matches!(plan.body, BodyPlan::Chunked { .. })
        {
            plan.version = Version::Http1_1;
        }
        self
    }
}

fn body(choices: &mut Choices<'_>) -> BodyPlan {
    match choices.below(5) {
        0 | 1 => BodyPlan::None,
        2 | 3 => BodyPlan::Length(choices.bytes()),
        _ => BodyPlan::Chunked {
            sizes: choices.list(5, Choices::bytes),
            style: choices.pick(&[ChunkStyle::Plain, ChunkStyle::Wordy]),
            is_malformed: choices.once_in(6),
        },
    }
}

fn act(choices: &mut Choices<'_>) -> Act {
    match choices.below(18) {
        0 | 1 => Act::Buffer(1 << 20),
        2 => choices.pick(&[Act::Buffer, Act::Try])(choices.bytes()),
        3 => Act::Wait(if choices.once_in(6) { choices.below(1000) } else { choices.below(5) } as u64),
        4 => Act::Yield,
        5 => Act::Race(choices.below(4) as u64),
        6 => Act::Both(None),
        7 => Act::Both(Some(choices.below(4) as u64)),
        8 | 9 => Act::Read(choices.bytes()),
        10 => Act::RaceRead(choices.bytes(), choices.below(4) as u64),
        11 => Act::Rest,
        12 => Act::RestAside,
        13 => Act::RestElsewhere,
        14..=16 => Act::Detach,
        _ => choices.pick(&[Act::DropBody, Act::KeepBody]),
    }
}

fn answer(choices: &mut Choices<'_>) -> Answer {
    match choices.below(24) {
        0..=3 => Answer::Text(choices.bytes()),
        4 | 5 => Answer::Bytes(choices.bytes()),
        6 => large(choices),
        7 => Answer::Empty,
        8 => Answer::NotModified,
        9..=14 => Answer::Stream(content(choices)),
        15..=17 => Answer::Echo,
        18 => Answer::EchoBody,
        19 => Answer::Error(choices.pick(&[404, 500, 503])),
        20 => choices.pick(&[Answer::Panic, Answer::PanicTwice]),
        21 => Answer::Never,
        _ => upgrade(choices),
    }
}

/// More than is copied behind its head.
fn large(choices: &mut Choices<'_>) -> Answer {
    Answer::Bytes(16 * 1024 + choices.below(30_000))
}

fn upgrade(choices: &mut Choices<'_>) -> Answer {
    let echo = if choices.below(2) == 0 { usize::MAX } else { choices.below(1000) };
    let servers = [UpgradeServer::Here, UpgradeServer::Elsewhere, UpgradeServer::Detached, UpgradeServer::Stays];
    Answer::Upgrade { echo, write: choices.below(3000), server: choices.pick(&servers) }
}

fn content(choices: &mut Choices<'_>) -> ContentPlan {
    ContentPlan {
        total: choices.bytes(),
        pieces: choices.list(4, |choices| choices.bytes().max(1)),
        gap: match choices.below(4) {
            0 | 1 => Gap::None,
            2 => Gap::Yield,
            _ => Gap::Wait(choices.below(3) as u64),
        },
        declared: choices.pick(&[
            Declared::Unknown,
            Declared::Unknown,
            Declared::Right,
            Declared::Right,
            Declared::TooShort,
            Declared::TooLong,
        ]),
        end: match choices.below(10) {
            0..=5 => End::Eof,
            6 => End::Fails,
            7 => End::Panics,
            8 => End::Never,
            _ => End::Overclaims,
        },
        is_chunks: choices.below(2) == 1,
    }
    .bounded()
}

impl ContentPlan {
    /// As the script has it, but of not too many pieces.
    fn bounded(mut self) -> Self {
        let least = self.total / 200;
        let gap_least = if self.gap == Gap::None { 0 } else { self.total / 12 };
        self.pieces.iter_mut().for_each(|piece| *piece = (*piece).max(least).max(gap_least));
        self
    }
}

fn stream(choices: &mut Choices<'_>) -> StreamPlan {
    StreamPlan {
        reads: choices.list(4, step),
        writes: choices.list(4, step),
        flushes: choices.list(3, step),
        is_vectored: choices.below(2) == 0,
        is_buffered: choices.below(2) == 1,
    }
}

fn step(choices: &mut Choices<'_>) -> Step {
    match choices.below(7) {
        0 | 1 => Step::Whole,
        2 => Step::Short(1 + choices.below(20)),
        3 => Step::Short(1 + choices.below(9000)),
        4 => Step::Again,
        5 => Step::Later(choices.below(12)),
        _ => Step::Overclaim,
    }
}

/// The peer sends what there is, in pieces; in between, anything may happen.
fn events(choices: &mut Choices<'_>, wire: &Wire) -> Vec<Event> {
    let mut events = Vec::new();
    let mut left = if choices.once_in(10) { choices.below(wire.bytes.len() + 1) } else { wire.bytes.len() };
    let mut position = 0;
    // A slow peer pauses for less than any timeout, but often.
    let is_slow = choices.once_in(8);
    while left > 0 && events.len() < 60 {
        let count = piece(choices, wire, position).min(left);
        events.push(Event::Send(count));
        (position, left) = (position + count, left - count);
        events.push(if is_slow { Event::Pause(20 + choices.below(175) as u64) } else { pause(choices) });
        if choices.once_in(8) {
            events.push(accident(choices));
        }
    }
    events.push(Event::Send(left));
    events.extend(ending(choices));
    events
}

/// How many bytes arrive at once: up to the next border of a message, a few, or many.
fn piece(choices: &mut Choices<'_>, wire: &Wire, position: usize) -> usize {
    let borders = wire.places.iter().flat_map(|place| [place.head_end, place.end]);
    let border = borders.filter(|border| *border > position).min().unwrap_or(wire.bytes.len());
    match choices.below(8) {
        0..=2 => border - position,
        3 => wire.bytes.len(),
        4 => 1 + choices.below(3),
        5 => 1 + choices.below(60),
        6 => (border - position + choices.below(3)).saturating_sub(1).max(1),
        _ => choices.bytes().max(1),
    }
}

fn pause(choices: &mut Choices<'_>) -> Event {
    match choices.below(12) {
        0..=3 => Event::Settle,
        4..=7 => Event::Polls(choices.below(6)),
        8 => Event::Probe,
        9 | 10 => Event::Pause(1 + choices.below(6) as u64),
        _ => Event::Stir,
    }
}

fn accident(choices: &mut Choices<'_>) -> Event {
    match choices.below(18) {
        16 => Event::Drain,
        17 => Event::Stop,
        0..=5 => Event::Hold(choices.bytes()),
        6..=8 => Event::Take(choices.bytes()),
        9..=11 => Event::TakeAll,
        12 => Event::Pause(100 + choices.below(1500) as u64),
        13 => Event::Fin,
        14 => Event::Reset,
        _ => Event::Stir,
    }
}

fn ending(choices: &mut Choices<'_>) -> Vec<Event> {
    let mut events = vec![pause(choices)];
    if choices.below(8) > 0 {
        events.push(Event::TakeAll);
    }
    match choices.below(10) {
        8 => events.extend([Event::Drain, pause(choices)]),
        9 => events.extend([pause(choices), Event::Stop]),
        0..=2 => events.push(Event::Fin),
        3 => events.extend([Event::Settle, Event::Fin]),
        4 => events.extend([pause(choices), Event::Reset]),
        _ => {}
    }
    events
}
