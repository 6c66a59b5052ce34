//! A script that fails -> a shorter one that fails in the same way.

use super::script::{
    Act, Answer, BodyPlan, ChunkStyle, ContentPlan, Event, Gap, Message, RequestPlan, Script, Step, StreamPlan,
    UpgradeServer,
};

/// So many shorter scripts are tried.
const TRIALS_MAX: usize = 20_000;

/// Makes a script shorter for as long as `fails` says that it fails.
pub fn shrink(mut script: Script, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let mut trials = 0;
    'again: loop {
        for shorter in shorter(&script) {
            trials += 1;
            if trials > TRIALS_MAX {
                return script;
            }
            if fails(&shorter) {
                script = shorter;
                continue 'again;
            }
        }
        return script;
    }
}

/// Scripts that are a step plainer.
fn shorter(script: &Script) -> Vec<Script> {
    let mut scripts = Vec::new();
    let mut with = |change: &dyn Fn(&mut Script)| scripts.extend(changed(script, change));
    with(&|script| script.stream = StreamPlan { is_vectored: true, ..StreamPlan::default() });
    with(&|script| script.picks.clear());
    with(&|script| script.unread_bytes_max = 64 * 1024);
    with(&|script| script.stream.reads.clear());
    with(&|script| script.stream.writes.clear());
    with(&|script| script.stream.flushes.clear());
    with(&|script| script.stream.is_buffered = false);
    with(&|script| script.stream.is_vectored = true);
    for messages in without_each(&script.messages) {
        with(&|script| script.messages = messages.clone());
    }
    for events in without_each(&script.events) {
        with(&|script| script.events = events.clone());
    }
    for (index, message) in script.messages.iter().enumerate() {
        for plainer in plainer_messages(message) {
            with(&|script| script.messages[index] = plainer.clone());
        }
    }
    for (index, event) in script.events.iter().enumerate() {
        for plainer in plainer_events(*event) {
            with(&|script| script.events[index] = plainer);
        }
    }
    for steps in without_each(&script.stream.reads) {
        with(&|script| script.stream.reads = steps.clone());
    }
    for steps in without_each(&script.stream.writes) {
        with(&|script| script.stream.writes = steps.clone());
    }
    for steps in without_each(&script.picks) {
        with(&|script| script.picks = steps.clone());
    }
    with(&|script| script.stream.reads.iter_mut().for_each(plainer_step));
    with(&|script| script.stream.writes.iter_mut().for_each(plainer_step));
    scripts
}

/// Lists without half of the items, and without one of them.
fn without_each<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let half = items.len() / 2;
    let halves = (items.len() > 3).then(|| [items[..half].to_vec(), items[half..].to_vec()]);
    let without = |index: usize| [&items[..index], &items[index + 1..]].concat();
    halves.into_iter().flatten().chain((0..items.len()).map(without)).collect()
}

fn plainer_step(step: &mut Step) {
    *step = match *step {
        Step::Later(polls @ 2..) => Step::Later(polls / 2),
        Step::Later(_) => Step::Again,
        Step::Short(most) => Step::Short(most / 2),
        step => step,
    };
}

fn plainer_events(event: Event) -> Vec<Event> {
    let sizes = |count: usize, event: fn(usize) -> Event| smaller(count).into_iter().map(event).collect();
    match event {
        Event::Send(count) => sizes(count, Event::Send),
        Event::Hold(count) => sizes(count, Event::Hold),
        Event::Take(count) => sizes(count, Event::Take),
        Event::Polls(count) => [vec![Event::Settle], sizes(count, Event::Polls)].concat(),
        Event::Pause(ticks) => smaller(ticks as usize).into_iter().map(|ticks| Event::Pause(ticks as u64)).collect(),
        Event::Probe => vec![Event::Settle],
        _ => Vec::new(),
    }
}

/// Numbers that are smaller.
fn smaller(number: usize) -> Vec<usize> {
    let candidates = [0, 1, 5, number / 10, number / 2, number - number / 10, number.saturating_sub(1)];
    candidates.into_iter().filter(|smaller| *smaller < number).collect()
}

fn plainer_messages(message: &Message) -> Vec<Message> {
    match message {
        Message::Raw(length) => smaller(*length).into_iter().map(Message::Raw).collect(),
        Message::Bad(kind) => smaller(*kind).into_iter().map(Message::Bad).collect(),
        Message::Request(plan) => {
            plainer_requests(plan).into_iter().map(|plan| Message::Request(Box::new(plan))).collect()
        }
    }
}

/// What a change makes of it, unless that is the same.
fn changed<T: Clone + PartialEq>(one: &T, change: &dyn Fn(&mut T)) -> Option<T> {
    let mut changed = one.clone();
    change(&mut changed);
    (changed != *one).then_some(changed)
}

fn plainer_requests(plan: &RequestPlan) -> Vec<RequestPlan> {
    let mut plans = Vec::new();
    let mut with = |change: &dyn Fn(&mut RequestPlan)| plans.extend(changed(plan, change));
    with(&|plan| plan.padding = 0);
    with(&|plan| plan.method = "POST");
    with(&|plan| plan.version = super::script::Version::Http1_1);
    with(&|plan| plan.connection = None);
    with(&|plan| plan.expects_continue = false);
    with(&|plan| plan.answer = Answer::Text(1));
    with(&|plan| plan.padding /= 2);
    for body in plainer_bodies(&plan.body) {
        with(&|plan| plan.body = body.clone());
    }
    for acts in without_each(&plan.acts) {
        with(&|plan| plan.acts = acts.clone());
    }
    for (index, act) in plan.acts.iter().enumerate() {
        for plainer in plainer_acts(*act) {
            with(&|plan| plan.acts[index] = plainer);
        }
    }
    for answer in plainer_answers(&plan.answer) {
        with(&|plan| plan.answer = answer.clone());
    }
    plans
}

fn plainer_bodies(body: &BodyPlan) -> Vec<BodyPlan> {
    let BodyPlan::Chunked { sizes, style, is_malformed } = body else {
        let BodyPlan::Length(length) = body else { return Vec::new() };
        return [BodyPlan::None].into_iter().chain(smaller(*length).into_iter().map(BodyPlan::Length)).collect();
    };
    let chunked = |sizes, style, is_malformed| BodyPlan::Chunked { sizes, style, is_malformed };
    let mut bodies = vec![
        BodyPlan::None,
        BodyPlan::Length(sizes.iter().sum()),
        chunked(sizes.clone(), ChunkStyle::Plain, *is_malformed),
        chunked(sizes.clone(), *style, false),
    ];
    bodies.extend(without_each(sizes).into_iter().map(|sizes| chunked(sizes, *style, *is_malformed)));
    for (index, size) in sizes.iter().enumerate() {
        for size in smaller(*size) {
            let mut sizes = sizes.clone();
            sizes[index] = size;
            bodies.push(chunked(sizes, *style, *is_malformed));
        }
    }
    bodies
}

fn plainer_acts(act: Act) -> Vec<Act> {
    match act {
        Act::Wait(ticks) => smaller(ticks as usize).into_iter().map(|ticks| Act::Wait(ticks as u64)).collect(),
        Act::Read(count) => smaller(count).into_iter().map(Act::Read).collect(),
        Act::RaceRead(count, ticks) => [Act::Read(count)]
            .into_iter()
            .chain(smaller(count).into_iter().map(|count| Act::RaceRead(count, ticks)))
            .collect(),
        Act::Buffer(limit) => smaller(limit).into_iter().map(Act::Buffer).collect(),
        Act::Try(limit) => smaller(limit).into_iter().map(Act::Try).collect(),
        Act::Race(_) | Act::Both(None) => vec![Act::Buffer(1 << 20)],
        Act::Both(Some(_)) => vec![Act::Both(None)],
        Act::RestAside | Act::RestElsewhere => vec![Act::Rest],
        _ => Vec::new(),
    }
}

fn plainer_answers(answer: &Answer) -> Vec<Answer> {
    match answer {
        Answer::Text(length) => smaller(*length).into_iter().map(Answer::Text).collect(),
        Answer::Bytes(length) => smaller(*length).into_iter().map(Answer::Bytes).collect(),
        Answer::Stream(plan) => plainer_contents(plan).into_iter().map(Answer::Stream).collect(),
        Answer::EchoBody => vec![Answer::Echo],
        Answer::PanicTwice => vec![Answer::Panic],
        Answer::Upgrade { echo, write, server } => smaller(*write)
            .into_iter()
            .map(|write| Answer::Upgrade { echo: *echo, write, server: *server })
            .chain([Answer::Upgrade { echo: *echo, write: *write, server: UpgradeServer::Here }])
            .collect(),
        _ => Vec::new(),
    }
}

fn plainer_contents(plan: &ContentPlan) -> Vec<ContentPlan> {
    let mut plans = vec![
        ContentPlan { gap: Gap::None, ..plan.clone() },
        ContentPlan { is_chunks: false, ..plan.clone() },
        ContentPlan { pieces: Vec::new(), ..plan.clone() },
        ContentPlan { declared: super::script::Declared::Unknown, ..plan.clone() },
        ContentPlan { end: super::script::End::Eof, ..plan.clone() },
    ];
    plans.extend(smaller(plan.total).into_iter().map(|total| ContentPlan { total, ..plan.clone() }));
    plans.extend(without_each(&plan.pieces).into_iter().map(|pieces| ContentPlan { pieces, ..plan.clone() }));
    plans
}
