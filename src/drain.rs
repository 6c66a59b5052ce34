//! The connections of one worker: how many there are, and whether they should end.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use slab::Slab;

use super::deadline::{Timers, within};

/// How long an idle connection is kept when the worker drains: a request may be on its way, which the peer believes to be
/// in time, for the last response did not say that the connection ends.
const GRACE: Duration = Duration::from_millis(100);

/// The connections that are open. Draining asks each to end when it next has nothing to answer.
#[derive(Default)]
pub(super) struct Connections {
    /// What they wait for.
    pub(super) timers: Arc<Timers>,
    phase: Cell<Phase>,
    open: RefCell<Slab<Option<Waker>>>,
    /// Who waits for the last to be gone.
    drained: Cell<Option<Waker>>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Serving,
    /// A response is the last of its connection.
    Draining,
    /// An idle connection ends.
    Ending,
}

impl Connections {
    /// Counts a connection, until the place is dropped.
    pub(super) fn enter(&self) -> Place<'_> {
        Place { connections: self, key: self.open.borrow_mut().insert(None) }
    }

    /// Asks the connections to end, and returns when there is none left.
    ///
    /// First all doors should be `closed`: a peer that is told to come again must not find one that is about to close.
    pub(super) async fn drain<T>(&self, closed: impl Future<Output = T>) {
        within(GRACE, closed).await;
        self.phase.set(Phase::Draining);
        within(GRACE, self.emptied()).await;
        self.phase.set(Phase::Ending);
        self.open.borrow_mut().iter_mut().filter_map(|(_, waker)| waker.take()).for_each(Waker::wake);
        self.emptied().await;
    }

    async fn emptied(&self) {
        poll_fn(|cx| {
            self.drained.set(Some(cx.waker().clone()));
            if self.open.borrow().is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }
}

/// A connection's entry among those of its worker.
pub(super) struct Place<'a> {
    connections: &'a Connections,
    key: usize,
}

impl Place<'_> {
    pub(super) fn timers(&self) -> &Arc<Timers> {
        &self.connections.timers
    }

    pub(super) fn is_draining(&self) -> bool {
        self.connections.phase.get() != Phase::Serving
    }

    /// Ready once the connection should end.
    pub(super) fn poll_draining(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.connections.phase.get() == Phase::Ending {
            return Poll::Ready(());
        }
        let mut open = self.connections.open.borrow_mut();
        match open.get_mut(self.key) {
            Some(Some(waker)) if waker.will_wake(cx.waker()) => {}
            Some(waker) => *waker = Some(cx.waker().clone()),
            None => {}
        }
        Poll::Pending
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.connections.open.borrow_mut().try_remove(self.key);
        self.connections.drained.take().into_iter().for_each(Waker::wake);
    }
}
