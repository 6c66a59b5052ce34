//! What a worker and its reactor tell each other.

/// What is left to do after some tasks were polled.
pub enum Turn {
    /// Other tasks can go on.
    More,
    /// All tasks wait.
    Idle,
    /// The worker ends.
    Done,
}

/// What a call to the kernel waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

/// What a call to the kernel says of the next one.
pub enum Next {
    /// There may be more to read, or room to write.
    Ready,
    /// There was no more.
    Exhausted,
}
