//! [`simulate`]: one script, from its first event until nothing is left to do.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use micro_smol::Limits;
use micro_smol::simulation::{ConnectionContext, Connections, serve_stream};

use super::bounds;
use super::executor::{Executor, Polled};
use super::handler::service;
use super::model::{self, Stop};
use super::script::{Event, Script, TICK_MILLIS};
use super::stream::{Link, Stream};
use super::wire::Wire;
use super::world::{Phase, World};

/// So many polls without anything that happens are a task that spins.
const IDLE_POLLS_MAX: usize = 50;

/// So many polls are more than any script needs.
const POLLS_MAX: usize = 3_000_000;

/// So many steps of the time, after the last event, are more than any script needs.
const ADVANCES_MAX: usize = 2_000;

/// How the connection has ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    Ok,
    Failed(String),
    Panicked,
    /// The simulation has dropped it.
    Dropped,
}

pub struct Simulation {
    script: Arc<Script>,
    pub world: Arc<World>,
    executor: Executor,
    connections: Rc<Connections>,
    start: Instant,
    connection: usize,
    pub ended: Option<Ended>,
    result: Rc<Cell<Option<Ended>>>,
    /// What the connection waited for when nothing was woken.
    stops: BTreeSet<Stop>,
}

/// Runs a script, and returns what the connection waited for; the error says what was wrong.
pub fn simulate(script: &Script) -> Result<BTreeSet<Stop>, String> {
    let mut simulation = Simulation::new(script);
    // The connection is one of the list from then on.
    simulation.run(1)?;
    for event in &script.events {
        simulation.apply(*event)?;
    }
    simulation.probe()?;
    simulation.run_out()?;
    Ok(simulation.stops)
}

impl Simulation {
    fn new(script: &Script) -> Self {
        let script = Arc::new(script.clone());
        let link = Link::new(Arc::new(Wire::of(&script)), &script.stream);
        let world = World::new(link, script.messages.len());
        let (connections, start) = (Rc::new(Connections::default()), Instant::now());
        connections.simulate_now(start);
        let mut executor = Executor::new(&script.picks);
        let result = Rc::default();
        let connection = executor.spawn(Box::pin(connection(
            script.clone(),
            world.clone(),
            connections.clone(),
            Rc::clone(&result),
        )));
        Simulation {
            script,
            world,
            executor,
            connections,
            start,
            connection,
            ended: None,
            result,
            stops: BTreeSet::new(),
        }
    }

    fn apply(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Polls(count) => return self.run(count),
            Event::Settle => return self.settle(),
            Event::Probe => return self.probe(),
            Event::Pause(ticks) => return self.pass(ticks),
            Event::Drain => return self.stop(Phase::Draining, Duration::MAX),
            Event::Stop => return self.stop(Phase::Ending, Duration::ZERO),
            _ => {}
        }
        let mut state = self.world.lock();
        state.progress("an event");
        let link = &mut state.link;
        let all = link.wire.bytes.len();
        match event {
            Event::Send(count) if !link.is_fin => link.arrived = all.min(link.arrived + count),
            Event::Hold(count) => state.hold(count),
            Event::Take(count) => link.room = link.room.saturating_add(count),
            Event::TakeAll => link.room = usize::MAX,
            Event::Fin => link.is_fin = true,
            Event::Reset => link.is_reset = true,
            _ => {}
        }
        state.note_arrival();
        state.link.wake();
        Ok(())
    }

    /// Tells the connection that the server stops, at once.
    fn stop(&mut self, phase: Phase, grace: Duration) -> Result<(), String> {
        let mut state = self.world.lock();
        if state.phase != Phase::Serving {
            return Ok(());
        }
        state.phase = phase;
        state.progress("an event");
        drop(state);
        let connections = self.connections.clone();
        let drain =
            self.executor.spawn(Box::pin(async move { connections.drain(grace, std::future::ready(())).await }));
        let polled = self.executor.poll(drain);
        self.note(drain, polled)
    }

    /// Polls so many tasks, if so many are woken.
    fn run(&mut self, count: usize) -> Result<(), String> {
        let (mut idle_polls, mut progress) = (0, self.world.lock().progress);
        for _ in 0..count {
            self.wake_later();
            let Some((index, polled)) = self.executor.poll_next() else { return Ok(()) };
            self.note(index, polled)?;
            let state = self.world.lock();
            idle_polls = if state.progress == progress { idle_polls + 1 } else { 0 };
            progress = state.progress;
            if idle_polls > IDLE_POLLS_MAX || self.executor.polls > POLLS_MAX {
                return Err(format!("task {index} is woken again and again and does nothing"));
            }
        }
        Ok(())
    }

    /// Wakes those whose time has come; all of them if there is nothing else to do.
    fn wake_later(&mut self) {
        let is_idle = self.executor.is_idle();
        let mut state = self.world.lock();
        let due = state.link.later.extract_if(.., |(polls, _)| {
            *polls = polls.saturating_sub(1);
            is_idle || *polls == 0
        });
        let due: Vec<_> = due.collect();
        state.progress_if(!due.is_empty(), "a late wakeup");
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn note(&mut self, index: usize, polled: Polled) -> Result<(), String> {
        let spawned = std::mem::take(&mut self.world.lock().spawned);
        for task in spawned {
            self.executor.spawn(task);
        }
        if index == self.connection && self.ended.is_none() {
            self.ended = match polled {
                Polled::Pending => None,
                Polled::Ended => self.result.take(),
                Polled::Panicked => Some(Ended::Panicked),
            };
        } else if polled == Polled::Panicked {
            return Err(format!("task {index} panics"));
        }
        Ok(())
    }

    /// Polls until nothing is woken, and holds what there is then against the model.
    fn settle(&mut self) -> Result<(), String> {
        self.connections.wake_overdue();
        self.world.lock().wake_timers();
        self.run(usize::MAX)?;
        self.stops.insert(model::check(self, &self.script)?);
        Ok(())
    }

    /// Settles; then polls everything once more: what happens now should have been woken before.
    fn probe(&mut self) -> Result<(), String> {
        self.settle()?;
        let before = {
            let mut state = self.world.lock();
            state.is_probe = true;
            state.progress
        };
        for index in self.executor.live() {
            let polled = self.executor.poll(index);
            self.note(index, polled)?;
        }
        self.run(usize::MAX)?;
        let mut state = self.world.lock();
        state.is_probe = false;
        match state.progress == before {
            true => Ok(()),
            false => Err(format!("a wakeup is lost: {} follows only when everything is polled", state.last_progress)),
        }
    }

    /// When the time must be looked at next.
    fn next_time(&self) -> Option<u64> {
        let deadline = self.connections.wake_overdue().map(|at| self.tick_of(at));
        let timer = self.world.lock().next_timer();
        deadline.into_iter().chain(timer).min()
    }

    /// The first tick that is not before an instant.
    fn tick_of(&self, at: Instant) -> u64 {
        (at.saturating_duration_since(self.start).as_millis() as u64).div_ceil(TICK_MILLIS)
    }

    fn set_time(&mut self, ticks: u64) {
        self.connections.simulate_now(self.start + Duration::from_millis(ticks * TICK_MILLIS));
        self.world.lock().set_time(ticks);
    }

    fn pass(&mut self, ticks: u64) -> Result<(), String> {
        self.settle()?;
        let end = self.world.lock().now + ticks;
        while let Some(next) = self.next_time().filter(|next| *next < end) {
            self.set_time(next);
            self.settle()?;
        }
        self.set_time(end);
        self.settle()
    }

    /// Lets the time go on until nothing waits for it; what is left then must wait for ever.
    fn run_out(&mut self) -> Result<(), String> {
        for _ in 0..ADVANCES_MAX {
            let now = self.world.lock().now;
            match self.next_time() {
                Some(next) => self.set_time(next.max(now + 1)),
                None => return self.end(),
            }
            self.settle()?;
        }
        Err("the connection goes on for ever".to_owned())
    }

    fn end(&mut self) -> Result<(), String> {
        self.probe()?;
        bounds::check_end(self)?;
        if self.ended.is_none() {
            self.ended = Some(Ended::Dropped);
            self.executor.end(self.connection);
        }
        self.run(usize::MAX)?;
        let tasks = self.executor.live().len();
        bounds::check_rest(self, tasks)
    }
}

async fn connection(
    script: Arc<Script>,
    world: Arc<World>,
    connections: Rc<Connections>,
    result: Rc<Cell<Option<Ended>>>,
) {
    let handler = service(&world, &script);
    let limits = Limits { unread_bytes_max: script.unread_bytes_max, ..Limits::default() };
    let registration = connections.register();
    let stream = (Box::new(Stream(world)) as Box<_>, None);
    let ended = serve_stream(stream, ConnectionContext::default(), &registration, &handler, &limits).await;
    result.set(Some(ended.map_or_else(|error| Ended::Failed(error.to_string()), |()| Ended::Ok)));
}
