//! The handler of a simulation: it does for each request what the script says, and notes what it did.

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use micro_smol::smol::channel;
use micro_smol::smol::future::{or, pending, yield_now};
use micro_smol::smol::io::{AsyncReadExt, BufReader};
use micro_smol::{Body, Error, Handler, IntoResponse, Request, Response, Result};
use micro_smol::{chunks, create_error, send, stream, upgrade};

use super::content::{Maker, PLANNED_PANIC};
use super::reading::{Tracked, read_whole};
use super::script::{Act, Answer, ContentPlan, Message, RequestPlan, Script, UpgradeServer};
use super::upgraded::serve_upgraded;
use super::wire;
use super::world::{Content, Expected, Phase, Wait, Waiting, World};

/// Makes the handler of a script.
pub fn service(world: &Arc<World>, script: &Arc<Script>) -> impl Handler {
    let (world, script) = (world.clone(), script.clone());
    async move |request: Request| {
        let index: usize = request.path().trim_start_matches('/').parse().unwrap();
        let Some(Message::Request(plan)) = script.messages.get(index) else { panic!("there is no message {index}") };
        let _call = CallGuard::begin(&world, index);
        let mut job =
            Job { world: world.clone(), index, request: Some(Arc::new(request)), body: None, gave_up_buffer: false };
        let answered = job.run(plan).await;
        answered.inspect_err(|error| job.expect(status_of(error), Content::Any)).map(|response| {
            let index = index.to_string();
            response.with_header("x-message", index)
        })
    }
}

/// The status that answers an error: `?` gives 500, and the server that of the fault of a body.
fn status_of(error: &Error) -> u16 {
    let status = u16::from(error.status());
    error.downcast_ref().filter(|_| status == 500).map_or(status, super::reading::status_of)
}

/// Notes that a handler runs.
struct CallGuard(Arc<World>, usize);

impl CallGuard {
    fn begin(world: &Arc<World>, index: usize) -> Self {
        let mut state = world.lock();
        state.progress("a call of the handler");
        state.order.push(index);
        let input = state.link.read;
        let call = &mut state.calls[index];
        (call.has_begun, call.is_live, call.input_when_begun) = (true, true, input);
        CallGuard(world.clone(), index)
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.progress("the end of a handler");
        state.calls[self.1].is_live = false;
    }
}

struct Job {
    world: Arc<World>,
    index: usize,
    /// None once the handler has nothing more of it.
    request: Option<Arc<Request>>,
    body: Option<Tracked>,
    gave_up_buffer: bool,
}

impl Job {
    async fn run(&mut self, plan: &RequestPlan) -> Result<Response> {
        for act in &plan.acts {
            self.act(*act).await?;
        }
        self.answer(&plan.answer).await
    }

    async fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::Wait(ticks) => {
                self.forget_read(ticks > 0);
                self.sleep(ticks).await;
            }
            Act::Yield => {
                self.forget_read(true);
                yield_now().await;
            }
            Act::Buffer(limit) => self.read_whole(limit).await?,
            Act::Try(limit) => match self.read_whole(limit).await {
                Err(error) if u16::from(error.status()) == 413 => {}
                read => read?,
            },
            Act::Race(ticks) => {
                let read = async { self.read_whole(usize::MAX >> 1).await.map(|()| false) };
                let late = async { Ok(self.sleep_ok(ticks).await.is_ok()) };
                self.world.lock().calls[self.index].has_given_up = true;
                self.gave_up_buffer = or(read, late).await?;
                self.world.lock().calls[self.index].has_given_up = self.gave_up_buffer;
            }
            Act::Both(ticks) => self.read_in_two_tasks(ticks).await?,
            Act::Read(count) => self.read(count).await?,
            Act::RaceRead(count, ticks) => {
                let late = self.world.sleep(self.waiting(), ticks);
                let given_up = async {
                    late.await;
                    Ok(())
                };
                or(self.read(count), given_up).await?;
                // Nobody waits for what was given up.
                self.world.lock().calls[self.index].has_given_up = true;
                self.body.iter_mut().for_each(|body| body.guard = None);
            }
            Act::Rest => self.read(usize::MAX).await?,
            Act::RestAside => aside(self.read(usize::MAX)).await?,
            Act::RestElsewhere => self.read_elsewhere().await?,
            Act::Detach => drop(self.detach()),
            Act::DropBody => drop(self.take_body()),
            Act::KeepBody => {
                let body = self.take_body().map(|tracked| tracked.body);
                self.world.lock().kept.extend(body);
            }
        }
        Ok(())
    }

    fn waiting(&self) -> Waiting {
        Waiting { message: self.index, wait: Wait::Timer, is_reader: false }
    }

    /// The connection notes that a read of the whole content was given up when the handler next waits.
    fn forget_read(&mut self, waits: bool) {
        if waits && std::mem::take(&mut self.gave_up_buffer) {
            let call = &mut self.world.lock().calls[self.index];
            (call.has_given_up, call.waits_since) = (false, None);
        }
    }

    async fn sleep(&self, ticks: u64) {
        self.world.sleep(self.waiting(), ticks).await;
    }

    async fn sleep_ok(&self, ticks: u64) -> Result<()> {
        self.sleep(ticks).await;
        Ok(())
    }

    async fn read_whole(&self, limit: usize) -> Result<()> {
        match &self.request {
            Some(request) if self.body.is_none() => read_whole(&self.world, self.index, request, limit).await,
            _ => Ok(()),
        }
    }

    async fn read_in_two_tasks(&self, ticks: Option<u64>) -> Result<()> {
        let Some(request) = self.request.clone().filter(|_| self.body.is_none()) else { return Ok(()) };
        let (world, index, (done, is_done)) = (self.world.clone(), self.index, channel::bounded(1));
        self.world.spawn(async move {
            let read = read_whole(&world, index, &request, usize::MAX >> 1).await;
            drop(request);
            let _ = done.try_send(read);
        });
        match ticks {
            Some(ticks) => or(self.read_whole(usize::MAX >> 1), self.sleep_ok(ticks)).await?,
            None => self.read_whole(usize::MAX >> 1).await?,
        }
        is_done.recv().await?
    }

    /// Takes the body, unless it is taken or another task has the request.
    fn take_body(&mut self) -> Option<Tracked> {
        let request = self.request.as_mut().and_then(Arc::get_mut);
        if self.body.is_none()
            && let Some(request) = request
        {
            let (world, message, body) = (self.world.clone(), self.index, request.take_body());
            self.request = None;
            self.body = Some(Tracked { world, message, body, position: 0, is_reader: false, guard: None });
        }
        self.body.take()
    }

    async fn read(&mut self, count: usize) -> Result<()> {
        self.body = self.take_body();
        let Some(body) = &mut self.body else { return Ok(()) };
        let (mut left, mut room) = (count, [0; 3000]);
        while left > 0 {
            let end = left.min(room.len());
            match body.read(&mut room[..end]).await? {
                0 => break,
                read => left -= read,
            }
        }
        Ok(())
    }

    fn detach(&mut self) -> channel::Receiver<std::io::Result<()>> {
        let (done, is_done) = channel::bounded(1);
        if let Some(mut body) = self.take_body() {
            self.world.spawn(async move {
                let mut content = Vec::new();
                let read = body.read_to_end(&mut content).await;
                let _ = done.try_send(read.map(drop));
            });
        }
        is_done
    }

    async fn read_elsewhere(&mut self) -> Result<()> {
        match self.detach().recv().await {
            Ok(read) => Ok(read?),
            // There was nothing to read.
            Err(_) => Ok(()),
        }
    }

    fn expect(&self, status: u16, content: Content) {
        let mut state = self.world.lock();
        state.progress("an answer");
        let is_last = state.phase != Phase::Serving;
        let call = &mut state.calls[self.index];
        if call.answer.is_none() {
            call.answer = Some(Expected { status, content });
            (call.read_when_answered, call.is_last) = (call.read, is_last);
        }
    }

    async fn answer(&mut self, answer: &Answer) -> Result<Response> {
        let index = self.index;
        match answer {
            Answer::Empty => self.sending(204, Content::Empty, ()),
            Answer::NotModified => self.sending(304, Content::Empty, "not sent"),
            Answer::Text(length) => {
                let text = String::from_utf8(wire::made(index, *length).to_vec()).unwrap();
                self.sending(200, Content::Made(*length), text)
            }
            Answer::Bytes(length) => self.sending(201, Content::Made(*length), wire::made(index, *length)),
            Answer::Stream(plan) => self.stream(plan),
            Answer::Echo => self.echo(),
            Answer::EchoBody => self.echo_body(),
            Answer::Error(status) => {
                let message = format!("message {index} fails");
                self.expect(*status, Content::Text(message.clone()));
                Err(create_error(*status, message))
            }
            Answer::Panic | Answer::PanicTwice => {
                self.expect(500, Content::Any);
                match answer {
                    Answer::Panic => resume_unwind(Box::new(PLANNED_PANIC)),
                    _ => resume_unwind(Box::new(PanicsWhenDropped)),
                }
            }
            Answer::Never => {
                let _waiting = self.world.wait(index, Wait::Ever);
                pending().await
            }
            Answer::Upgrade { echo, write, server } => self.upgrade(*echo, *write, *server),
        }
    }

    fn sending(&self, status: u16, content: Content, value: impl IntoResponse) -> Result<Response> {
        self.expect(status, content);
        send(status, value)
    }

    fn stream(&self, plan: &ContentPlan) -> Result<Response> {
        self.expect(200, Content::Stream);
        let maker = Maker::new(&self.world, self.index, plan);
        match (plan.is_chunks, plan.declared()) {
            (true, None) => chunks(maker).into_response(),
            (true, Some(length)) => chunks(maker).length(length as u64).into_response(),
            (false, None) => stream(maker).into_response(),
            (false, Some(length)) => stream(maker).length(length as u64).into_response(),
        }
    }

    fn echo(&mut self) -> Result<Response> {
        let Some(mut body) = self.take_body() else { return self.sending(204, Content::Empty, ()) };
        body.is_reader = true;
        self.expect(200, Content::Echo(body.position));
        stream(body).into_response()
    }

    fn echo_body(&mut self) -> Result<Response> {
        let Some(mut body) = self.take_body().filter(|body| body.position == 0) else { return self.echo() };
        body.is_reader = true;
        let length = body.body.len();
        self.expect(200, Content::Echo(0));
        Body::from_reader(BufReader::new(body), length).into_response()
    }

    fn upgrade(&mut self, echo: usize, write: usize, server: UpgradeServer) -> Result<Response> {
        let Some(request) = &self.request else { return self.sending(204, Content::Empty, ()) };
        let (world, index) = (self.world.clone(), self.index);
        let response = upgrade(request, "sim", async move |io| {
            let (done, is_done) = channel::bounded::<()>(1);
            let served = serve_upgraded(world.clone(), io, index, echo, write, done);
            match server {
                UpgradeServer::Here | UpgradeServer::Stays => served.await,
                UpgradeServer::Elsewhere | UpgradeServer::Detached => world.spawn(served),
            }
            match server {
                UpgradeServer::Here => {}
                UpgradeServer::Stays => {
                    let _waiting = world.wait(index, Wait::Ever);
                    pending().await
                }
                // Nothing is sent: it ends when the task has.
                UpgradeServer::Elsewhere => drop(is_done.recv().await),
                UpgradeServer::Detached => world.lock().upgraded.is_detached = true,
            }
        });
        let status = u16::from(response.status());
        self.expect(status, if status == 101 { Content::Switched } else { Content::Any });
        Ok(response)
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        // The payload is forgotten: one that allocates would be a leak.
        resume_unwind(Box::new(()));
    }
}

/// Polls a future with a waker that is not that of the task, as a future that joins others does.
async fn aside<T>(future: impl Future<Output = T>) -> T {
    struct Forward(Waker);
    impl Wake for Forward {
        fn wake(self: Arc<Self>) {
            self.0.wake_by_ref();
        }
    }
    let mut future = pin!(future);
    poll_fn(|cx| -> Poll<T> {
        let waker = Waker::from(Arc::new(Forward(cx.waker().clone())));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}
