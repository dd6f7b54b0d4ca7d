//! Shaking hands: rustls says what to send, this sends and reads it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CommonState, Error, HandshakeKind, ProtocolVersion};

use super::greeting::{self, Greeting, Heard};
use super::records::{Keeper, Records};
use super::{Client, Facts, Server, asked_name};
use crate::failure::{Failure, Outcome};
use crate::layers::framed::Framed;
use crate::stream::{Stream, with_scratch};

/// What a peer may send before the handshake is over: four times the longest message rustls takes.
const LONGEST: usize = 256 * 1024;

/// Begin TLS as its client. The stream is consumed.
pub async fn connect(stream: Stream, client: Arc<Client>) -> Outcome<Stream> {
    let connection =
        UnbufferedClientConnection::new(Arc::clone(&client.config), client.name.clone());
    let mut shake = Shake::new(stream, connection.map_err(Failure::from)?);
    shake.out = shake.stream_ahead();
    shake.run().await?;
    let name = client
        .config
        .enable_sni
        .then(|| client.name.to_str().into_owned());
    let facts = facts(&shake.connection, name);
    let (secrets, keeper) = shake.connection.dangerous_into_kernel_connection()?;
    let records = Records::new(&secrets, Keeper::Client(keeper), facts, shake.early)?;
    Ok(layered(shake.stream, &shake.incoming, records))
}

/// Begin TLS as its server. The stream is consumed. When the other side begins as TLS never does, or
/// says nothing at all, the stream comes back as it was, every byte in place and nothing sent: it has no
/// `facts` then. What begins as TLS and goes wrong is answered as a web server does (`greeting`), and an
/// error.
pub async fn accept(stream: Stream, server: Arc<Server>) -> Outcome<Stream> {
    let connection = UnbufferedServerConnection::new(server.config());
    let mut shake = Shake::new(stream, connection.map_err(Failure::from)?);
    let mut greeting = Greeting::default();
    loop {
        match greeting.hear(&mut shake.incoming) {
            Heard::Hello(minor) => {
                (shake.hello, shake.heard) = (Some(minor), greeting.heard());
                break;
            }
            Heard::Foreign => return Ok(shake.give_back()),
            Heard::Wrong(alert) => {
                shake
                    .out
                    .extend_from_slice(alert.as_ref().map_or(&[], |alert| &alert[..]));
                shake.send().await?;
                return Err(Failure::Peer("what began as TLS is none"));
            }
            Heard::More => {
                if shake.read().await? == 0 {
                    if greeting == Greeting::default() && shake.incoming.is_empty() {
                        return Ok(shake.give_back());
                    }
                    return Err(Failure::Ended);
                }
            }
        }
    }
    shake.out = shake.stream_ahead();
    shake.run().await?;
    let facts = facts(&shake.connection, shake.name.take());
    let (secrets, keeper) = shake.connection.dangerous_into_kernel_connection()?;
    let records = Records::new(&secrets, Keeper::Server(keeper), facts, shake.early)?;
    Ok(layered(shake.stream, &shake.incoming, records))
}

fn layered(mut stream: Stream, unread: &[u8], records: Records) -> Stream {
    stream.unread = unread.into();
    Framed::over(stream, records)
}

fn facts(connection: &CommonState, name: Option<String>) -> Facts {
    let cipher = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str());
    Facts {
        version: if connection.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
            "1.3"
        } else {
            "1.2"
        },
        alpn: connection
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned()),
        name,
        cipher: cipher.unwrap_or_default().to_owned(),
        resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
    }
}

/// Both kinds of connection, as far as the handshake goes.
trait Side {
    type Data;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn shaking(&self) -> bool;
    /// Whether it is TLS 1.2, whose first messages are in the clear.
    fn is_old(&self) -> bool;
}

impl Side for UnbufferedClientConnection {
    type Data = rustls::client::ClientConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn shaking(&self) -> bool {
        self.is_handshaking()
    }
    fn is_old(&self) -> bool {
        self.protocol_version() == Some(ProtocolVersion::TLSv1_2)
    }
}

impl Side for UnbufferedServerConnection {
    type Data = rustls::server::ServerConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn shaking(&self) -> bool {
        self.is_handshaking()
    }
    fn is_old(&self) -> bool {
        self.protocol_version() == Some(ProtocolVersion::TLSv1_2)
    }
}

/// What is to be done next.
enum Next {
    Again,
    Send,
    Read,
    Over,
    Fail(Error),
}

struct Shake<S> {
    stream: Stream,
    connection: S,
    incoming: Vec<u8>,
    out: Vec<u8>,
    /// Payload that came with the end of the handshake.
    early: Vec<u8>,
    /// Of a server: the minor version of the hello that it answers, and how much of `incoming` is that.
    hello: Option<u8>,
    heard: usize,
    sent: bool,
    /// How that began which was looked at last, the hello aside.
    header: Option<[u8; 5]>,
    /// The name that a client asked for.
    name: Option<String>,
}

impl<S: Side> Shake<S> {
    fn new(mut stream: Stream, connection: S) -> Self {
        let incoming = std::mem::take(&mut stream.unread).into();
        Self {
            stream,
            connection,
            incoming,
            out: Vec::new(),
            early: Vec::new(),
            hello: None,
            heard: 0,
            sent: false,
            header: None,
            name: None,
        }
    }

    /// What the stream still had to send.
    fn stream_ahead(&mut self) -> Vec<u8> {
        let (outgoing, held) = self.stream.take_outgoing();
        [&outgoing[..], &held[..]].concat()
    }

    fn give_back(mut self) -> Stream {
        self.stream.put_back(&self.incoming);
        self.stream
    }

    async fn run(&mut self) -> Outcome<()> {
        loop {
            match self.step()? {
                Next::Again => {}
                Next::Send => self.send().await?,
                Next::Over => return self.send().await,
                Next::Read => {
                    self.send().await?;
                    if self.read().await? == 0 {
                        return Err(Failure::Ended);
                    }
                }
                Next::Fail(error) => return Err(self.fail(error).await),
            }
        }
    }

    fn step(&mut self) -> Outcome<Next> {
        let behind = self.incoming.get(self.heard..).unwrap_or_default();
        self.header = behind.first_chunk().copied();
        let UnbufferedStatus { discard, state, .. } = self.connection.process(&mut self.incoming);
        let next = match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    self.early.extend_from_slice(record?.payload);
                }
                Next::Again
            }
            Ok(ConnectionState::EncodeTlsData(mut encode)) => {
                let at = self.out.len();
                if let Err(EncodeError::InsufficientSize(size)) = encode.encode(&mut self.out[at..])
                {
                    self.out.resize(at + size.required_size, 0);
                    encode
                        .encode(&mut self.out[at..])
                        .map_err(|_| Failure::Misuse("TLS data is encoded twice"))?;
                }
                Next::Again
            }
            Ok(ConnectionState::TransmitTlsData(transmit)) => {
                transmit.done();
                Next::Send
            }
            Ok(ConnectionState::BlockedHandshake) => Next::Read,
            Ok(ConnectionState::WriteTraffic(_)) => Next::Over,
            Ok(_) => Next::Fail(Error::HandshakeNotComplete),
            Err(error) => Next::Fail(error),
        };
        self.incoming.drain(..discard);
        self.heard = self.heard.saturating_sub(discard);
        self.name = asked_name().or(self.name.take());
        Ok(match next {
            // A server may speak before the client's last word has come; that is not yet the end.
            Next::Over if self.connection.shaking() => Next::Read,
            next => next,
        })
    }

    /// Say goodbye as TLS wants it, and give the error.
    async fn fail(&mut self, error: Error) -> Failure {
        let at = self.out.len();
        let answered = self.sent || at > 0;
        let behind = answered.then_some(self.header.unwrap_or_default());
        // The alert is queued; the error itself comes again once it has been taken.
        while let Ok(Next::Again | Next::Send) = self.step() {}
        if let Some(minor) = self.hello
            && (!answered || self.connection.is_old())
        {
            let said = match self.out.get(at..) {
                Some([.., description]) if self.out.len() == at + 7 => Some(*description),
                _ => None,
            };
            if said.is_some() || self.out.len() == at {
                self.out.truncate(at);
                let alert = greeting::reworded(said, minor, behind);
                self.out.extend_from_slice(&alert);
            }
        }
        let _ = self.send().await;
        Failure::Tls(words(&error))
    }

    async fn send(&mut self) -> Outcome<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.sent = true;
        let mut left = &self.out[..];
        while !left.is_empty() {
            let n = poll_fn(|cx| self.stream.io.poll_write(cx, left)).await?;
            if n == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            left = &left[n..];
        }
        self.out.clear();
        poll_fn(|cx| self.stream.io.poll_flush(cx)).await?;
        Ok(())
    }

    async fn read(&mut self) -> Outcome<usize> {
        if self.incoming.len() > LONGEST {
            return Err(Failure::Peer("a TLS handshake without end"));
        }
        let Self {
            stream, incoming, ..
        } = self;
        let n = poll_fn(|cx| {
            with_scratch(|scratch| {
                // What a web server leaves unread makes its close a reset.
                let room = scratch.len().min(greeting::READ);
                stream.io.poll_read(cx, &mut scratch[..room]).map_ok(|n| {
                    incoming.extend_from_slice(&scratch[..n]);
                    n
                })
            })
        });
        Ok(n.await?)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Tls(error.to_string())
    }
}

/// What went wrong, for people.
fn words(error: &Error) -> String {
    let text = error.to_string();
    if text.contains("no server certificate chain resolved") {
        return "the client asks for no application protocol that is spoken here (alpn)".to_owned();
    }
    // What rustls says of it is the name of a variant.
    if text.contains("CaUsedAsEndEntity") {
        return "the server shows an authority's certificate (CA:TRUE) as its own, which no ca makes \
                trusted: trust it by its SHA-256, as pin"
            .to_owned();
    }
    text
}
