//! Scripts that have failed once, or that a fault of long ago would fail, by what they are about.

use super::run;
use super::script::{
    Act, Answer, BodyPlan, ContentPlan, Declared, End, Event, Gap, Message, RequestPlan, Script, Step, StreamPlan,
    Version,
};
use super::wire::head;

/// A POST of so many bytes.
fn post(length: usize, acts: &[Act], answer: Answer) -> RequestPlan {
    RequestPlan {
        method: "POST",
        version: Version::Http1_1,
        body: BodyPlan::Length(length),
        expects_continue: false,
        connection: None,
        padding: 0,
        acts: acts.to_vec(),
        answer,
    }
}

fn assert_holds(requests: &[RequestPlan], stream: StreamPlan, events: &[Event]) {
    let messages = requests.iter().cloned().map(|plan| Message::Request(Box::new(plan))).collect();
    let script = Script { unread_bytes_max: 1000, messages, events: events.to_vec(), stream, picks: Vec::new() };
    if let Err(fault) = run(&script) {
        panic!("{fault}\n{script}");
    }
}

/// Far more than a head.
const LARGE: usize = 20_000;

#[test]
fn a_body_that_is_asked_for_while_the_response_leaves_gets_no_100() {
    let plan = RequestPlan { expects_continue: true, ..post(5, &[Act::Detach], Answer::Bytes(LARGE)) };
    let slow = StreamPlan { writes: vec![Step::Short(900), Step::Later(9)], ..StreamPlan::default() };
    let head_bytes = head(0, &plan).len();
    assert_holds(&[plan], slow, &[Event::Send(head_bytes), Event::Settle, Event::Send(5)]);
}

#[test]
fn a_handler_that_waits_for_ever_is_dropped_after_a_half_close() {
    assert_holds(&[post(0, &[], Answer::Never)], StreamPlan::default(), &[Event::Send(LARGE), Event::Fin]);
}

#[test]
fn a_handler_that_waits_for_ever_is_dropped_after_a_reset() {
    let events = [Event::Send(LARGE), Event::Settle, Event::Reset];
    assert_holds(&[post(3, &[], Answer::Never)], StreamPlan::default(), &events);
}

#[test]
fn a_body_is_read_while_the_peer_takes_no_output() {
    let plan = post(3000, &[Act::Detach], Answer::Bytes(LARGE));
    let events = [Event::Hold(100), Event::Send(1000), Event::Settle, Event::Send(3000), Event::Probe];
    assert_holds(&[plan], StreamPlan::default(), &events);
}

#[test]
fn what_waits_for_a_flush_reaches_the_peer() {
    let stream = StreamPlan { flushes: vec![Step::Later(5)], is_buffered: true, ..StreamPlan::default() };
    let requests = [post(1, &[Act::Rest], Answer::Text(5)), post(2, &[], Answer::Empty)];
    assert_holds(&requests, stream, &[Event::Send(60), Event::Probe, Event::Send(LARGE)]);
}

#[test]
fn the_reader_of_a_response_that_is_cut_is_dropped() {
    let content = ContentPlan {
        total: 10,
        pieces: vec![3],
        gap: Gap::Yield,
        declared: Declared::TooLong,
        end: End::Fails,
        is_chunks: false,
    };
    assert_holds(&[post(0, &[], Answer::Stream(content))], StreamPlan::default(), &[Event::Send(LARGE)]);
}
