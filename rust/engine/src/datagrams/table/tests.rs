use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use proptest::prelude::*;
use socket2::{Domain, Socket, Type};

use super::*;
use crate::datagrams::address::Place;
use crate::datagrams::far::{Far, Route};
use crate::datagrams::ground::Lead;
use crate::datagrams::hop::Envelope;
use crate::dial::DialOptions;
use crate::relay::Gauge;
use crate::udp::Line;

const SESSIONS: usize = 3;
const TARGETS: usize = 4;
const WAITING: usize = 2;

fn source(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 1000).into()
}

fn address(number: u8) -> SocketAddr {
    ([192, 0, 2, number], 53).into()
}

fn place(number: u8) -> Place {
    if number.is_multiple_of(2) {
        address(number).into()
    } else {
        Place::Name(format!("host-{number}"), 53)
    }
}

/// A table and what should be true of it.
struct Model {
    table: Table,
    line: Arc<Line>,
    fars: Vec<FarHandle>,
    now: u64,
    begun: usize,
    told: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Model {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .expect("runtime");
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("socket");
        let line = runtime.block_on(async { Arc::new(Line::new(socket).expect("line")) });
        let fars = (0..3)
            .map(|_| Far::direct(DialOptions::default()))
            .collect();
        let table = Table::new(SESSIONS, TARGETS, WAITING * (1 + OVERHEAD));
        Self {
            table,
            line,
            fars,
            now: 0,
            begun: 0,
            told: Arc::default(),
            _runtime: runtime,
        }
    }

    fn packet(&mut self, from: u8, to: u8) -> u32 {
        let session =
            self.table
                .session(Origin::Source(source(from)), source(from), None, self.now);
        let (Found::Flow(flow) | Found::New(flow)) =
            self.table.flow(session, place(to).spot(), self.now);
        self.table.touch(flow, self.now);
        self.table.wait(flow, &[to; 5]);
        self.table.note_named(flow);
        flow
    }

    fn yes(&mut self, flow: u32, far: usize, located: Place) {
        let entry = &self.table.flows[flow as usize];
        let (id, session) = (entry.id, entry.session);
        if self.table.asked(id).is_none() {
            return;
        }
        let far = Arc::clone(&self.fars[far]);
        let told = Arc::clone(&self.told);
        let carried = Carried {
            way: self.table.way(session, &far),
            located,
            alias: None,
            exit: Arc::clone(&self.line) as _,
            route: Route {
                lead: Lead {
                    to: address(0),
                    frame: None,
                },
                envelope: Envelope::default(),
            },
            gauge: Arc::new(Gauge::default()),
            turns: None,
            done: Some(Box::new(move |_| _ = told.fetch_add(1, Relaxed))),
        };
        self.begun += 1;
        let waited = self.table.carry(id, carried);
        assert!(waited.len() <= WAITING);
    }

    /// Everything that is kept in two places agrees.
    fn check(&mut self) {
        for (done, end) in self.table.take_ended() {
            done(end);
        }
        let table = &self.table;
        let count =
            |met: &dyn Fn(&Flow) -> bool| table.flows.iter().filter(|(_, flow)| met(flow)).count();
        let carried = count(&|flow| matches!(flow.state, State::Carried(_)));
        assert_eq!(self.begun, self.told.load(Relaxed) + carried);
        assert!(table.sessions.len() <= SESSIONS);
        assert_eq!(table.by_origin.len(), table.sessions.len());
        assert_eq!(table.by_target.len(), table.flows.len());
        assert_eq!(
            table.by_sender.len(),
            count(&|flow| flow.sender().is_some())
        );
        let waiting = table.flows.iter().map(|(_, flow)| match &flow.state {
            State::Asked(packets) => packets.iter().map(|packet| packet.len() + OVERHEAD).sum(),
            _ => 0,
        });
        assert_eq!(table.waiting_bytes, waiting.sum::<usize>());
        for (answered, order) in table.orders.iter().enumerate() {
            let listed: Vec<u32> = order.iter(&table.sessions).collect();
            assert_eq!(listed.len(), order.len());
            let alike = |at: &u32| usize::from(table.sessions[*at as usize].answered) == answered;
            assert!(listed.iter().all(alike));
        }
        let listed: usize = table.orders.iter().map(|order| order.len()).sum();
        assert_eq!(listed, table.sessions.len());
        for (at, session) in &table.sessions {
            let at = at as u32;
            let listed: Vec<u32> = table.of_session(at).collect();
            assert_eq!(listed.len(), count(&|flow| flow.session == at));
            assert_eq!(listed.len(), session.flows.len());
            assert!((1..=TARGETS).contains(&listed.len()));
            assert_eq!(listed.last().copied(), session.flows.oldest());
            let ticks = listed.iter().map(|&flow| table.flows[flow as usize].last);
            assert!(ticks.is_sorted_by(|newer, older| newer >= older));
            for (number, way) in session.ways.iter().enumerate() {
                assert_eq!(
                    way.flows,
                    count(&|flow| flow.session == at && flow.uses(number))
                );
                for mark in [way.first, way.named] {
                    assert!(mark == NONE || table.flows[mark as usize].uses(number));
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Packet(u8, u8),
    Yes(u8, u8, usize, u8),
    No(u8, u8),
    Answer(u8, usize, u8),
    Later(u64),
    Cut(u8, u8),
    EndWay(u8, usize),
    Replace(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let (from, to, far) = (0..5u8, 0..8u8, 0..3usize);
    prop_oneof![
        4 => (from.clone(), to.clone()).prop_map(|(from, to)| Step::Packet(from, to)),
        4 => (from.clone(), to.clone(), far.clone(), to.clone())
            .prop_map(|(from, to, far, at)| Step::Yes(from, to, far, at)),
        1 => (from.clone(), to.clone()).prop_map(|(from, to)| Step::No(from, to)),
        3 => (from.clone(), far.clone(), to.clone()).prop_map(|(from, way, to)| Step::Answer(from, way, to)),
        1 => (1..40u64).prop_map(Step::Later),
        1 => (from.clone(), to).prop_map(|(from, to)| Step::Cut(from, to)),
        1 => (from, far.clone()).prop_map(|(from, way)| Step::EndWay(from, way)),
        1 => far.prop_map(Step::Replace),
    ]
}

fn take(model: &mut Model, step: &Step) {
    match *step {
        Step::Packet(from, to) => _ = model.packet(from, to),
        Step::Yes(from, to, far, at) => {
            let flow = model.packet(from, to);
            model.yes(flow, far, place(at));
        }
        Step::No(from, to) => {
            let flow = model.packet(from, to);
            model.table.refuse(model.table.flows[flow as usize].id);
        }
        Step::Answer(from, way, to) => {
            let found = model
                .table
                .sessions
                .iter()
                .find(|(_, session)| session.source == source(from));
            let Some(session) = found.map(|(at, _)| at as u32) else {
                return;
            };
            let sender = if to < 4 {
                Place::from(address(to))
            } else {
                place(to)
            };
            if let Some((flow, expected)) = model.table.answered(session, way, sender.spot()) {
                assert_eq!(model.table.flows[flow as usize].session, session);
                if expected {
                    model.table.note_answered(session);
                    model.table.touch(flow, model.now);
                }
            }
        }
        Step::Later(ticks) => {
            model.now += ticks;
            model.table.expire(model.now);
            let oldest = model.table.flows.iter().map(|(_, flow)| flow.last).min();
            assert!(oldest.is_none_or(|last| model.now - last < TURN));
        }
        Step::Cut(from, to) => {
            let flow = model.packet(from, to);
            model.table.end(flow, End::Cut);
        }
        Step::EndWay(from, way) => {
            let found = model
                .table
                .sessions
                .iter()
                .find(|(_, session)| session.source == source(from));
            if let Some((at, _)) = found {
                model.table.end_way(at as u32, way, End::Closed);
            }
        }
        Step::Replace(far) => {
            model.fars[far].close();
            model.fars[far] = Far::direct(DialOptions::default());
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_indexes_agree(steps in proptest::collection::vec(step(), 1..120)) {
        let mut model = Model::new();
        for step in &steps {
            take(&mut model, step);
            model.check();
        }
        model.table.end_all(End::Closed);
        model.check();
        prop_assert_eq!(model.told.load(Relaxed), model.begun);
        prop_assert!(model.table.sessions.is_empty());
    }
}

#[test]
fn an_answer_finds_its_flow() {
    let mut model = Model::new();
    let by_address = model.packet(1, 2);
    let by_name = model.packet(1, 3);
    model.yes(by_address, 0, place(2));
    model.yes(by_name, 0, place(3));
    model.table.note_named(by_name);
    let session = model.table.flows[by_name as usize].session;
    let answered = |model: &mut Model, sender: SocketAddr| {
        model.table.answered(session, 0, Spot::Address(sender))
    };
    assert_eq!(answered(&mut model, address(2)), Some((by_address, true)));
    let other_port = ([192, 0, 2, 9], 54).into();
    assert_eq!(answered(&mut model, other_port), Some((by_address, false)));
    assert_eq!(answered(&mut model, address(9)), Some((by_name, true)));
    assert_eq!(answered(&mut model, address(9)), Some((by_name, true)));
    assert_eq!(answered(&mut model, address(8)), Some((by_address, false)));
    assert_eq!(
        model.table.answered(session, 0, place(3).spot()),
        Some((by_name, true))
    );
    assert_eq!(model.table.answered(session, 1, place(2).spot()), None);
    model.table.end(by_address, End::Cut);
    assert_eq!(answered(&mut model, address(8)), Some((by_name, false)));
    model.check();
}

#[test]
fn a_way_answers_for_its_own_names_only() {
    let mut model = Model::new();
    let here = model.packet(1, 2);
    let there = model.packet(1, 3);
    let asked = model.packet(1, 5);
    model.yes(here, 0, place(2));
    model.yes(there, 1, place(3));
    let session = model.table.flows[here as usize].session;
    for stranger in [3, 5] {
        assert_eq!(
            model.table.answered(session, 0, place(stranger).spot()),
            Some((here, false))
        );
    }
    assert_eq!(
        model.table.answered(session, 1, place(3).spot()),
        Some((there, true))
    );
    model.table.refuse(model.table.flows[asked as usize].id);
    assert_eq!(
        model.table.answered(session, 1, place(5).spot()),
        Some((there, false))
    );
    model.check();
}

#[test]
fn forged_sources_displace_each_other() {
    let mut model = Model::new();
    for from in 0..2 {
        let flow = model.packet(from, 2);
        let session = model.table.flows[flow as usize].session;
        model.table.note_answered(session);
    }
    for from in 2..9 {
        model.now += 1;
        model.packet(from, 2);
        model.check();
    }
    let sources = |model: &Model| {
        let sessions = model.table.sessions.iter();
        let mut sources: Vec<_> = sessions.map(|(_, session)| session.source).collect();
        sources.sort();
        sources
    };
    assert_eq!(sources(&model), [source(0), source(1), source(8)]);
    // Without any such, the answered one that was silent longest goes.
    let last = model.packet(8, 2);
    model
        .table
        .note_answered(model.table.flows[last as usize].session);
    let first = model.packet(0, 2);
    model.table.touch(first, model.now);
    model.packet(9, 2);
    assert_eq!(sources(&model), [source(0), source(8), source(9)]);
    model.check();
}
