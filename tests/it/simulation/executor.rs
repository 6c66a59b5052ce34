//! [`Executor`]: polls tasks that were woken, in the order that the script says, and no others.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

/// The tasks of a simulation, by their index. A task is None once it has ended.
pub struct Executor {
    tasks: Vec<Option<Task>>,
    woken: Arc<Mutex<Vec<usize>>>,
    picks: Vec<usize>,
    pub polls: usize,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

struct WakeTask {
    index: usize,
    woken: Arc<Mutex<Vec<usize>>>,
}

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        if !woken.contains(&self.index) {
            woken.push(self.index);
        }
    }
}

/// What becomes of a task that is polled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Polled {
    Pending,
    Ended,
    Panicked,
}

impl Executor {
    pub fn new(picks: &[usize]) -> Self {
        Executor { tasks: Vec::new(), woken: Arc::default(), picks: picks.to_vec(), polls: 0 }
    }

    pub fn spawn(&mut self, future: Pin<Box<dyn Future<Output = ()>>>) -> usize {
        let index = self.tasks.len();
        let waker = Waker::from(Arc::new(WakeTask { index, woken: self.woken.clone() }));
        waker.wake_by_ref();
        self.tasks.push(Some(Task { future, waker }));
        index
    }

    pub fn is_live(&self, index: usize) -> bool {
        self.tasks[index].is_some()
    }

    pub fn live(&self) -> Vec<usize> {
        (0..self.tasks.len()).filter(|index| self.is_live(*index)).collect()
    }

    pub fn is_idle(&self) -> bool {
        self.woken().is_empty()
    }

    fn woken(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Polls one of the tasks that were woken.
    pub fn poll_next(&mut self) -> Option<(usize, Polled)> {
        let index = {
            let mut woken = self.woken();
            let pick = self.picks.get(self.polls % self.picks.len().max(1)).copied().unwrap_or(0);
            let pick = pick.checked_rem(woken.len())?;
            woken.remove(pick)
        };
        Some((index, self.poll(index)))
    }

    /// Polls a task, whether it was woken or not.
    pub fn poll(&mut self, index: usize) -> Polled {
        self.polls += 1;
        let Some(task) = &mut self.tasks[index] else { return Polled::Ended };
        let Task { future, waker } = task;
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(waker))));
        let polled = match polled {
            Ok(poll) if poll.is_pending() => return Polled::Pending,
            Ok(_) => Polled::Ended,
            Err(_) => Polled::Panicked,
        };
        self.end(index);
        polled
    }

    /// Drops a task.
    pub fn end(&mut self, index: usize) {
        drop(self.tasks[index].take());
    }
}
