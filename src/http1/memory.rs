//! [`Buffer`]: bytes that were read and not yet consumed; and a thread's large memory, which is used again because fresh
//! pages cost more than copying.

#![expect(clippy::arithmetic_side_effects, reason = "the positions stay within the bytes")]

use std::cell::RefCell;
use std::io::Read;
use std::mem;

/// Memory from this size on is kept for reuse.
const LARGE_BYTES: usize = 64 * 1024;

/// The most memory that is made before bytes have come.
const PREPARED_BYTES_MAX: usize = 512 * 1024;

/// The least memory of a buffer.
const BUFFER_BYTES_MIN: usize = 1024;

/// Larger memory is freed, not kept.
const KEPT_BYTES_MAX: usize = 1024 * 1024;

/// The most buffers that a thread keeps.
const KEPT_MAX: usize = 16;

/// What a buffer grows by at most, unless more is wanted: new memory is zeroed at once.
const GROWTH_BYTES_MAX: usize = 256 * 1024;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Takes memory that was used before, with old bytes in it; an empty vector if less than [`LARGE_BYTES`] is wanted.
fn take(wanted: usize) -> Vec<u8> {
    let kept = if wanted < LARGE_BYTES { None } else { KEPT.with_borrow_mut(Vec::pop) };
    kept.unwrap_or_default()
}

/// Keeps large memory for the next [`take`] of this thread.
pub fn give(bytes: Vec<u8>) {
    if (LARGE_BYTES..=KEPT_BYTES_MAX).contains(&bytes.len()) {
        // Err only while the thread ends; the memory is freed then.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                kept.push(bytes);
            }
        });
    }
}

/// Copies bytes, into memory that was used before if they are many.
pub fn copy(bytes: &[u8]) -> Vec<u8> {
    let mut copy = take(bytes.len());
    copy.clear();
    copy.extend_from_slice(bytes);
    copy
}

/// Bytes that were read and not yet consumed, with room behind them.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// Makes memory for `wanted` bytes if there is none, at most [`PREPARED_BYTES_MAX`].
    pub fn prepare(&mut self, wanted: usize) {
        if self.bytes.is_empty() {
            let wanted = wanted.clamp(BUFFER_BYTES_MIN, PREPARED_BYTES_MAX);
            self.bytes = take(wanted);
            self.bytes.resize(self.bytes.len().max(wanted), 0);
        }
    }

    /// Leaves large memory to others while there is nothing in it.
    pub fn release(&mut self) {
        if self.is_empty() && self.bytes.len() >= LARGE_BYTES {
            give(self.take_memory());
        }
    }

    /// Takes the memory and leaves an empty buffer without any.
    pub fn take_memory(&mut self) -> Vec<u8> {
        (self.start, self.end) = (0, 0);
        mem::take(&mut self.bytes)
    }

    /// The unread bytes alone.
    pub fn into_vec(mut self) -> Vec<u8> {
        let (start, end) = (self.start, self.end);
        let mut bytes = self.take_memory();
        bytes.truncate(end);
        bytes.drain(..start);
        bytes
    }

    pub fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub fn unread(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start.saturating_add(count));
    }

    /// Moves unread bytes to `to`, as many as fit, and returns how many those are.
    pub fn read(&mut self, to: &mut [u8]) -> usize {
        // Reading from a slice cannot fail.
        let count = self.unread().read(to).unwrap_or(0);
        self.consume(count);
        count
    }

    /// Room behind the unread bytes, which are moved to the front first. It is never empty: a full buffer grows by `more`
    /// bytes, or by its size if that is larger.
    pub fn room(&mut self, more: usize) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() {
            self.bytes.resize(self.end + more.max(self.end.min(GROWTH_BYTES_MAX)).max(1), 0);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Notes that so many bytes were written to the room.
    pub fn filled(&mut self, count: usize) {
        self.end = self.bytes.len().min(self.end + count);
    }

    /// Appends bytes; `more` is as for [`room`](Self::room).
    pub fn append(&mut self, mut bytes: &[u8], more: usize) {
        while !bytes.is_empty() {
            // Reading from a slice cannot fail.
            let count = bytes.read(self.room(more)).unwrap_or(0);
            self.filled(count);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        give(mem::take(&mut self.bytes));
    }
}
