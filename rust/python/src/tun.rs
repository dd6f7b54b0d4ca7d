//! A TUN in Python's hands: its connections arrive as at a listener, its packets as at a socket.

use std::sync::Arc;

use byway_engine::completion::Event;
use byway_engine::datagrams::PacketOptions;
use byway_engine::failure::Failure;
use byway_engine::listen::{Arrivals, ListenOptions};
use byway_engine::stack::{Answer, Door};
use byway_engine::tun::{self, Offloads, duplicate};
use pyo3::prelude::*;

use crate::datagrams::{PacketListener, open_packets};
use crate::failure::to_python;
use crate::listener::{Listener, Open};
use crate::ops::Hub;

/// (the offloads checksums, tcp and udp, mtu, `after_dial`)
pub type TunArgs = ((bool, bool, bool), usize, bool);

/// Read a TUN that was opened; the caller's descriptor stays its own.
pub fn open(
    py: Python<'_>,
    hub: &Arc<Hub>,
    fd: i32,
    nic: TunArgs,
    options: ListenOptions,
    packets: &PacketOptions,
) -> PyResult<(Listener, PacketListener)> {
    hub.check(py)?;
    let ((checksums, tcp, udp), mtu, after_dial) = nic;
    let fd = duplicate(fd).map_err(|error| to_python(py, Failure::Os(error)))?;
    let token = hub.slots.reserve();
    let completions = Arc::clone(&hub.completions);
    let arrivals = Arrivals::new(move || completions.push(Event::Woken(token)));
    let turnstile = options.turnstile.clone();
    let door = Door {
        arrivals: Arc::clone(&arrivals),
        turnstile: turnstile.clone(),
        answer: if after_dial {
            Answer::AfterDial
        } else {
            Answer::AtOnce
        },
        home: hub.reactors.next_home(),
        mtu,
    };
    let offloads = Offloads {
        checksums,
        tcp,
        udp,
    };
    let opened = open_packets(py, hub, |reactors, asks| {
        tun::open(fd, offloads, door, packets, reactors, asks)
    });
    let opened = opened.inspect_err(|_| {
        hub.slots.free(token);
    })?;
    let core = Open {
        address: None,
        turnstile,
        listener: None,
    };
    let listener = Listener::new(core, arrivals, token, Arc::clone(hub));
    Ok((listener, opened))
}
