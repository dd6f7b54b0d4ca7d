//! The engine in Python's hands.

use std::path::PathBuf;
use std::sync::Arc;

use byway_engine::UnixStream;
use byway_engine::body::{BodyMove, Framing};
use byway_engine::bucket::Buckets;
use byway_engine::completion::Event;
use byway_engine::datagrams::{Asks, Far, PacketListener as CorePackets};
use byway_engine::dial::{self, DialOptions};
use byway_engine::failure::{Failure, Outcome};
use byway_engine::held;
use byway_engine::io::Io;
use byway_engine::layers::framed::Framed;
use byway_engine::layers::status::{Awaited, Status};
use byway_engine::layers::tls;
use byway_engine::layers::websocket::WebSocket;
use byway_engine::limits;
use byway_engine::listen::{self, Arrivals, ListenOptions};
use byway_engine::meet::meet;
use byway_engine::pipe::{clear_pool, set_most};
use byway_engine::reactor::Reactors;
use byway_engine::relay;
use byway_engine::start::start;
use byway_engine::stream::Stream as CoreStream;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::asyncio::Asyncio;
use crate::body::{Meter, move_body};
use crate::bucket::{Bucket, direction, drawn};
use crate::caller::Caller;
use crate::datagrams::{
    Datagrams, PacketArgs, PacketListener, framing_of, open_packets, packet_options, place,
};
use crate::failure::to_python;
use crate::layers::{self, ChunkedArgs, TlsClient, TlsServer};
use crate::listener::{Listener, Turnstile};
use crate::ops::Hub;
use crate::relay::{Relay, Reported};
use crate::sealed::{self, CodecArgs};
use crate::session::Session;
use crate::stream::{Stream, handle};
use crate::task::Task;
use crate::tun::{self, TunArgs};
use crate::values::{seconds, socket_address};
use crate::wait::Wait;

/// (timeout, stagger, bind, interface, mark)
pub type DialArgs = (f64, f64, Option<String>, Option<String>, Option<u32>);

/// What a spawned operation is waited for by; giving that up ends it.
type Dialling = Py<Wait>;

/// (backlog, first, `per_source`, total, or a turnstile in place of the two, transparent, mark)
type ListenArgs = (
    i32,
    f64,
    usize,
    usize,
    Option<Py<Turnstile>>,
    bool,
    Option<u32>,
);

/// One engine: its threads, its queue, its waiting operations.
#[pyclass(frozen, module = "byway._engine")]
pub struct Engine {
    pub hub: Arc<Hub>,
}

#[pymethods]
impl Engine {
    /// `event_loop` is the one that will drain this engine.
    #[new]
    fn new(py: Python<'_>, threads: usize, event_loop: Py<PyAny>) -> PyResult<Self> {
        let asyncio = Asyncio::new(py, event_loop)?;
        let hub = Hub::new(Reactors::start(threads)?, asyncio)?;
        Ok(Self { hub: Arc::new(hub) })
    }

    /// The descriptor to watch.
    fn fileno(&self) -> i32 {
        self.hub.completions.fd()
    }

    /// Let those go on who waited for what has completed.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        self.hub.drain(py)
    }

    /// Have a flow carried by a coroutine, which begins at once. `ended` is called with the task at its
    /// end.
    fn start(&self, py: Python<'_>, coroutine: Py<PyAny>, ended: Py<PyAny>) -> PyResult<Py<Task>> {
        Task::start(py, &self.hub, coroutine, ended)
    }

    /// A wait for a stream to the first address that answers. It lives on the loop `near`, which is that
    /// of the stream that it will be joined to, so that no chunk of theirs wakes another loop.
    fn connect(
        &self,
        py: Python<'_>,
        addresses: Vec<(String, u16)>,
        options: DialArgs,
        near: Option<usize>,
    ) -> PyResult<Dialling> {
        let addresses = addresses
            .iter()
            .map(socket_address)
            .collect::<PyResult<Vec<_>>>()?;
        let options = dial_options(options)?;
        let home = match near {
            Some(home) if home < self.hub.reactors.count() => home,
            Some(_) => return Err(PyValueError::new_err("there is no such loop")),
            None => self.hub.any_home(),
        };
        self.dial(py, home, async move {
            dial::connect(&addresses, &options, home).await
        })
    }

    /// A wait for a stream to a unix socket.
    fn connect_unix(&self, py: Python<'_>, path: PathBuf) -> PyResult<Dialling> {
        let home = self.hub.reactors.next_home();
        self.dial(
            py,
            home,
            async move { dial::connect_unix(&path, home).await },
        )
    }

    fn listen(
        &self,
        py: Python<'_>,
        address: (String, u16),
        options: ListenArgs,
    ) -> PyResult<Listener> {
        let address = socket_address(&address)?;
        let options = listen_options(options);
        self.open(py, |reactors, arrivals| {
            listen::listen_tcp(address, &options, reactors, arrivals)
        })
    }

    fn listen_unix(
        &self,
        py: Python<'_>,
        path: PathBuf,
        mode: u32,
        options: ListenArgs,
    ) -> PyResult<Listener> {
        let options = listen_options(options);
        self.open(py, |reactors, arrivals| {
            listen::listen_unix(&path, mode, &options, reactors, arrivals)
        })
    }

    /// Two streams joined by a unix socket pair.
    fn pair(&self, py: Python<'_>) -> PyResult<(Stream, Stream)> {
        self.hub.check(py)?;
        let home = self.hub.reactors.next_home();
        let handle = self.hub.reactors.home(home);
        let handle = handle.map_err(|error| to_python(py, error.into()))?;
        let _entered = handle.enter();
        let (one, other) = UnixStream::pair().map_err(|error| to_python(py, error.into()))?;
        let wrap = |socket| Stream::new(CoreStream::new(Io::Unix(socket), home, None), &self.hub);
        Ok((wrap(one), wrap(other)))
    }

    /// Join two streams; runs at once.
    fn relay(
        &self,
        py: Python<'_>,
        near: &Bound<'_, Stream>,
        far: &Bound<'_, Stream>,
        idle: f64,
        buckets: Vec<Py<Bucket>>,
    ) -> PyResult<Relay> {
        self.hub.check(py)?;
        let far = far.get().consume(py)?;
        let near = near.get().consume(py)?;
        let (relay, gauge, report) = Relay::new(&self.hub, drawn(&buckets));
        let (run, home) = meet(&self.hub.reactors, *near, *far, seconds(idle), gauge);
        start(&self.hub.reactors, home, Reported::new(run, report));
        Ok(relay)
    }

    /// Put sealed chunks over a stream.
    fn chunked(
        &self,
        py: Python<'_>,
        stream: &Bound<'_, Stream>,
        options: ChunkedArgs,
    ) -> PyResult<Stream> {
        self.hub.check(py)?;
        let stream = stream.get().consume(py)?;
        Ok(Stream::new(layers::chunked(*stream, options)?, &self.hub))
    }

    /// Many streams over this one; `protocol` is "yamux".
    fn session(
        &self,
        py: Python<'_>,
        stream: &Bound<'_, Stream>,
        protocol: &str,
        client: bool,
    ) -> PyResult<Session> {
        self.hub.check(py)?;
        let stream = *stream.get().consume(py)?;
        Session::over(stream, protocol, client, &self.hub)
    }

    /// Expect a byte of status before what a stream brings, or a short answer.
    fn with_status(
        &self,
        py: Python<'_>,
        stream: &Bound<'_, Stream>,
        answer: bool,
    ) -> PyResult<Stream> {
        self.hub.check(py)?;
        let stream = stream.get().consume(py)?;
        let awaited = if answer {
            Awaited::Answer
        } else {
            Awaited::Status
        };
        Ok(Stream::new(Status::over(*stream, awaited), &self.hub))
    }

    /// The data of a `WebSocket`, whose handshake is done.
    fn web_socket(
        &self,
        py: Python<'_>,
        stream: &Bound<'_, Stream>,
        client: bool,
    ) -> PyResult<Stream> {
        self.hub.check(py)?;
        let stream = stream.get().consume(py)?;
        let layered = Framed::over(*stream, WebSocket::new(client));
        Ok(Stream::new(layered, &self.hub))
    }

    /// A wait for a stream with TLS over this one, as its client.
    fn tls_client(
        &self,
        py: Python<'_>,
        stream: &Bound<'_, Stream>,
        client: &Bound<'_, TlsClient>,
    ) -> PyResult<Dialling> {
        self.hub.check(py)?;
        let stream = *stream.get().consume(py)?;
        let client = Arc::clone(&client.get().0);
        self.dial(py, stream.home, tls::connect(stream, client))
    }

    /// The same as its server. A stream without TLS facts is the raw one, given back.
    fn tls_server(
        &self,
        py: Python<'_>,
        stream: &Bound<'_, Stream>,
        server: &Bound<'_, TlsServer>,
    ) -> PyResult<Dialling> {
        self.hub.check(py)?;
        let stream = *stream.get().consume(py)?;
        let server = Arc::clone(&server.get().0);
        self.dial(py, stream.home, tls::accept(stream, server))
    }

    /// A direct way out for packets.
    fn datagrams(&self, py: Python<'_>, options: DialArgs) -> PyResult<Datagrams> {
        self.hub.check(py)?;
        Ok(Datagrams::new(Far::direct(dial_options(options)?)))
    }

    /// A way through a SOCKS5 relay at `relay`, over `inner`; it lives as long as `control`.
    fn wrap_socks5(
        &self,
        py: Python<'_>,
        inner: &Bound<'_, Datagrams>,
        relay: (String, u16),
        control: &Bound<'_, Stream>,
    ) -> PyResult<Datagrams> {
        self.hub.check(py)?;
        let relay = place(&relay.0, relay.1);
        let inner = inner.get().consume(py)?;
        let control = *control.get().consume(py)?;
        Ok(Datagrams::new(Far::wrap_socks5(
            &inner,
            relay,
            control,
            &self.hub.reactors,
        )))
    }

    /// A way through the shadowsocks server at `server`, over `inner`.
    fn wrap_sealed(
        &self,
        py: Python<'_>,
        inner: &Bound<'_, Datagrams>,
        server: (String, u16),
        method: &str,
        keys: Vec<Vec<u8>>,
    ) -> PyResult<Datagrams> {
        self.hub.check(py)?;
        let server = place(&server.0, server.1);
        let client = sealed::client(method, &keys)?;
        let inner = inner.get().consume(py)?;
        Ok(Datagrams::new(Far::wrap_sealed(&inner, server, client)))
    }

    /// A way out inside a stream; `framing` is "trojan" or "uot". It lives as long as the stream. What
    /// that holds is followed by the first target, in SOCKS5's form, and `tail`.
    fn framed(
        &self,
        py: Python<'_>,
        stream: &Bound<'_, Stream>,
        framing: &str,
        tail: Vec<u8>,
    ) -> PyResult<Datagrams> {
        self.hub.check(py)?;
        let framing = framing_of(framing, None)?;
        let stream = *stream.get().consume(py)?;
        Ok(Datagrams::new(Far::framed(stream, framing, tail)))
    }

    /// Take packets from a stream, and what becomes of it; `fixed` is the target of all of them, else
    /// each frame has its own. Without flows for `quiet` seconds, it ends.
    fn take_packets(
        &self,
        py: Python<'_>,
        stream: &Bound<'_, Stream>,
        framing: &str,
        fixed: Option<(String, u16)>,
        quiet: f64,
        options: PacketArgs,
    ) -> PyResult<(PacketListener, Relay)> {
        self.hub.check(py)?;
        let framing = framing_of(framing, fixed)?;
        let options = packet_options(options)?;
        let stream = *stream.get().consume(py)?;
        let token = self.hub.slots.reserve();
        let completions = Arc::clone(&self.hub.completions);
        let asks = Asks::new(move || completions.push(Event::Woken(token)));
        let (relay, gauge, report) = Relay::new(&self.hub, Buckets::default());
        let done = move |end| report.end(Ok(end));
        let core = CorePackets::over(
            stream,
            framing,
            &options,
            seconds(quiet),
            &self.hub.reactors,
            Arc::clone(&asks),
            (gauge, Box::new(done)),
        );
        let hub = Arc::clone(&self.hub);
        Ok((PacketListener::new(core, asks, token, hub), relay))
    }

    /// Listen for packets, each of which tells its target as `codec` says.
    fn listen_packets(
        &self,
        py: Python<'_>,
        address: (String, u16),
        codec: Option<CodecArgs>,
        options: PacketArgs,
    ) -> PyResult<PacketListener> {
        self.hub.check(py)?;
        let address = socket_address(&address)?;
        let options = packet_options(options)?;
        let codec = sealed::codec(codec, &options)?;
        open_packets(py, &self.hub, |reactors, asks| {
            CorePackets::bind(address, codec, &options, reactors, asks)
        })
    }

    /// Take the packets to others that the firewall diverts to an address.
    fn listen_diverted(
        &self,
        py: Python<'_>,
        address: (String, u16),
        options: PacketArgs,
    ) -> PyResult<PacketListener> {
        self.hub.check(py)?;
        let address = socket_address(&address)?;
        let options = packet_options(options)?;
        open_packets(py, &self.hub, |reactors, asks| {
            CorePackets::diverted(address, &options, reactors, asks)
        })
    }

    /// Read a TUN that was opened: its connections and its packets.
    fn open_tun(
        &self,
        py: Python<'_>,
        fd: i32,
        nic: TunArgs,
        options: ListenArgs,
        packets: PacketArgs,
    ) -> PyResult<(Listener, PacketListener)> {
        tun::open(
            py,
            &self.hub,
            fd,
            nic,
            listen_options(options),
            &packet_options(packets)?,
        )
    }

    /// Take the packets of a caller in this process, as one session, and that caller's end of it.
    fn packet_pair(
        &self,
        py: Python<'_>,
        codec: Option<CodecArgs>,
        options: PacketArgs,
    ) -> PyResult<(PacketListener, Caller)> {
        self.hub.check(py)?;
        let options = packet_options(options)?;
        let codec = sealed::codec(codec, &options)?;
        let [asked, answered] = [(); 2].map(|()| self.hub.slots.reserve());
        let signal = |token| {
            let completions = Arc::clone(&self.hub.completions);
            move || completions.push(Event::Woken(token))
        };
        let asks = Asks::new(signal(asked));
        let (core, caller) = CorePackets::inside(
            codec,
            &options,
            &self.hub.reactors,
            Arc::clone(&asks),
            signal(answered),
        );
        let listener = PacketListener::new(core, asks, asked, Arc::clone(&self.hub));
        Ok((listener, Caller::new(&self.hub, answered, caller)))
    }

    /// A wait for one body's payload length. Runs on an engine thread; what else is
    /// done with the two streams meanwhile waits for moments only.
    #[expect(
        clippy::too_many_arguments,
        reason = "the typed face has a dataclass for them"
    )]
    fn send_body(
        &self,
        py: Python<'_>,
        source: &Bound<'_, Stream>,
        sink: &Bound<'_, Stream>,
        length: Option<u64>,
        chunked: bool,
        dechunk: bool,
        without: Vec<Vec<u8>>,
        idle: f64,
        meter: &Bound<'_, Meter>,
        buckets: Vec<Py<Bucket>>,
        rising: bool,
    ) -> PyResult<Dialling> {
        let cells = (Arc::clone(&source.get().cell), Arc::clone(&sink.get().cell));
        if Arc::ptr_eq(&cells.0, &cells.1) {
            return Err(PyValueError::new_err("source and sink are the same stream"));
        }
        let framing = match (length, chunked) {
            (Some(length), false) => Framing::Length(length),
            (None, true) => Framing::Chunked(dechunk),
            (None, false) => Framing::UntilEnd,
            _ => {
                return Err(PyValueError::new_err(
                    "a body has a length or is chunked, not both",
                ));
            }
        };
        let meter = Arc::clone(&meter.get().count);
        let body = BodyMove::new(framing, Arc::clone(&meter))
            .without(without)
            .drawing(&drawn(&buckets), direction(rising));
        let home = source.get().home(py)?;
        let moving = move_body(cells.0, cells.1, body, seconds(idle), meter);
        let count = |py: Python<'_>, _: &Arc<Hub>, count: u64| {
            Ok(count.into_pyobject(py)?.into_any().unbind())
        };
        let (token, wait) = self.hub.spawn(py, home, moving, count)?;
        source.get().reads_by(py, token)?;
        sink.get().fed_by(py, token)?;
        Ok(wait)
    }

    /// Have at most so many pipes for splicing in this process.
    #[staticmethod]
    fn set_pipes(most: u64) {
        set_most(most);
    }

    /// For tests: panic on an engine thread, as a fault in a dial would.
    fn rehearse_panic(&self, py: Python<'_>) -> PyResult<Dialling> {
        self.dial(py, 0, async { panic!("rehearsed") })
    }

    /// Live operations, crossings since the start, threads.
    fn stats(&self) -> (usize, u64, usize) {
        (
            self.hub.slots.len(),
            self.hub.completions.crossings(),
            self.hub.reactors.count(),
        )
    }

    /// What the engines of this process hold, by name: counts, and bytes where the name says so.
    #[staticmethod]
    fn held() -> [(&'static str, u64); 6] {
        let relays = held::RELAYS.now();
        [
            ("relays", relays),
            ("spliced", held::SPLICED.now()),
            ("pipes", held::PIPES.now()),
            ("relay_bytes", relays * relay::SIZE as u64),
            ("set_bytes", held::SETS.now()),
            ("salt_bytes", held::SALTS.now()),
        ]
    }

    /// End the threads and fail whatever still waits. Idempotent.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.hub.reactors.stop());
        // Those of the first steps that this thread took.
        clear_pool();
        for slot in self.hub.slots.clear() {
            slot.fail(py, CLOSED)?;
        }
        self.hub.held.clear();
        while self.hub.completions.pop().is_some() {}
        self.hub.completions.close();
        Ok(())
    }
}

const CLOSED: &str = "the engine was closed";

impl Engine {
    fn dial(
        &self,
        py: Python<'_>,
        home: usize,
        dialling: impl Future<Output = Outcome<CoreStream>> + Send + 'static,
    ) -> PyResult<Dialling> {
        Ok(self.hub.spawn(py, home, dialling, handle)?.1)
    }

    fn open(
        &self,
        py: Python<'_>,
        bind: impl FnOnce(&Arc<Reactors>, Arc<Arrivals>) -> std::io::Result<listen::Listener>,
    ) -> PyResult<Listener> {
        self.hub.check(py)?;
        let token = self.hub.slots.reserve();
        let completions = Arc::clone(&self.hub.completions);
        let arrivals = Arrivals::new(move || completions.push(Event::Woken(token)));
        match bind(&self.hub.reactors, Arc::clone(&arrivals)) {
            Ok(core) => Ok(Listener::new(
                core.into(),
                arrivals,
                token,
                Arc::clone(&self.hub),
            )),
            Err(error) => {
                self.hub.slots.free(token);
                Err(to_python(py, Failure::Os(error)))
            }
        }
    }
}

/// The engine's form of `byway.engine.DialOptions`.
pub fn dial_options((timeout, stagger, bind, interface, mark): DialArgs) -> PyResult<DialOptions> {
    let bind = bind
        .map(|host| socket_address(&(host, 0)).map(|address| address.ip()))
        .transpose()?;
    Ok(DialOptions {
        timeout: seconds(timeout),
        stagger: seconds(stagger),
        bind,
        interface,
        mark,
    })
}

fn listen_options(
    (backlog, first, per_source, total, shared, transparent, mark): ListenArgs,
) -> ListenOptions {
    let own = || limits::Turnstile::new(total, per_source);
    ListenOptions {
        backlog,
        first: seconds(first),
        turnstile: shared.map_or_else(own, |shared| shared.get().core.clone()),
        transparent,
        mark,
    }
}
