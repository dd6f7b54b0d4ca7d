//! Shaking hands: rustls says what to send, this sends and reads it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CommonState, Error, HandshakeKind, ProtocolVersion};

use super::records::{Keeper, Records};
use super::{Client, Facts, Server, asked_name};
use crate::failure::{Failure, Outcome};
use crate::layers::framed::Framed;
use crate::stream::{Stream, with_scratch};

/// What a peer may send before the handshake is over: four times the longest message rustls takes.
const LONGEST: usize = 256 * 1024;

/// What a `ClientHello` in the first record begins with: a handshake record, TLS, that message.
const RECORD: u8 = 22;
const MAJOR: u8 = 3;
const CLIENT_HELLO: u8 = 1;

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

/// Begin TLS as its server. The stream is consumed. When what the other side says first is not a
/// `ClientHello`, the stream comes back as it was, every byte in place and nothing sent: it has no
/// `facts` then. A `ClientHello` that cannot be agreed with is answered as TLS wants, and an error.
pub async fn accept(stream: Stream, server: Arc<Server>) -> Outcome<Stream> {
    let connection = UnbufferedServerConnection::new(server.config());
    let mut shake = Shake::new(stream, connection.map_err(Failure::from)?);
    loop {
        match hello(&shake.incoming) {
            Some(true) => break,
            Some(false) => return Ok(shake.give_back()),
            None => {
                if shake.read().await? == 0 {
                    return Ok(shake.give_back());
                }
            }
        }
    }
    shake.heard = Some(shake.incoming.clone());
    shake.out = shake.stream_ahead();
    match shake.run().await {
        Ok(()) => {}
        Err(Failure::Tls(_, true) | Failure::Ended) if shake.heard.is_some() => {
            return Ok(shake.give_back());
        }
        Err(failure) => return Err(failure),
    }
    let facts = facts(&shake.connection, shake.name.take());
    let (secrets, keeper) = shake.connection.dangerous_into_kernel_connection()?;
    let records = Records::new(&secrets, Keeper::Server(keeper), facts, shake.early)?;
    Ok(layered(shake.stream, &shake.incoming, records))
}

/// Whether this can be a `ClientHello`; None while too little has come.
fn hello(bytes: &[u8]) -> Option<bool> {
    let shape = [(0, RECORD), (1, MAJOR), (5, CLIENT_HELLO)];
    for (at, wanted) in shape {
        match bytes.get(at) {
            None => return None,
            Some(byte) if *byte != wanted => return Some(false),
            Some(_) => {}
        }
    }
    Some(true)
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
    /// All that has come, until something is sent.
    heard: Option<Vec<u8>>,
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
            heard: None,
            name: None,
        }
    }

    /// What the stream still had to send.
    fn stream_ahead(&mut self) -> Vec<u8> {
        let (outgoing, held) = self.stream.take_outgoing();
        [&outgoing[..], &held[..]].concat()
    }

    fn give_back(mut self) -> Stream {
        self.stream
            .put_back(self.heard.as_deref().unwrap_or(&self.incoming));
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
        self.name = asked_name().or(self.name.take());
        Ok(match next {
            // A server may speak before the client's last word has come; that is not yet the end.
            Next::Over if self.connection.shaking() => Next::Read,
            next => next,
        })
    }

    /// Say goodbye as TLS wants it, if anything is to be said, and give the error. One that shows that
    /// the other side does not speak TLS at all says nothing.
    async fn fail(&mut self, error: Error) -> Failure {
        let foreign = matches!(
            error,
            Error::InvalidMessage(_)
                | Error::InappropriateMessage { .. }
                | Error::InappropriateHandshakeMessage { .. }
        );
        if self.heard.is_none() || !foreign {
            // The alert is queued; the error itself comes again once it has been taken.
            while let Ok(Next::Again | Next::Send) = self.step() {}
            let _ = self.send().await;
        }
        Failure::Tls(words(&error), foreign)
    }

    async fn send(&mut self) -> Outcome<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        self.heard = None;
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
            stream,
            incoming,
            heard,
            ..
        } = self;
        let n = poll_fn(|cx| {
            with_scratch(|scratch| {
                stream.io.poll_read(cx, scratch).map_ok(|n| {
                    incoming.extend_from_slice(&scratch[..n]);
                    if let Some(heard) = heard {
                        heard.extend_from_slice(&scratch[..n]);
                    }
                    n
                })
            })
        });
        Ok(n.await?)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Tls(error.to_string(), false)
    }
}

/// What went wrong, for people.
fn words(error: &Error) -> String {
    let text = error.to_string();
    // What rustls says of it is the name of a variant.
    if text.contains("CaUsedAsEndEntity") {
        return "the server shows an authority's certificate (CA:TRUE) as its own, which no ca makes \
                trusted: trust it by its SHA-256, as pin"
            .to_owned();
    }
    text
}
