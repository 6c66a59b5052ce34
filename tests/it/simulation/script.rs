//! [`Script`]: all that happens in a simulation, as data that can be printed, shortened and run again.

use std::fmt;

/// Times of a script are in these: all deadlines and timers stand on one grid.
pub const TICK_MILLIS: u64 = 50;

#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// [`Limits::unread_bytes_max`](micro_smol::Limits) of the connection.
    pub unread_bytes_max: usize,
    pub messages: Vec<Message>,
    /// What the peer does, and how long the connection runs in between.
    pub events: Vec<Event>,
    pub stream: StreamPlan,
    /// Which of the tasks that were woken is polled next; the first one if there are no picks.
    pub picks: Vec<usize>,
}

/// How the stream behaves; the steps of each list come round again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StreamPlan {
    pub reads: Vec<Step>,
    pub writes: Vec<Step>,
    pub flushes: Vec<Step>,
    pub is_vectored: bool,
    /// The peer sees what is written only once it is flushed.
    pub is_buffered: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Whole,
    /// At most so many bytes.
    Short(usize),
    /// Pending, and woken at once.
    Again,
    /// Pending, and woken after so many polls of any task.
    Later(usize),
    /// Whole; claims more bytes than there was room for, if that is full.
    Overclaim,
}

/// What the peer sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Request(Box<RequestPlan>),
    /// One of [`BAD_HEADS`](super::wire::BAD_HEADS).
    Bad(usize),
    /// So many bytes for an upgraded connection. They are no head.
    Raw(usize),
}

#[derive(Clone, Debug, PartialEq)]
pub struct RequestPlan {
    pub method: &'static str,
    pub version: Version,
    pub body: BodyPlan,
    pub expects_continue: bool,
    pub connection: Option<&'static str>,
    /// Makes the head so many bytes longer.
    pub padding: usize,
    /// What the handler does before it answers.
    pub acts: Vec<Act>,
    pub answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Version {
    Http1_0,
    Http1_1,
}

#[derive(Clone, Debug, PartialEq)]
pub enum BodyPlan {
    None,
    Length(usize),
    Chunked { sizes: Vec<usize>, style: ChunkStyle, is_malformed: bool },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ChunkStyle {
    Plain,
    /// Zeros before the sizes, chunk extensions and a trailer section.
    Wordy,
}

impl BodyPlan {
    pub fn content_bytes(&self) -> usize {
        match self {
            BodyPlan::None => 0,
            BodyPlan::Length(length) => *length,
            BodyPlan::Chunked { sizes, .. } => sizes.iter().sum(),
        }
    }
}

/// A step of a handler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// Waits so many ticks.
    Wait(u64),
    Yield,
    /// Reads the whole content, up to a limit.
    Buffer(usize),
    /// The same, and goes on if there is more.
    Try(usize),
    /// Reads the whole content, unless the ticks pass first.
    Race(u64),
    /// Reads the whole content while another task does so too; gives up after the ticks, if there are any.
    Both(Option<u64>),
    /// Takes the body and reads so many bytes.
    Read(usize),
    /// The same, unless the ticks pass first.
    RaceRead(usize, u64),
    /// Takes the body and reads to its end.
    Rest,
    /// The same with a waker that is not the task's own.
    RestAside,
    /// Has another task read to the end, and waits for it.
    RestElsewhere,
    /// Has another task read to the end, and does not wait.
    Detach,
    DropBody,
    /// Keeps the body until after the end of the connection.
    KeepBody,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Empty,
    NotModified,
    Text(usize),
    Bytes(usize),
    Stream(ContentPlan),
    /// Streams the request's body back.
    Echo,
    /// The same as a body that knows its length, if the request's does.
    EchoBody,
    Error(u16),
    Panic,
    /// A panic whose payload panics when it is dropped.
    PanicTwice,
    Never,
    /// Echoes so many bytes of the upgraded connection, then writes so many.
    Upgrade {
        echo: usize,
        write: usize,
        server: UpgradeServer,
    },
}

/// Who serves an upgraded connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UpgradeServer {
    Here,
    /// The future that got it, which never ends.
    Stays,
    /// Another task, for which the future waits.
    Elsewhere,
    /// Another task, for which the future does not wait.
    Detached,
}

/// How a response is streamed.
#[derive(Clone, Debug, PartialEq)]
pub struct ContentPlan {
    pub total: usize,
    /// The sizes of the pieces; they come round again.
    pub pieces: Vec<usize>,
    pub gap: Gap,
    pub declared: Declared,
    pub end: End,
    pub is_chunks: bool,
}

/// What a reader does before each piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gap {
    None,
    /// Is pending once, and woken at once.
    Yield,
    /// Is pending for so many ticks.
    Wait(u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Declared {
    Unknown,
    Right,
    TooShort,
    TooLong,
}

/// How a reader ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum End {
    Eof,
    Fails,
    Panics,
    Never,
    /// Claims more bytes than there is room for.
    Overclaims,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// So many more bytes arrive.
    Send(usize),
    /// The peer takes so many bytes more, and no others.
    Hold(usize),
    /// The peer takes so many bytes more than it would.
    Take(usize),
    TakeAll,
    /// The peer sends no more.
    Fin,
    /// Reads and writes fail.
    Reset,
    /// So many tasks are polled.
    Polls(usize),
    /// All that is woken is polled, until nothing is.
    Settle,
    /// As `Settle`; then all is polled once more, which must change nothing.
    Probe,
    /// So many ticks pass.
    Pause(u64),
    /// The server is told to stop: each response is the last of its connection.
    Drain,
    /// The server stops: a connection without a request ends.
    Stop,
    /// Wakes whoever waits for the stream although nothing has changed.
    Stir,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  unread_bytes_max: {}, picks: {:?}", self.unread_bytes_max, self.picks)?;
        writeln!(f, "  stream: {:?}", self.stream)?;
        for (index, message) in self.messages.iter().enumerate() {
            writeln!(f, "  message {index}: {message:?}")?;
        }
        write!(f, "  events: {:?}", self.events)
    }
}
